//! What vendors define (PCI Express base specification, sections 7.9.4 to 7.9.6).

use super::{Body, TypedCapability};
use crate::pci::field::{high_half, low_byte, low_half};
use crate::pci::{CapabilityId, ConfigAccess, ConfigError, ExtendedId, StandardId};

/// A vendor-specific capability of the standard list; the vendor is the function's own.
///
/// What it holds is read with [`Config::read_bytes`](super::Config::read_bytes), or by a
/// [`TypedCapability`] of the caller's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct VendorSpecific {
    /// Where it starts, in bytes.
    pub offset: u16,
    /// Its length in bytes, header of 3 included; within the space.
    pub len: u8,
}

/// A vendor-specific capability of the extended list (VSEC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ExtendedVendor {
    /// Where it starts, in bytes.
    pub offset: u16,
    /// The vendor's number of it; the vendor is the function's own.
    pub id: u16,
    /// The vendor's version of it.
    pub revision: u8,
    /// Its length in bytes, header of 8 included; within the space.
    pub len: u16,
}

/// A designated vendor-specific capability (DVSEC), of any vendor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DesignatedVendor {
    /// Where it starts, in bytes.
    pub offset: u16,
    /// Who defined it.
    pub vendor: u16,
    /// The vendor's number of it.
    pub id: u16,
    /// The vendor's version of it.
    pub revision: u8,
    /// Its length in bytes, header of 10 included; within the space.
    pub len: u16,
}

/// Splits the high half of a header into version and length.
fn revision_and_len(header: u32) -> (u8, u16) {
    (low_byte(header >> 16) & 0xf, high_half(header) >> 4)
}

impl TypedCapability for VendorSpecific {
    const ID: CapabilityId = CapabilityId::Standard(StandardId::VNDR);

    fn decode<A: ConfigAccess>(body: &Body<'_, A>) -> Result<Self, ConfigError<A::Error>> {
        let len = body.read_u8(2)?;
        body.check_len(len.into(), 3)?;
        Ok(Self {
            offset: body.offset(),
            len,
        })
    }
}

impl TypedCapability for ExtendedVendor {
    const ID: CapabilityId = CapabilityId::Extended(ExtendedId::VNDR);

    fn decode<A: ConfigAccess>(body: &Body<'_, A>) -> Result<Self, ConfigError<A::Error>> {
        let header = body.read_u32(4)?;
        let (revision, len) = revision_and_len(header);
        body.check_len(len, 8)?;
        Ok(Self {
            offset: body.offset(),
            id: low_half(header),
            revision,
            len,
        })
    }
}

impl TypedCapability for DesignatedVendor {
    const ID: CapabilityId = CapabilityId::Extended(ExtendedId::DVSEC);

    fn decode<A: ConfigAccess>(body: &Body<'_, A>) -> Result<Self, ConfigError<A::Error>> {
        let header = body.read_u32(4)?;
        let (revision, len) = revision_and_len(header);
        body.check_len(len, 10)?;
        Ok(Self {
            offset: body.offset(),
            vendor: low_half(header),
            id: body.read_u16(8)?,
            revision,
            len,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::sample::{extended, standard, standard_at};

    #[test]
    fn lengths_and_ids_are_read() {
        let vendor: VendorSpecific = standard(&[9, 0, 0x14, 5]).unwrap();
        assert_eq!((vendor.offset, vendor.len), (0x40, 0x14));
        let vendor: ExtendedVendor = extended(&[0x0b, 0, 1, 0, 0x34, 0x12, 0x02, 0x03]).unwrap();
        assert_eq!((vendor.id, vendor.revision, vendor.len), (0x1234, 2, 0x30));
        let vendor: DesignatedVendor =
            extended(&[0x23, 0, 1, 0, 0x98, 0x1e, 0xc1, 0x03, 0x08, 0, 0, 0]).unwrap();
        assert_eq!((vendor.vendor, vendor.id), (0x1e98, 8));
        assert_eq!((vendor.revision, vendor.len), (1, 0x3c));
    }

    #[test]
    fn a_length_below_the_header_is_an_error() {
        for len in 0..3 {
            let error = ConfigError::Length {
                id: VendorSpecific::ID,
                offset: 0x40,
                len: len.into(),
            };
            assert_eq!(standard::<VendorSpecific>(&[9, 0, len, 0]), Err(error));
        }
        let error = ConfigError::Length {
            id: ExtendedVendor::ID,
            offset: 0x100,
            len: 7,
        };
        let bytes = [0x0b, 0, 1, 0, 0, 0, 0x70, 0];
        assert_eq!(extended::<ExtendedVendor>(&bytes), Err(error));
        let error = ConfigError::Length {
            id: DesignatedVendor::ID,
            offset: 0x100,
            len: 9,
        };
        let bytes = [0x23, 0, 1, 0, 0, 0, 0x90, 0];
        assert_eq!(extended::<DesignatedVendor>(&bytes), Err(error));
    }

    #[test]
    fn a_length_out_of_the_space_is_an_error() {
        assert!(standard_at::<VendorSpecific>(0xf0, &[9, 0, 0x10, 0]).is_ok());
        assert_eq!(
            standard_at::<VendorSpecific>(0xf0, &[9, 0, 0x11, 0]),
            Err(ConfigError::Truncated {
                id: VendorSpecific::ID,
                offset: 0xf0,
                size: 0x100
            })
        );
        assert_eq!(
            extended::<ExtendedVendor>(&[0x0b, 0, 1, 0, 0, 0, 0x10, 0xf0]),
            Err(ConfigError::Truncated {
                id: ExtendedVendor::ID,
                offset: 0x100,
                size: 0x1000
            })
        );
    }
}
