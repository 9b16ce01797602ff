//! Message-signalled interrupts (PCI Local Bus specification 3.0, section 6.8.1; PCI Express base
//! specification, section 7.7.1).

use super::{Body, TypedCapability};
use crate::pci::{CapabilityId, ConfigAccess, ConfigError, StandardId};

flags! {
    /// The control register: `PCI_MSI_FLAGS_*` (linux/pci_regs.h). Bits 3:1 and 6:4 say how many
    /// vectors there are, and how many are in use.
    pub struct MsiControl: u16 {
        /// The function uses MSI.
        ENABLE = 1 << 0;
        /// Addresses have 64 bits.
        ADDRESS_64 = 1 << 7;
        /// Each vector can be masked.
        MASKING = 1 << 8;
        /// The data of a message can have 32 bits.
        EXTENDED_DATA = 1 << 9;
        /// The data of a message has 32 bits.
        EXTENDED_DATA_ENABLE = 1 << 10;
    }
}

/// The MSI capability. VFIO writes address and data; what a driver reads of them may be virtual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Msi {
    /// Where it starts, in bytes.
    pub offset: u16,
    /// What it can, and what is in use.
    pub control: MsiControl,
    /// Where messages are written.
    pub address: u64,
    /// What is written, less the bits in which the vectors differ.
    pub data: u16,
    /// One bit for each vector: whether it is masked. `None` where none can be.
    pub mask: Option<u32>,
    /// One bit for each vector: whether a masked interrupt waits. `None` where none can be masked.
    pub pending: Option<u32>,
}

impl Msi {
    /// Returns how many vectors the function asks for, 1 to 32. `None` where the number is a
    /// reserved one.
    #[must_use]
    pub const fn vectors(&self) -> Option<u8> {
        count(self.control.0 >> 1)
    }

    /// Returns how many vectors the function was given, 1 to 32. `None` where the number is a
    /// reserved one.
    #[must_use]
    pub const fn vectors_enabled(&self) -> Option<u8> {
        count(self.control.0 >> 4)
    }

    /// Tells whether the function uses MSI.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        self.control.contains(MsiControl::ENABLE)
    }

    /// Bytes of the capability, 10 to 24.
    #[must_use]
    pub const fn size(&self) -> u16 {
        match (
            self.control.contains(MsiControl::ADDRESS_64),
            self.control.contains(MsiControl::MASKING),
        ) {
            (false, false) => 10,
            (true, false) => 14,
            (false, true) => 20,
            (true, true) => 24,
        }
    }
}

/// Returns the number of vectors whose logarithm is in the low three bits.
const fn count(field: u16) -> Option<u8> {
    match field & 0x7 {
        0 => Some(1),
        1 => Some(2),
        2 => Some(4),
        3 => Some(8),
        4 => Some(16),
        5 => Some(32),
        _ => None,
    }
}

impl TypedCapability for Msi {
    const ID: CapabilityId = CapabilityId::Standard(StandardId::MSI);

    fn decode<A: ConfigAccess>(body: &Body<'_, A>) -> Result<Self, ConfigError<A::Error>> {
        let control = MsiControl::from_bits_retain(body.read_u16(2)?);
        let low = u64::from(body.read_u32(4)?);
        let (address, data, mask, pending) = if control.contains(MsiControl::ADDRESS_64) {
            let high = u64::from(body.read_u32(8)?);
            ((high << 32) | low, 0x0c, 0x10, 0x14)
        } else {
            (low, 0x08, 0x0c, 0x10)
        };
        let masking = control.contains(MsiControl::MASKING);
        let register = |at| masking.then(|| body.read_u32(at)).transpose();
        Ok(Self {
            offset: body.offset(),
            control,
            address,
            data: body.read_u16(data)?,
            mask: register(mask)?,
            pending: register(pending)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::sample::{standard, standard_at};

    #[test]
    fn the_four_layouts_are_read() {
        let msi: Msi = standard(&[5, 0, 0x03, 0, 0, 0, 0xe0, 0xfe, 0x21, 0x40]).unwrap();
        assert_eq!((msi.address, msi.data), (0xfee0_0000, 0x4021));
        assert_eq!((msi.vectors(), msi.vectors_enabled()), (Some(2), Some(1)));
        assert_eq!((msi.mask, msi.pending, msi.size()), (None, None, 10));
        assert!(msi.is_enabled());

        let msi: Msi = standard(&[5, 0, 0x9a, 0, 0, 0, 0xe0, 0xfe, 1, 0, 0, 0, 0x22, 0]).unwrap();
        assert_eq!((msi.address, msi.data), (0x1_fee0_0000, 0x22));
        assert_eq!((msi.vectors(), msi.vectors_enabled()), (Some(32), Some(2)));
        assert_eq!((msi.mask, msi.pending, msi.size()), (None, None, 14));
        assert!(!msi.is_enabled());

        let narrow = [
            5, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0, 0, 0, 0x02, 0, 0, 0,
        ];
        let msi: Msi = standard(&narrow).unwrap();
        assert_eq!(
            (msi.mask, msi.pending, msi.size()),
            (Some(0xff), Some(2), 20)
        );

        let wide = [
            5, 0, 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0f, 0, 0, 0, 0, 0, 0, 0x80,
        ];
        let msi: Msi = standard(&wide).unwrap();
        assert_eq!(
            (msi.mask, msi.pending, msi.size()),
            (Some(0x0f), Some(1 << 31), 24)
        );
    }

    #[test]
    fn reserved_numbers_of_vectors_are_none() {
        let msi: Msi = standard(&[5, 0, 0x6e, 0, 0, 0, 0, 0, 0, 0]).unwrap();
        assert_eq!((msi.vectors(), msi.vectors_enabled()), (None, None));
    }

    #[test]
    fn a_capability_that_does_not_fit_is_an_error() {
        // 10 bytes fit at 0xf4; 14 do not.
        assert!(standard_at::<Msi>(0xf4, &[5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).is_ok());
        assert_eq!(
            standard_at::<Msi>(0xf4, &[5, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            Err(ConfigError::Truncated {
                id: Msi::ID,
                offset: 0xf4,
                size: 0x100
            })
        );
    }
}
