//! What a world does not have can't be accessed.

use core::convert::Infallible;
use core::ptr::NonNull;

use super::{Access, Addressable, Protection, Unrestricted, Width};

/// What a world does not have: there is no value of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Absent {}

// SAFETY: no access is ever made: there is no value to make it with.
unsafe impl Access for Absent {
    type Error = Infallible;
    type Origin = usize;

    fn len(&self) -> usize {
        match *self {}
    }

    fn protection(&self) -> Protection {
        match *self {}
    }

    fn origin(&self, _: usize) -> usize {
        match *self {}
    }

    unsafe fn load<T: Width>(&self, _: usize, _: usize) -> Result<T, Infallible> {
        match *self {}
    }

    unsafe fn store<T: Width>(&self, _: usize, _: usize, _: T) -> Result<(), Infallible> {
        match *self {}
    }
}

// SAFETY: as above.
unsafe impl Unrestricted for Absent {}

// SAFETY: as above.
unsafe impl Addressable for Absent {
    fn as_ptr(&self) -> NonNull<u8> {
        match *self {}
    }
}
