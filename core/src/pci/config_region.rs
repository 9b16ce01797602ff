//! Config spaces for the crates that build on `pci_types`.

#![expect(
    unsafe_code,
    reason = "the methods of `ConfigRegionAccess` are unsafe to call; nothing here does what is"
)]

use core::cell::RefCell;

use pci_types::{ConfigRegionAccess, PciAddress};

use crate::pci::{Config, ConfigWrite};

/// One function's configuration space as [`ConfigRegionAccess`], the trait that crates of the
/// `pci_types` family are generic over.
///
/// The trait has no errors; this type answers as a PCI bus does. Where no function answers (an
/// address other than the one given, an offset past the space or not a multiple of 4, an access
/// that fails) a read is all ones and a write is dropped. Nothing here is unsafe to call, whatever
/// the address and the offset.
///
/// `pci_types` trusts what it reads: its capability iterator does not end on a list with a loop,
/// and it panics on a BAR of a reserved type. Where the device is not trusted,
/// [`Config::capabilities`] and [`Config::bars`] tell beforehand whether all is well.
///
/// ```
/// use pci_types::{PciAddress, PciHeader};
/// use vfio_core::pci::{Config, ConfigRegion, Snapshot};
///
/// # let mut bytes = [0; 256];
/// # bytes[..4].copy_from_slice(&[0x34, 0x12, 0xe8, 0x11]);
/// let address = PciAddress::new(0, 1, 0, 0);
/// let config = Config::new(Snapshot(&mut bytes));
/// let region = ConfigRegion::new(address, config);
/// assert_eq!(PciHeader::new(address).id(&region), (0x1234, 0x11e8));
/// ```
#[derive(Debug)]
pub struct ConfigRegion<A> {
    address: PciAddress,
    config: RefCell<Config<A>>,
}

impl<A: ConfigWrite> ConfigRegion<A> {
    /// Creates the space of the function that is to answer at `address`.
    pub const fn new(address: PciAddress, config: Config<A>) -> Self {
        Self {
            address,
            config: RefCell::new(config),
        }
    }

    /// Returns the address at which the function answers.
    pub const fn address(&self) -> PciAddress {
        self.address
    }

    /// Gives back the space.
    pub fn into_config(self) -> Config<A> {
        self.config.into_inner()
    }

    /// Reads 32 bits at `offset`. All ones stand for what is not there.
    fn read(&self, address: PciAddress, offset: u16) -> u32 {
        if address != self.address {
            return u32::MAX;
        }
        // The borrow fails only if the access reads its own region while it writes.
        self.config
            .try_borrow()
            .ok()
            .and_then(|config| config.read_u32(offset).ok())
            .unwrap_or(u32::MAX)
    }

    /// Writes at `offset`, or drops the write.
    fn write(&self, address: PciAddress, offset: u16, value: u32) {
        if address != self.address {
            return;
        }
        if let Ok(mut config) = self.config.try_borrow_mut()
            && config.write_u32(offset, value).is_err()
        {
            debug!("a write to config space at offset {} was dropped", offset);
        }
    }
}

impl<A: ConfigWrite> ConfigRegionAccess for ConfigRegion<A> {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        self.read(address, offset)
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        self.write(address, offset, value);
    }
}

#[cfg(feature = "defmt")]
impl<A> defmt::Format for ConfigRegion<A> {
    fn format(&self, f: defmt::Formatter<'_>) {
        let address = self.address;
        defmt::write!(
            f,
            "ConfigRegion({=u16:04x}:{=u8:02x}:{=u8:02x}.{=u8})",
            address.segment(),
            address.bus(),
            address.device(),
            address.function()
        );
    }
}

#[cfg(test)]
mod tests {
    use pci_types::capability::PciCapability;
    use pci_types::{Bar, CommandRegister, EndpointHeader, PciHeader};

    use super::*;
    use crate::pci::Snapshot;

    const ADDRESS: (u16, u8, u8, u8) = (0, 3, 0, 0);

    fn address() -> PciAddress {
        let (segment, bus, device, function) = ADDRESS;
        PciAddress::new(segment, bus, device, function)
    }

    /// Returns an endpoint with MSI-X at 0x40 and power management at 0x60.
    fn region() -> ConfigRegion<Snapshot<[u8; 256]>> {
        let mut bytes = [0; 256];
        bytes[..4].copy_from_slice(&[0x36, 0x1b, 0x10, 0x00]);
        bytes[6] = 0x10;
        bytes[0x10] = 0x01;
        bytes[0x11] = 0xc0;
        bytes[0x34] = 0x40;
        bytes[0x40..0x4c].copy_from_slice(&[0x11, 0x60, 0x07, 0, 0, 0x20, 0, 0, 0, 0x30, 0, 0]);
        bytes[0x60..0x64].copy_from_slice(&[0x01, 0, 0x03, 0]);
        ConfigRegion::new(address(), Config::new(Snapshot(bytes)))
    }

    #[test]
    fn pci_types_works_on_it() {
        let region = region();
        let mut header = EndpointHeader::from_header(PciHeader::new(address()), &region).unwrap();
        assert_eq!(header.header().id(&region), (0x1b36, 0x0010));
        assert!(matches!(
            header.bar(0, &region),
            Some(Bar::Io { port: 0xc000 })
        ));
        let mut capabilities = header.capabilities(&region);
        let Some(PciCapability::MsiX(msix)) = capabilities.next() else {
            panic!("no MSI-X");
        };
        assert_eq!((msix.table_size(), msix.table_offset()), (8, 0x2000));
        let power = capabilities.next();
        assert!(matches!(power, Some(PciCapability::PowerManagement(_))));
        assert!(capabilities.next().is_none());

        header.update_command(&region, |command| {
            command | CommandRegister::BUS_MASTER_ENABLE
        });
        let command = region.into_config().command().unwrap();
        assert_eq!(command, crate::pci::Command::MASTER);
    }

    #[test]
    fn nobody_answers_elsewhere() {
        let region = region();
        assert_eq!(region.read(address(), 0x40), 0x0007_6011);
        assert_eq!(region.read(PciAddress::new(0, 3, 0, 1), 0x40), u32::MAX);
        assert_eq!(region.read(address(), 0x41), u32::MAX);
        assert_eq!(region.read(address(), 0x100), u32::MAX);
        region.write(PciAddress::new(0, 3, 0, 1), 0x40, 0);
        region.write(address(), 0x41, 0);
        region.write(address(), 0x100, 0);
        assert_eq!(region.read(address(), 0x40), 0x0007_6011);
    }
}
