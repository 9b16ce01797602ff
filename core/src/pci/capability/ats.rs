//! Address translation services (PCI Express base specification, section 10.5.1).

use super::{Body, TypedCapability};
use crate::pci::{CapabilityId, ConfigAccess, ConfigError, ExtendedId};

flags! {
    /// The control register: `PCI_ATS_CTRL_*` (linux/pci_regs.h). Bits 4:0 are the smallest
    /// translation unit.
    pub struct AtsControl: u16 {
        /// Translations are cached.
        ENABLE = 1 << 15;
    }
}

/// The ATS capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct AddressTranslation {
    /// Where it starts, in bytes.
    pub offset: u16,
    /// The capability register (`PCI_ATS_CAP`).
    pub capabilities: u16,
    /// The control register (`PCI_ATS_CTRL`).
    pub control: AtsControl,
}

impl AddressTranslation {
    /// Returns how many invalidations the function takes before it holds back others, 1 to 32.
    #[must_use]
    pub const fn invalidate_queue_depth(&self) -> u16 {
        match self.capabilities & 0x1f {
            0 => 32,
            depth => depth,
        }
    }

    /// Tells whether addresses in requests are always aligned to 4096 bytes.
    #[must_use]
    pub const fn page_aligned_request(&self) -> bool {
        self.capabilities & (1 << 5) != 0
    }

    /// Tells whether the function invalidates for all PASIDs at once.
    #[must_use]
    pub const fn global_invalidate(&self) -> bool {
        self.capabilities & (1 << 6) != 0
    }

    /// Tells whether translations are cached.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        self.control.contains(AtsControl::ENABLE)
    }

    /// Returns the smallest translation unit in bytes.
    #[must_use]
    pub fn smallest_translation_unit(&self) -> u64 {
        let shift = u32::from(self.control.bits() & 0x1f);
        4096_u64.checked_shl(shift).unwrap_or(u64::MAX)
    }
}

impl TypedCapability for AddressTranslation {
    const ID: CapabilityId = CapabilityId::Extended(ExtendedId::ATS);

    fn decode<A: ConfigAccess>(body: &Body<'_, A>) -> Result<Self, ConfigError<A::Error>> {
        Ok(Self {
            offset: body.offset(),
            capabilities: body.read_u16(4)?,
            control: AtsControl::from_bits_retain(body.read_u16(6)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::sample::extended;

    #[test]
    fn depth_and_unit_are_read() {
        let ats: AddressTranslation = extended(&[0x0f, 0, 1, 0, 0x65, 0, 0x09, 0x80]).unwrap();
        assert_eq!(ats.invalidate_queue_depth(), 5);
        assert!(ats.page_aligned_request() && ats.global_invalidate() && ats.is_enabled());
        assert_eq!(ats.smallest_translation_unit(), 2 << 20);
        let ats: AddressTranslation = extended(&[0x0f, 0, 1, 0, 0, 0, 0x1f, 0]).unwrap();
        assert_eq!(ats.invalidate_queue_depth(), 32);
        assert!(!ats.page_aligned_request() && !ats.global_invalidate() && !ats.is_enabled());
        assert_eq!(ats.smallest_translation_unit(), 1 << 43);
    }
}
