//! The tables of MSI-X, which lie in BARs (PCI Local Bus specification 3.0, section 6.8.2).
//!
//! VFIO owns the table: it writes the messages, and interrupts are set up by
//! `VFIO_DEVICE_SET_IRQS`. What is here reads, to show what stands there, or where it stands.

use core::fmt;
use core::ops::Range;

/// Where the messages of MSI-X lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct MsixTable {
    place: u32,
    vectors: u16,
}

/// Where the pending bits of MSI-X lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct MsixPending {
    place: u32,
    vectors: u16,
}

flags! {
    /// The vector control register: `PCI_MSIX_ENTRY_CTRL_*` (linux/pci_regs.h).
    pub struct VectorControl: u32 {
        /// The vector is masked.
        MASKED = 1 << 0;
    }
}

/// The message of a vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct MsixEntry {
    /// Where it is written.
    pub address: u64,
    /// What is written.
    pub data: u32,
    /// Whether it is held back.
    pub control: VectorControl,
}

/// A table that can't be read. `E` is the error of the access to its BAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum TableError<E> {
    /// There is no such vector.
    NoVector {
        /// The vector that was asked for, from 0.
        vector: u16,
        /// How many there are.
        vectors: u16,
    },
    /// The access itself failed.
    Access {
        /// Where in the BAR, in bytes.
        offset: u64,
        /// Why.
        error: E,
    },
}

impl MsixEntry {
    /// Bytes of an entry.
    pub const LEN: u64 = 16;

    /// Decodes the bytes of an entry.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let [
            a0,
            a1,
            a2,
            a3,
            a4,
            a5,
            a6,
            a7,
            d0,
            d1,
            d2,
            d3,
            c0,
            c1,
            c2,
            c3,
        ] = bytes;
        Self {
            address: u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]),
            data: u32::from_le_bytes([d0, d1, d2, d3]),
            control: VectorControl::from_bits_retain(u32::from_le_bytes([c0, c1, c2, c3])),
        }
    }

    /// Decodes the bytes of a table, entry by entry; an incomplete last one is left out.
    pub fn all(table: &[u8]) -> impl ExactSizeIterator<Item = Self> {
        let (entries, _) = table.as_chunks();
        entries.iter().copied().map(Self::from_bytes)
    }

    /// Tells whether the vector is masked.
    #[must_use]
    pub const fn is_masked(&self) -> bool {
        self.control.contains(VectorControl::MASKED)
    }
}

impl MsixTable {
    /// Creates the table from its register and the number of vectors.
    #[must_use]
    pub const fn new(place: u32, vectors: u16) -> Self {
        Self { place, vectors }
    }

    /// Returns how many vectors there are, 1 to 2048.
    #[must_use]
    pub const fn vectors(&self) -> u16 {
        self.vectors
    }

    /// Returns the index of the BAR, 0 to 5. 6 and 7 are reserved.
    #[must_use]
    pub const fn bar(&self) -> u32 {
        self.place & 0x7
    }

    /// Returns where in the BAR the table starts, in bytes. A multiple of 8.
    #[must_use]
    pub const fn offset(&self) -> u32 {
        self.place & !0x7
    }

    /// Returns the bytes of the BAR that the table takes. Whether the BAR has them is for the
    /// caller to check against its region.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        let start = u64::from(self.offset());
        let len = u64::from(self.vectors).saturating_mul(MsixEntry::LEN);
        start..start.saturating_add(len)
    }

    /// Reads the entry of `vector` in four 32-bit accesses. `read` is given offsets into the BAR,
    /// in bytes.
    ///
    /// # Errors
    /// [`TableError`]
    pub fn entry<E>(
        &self,
        vector: u16,
        mut read: impl FnMut(u64) -> Result<u32, E>,
    ) -> Result<MsixEntry, TableError<E>> {
        check(vector, self.vectors)?;
        let at = u64::from(vector).saturating_mul(MsixEntry::LEN);
        let start = u64::from(self.offset()).saturating_add(at);
        let mut register = |at| fetch(&mut read, start.saturating_add(at));
        let low = u64::from(register(0x0)?);
        let high = u64::from(register(0x4)?);
        Ok(MsixEntry {
            address: (high << 32) | low,
            data: register(0x8)?,
            control: VectorControl::from_bits_retain(register(0xc)?),
        })
    }
}

impl MsixPending {
    /// Creates the pending bit array from its register and the number of vectors.
    pub(super) const fn new(place: u32, vectors: u16) -> Self {
        Self { place, vectors }
    }

    /// Returns how many vectors there are, 1 to 2048.
    #[must_use]
    pub const fn vectors(&self) -> u16 {
        self.vectors
    }

    /// Returns the index of the BAR, 0 to 5. 6 and 7 are reserved.
    #[must_use]
    pub const fn bar(&self) -> u32 {
        self.place & 0x7
    }

    /// Returns where in the BAR the array starts, in bytes. A multiple of 8.
    #[must_use]
    pub const fn offset(&self) -> u32 {
        self.place & !0x7
    }

    /// Returns the bytes of the BAR that the array takes: 8 for each 64 vectors.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        let start = u64::from(self.offset());
        let len = u64::from(self.vectors.div_ceil(64)).saturating_mul(8);
        start..start.saturating_add(len)
    }

    /// Tells whether an interrupt of `vector` waits to be unmasked, in one 32-bit access. `read` is
    /// given an offset into the BAR, in bytes.
    ///
    /// # Errors
    /// [`TableError`]
    pub fn is_pending<E>(
        &self,
        vector: u16,
        mut read: impl FnMut(u64) -> Result<u32, E>,
    ) -> Result<bool, TableError<E>> {
        check(vector, self.vectors)?;
        let at = u64::from(vector >> 5).saturating_mul(4);
        let word = fetch(&mut read, u64::from(self.offset()).saturating_add(at))?;
        let bit = 1_u32.checked_shl(u32::from(vector & 31));
        Ok(bit.is_some_and(|bit| word & bit != 0))
    }

    /// Tells whether an interrupt of `vector` waits, by the bytes of the array. `None` where they
    /// do not reach so far.
    #[must_use]
    pub fn is_pending_in(array: &[u8], vector: u16) -> Option<bool> {
        let byte = array.get(usize::from(vector >> 3))?;
        let bit = 1_u8.checked_shl(u32::from(vector & 7))?;
        Some(byte & bit != 0)
    }
}

fn check<E>(vector: u16, vectors: u16) -> Result<(), TableError<E>> {
    if vector < vectors {
        Ok(())
    } else {
        Err(TableError::NoVector { vector, vectors })
    }
}

fn fetch<E>(
    read: &mut impl FnMut(u64) -> Result<u32, E>,
    offset: u64,
) -> Result<u32, TableError<E>> {
    read(offset).map_err(|error| TableError::Access { offset, error })
}

impl<E: fmt::Display> fmt::Display for TableError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoVector { vector, vectors } => {
                write!(f, "there is no vector {vector} among {vectors}")
            }
            Self::Access { offset, error } => {
                write!(f, "the BAR can't be reached at offset {offset:#x}: {error}")
            }
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for TableError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::NoVector { .. } => None,
            Self::Access { error, .. } => Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    const BYTES: [u8; 32] = [
        0x0c, 0xf0, 0xe0, 0xfe, 0x01, 0, 0, 0, 0x21, 0x40, 0, 0, 0, 0, 0, 0, //
        0x00, 0x00, 0xe0, 0xfe, 0x00, 0, 0, 0, 0x22, 0x40, 0, 0, 1, 0, 0, 0,
    ];
    const FIRST: MsixEntry = MsixEntry {
        address: 0x1_fee0_f00c,
        data: 0x4021,
        control: VectorControl::empty(),
    };
    const SECOND: MsixEntry = MsixEntry {
        address: 0xfee0_0000,
        data: 0x4022,
        control: VectorControl::MASKED,
    };

    /// Returns a BAR that ends with `bytes` and starts `offset` bytes before them.
    fn bar(offset: u64, bytes: &[u8]) -> impl FnMut(u64) -> Result<u32, u64> {
        move |at| {
            let at_bytes = at.checked_sub(offset).ok_or(at)?;
            let (words, _) = bytes.as_chunks::<4>();
            assert_eq!(at_bytes % 4, 0);
            let word = words.get((at_bytes / 4) as usize).ok_or(at)?;
            Ok(u32::from_le_bytes(*word))
        }
    }

    #[test]
    fn entries_are_read_from_the_bar() {
        let table = MsixTable::new(0x2003, 2);
        let mut read = bar(0x2000, &BYTES);
        assert_eq!(table.entry(0, &mut read), Ok(FIRST));
        assert_eq!(table.entry(1, &mut read), Ok(SECOND));
        assert!(!FIRST.is_masked() && SECOND.is_masked());
    }

    #[test]
    fn entries_are_decoded_from_bytes() {
        assert_eq!(MsixEntry::all(&BYTES).collect::<Vec<_>>(), [FIRST, SECOND]);
        assert_eq!(MsixEntry::all(&BYTES[..31]).collect::<Vec<_>>(), [FIRST]);
    }

    #[test]
    fn a_vector_that_is_not_there_is_not_read() {
        let no_vector = TableError::NoVector {
            vector: 2,
            vectors: 2,
        };
        let entry = MsixTable::new(0, 2).entry(2, |_| -> Result<u32, ()> { panic!("read") });
        assert_eq!(entry, Err(no_vector));
        let pending =
            MsixPending::new(0, 2).is_pending(2, |_| -> Result<u32, ()> { panic!("read") });
        assert_eq!(pending, Err(no_vector));
    }

    #[test]
    fn a_bar_that_is_too_short_is_an_error() {
        let error = MsixTable::new(0x2000, 2).entry(1, bar(0x2000, &BYTES[..28]));
        assert_eq!(
            error,
            Err(TableError::Access {
                offset: 0x201c,
                error: 0x201c
            })
        );
    }

    #[test]
    fn pending_bits_are_found() {
        let mut bytes = [0; 16];
        bytes[0] = 0x81;
        bytes[8] = 0x02;
        let array = MsixPending::new(0x3000, 66);
        for vector in 0..66 {
            let expected = matches!(vector, 0 | 7 | 65);
            assert_eq!(array.is_pending(vector, bar(0x3000, &bytes)), Ok(expected));
            assert_eq!(MsixPending::is_pending_in(&bytes, vector), Some(expected));
        }
        assert_eq!(MsixPending::is_pending_in(&bytes, 128), None);
    }
}
