//! iommufd: an I/O address space of its own, and devices through their character devices.

use core::ffi::CStr;
use core::fmt;
use core::ops::Range;

use zerocopy::IntoBytes;

use crate::device::dma_buf::DmaBuf;
use crate::device::region::MappedRegion;
use crate::device::{Device, DeviceHandle};
use crate::mmio::Window;
use crate::sys::{self, Errno, Exchange, ExchangeRequest, Sys};
use crate::wire::abi::{
    DeviceAttachIommufdPt, DeviceBindIommufd, DeviceDetachIommufdPt, IoasMapFlags, IommuIoasAlloc,
    IommuIoasIovaRanges, IommuIoasMap, IommuIoasMapFile, IommuIoasUnmap, IommuIovaRange,
};

/// An open iommufd with one I/O address space. Closing it, on drop, unmaps everything.
#[derive(Debug)]
pub struct Ioas<S: Sys> {
    sys: S,
    fd: S::Fd,
    id: u32,
}

/// The step at which iommufd failed, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum IommufdError {
    /// `/dev/iommu` can't be opened; `ENOENT` where the kernel has no iommufd.
    Open(Errno),
    /// An I/O address space can't be made.
    Alloc(Errno),
    /// The device's character device can't be opened.
    Device(Errno),
    /// The device can't be bound: `EINVAL` where it is already, `EACCES` where it needs the
    /// token of its physical function.
    Bind(Errno),
    /// The device can't be attached to the address space.
    Attach(Errno),
}

impl<S: Sys + Clone> Ioas<S> {
    /// Opens `/dev/iommu` and makes an I/O address space.
    ///
    /// # Errors
    /// [`IommufdError::Open`], [`IommufdError::Alloc`]
    pub fn open(sys: S) -> Result<Self, IommufdError> {
        let fd = sys.open(c"/dev/iommu").map_err(IommufdError::Open)?;
        let mut alloc = IommuIoasAlloc::default();
        send(&sys, &fd, ExchangeRequest::IoasAlloc, alloc.as_mut_bytes())
            .map_err(IommufdError::Alloc)?;
        Ok(Self {
            sys,
            fd,
            id: alloc.out_ioas_id,
        })
    }

    /// Opens the character device `path` (`/dev/vfio/devices/vfioN`), binds it and attaches it
    /// to the address space.
    ///
    /// # Errors
    /// [`IommufdError`]
    pub fn attach(&self, path: &CStr) -> Result<Device<S>, IommufdError> {
        let device = self.bind(path)?;
        self.attach_device(&device).map_err(IommufdError::Attach)?;
        Ok(device)
    }

    /// Opens the character device `path` (`/dev/vfio/devices/vfioN`) and binds it, so that it
    /// answers. It reaches no memory before it is attached.
    ///
    /// # Errors
    /// [`IommufdError::Device`], [`IommufdError::Bind`]
    pub fn bind(&self, path: &CStr) -> Result<Device<S>, IommufdError> {
        self.bound(path, None)
    }

    /// Binds a device as [`Ioas::bind`] does, with the token of an SR-IOV physical function. The
    /// token is a UUID: it is set for the physical function itself, and must be the one that was
    /// set for a virtual function ([`Device::set_vf_token`]). Linux 6.17 and later.
    ///
    /// # Errors
    /// As [`Ioas::bind`]; [`IommufdError::Bind`] with `EACCES` for another token than the one
    /// that was set, with `EINVAL` for a device without SR-IOV and before Linux 6.17.
    pub fn bind_with_token(&self, path: &CStr, token: [u8; 16]) -> Result<Device<S>, IommufdError> {
        self.bound(path, Some(token))
    }

    fn bound(&self, path: &CStr, token: Option<[u8; 16]>) -> Result<Device<S>, IommufdError> {
        let fd = self.sys.open(path).map_err(IommufdError::Device)?;
        let mut bind = DeviceBindIommufd::default();
        let mut token = token;
        let iommufd = [&self.fd];
        let exchange = Exchange::bind_iommufd(&mut bind, &iommufd, token.as_mut());
        sys::send(&self.sys, &fd, exchange).map_err(IommufdError::Bind)?;
        Ok(Device::new(self.sys.clone(), fd))
    }
}

impl<S: Sys> Ioas<S> {
    /// Attaches a device that is bound ([`Ioas::bind`]) to the address space, in place of the one
    /// it was attached to.
    ///
    /// # Errors
    /// What the kernel returns: `EINVAL` where the device is not bound to this iommufd or not
    /// opened through its character device.
    pub fn attach_device(&self, device: &Device<S>) -> Result<(), Errno> {
        // The structure of before Linux 6.15 ended with the page table's id.
        let mut attach = DeviceAttachIommufdPt {
            pt_id: self.id,
            ..Default::default()
        };
        let without_pasid = attach.as_mut_bytes().get_mut(..12).unwrap_or_default();
        let request = ExchangeRequest::AttachIommufdPt;
        send(&self.sys, device.fd(), request, without_pasid)?;
        debug!("a device is attached to the address space {}", self.id);
        Ok(())
    }

    /// Detaches a device from whatever address space it is attached to: it reaches no memory
    /// any more. It stays bound, and can be attached again.
    ///
    /// # Errors
    /// What the kernel returns: `EINVAL` where the device is not bound.
    pub fn detach_device(&self, device: &Device<S>) -> Result<(), Errno> {
        let mut detach = DeviceDetachIommufdPt::default();
        // The structure of before Linux 6.15 ended with the flags.
        let without_pasid = detach.as_mut_bytes().get_mut(..8).unwrap_or_default();
        let request = ExchangeRequest::DetachIommufdPt;
        send(&self.sys, device.fd(), request, without_pasid)
    }

    /// Returns the shim below.
    pub(crate) const fn sys(&self) -> &S {
        &self.sys
    }

    /// Returns the open file.
    pub(crate) const fn fd(&self) -> &S::Fd {
        &self.fd
    }

    /// Returns the address space's id.
    pub(crate) const fn id(&self) -> u32 {
        self.id
    }

    /// Fills `ranges` with the ranges of IOVAs that can be mapped, sorted. Returns how many there
    /// are and the alignment of mappings in bytes. The last address belongs to a range.
    ///
    /// # Errors
    /// `EMSGSIZE` where `ranges` is too short for them.
    pub fn iova_ranges(&self, ranges: &mut [IommuIovaRange]) -> Result<(usize, u64), Errno> {
        let mut argument = IommuIoasIovaRanges {
            ioas_id: self.id,
            ..Default::default()
        };
        let len = ranges.len();
        let exchange = Exchange::iova_ranges(&mut argument, ranges);
        sys::send(&self.sys, &self.fd, exchange)?;
        let count = usize::try_from(argument.num_iovas).unwrap_or(usize::MAX);
        if count > len {
            return Err(Errno::EMSGSIZE);
        }
        Ok((count, argument.out_iova_alignment))
    }

    /// Maps the bytes `range` of `memory` at `iova`. [`Dma`](crate::dma::Dma) does it safely: its
    /// buffers own their memory.
    ///
    /// # Safety
    /// `memory` is kept until it was unmapped, or until the iommufd and all devices that are bound
    /// to it are closed: as for [`Sys::exchange_memory`]. Before the first device is attached
    /// nothing is pinned.
    ///
    /// # Errors
    /// What the kernel returns: `EEXIST` for an overlap, `EINVAL` for a misalignment,
    /// `EOVERFLOW` past 2^64, `ENOMEM` past the limit of locked memory.
    #[expect(unsafe_code, reason = "that memory is kept is the caller's promise")]
    pub unsafe fn map(
        &self,
        memory: &S::Memory,
        range: Range<usize>,
        iova: u64,
        flags: IoasMapFlags,
    ) -> Result<(), Errno> {
        let mut map = self.ioas_map(iova, flags);
        let exchange = Exchange::map(ExchangeRequest::IoasMap, map.as_mut_bytes(), range)?;
        // SAFETY: the caller's promise is passed on.
        unsafe { self.sys.exchange_memory(&self.fd, memory, exchange) }.map(drop)
    }

    /// Maps the bytes `range` of a mapped BAR at `iova`.
    ///
    /// # Safety
    /// As [`Ioas::map`], of the window.
    ///
    /// # Errors
    /// As [`Ioas::map`]; `EFAULT`, as iommufd maps memory only (seen up to Linux 7.3).
    #[expect(
        unsafe_code,
        reason = "that the BAR stays mapped is the caller's promise"
    )]
    pub unsafe fn map_bar<D: DeviceHandle<Sys = S>, P>(
        &self,
        bar: &Window<MappedRegion<D>, P>,
        range: Range<usize>,
        iova: u64,
        flags: IoasMapFlags,
    ) -> Result<(), Errno> {
        let mut map = self.ioas_map(iova, flags);
        let exchange = Exchange::map(ExchangeRequest::IoasMap, map.as_mut_bytes(), range)?;
        let mapping = bar.access().mapping();
        // SAFETY: the caller's promise is passed on.
        unsafe { self.sys.exchange_mapping(&self.fd, mapping, exchange) }.map(drop)
    }

    /// Returns a request to map something that is still to be named.
    fn ioas_map(&self, iova: u64, flags: IoasMapFlags) -> IommuIoasMap {
        IommuIoasMap {
            flags: flags | IoasMapFlags::FIXED_IOVA,
            ioas_id: self.id,
            iova,
            ..Default::default()
        }
    }

    /// Unmaps whole mappings within `length` bytes from `iova` on, and returns how many bytes
    /// were unmapped. A length of `u64::MAX` from 0 on unmaps everything.
    ///
    /// # Errors
    /// What the kernel returns: `ENOENT` where nothing is mapped.
    pub fn unmap(&self, iova: u64, length: u64) -> Result<u64, Errno> {
        let mut unmap = IommuIoasUnmap {
            ioas_id: self.id,
            iova,
            length,
            ..Default::default()
        };
        send(
            &self.sys,
            &self.fd,
            ExchangeRequest::IoasUnmap,
            unmap.as_mut_bytes(),
        )?;
        Ok(unmap.length)
    }
}

/// Makes a request with a structure.
fn send<S: Sys>(
    sys: &S,
    fd: &S::Fd,
    request: ExchangeRequest,
    argument: &mut [u8],
) -> Result<(), Errno> {
    sys::send(sys, fd, Exchange::new(request, argument)?)
}

impl<S: Sys> Ioas<S> {
    /// Maps `length` bytes of a dma-buf from `start` at `iova`, for the devices of the address
    /// space (`IOMMU_IOAS_MAP_FILE`). [`Ioas::unmap`] takes it away.
    ///
    /// # Errors
    /// What the kernel returns: `EINVAL` for what is not of whole pages or not in the dma-buf,
    /// `EEXIST` for an overlap, `ENODEV` and the like for a dma-buf of another driver than
    /// vfio-pci.
    pub fn map_dma_buf(
        &self,
        dma_buf: &DmaBuf<S>,
        start: u64,
        length: u64,
        iova: u64,
        flags: IoasMapFlags,
    ) -> Result<(), Errno> {
        let mut map = IommuIoasMapFile {
            flags: flags | IoasMapFlags::FIXED_IOVA,
            ioas_id: self.id(),
            start,
            length,
            iova,
            ..Default::default()
        };
        let file = [dma_buf.fd()];
        sys::send(self.sys(), self.fd(), Exchange::map_file(&mut map, &file))
    }
}

impl fmt::Display for IommufdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(errno) => write!(f, "/dev/iommu can't be opened: {errno}"),
            Self::Alloc(errno) => write!(f, "no I/O address space can be made: {errno}"),
            Self::Device(errno) => write!(f, "the device can't be opened: {errno}"),
            Self::Bind(errno) => write!(f, "the device can't be bound to iommufd: {errno}"),
            Self::Attach(errno) => {
                write!(
                    f,
                    "the device can't be attached to the I/O address space: {errno}"
                )
            }
        }
    }
}

impl core::error::Error for IommufdError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Open(errno)
            | Self::Alloc(errno)
            | Self::Device(errno)
            | Self::Bind(errno)
            | Self::Attach(errno) => Some(errno),
        }
    }
}

#[cfg(feature = "defmt")]
impl<S: Sys> defmt::Format for Ioas<S> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Ioas({})", self.id);
    }
}
