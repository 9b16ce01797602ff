//! What a container has, VFIO's own or iommufd's.

use vfio_core::sys::{Errno, InfoRequest};
use vfio_core::wire::abi::Extension;

use super::Kernel;
use crate::lock::lock;

impl Kernel {
    /// The error of a container's request that is not its own: type1's, or none without type1.
    pub(super) fn unknown_to_container(&self, container: u64) -> Errno {
        if self.files().has_iommu(container) {
            Errno::ENOTTY
        } else {
            Errno::EINVAL
        }
    }

    /// What an iommufd answers as a container.
    pub(super) fn has_as_container(&self, iommufd: u64, value: u32) -> u32 {
        let is_there = match Extension(value) {
            Extension::TYPE1_IOMMU | Extension::TYPE1V2_IOMMU | Extension::UNMAP_ALL => true,
            Extension::DMA_CC_IOMMU => {
                let device = self.files().first_bound(iommufd);
                device.is_some_and(|device| lock(&device).iommu().is_coherent)
            }
            _ => false,
        };
        u32::from(is_there)
    }

    /// `VFIO_IOMMU_GET_INFO` of an iommufd.
    pub(super) fn iommufd_info(&self, iommufd: u64, reply: &mut [u8]) -> Result<(), Errno> {
        let mut files = self.files();
        let device = files.first_bound(iommufd);
        let device = device.as_deref().map(lock);
        let info = files
            .iommufd(iommufd)?
            .container_info(device.as_ref().map(|device| device.iommu()))?;
        drop(files);
        let dialect = device.map(|device| device.dialect()).unwrap_or_default();
        info.with_server(dialect, |iommu| iommu.answer(InfoRequest::Iommu, reply))
    }

    pub(super) fn check_extension(&self, container: u64, value: u32) -> u32 {
        let is_there = match Extension(value) {
            Extension::TYPE1_IOMMU
            | Extension::TYPE1V2_IOMMU
            | Extension::UNMAP_ALL
            | Extension::UPDATE_VADDR => true,
            Extension::NOIOMMU_IOMMU => self.files().has_noiommu(),
            Extension::DMA_CC_IOMMU => {
                let files = self.files();
                let device = files.first_device(container);
                let has_iommu = files.has_iommu(container);
                drop(files);
                has_iommu && device.is_some_and(|device| lock(&device).iommu().is_coherent)
            }
            _ => false,
        };
        u32::from(is_there)
    }
}
