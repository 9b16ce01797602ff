//! The picture on a terminal, in block characters.

use std::io::Write;

use anstyle::{AnsiColor, Style};

use super::Map;
use super::layout::{Cell, Content, cells, edges};
use crate::describe;
use crate::failure::Failure;
use crate::output::{self, SUBJECT};

const MAPPED: Style = AnsiColor::Green.on_default();
const TRAPPED: Style = AnsiColor::Yellow.on_default();
/// How many columns there are where no terminal tells.
const COLUMNS: u16 = 80;
/// More would only be harder to follow.
const MOST_COLUMNS: u16 = 120;

/// Draws a bar for each region, with what lies in it below.
pub(super) fn draw(map: &Map) -> Result<(), Failure> {
    let mut out = output::stdout();
    writeln!(out, "{SUBJECT}{}{SUBJECT:#}", map.title())?;
    writeln!(out, "{}", map.msix_line())?;
    let columns = output::columns().unwrap_or(COLUMNS).min(MOST_COLUMNS);
    let columns = columns.saturating_sub(2);
    for region in &map.regions {
        writeln!(
            out,
            "\n{SUBJECT}{}{SUBJECT:#}, {}",
            region.name,
            describe::bytes(region.size)
        )?;
        let cells = cells(region, map.msix);
        let edges: Vec<u16> = edges(&cells, columns.into(), 1.0)
            .into_iter()
            .map(|edge| edge.round() as u16)
            .collect();
        write!(out, "  ")?;
        for (cell, edges) in cells.iter().zip(edges.windows(2)) {
            let width = edges
                .last()
                .zip(edges.first())
                .map_or(0, |(end, start)| end.saturating_sub(*start));
            let style = style(cell);
            let blocks: String = std::iter::repeat_n(block(cell), width.into()).collect();
            write!(out, "{style}{blocks}{style:#}")?;
        }
        writeln!(out)?;
        for cell in &cells {
            let style = style(cell);
            let range = format!("{:#x}-{:#x}", cell.start, cell.end.saturating_sub(1));
            let block = block(cell);
            let access = cell.access();
            let content = cell
                .content
                .name()
                .map_or_else(String::new, |name| format!(", {name}"));
            writeln!(
                out,
                "  {style}{block}{style:#} {range:<24} {:>8}  {access}{content}",
                describe::bytes(cell.size())
            )?;
        }
    }
    if map.regions.is_empty() {
        writeln!(out, "\nThere is nothing to draw: it has no BAR.")?;
    }
    out.flush()?;
    Ok(())
}

const fn style(cell: &Cell) -> Style {
    if cell.mapped { MAPPED } else { TRAPPED }
}

/// Cells differ without colours, too.
const fn block(cell: &Cell) -> char {
    match (cell.content, cell.mapped) {
        (Content::Registers, true) => '█',
        (Content::Registers, false) => '░',
        (Content::Table, _) => '▚',
        (Content::Pending, _) => '▞',
    }
}
