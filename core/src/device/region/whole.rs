//! A whole region, mapped where it can be and trapped elsewhere.

use core::fmt;

use heapless::Vec;

use super::{RegionError, TrappedRegion, permitted, span_of};
use crate::device::coverage;
use crate::device::{Device, DeviceHandle};
use crate::mmio::{Access, Permission, Protection, TrapError, Width, Window};
use crate::sys::{Errno, Sys};
use crate::wire::info::RegionInfo;

/// How many stretches of a region are mapped at most; the others are trapped.
const PIECES: usize = 8;

/// Bytes of the widest register.
const WIDEST: usize = 8;

/// What the shim below a device maps.
type Mapping<D> = <<D as DeviceHandle>::Sys as Sys>::Mapping;

/// A whole region: each access is made through a mapping where there is one at its offset, and
/// by a system call elsewhere.
///
/// It is slower than a [`MappedRegion`](super::MappedRegion), which is mapped as far as it goes, and right where a
/// BAR has holes, or where none can be mapped at all (s390x, or a device that another process
/// serves).
pub struct WholeRegion<D: DeviceHandle> {
    /// In ascending order.
    pieces: Vec<Piece<Mapping<D>>, PIECES>,
    trapped: TrappedRegion<D>,
    protection: Protection,
}

/// A mapped stretch.
struct Piece<M> {
    /// Where it starts, in bytes from the start of the region.
    start: usize,
    mapping: M,
}

/// An access that failed, in one way or the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum WholeError<E> {
    /// Through a mapping.
    Mapped(E),
    /// By a system call.
    Trapped(TrapError),
}

impl<S: Sys> Device<S> {
    /// Reaches all of `region`, mapped where it can be.
    ///
    /// # Errors
    /// [`RegionError`]
    pub fn reach<P: Permission>(
        &self,
        region: &RegionInfo<'_>,
    ) -> Result<Window<WholeRegion<&Self>, P>, RegionError> {
        WholeRegion::reach(self, region)
    }
}

impl<D: DeviceHandle> WholeRegion<D> {
    /// Reaches all of `region`, as [`Device::reach`] does, and keeps the handle.
    ///
    /// # Errors
    /// [`RegionError`]
    pub fn reach<P: Permission>(
        device: D,
        region: &RegionInfo<'_>,
    ) -> Result<Window<Self, P>, RegionError> {
        permitted::<P>(region.flags)?;
        let (offset, len) = span_of(region)?;
        let mut pieces = Vec::new();
        let mapped = device
            .coverage(region)
            .filter(|span| span.reach == coverage::Reach::Mapped);
        for span in mapped {
            if pieces.is_full() {
                break;
            }
            match super::map(&*device, region, span, P::PROTECTION) {
                Ok(mapping) => {
                    let start = usize::try_from(span.offset).map_err(|_| RegionError::TooLong)?;
                    // The shim's size of a page is not trusted.
                    if !start.is_multiple_of(WIDEST) {
                        return Err(RegionError::Map(Errno::EINVAL));
                    }
                    let _ = pieces.push(Piece { start, mapping });
                }
                // A world that maps nothing.
                Err(RegionError::Map(Errno::ENOSYS)) => break,
                Err(error) => return Err(error),
            }
        }
        let this = Self {
            pieces,
            trapped: TrappedRegion::new(device, offset, len),
            protection: P::PROTECTION,
        };
        // Its mappings permit what it was asked for.
        Window::with_permission(this).map_err(|_| RegionError::Map(Errno::EACCES))
    }

    /// Returns how many bytes are mapped.
    fn mapped(&self) -> usize {
        let lens = self.pieces.iter().map(|piece| piece.mapping.len());
        lens.fold(0, usize::saturating_add)
    }

    /// Finds the mapping of all `width` bytes at `offset`, and where they lie in it.
    fn piece(&self, offset: usize, width: usize) -> Option<(&Mapping<D>, usize)> {
        self.pieces.iter().find_map(|piece| {
            let at = offset.checked_sub(piece.start)?;
            let end = at.checked_add(width)?;
            (end <= piece.mapping.len()).then_some((&piece.mapping, at))
        })
    }
}

// SAFETY: a mapping is accessed within its length, at a multiple of the width, since it starts at
// a multiple of all of them (`WholeRegion::reach`); the others are system calls.
unsafe impl<D: DeviceHandle> Access for WholeRegion<D> {
    type Error = WholeError<<Mapping<D> as Access>::Error>;
    type Origin = usize;

    fn len(&self) -> usize {
        self.trapped.len()
    }

    fn protection(&self) -> Protection {
        self.protection
    }

    fn origin(&self, offset: usize) -> usize {
        offset
    }

    unsafe fn load<T: Width>(&self, origin: usize, offset: usize) -> Result<T, Self::Error> {
        let Some((mapping, at)) = self.piece(origin.wrapping_add(offset), size_of::<T>()) else {
            // SAFETY: the caller's promise is passed on.
            let loaded = unsafe { self.trapped.load(origin, offset) };
            return loaded.map_err(WholeError::Trapped);
        };
        // SAFETY: the register lies in the mapping, which permits what the caller may do
        // (`WholeRegion::reach`).
        let loaded = unsafe { mapping.load(mapping.origin(0), at) };
        loaded.map_err(WholeError::Mapped)
    }

    unsafe fn store<T: Width>(
        &self,
        origin: usize,
        offset: usize,
        value: T,
    ) -> Result<(), Self::Error> {
        let Some((mapping, at)) = self.piece(origin.wrapping_add(offset), size_of::<T>()) else {
            // SAFETY: the caller's promise is passed on.
            let stored = unsafe { self.trapped.store(origin, offset, value) };
            return stored.map_err(WholeError::Trapped);
        };
        // SAFETY: the register lies in the mapping, which permits what the caller may do
        // (`WholeRegion::reach`).
        let stored = unsafe { mapping.store(mapping.origin(0), at, value) };
        stored.map_err(WholeError::Mapped)
    }
}

impl<D: DeviceHandle> fmt::Debug for WholeRegion<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WholeRegion")
            .field("len", &self.len())
            .field("mapped", &self.mapped())
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "defmt")]
impl<D: DeviceHandle> defmt::Format for WholeRegion<D> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "WholeRegion({} bytes)", self.len());
    }
}

impl<E: fmt::Display> fmt::Display for WholeError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mapped(error) => error.fmt(f),
            Self::Trapped(error) => error.fmt(f),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for WholeError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        // They speak for themselves above.
        match self {
            Self::Mapped(error) => error.source(),
            Self::Trapped(error) => error.source(),
        }
    }
}
