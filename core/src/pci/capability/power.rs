//! Power management (PCI Bus Power Management Interface specification; PCI Express base
//! specification, section 7.5.2).

use super::{Body, TypedCapability};
use crate::pci::{CapabilityId, ConfigAccess, ConfigError, StandardId};

flags! {
    /// What power management can: `PCI_PM_CAP_*` (linux/pci_regs.h). The low three bits are the
    /// version.
    pub struct PowerCapabilities: u16 {
        /// PME needs the PCI clock.
        PME_CLOCK = 1 << 3;
        /// The function needs an initialization of its own after D0.
        DSI = 1 << 5;
        /// D1 is supported.
        D1 = 1 << 9;
        /// D2 is supported.
        D2 = 1 << 10;
        /// PME can be raised from D0.
        PME_D0 = 1 << 11;
        /// PME can be raised from D1.
        PME_D1 = 1 << 12;
        /// PME can be raised from D2.
        PME_D2 = 1 << 13;
        /// PME can be raised from D3hot.
        PME_D3_HOT = 1 << 14;
        /// PME can be raised from D3cold.
        PME_D3_COLD = 1 << 15;
    }
}

/// A power state that a function can be told to enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum PowerState {
    /// Running.
    D0,
    /// Light sleep.
    D1,
    /// Deeper sleep.
    D2,
    /// Off but for config space.
    D3Hot,
}

/// The power management capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PowerManagement {
    /// Where it starts, in bytes.
    pub offset: u16,
    /// What it can.
    pub capabilities: PowerCapabilities,
    /// Control and status (`PCI_PM_CTRL`).
    pub control: u16,
}

impl PowerManagement {
    /// Where the control and status register lies in the capability, in bytes.
    pub const CONTROL: u16 = 4;

    /// Returns the version of the power management specification that the function implements.
    #[must_use]
    pub const fn version(&self) -> u16 {
        self.capabilities.0 & 0x7
    }

    /// Returns the state that the function is in.
    #[must_use]
    pub const fn state(&self) -> PowerState {
        match self.control & 0x3 {
            0 => PowerState::D0,
            1 => PowerState::D1,
            2 => PowerState::D2,
            _ => PowerState::D3Hot,
        }
    }

    /// Tells whether the function keeps its state from D3hot to D0: then that is no reset.
    #[must_use]
    pub const fn no_soft_reset(&self) -> bool {
        self.control & (1 << 3) != 0
    }

    /// Tells whether the function may raise PME.
    #[must_use]
    pub const fn pme_enabled(&self) -> bool {
        self.control & (1 << 8) != 0
    }

    /// Tells whether the function raises PME, or would if it might.
    #[must_use]
    pub const fn pme_status(&self) -> bool {
        self.control & (1 << 15) != 0
    }
}

impl TypedCapability for PowerManagement {
    const ID: CapabilityId = CapabilityId::Standard(StandardId::PM);

    fn decode<A: ConfigAccess>(body: &Body<'_, A>) -> Result<Self, ConfigError<A::Error>> {
        Ok(Self {
            offset: body.offset(),
            capabilities: PowerCapabilities::from_bits_retain(body.read_u16(2)?),
            control: body.read_u16(Self::CONTROL)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::sample::standard;

    #[test]
    fn states_and_flags_are_read() {
        let pm: PowerManagement = standard(&[0x01, 0, 0x03, 0xfe, 0x0b, 0x81, 0, 0]).unwrap();
        assert_eq!((pm.offset, pm.version()), (0x40, 3));
        assert!(
            pm.capabilities
                .contains(PowerCapabilities::D1 | PowerCapabilities::PME_D3_COLD)
        );
        assert_eq!(pm.state(), PowerState::D3Hot);
        assert!(pm.no_soft_reset() && pm.pme_enabled() && pm.pme_status());
        let pm: PowerManagement = standard(&[0x01, 0, 0x02, 0, 0x02, 0, 0, 0]).unwrap();
        assert_eq!(pm.state(), PowerState::D2);
        assert!(!pm.no_soft_reset() && !pm.pme_enabled() && !pm.pme_status());
    }
}
