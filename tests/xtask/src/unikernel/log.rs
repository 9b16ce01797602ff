//! The log of an image: defmt frames, decoded with what the image itself leaves at home.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;

use anyhow::{Context as _, Result};
use defmt_decoder::{DecodeError, Location, StreamDecoder, Table};

use super::image::Image;

/// What the frames of an image mean.
pub(crate) struct Dictionary {
    table: Table,
    places: BTreeMap<u64, Location>,
}

/// Decodes frames as they come.
pub(crate) struct Decoder<'d> {
    places: &'d BTreeMap<u64, Location>,
    stream: Box<dyn StreamDecoder + Send + Sync + 'd>,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// How serious it is, in lower case.
    pub(crate) level: String,
    /// What it says.
    pub(crate) text: String,
    /// Where it was said.
    pub(crate) place: String,
}

impl Dictionary {
    /// Reads the log format of `image`.
    ///
    /// # Errors
    ///
    /// The image can't be read, or its defmt is of another version.
    pub(crate) fn read(image: &Image) -> Result<Self> {
        let path = &image.whole;
        let elf = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let table = Table::parse(&elf)?.context("the image logs nothing")?;
        let places = table.get_locations(&elf)?;
        Ok(Self { table, places })
    }

    /// Returns a decoder for one boot.
    pub(crate) fn decoder(&self) -> Decoder<'_> {
        Decoder {
            places: &self.places,
            stream: self.table.new_stream_decoder(),
        }
    }
}

impl Decoder<'_> {
    /// Returns the lines that are whole with these `bytes`. What can't be decoded is a line that says so: an exception
    /// leaves half a frame behind.
    pub(crate) fn decode(&mut self, bytes: &[u8]) -> Vec<Line> {
        self.stream.received(bytes);
        let mut lines = Vec::new();
        loop {
            match self.stream.decode() {
                Ok(frame) => lines.push(Line {
                    level: frame
                        .level()
                        .map_or("print", |level| level.as_str())
                        .to_owned(),
                    text: frame.display_message().to_string(),
                    place: self
                        .places
                        .get(&frame.index())
                        .map_or_else(String::new, place),
                }),
                Err(DecodeError::UnexpectedEof) => return lines,
                Err(DecodeError::Malformed) => lines.push(Line {
                    level: "lost".into(),
                    text: "bytes that are no frame".into(),
                    place: String::new(),
                }),
            }
        }
    }
}

/// Returns a file and a line, from the root of the workspace on where it is in it.
fn place(location: &Location) -> String {
    let root = crate::paths::root();
    let file = location.file.strip_prefix(&root).unwrap_or(&location.file);
    format!("{}:{}", file.display(), location.line)
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:5} {}", self.level, self.text)?;
        if !self.place.is_empty() {
            write!(f, "  ({})", self.place)?;
        }
        Ok(())
    }
}
