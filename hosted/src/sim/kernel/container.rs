//! What a container answers, VFIO's own or an iommufd.

use vfio_core::sys::{Errno, InfoRequest, ValueRequest};
use vfio_core::wire::abi::{Extension, ioctl};

use super::Kernel;
use crate::lock::lock;

/// The number of `VFIO_IOMMU_GET_INFO`, which devices use for hot resets: the file decides.
pub(super) const CONTAINER_INFO: u32 = ioctl::container::IOMMU_GET_INFO;

impl Kernel {
    /// Answers an INFO ioctl of a container.
    pub(super) fn container_info(
        &self,
        container: u64,
        request: InfoRequest,
        reply: &mut [u8],
    ) -> Result<(), Errno> {
        if request.number() != CONTAINER_INFO || !self.files().has_iommu(container) {
            return Err(self.unknown_to_container(container));
        }
        let files = self.files();
        let device = files.first_device(container).ok_or(Errno::EINVAL)?;
        let used = lock(files.type1(container)?.space()).len();
        drop(files);
        lock(&device).iommu_info(InfoRequest::Iommu, reply, used)
    }

    /// Answers a request of a container with a number.
    pub(super) fn container_value(
        &self,
        container: u64,
        request: ValueRequest,
        value: u32,
    ) -> Result<u32, Errno> {
        match request {
            ValueRequest::GetApiVersion => Ok(ioctl::API_VERSION),
            ValueRequest::CheckExtension => Ok(self.check_extension(container, value)),
            ValueRequest::SetIommu | ValueRequest::SetNoIommu(_) => {
                self.files().set_iommu(container, value).map(|()| 0)
            }
            ValueRequest::UnsetContainer | ValueRequest::Reset => {
                Err(self.unknown_to_container(container))
            }
        }
    }

    /// Answers a request of an iommufd with a number.
    pub(super) fn iommufd_value(
        &self,
        iommufd: u64,
        request: ValueRequest,
        value: u32,
    ) -> Result<u32, Errno> {
        match request {
            ValueRequest::GetApiVersion => Ok(ioctl::API_VERSION),
            ValueRequest::CheckExtension => Ok(self.has_as_container(iommufd, value)),
            ValueRequest::SetIommu | ValueRequest::SetNoIommu(_) => {
                let is_v2 = match Extension(value) {
                    Extension::TYPE1_IOMMU => false,
                    Extension::TYPE1V2_IOMMU => true,
                    _ => return Err(Errno::EINVAL),
                };
                self.files().iommufd(iommufd)?.set_iommu(is_v2)?;
                Ok(0)
            }
            ValueRequest::UnsetContainer | ValueRequest::Reset => Err(Errno::ENOTTY),
        }
    }

    /// Returns the error of a container's request that is not its own: type1's, or none without
    /// type1.
    pub(super) fn unknown_to_container(&self, container: u64) -> Errno {
        if self.files().has_iommu(container) {
            Errno::ENOTTY
        } else {
            Errno::EINVAL
        }
    }

    /// Answers `VFIO_CHECK_EXTENSION` of an iommufd as a container.
    fn has_as_container(&self, iommufd: u64, value: u32) -> u32 {
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

    /// Serves `VFIO_IOMMU_GET_INFO` of an iommufd.
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

    fn check_extension(&self, container: u64, value: u32) -> u32 {
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
