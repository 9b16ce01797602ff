//! Writing a chain, as the kernel lays it out.

use core::fmt;

use zerocopy::IntoBytes;

use super::HEADER_LEN;
use crate::wire::abi::InfoCapHeader;

/// How far apart capabilities are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Align {
    /// As kernels before 6.6: each follows the one before it, whose sizes are multiples of 4.
    Packed,
    /// As kernels since 6.6: multiples of 8 bytes.
    #[default]
    Eight,
}

/// Appends capabilities to a buffer.
///
/// The writer always counts: [`Writer::len`] is the size that the whole reply needs, however
/// short the buffer is. What does not fit is not written.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Writer<'b> {
    reply: &'b mut [u8],
    align: Align,
    len: u32,
    last: Option<u32>,
}

/// A chain that is longer than a 32-bit offset can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Full;

impl<'b> Writer<'b> {
    /// Starts a chain in `reply` behind a fixed structure of `fixed` bytes.
    #[must_use]
    pub const fn new(reply: &'b mut [u8], fixed: u32, align: Align) -> Self {
        Self {
            reply,
            align,
            len: fixed,
            last: None,
        }
    }

    /// Returns how many bytes the reply needs so far.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Tells whether no capability was appended yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    /// Appends a capability whose body is `parts`, one behind the other. Gaps are zeroed.
    ///
    /// # Errors
    /// [`Full`]; the chain is then as it was.
    pub fn push(&mut self, id: u16, version: u16, parts: &[&[u8]]) -> Result<(), Full> {
        let start = self.len;
        let mut used = HEADER_LEN;
        for part in parts {
            let len = u32::try_from(part.len()).map_err(|_| Full)?;
            used = used.checked_add(len).ok_or(Full)?;
        }
        let taken = match self.align {
            Align::Packed => Some(used),
            Align::Eight => used.checked_next_multiple_of(8),
        };
        let end = taken.and_then(|len| start.checked_add(len)).ok_or(Full)?;

        if let Some(slot) = range(self.reply, start, end) {
            slot.fill(0);
            let header = InfoCapHeader {
                id,
                version,
                next: 0,
            };
            let mut rest = put(slot, header.as_bytes());
            for part in parts {
                rest = put(rest, part);
            }
            self.link(start);
        }
        self.last = Some(start);
        self.len = end;
        Ok(())
    }

    /// Makes the capability before name the one at `next`.
    fn link(&mut self, next: u32) {
        // `next` is the last of the header's fields.
        let field = self
            .last
            .and_then(|last| Some((last.checked_add(4)?, last.checked_add(8)?)));
        if let Some((start, end)) = field
            && let Some(slot) = range(self.reply, start, end)
        {
            slot.iter_mut()
                .zip(next.to_ne_bytes())
                .for_each(|(to, from)| *to = from);
        }
    }
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the chain is longer than 4 GiB")
    }
}

impl core::error::Error for Full {}

/// Puts bytes at the start of a slot; what is behind them.
fn put<'s>(slot: &'s mut [u8], bytes: &[u8]) -> &'s mut [u8] {
    let Some((start, rest)) = slot.split_at_mut_checked(bytes.len()) else {
        return &mut [];
    };
    start
        .iter_mut()
        .zip(bytes)
        .for_each(|(to, from)| *to = *from);
    rest
}

/// Returns the bytes `start..end` of a reply, where it has them.
fn range(reply: &mut [u8], start: u32, end: u32) -> Option<&mut [u8]> {
    reply.get_mut(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::chain::Chain;

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = [0xa5; 72];
        let mut writer = Writer::new(&mut bytes, 32, Align::Eight);
        writer.push(3, 1, &[&[1; 4]]).unwrap();
        writer.push(2, 1, &[&[2; 3], &[2; 5]]).unwrap();
        assert_eq!(writer.len(), 64);
        let chain = Chain::parse(&bytes, 32, 32).unwrap();
        let mut caps = chain.iter();
        let first = caps.next().unwrap();
        assert_eq!(
            (first.offset, first.next, first.body()),
            (32, 48, &[1, 1, 1, 1, 0, 0, 0, 0][..])
        );
        let second = caps.next().unwrap();
        assert_eq!(
            (second.offset, second.next, &second.body()[..8]),
            (48, 0, &[2; 8][..])
        );
    }

    #[test]
    fn packed_chains_have_no_gaps() {
        let mut bytes = [0; 64];
        let mut writer = Writer::new(&mut bytes, 24, Align::Packed);
        writer.push(3, 1, &[&[0; 4]]).unwrap();
        writer.push(1, 1, &[&[0; 8]]).unwrap();
        assert_eq!(writer.len(), 52);
    }

    #[test]
    fn a_short_buffer_is_counted_and_not_written_past() {
        let mut bytes = [0xa5; 47];
        let mut writer = Writer::new(&mut bytes, 32, Align::Eight);
        writer.push(2, 1, &[&[0; 8]]).unwrap();
        assert_eq!(writer.len(), 48);
        assert_eq!(bytes, [0xa5; 47]);
    }
}
