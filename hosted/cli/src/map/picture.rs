//! The picture as SVG.

use svg::Document;
use svg::node::element::{Definitions, Group, Line, Path, Pattern, Rectangle, Text, Title};

use super::Map;
use super::layout::{Cell, Content, cells, edges};
use crate::describe;
use vfio_hosted::report::RegionReport;

/// All lengths are in pixels.
const WIDTH: f64 = 960.0;
const MARGIN: f64 = 32.0;
const BAR_WIDTH: f64 = WIDTH - 2.0 * MARGIN;
const BAR_HEIGHT: f64 = 52.0;
/// From the top of one region to the top of the next.
const ROW: f64 = 124.0;
/// From the top of a region to the top of its bar.
const ABOVE_BAR: f64 = 16.0;
const HEADER: f64 = 112.0;
const FOOTER: f64 = 72.0;
/// So that what is written into a cell has room.
const LEAST_CELL: f64 = 110.0;

const SANS: &str = "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif";
const MONO: &str = "ui-monospace, 'DejaVu Sans Mono', monospace";
/// How wide a character is at most, in parts of the size of its font.
const CHARACTER: f64 = 0.62;

const INK: &str = "#1f2933";
const FAINT: &str = "#616e7c";
const MAPPED: &str = "#8fd3b6";
const TRAPPED: &str = "#f6cf7f";
const PAPER: &str = "#ffffff";

/// Draws a bar for each region, each over the full width, with an axis of its own.
pub(super) fn svg(map: &Map) -> String {
    let rows = map.regions.len() as f64;
    let height = HEADER + rows * ROW + FOOTER;
    let mut document = Document::new()
        .set("viewBox", (0, 0, WIDTH, height))
        .set("width", WIDTH)
        .set("height", height)
        .add(Title::new(format!("BARs of {}", map.device)))
        .add(hatches())
        .add(rectangle(0.0, 0.0, WIDTH, height).set("fill", PAPER))
        .add(text(&map.title(), MARGIN, 44.0, 22.0).set("font-weight", "bold"))
        .add(text(&subtitle(map), MARGIN, 68.0, 13.0).set("fill", FAINT));
    let mut top = HEADER;
    for region in &map.regions {
        document = document.add(bar(region, &cells(region, map.msix), top));
        top += ROW;
    }
    document.add(legend(top + 16.0)).to_string()
}

fn subtitle(map: &Map) -> String {
    let page = describe::bytes(map.page);
    if map.regions.is_empty() {
        return "no BAR".into();
    }
    format!("{} · pages of {page}", map.msix_line())
}

/// Returns a region: its name and size, its cells, and the offsets at which they begin.
fn bar(region: &RegionReport, cells: &[Cell], top: f64) -> Group {
    let name = text(&region.name, MARGIN, top, 15.0).set("font-weight", "bold");
    let size = format!(
        "{} · {}",
        describe::bytes(region.size),
        region.flags.join(" ")
    );
    let bar_top = top + ABOVE_BAR;
    let mut group = Group::new().add(name).add(
        text(&size, WIDTH - MARGIN, top, 13.0)
            .set("fill", FAINT)
            .set("text-anchor", "end"),
    );
    let edges = edges(cells, BAR_WIDTH, LEAST_CELL);
    for (cell, bounds) in cells.iter().zip(edges.windows(2)) {
        if let &[left, right] = bounds {
            group = group.add(drawn_cell(cell, MARGIN + left, right - left, bar_top));
        }
    }
    let frame = rectangle(MARGIN, bar_top, BAR_WIDTH, BAR_HEIGHT)
        .set("fill", "none")
        .set("stroke", INK)
        .set("stroke-width", 1.5);
    axis(group.add(frame), cells, &edges, bar_top + BAR_HEIGHT)
}

fn drawn_cell(cell: &Cell, left: f64, width: f64, top: f64) -> Group {
    let fill = if cell.mapped { MAPPED } else { TRAPPED };
    let range = format!("{:#x}-{:#x}", cell.start, cell.end.saturating_sub(1));
    let name = cell.content.name();
    let about = name.map_or_else(String::new, |name| format!(", {name}"));
    let mut group = Group::new()
        .add(Title::new(format!("{range}: {}{about}", cell.access())))
        .add(rectangle(left, top, width, BAR_HEIGHT).set("fill", fill));
    if let Some(pattern) = hatch(cell.content) {
        group = group.add(rectangle(left, top, width, BAR_HEIGHT).set("fill", pattern));
    }
    group = group.add(
        rectangle(left, top, width, BAR_HEIGHT)
            .set("fill", "none")
            .set("stroke", INK)
            .set("stroke-opacity", 0.45),
    );
    let label = name.unwrap_or(cell.access()).to_owned();
    let middle = left + width / 2.0;
    for (line, size, down) in [
        (label, 13.0, 23.0),
        (describe::bytes(cell.size()), 12.0, 40.0),
    ] {
        let wide = length(&line, size);
        // What does not fit is left to the axis and to the title that a viewer shows.
        if wide + 6.0 > width {
            continue;
        }
        if name.is_some() {
            // Keeps letters legible on hatches.
            group = group.add(
                rectangle(middle - wide / 2.0, top + down - 13.0, wide, 17.0)
                    .set("fill", fill)
                    .set("rx", 3),
            );
        }
        group = group.add(text(&line, middle, top + down, size).set("text-anchor", "middle"));
    }
    group
}

/// Marks where cells begin and where the last ends; offsets that would touch are left out.
fn axis(group: Group, cells: &[Cell], edges: &[f64], top: f64) -> Group {
    const SIZE: f64 = 11.5;
    let offsets = cells
        .iter()
        .map(|cell| cell.start)
        .chain(cells.last().map(|cell| cell.end));
    let mut marks: Vec<(f64, String)> = edges
        .iter()
        .map(|edge| MARGIN + edge)
        .zip(offsets.map(|offset| format!("{offset:#x}")))
        .collect();
    let Some((last_x, last)) = marks.pop() else {
        return group;
    };
    let last_left = last_x - length(&last, SIZE);
    let mut group = mark(group, last_x, &last, top, "end", SIZE);
    let mut free = f64::MIN;
    for (index, (x, offset)) in marks.iter().enumerate() {
        let wide = length(offset, SIZE);
        let (anchor, left) = if index == 0 {
            ("start", *x)
        } else {
            ("middle", x - wide / 2.0)
        };
        let fits = left >= free && (index == 0 || left + wide + 8.0 <= last_left);
        let shown = if fits { offset.as_str() } else { "" };
        if fits {
            free = left + wide + 8.0;
        }
        group = mark(group, *x, shown, top, anchor, SIZE);
    }
    group
}

fn mark(group: Group, x: f64, offset: &str, top: f64, anchor: &'static str, size: f64) -> Group {
    let tick = Line::new()
        .set("x1", x)
        .set("x2", x)
        .set("y1", top)
        .set("y2", top + 6.0)
        .set("stroke", INK);
    let group = group.add(tick);
    if offset.is_empty() {
        return group;
    }
    group.add(
        text(offset, x, top + 20.0, size)
            .set("font-family", MONO)
            .set("text-anchor", anchor),
    )
}

fn legend(top: f64) -> Group {
    let entries = [
        (MAPPED, Content::Registers, "can be mapped"),
        (
            TRAPPED,
            Content::Registers,
            "trapped: read and written by system calls",
        ),
        (PAPER, Content::Table, "MSI-X table"),
        (PAPER, Content::Pending, "MSI-X pending bits"),
    ];
    let mut left = MARGIN;
    let mut group = Group::new();
    for (fill, content, label) in entries {
        let swatch = || rectangle(left, top - 12.0, 22.0, 16.0).set("stroke", INK);
        group = group.add(swatch().set("fill", fill));
        if let Some(pattern) = hatch(content) {
            group = group.add(swatch().set("fill", pattern));
        }
        group = group.add(text(label, left + 30.0, top, 13.0));
        left += 30.0 + length(label, 13.0) + 18.0;
    }
    let note = "Each region has the full width, and short parts are widened.";
    let note = text(note, MARGIN, top + 28.0, 12.0).set("fill", FAINT);
    group.add(note)
}

const fn hatch(content: Content) -> Option<&'static str> {
    match content {
        Content::Registers => None,
        Content::Table => Some("url(#table)"),
        Content::Pending => Some("url(#pending)"),
    }
}

/// Strokes that rise for the table, and that fall for the pending bits.
fn hatches() -> Definitions {
    let pattern = |id: &str, strokes: &str| {
        let strokes = Path::new()
            .set("d", strokes)
            .set("stroke", INK)
            .set("stroke-opacity", 0.55)
            .set("stroke-width", 1.6);
        Pattern::new()
            .set("id", id)
            .set("width", 8)
            .set("height", 8)
            .set("patternUnits", "userSpaceOnUse")
            .add(strokes)
    };
    Definitions::new()
        .add(pattern("table", "M-2,2 L2,-2 M0,8 L8,0 M6,10 L10,6"))
        .add(pattern("pending", "M-2,6 L2,10 M0,0 L8,8 M6,-2 L10,2"))
}

fn rectangle(x: f64, y: f64, width: f64, height: f64) -> Rectangle {
    Rectangle::new()
        .set("x", x)
        .set("y", y)
        .set("width", width)
        .set("height", height)
}

fn text(content: &str, x: f64, y: f64, size: f64) -> Text {
    Text::new(content)
        .set("x", x)
        .set("y", y)
        .set("font-family", SANS)
        .set("font-size", size)
        .set("fill", INK)
}

/// Returns about how long a text is.
fn length(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * CHARACTER
}
