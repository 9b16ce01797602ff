//! A counted array inside a reply, wherever it lies.

use core::fmt;
use core::iter::Copied;
use core::slice;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unalign};

/// Elements of `T` in a reply, at any alignment; an element is copied out when it is asked for.
#[derive(Clone, Copy)]
pub struct Array<'a, T: Copy>(&'a [Unalign<T>]);

/// The elements of an [`Array`].
pub type Elements<'a, T> =
    core::iter::Map<Copied<slice::Iter<'a, Unalign<T>>>, fn(Unalign<T>) -> T>;

impl<'a, T: Copy + FromBytes + IntoBytes + Immutable + KnownLayout> Array<'a, T> {
    /// Returns the first `count` elements of `bytes`, where they are all there.
    #[inline]
    #[must_use]
    pub fn from_prefix(bytes: &'a [u8], count: u32) -> Option<Self> {
        let count = usize::try_from(count).ok()?;
        let (elements, _) = <[Unalign<T>]>::ref_from_prefix_with_elems(bytes, count).ok()?;
        Some(Self(elements))
    }

    /// Creates an array of a slice's elements.
    #[must_use]
    pub fn new(elements: &'a [T]) -> Self {
        // The layouts agree but for the alignment: this never fails.
        Self(<[Unalign<T>]>::ref_from_bytes(elements.as_bytes()).unwrap_or(&[]))
    }

    /// Returns the elements' bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0.as_bytes()
    }
}

impl<'a, T: Copy> Array<'a, T> {
    /// Returns how many elements there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the element at `index`, from 0.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<T> {
        self.0.get(index).map(|element| element.get())
    }

    /// Returns the elements in order.
    #[inline]
    pub fn iter(&self) -> Elements<'a, T> {
        self.0.iter().copied().map(Unalign::into_inner)
    }
}

impl<'a, T: Copy> IntoIterator for Array<'a, T> {
    type Item = T;
    type IntoIter = Elements<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: Copy> Default for Array<'_, T> {
    fn default() -> Self {
        Self(&[])
    }
}

impl<T: Copy + PartialEq> PartialEq for Array<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<T: Copy + Eq> Eq for Array<'_, T> {}

impl<T: Copy + fmt::Debug> fmt::Debug for Array<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(feature = "defmt")]
impl<T: Copy + defmt::Format> defmt::Format for Array<'_, T> {
    fn format(&self, f: defmt::Formatter<'_>) {
        for element in self.iter() {
            defmt::write!(f, "{} ", element);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::abi::IovaRange;

    #[test]
    fn elements_are_read_at_odd_addresses() {
        let mut bytes = [0; 33];
        bytes[1..9].copy_from_slice(&5u64.to_ne_bytes());
        bytes[9..17].copy_from_slice(&6u64.to_ne_bytes());
        let array = Array::<IovaRange>::from_prefix(&bytes[1..], 2).unwrap();
        assert_eq!(array.get(0), Some(IovaRange { start: 5, end: 6 }));
        assert_eq!(array.get(2), None);
        assert_eq!(array.len(), 2);
    }

    #[test]
    fn a_count_past_the_bytes_is_refused() {
        assert!(Array::<IovaRange>::from_prefix(&[0; 31], 2).is_none());
        assert!(Array::<IovaRange>::from_prefix(&[0; 31], u32::MAX).is_none());
        assert!(Array::<IovaRange>::from_prefix(&[], 0).unwrap().is_empty());
    }

    #[test]
    fn a_slice_and_its_bytes_are_the_same_array() {
        let ranges = [
            IovaRange { start: 1, end: 2 },
            IovaRange { start: 3, end: 4 },
        ];
        let array = Array::new(&ranges);
        assert_eq!(Array::from_prefix(array.as_bytes(), 2), Some(array));
        assert!(array.iter().eq(ranges));
    }
}
