//! Process address space ids (PCI Express base specification, section 7.8.9).

use super::{Body, TypedCapability};
use crate::pci::{CapabilityId, ConfigAccess, ConfigError, ExtendedId};

flags! {
    /// Features, of the capability register and of the control register alike: `PCI_PASID_CAP_*`,
    /// `PCI_PASID_CTRL_*` (linux/pci_regs.h). Bits without a name are parts of numbers.
    pub struct PasidFlags: u16 {
        /// Of the control register: PASIDs are used.
        ENABLE = 1 << 0;
        /// Pages can be executable.
        EXEC = 1 << 1;
        /// Requests can be privileged.
        PRIV = 1 << 2;
    }
}

/// The PASID capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Pasid {
    /// Where it starts, in bytes.
    pub offset: u16,
    /// What the function can.
    pub capabilities: PasidFlags,
    /// What is in use.
    pub control: PasidFlags,
}

impl Pasid {
    /// Returns how many bits a PASID has, 0 to 31. The specification allows up to 20.
    #[must_use]
    pub const fn width(&self) -> u16 {
        (self.capabilities.0 >> 8) & 0x1f
    }
}

impl TypedCapability for Pasid {
    const ID: CapabilityId = CapabilityId::Extended(ExtendedId::PASID);

    fn decode<A: ConfigAccess>(body: &Body<'_, A>) -> Result<Self, ConfigError<A::Error>> {
        Ok(Self {
            offset: body.offset(),
            capabilities: PasidFlags::from_bits_retain(body.read_u16(4)?),
            control: PasidFlags::from_bits_retain(body.read_u16(6)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::sample::extended;

    #[test]
    fn width_and_flags_are_read() {
        let pasid: Pasid = extended(&[0x1b, 0, 1, 0, 0x06, 0x14, 0x01, 0]).unwrap();
        assert_eq!(pasid.width(), 20);
        assert!(
            pasid
                .capabilities
                .contains(PasidFlags::EXEC | PasidFlags::PRIV)
        );
        assert_eq!(pasid.control, PasidFlags::ENABLE);
    }
}
