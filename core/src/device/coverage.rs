//! Which bytes of a region can be mapped, and which must be trapped.

#![forbid(unsafe_code)]

use crate::wire::abi::RegionSparseMmapArea;
use crate::wire::caps::SparseMmap;
use crate::wire::info::{Mappable, RegionInfo};

/// How a stretch of a region is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Reach {
    /// It can be mapped.
    Mapped,
    /// It must be read and written by system calls.
    Trapped,
}

/// A stretch of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Stretch {
    /// Its start, in bytes from the start of the region.
    pub offset: u64,
    /// Its length in bytes, never 0.
    pub size: u64,
    /// How it is reached.
    pub reach: Reach,
}

/// The stretches of a region in ascending order, from its start to its end without a gap.
///
/// What is mapped begins on a page boundary, and ends on one or with the region: the kernel maps
/// a region that ends within a page up to the end of that page.
///
/// Areas in ascending order, as every kernel lists them, are gone through once; others cost a
/// look at each of them for each stretch.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Coverage<'a> {
    mappable: Mappable<'a>,
    size: u64,
    /// A power of two.
    page: u64,
    at: u64,
    /// Whether areas ascend; then those before `passed` end where nothing is looked for any more.
    ascending: bool,
    passed: usize,
}

impl<'a> Coverage<'a> {
    /// Creates the stretches of `region` on a host with pages of `page` bytes, a power of two. With
    /// any other number nothing is mapped.
    #[must_use]
    pub fn new(region: &RegionInfo<'a>, page: u64) -> Self {
        let mappable = if page.is_power_of_two() {
            region.mappable()
        } else {
            Mappable::Nothing
        };
        let ascending = match mappable {
            Mappable::Areas(sparse) => sparse.is_ascending_within(region.size),
            _ => false,
        };
        Self {
            mappable,
            size: region.size,
            page,
            at: 0,
            ascending,
            passed: 0,
        }
    }

    /// Returns the first mapped stretch that ends past `self.at`, as start and end.
    fn next_mapped(&mut self) -> Option<(u64, u64)> {
        match self.mappable {
            Mappable::Nothing => None,
            Mappable::Everything => Some((0, self.size)),
            Mappable::Areas(areas) => self.next_area(areas),
        }
    }

    fn next_area(&mut self, sparse: SparseMmap<'a>) -> Option<(u64, u64)> {
        let mut nearest = None;
        let mut index = self.passed;
        while let Some(area) = sparse.areas.get(index) {
            if let Some(found) = self.whole_pages(area)
                && found.1 > self.at
            {
                nearest = Some(nearest.map_or(found, |nearest: (u64, u64)| nearest.min(found)));
            }
            if self.ascending {
                self.passed = index;
                if nearest.is_some() {
                    break;
                }
            }
            index = index.saturating_add(1);
        }
        nearest
    }

    /// Returns the part of an area that consists of whole pages.
    fn whole_pages(&self, area: RegionSparseMmapArea) -> Option<(u64, u64)> {
        let RegionSparseMmapArea {
            offset: start,
            size,
        } = area;
        let end = start.checked_add(size)?;
        let mask = !self.page.wrapping_sub(1);
        let start = start.checked_next_multiple_of(self.page)?;
        let end = if end == self.size { end } else { end & mask };
        (start < end).then_some((start, end))
    }
}

impl Iterator for Coverage<'_> {
    type Item = Stretch;

    fn next(&mut self) -> Option<Stretch> {
        let offset = self.at;
        let (end, reach) = match self.next_mapped() {
            Some((start, _)) if start > offset => (start, Reach::Trapped),
            Some((_, end)) => (end, Reach::Mapped),
            None => (self.size, Reach::Trapped),
        };
        let size = end.checked_sub(offset).filter(|&size| size > 0)?;
        self.at = end;
        Some(Stretch {
            offset,
            size,
            reach,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::InfoRequest;
    use crate::wire::abi::RegionFlags;
    use crate::wire::caps::RegionCap;
    use crate::wire::server;
    use std::vec::Vec;

    /// Returns `(offset, size, is mapped)` of a region with `areas`, on pages of `page` bytes.
    fn spans(size: u64, areas: Option<&[(u64, u64)]>, page: u64) -> Vec<(u64, u64, bool)> {
        let areas: Option<Vec<_>> = areas.map(|areas| {
            areas
                .iter()
                .map(|&(offset, size)| RegionSparseMmapArea { offset, size })
                .collect()
        });
        let caps: Vec<_> = areas
            .iter()
            .map(|areas| RegionCap::SparseMmap(SparseMmap::new(areas)))
            .collect();
        let flags = RegionFlags::READ | RegionFlags::MMAP;
        let region = server::RegionReply {
            flags,
            size,
            offset: 0,
            caps: &caps,
        };
        let device = server::DeviceReply {
            regions: &[Some(region)],
            ..Default::default()
        };
        let mut reply = [0; 256];
        crate::sys::put_argsz(&mut reply).unwrap();
        device.answer(InfoRequest::Region, &mut reply).unwrap();
        let info = RegionInfo::decode(&reply).unwrap();
        Coverage::new(&info, page)
            .map(|span| (span.offset, span.size, span.reach == Reach::Mapped))
            .collect()
    }

    #[test]
    fn a_region_without_areas_is_mapped_whole() {
        assert_eq!(spans(0x4000, None, 0x1000), [(0, 0x4000, true)]);
        assert_eq!(spans(256, None, 0x1000), [(0, 256, true)]);
        assert_eq!(spans(0, None, 0x1000), []);
    }

    #[test]
    fn what_is_left_out_is_trapped() {
        let areas = [(0, 0x1000), (0x2000, 0x2000)];
        let expected = [
            (0, 0x1000, true),
            (0x1000, 0x1000, false),
            (0x2000, 0x2000, true),
        ];
        assert_eq!(spans(0x4000, Some(&areas), 0x1000), expected);
        let reversed = [areas[1], areas[0]];
        assert_eq!(spans(0x4000, Some(&reversed), 0x1000), expected);
    }

    #[test]
    fn an_empty_area_maps_nothing() {
        assert_eq!(spans(0x1000, Some(&[(0, 0)]), 0x1000), [(0, 0x1000, false)]);
        assert_eq!(spans(0x1000, Some(&[]), 0x1000), [(0, 0x1000, false)]);
    }

    #[test]
    fn the_order_of_areas_makes_no_difference() {
        let areas = [
            (0, 0x800),
            (0x1000, 0),
            (0x1000, 0x1000),
            (0x2000, 0x1000),
            (0x3800, 0x900),
            (0x5000, 0x2fff),
            (0x8000, 0),
        ];
        let expected = [
            (0, 0x1000, false),
            (0x1000, 0x1000, true),
            (0x2000, 0x1000, true),
            (0x3000, 0x2000, false),
            (0x5000, 0x2000, true),
            (0x7000, 0x1000, false),
        ];
        assert_eq!(spans(0x8000, Some(&areas), 0x1000), expected);
        let mut reversed = areas;
        reversed.reverse();
        assert_eq!(spans(0x8000, Some(&reversed), 0x1000), expected);
    }

    #[test]
    fn only_whole_pages_are_mapped() {
        let areas = [(0x800, 0x2000), (0x3000, 0x1800)];
        assert_eq!(
            spans(0x4800, Some(&areas), 0x1000),
            [
                (0, 0x1000, false),
                (0x1000, 0x1000, true),
                (0x2000, 0x1000, false),
                (0x3000, 0x1800, true)
            ]
        );
        assert_eq!(
            spans(0x4000, Some(&[(0x1000, 0x3000)]), 0x10000),
            [(0, 0x4000, false)]
        );
    }

    #[test]
    fn a_page_size_that_is_none_maps_nothing() {
        assert_eq!(spans(0x4000, None, 0), [(0, 0x4000, false)]);
        assert_eq!(spans(0x4000, None, 0x1001), [(0, 0x4000, false)]);
    }
}
