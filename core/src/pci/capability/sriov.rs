//! Single root I/O virtualization (PCI Express base specification, section 9.3.3).

use super::{Body, TypedCapability};
use crate::pci::{Bars, CapabilityId, ConfigAccess, ConfigError, ExtendedId};

flags! {
    /// The control register: `PCI_SRIOV_CTRL_*` (linux/pci_regs.h).
    pub struct SrIovControl: u16 {
        /// The virtual functions are there.
        VFE = 1 << 0;
        /// Virtual functions may migrate.
        VFM = 1 << 1;
        /// Migration interrupts.
        INTR = 1 << 2;
        /// The memory of the virtual functions is there.
        MSE = 1 << 3;
        /// Virtual functions may take device numbers above 0.
        ARI = 1 << 4;
    }
}

/// The SR-IOV capability of a physical function. Virtual functions are made by the kernel's
/// driver, not through VFIO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SrIov {
    /// Where it starts, in bytes.
    pub offset: u16,
    /// The capabilities register (`PCI_SRIOV_CAP`).
    pub capabilities: u32,
    /// What is in use.
    pub control: SrIovControl,
    /// The status register (`PCI_SRIOV_STATUS`).
    pub status: u16,
    /// How many virtual functions are there at first.
    pub initial_vfs: u16,
    /// How many there can be.
    pub total_vfs: u16,
    /// How many there are.
    pub num_vfs: u16,
    /// The function on which this one depends.
    pub function_link: u8,
    /// The routing id of the first virtual function, less that of this function.
    pub vf_offset: u16,
    /// The routing id of a virtual function, less that of the one before.
    pub vf_stride: u16,
    /// The device id of the virtual functions.
    pub vf_device: u16,
    /// The page sizes that are supported: bit n stands for 2^(n + 12) bytes.
    pub supported_page_sizes: u32,
    /// The page size in use, one bit of those.
    pub system_page_size: u32,
    /// The BARs of the virtual functions; the size of each counts once for each function.
    pub vf_bars: Bars,
}

impl SrIov {
    /// Returns the routing id of virtual function `index` (from 0). The routing id is bus, device
    /// and function; that of this function is `physical`. `None` past the last of
    /// [`SrIov::num_vfs`], or of a bus.
    #[must_use]
    pub fn vf_routing_id(&self, physical: u16, index: u16) -> Option<u16> {
        if index >= self.num_vfs {
            return None;
        }
        self.vf_stride
            .checked_mul(index)?
            .checked_add(self.vf_offset)?
            .checked_add(physical)
    }
}

impl TypedCapability for SrIov {
    const ID: CapabilityId = CapabilityId::Extended(ExtendedId::SRIOV);

    fn decode<A: ConfigAccess>(body: &Body<'_, A>) -> Result<Self, ConfigError<A::Error>> {
        Ok(Self {
            offset: body.offset(),
            capabilities: body.read_u32(0x04)?,
            control: SrIovControl::from_bits_retain(body.read_u16(0x08)?),
            status: body.read_u16(0x0a)?,
            initial_vfs: body.read_u16(0x0c)?,
            total_vfs: body.read_u16(0x0e)?,
            num_vfs: body.read_u16(0x10)?,
            function_link: body.read_u8(0x12)?,
            vf_offset: body.read_u16(0x14)?,
            vf_stride: body.read_u16(0x16)?,
            vf_device: body.read_u16(0x1a)?,
            supported_page_sizes: body.read_u32(0x1c)?,
            system_page_size: body.read_u32(0x20)?,
            vf_bars: body.read_bars(0x24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::Bar;
    use crate::pci::sample::extended;

    /// Two of eight virtual functions, with a 64-bit BAR each.
    const BYTES: [u8; 0x40] = {
        let mut bytes = [0; 0x40];
        bytes[0] = 0x10;
        bytes[2] = 1;
        bytes[0x08] = 0x09;
        bytes[0x0c] = 8;
        bytes[0x0e] = 8;
        bytes[0x10] = 2;
        bytes[0x14] = 0x80;
        bytes[0x16] = 2;
        bytes[0x1a] = 0xca;
        bytes[0x1b] = 0x10;
        bytes[0x1c] = 0x53;
        bytes[0x1d] = 0x05;
        bytes[0x20] = 1;
        bytes[0x24] = 0x0c;
        bytes[0x28] = 0x10;
        bytes
    };

    #[test]
    fn numbers_and_bars_are_read() {
        let sriov: SrIov = extended(&BYTES).unwrap();
        assert_eq!(sriov.control, SrIovControl::VFE | SrIovControl::MSE);
        assert_eq!(
            (sriov.initial_vfs, sriov.total_vfs, sriov.num_vfs),
            (8, 8, 2)
        );
        assert_eq!((sriov.vf_offset, sriov.vf_stride), (0x80, 2));
        assert_eq!(sriov.vf_device, 0x10ca);
        assert_eq!(
            (sriov.supported_page_sizes, sriov.system_page_size),
            (0x553, 1)
        );
        let bar = Bar::Memory64 {
            address: 0x10_0000_0000,
            prefetchable: true,
        };
        assert_eq!(sriov.vf_bars.get(0), Some(bar));
    }

    #[test]
    fn routing_ids_are_counted_and_do_not_overflow() {
        let mut sriov: SrIov = extended(&BYTES).unwrap();
        assert_eq!(sriov.vf_routing_id(0x0100, 0), Some(0x0180));
        assert_eq!(sriov.vf_routing_id(0x0100, 1), Some(0x0182));
        assert_eq!(sriov.vf_routing_id(0x0100, 2), None);
        sriov.vf_stride = u16::MAX;
        assert_eq!(sriov.vf_routing_id(0x0100, 1), None);
    }

    #[test]
    fn an_unpaired_bar_is_an_error() {
        let mut bytes = BYTES;
        bytes[0x38] = 4;
        assert_eq!(
            extended::<SrIov>(&bytes),
            Err(ConfigError::UnpairedBar { offset: 0x138 })
        );
    }
}
