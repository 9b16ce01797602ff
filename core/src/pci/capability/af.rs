//! Advanced features of conventional PCI (PCI-SIG engineering change notice "Advanced
//! Capabilities for Conventional PCI").

use super::{Body, TypedCapability};
use crate::pci::{CapabilityId, ConfigAccess, ConfigError, StandardId};

flags! {
    /// What the function can: `PCI_AF_CAP_*` (linux/pci_regs.h).
    pub struct AfCapabilities: u8 {
        /// It tells whether transactions are pending.
        TP = 1 << 0;
        /// Function level reset.
        FLR = 1 << 1;
    }
}

/// The advanced features capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct AdvancedFeatures {
    /// Where it starts, in bytes.
    pub offset: u16,
    /// What it can.
    pub capabilities: AfCapabilities,
    /// Whether requests of the function are not completed yet.
    pub transactions_pending: bool,
}

impl AdvancedFeatures {
    /// Tells whether the function can be reset alone.
    #[must_use]
    pub const fn has_flr(&self) -> bool {
        self.capabilities.contains(AfCapabilities::FLR)
    }
}

impl TypedCapability for AdvancedFeatures {
    const ID: CapabilityId = CapabilityId::Standard(StandardId::AF);

    fn decode<A: ConfigAccess>(body: &Body<'_, A>) -> Result<Self, ConfigError<A::Error>> {
        body.check_len(body.read_u8(2)?.into(), 6)?;
        Ok(Self {
            offset: body.offset(),
            capabilities: AfCapabilities::from_bits_retain(body.read_u8(3)?),
            transactions_pending: body.read_u8(5)? & 1 != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::sample::standard;

    #[test]
    fn flags_are_read() {
        let af: AdvancedFeatures = standard(&[0x13, 0, 6, 3, 0, 1]).unwrap();
        assert!(af.has_flr() && af.transactions_pending);
        let af: AdvancedFeatures = standard(&[0x13, 0, 6, 1, 0, 0]).unwrap();
        assert!(!af.has_flr() && !af.transactions_pending);
    }

    #[test]
    fn a_length_below_the_registers_is_an_error() {
        assert_eq!(
            standard::<AdvancedFeatures>(&[0x13, 0, 5, 3, 0, 1]),
            Err(ConfigError::Length {
                id: AdvancedFeatures::ID,
                offset: 0x40,
                len: 5
            })
        );
    }
}
