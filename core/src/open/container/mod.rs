//! Containers and groups: the way to a device through `/dev/vfio`.
//!
//! A [`Container`] holds an IOMMU context, a [`Group`] the devices that the IOMMU can't tell
//! apart. What is open is closed on drop, in any order: the kernel keeps what a device needs.

mod dirty;

use core::ffi::CStr;
use core::fmt;
use core::ops::Range;

use heapless::Vec;

use crate::device::region::MappedRegion;
use crate::device::{Device, DeviceHandle};
use crate::mmio::Window;
use crate::query::{self, QueryError, ReplyBuffer};
use crate::sys::{
    self, Errno, Exchange, ExchangeRequest, FdRequest, InfoRequest, NameRequest, NoIommu, Sys,
    ValueRequest,
};
use crate::wire::abi::{
    self, DmaMapFlags, DmaUnmapFlags, Extension, GroupFlags, GroupStatus, IommuType1DmaMap,
    IommuType1DmaUnmap,
};
use crate::wire::info::IommuInfo;

use zerocopy::IntoBytes;

/// An open container.
#[derive(Debug)]
pub struct Container<S: Sys> {
    sys: S,
    fd: S::Fd,
}

/// An open group that is attached to a container.
#[derive(Debug)]
pub struct Group<S: Sys> {
    sys: S,
    fd: S::Fd,
}

/// The step at which opening failed, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum OpenError {
    /// The container can't be opened: `/dev/vfio/vfio`, or `/dev/iommu` in its place.
    Container(Errno),
    /// No process that serves a device can be reached over the socket, or none that speaks the protocol.
    Socket(Errno),
    /// The container can't be asked something.
    Ask(Errno),
    /// The kernel speaks another version of the API than 0.
    ApiVersion(u32),
    /// The container has no such IOMMU driver.
    NoIommu(Extension),
    /// `/dev/vfio/GROUP` can't be opened; `EBUSY` where another program has it.
    Group {
        /// The group.
        group: u32,
        /// Why.
        errno: Errno,
    },
    /// A device of the group is bound to a driver that does not leave it alone.
    NotViable {
        /// The group.
        group: u32,
    },
    /// The group can't be attached to the container.
    Attach {
        /// The group.
        group: u32,
        /// Why.
        errno: Errno,
    },
    /// The IOMMU driver refuses the container.
    SetIommu {
        /// The driver that was asked for.
        iommu: Extension,
        /// Why.
        errno: Errno,
    },
    /// The device can't be opened; `ENODEV` where the group has none of that name.
    Device(Errno),
}

impl<S: Sys + Clone> Container<S> {
    /// Opens `/dev/vfio/vfio` and checks the version of its API.
    ///
    /// # Errors
    /// [`OpenError::Container`], [`OpenError::Ask`], [`OpenError::ApiVersion`]
    pub fn open(sys: S) -> Result<Self, OpenError> {
        Self::open_at(sys, c"/dev/vfio/vfio")
    }

    /// Opens the container at `path`: iommufd offers one at `/dev/iommu`.
    ///
    /// # Errors
    /// As [`Container::open`].
    pub fn open_at(sys: S, path: &CStr) -> Result<Self, OpenError> {
        let fd = sys.open(path).map_err(OpenError::Container)?;
        let version = sys
            .ioctl_value(&fd, ValueRequest::GetApiVersion, 0)
            .map_err(OpenError::Ask)?;
        if version == abi::ioctl::API_VERSION {
            Ok(Self { sys, fd })
        } else {
            Err(OpenError::ApiVersion(version))
        }
    }

    /// Tells whether the container has `extension`: an IOMMU driver or a property.
    ///
    /// # Errors
    /// [`OpenError::Ask`]
    pub fn has(&self, extension: Extension) -> Result<bool, OpenError> {
        self.sys
            .ioctl_value(&self.fd, ValueRequest::CheckExtension, extension.0)
            .map(|answer| answer > 0)
            .map_err(OpenError::Ask)
    }

    /// Connects to the socket of a process that serves a device (vfio-user), which is a container and a
    /// group in one.
    ///
    /// # Errors
    /// [`OpenError::Socket`]; the others of [`Container::open`].
    pub fn connect(sys: S, socket: &CStr) -> Result<Self, OpenError> {
        Self::open_at(sys, socket).map_err(|error| match error {
            OpenError::Container(errno) => OpenError::Socket(errno),
            error => error,
        })
    }

    /// Opens the device that is served at the other end of a socket ([`Container::connect`]).
    ///
    /// # Errors
    /// [`OpenError::Device`]
    pub fn served(&self, name: &CStr) -> Result<Device<S>, OpenError> {
        self.sys
            .ioctl_name(&self.fd, NameRequest::GetDeviceFd, name)
            .map(|fd| Device::new(self.sys.clone(), fd))
            .map_err(OpenError::Device)
    }

    /// Opens `/dev/vfio/GROUP` and attaches it.
    ///
    /// # Errors
    /// [`OpenError::Group`], [`OpenError::NotViable`], [`OpenError::Attach`]
    pub fn attach(&self, group: u32) -> Result<Group<S>, OpenError> {
        self.attach_to(group, None)
    }

    /// Opens `/dev/vfio/noiommu-GROUP`, a group that no IOMMU confines, and attaches it: its
    /// container does without one ([`Container::set_noiommu`]) and maps nothing.
    ///
    /// # Errors
    /// As [`Container::attach`]; `EPERM` without `CAP_SYS_RAWIO`.
    pub fn attach_noiommu(&self, group: u32, word: NoIommu) -> Result<Group<S>, OpenError> {
        self.attach_to(group, Some(word))
    }

    /// Opens a group and attaches it.
    pub(crate) fn attach_to(
        &self,
        group: u32,
        noiommu: Option<NoIommu>,
    ) -> Result<Group<S>, OpenError> {
        let error = |errno| OpenError::Group { group, errno };
        let fd = self.sys.open_group(group, noiommu).map_err(error)?;
        let mut status = GroupStatus::default();
        self.sys
            .ioctl_info(&fd, InfoRequest::GroupStatus, status.as_mut_bytes())
            .map_err(error)?;
        if !status.flags.contains(GroupFlags::VIABLE) {
            return Err(OpenError::NotViable { group });
        }
        let request = noiommu.map_or(FdRequest::SetContainer, FdRequest::SetContainerNoIommu);
        self.sys
            .ioctl_fd(&fd, request, &self.fd)
            .map_err(|errno| OpenError::Attach { group, errno })?;
        debug!("group {} is attached", group);
        Ok(Group {
            sys: self.sys.clone(),
            fd,
        })
    }

    /// Gives the container the IOMMU driver `iommu`, once its first group is attached.
    ///
    /// # Errors
    /// [`OpenError::NoIommu`], [`OpenError::SetIommu`], [`OpenError::Ask`];
    /// [`Extension::NOIOMMU_IOMMU`] is `EPERM`.
    pub fn set_iommu(&self, iommu: Extension) -> Result<(), OpenError> {
        self.set(iommu, None)
    }

    /// Lets the container do without an IOMMU, once its first group is attached, which none
    /// confines ([`Container::attach_noiommu`]).
    ///
    /// # Errors
    /// As [`Container::set_iommu`].
    pub fn set_noiommu(&self, word: NoIommu) -> Result<(), OpenError> {
        self.set(Extension::NOIOMMU_IOMMU, Some(word))
    }

    /// Gives the container an IOMMU driver, or lets it do without.
    pub(crate) fn set(&self, iommu: Extension, noiommu: Option<NoIommu>) -> Result<(), OpenError> {
        if !self.has(iommu)? {
            return Err(OpenError::NoIommu(iommu));
        }
        let request = noiommu.map_or(ValueRequest::SetIommu, ValueRequest::SetNoIommu);
        self.sys
            .ioctl_value(&self.fd, request, iommu.0)
            .and_then(sys::nothing)
            .map_err(|errno| OpenError::SetIommu { iommu, errno })
    }
}

impl<S: Sys> Container<S> {
    /// Returns the shim below.
    pub(crate) const fn sys(&self) -> &S {
        &self.sys
    }

    /// Returns the open file.
    pub(crate) const fn fd(&self) -> &S::Fd {
        &self.fd
    }

    /// Asks about the IOMMU; [`query::iommu`].
    ///
    /// # Errors
    /// [`QueryError`]
    pub fn iommu_info<'b, B: ReplyBuffer + ?Sized>(
        &self,
        buffer: &'b mut B,
    ) -> Result<IommuInfo<'b>, QueryError<abi::IommuType1Info>> {
        query::iommu(&self.sys, &self.fd, buffer)
    }

    /// Maps the bytes `range` of `memory` at `iova`. [`Dma`](crate::dma::Dma) does it safely: its
    /// buffers own their memory.
    ///
    /// # Safety
    /// `memory` is kept until it was unmapped, or until the container and all groups and devices
    /// in it are closed: as for [`Sys::exchange_memory`].
    ///
    /// # Errors
    /// What the kernel returns: `EEXIST` for an overlap, `EINVAL` for a misalignment or an IOVA
    /// out of range, `EOVERFLOW` (before Linux 7.0 `EINVAL`) past 2^64, `ENOSPC` where no mapping
    /// is left, `ENOMEM` past the limit of locked memory.
    #[expect(unsafe_code, reason = "that memory is kept is the caller's promise")]
    pub unsafe fn map(
        &self,
        memory: &S::Memory,
        range: Range<usize>,
        iova: u64,
        flags: DmaMapFlags,
    ) -> Result<(), Errno> {
        let mut map = dma_map(iova, flags);
        let exchange = Exchange::map(ExchangeRequest::MapDma, map.as_mut_bytes(), range)?;
        // SAFETY: the caller's promise is passed on.
        unsafe { self.sys.exchange_memory(&self.fd, memory, exchange) }.map(drop)
    }

    /// Maps the bytes `range` of a mapped BAR at `iova`, for a device to reach another one or
    /// itself.
    ///
    /// # Safety
    /// As [`Container::map`], of the window.
    ///
    /// # Errors
    /// As [`Container::map`]; `EFAULT` where the container is iommufd's, which maps memory only.
    #[expect(
        unsafe_code,
        reason = "that the BAR stays mapped is the caller's promise"
    )]
    pub unsafe fn map_bar<D: DeviceHandle<Sys = S>, P>(
        &self,
        bar: &Window<MappedRegion<D>, P>,
        range: Range<usize>,
        iova: u64,
        flags: DmaMapFlags,
    ) -> Result<(), Errno> {
        let mut map = dma_map(iova, flags);
        let exchange = Exchange::map(ExchangeRequest::MapDma, map.as_mut_bytes(), range)?;
        let mapping = bar.access().mapping();
        // SAFETY: the caller's promise is passed on.
        unsafe { self.sys.exchange_mapping(&self.fd, mapping, exchange) }.map(drop)
    }

    /// Unmaps whole mappings within `size` bytes from `iova` on, and returns how many bytes were
    /// unmapped.
    ///
    /// # Errors
    /// What the kernel returns.
    pub fn unmap(&self, iova: u64, size: u64) -> Result<u64, Errno> {
        self.send_unmap(IommuType1DmaUnmap {
            iova,
            size,
            ..Default::default()
        })
    }

    /// Unmaps everything ([`Extension::UNMAP_ALL`], Linux 5.12 and later), and returns how many
    /// bytes that were.
    ///
    /// # Errors
    /// What the kernel returns.
    pub fn unmap_all(&self) -> Result<u64, Errno> {
        let flags = DmaUnmapFlags::ALL;
        self.send_unmap(IommuType1DmaUnmap {
            flags,
            ..Default::default()
        })
    }

    fn send_unmap(&self, mut unmap: IommuType1DmaUnmap) -> Result<u64, Errno> {
        let exchange = Exchange::new(ExchangeRequest::UnmapDma, unmap.as_mut_bytes())?;
        sys::send(&self.sys, &self.fd, exchange)?;
        Ok(unmap.size)
    }
}

impl<S: Sys + Clone> Group<S> {
    /// Opens a device of the group by its name: the address of a PCI device
    /// (`0000:00:05.0`), the UUID of a mediated one.
    ///
    /// # Errors
    /// [`OpenError::Device`]
    pub fn device(&self, name: &CStr) -> Result<Device<S>, OpenError> {
        self.sys
            .ioctl_name(&self.fd, NameRequest::GetDeviceFd, name)
            .map(|fd| Device::new(self.sys.clone(), fd))
            .map_err(OpenError::Device)
    }
}

impl<S: Sys + Clone> Group<S> {
    /// Opens a device as [`Group::device`] does, with the token of an SR-IOV physical function. The
    /// token is a UUID: it is set for the physical function itself, and must be the one that was
    /// set for a virtual function ([`Device::set_vf_token`]). Linux 5.7 and later.
    ///
    /// # Errors
    /// [`OpenError::Device`]: `EACCES` for another token than the one that was set, `EINVAL` for
    /// a device without SR-IOV, and for a name that is too long for a PCI device.
    pub fn device_with_token(&self, name: &CStr, token: [u8; 16]) -> Result<Device<S>, OpenError> {
        let error = OpenError::Device(Errno::EINVAL);
        let name = name_with_token(name, token).ok_or(error)?;
        self.device(CStr::from_bytes_until_nul(&name).map_err(|_| error)?)
    }
}

impl<S: Sys> Group<S> {
    /// Returns the open file, which shows a hot reset that the group is the caller's
    /// ([`Ownership::Groups`](crate::device::reset::Ownership::Groups)).
    #[must_use]
    pub const fn fd(&self) -> &S::Fd {
        &self.fd
    }
}

#[cfg(feature = "defmt")]
impl<S: Sys> defmt::Format for Container<S> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Container");
    }
}

#[cfg(feature = "defmt")]
impl<S: Sys> defmt::Format for Group<S> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Group");
    }
}

/// Returns a request to map something that is still to be named.
fn dma_map(iova: u64, flags: DmaMapFlags) -> IommuType1DmaMap {
    IommuType1DmaMap {
        flags,
        iova,
        ..Default::default()
    }
}

/// Writes `NAME vf_token=UUID` and its NUL, which vfio-pci takes for a name. PCI addresses are
/// shorter than 32 bytes.
fn name_with_token(name: &CStr, token: [u8; 16]) -> Option<Vec<u8, 80>> {
    let mut text = Vec::new();
    text.extend_from_slice(name.to_bytes()).ok()?;
    text.extend_from_slice(b" vf_token=").ok()?;
    for (place, byte) in token.into_iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push(b'-').ok()?;
        }
        for digit in [byte >> 4, byte & 0xf] {
            let first = if digit < 10 { b'0' } else { b'a' - 10 };
            text.push(first.checked_add(digit)?).ok()?;
        }
    }
    text.push(0).ok()?;
    Some(text)
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Container(errno) => write!(f, "the container can't be opened: {errno}"),
            Self::Socket(errno) => {
                write!(f, "no device is served over the socket: {errno}")
            }
            Self::Ask(errno) => write!(f, "the container does not answer: {errno}"),
            Self::ApiVersion(version) => {
                write!(
                    f,
                    "the kernel speaks version {version} of the VFIO API, not 0"
                )
            }
            Self::NoIommu(iommu) => write!(f, "the container has no IOMMU driver {iommu}"),
            Self::Group { group, errno } => {
                write!(f, "/dev/vfio/{group} can't be opened: {errno}")
            }
            Self::NotViable { group } => write!(
                f,
                "the IOMMU group {group} is not viable: one of its devices has another driver"
            ),
            Self::Attach { group, errno } => {
                write!(
                    f,
                    "the IOMMU group {group} can't be attached to a container: {errno}"
                )
            }
            Self::SetIommu { iommu, errno } => {
                write!(f, "the IOMMU driver {iommu} refuses the container: {errno}")
            }
            Self::Device(errno) => write!(f, "the device can't be opened: {errno}"),
        }
    }
}

impl core::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Container(errno)
            | Self::Socket(errno)
            | Self::Ask(errno)
            | Self::Group { errno, .. }
            | Self::Attach { errno, .. }
            | Self::SetIommu { errno, .. }
            | Self::Device(errno) => Some(errno),
            Self::ApiVersion(_) | Self::NoIommu(_) | Self::NotViable { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_follows_the_name() {
        let token = 0x00112233_4455_6677_8899_aabbccddeeff_u128.to_be_bytes();
        let text = name_with_token(c"0000:03:10.0", token).unwrap();
        let uuid = "00112233-4455-6677-8899-aabbccddeeff";
        assert_eq!(
            text,
            std::format!("0000:03:10.0 vf_token={uuid}\0").as_bytes()
        );
        assert!(name_with_token(c"5f6b0d1e-0b3c-4c7a-9a51-000000000001", token).is_none());
    }
}
