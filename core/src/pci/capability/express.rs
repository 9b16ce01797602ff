//! PCI Express (PCI Express base specification, section 7.5.3).

use super::{Body, TypedCapability};
use crate::pci::field::{low_byte, low_half};
use crate::pci::{CapabilityId, ConfigAccess, ConfigError, StandardId};

ids! {
    /// What kind of PCI Express function this is: `PCI_EXP_TYPE_*` (linux/pci_regs.h).
    pub struct PortType: u8 {
        /// An endpoint.
        ENDPOINT = 0x0;
        /// An endpoint with features of conventional PCI.
        LEG_END = 0x1;
        /// A root port.
        ROOT_PORT = 0x4;
        /// The upstream port of a switch.
        UPSTREAM = 0x5;
        /// A downstream port of a switch.
        DOWNSTREAM = 0x6;
        /// A bridge to conventional PCI.
        PCI_BRIDGE = 0x7;
        /// A bridge from conventional PCI.
        PCIE_BRIDGE = 0x8;
        /// An endpoint in the root complex.
        RC_END = 0x9;
        /// An event collector in the root complex.
        RC_EC = 0xa;
    }
}

ids! {
    /// The speed of a link, in transfers per second and lane.
    pub struct LinkSpeed: u8 {
        /// 2.5 GT/s.
        GT_2_5 = 1;
        /// 5 GT/s.
        GT_5 = 2;
        /// 8 GT/s.
        GT_8 = 3;
        /// 16 GT/s.
        GT_16 = 4;
        /// 32 GT/s.
        GT_32 = 5;
        /// 64 GT/s.
        GT_64 = 6;
    }
}

flags! {
    /// Device capabilities: `PCI_EXP_DEVCAP_*` (linux/pci_regs.h). Bits without a name are parts
    /// of numbers.
    pub struct DeviceCapabilities: u32 {
        /// 8-bit tags.
        EXT_TAG = 1 << 5;
        /// Errors are reported by role.
        RBER = 1 << 15;
        /// Function level reset.
        FLR = 1 << 28;
    }
}

flags! {
    /// Device control: `PCI_EXP_DEVCTL_*` (linux/pci_regs.h). Bits without a name are parts of
    /// numbers.
    pub struct DeviceControl: u16 {
        /// Correctable errors are reported.
        CERE = 1 << 0;
        /// Non-fatal errors are reported.
        NFERE = 1 << 1;
        /// Fatal errors are reported.
        FERE = 1 << 2;
        /// Unsupported requests are reported.
        URRE = 1 << 3;
        /// Relaxed ordering may be used.
        RELAX_EN = 1 << 4;
        /// 8-bit tags may be used.
        EXT_TAG = 1 << 8;
        /// Phantom functions may be used.
        PHANTOM = 1 << 9;
        /// Auxiliary power may be drawn.
        AUX_PME = 1 << 10;
        /// Transactions that need no cache snoop may be marked so.
        NOSNOOP_EN = 1 << 11;
        /// Written as 1: function level reset, or configuration retry on a bridge.
        BCR_FLR = 1 << 15;
    }
}

flags! {
    /// Device status: `PCI_EXP_DEVSTA_*` (linux/pci_regs.h). Errors are cleared by writing them.
    pub struct DeviceStatus: u16 {
        /// A correctable error was detected.
        CED = 1 << 0;
        /// A non-fatal error was detected.
        NFED = 1 << 1;
        /// A fatal error was detected.
        FED = 1 << 2;
        /// An unsupported request was detected.
        URD = 1 << 3;
        /// Auxiliary power is there.
        AUXPD = 1 << 4;
        /// Requests of the function are not completed yet.
        TRPND = 1 << 5;
    }
}

flags! {
    /// Device capabilities 2: `PCI_EXP_DEVCAP2_*` (linux/pci_regs.h). Bits without a name are
    /// parts of numbers.
    pub struct DeviceCapabilities2: u32 {
        /// Completion timeouts can be switched off.
        COMP_TMOUT_DIS = 1 << 4;
        /// Alternative routing-ids are forwarded.
        ARI = 1 << 5;
        /// Atomic operations are routed.
        ATOMIC_ROUTE = 1 << 6;
        /// 32-bit atomic operations are completed.
        ATOMIC_COMP32 = 1 << 7;
        /// 64-bit atomic operations are completed.
        ATOMIC_COMP64 = 1 << 8;
        /// 128-bit compare-and-swap is completed.
        ATOMIC_COMP128 = 1 << 9;
        /// Latency tolerance reporting.
        LTR = 1 << 11;
        /// 10-bit tags are completed.
        TAG_10_COMPLETER = 1 << 16;
        /// 10-bit tags can be used.
        TAG_10_REQUESTER = 1 << 17;
        /// End-to-end TLP prefixes.
        EE_PREFIX = 1 << 21;
    }
}

flags! {
    /// Device control 2: `PCI_EXP_DEVCTL2_*` (linux/pci_regs.h). Bits without a name are parts of
    /// numbers.
    pub struct DeviceControl2: u16 {
        /// Completion timeouts are switched off.
        COMP_TMOUT_DIS = 1 << 4;
        /// Alternative routing-ids are forwarded.
        ARI = 1 << 5;
        /// Atomic operations may be requested.
        ATOMIC_REQ = 1 << 6;
        /// Atomic operations are not let out.
        ATOMIC_EGRESS_BLOCK = 1 << 7;
        /// Requests may be ordered by id.
        IDO_REQ_EN = 1 << 8;
        /// Completions may be ordered by id.
        IDO_CMP_EN = 1 << 9;
        /// Latency tolerance reporting.
        LTR_EN = 1 << 10;
        /// 10-bit tags may be used.
        TAG_10_REQUESTER = 1 << 12;
    }
}

/// The PCI Express capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PciExpress {
    /// Where it starts, in bytes.
    pub offset: u16,
    /// The capabilities register (`PCI_EXP_FLAGS`).
    pub flags: u16,
    /// What the function can.
    pub device_capabilities: DeviceCapabilities,
    /// What the function may do.
    pub device_control: DeviceControl,
    /// What happened to the function.
    pub device_status: DeviceStatus,
    /// Its link; `None` of a function in the root complex, which has none.
    pub link: Option<Link>,
    /// What version 2 of the capability added.
    pub v2: Option<Express2>,
}

/// The link of a [`PciExpress`] function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Link {
    /// The capabilities register (`PCI_EXP_LNKCAP`).
    pub capabilities: u32,
    /// The control register (`PCI_EXP_LNKCTL`).
    pub control: u16,
    /// The status register (`PCI_EXP_LNKSTA`).
    pub status: u16,
}

/// The second device registers of a [`PciExpress`] function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Express2 {
    /// What the function can.
    pub device_capabilities: DeviceCapabilities2,
    /// What the function may do.
    pub device_control: DeviceControl2,
}

impl PciExpress {
    /// Where the device control register lies in the capability, in bytes.
    pub const DEVICE_CONTROL: u16 = 0x08;

    /// Returns the version of the capability.
    #[must_use]
    pub const fn version(&self) -> u16 {
        self.flags & 0xf
    }

    /// Returns the kind of function that this is.
    #[must_use]
    pub fn port_type(&self) -> PortType {
        PortType(low_byte((self.flags >> 4).into()) & 0xf)
    }

    /// Tells whether this port has a slot.
    #[must_use]
    pub const fn has_slot(&self) -> bool {
        self.flags & (1 << 8) != 0
    }

    /// Returns the vector on which the function reports its own events.
    #[must_use]
    pub const fn interrupt_message(&self) -> u16 {
        (self.flags >> 9) & 0x1f
    }

    /// Tells whether the function can be reset alone.
    #[must_use]
    pub const fn has_flr(&self) -> bool {
        self.device_capabilities.contains(DeviceCapabilities::FLR)
    }

    /// Returns the longest payload that the function takes, in bytes. `None` where the code is
    /// reserved.
    #[must_use]
    pub fn max_payload_supported(&self) -> Option<u16> {
        payload(low_half(self.device_capabilities.0))
    }

    /// Returns the longest payload that the function may send, in bytes. `None` where the code is
    /// reserved.
    #[must_use]
    pub const fn max_payload(&self) -> Option<u16> {
        payload(self.device_control.0 >> 5)
    }

    /// Returns the longest read that the function may request, in bytes. `None` where the code is
    /// reserved.
    #[must_use]
    pub const fn max_read_request(&self) -> Option<u16> {
        payload(self.device_control.0 >> 12)
    }
}

impl Link {
    /// Returns the highest speed.
    #[must_use]
    pub fn max_speed(&self) -> LinkSpeed {
        LinkSpeed(low_byte(self.capabilities) & 0xf)
    }

    /// Returns the largest number of lanes.
    #[must_use]
    pub fn max_width(&self) -> u8 {
        low_byte(self.capabilities >> 4) & 0x3f
    }

    /// Returns the speed.
    #[must_use]
    pub fn speed(&self) -> LinkSpeed {
        LinkSpeed(low_byte(self.status.into()) & 0xf)
    }

    /// Returns the number of lanes.
    #[must_use]
    pub fn width(&self) -> u8 {
        low_byte((self.status >> 4).into()) & 0x3f
    }
}

/// Bytes for a code in the low three bits.
const fn payload(code: u16) -> Option<u16> {
    match code & 0x7 {
        0 => Some(128),
        1 => Some(256),
        2 => Some(512),
        3 => Some(1024),
        4 => Some(2048),
        5 => Some(4096),
        _ => None,
    }
}

impl TypedCapability for PciExpress {
    const ID: CapabilityId = CapabilityId::Standard(StandardId::EXP);

    fn decode<A: ConfigAccess>(body: &Body<'_, A>) -> Result<Self, ConfigError<A::Error>> {
        let mut this = Self {
            offset: body.offset(),
            flags: body.read_u16(0x02)?,
            device_capabilities: DeviceCapabilities::from_bits_retain(body.read_u32(0x04)?),
            device_control: DeviceControl::from_bits_retain(body.read_u16(0x08)?),
            device_status: DeviceStatus::from_bits_retain(body.read_u16(0x0a)?),
            link: None,
            v2: None,
        };
        // Version 1 of the capability ends here in the root complex.
        if !matches!(this.port_type(), PortType::RC_END | PortType::RC_EC) {
            this.link = Some(Link {
                capabilities: body.read_u32(0x0c)?,
                control: body.read_u16(0x10)?,
                status: body.read_u16(0x12)?,
            });
        }
        if this.version() >= 2 {
            this.v2 = Some(Express2 {
                device_capabilities: DeviceCapabilities2::from_bits_retain(body.read_u32(0x24)?),
                device_control: DeviceControl2::from_bits_retain(body.read_u16(0x28)?),
            });
        }
        Ok(this)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::sample::{standard, standard_at};

    /// An endpoint with FLR on a link of x4 at 8 GT/s, of up to x8 at 16 GT/s.
    const ENDPOINT: [u8; 0x3c] = {
        let mut bytes = [0; 0x3c];
        bytes[0] = 0x10;
        bytes[2] = 0x02;
        bytes[4] = 0x22;
        bytes[7] = 0x10;
        bytes[8] = 0x3f;
        bytes[9] = 0x29;
        bytes[0xa] = 0x20;
        bytes[0xc] = 0x84;
        bytes[0x12] = 0x43;
        bytes[0x24] = 0x90;
        bytes[0x25] = 0x01;
        bytes[0x28] = 0x40;
        bytes
    };

    #[test]
    fn an_endpoint_is_read() {
        let express: PciExpress = standard(&ENDPOINT).unwrap();
        assert_eq!(
            (express.version(), express.port_type()),
            (2, PortType::ENDPOINT)
        );
        assert!(express.has_flr() && !express.has_slot());
        assert_eq!(express.max_payload_supported(), Some(512));
        assert_eq!(express.max_payload(), Some(256));
        assert_eq!(express.max_read_request(), Some(512));
        assert_eq!(express.device_status, DeviceStatus::TRPND);
        let link = express.link.unwrap();
        assert_eq!((link.max_speed(), link.max_width()), (LinkSpeed::GT_16, 8));
        assert_eq!((link.speed(), link.width()), (LinkSpeed::GT_8, 4));
        let v2 = express.v2.unwrap();
        let atomics = DeviceCapabilities2::ATOMIC_COMP32 | DeviceCapabilities2::ATOMIC_COMP64;
        assert!(v2.device_capabilities.contains(atomics));
        assert_eq!(v2.device_control, DeviceControl2::ATOMIC_REQ);
    }

    #[test]
    fn version_1_ends_early() {
        let bytes = [0x10, 0, 0x91, 0, 0x06, 0, 0, 0, 0xc0, 0x60, 0, 0];
        // Only 12 bytes are there: no register behind them is read.
        let express: PciExpress = standard_at(0xf4, &bytes).unwrap();
        assert_eq!(
            (express.version(), express.port_type()),
            (1, PortType::RC_END)
        );
        assert_eq!((express.link, express.v2), (None, None));
        assert_eq!(express.max_payload_supported(), None);
        assert_eq!(
            (express.max_payload(), express.max_read_request()),
            (None, None)
        );

        let truncated =
            standard_at::<PciExpress>(0xf4, &[0x10, 0, 0x01, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            truncated,
            Err(ConfigError::Truncated {
                id: PciExpress::ID,
                offset: 0xf4,
                size: 0x100
            })
        );
    }
}
