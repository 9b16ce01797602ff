//! Reading a chain.

use zerocopy::FromBytes;

use super::{ChainError, HEADER_LEN};
use crate::wire::abi::InfoCapHeader;

/// A chain that was checked as a whole: every header lies in bounds, past the fixed structure
/// and past the header before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Chain<'a> {
    reply: &'a [u8],
    first: u32,
}

/// One capability of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Capability<'a> {
    /// What it is; each INFO ioctl has ids of its own.
    pub id: u16,
    /// The layout of its body.
    pub version: u16,
    /// Where its header starts, in bytes from the start of the reply.
    pub offset: u32,
    /// Where the next header starts; 0 in the last capability.
    pub next: u32,
    /// The header and what follows it, up to the next header or the end of the reply.
    pub bytes: &'a [u8],
}

/// The capabilities of a checked chain, in its order.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Iter<'a> {
    reply: &'a [u8],
    at: u32,
}

impl<'a> Chain<'a> {
    /// A chain without capabilities.
    pub const EMPTY: Self = Self {
        reply: &[],
        first: 0,
    };

    /// Checks the chain that starts at `first` of `reply`, whose fixed structure takes `fixed`
    /// bytes. `reply` ends where the chain's buffer ends: at argsz.
    ///
    /// # Errors
    /// [`ChainError`]; a `first` of 0 is [`ChainError::Missing`].
    #[inline]
    pub fn parse(reply: &'a [u8], fixed: u32, first: u32) -> Result<Self, ChainError> {
        let mut at = Self::start(fixed, first)?;
        loop {
            // Strictly increasing by at least a header: the walk ends with the reply.
            match Capability::read(reply, at)?.next {
                0 => return Ok(Self { reply, first }),
                next => at = next,
            }
        }
    }

    /// Checks the offset of the first header.
    #[inline]
    pub(crate) fn start(fixed: u32, first: u32) -> Result<u32, ChainError> {
        match first {
            0 => Err(ChainError::Missing),
            _ if first < fixed => Err(ChainError::InsideStruct {
                offset: first,
                fixed,
            }),
            _ => Ok(first),
        }
    }

    /// Creates the chain of a reply that was read from `first` to its end.
    #[inline]
    pub(crate) const fn checked(reply: &'a [u8], first: u32) -> Self {
        Self { reply, first }
    }

    /// Returns the capabilities, in the order of the chain.
    #[inline]
    #[must_use]
    pub const fn iter(&self) -> Iter<'a> {
        Iter {
            reply: self.reply,
            at: self.first,
        }
    }

    /// Tells whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.first == 0
    }
}

impl<'a> Capability<'a> {
    /// Reads the capability at `offset`, bounded by the next header or by the end of `reply`.
    #[inline]
    pub(crate) fn read(reply: &'a [u8], offset: u32) -> Result<Self, ChainError> {
        let out_of_bounds = |offset| ChainError::OutOfBounds {
            offset,
            len: u32::try_from(reply.len()).unwrap_or(u32::MAX),
        };
        let tail = usize::try_from(offset)
            .ok()
            .and_then(|start| reply.get(start..))
            .ok_or_else(|| out_of_bounds(offset))?;
        let Ok((header, _)) = InfoCapHeader::read_from_prefix(tail) else {
            return Err(out_of_bounds(offset));
        };
        let bytes = if header.next == 0 {
            tail
        } else {
            let Some(len) = header
                .next
                .checked_sub(offset)
                .filter(|&len| len >= HEADER_LEN)
            else {
                return Err(ChainError::NotIncreasing {
                    offset,
                    next: header.next,
                });
            };
            usize::try_from(len)
                .ok()
                .and_then(|len| tail.get(..len))
                .ok_or_else(|| out_of_bounds(header.next))?
        };
        Ok(Self {
            id: header.id,
            version: header.version,
            offset,
            next: header.next,
            bytes,
        })
    }

    /// Returns the id and the version in one number, which is compared at once. [`kind`] makes
    /// others.
    #[inline]
    pub(crate) fn kind(&self) -> u32 {
        kind(self.id, self.version)
    }

    /// Returns the bytes behind the header.
    #[inline]
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.bytes.split_at_checked(8).map_or(&[], |(_, body)| body)
    }
}

/// Returns the id in the low half, the version in the high half.
#[inline]
pub(crate) const fn kind(id: u16, version: u16) -> u32 {
    let ([a, b], [c, d]) = (id.to_le_bytes(), version.to_le_bytes());
    u32::from_le_bytes([c, d, 0, 0]) << 16 | u32::from_le_bytes([a, b, 0, 0])
}

impl<'a> Iterator for Iter<'a> {
    type Item = Capability<'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.at == 0 {
            return None;
        }
        // The chain was checked: an error can't occur, and would end the iteration.
        let capability = Capability::read(self.reply, self.at).ok()?;
        self.at = capability.next;
        Some(capability)
    }
}

impl core::iter::FusedIterator for Iter<'_> {}

impl<'a> IntoIterator for Chain<'a> {
    type Item = Capability<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &Chain<'a> {
    type Item = Capability<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a reply of `len` bytes with headers `(offset, id, next)`.
    fn reply<const N: usize>(headers: &[(usize, u16, u32)]) -> [u8; N] {
        let mut bytes = [0; N];
        for &(offset, id, next) in headers {
            bytes[offset..offset + 2].copy_from_slice(&id.to_ne_bytes());
            bytes[offset + 2..offset + 4].copy_from_slice(&1u16.to_ne_bytes());
            bytes[offset + 4..offset + 8].copy_from_slice(&next.to_ne_bytes());
        }
        bytes
    }

    #[test]
    fn capabilities_come_in_order_with_their_bodies() {
        let bytes = reply::<64>(&[(32, 7, 44), (44, 9, 0)]);
        let chain = Chain::parse(&bytes, 32, 32).unwrap();
        let seen: [_; 2] = core::array::from_fn(|n| chain.iter().nth(n).unwrap());
        assert_eq!(
            (seen[0].id, seen[0].offset, seen[0].body().len()),
            (7, 32, 4)
        );
        assert_eq!(
            (seen[1].id, seen[1].offset, seen[1].body().len()),
            (9, 44, 12)
        );
        assert_eq!(chain.iter().count(), 2);
    }

    #[test]
    fn odd_offsets_are_read() {
        let bytes = reply::<64>(&[(33, 7, 47), (47, 9, 0)]);
        assert_eq!(Chain::parse(&bytes, 32, 33).unwrap().iter().count(), 2);
    }

    #[test]
    fn loops_and_overlaps_are_errors() {
        for next in [1, 31, 32, 33, 39] {
            let bytes = reply::<64>(&[(32, 7, next)]);
            let error = Chain::parse(&bytes, 32, 32).unwrap_err();
            assert_eq!(error, ChainError::NotIncreasing { offset: 32, next });
        }
        let bytes = reply::<64>(&[(32, 7, 48), (48, 9, 32)]);
        let error = Chain::parse(&bytes, 32, 32).unwrap_err();
        assert_eq!(
            error,
            ChainError::NotIncreasing {
                offset: 48,
                next: 32
            }
        );
    }

    #[test]
    fn a_start_outside_the_chain_space_is_an_error() {
        let bytes = [0; 64];
        assert_eq!(Chain::parse(&bytes, 32, 0), Err(ChainError::Missing));
        assert_eq!(
            Chain::parse(&bytes, 32, 31),
            Err(ChainError::InsideStruct {
                offset: 31,
                fixed: 32
            })
        );
        for offset in [57, 64, 65, u32::MAX] {
            assert_eq!(
                Chain::parse(&bytes, 32, offset),
                Err(ChainError::OutOfBounds { offset, len: 64 })
            );
        }
        assert_eq!(Chain::parse(&bytes, 32, 56).unwrap().iter().count(), 1);
    }

    #[test]
    fn a_next_outside_the_reply_is_an_error() {
        for next in [57, 64, u32::MAX] {
            let bytes = reply::<64>(&[(32, 7, next)]);
            assert_eq!(
                Chain::parse(&bytes, 32, 32),
                Err(ChainError::OutOfBounds {
                    offset: next,
                    len: 64
                })
            );
        }
    }
}
