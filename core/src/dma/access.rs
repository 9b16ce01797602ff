//! Memory that a device reaches is read and written as its registers are.

use core::convert::Infallible;
use core::ptr::NonNull;

use super::{Buffer, DmaHandle};
use crate::mmio::{Addressable, Forward, Unrestricted};
use crate::sys::Sys;

// SAFETY: the buffer owns its memory, and never changes it for another.
unsafe impl<M: DmaHandle> Forward for Buffer<M> {
    type Target = <M::Sys as Sys>::Memory;
    type Error = Infallible;

    #[inline]
    fn target(&self) -> &<M::Sys as Sys>::Memory {
        self.memory()
    }
}

// SAFETY: every access is one of the memory, as above.
unsafe impl<M: DmaHandle> Unrestricted for Buffer<M> {}

// SAFETY: the address is that of the memory, as above.
unsafe impl<M: DmaHandle> Addressable for Buffer<M> {
    #[inline]
    fn as_ptr(&self) -> NonNull<u8> {
        self.memory().as_ptr()
    }
}
