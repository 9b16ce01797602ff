//! IOMMU groups and what the kernel asks of their members.

use super::Address;

/// An IOMMU group: the devices that the IOMMU cannot keep apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SysfsGroup {
    /// Its number, as in `/sys/kernel/iommu_groups` and `/dev/vfio`.
    pub number: u32,
    /// It is not an IOMMU's but made up by VFIO's no-IOMMU mode.
    pub noiommu: bool,
    /// All devices in it, sorted by name: the device that was asked for is one of them.
    pub members: Vec<Member>,
}

/// A device in an IOMMU group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The name of the device in sysfs; a PCI device's is its address.
    pub name: String,
    /// The driver bound to it.
    pub driver: Option<String>,
}

impl Member {
    /// Returns the address, if it is a PCI device.
    #[must_use]
    pub fn address(&self) -> Option<Address> {
        self.name.parse().ok()
    }

    /// Tells whether the group can be given to user space while this driver is bound.
    ///
    /// The kernel asks (`iommu_group_claim_dma_owner`, since 5.19) that nothing in the group uses the DMA API: a
    /// device without a driver does not, nor do the drivers marked `driver_managed_dma`, which are VFIO's, pci-stub
    /// and that of PCIe ports.
    #[must_use]
    pub fn leaves_dma_to_user(&self) -> bool {
        match self.driver.as_deref() {
            None | Some("pci-stub" | "pcieport") => true,
            Some(driver) => is_vfio_driver(driver),
        }
    }
}

/// Tells whether this is vfio-pci or one of its variants, such as mlx5_vfio_pci: all have `vfio` as a word in their
/// name.
pub(super) fn is_vfio_driver(driver: &str) -> bool {
    driver.split(['-', '_']).any(|word| word == "vfio")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_drivers_that_use_no_dma_leave_the_group_viable() {
        for (driver, expected) in [
            (None, true),
            (Some("vfio-pci"), true),
            (Some("mlx5_vfio_pci"), true),
            (Some("nvgrace-gpu-vfio-pci"), true),
            (Some("pci-stub"), true),
            (Some("pcieport"), true),
            (Some("nvme"), false),
            (Some("uio_pci_generic"), false),
            (Some("notvfio"), false),
        ] {
            let member = Member {
                name: "0000:01:00.0".into(),
                driver: driver.map(Into::into),
            };
            assert_eq!(member.leaves_dma_to_user(), expected, "{driver:?}");
        }
    }
}
