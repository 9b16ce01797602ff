//! How results and failures are written: tables, JSON, and colours where somebody sees them.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use comfy_table::{Attribute, Cell, ContentArrangement, Table, presets};
use rustix::termios::tcgetwinsize;
use serde::Serialize;

use crate::failure::Failure;
use crate::file::is_standard;

/// What is said before a failure.
pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
/// Commands that can be run as they are.
pub(crate) const COMMAND: Style = AnsiColor::Cyan.on_default();
/// What a paragraph is about.
pub(crate) const SUBJECT: Style = Style::new().bold();

/// Returns standard output. Styles get through to a terminal only, and not if `NO_COLOR` is set.
pub(crate) fn stdout() -> impl Write {
    anstream::stdout().lock()
}

/// Returns where to tell of a result that goes to a file: standard output, or standard error where the file is
/// that.
pub(crate) fn beside(file: Option<&Path>) -> Box<dyn Write> {
    if file.is_some_and(is_standard) {
        Box::new(anstream::stderr().lock())
    } else {
        Box::new(anstream::stdout().lock())
    }
}

/// The number of the schema that this program's JSON follows. It changes where a name goes or means something else.
const SCHEMA: u32 = 1;

/// A value as it is written: its own names, behind the schema's number.
#[derive(Serialize)]
struct Document<'v, T> {
    schema: u32,
    #[serde(flatten)]
    value: &'v T,
}

/// A failure, as JSON.
#[derive(Serialize)]
struct Failed {
    error: Told,
}

#[derive(Serialize)]
struct Told {
    kind: &'static str,
    message: String,
    way_out: String,
}

/// Writes a value as JSON, for programs to read: an object with names.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    json_to(&mut stdout(), value)
}

/// Writes as [`json`] does, elsewhere.
pub(crate) fn json_to(out: &mut dyn Write, value: &impl Serialize) -> Result<(), Failure> {
    let document = Document {
        schema: SCHEMA,
        value,
    };
    serde_json::to_writer_pretty(&mut *out, &document).map_err(io::Error::from)?;
    writeln!(out)?;
    out.flush()?;
    Ok(())
}

/// Writes a text as it is, and ends its last line.
pub(crate) fn text(text: &str) -> Result<(), Failure> {
    let mut out = stdout();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}

/// A terminal that says that it has fewer columns does not know: serial consoles say 0.
const LEAST_COLUMNS: u16 = 40;

/// Returns the columns of the terminal that standard output is. None where it is no terminal, or does not
/// know them.
pub(crate) fn columns() -> Option<u16> {
    tcgetwinsize(io::stdout())
        .ok()
        .map(|size| size.ws_col)
        .filter(|columns| *columns >= LEAST_COLUMNS)
}

/// Returns a table with these titles. It keeps to the width of a terminal that knows it.
pub(crate) fn table<const N: usize>(titles: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        // Whether they are seen is for the stream to say.
        .enforce_styling()
        .set_header(titles.map(|title| Cell::new(title).add_attribute(Attribute::Bold)));
    table.style_text_only();
    match columns() {
        Some(columns) => table.set_width(columns),
        // Nor is the width looked for elsewhere.
        None => table.force_no_tty(),
    };
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// Writes a failure to standard error, for people or as JSON.
pub(crate) fn report(failure: &Failure, as_json: bool) {
    if !as_json {
        return self::failure(failure);
    }
    if failure.status() == ExitCode::SUCCESS {
        return;
    }
    // There is nowhere left to report a failure to.
    let _ = json_to(
        &mut anstream::stderr().lock(),
        &Failed {
            error: Told {
                kind: failure.kind(),
                message: failure.to_string(),
                way_out: failure.way_out().into_owned(),
            },
        },
    );
}

/// Writes a failure to standard error, unless nobody listens.
pub(crate) fn failure(failure: &Failure) {
    if failure.status() == ExitCode::SUCCESS {
        return;
    }
    let mut err = anstream::stderr().lock();
    // There is nowhere left to report a failure to.
    let _ = writeln!(err, "{ERROR}error:{ERROR:#} {}", failure.sentences());
}
