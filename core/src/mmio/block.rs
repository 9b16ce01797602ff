//! A block of registers.

use core::marker::PhantomData;

use super::field::{Pure, Read, Write};
use super::{Access, CanReadWrite, Field, OffsetError, Readable, Registers, Writable};

/// The registers `R`, which [`registers!`](crate::registers) declares, at a place that was
/// checked.
///
/// ```
/// use vfio_core::mmio::field::{ReadPure, WriteOnly};
/// use vfio_core::mmio::{Access, Window};
/// use vfio_core::registers;
///
/// registers! {
///     struct Timer: 8 {
///         0x00 count: ReadPure<u32>,
///         0x04 start: WriteOnly<u32>,
///     }
/// }
///
/// fn restart<A: Access>(bar0: Window<A>) -> Result<u32, Box<dyn std::error::Error>> {
///     let mut timer = bar0.into_block::<Timer>(0x100)?;
///     timer.write(Timer::start, 1)?;
///     Ok(timer.get(Timer::count)?)
/// }
/// ```
pub struct Block<A: Access, R, P = CanReadWrite> {
    access: A,
    origin: A::Origin,
    registers: PhantomData<fn(R) -> R>,
    permission: PhantomData<P>,
}

impl<A: Access, R: Registers, P> Block<A, R, P> {
    pub(super) fn new(access: A, base: usize) -> Result<Self, OffsetError> {
        let (size, align, len) = (R::SIZE, R::ALIGN, access.len());
        if !base.is_multiple_of(align) {
            return Err(OffsetError::Misaligned {
                offset: base,
                align,
            });
        }
        if base.checked_add(size).is_none_or(|end| end > len) {
            return Err(OffsetError::OutOfBounds {
                offset: base,
                size,
                len,
            });
        }
        let origin = access.origin(base);
        Ok(Self::checked(access, origin))
    }

    /// Creates the registers at a place that was checked. The block lies there in the stretch, at
    /// its alignment.
    #[inline]
    pub(super) const fn checked(access: A, origin: A::Origin) -> Self {
        Self {
            access,
            origin,
            registers: PhantomData,
            permission: PhantomData,
        }
    }

    /// Reads a register whose read changes nothing.
    ///
    /// # Errors
    /// Where the access fails; never a value that was not read.
    #[inline]
    pub fn get<C: Pure>(&self, field: Field<R, C>) -> Result<C::Value, A::Error>
    where
        P: Readable,
    {
        // SAFETY: the field lies in the block, at a multiple of its width of which the block's
        // alignment is one, and the block in the stretch: by `Field::at` and `Block::new`. The
        // stretch can be read, by the window's permission.
        unsafe { self.access.load(self.origin, field.offset()) }
    }

    /// Reads a register; the read may change the device.
    ///
    /// # Errors
    /// As [`Block::get`].
    #[inline]
    pub fn read<C: Read>(&mut self, field: Field<R, C>) -> Result<C::Value, A::Error>
    where
        P: Readable,
    {
        // SAFETY: the field lies in the block, at a multiple of its width of which the block's
        // alignment is one, and the block in the stretch: by `Field::at` and `Block::new`. The
        // stretch can be read, by the window's permission.
        unsafe { self.access.load(self.origin, field.offset()) }
    }

    /// Writes a register.
    ///
    /// # Errors
    /// Where the access fails.
    #[inline]
    pub fn write<C: Write>(&mut self, field: Field<R, C>, value: C::Value) -> Result<(), A::Error>
    where
        P: Writable,
    {
        // SAFETY: as for a read; the stretch can be written.
        unsafe { self.access.store(self.origin, field.offset(), value) }
    }
}

impl<A: Access + core::fmt::Debug, R, P> core::fmt::Debug for Block<A, R, P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Block")
            .field("access", &self.access)
            .field("origin", &self.origin)
            .finish()
    }
}

#[cfg(feature = "defmt")]
impl<A: Access<Origin: defmt::Format>, R, P> defmt::Format for Block<A, R, P> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Block(at {})", self.origin);
    }
}
