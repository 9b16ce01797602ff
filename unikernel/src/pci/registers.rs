//! The configuration space of a function, register by register.

use core::convert::Infallible;
use core::fmt;

use vfio_core::pci::{Command, ConfigAccess};

use super::Address;

/// How many bytes a register has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// 1.
    Byte,
    /// 2.
    Word,
    /// 4.
    Long,
}

impl Width {
    /// Returns bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Byte => 1,
            Self::Word => 2,
            Self::Long => 4,
        }
    }
}

/// Reaches the configuration spaces of functions.
///
/// That does not fail: where nothing answers, all bits are ones, and writes are lost.
pub trait Spaces: Copy {
    /// Bytes of each space: 256 or 4096.
    fn size(&self) -> u16;

    /// Reads the register at `offset`, which is a multiple of its width.
    fn read(&self, address: Address, offset: u16, width: Width) -> u32;

    /// Writes the register at `offset`.
    fn write(&self, address: Address, offset: u16, width: Width, value: u32);
}

/// Of accesses that do not fail: there is none. Unlike [`core::convert::Infallible`] it takes no
/// code to be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoError {}

/// The configuration space of a function.
#[derive(Clone, Copy, Debug)]
pub struct Registers<S> {
    spaces: S,
    address: Address,
}

/// The command register.
const COMMAND: u16 = 0x04;

impl<S: Spaces> Registers<S> {
    /// Creates the registers of the function at `address`.
    pub const fn new(spaces: S, address: Address) -> Self {
        Self { spaces, address }
    }

    /// Returns whose it is.
    pub const fn address(&self) -> Address {
        self.address
    }

    /// Reads a register.
    pub fn get(&self, offset: u16, width: Width) -> u32 {
        self.spaces.read(self.address, offset, width)
    }

    /// Writes a register.
    pub fn set(&self, offset: u16, width: Width, value: u32) {
        self.spaces.write(self.address, offset, width, value);
    }

    /// Reads a byte.
    pub fn byte(&self, offset: u16) -> u8 {
        let [byte, ..] = self
            .spaces
            .read(self.address, offset, Width::Byte)
            .to_le_bytes();
        byte
    }

    /// Reads 16 bits.
    pub fn word(&self, offset: u16) -> u16 {
        let [a, b, ..] = self
            .spaces
            .read(self.address, offset, Width::Word)
            .to_le_bytes();
        u16::from_le_bytes([a, b])
    }

    /// Reads 32 bits.
    pub fn long(&self, offset: u16) -> u32 {
        self.spaces.read(self.address, offset, Width::Long)
    }

    /// Writes a byte.
    pub fn set_byte(&self, offset: u16, value: u8) {
        self.spaces
            .write(self.address, offset, Width::Byte, value.into());
    }

    /// Writes 16 bits.
    pub fn set_word(&self, offset: u16, value: u16) {
        self.spaces
            .write(self.address, offset, Width::Word, value.into());
    }

    /// Writes 32 bits.
    pub fn set_long(&self, offset: u16, value: u32) {
        self.spaces.write(self.address, offset, Width::Long, value);
    }

    /// Reads the command register.
    pub fn command(&self) -> Command {
        Command::from_bits_retain(self.word(COMMAND))
    }

    /// Writes the command register, and leaves the status register alone.
    pub fn set_command(&self, command: Command) {
        self.set_word(COMMAND, command.bits());
    }

    /// Tells whether nothing answers.
    pub fn is_gone(&self) -> bool {
        self.word(0) == 0xffff
    }
}

impl fmt::Display for NoError {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl core::error::Error for NoError {}

impl From<Infallible> for NoError {
    #[inline]
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for NoError {
    fn format(&self, _: defmt::Formatter<'_>) {
        match *self {}
    }
}

impl<S: Spaces> ConfigAccess for Registers<S> {
    type Error = NoError;

    fn size(&self) -> u16 {
        self.spaces.size()
    }

    fn read(&self, offset: u16, buf: &mut [u8]) -> Result<(), NoError> {
        let width = match buf.len() {
            1 => Width::Byte,
            2 => Width::Word,
            _ => Width::Long,
        };
        let bytes = self.spaces.read(self.address, offset, width).to_le_bytes();
        buf.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        Ok(())
    }
}
