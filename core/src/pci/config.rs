//! Registers of a configuration space.

use core::mem;

use super::{ConfigAccess, ConfigError, ConfigWrite};

/// One function's configuration space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Config<A> {
    access: A,
}

impl<A> Config<A> {
    /// Creates the space behind `access`. Nothing is read yet.
    pub const fn new(access: A) -> Self {
        Self { access }
    }

    /// Returns the access to the space.
    pub const fn access(&self) -> &A {
        &self.access
    }

    /// Gives back how the space was reached.
    pub fn into_access(self) -> A {
        self.access
    }
}

impl<A: ConfigAccess> Config<A> {
    /// Bytes of the space.
    #[must_use]
    pub fn size(&self) -> u16 {
        self.access.size()
    }

    /// Reads a byte.
    ///
    /// # Errors
    /// [`ConfigError::OutOfSpace`], [`ConfigError::Access`]
    pub fn read_u8(&self, offset: u16) -> Result<u8, ConfigError<A::Error>> {
        self.fetch(offset, 1).map(u8::from_le_bytes)
    }

    /// Reads a 16-bit register.
    ///
    /// # Errors
    /// [`ConfigError::Misaligned`], [`ConfigError::OutOfSpace`], [`ConfigError::Access`]
    pub fn read_u16(&self, offset: u16) -> Result<u16, ConfigError<A::Error>> {
        self.fetch(offset, 2).map(u16::from_le_bytes)
    }

    /// Reads a 32-bit register.
    ///
    /// # Errors
    /// [`ConfigError::Misaligned`], [`ConfigError::OutOfSpace`], [`ConfigError::Access`]
    pub fn read_u32(&self, offset: u16) -> Result<u32, ConfigError<A::Error>> {
        self.fetch(offset, 4).map(u32::from_le_bytes)
    }

    /// Reads `buf.len()` bytes at any offset, in the widest accesses that are aligned.
    ///
    /// # Errors
    /// [`ConfigError::OutOfSpace`] before anything is read; [`ConfigError::Access`], with `buf`
    /// filled in part.
    pub fn read_bytes(&self, offset: u16, buf: &mut [u8]) -> Result<(), ConfigError<A::Error>> {
        self.check(offset, u16::try_from(buf.len()).unwrap_or(u16::MAX))?;
        let mut rest = buf;
        let mut at = offset;
        while !rest.is_empty() {
            let width = [4, 2]
                .into_iter()
                .find(|&width| at.is_multiple_of(width) && usize::from(width) <= rest.len())
                .unwrap_or(1);
            let Some((piece, tail)) = mem::take(&mut rest).split_at_mut_checked(width.into())
            else {
                break;
            };
            self.access
                .read(at, piece)
                .map_err(|error| ConfigError::Access { offset: at, error })?;
            at = at.saturating_add(width);
            rest = tail;
        }
        Ok(())
    }

    /// Reads a register of `width` = `N` bytes.
    fn fetch<const N: usize>(
        &self,
        offset: u16,
        width: u16,
    ) -> Result<[u8; N], ConfigError<A::Error>> {
        self.check_register(offset, width)?;
        let mut bytes = [0; N];
        match self.access.read(offset, &mut bytes) {
            Ok(()) => Ok(bytes),
            Err(error) => Err(ConfigError::Access { offset, error }),
        }
    }

    fn check_register(&self, offset: u16, width: u16) -> Result<(), ConfigError<A::Error>> {
        if !offset.is_multiple_of(width) {
            return Err(ConfigError::Misaligned { offset, width });
        }
        self.check(offset, width)
    }

    fn check(&self, offset: u16, len: u16) -> Result<(), ConfigError<A::Error>> {
        let size = self.size();
        match offset.checked_add(len) {
            Some(end) if end <= size => Ok(()),
            _ => Err(ConfigError::OutOfSpace { offset, len, size }),
        }
    }
}

impl<A: ConfigWrite> Config<A> {
    /// Writes a byte.
    ///
    /// # Errors
    /// [`ConfigError::OutOfSpace`], [`ConfigError::Access`]
    pub fn write_u8(&mut self, offset: u16, value: u8) -> Result<(), ConfigError<A::Error>> {
        self.store(offset, 1, &value.to_le_bytes())
    }

    /// Writes a 16-bit register.
    ///
    /// # Errors
    /// [`ConfigError::Misaligned`], [`ConfigError::OutOfSpace`], [`ConfigError::Access`]
    pub fn write_u16(&mut self, offset: u16, value: u16) -> Result<(), ConfigError<A::Error>> {
        self.store(offset, 2, &value.to_le_bytes())
    }

    /// Writes a 32-bit register.
    ///
    /// # Errors
    /// [`ConfigError::Misaligned`], [`ConfigError::OutOfSpace`], [`ConfigError::Access`]
    pub fn write_u32(&mut self, offset: u16, value: u32) -> Result<(), ConfigError<A::Error>> {
        self.store(offset, 4, &value.to_le_bytes())
    }

    fn store(
        &mut self,
        offset: u16,
        width: u16,
        bytes: &[u8],
    ) -> Result<(), ConfigError<A::Error>> {
        self.check_register(offset, width)?;
        self.access
            .write(offset, bytes)
            .map_err(|error| ConfigError::Access { offset, error })
    }
}

#[cfg(test)]
mod tests {
    use core::cell::RefCell;
    use std::vec::Vec;

    use super::*;
    use crate::pci::Snapshot;

    /// Records every access; fails at one offset.
    struct Recorder {
        accesses: RefCell<Vec<(u16, usize)>>,
        broken: u16,
    }

    impl ConfigAccess for Recorder {
        type Error = &'static str;

        fn size(&self) -> u16 {
            256
        }

        fn read(&self, offset: u16, buf: &mut [u8]) -> Result<(), Self::Error> {
            self.accesses.borrow_mut().push((offset, buf.len()));
            if offset == self.broken {
                Err("broken")
            } else {
                Ok(())
            }
        }
    }

    #[test]
    fn registers_are_little_endian() {
        let mut config = Config::new(Snapshot([0x12, 0x34, 0x56, 0x78]));
        assert_eq!(config.read_u8(1), Ok(0x34));
        assert_eq!(config.read_u16(2), Ok(0x7856));
        assert_eq!(config.read_u32(0), Ok(0x7856_3412));
        config.write_u16(2, 0x1122).unwrap();
        assert_eq!(config.access().0, [0x12, 0x34, 0x22, 0x11]);
    }

    #[test]
    fn accesses_outside_or_across_registers_are_errors() {
        let mut config = Config::new(Snapshot([0; 64]));
        let misaligned = |offset, width| ConfigError::Misaligned { offset, width };
        let outside = |offset, len| ConfigError::OutOfSpace {
            offset,
            len,
            size: 64,
        };
        assert_eq!(config.read_u16(1), Err(misaligned(1, 2)));
        assert_eq!(config.read_u32(62), Err(misaligned(62, 4)));
        assert_eq!(config.read_u32(64), Err(outside(64, 4)));
        assert_eq!(config.read_u8(u16::MAX), Err(outside(u16::MAX, 1)));
        assert_eq!(config.write_u8(64, 0), Err(outside(64, 1)));
        assert_eq!(config.write_u32(2, 0), Err(misaligned(2, 4)));
        assert_eq!(config.read_bytes(60, &mut [0; 5]), Err(outside(60, 5)));
        let too_long = config.read_bytes(0, &mut [0; 0x1_0000]);
        assert_eq!(too_long, Err(outside(0, u16::MAX)));
    }

    #[test]
    fn bytes_are_read_in_aligned_pieces() {
        let config = Config::new(Recorder {
            accesses: RefCell::default(),
            broken: 8,
        });
        config.read_bytes(0x41, &mut [0; 14]).unwrap();
        let pieces = [
            (0x41, 1),
            (0x42, 2),
            (0x44, 4),
            (0x48, 4),
            (0x4c, 2),
            (0x4e, 1),
        ];
        assert_eq!(*config.access().accesses.borrow(), pieces);
        let error = ConfigError::Access {
            offset: 8,
            error: "broken",
        };
        assert_eq!(config.read_bytes(4, &mut [0; 8]), Err(error));
        assert_eq!(config.read_u16(8), Err(error));
    }
}
