//! What a device-specific region is.

use core::fmt;

use crate::wire::abi::{RegionSubtype, RegionType};

/// What a region from index 9 on is: its type and its subtype.
///
/// No index from 9 on has a fixed meaning; only the type capability tells
/// (`VFIO_REGION_TYPE_*` and `VFIO_REGION_SUBTYPE_*`, linux/vfio.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RegionKind {
    type_: RegionType,
    subtype: RegionSubtype,
}

/// The kinds that have a name.
macro_rules! kinds {
    ($($(#[doc = $text:literal])+ $kind:ident: $type_:ident;)*) => {
        impl RegionKind {
            $(
                $(#[doc = $text])+
                pub const $kind: Self = Self::new(RegionType::$type_, RegionSubtype::$kind);
            )*

            /// Returns the name of the type and subtype in linux/vfio.h without its prefix.
            /// Otherwise returns what is known of the type.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => stringify!($kind),)*
                    _ if self.type_.vendor().is_some() => "PCI_VENDOR",
                    _ => "UNKNOWN",
                }
            }

            /// Tells whether the type and the subtype have a name.
            const fn is_named(self) -> bool {
                matches!(self, $(Self::$kind)|*)
            }
        }

        #[cfg(test)]
        const NAMED: &[(RegionKind, RegionType, RegionSubtype, &str)] = &[
            $((RegionKind::$kind, RegionType::$type_, RegionSubtype::$kind, stringify!($kind)),)*
        ];
    };
}

kinds! {
    /// The OpRegion of an Intel graphics device.
    INTEL_IGD_OPREGION: INTEL;
    /// The configuration space of the host bridge, for an Intel graphics device.
    INTEL_IGD_HOST_CFG: INTEL;
    /// The configuration space of the LPC bridge, for an Intel graphics device.
    INTEL_IGD_LPC_CFG: INTEL;
    /// The memory of an NVIDIA device behind NVLink2.
    NVIDIA_NVLINK2_RAM: NVIDIA;
    /// The address translation shootdown registers of an IBM NPU.
    IBM_NVLINK2_ATSD: IBM;
    /// The EDID of a virtual display.
    GFX_EDID: GFX;
    /// Asynchronous commands of an s390 channel device.
    CCW_ASYNC_CMD: CCW;
    /// The subchannel information block of an s390 channel device.
    CCW_SCHIB: CCW;
    /// The channel report words of an s390 channel device.
    CCW_CRW: CCW;
    /// The state of a device under migration, as before Linux 5.18.
    MIGRATION_DEPRECATED: MIGRATION_DEPRECATED;
}

impl RegionKind {
    /// Creates the kind of a type and a subtype.
    #[inline]
    #[must_use]
    pub const fn new(type_: RegionType, subtype: RegionSubtype) -> Self {
        Self { type_, subtype }
    }

    /// Returns the type.
    #[inline]
    #[must_use]
    pub const fn type_(self) -> RegionType {
        self.type_
    }

    /// Returns the subtype. Only together with the type it says what the region is.
    #[inline]
    #[must_use]
    pub const fn subtype(self) -> RegionSubtype {
        self.subtype
    }
}

impl fmt::Display for RegionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subtype = self.subtype.0;
        match self.type_.vendor() {
            _ if self.is_named() => f.write_str(self.name()),
            Some(vendor) => write!(f, "PCI vendor {vendor:04x}, subtype {subtype}"),
            None => write!(f, "type {:#x}, subtype {subtype}", self.type_.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString as _;

    #[test]
    fn every_name_stands_for_its_numbers() {
        for &(kind, type_, subtype, name) in NAMED {
            assert_eq!(RegionKind::new(type_, subtype), kind);
            assert_eq!(
                (kind.type_(), kind.subtype(), kind.name()),
                (type_, subtype, name)
            );
        }
    }

    #[test]
    fn kinds_without_a_name_show_their_numbers() {
        let virtio = RegionKind::new(RegionType::pci_vendor(0x1af4), RegionSubtype(7));
        assert_eq!(
            (virtio.name(), virtio.to_string().as_str()),
            ("PCI_VENDOR", "PCI vendor 1af4, subtype 7")
        );
        let other = RegionKind::new(RegionType(0x8001_0000), RegionSubtype(1));
        assert_eq!(
            (other.name(), other.to_string().as_str()),
            ("UNKNOWN", "type 0x80010000, subtype 1")
        );
        // Intel's type, and no subtype that it has.
        let intel = RegionKind::new(RegionType::INTEL, RegionSubtype(9));
        assert_eq!(intel.name(), "PCI_VENDOR");
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
