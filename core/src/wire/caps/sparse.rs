//! Sparse mmap: the areas of a region that may be mapped.

use core::fmt;

use super::Array;
use crate::wire::abi::RegionSparseMmapArea;

/// The areas of a region that may be mapped; the rest of the region must not be.
///
/// An area of size 0 is legal and empty: vfio-pci 4.6 to 4.15 emits one where the MSI-X table
/// fills its BAR (`struct vfio_region_info_cap_sparse_mmap`, linux/vfio.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SparseMmap<'a> {
    /// Offsets count from the start of the region; offsets and sizes are in bytes.
    pub areas: Array<'a, RegionSparseMmapArea>,
}

/// An area that does not fit its region. Areas are counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum AreaError {
    /// The area's end does not fit into 64 bits.
    Overflow {
        /// Which area.
        index: usize,
    },
    /// The area ends past the region's end.
    PastEnd {
        /// Which area.
        index: usize,
        /// The region's size in bytes.
        region: u64,
    },
    /// Two areas share bytes.
    Overlap {
        /// The earlier of the two in the list.
        first: usize,
        /// The later of the two.
        second: usize,
    },
}

impl<'a> SparseMmap<'a> {
    /// Creates the areas of a slice.
    #[must_use]
    pub fn new(areas: &'a [RegionSparseMmapArea]) -> Self {
        Self {
            areas: Array::new(areas),
        }
    }

    /// Checks every area against a region of `size` bytes and against the others.
    ///
    /// Areas in ascending order, as every kernel lists them, are checked in one pass; others
    /// cost a comparison of each with each.
    ///
    /// # Errors
    /// The first [`AreaError`].
    #[inline]
    pub fn check(&self, size: u64) -> Result<(), AreaError> {
        if self.is_ascending_within(size) {
            Ok(())
        } else {
            self.check_each(size)
        }
    }

    /// Tells whether the areas ascend without overlap and end within `size`. `false` also where
    /// they are too large to tell. One pass.
    #[inline]
    pub(crate) fn is_ascending_within(&self, size: u64) -> bool {
        let mut order = Order::default();
        self.areas.iter().for_each(|area| order.add(area));
        order.is_ascending_within(size, self.areas.len())
    }

    /// Checks areas in any order.
    #[cold]
    #[inline(never)]
    fn check_each(&self, size: u64) -> Result<(), AreaError> {
        for (index, area) in self.areas.iter().enumerate() {
            match area.offset.checked_add(area.size) {
                None => return Err(AreaError::Overflow { index }),
                Some(end) if end > size => {
                    return Err(AreaError::PastEnd {
                        index,
                        region: size,
                    });
                }
                Some(_) => (),
            }
        }
        for (second, b) in self.areas.iter().enumerate() {
            for (first, a) in self.areas.iter().enumerate() {
                if first == second {
                    break;
                }
                let (a_end, b_end) = (a.offset.wrapping_add(a.size), b.offset.wrapping_add(b.size));
                let are_there = a.size != 0 && b.size != 0;
                if are_there && a.offset < b_end && b.offset < a_end {
                    return Err(AreaError::Overlap { first, second });
                }
            }
        }
        Ok(())
    }
}

/// Whether areas ascend without overlap.
///
/// Each area adds a gap and a size to where the one before it ends. As long as no sum of them can
/// have left 64 bits, every end is right, and no gap was negative, which would be huge as a `u64`.
/// That takes no comparison for each area, and they are looked at several at a time.
#[derive(Default)]
struct Order {
    /// Where the last area ends.
    end: u64,
    /// All gaps ORed together: none of them is greater.
    gaps: u64,
    /// All sizes ORed together.
    sizes: u64,
}

impl Order {
    /// Takes the next area into account.
    #[inline]
    fn add(&mut self, area: RegionSparseMmapArea) {
        self.gaps |= area.offset.wrapping_sub(self.end);
        self.sizes |= area.size;
        self.end = area.offset.wrapping_add(area.size);
    }

    /// Tells whether all of `areas`, which were taken into account, ascend and end within `size`.
    /// `false` also where they are too large to tell.
    #[inline]
    fn is_ascending_within(&self, size: u64, areas: usize) -> bool {
        // A gap and a size for each.
        let greatest = self.gaps | self.sizes;
        let sum = u64::try_from(areas)
            .ok()
            .and_then(|areas| greatest.checked_mul(areas)?.checked_mul(2));
        sum.is_some() && self.end <= size
    }
}

impl fmt::Display for AreaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Overflow { index } => write!(f, "the end of area {index} overflows 64 bits"),
            Self::PastEnd { index, region } => {
                write!(f, "area {index} ends past the region of {region:#x} bytes")
            }
            Self::Overlap { first, second } => {
                write!(f, "the areas {first} and {second} overlap")
            }
        }
    }
}

impl core::error::Error for AreaError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(areas: &[(u64, u64)], size: u64) -> Result<(), AreaError> {
        let mut list = [RegionSparseMmapArea::default(); 4];
        for (slot, &(offset, size)) in list.iter_mut().zip(areas) {
            *slot = RegionSparseMmapArea { offset, size };
        }
        SparseMmap::new(&list[..areas.len()]).check(size)
    }

    #[test]
    fn areas_within_the_region_pass_in_any_order() {
        assert_eq!(check(&[], 0), Ok(()));
        assert_eq!(check(&[(0, 4), (4, 4), (12, 4)], 16), Ok(()));
        assert_eq!(check(&[(12, 4), (0, 4), (4, 4)], 16), Ok(()));
        assert_eq!(check(&[(0, u64::MAX)], u64::MAX), Ok(()));
    }

    #[test]
    fn empty_areas_are_legal_anywhere_in_the_region() {
        assert_eq!(check(&[(0, 0)], 0), Ok(()));
        assert_eq!(check(&[(0, 8), (4, 0), (8, 8)], 16), Ok(()));
        assert_eq!(
            check(&[(17, 0)], 16),
            Err(AreaError::PastEnd {
                index: 0,
                region: 16
            })
        );
    }

    #[test]
    fn areas_outside_the_region_are_errors() {
        let past = AreaError::PastEnd {
            index: 1,
            region: 16,
        };
        assert_eq!(check(&[(0, 4), (8, 9)], 16), Err(past));
        assert_eq!(
            check(&[(0, 4), (8, u64::MAX)], 16),
            Err(AreaError::Overflow { index: 1 })
        );
        assert_eq!(
            check(&[(u64::MAX, 1), (0, 4)], 16),
            Err(AreaError::Overflow { index: 0 })
        );
    }

    #[test]
    fn overlapping_areas_are_errors() {
        let overlap = |first, second| Err(AreaError::Overlap { first, second });
        assert_eq!(check(&[(0, 5), (4, 4)], 16), overlap(0, 1));
        assert_eq!(check(&[(8, 8), (0, 4), (4, 5)], 16), overlap(0, 2));
        assert_eq!(check(&[(0, 4), (0, 4)], 16), overlap(0, 1));
        assert_eq!(check(&[(0, 16), (0, 0), (4, 1)], 16), overlap(0, 2));
    }
}
