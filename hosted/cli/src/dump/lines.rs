//! The lines of a dump, in the format of `hexdump -C`.

use std::io::{self, Write};

/// Writes lines of up to 16 bytes. A line that repeats the one before is folded into `*`.
pub(super) struct Lines {
    /// How many digits offsets have.
    digits: usize,
    last: Vec<u8>,
    folding: bool,
}

/// How many bytes a line shows.
const BYTES: usize = 16;

impl Lines {
    /// Creates the lines for a region of `size` bytes.
    pub(super) fn new(size: u64) -> Self {
        let digits = format!("{size:x}").len().max(8);
        Self {
            digits,
            last: Vec::new(),
            folding: false,
        }
    }

    /// Writes the bytes at `at`, all in one line.
    pub(super) fn write(&mut self, out: &mut impl Write, at: u64, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() == BYTES && bytes == self.last {
            if !self.folding {
                self.folding = true;
                writeln!(out, "*")?;
            }
            return Ok(());
        }
        self.folding = false;
        self.last = bytes.to_vec();

        let line = BYTES as u64;
        // A line that begins within shows its bytes where they would be.
        let skipped = usize::try_from(at % line).unwrap_or(0);
        let cells = |index: usize| {
            index
                .checked_sub(skipped)
                .and_then(|index| bytes.get(index))
        };
        write!(out, "{:0digits$x} ", at - at % line, digits = self.digits)?;
        for index in 0..BYTES {
            if index % 8 == 0 {
                write!(out, " ")?;
            }
            match cells(index) {
                Some(byte) => write!(out, "{byte:02x} ")?,
                None => write!(out, "   ")?,
            }
        }
        let text: String = (0..skipped.saturating_add(bytes.len()))
            .map(|index| match cells(index) {
                Some(byte) if byte.is_ascii_graphic() || *byte == b' ' => char::from(*byte),
                Some(_) => '.',
                None => ' ',
            })
            .collect();
        writeln!(out, " |{text}|")
    }

    /// Ends a range with the offset past its last byte.
    pub(super) fn finish(&mut self, out: &mut impl Write, end: u64) -> io::Result<()> {
        self.last.clear();
        self.folding = false;
        writeln!(out, "{end:0digits$x}", digits = self.digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_lines_are_folded() {
        let mut lines = Lines::new(0x100);
        let mut out = Vec::new();
        lines.write(&mut out, 0, b"0123456789abcde\n").unwrap();
        for at in [0x10, 0x20, 0x30] {
            lines.write(&mut out, at, &[0xff; 16]).unwrap();
        }
        lines.write(&mut out, 0x40, &[0; 4]).unwrap();
        lines.finish(&mut out, 0x44).unwrap();
        let expected = "\
00000000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 0a  |0123456789abcde.|
00000010  ff ff ff ff ff ff ff ff  ff ff ff ff ff ff ff ff  |................|
*
00000040  00 00 00 00                                       |....|
00000044
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn bytes_stand_in_their_columns() {
        let mut lines = Lines::new(1 << 40);
        let mut out = Vec::new();
        lines.write(&mut out, 0x1e, b"ok").unwrap();
        let expected =
            "00000000010                                             6f 6b  |              ok|\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
