//! What is drawn of a region: its cells, and how wide each is.

use vfio_hosted::report::RegionReport;

use super::{MsixPlace, Place};

/// A stretch of a region that is drawn alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    /// The first byte.
    pub(super) start: u64,
    /// The byte past the last.
    pub(super) end: u64,
    /// Whether it can be mapped.
    pub(super) mapped: bool,
    /// What is known to lie there.
    pub(super) content: Content,
}

/// What lies in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Whatever the device has.
    Registers,
    /// The MSI-X table.
    Table,
    /// The pending bits of MSI-X.
    Pending,
}

impl Cell {
    /// Returns bytes.
    pub(super) const fn size(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Returns how it is reached.
    pub(super) const fn access(&self) -> &'static str {
        if self.mapped { "mapped" } else { "trapped" }
    }
}

impl Content {
    /// Returns the text of the cell. None where nothing is known of it.
    pub(super) const fn name(self) -> Option<&'static str> {
        match self {
            Self::Registers => None,
            Self::Table => Some("MSI-X table"),
            Self::Pending => Some("pending bits"),
        }
    }
}

/// Returns the cells of a region, from its first byte to its last. What of MSI-X lies past the region is
/// left out.
pub(super) fn cells(region: &RegionReport, msix: Option<MsixPlace>) -> Vec<Cell> {
    let inside = |place: Place| {
        let end = place.offset.saturating_add(place.size).min(region.size);
        (place.region == region.index && place.offset < end).then_some((place.offset, end))
    };
    let table = msix.and_then(|msix| inside(msix.table));
    let pending = msix.and_then(|msix| inside(msix.pending));
    let mut cells = Vec::new();
    for span in &region.spans {
        let end = span.offset.saturating_add(span.size);
        let mut bounds = vec![span.offset, end];
        bounds.extend(
            [table, pending]
                .into_iter()
                .flatten()
                .flat_map(|(start, end)| [start, end])
                .filter(|bound| (span.offset..end).contains(bound)),
        );
        bounds.sort_unstable();
        bounds.dedup();
        let lies_in = |range: Option<(u64, u64)>, at: u64| {
            range.is_some_and(|(start, end)| (start..end).contains(&at))
        };
        cells.extend(bounds.windows(2).filter_map(|bounds| {
            let &[start, end] = bounds else { return None };
            let content = if lies_in(table, start) {
                Content::Table
            } else if lies_in(pending, start) {
                Content::Pending
            } else {
                Content::Registers
            };
            Some(Cell {
                start,
                end,
                mapped: span.mapped,
                content,
            })
        }));
    }
    cells
}

/// Returns the edges between cells that are drawn `total` wide, from 0 to `total`: in proportion to their sizes,
/// but none narrower than `least`, as long as there is room for that.
pub(super) fn edges(cells: &[Cell], total: f64, least: f64) -> Vec<f64> {
    let sizes: Vec<f64> = cells.iter().map(|cell| cell.size() as f64).collect();
    let least = least.min(total / sizes.len().max(1) as f64);
    // Those that would be too narrow get what they need; the others share the rest, which may make more too narrow.
    let mut narrow = vec![false; sizes.len()];
    let scale = loop {
        let taken = narrow.iter().filter(|narrow| **narrow).count() as f64 * least;
        let shared: f64 = sizes
            .iter()
            .zip(&narrow)
            .filter(|(_, narrow)| !**narrow)
            .map(|(size, _)| size)
            .sum();
        let scale = (total - taken) / shared.max(1.0);
        let more: Vec<bool> = sizes.iter().map(|size| size * scale < least).collect();
        let grew = more
            .iter()
            .zip(&mut narrow)
            .filter(|(more, narrow)| **more && !**narrow)
            .map(|(_, narrow)| *narrow = true)
            .count();
        if grew == 0 {
            break scale;
        }
    };
    let mut edges = vec![0.0];
    let mut at = 0.0;
    for (size, narrow) in sizes.iter().zip(narrow) {
        at += if narrow { least } else { size * scale };
        edges.push(at);
    }
    edges
}

#[cfg(test)]
mod tests {
    use vfio_hosted::report::StretchReport;

    use super::*;

    fn region(size: u64, spans: &[(u64, u64, bool)]) -> RegionReport {
        let spans = spans.iter().map(|&(offset, size, mapped)| StretchReport {
            offset,
            size,
            mapped,
        });
        RegionReport {
            index: 0,
            name: "BAR0".into(),
            flags: Vec::new(),
            flags_raw: 0,
            size,
            offset: 0,
            caps: Vec::new(),
            spans: spans.collect(),
        }
    }

    fn place(offset: u64, size: u64) -> Place {
        Place {
            region: 0,
            offset,
            size,
        }
    }

    fn drawn(
        region: &RegionReport,
        table: Place,
        pending: Place,
    ) -> Vec<(u64, u64, bool, Content)> {
        let msix = MsixPlace {
            vectors: 65,
            table,
            pending,
        };
        let cells = cells(region, Some(msix));
        cells
            .iter()
            .map(|cell| (cell.start, cell.end, cell.mapped, cell.content))
            .collect()
    }

    #[test]
    fn tables_are_cut_out_of_what_is_mapped_and_trapped() {
        let region = region(
            0x4000,
            &[
                (0, 0x2000, true),
                (0x2000, 0x1000, false),
                (0x3000, 0x1000, true),
            ],
        );
        assert_eq!(
            drawn(&region, place(0x2000, 0x410), place(0x3000, 0x10)),
            [
                (0, 0x2000, true, Content::Registers),
                (0x2000, 0x2410, false, Content::Table),
                (0x2410, 0x3000, false, Content::Registers),
                (0x3000, 0x3010, true, Content::Pending),
                (0x3010, 0x4000, true, Content::Registers),
            ]
        );
    }

    #[test]
    fn a_table_past_the_region_is_cut_off() {
        let region = region(0x1000, &[(0, 0x1000, true)]);
        assert_eq!(
            drawn(&region, place(0xf00, u64::MAX), place(0x1000, 8)),
            [
                (0, 0xf00, true, Content::Registers),
                (0xf00, 0x1000, true, Content::Table),
            ]
        );
    }

    #[test]
    fn small_cells_are_widened_and_the_sum_is_kept() {
        let sizes = [1 << 40, 0x1000, 1 << 20];
        let mut start = 0;
        let cells: Vec<_> = sizes
            .iter()
            .map(|size| {
                let end = start + size;
                let cell = Cell {
                    start,
                    end,
                    mapped: true,
                    content: Content::Registers,
                };
                start = end;
                cell
            })
            .collect();
        let edges = edges(&cells, 1000.0, 100.0);
        let rounded: Vec<_> = edges.iter().map(|edge| edge.round() as u64).collect();
        assert_eq!(rounded, [0, 800, 900, 1000]);
        let crowded = super::edges(&cells, 30.0, 100.0);
        assert!((crowded.last().unwrap() - 30.0).abs() < 1e-9);
    }
}
