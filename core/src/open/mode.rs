//! The ways to a device and to the memory that it reaches.

use core::ffi::CStr;
use core::fmt;

use crate::wire::abi::Extension;

/// A way to a device and to the memory that it reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Mode {
    /// Through the device's own character device, with iommufd. Linux 6.6 and later.
    Iommufd,
    /// Through the group, with a container and version 2 of its IOMMU driver type 1.
    Type1v2,
    /// Through the group, with a container and type 1, which can unmap a part of a mapping.
    Type1,
    /// Through the group, with iommufd in the place of a container, as type 1 version 2.
    IommufdType1v2,
    /// Through the group, with iommufd in the place of a container, as type 1.
    IommufdType1,
    /// Through the group, with a container and no IOMMU: DMA takes physical addresses, and
    /// nothing holds the device back.
    NoIommu,
    /// Over the socket of another process, which serves the device (vfio-user). What it may reach is
    /// what that process is told.
    VfioUser,
}

impl Mode {
    /// Every mode of the kernel's, the best first.
    pub const PREFERRED: [Self; 6] = [
        Self::Iommufd,
        Self::Type1v2,
        Self::Type1,
        Self::IommufdType1v2,
        Self::IommufdType1,
        Self::NoIommu,
    ];

    /// Returns a name of lower-case letters, digits and hyphens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Iommufd => "iommufd",
            Self::Type1v2 => "type1v2",
            Self::Type1 => "type1",
            Self::IommufdType1v2 => "iommufd-type1v2",
            Self::IommufdType1 => "iommufd-type1",
            Self::NoIommu => "noiommu",
            Self::VfioUser => "vfio-user",
        }
    }

    /// Returns the mode of a name ([`Mode::name`]).
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::PREFERRED.into_iter().find(|mode| mode.name() == name)
    }

    /// Returns the IOMMU driver that a container is given. Iommufd by itself behaves as type 1
    /// version 2.
    #[must_use]
    pub const fn iommu(self) -> Extension {
        match self {
            Self::Type1 | Self::IommufdType1 => Extension::TYPE1_IOMMU,
            Self::Type1v2 | Self::IommufdType1v2 | Self::Iommufd | Self::VfioUser => {
                Extension::TYPE1V2_IOMMU
            }
            Self::NoIommu => Extension::NOIOMMU_IOMMU,
        }
    }

    /// Tells whether iommufd maps the memory.
    #[must_use]
    pub const fn is_iommufd(self) -> bool {
        matches!(
            self,
            Self::Iommufd | Self::IommufdType1v2 | Self::IommufdType1
        )
    }

    /// Returns the path of the container. For [`Mode::Iommufd`] it is the iommufd's.
    #[must_use]
    pub const fn container_path(self) -> &'static CStr {
        if self.is_iommufd() {
            c"/dev/iommu"
        } else {
            c"/dev/vfio/vfio"
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
