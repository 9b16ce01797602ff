//! The header: what the function is, and what it may do (PCI Local Bus specification 3.0,
//! sections 6.1 and 6.2; PCI Express base specification, section 7.5.1).

use core::fmt;

use super::field::{high_half, low_half};
use super::{
    Bars, CapabilityId, Config, ConfigAccess, ConfigError, ConfigWrite, ExpansionRom, StandardId,
};

const ID: u16 = 0x00;
const COMMAND: u16 = 0x04;
const STATUS: u16 = 0x06;
const REVISION: u16 = 0x08;
pub(super) const HEADER_TYPE: u16 = 0x0e;
const BARS: u16 = 0x10;
const CARDBUS_CAPABILITIES: u16 = 0x14;
const SUBSYSTEM: u16 = 0x2c;
const ROM: u16 = 0x30;
const CAPABILITIES: u16 = 0x34;
const BRIDGE_ROM: u16 = 0x38;
const INTERRUPT_LINE: u16 = 0x3c;
const INTERRUPT_PIN: u16 = 0x3d;

flags! {
    /// The command register: `PCI_COMMAND_*` (linux/pci_regs.h); PCI Local Bus specification 3.0,
    /// section 6.2.2.
    pub struct Command: u16 {
        /// Accesses of I/O space are answered.
        IO = 1 << 0;
        /// Accesses of memory space are answered: without it, BARs read as all ones.
        MEMORY = 1 << 1;
        /// The function may start transactions: DMA, and message-signalled interrupts.
        MASTER = 1 << 2;
        /// Special cycles are watched.
        SPECIAL = 1 << 3;
        /// Memory write and invalidate may be used.
        INVALIDATE = 1 << 4;
        /// VGA palette writes are snooped.
        VGA_PALETTE = 1 << 5;
        /// Parity errors are answered.
        PARITY = 1 << 6;
        /// Address and data stepping.
        WAIT = 1 << 7;
        /// System errors are signalled.
        SERR = 1 << 8;
        /// Fast back-to-back transactions may be made.
        FAST_BACK = 1 << 9;
        /// INTx is never asserted.
        INTX_DISABLE = 1 << 10;
    }
}

flags! {
    /// The status register: `PCI_STATUS_*` (linux/pci_regs.h); PCI Local Bus specification 3.0,
    /// section 6.2.3. Error bits are cleared by writing them.
    pub struct Status: u16 {
        /// The function is ready at once after a reset.
        IMM_READY = 1 << 0;
        /// INTx is pending.
        INTERRUPT = 1 << 3;
        /// There is a list of capabilities.
        CAP_LIST = 1 << 4;
        /// 66 MHz.
        MHZ_66 = 1 << 5;
        /// Fast back-to-back transactions are accepted.
        FAST_BACK = 1 << 7;
        /// A parity error was seen by a master.
        PARITY = 1 << 8;
        /// Low bit of the DEVSEL timing.
        DEVSEL_MEDIUM = 1 << 9;
        /// High bit of the DEVSEL timing.
        DEVSEL_SLOW = 1 << 10;
        /// A transaction was aborted by this target.
        SIG_TARGET_ABORT = 1 << 11;
        /// A transaction was aborted by its target.
        REC_TARGET_ABORT = 1 << 12;
        /// A transaction was aborted by its master.
        REC_MASTER_ABORT = 1 << 13;
        /// A system error was signalled.
        SIG_SYSTEM_ERROR = 1 << 14;
        /// A parity error was detected.
        DETECTED_PARITY = 1 << 15;
    }
}

ids! {
    /// What stands in the header from 0x10 on: `PCI_HEADER_TYPE_*` (linux/pci_regs.h).
    pub struct HeaderLayout: u8 {
        /// Type 0, an endpoint.
        NORMAL = 0;
        /// Type 1, a bridge to another PCI bus.
        BRIDGE = 1;
        /// Type 2, a bridge to a CardBus.
        CARDBUS = 2;
    }
}

ids! {
    /// The interrupt pin of a function; PCI Local Bus specification 3.0, section 6.2.4.
    pub struct InterruptPin: u8 {
        /// INTx is not used.
        NONE = 0;
        /// INTA#.
        INTA = 1;
        /// INTB#.
        INTB = 2;
        /// INTC#.
        INTC = 3;
        /// INTD#.
        INTD = 4;
    }
}

/// Vendor and device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Id {
    /// The vendor; 0xffff where no function answers, and in the hardware of virtual functions.
    pub vendor: u16,
    /// The vendor's number of the device.
    pub device: u16,
}

/// Class code and revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Class {
    /// The base class: 1 is mass storage, 2 a network controller.
    pub base: u8,
    /// The class within the base class.
    pub sub: u8,
    /// The register-level programming interface.
    pub interface: u8,
    /// The vendor's revision.
    pub revision: u8,
}

/// The header type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct HeaderType {
    /// The layout of the header.
    pub layout: HeaderLayout,
    /// Whether the device has, or may have, more functions than this one.
    pub multifunction: bool,
}

impl Id {
    /// Takes the vendor from the low half and the device from the high one.
    fn from_register(register: u32) -> Self {
        Self {
            vendor: low_half(register),
            device: high_half(register),
        }
    }
}

impl<A: ConfigAccess> Config<A> {
    /// Returns vendor and device.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn id(&self) -> Result<Id, ConfigError<A::Error>> {
        self.read_u32(ID).map(Id::from_register)
    }

    /// Returns what the function may do now.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn command(&self) -> Result<Command, ConfigError<A::Error>> {
        self.read_u16(COMMAND).map(Command::from_bits_retain)
    }

    /// Returns the status register: what the function can, and what happened to it.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn status(&self) -> Result<Status, ConfigError<A::Error>> {
        self.read_u16(STATUS).map(Status::from_bits_retain)
    }

    /// Class code and revision.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn class(&self) -> Result<Class, ConfigError<A::Error>> {
        let [revision, interface, sub, base] = self.read_u32(REVISION)?.to_le_bytes();
        Ok(Class {
            base,
            sub,
            interface,
            revision,
        })
    }

    /// Returns the layout of the header, and whether there are more functions.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn header_type(&self) -> Result<HeaderType, ConfigError<A::Error>> {
        let raw = self.read_u8(HEADER_TYPE)?;
        Ok(HeaderType {
            layout: HeaderLayout(raw & 0x7f),
            multifunction: raw & 0x80 != 0,
        })
    }

    /// Returns the vendor and the model of the board: in the header of an endpoint, in a capability
    /// of a bridge, where it has one.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn subsystem(&self) -> Result<Option<Id>, ConfigError<A::Error>> {
        match self.header_type()?.layout {
            HeaderLayout::NORMAL => self.read_u32(SUBSYSTEM).map(Id::from_register).map(Some),
            HeaderLayout::BRIDGE => {
                let id = CapabilityId::Standard(StandardId::SSVID);
                let Some(entry) = self.find_entry(id)? else {
                    return Ok(None);
                };
                entry
                    .body(self)
                    .read_u32(4)
                    .map(Id::from_register)
                    .map(Some)
            }
            HeaderLayout(layout) => Err(ConfigError::UnknownLayout { layout }),
        }
    }

    /// Returns the base address registers: six of an endpoint, two of a bridge.
    ///
    /// The registers are only read: the size of a BAR is the size of its VFIO region.
    ///
    /// # Errors
    /// [`ConfigError`]; a 64-bit BAR without an upper half is [`ConfigError::UnpairedBar`].
    pub fn bars(&self) -> Result<Bars, ConfigError<A::Error>> {
        match self.header_type()?.layout {
            HeaderLayout::NORMAL => Bars::read::<6, _, _>(BARS, |at| self.read_u32(at)),
            HeaderLayout::BRIDGE => Bars::read::<2, _, _>(BARS, |at| self.read_u32(at)),
            HeaderLayout(layout) => Err(ConfigError::UnknownLayout { layout }),
        }
    }

    /// Returns the base address of the expansion ROM.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn expansion_rom(&self) -> Result<ExpansionRom, ConfigError<A::Error>> {
        let offset = match self.header_type()?.layout {
            HeaderLayout::NORMAL => ROM,
            HeaderLayout::BRIDGE => BRIDGE_ROM,
            HeaderLayout(layout) => return Err(ConfigError::UnknownLayout { layout }),
        };
        self.read_u32(offset).map(ExpansionRom::from_register)
    }

    /// Returns the pin on which the function raises INTx.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn interrupt_pin(&self) -> Result<InterruptPin, ConfigError<A::Error>> {
        self.read_u8(INTERRUPT_PIN).map(InterruptPin)
    }

    /// Returns the line to which firmware says that the pin is routed. The function makes no use of
    /// it.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn interrupt_line(&self) -> Result<u8, ConfigError<A::Error>> {
        self.read_u8(INTERRUPT_LINE)
    }

    /// Returns the register that names the first standard capability, and its value. None where the
    /// status register says that there is no list.
    pub(super) fn capabilities_pointer(&self) -> Result<Option<(u16, u8)>, ConfigError<A::Error>> {
        if !self.status()?.contains(Status::CAP_LIST) {
            return Ok(None);
        }
        let offset = match self.header_type()?.layout {
            HeaderLayout::NORMAL | HeaderLayout::BRIDGE => CAPABILITIES,
            HeaderLayout::CARDBUS => CARDBUS_CAPABILITIES,
            HeaderLayout(layout) => return Err(ConfigError::UnknownLayout { layout }),
        };
        let pointer = self.read_u8(offset)?;
        Ok(Some((offset, pointer)))
    }
}

impl<A: ConfigWrite> Config<A> {
    /// Says what the function may do: DMA and message-signalled interrupts need
    /// [`Command::MASTER`].
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn set_command(&mut self, command: Command) -> Result<(), ConfigError<A::Error>> {
        self.write_u16(COMMAND, command.bits())
    }

    /// Clears the error bits of `status`.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn clear_status(&mut self, status: Status) -> Result<(), ConfigError<A::Error>> {
        self.write_u16(STATUS, status.bits())
    }
}

impl fmt::Display for Id {
    /// Writes it as `lspci -n` does: `8086:10d3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vendor, self.device)
    }
}

impl fmt::Display for Class {
    /// Writes the class code as in sysfs, less its prefix, and the revision: `010802 rev 02`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            base,
            sub,
            interface,
            revision,
        } = self;
        write!(f, "{base:02x}{sub:02x}{interface:02x} rev {revision:02x}")
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;
    use crate::pci::{Bar, Snapshot};

    /// A network controller whose BARs were assigned; only the header, as Linux shows it without
    /// privileges.
    const NETWORK: [u8; 64] = [
        0x86, 0x80, 0xd3, 0x10, 0x07, 0x04, 0x10, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x80,
        0x00, 0x00, 0x00, 0x84, 0xfe, 0x00, 0x00, 0x86, 0xfe, 0x41, 0xc0, 0x00, 0x00, 0x00, 0x00,
        0x88, 0xfe, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x86,
        0x80, 0x00, 0x00, 0x01, 0x00, 0x8a, 0xfe, 0xc8, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x0b, 0x01, 0x00, 0x00,
    ];

    #[test]
    fn an_endpoint_is_read() {
        let config = Config::new(Snapshot(&NETWORK));
        let id = config.id().unwrap();
        assert_eq!((id.vendor, id.device), (0x8086, 0x10d3));
        assert_eq!(id.to_string(), "8086:10d3");
        let command = Command::IO | Command::MEMORY | Command::MASTER | Command::INTX_DISABLE;
        assert_eq!(config.command(), Ok(command));
        assert_eq!(config.status(), Ok(Status::CAP_LIST));
        let class = config.class().unwrap();
        assert_eq!((class.base, class.sub, class.interface), (2, 0, 0));
        let header_type = HeaderType {
            layout: HeaderLayout::NORMAL,
            multifunction: true,
        };
        assert_eq!(config.header_type(), Ok(header_type));
        let subsystem = Id {
            vendor: 0x8086,
            device: 0,
        };
        assert_eq!(config.subsystem(), Ok(Some(subsystem)));
        assert_eq!(config.interrupt_pin(), Ok(InterruptPin::INTA));
        assert_eq!(config.interrupt_line(), Ok(0x0b));
        let rom = ExpansionRom {
            address: 0xfe8a_0000,
            enabled: true,
        };
        assert_eq!(config.expansion_rom(), Ok(rom));
        assert_eq!(
            config.bars().unwrap().get(2),
            Some(Bar::Io { port: 0xc040 })
        );
    }

    #[test]
    fn the_command_register_is_written_alone() {
        let mut config = Config::new(Snapshot(NETWORK));
        config.set_command(Command::MEMORY).unwrap();
        assert_eq!(config.command(), Ok(Command::MEMORY));
        assert_eq!(config.status(), Ok(Status::CAP_LIST));
    }

    #[test]
    fn a_layout_that_is_not_known_has_no_bars() {
        let mut bytes = NETWORK;
        bytes[usize::from(HEADER_TYPE)] = 0x83;
        let config = Config::new(Snapshot(bytes));
        let unknown = ConfigError::UnknownLayout { layout: 3 };
        assert_eq!(config.bars(), Err(unknown));
        assert_eq!(config.expansion_rom(), Err(unknown));
        assert_eq!(config.subsystem(), Err(unknown));
        assert_eq!(config.capabilities().next(), Some(Err(unknown)));
        assert_eq!(unknown.offset(), HEADER_TYPE);
        assert_eq!(config.id().unwrap().vendor, 0x8086);
    }
}
