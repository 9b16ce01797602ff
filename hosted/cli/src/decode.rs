//! `vfio decode`: one captured reply, decoded.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::Serialize;
use vfio_core::wire::info::Malformed;
use vfio_hosted::report::{self, Kind, Reply, Status};

use crate::describe;
use crate::failure::Failure;
use crate::file::Input;
use crate::output;
use crate::target::World;

/// Decode one captured INFO reply.
///
/// Writes JSON where the output is no terminal. Exits with 0 for a whole reply, 4 for one that did not fit into
/// its buffer, 3 for a malformed one.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The ioctl that it comes from.
    #[arg(long, value_parser = kind())]
    kind: Kind,

    /// The file holds hexadecimal digits; white space between them does not count.
    #[arg(long)]
    hex: bool,

    /// The whole buffer after the call, of exactly the length that was passed; - for standard input.
    file: PathBuf,
}

/// Takes the name of a kind.
fn kind() -> impl TypedValueParser<Value = Kind> {
    PossibleValuesParser::new(Kind::ALL.map(Kind::name))
        .try_map(|name| Kind::by_name(&name).ok_or("there is no such kind"))
}

/// The status of a reply that did not fit into its buffer.
const TOO_SMALL: u8 = 4;

/// A malformed reply, as JSON.
#[derive(Serialize)]
struct Broken {
    error: Error,
}

#[derive(Serialize)]
struct Error {
    kind: &'static str,
    offset: u32,
    message: String,
}

pub(crate) fn run(args: &Args, world: &World) -> Result<ExitCode, Failure> {
    let reply = read(&args.file, args.hex)?;
    let as_json = world.json || !io::stdout().is_terminal();
    match report::decode(args.kind, &reply) {
        Ok(reply) if as_json => {
            output::json(&reply)?;
            Ok(status(&reply))
        }
        Ok(reply) => {
            let mut out = output::stdout();
            describe::reply(&mut out, &reply)?;
            out.flush()?;
            Ok(status(&reply))
        }
        Err(error) => {
            if as_json {
                output::json(&Broken::from(error))?;
            }
            Err(Failure::Malformed(error))
        }
    }
}

/// Returns the bytes of a file, or the bytes that its digits stand for.
fn read(path: &Path, is_hex: bool) -> Result<Vec<u8>, Failure> {
    let bytes = Input::open(path)?.whole()?;
    if !is_hex {
        return Ok(bytes);
    }
    digits(&bytes).ok_or_else(|| Failure::NotHex {
        path: path.to_owned(),
    })
}

/// Returns the bytes that pairs of hexadecimal digits stand for.
fn digits(text: &[u8]) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .iter()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| {
            char::from(*byte)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        })
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty()
        .then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

fn status(reply: &Reply) -> ExitCode {
    match reply.status {
        Status::Complete | Status::NoCaps => ExitCode::SUCCESS,
        Status::BufferTooSmall => ExitCode::from(TOO_SMALL),
    }
}

impl From<Malformed> for Broken {
    fn from(error: Malformed) -> Self {
        Self {
            error: Error {
                kind: error.kind(),
                offset: error.offset(),
                message: error.to_string(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_may_be_spaced_as_dumps_space_them() {
        assert_eq!(digits(b"20 00\n0A ff\n"), Some(vec![0x20, 0, 0x0a, 0xff]));
        assert_eq!(digits(b""), Some(vec![]));
        assert_eq!(digits(b"200"), None);
        assert_eq!(digits(b"0x20"), None);
    }
}
