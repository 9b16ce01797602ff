//! A device opened call by call, so that replies can be seen as the kernel gave them.

use std::ffi::{CStr, CString};

use anyhow::{Context as _, Result, anyhow};
use vfio_core::sys::{Errno, FdRequest, InfoRequest, NameRequest, Sys as _, ValueRequest};
use vfio_core::wire::abi::Extension;
use vfio_guest::Device;
use vfio_hosted::linux::{Fd, Linux};

use crate::report::NotRun;
use crate::world::group;

/// An open device with its group and container.
pub(crate) struct Session {
    container: Fd,
    /// Holds the group for as long as the session lasts.
    _group: Fd,
    device: Fd,
}

/// What stands behind a container.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Through {
    /// `/dev/vfio/vfio`
    Type1,
    /// `/dev/iommu`, which is compatible with it.
    Iommufd,
}

impl Session {
    /// Opens `device` through its group, with type1v2.
    ///
    /// # Errors
    ///
    /// A call fails; [`NotRun`] where the kernel has no such container.
    pub(crate) fn open(device: &Device, through: Through) -> Result<Self> {
        let container = match Linux.open(through.path()) {
            Err(Errno::ENOENT) if through == Through::Iommufd => {
                return Err(NotRun("this kernel has no /dev/iommu".into()).into());
            }
            other => other.map_err(|errno| anyhow!("{:?}: {errno}", through.path()))?,
        };
        let path = CString::new(format!("/dev/vfio/{}", group(device)?))?;
        let group = Linux.open(&path).with_context(|| format!("{path:?}"))?;
        Linux
            .ioctl_fd(&group, FdRequest::SetContainer, &container)
            .context("SET_CONTAINER")?;
        Linux
            .ioctl_value(
                &container,
                ValueRequest::SetIommu,
                Extension::TYPE1V2_IOMMU.0,
            )
            .context("SET_IOMMU")?;
        let name = CString::new(device.address())?;
        let device = Linux
            .ioctl_name(&group, NameRequest::GetDeviceFd, &name)
            .context("GET_DEVICE_FD")?;
        Ok(Self {
            container,
            _group: group,
            device,
        })
    }

    /// Makes an INFO ioctl with the whole of `reply`.
    pub(crate) fn ask(&self, request: InfoRequest, reply: &mut [u8]) -> Result<(), Errno> {
        let fd = match request {
            InfoRequest::Iommu => &self.container,
            _ => &self.device,
        };
        Linux.ioctl_info(fd, request, reply)
    }
}

impl Through {
    const fn path(self) -> &'static CStr {
        match self {
            Self::Type1 => c"/dev/vfio/vfio",
            Self::Iommufd => c"/dev/iommu",
        }
    }
}
