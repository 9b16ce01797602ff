//! How a configuration space is reached.

/// Read access to one function's configuration space.
///
/// [`Config`](super::Config) asks only for what lies within [`ConfigAccess::size`], in aligned
/// accesses of 1, 2 or 4 bytes; an implementation makes each of them one access of the device.
pub trait ConfigAccess {
    /// Why an access failed.
    type Error;

    /// Bytes of the space: 256 or 4096 for a device, and maybe fewer for a copy.
    fn size(&self) -> u16;

    /// Fills `buf` with the bytes at `offset`, lowest address first.
    ///
    /// # Errors
    /// What the implementation meets; nothing that it leaves in `buf` is then believed.
    fn read(&self, offset: u16, buf: &mut [u8]) -> Result<(), Self::Error>;
}

/// Write access to one function's configuration space.
pub trait ConfigWrite: ConfigAccess {
    /// Writes `bytes` at `offset`, lowest address first.
    ///
    /// # Errors
    /// What the implementation meets; the device may have seen the write in part.
    fn write(&mut self, offset: u16, bytes: &[u8]) -> Result<(), Self::Error>;
}

impl<A: ConfigAccess + ?Sized> ConfigAccess for &A {
    type Error = A::Error;

    #[inline]
    fn size(&self) -> u16 {
        A::size(self)
    }

    #[inline]
    fn read(&self, offset: u16, buf: &mut [u8]) -> Result<(), Self::Error> {
        A::read(self, offset, buf)
    }
}

impl<A: ConfigAccess + ?Sized> ConfigAccess for &mut A {
    type Error = A::Error;

    #[inline]
    fn size(&self) -> u16 {
        A::size(self)
    }

    #[inline]
    fn read(&self, offset: u16, buf: &mut [u8]) -> Result<(), Self::Error> {
        A::read(self, offset, buf)
    }
}

impl<A: ConfigWrite + ?Sized> ConfigWrite for &mut A {
    #[inline]
    fn write(&mut self, offset: u16, bytes: &[u8]) -> Result<(), Self::Error> {
        A::write(self, offset, bytes)
    }
}
