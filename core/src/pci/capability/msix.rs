//! MSI-X (PCI Local Bus specification 3.0, section 6.8.2; PCI Express base specification, section
//! 7.7.2).

use super::{Body, TypedCapability};
use crate::pci::{CapabilityId, ConfigAccess, ConfigError, MsixPending, MsixTable, StandardId};

flags! {
    /// The control register: `PCI_MSIX_FLAGS_*` (linux/pci_regs.h). Bits 10:0 are the number of
    /// vectors, less one.
    pub struct MsixControl: u16 {
        /// All vectors are masked.
        MASKALL = 1 << 14;
        /// The function uses MSI-X.
        ENABLE = 1 << 15;
    }
}

/// The MSI-X capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Msix {
    /// Where it starts, in bytes.
    pub offset: u16,
    /// How many vectors there are, and whether they are in use.
    pub control: MsixControl,
    /// Where the messages lie.
    pub table: MsixTable,
    /// Where the pending bits lie.
    pub pending: MsixPending,
}

impl Msix {
    /// Tells whether the function uses MSI-X.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        self.control.contains(MsixControl::ENABLE)
    }

    /// Tells whether all vectors are masked.
    #[must_use]
    pub const fn is_masked(&self) -> bool {
        self.control.contains(MsixControl::MASKALL)
    }
}

impl TypedCapability for Msix {
    const ID: CapabilityId = CapabilityId::Standard(StandardId::MSIX);

    fn decode<A: ConfigAccess>(body: &Body<'_, A>) -> Result<Self, ConfigError<A::Error>> {
        let control = MsixControl::from_bits_retain(body.read_u16(2)?);
        let vectors = (control.bits() & 0x7ff).saturating_add(1);
        Ok(Self {
            offset: body.offset(),
            control,
            table: MsixTable::new(body.read_u32(4)?, vectors),
            pending: MsixPending::new(body.read_u32(8)?, vectors),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::sample::standard;

    #[test]
    fn the_number_of_vectors_and_both_places_are_read() {
        let bytes = [0x11, 0, 0x40, 0xc0, 0x04, 0x20, 0, 0, 0x03, 0x30, 0, 0];
        let msix: Msix = standard(&bytes).unwrap();
        assert!(msix.is_enabled() && msix.is_masked());
        assert_eq!((msix.table.vectors(), msix.table.bar()), (65, 4));
        assert_eq!(msix.table.range(), 0x2000..0x2410);
        assert_eq!((msix.pending.vectors(), msix.pending.bar()), (65, 3));
        assert_eq!(msix.pending.range(), 0x3000..0x3010);
    }

    #[test]
    fn the_largest_table_at_the_highest_offset_does_not_overflow() {
        let bytes = [
            0x11, 0, 0xff, 0x07, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        ];
        let msix: Msix = standard(&bytes).unwrap();
        assert!(!msix.is_enabled() && !msix.is_masked());
        assert_eq!(msix.table.vectors(), 2048);
        assert_eq!(msix.table.bar(), 7);
        assert_eq!(msix.table.range(), 0xffff_fff8..0x1_0000_7ff8);
        assert_eq!(msix.pending.range(), 0xffff_fff8..0x1_0000_00f8);
    }
}
