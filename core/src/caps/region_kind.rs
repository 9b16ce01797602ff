//! What a device-specific region is.

use core::fmt;

use crate::abi::{RegionSubtype, RegionType};

/// What a region from index 9 on is: its type and subtype, by name where they have one.
///
/// No index from 9 on has a fixed meaning; only the type capability tells
/// (`VFIO_REGION_TYPE_*` and `VFIO_REGION_SUBTYPE_*`, linux/vfio.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RegionKind {
    /// The OpRegion of an Intel graphics device.
    IntelIgdOpregion,
    /// The configuration space of the host bridge, for an Intel graphics device.
    IntelIgdHostCfg,
    /// The configuration space of the LPC bridge, for an Intel graphics device.
    IntelIgdLpcCfg,
    /// The memory of an NVIDIA device behind NVLink2.
    Nvlink2Ram,
    /// The address translation shootdown registers of an IBM NPU.
    Nvlink2Atsd,
    /// The EDID of a virtual display.
    GfxEdid,
    /// Asynchronous commands of an s390 channel device.
    CcwAsyncCmd,
    /// The subchannel information block of an s390 channel device.
    CcwSchib,
    /// The channel report words of an s390 channel device.
    CcwCrw,
    /// The state of a device under migration, as before Linux 5.18.
    MigrationDeprecated,
    /// A region that a PCI vendor defined and that has no name here.
    PciVendor {
        /// The PCI vendor id.
        vendor: u16,
        /// The vendor's own number of the region.
        subtype: RegionSubtype,
    },
    /// Any other.
    Other {
        /// The type.
        type_: RegionType,
        /// The subtype.
        subtype: RegionSubtype,
    },
}

/// The kinds that have a name, with their numbers.
const NAMED: [(RegionKind, RegionType, RegionSubtype, &str); 10] = [
    (
        RegionKind::IntelIgdOpregion,
        RegionType::INTEL,
        RegionSubtype::INTEL_IGD_OPREGION,
        "INTEL_IGD_OPREGION",
    ),
    (
        RegionKind::IntelIgdHostCfg,
        RegionType::INTEL,
        RegionSubtype::INTEL_IGD_HOST_CFG,
        "INTEL_IGD_HOST_CFG",
    ),
    (
        RegionKind::IntelIgdLpcCfg,
        RegionType::INTEL,
        RegionSubtype::INTEL_IGD_LPC_CFG,
        "INTEL_IGD_LPC_CFG",
    ),
    (
        RegionKind::Nvlink2Ram,
        RegionType::NVIDIA,
        RegionSubtype::NVIDIA_NVLINK2_RAM,
        "NVIDIA_NVLINK2_RAM",
    ),
    (
        RegionKind::Nvlink2Atsd,
        RegionType::IBM,
        RegionSubtype::IBM_NVLINK2_ATSD,
        "IBM_NVLINK2_ATSD",
    ),
    (
        RegionKind::GfxEdid,
        RegionType::GFX,
        RegionSubtype::GFX_EDID,
        "GFX_EDID",
    ),
    (
        RegionKind::CcwAsyncCmd,
        RegionType::CCW,
        RegionSubtype::CCW_ASYNC_CMD,
        "CCW_ASYNC_CMD",
    ),
    (
        RegionKind::CcwSchib,
        RegionType::CCW,
        RegionSubtype::CCW_SCHIB,
        "CCW_SCHIB",
    ),
    (
        RegionKind::CcwCrw,
        RegionType::CCW,
        RegionSubtype::CCW_CRW,
        "CCW_CRW",
    ),
    (
        RegionKind::MigrationDeprecated,
        RegionType::MIGRATION_DEPRECATED,
        RegionSubtype::MIGRATION_DEPRECATED,
        "MIGRATION_DEPRECATED",
    ),
];

impl RegionKind {
    /// The kind of a type and a subtype.
    #[must_use]
    pub fn new(type_: RegionType, subtype: RegionSubtype) -> Self {
        let named = NAMED
            .iter()
            .find(|(_, t, s, _)| (*t, *s) == (type_, subtype));
        match (named, type_.vendor()) {
            (Some((kind, ..)), _) => *kind,
            (None, Some(vendor)) => Self::PciVendor { vendor, subtype },
            (None, None) => Self::Other { type_, subtype },
        }
    }

    /// The type.
    #[must_use]
    pub fn type_(self) -> RegionType {
        match self {
            Self::PciVendor { vendor, .. } => RegionType::pci_vendor(vendor),
            Self::Other { type_, .. } => type_,
            _ => self.named().map_or(RegionType(0), |(_, type_, ..)| *type_),
        }
    }

    /// The subtype.
    #[must_use]
    pub fn subtype(self) -> RegionSubtype {
        match self {
            Self::PciVendor { subtype, .. } | Self::Other { subtype, .. } => subtype,
            _ => self
                .named()
                .map_or(RegionSubtype(0), |(_, _, subtype, _)| *subtype),
        }
    }

    /// The name of the type and subtype in linux/vfio.h without its prefix, or what is known of
    /// the type.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PciVendor { .. } => "PCI_VENDOR",
            Self::Other { .. } => "UNKNOWN",
            _ => self.named().map_or("UNKNOWN", |(.., name)| name),
        }
    }

    fn named(self) -> Option<&'static (Self, RegionType, RegionSubtype, &'static str)> {
        NAMED.iter().find(|(kind, ..)| *kind == self)
    }
}

impl fmt::Display for RegionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PciVendor { vendor, subtype } => {
                write!(f, "PCI vendor {vendor:04x}, subtype {}", subtype.0)
            }
            Self::Other { type_, subtype } => {
                write!(f, "type {:#x}, subtype {}", type_.0, subtype.0)
            }
            _ => f.write_str(self.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_for_its_numbers() {
        for (kind, type_, subtype, name) in NAMED {
            assert_eq!(RegionKind::new(type_, subtype), kind);
            assert_eq!(
                (kind.type_(), kind.subtype(), kind.name()),
                (type_, subtype, name)
            );
        }
    }

    #[test]
    fn the_vendor_of_other_pci_types_is_kept() {
        let type_ = RegionType(0x8000_0000 | 0x1af4);
        let kind = RegionKind::new(type_, RegionSubtype(7));
        assert_eq!(
            kind,
            RegionKind::PciVendor {
                vendor: 0x1af4,
                subtype: RegionSubtype(7)
            }
        );
        assert_eq!((kind.type_(), kind.subtype()), (type_, RegionSubtype(7)));
    }

    #[test]
    fn unknown_numbers_are_kept() {
        for number in [0, 4, 0x7fff_ffff, 0x8001_0000, u32::MAX] {
            let kind = RegionKind::new(RegionType(number), RegionSubtype(9));
            assert_eq!(
                (kind.type_(), kind.subtype()),
                (RegionType(number), RegionSubtype(9))
            );
        }
    }
}
