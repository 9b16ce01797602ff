//! The matrix of drivers and worlds: where each reference driver ran, and how that ended.

use std::fmt;
use std::fs;

use anyhow::{Context as _, Result};
use comfy_table::{Cell as TableCell, ContentArrangement, Table, presets};
use serde::Serialize;
use vfio_guest::Outcome;

use crate::paths;

/// How wide the table is where there is no terminal to ask, in columns.
const WIDTH: u16 = 120;

/// Where each driver ran, and how that ended.
#[derive(Default, Serialize)]
pub(crate) struct Matrix {
    cells: Vec<Cell>,
}

/// A driver in a world.
#[derive(Serialize)]
struct Cell {
    driver: String,
    world: String,
    outcome: Outcome,
    /// Why it failed or was not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Matrix {
    /// Adds how a driver ended in a world, with what was seen or the reason. What is told twice keeps the worse.
    pub(crate) fn add(&mut self, driver: &str, world: &str, outcome: Outcome, detail: &str) {
        let reason = (outcome != Outcome::Passed).then(|| detail.to_owned());
        let is_it = |cell: &&mut Cell| cell.driver == driver && cell.world == world;
        match self.cells.iter_mut().find(is_it) {
            Some(cell) if severity(cell.outcome) >= severity(outcome) => (),
            Some(cell) => {
                cell.outcome = outcome;
                cell.reason = reason;
            }
            None => self.cells.push(Cell {
                driver: driver.into(),
                world: world.into(),
                outcome,
                reason,
            }),
        }
    }

    /// Adds what another matrix tells.
    pub(crate) fn append(&mut self, other: Self) {
        for cell in other.cells {
            let detail = cell.reason.unwrap_or_default();
            self.add(&cell.driver, &cell.world, cell.outcome, &detail);
        }
    }

    /// Adds how a step ended in which `driver` ran in `world`.
    pub(crate) fn add_step(&mut self, driver: &str, world: &str, ended: &Result<()>) {
        match ended {
            Ok(()) => self.add(driver, world, Outcome::Passed, ""),
            Err(error) => self.add(driver, world, Outcome::Failed, &format!("{error:#}")),
        }
    }

    /// Tells whether nothing ran.
    pub(crate) fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Writes it to `target/matrix.json`.
    ///
    /// # Errors
    ///
    /// The file can't be written.
    pub(crate) fn write(&self) -> Result<()> {
        let path = paths::target().join("matrix.json");
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Returns what `name` picks of the cells, each once, in order of appearance.
    fn names<'a>(&'a self, name: impl Fn(&'a Cell) -> &'a str) -> Vec<&'a str> {
        let mut names = Vec::new();
        for cell in &self.cells {
            if !names.contains(&name(cell)) {
                names.push(name(cell));
            }
        }
        names
    }
}

/// Returns the larger, the worse.
const fn severity(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Passed => 0,
        Outcome::NotRun => 1,
        Outcome::Failed => 2,
    }
}

impl fmt::Display for Matrix {
    /// Writes a row for each world, a column for each driver.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let drivers = self.names(|cell| &cell.driver);
        let mut table = Table::new();
        table
            .load_style(presets::UTF8_HORIZONTAL_ONLY)
            .set_content_arrangement(ContentArrangement::Dynamic);
        if table.width().is_none() {
            table.set_width(WIDTH);
        }
        table.set_header(["world"].into_iter().chain(drivers.iter().copied()));
        for world in self.names(|cell| &cell.world) {
            let mut row = vec![TableCell::new(world)];
            for driver in &drivers {
                let is_it = |cell: &&Cell| cell.world == world && cell.driver == *driver;
                row.push(match self.cells.iter().find(is_it) {
                    Some(cell) => TableCell::new(cell),
                    // Nobody meant to run it there.
                    None => TableCell::new("-"),
                });
            }
            table.add_row(row);
        }
        write!(f, "{table}")
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            None => write!(f, "{}", self.outcome),
            Some(reason) => write!(f, "{}: {reason}", self.outcome),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_what_is_told_stays() {
        let mut matrix = Matrix::default();
        matrix.add("edu", "here", Outcome::Passed, "every step passed");
        matrix.add("edu", "here", Outcome::Failed, "no interrupt");
        matrix.add("edu", "here", Outcome::NotRun, "no device");
        matrix.add("igb", "there", Outcome::NotRun, "no device");
        let text = matrix.to_string();
        assert!(text.contains("failed: no interrupt"), "{text}");
        let json = serde_json::to_value(&matrix).unwrap();
        assert_eq!(json["cells"].as_array().map(Vec::len), Some(2));
        assert_eq!(json["cells"][0]["outcome"], "failed");
        assert_eq!(json["cells"][1]["reason"], "no device");
    }
}
