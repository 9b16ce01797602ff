//! Ranges of bytes as they are written on the command line.

use std::str::FromStr;

use vfio_hosted::report::RegionReport;

use crate::access_error::AccessError;
use crate::number;

/// A range of bytes of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    start: u64,
    /// The byte past the last; `None` is the end of the region.
    end: Option<u64>,
}

impl Stretch {
    /// All of a region.
    pub(super) const WHOLE: Self = Self {
        start: 0,
        end: None,
    };

    /// Returns the first byte and the one past the last. Fails unless the region has them and both are
    /// multiples of `align`.
    pub(super) fn within(
        self,
        region: &RegionReport,
        align: u8,
    ) -> Result<(u64, u64), AccessError> {
        let Self { start, end } = self;
        let end = end.unwrap_or(region.size);
        let fits = start < end && end <= region.size;
        let is_aligned = [start, end]
            .iter()
            .all(|bound| bound.is_multiple_of(align.into()));
        if fits && is_aligned {
            return Ok((start, end));
        }
        Err(AccessError::Range {
            region: region.name.clone(),
            size: region.size,
            start,
            end,
            align: if fits { align } else { 1 },
        })
    }
}

impl FromStr for Stretch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((start, end)) = text.split_once("..") {
            let end = match end {
                "" => None,
                end => Some(number::parse(end)?),
            };
            let start = number::parse(start)?;
            return Ok(Self { start, end });
        }
        let (start, len) = text
            .split_once('+')
            .ok_or("a range is START..END, START.. or START+LENGTH")?;
        let start = number::parse(start)?;
        let end = start
            .checked_add(number::parse(len)?)
            .ok_or("the range ends past 64 bits")?;
        Ok(Self {
            start,
            end: Some(end),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_written_in_three_ways() {
        let stretch = |start, end| Ok(Stretch { start, end });
        assert_eq!("0x10..0x20".parse(), stretch(16, Some(32)));
        assert_eq!("16..".parse(), stretch(16, None));
        assert_eq!("0x10+4".parse(), stretch(16, Some(20)));
        for text in ["", "16", "..4", "1-2", "a..b", "0xffffffffffffffff+1"] {
            assert!(text.parse::<Stretch>().is_err(), "{text:?}");
        }
    }
}
