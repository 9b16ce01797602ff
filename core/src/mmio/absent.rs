//! What a world does not have can't be accessed.

use core::convert::Infallible;

use super::{Access, Width};
use crate::sys::Absent;

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
