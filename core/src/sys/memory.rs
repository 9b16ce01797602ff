//! What is mapped, and how.

use core::convert::Infallible;

use crate::mmio::{Access, Width};

/// A stretch of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Span {
    /// Its start in the file, in bytes: on a page boundary.
    pub offset: u64,
    /// Its length in bytes, not 0. The page in which it ends is mapped whole, and of it no more
    /// than the stretch is in reach.
    pub len: usize,
}

/// What may be done with mapped memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Protection {
    /// It is read.
    pub read: bool,
    /// It is written.
    pub write: bool,
}

/// What a world does not have: there is no value of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Absent {}

#[expect(unsafe_code, reason = "the trait is unsafe to implement")]
// SAFETY: no access is ever made: there is no value to make it with.
unsafe impl Access for Absent {
    type Error = Infallible;

    fn len(&self) -> usize {
        match *self {}
    }

    unsafe fn load<T: Width>(&self, _: usize) -> Result<T, Infallible> {
        match *self {}
    }

    unsafe fn store<T: Width>(&self, _: usize, _: T) -> Result<(), Infallible> {
        match *self {}
    }
}
