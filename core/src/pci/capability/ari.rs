//! Alternative routing-id interpretation (PCI Express base specification, section 7.8.8).

use super::{Body, TypedCapability};
use crate::pci::field::low_byte;
use crate::pci::{CapabilityId, ConfigAccess, ConfigError, ExtendedId};

flags! {
    /// Function groups, of the capability register and of the control register alike:
    /// `PCI_ARI_CAP_*`, `PCI_ARI_CTRL_*` (linux/pci_regs.h). Bits without a name are parts of
    /// numbers.
    pub struct AriFlags: u16 {
        /// Function groups for arbitration.
        MFVC = 1 << 0;
        /// Function groups for access control.
        ACS = 1 << 1;
    }
}

/// The ARI capability: a device number of 0 and up to 256 functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct AlternativeRouting {
    /// Where it starts, in bytes.
    pub offset: u16,
    /// What the function can.
    pub capabilities: AriFlags,
    /// What is in use.
    pub control: AriFlags,
}

impl AlternativeRouting {
    /// Returns the function with the next higher number. 0 of the last.
    #[must_use]
    pub fn next_function(&self) -> u8 {
        low_byte((self.capabilities.bits() >> 8).into())
    }
}

impl TypedCapability for AlternativeRouting {
    const ID: CapabilityId = CapabilityId::Extended(ExtendedId::ARI);

    fn decode<A: ConfigAccess>(body: &Body<'_, A>) -> Result<Self, ConfigError<A::Error>> {
        Ok(Self {
            offset: body.offset(),
            capabilities: AriFlags::from_bits_retain(body.read_u16(4)?),
            control: AriFlags::from_bits_retain(body.read_u16(6)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::sample::extended;

    #[test]
    fn the_next_function_is_read() {
        let ari: AlternativeRouting = extended(&[0x0e, 0, 1, 0, 0x02, 0x17, 0x02, 0]).unwrap();
        assert_eq!(ari.next_function(), 0x17);
        assert!(ari.capabilities.contains(AriFlags::ACS));
        assert_eq!(ari.control, AriFlags::ACS);
    }
}
