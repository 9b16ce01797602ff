//! Handles: how what is made of a device, or of memory, holds on to it.
//!
//! A [`MappedRegion`](crate::device::region::MappedRegion), [`Vectors`](crate::device::irq::Vectors) or a
//! [`Buffer`](crate::dma::Buffer) needs its device or its address space for as long as it lives.
//! It holds a [`Handle`] to it, any pointer that is cheap to clone. With `&T` a driver borrows,
//! and with `Arc<T>` or `&'static T` it owns: it can be stored, sent to a thread and returned.
//!
#![cfg_attr(feature = "alloc", doc = "```")]
#![cfg_attr(not(feature = "alloc"), doc = "```ignore")]
//! use std::sync::Arc;
//! use vfio_core::device::Device;
//! use vfio_core::dma::{Buffer, Direction, Dma, DmaError};
//! use vfio_core::sys::Sys;
//!
//! /// Owns its device, its address space and its memory.
//! struct Driver<S: Sys> {
//!     ring: Buffer<Arc<Dma<S>>>,
//!     device: Arc<Device<S>>,
//! }
//!
//! fn driver<S: Sys>(device: Device<S>, dma: Dma<S>) -> Result<Driver<S>, DmaError> {
//!     let (device, dma) = (Arc::new(device), Arc::new(dma));
//!     let ring = Buffer::new(dma, 4096, Direction::Both)?;
//!     Ok(Driver { ring, device })
//! }
//! ```

use core::fmt;
use core::ops::Deref;
use core::ptr::NonNull;

/// A pointer that can be cloned and keeps what it points to where it is.
///
/// # Safety
/// A handle and all of its clones dereference to the same value, wherever they are moved, for as
/// long as one of them lives. Until then the value is not moved, dropped or borrowed mutably.
pub unsafe trait Handle: Clone + Deref {}

// SAFETY: what is borrowed stays where it is, and no mutable borrow of it is there meanwhile.
unsafe impl<T: ?Sized> Handle for &T {}

// SAFETY: the value lies on the heap until the last clone is dropped, and can be borrowed mutably
// only where there is no other clone: by `get_mut` through the only one, which then is borrowed.
#[cfg(feature = "alloc")]
unsafe impl<T: ?Sized> Handle for alloc::sync::Arc<T> {}

// SAFETY: as for `Arc`.
#[cfg(feature = "alloc")]
unsafe impl<T: ?Sized> Handle for alloc::rc::Rc<T> {}

/// A handle to a part of what another handle points to.
///
/// What selects the part may capture nothing that is borrowed: else it could return that.
///
#[cfg_attr(feature = "alloc", doc = "```")]
#[cfg_attr(not(feature = "alloc"), doc = "```ignore")]
/// use std::sync::Arc;
/// use vfio_core::handle::Projection;
///
/// let pair = Arc::new((1, 2));
/// let second = Projection::new(pair, |pair| &pair.1);
/// assert_eq!(*second.clone(), 2);
/// ```
pub struct Projection<H, T: ?Sized> {
    handle: H,
    part: NonNull<T>,
}

impl<H: Handle, T: ?Sized> Projection<H, T> {
    /// Returns a handle to what `part` selects.
    pub fn new(handle: H, part: impl FnOnce(&H::Target) -> &T + 'static) -> Self {
        let part = NonNull::from(part(&handle));
        Self { handle, part }
    }

    /// Returns a handle to what `part` selects, if it selects anything.
    pub fn try_new(
        handle: H,
        part: impl FnOnce(&H::Target) -> Option<&T> + 'static,
    ) -> Option<Self> {
        let part = NonNull::from(part(&handle)?);
        Some(Self { handle, part })
    }

    /// Returns a handle to what `part` selects of the part.
    pub fn map<U: ?Sized>(self, part: impl FnOnce(&T) -> &U + 'static) -> Projection<H, U> {
        let part = NonNull::from(part(&self));
        Projection {
            handle: self.handle,
            part,
        }
    }

    /// Returns the handle to the whole.
    pub const fn whole(&self) -> &H {
        &self.handle
    }
}

impl<H: Handle, T: ?Sized> Deref for Projection<H, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the pointer was a reference borrowed from the value behind the handle, or a static
        // one: what selected it had nothing else. That value is neither moved, dropped nor mutably borrowed while the handle lives, so that
        // the borrow might have lasted until now.
        unsafe { self.part.as_ref() }
    }
}

impl<H: Handle, T: ?Sized> Clone for Projection<H, T> {
    fn clone(&self) -> Self {
        Self {
            handle: self.handle.clone(),
            part: self.part,
        }
    }
}

// SAFETY: clones point to the same part of a value that stays where it is as long as a clone of
// the handle to it lives, and each of them has one.
unsafe impl<H: Handle, T: ?Sized> Handle for Projection<H, T> {}

// SAFETY: it is the handle and a shared reference.
unsafe impl<H: Send, T: Sync + ?Sized> Send for Projection<H, T> {}

// SAFETY: as above.
unsafe impl<H: Sync, T: Sync + ?Sized> Sync for Projection<H, T> {}

impl<H: Handle, T: fmt::Debug + ?Sized> fmt::Debug for Projection<H, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
