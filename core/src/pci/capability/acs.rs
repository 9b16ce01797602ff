//! Access control services (PCI Express base specification, section 7.7.8 of version 5.0).

use super::{Body, TypedCapability};
use crate::pci::{CapabilityId, ConfigAccess, ConfigError, ExtendedId};

flags! {
    /// Services, of the capability register and of the control register alike: `PCI_ACS_*`
    /// (linux/pci_regs.h).
    pub struct AcsFlags: u16 {
        /// Source validation.
        SV = 1 << 0;
        /// Translation blocking.
        TB = 1 << 1;
        /// Requests between peers are redirected.
        RR = 1 << 2;
        /// Completions between peers are redirected.
        CR = 1 << 3;
        /// Upstream forwarding.
        UF = 1 << 4;
        /// Egress control between peers.
        EC = 1 << 5;
        /// Translated requests between peers go directly.
        DT = 1 << 6;
    }
}

/// The ACS capability: what keeps the functions of a bus apart, and so shapes IOMMU groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct AccessControl {
    /// Where it starts, in bytes.
    pub offset: u16,
    /// What the function can. The high byte is the length of the egress control vector in bits.
    pub capabilities: AcsFlags,
    /// What is in use.
    pub control: AcsFlags,
}

impl TypedCapability for AccessControl {
    const ID: CapabilityId = CapabilityId::Extended(ExtendedId::ACS);

    fn decode<A: ConfigAccess>(body: &Body<'_, A>) -> Result<Self, ConfigError<A::Error>> {
        Ok(Self {
            offset: body.offset(),
            capabilities: AcsFlags::from_bits_retain(body.read_u16(4)?),
            control: AcsFlags::from_bits_retain(body.read_u16(6)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::sample::extended;

    #[test]
    fn services_are_read() {
        let acs: AccessControl = extended(&[0x0d, 0, 1, 0, 0x5f, 0, 0x1d, 0]).unwrap();
        assert!(acs.capabilities.contains(AcsFlags::TB | AcsFlags::DT));
        assert!(!acs.capabilities.contains(AcsFlags::EC));
        assert_eq!(
            acs.control,
            AcsFlags::SV | AcsFlags::RR | AcsFlags::CR | AcsFlags::UF
        );
    }
}
