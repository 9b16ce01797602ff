//! A configuration space in memory.

use core::fmt;

use super::{ConfigAccess, ConfigWrite, EXTENDED_SIZE};

/// Bytes of a configuration space, from its start: a copy, a capture, or a simulated device.
///
/// It may be shorter than 256 bytes: without privileges, Linux shows 64 in sysfs. Bytes past the
/// 4096th are no part of the space. A write changes the bytes and has no other effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Snapshot<B>(
    /// The bytes.
    pub B,
);

/// An access that ends past the bytes of a [`Snapshot`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PastEnd;

impl<B: AsRef<[u8]>> ConfigAccess for Snapshot<B> {
    type Error = PastEnd;

    #[inline]
    fn size(&self) -> u16 {
        let len = self.0.as_ref().len();
        u16::try_from(len).map_or(EXTENDED_SIZE, |len| len.min(EXTENDED_SIZE))
    }

    #[inline]
    fn read(&self, offset: u16, buf: &mut [u8]) -> Result<(), PastEnd> {
        let bytes = self.0.as_ref().get(usize::from(offset)..).ok_or(PastEnd)?;
        let bytes = bytes.get(..buf.len()).ok_or(PastEnd)?;
        buf.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Ok(())
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> ConfigWrite for Snapshot<B> {
    #[inline]
    fn write(&mut self, offset: u16, bytes: &[u8]) -> Result<(), PastEnd> {
        let space = self.0.as_mut().get_mut(usize::from(offset)..);
        let space = space
            .and_then(|space| space.get_mut(..bytes.len()))
            .ok_or(PastEnd)?;
        space
            .iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
        Ok(())
    }
}

impl fmt::Display for PastEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the access ends past the bytes that are there")
    }
}

impl core::error::Error for PastEnd {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_end_with_the_bytes() {
        let mut space = Snapshot([1, 2, 3, 4]);
        let mut buf = [0; 2];
        assert_eq!(space.read(2, &mut buf), Ok(()));
        assert_eq!(buf, [3, 4]);
        assert_eq!(space.read(3, &mut buf), Err(PastEnd));
        assert_eq!(space.read(u16::MAX, &mut buf), Err(PastEnd));
        assert_eq!(space.write(0, &[9]), Ok(()));
        assert_eq!(space.write(4, &[9]), Err(PastEnd));
        assert_eq!(space.0, [9, 2, 3, 4]);
    }

    #[test]
    fn a_space_has_at_most_4096_bytes() {
        assert_eq!(Snapshot([0; 64]).size(), 64);
        assert_eq!(Snapshot([0; 4097]).size(), 4096);
        assert_eq!(Snapshot(std::vec![0; 0x1_0000]).size(), 4096);
    }
}
