//! Requests whose argument is a structure that the kernel reads, and may write.
//!
//! What such a request makes the kernel touch depends on what the structure says: on argsz, on
//! flags, on pointers in it. An [`Exchange`] can only be made for what was checked here, so that
//! a shim can carry it without trusting its caller: argsz is the length of the structure, and a
//! pointer is one that the shim puts in, to memory whose length was compared with what the
//! kernel will touch.

use core::mem::size_of;
use core::ops::Range;

use zerocopy::{FromBytes, IntoBytes};

use super::Errno;
use crate::abi::{
    self, BindFlags, DeviceBindIommufd, DeviceFeature, DirtyPagesFlags, DmaUnmapFlags,
    FeatureFlags, FeatureId, IommuIoasIovaRanges, IommuIovaRange, IommuType1DirtyBitmap,
    IommuType1DmaUnmap, PciHotReset, ioctl,
};

/// A request with a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ExchangeRequest {
    /// `VFIO_IOMMU_MAP_DMA`, on a container: maps memory of the shim.
    MapDma,
    /// `VFIO_IOMMU_UNMAP_DMA`, on a container.
    UnmapDma,
    /// `VFIO_IOMMU_UNMAP_DMA` with `GET_DIRTY_BITMAP`, on a container: fills a bitmap.
    UnmapDirty,
    /// `VFIO_IOMMU_DIRTY_PAGES`, on a container: starts or stops.
    DirtyPages,
    /// `VFIO_IOMMU_DIRTY_PAGES`, on a container: fills a bitmap.
    DirtyBitmap,
    /// `VFIO_DEVICE_SET_IRQS`, on a device.
    SetIrqs,
    /// `VFIO_DEVICE_PCI_HOT_RESET`, on a device.
    PciHotReset,
    /// `VFIO_DEVICE_IOEVENTFD`, on a device.
    Ioeventfd,
    /// `VFIO_DEVICE_FEATURE`, on a device.
    Feature,
    /// `VFIO_DEVICE_FEATURE` that sets `MIG_DEVICE_STATE`, on a device: opens a data descriptor
    /// where the new state has one.
    SetMigState,
    /// `VFIO_DEVICE_FEATURE` that gets `DMA_BUF`, on a device: opens a dma-buf.
    DmaBuf,
    /// `VFIO_DEVICE_FEATURE` that sets `DMA_LOGGING_START`, on a device: names a list of ranges.
    DmaLoggingStart,
    /// `VFIO_DEVICE_FEATURE` that gets `DMA_LOGGING_REPORT`, on a device: fills a bitmap.
    DmaLoggingReport,
    /// `VFIO_MIG_GET_PRECOPY_INFO`, on a migration's data descriptor.
    PrecopyInfo,
    /// `VFIO_DEVICE_QUERY_GFX_PLANE`, on a device.
    QueryGfxPlane,
    /// `VFIO_DEVICE_GET_GFX_DMABUF`, on a device: opens a dma-buf.
    GetGfxDmabuf,
    /// `VFIO_DEVICE_BIND_IOMMUFD`, on a device.
    BindIommufd,
    /// `VFIO_DEVICE_ATTACH_IOMMUFD_PT`, on a device.
    AttachIommufdPt,
    /// `VFIO_DEVICE_DETACH_IOMMUFD_PT`, on a device.
    DetachIommufdPt,
    /// `IOMMU_DESTROY`, on an iommufd.
    Destroy,
    /// `IOMMU_IOAS_ALLOC`, on an iommufd.
    IoasAlloc,
    /// `IOMMU_IOAS_IOVA_RANGES`, on an iommufd: fills a list of ranges.
    IoasIovaRanges,
    /// `IOMMU_IOAS_MAP`, on an iommufd: maps memory of the shim.
    IoasMap,
    /// `IOMMU_IOAS_MAP_FILE`, on an iommufd: maps a file.
    IoasMapFile,
    /// `IOMMU_IOAS_UNMAP`, on an iommufd.
    IoasUnmap,
}

/// Where a request that opens a file leaves its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Descriptor {
    /// The call returns it.
    Returned,
    /// It is an `i32` at this place of the structure, in bytes; -1 for none.
    At(usize),
}

/// A request, its structure, and the memory that a pointer in it is to name.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Exchange<'a> {
    pub(super) request: ExchangeRequest,
    pub(super) argument: &'a mut [u8],
    pub(super) list: Option<&'a mut [u8]>,
    pub(super) memory: Range<usize>,
}

/// What a shim passes to its kernel.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Parts<'a> {
    /// The request.
    pub request: ExchangeRequest,
    /// The structure, with argsz in its first four bytes.
    pub argument: &'a mut [u8],
    /// The list that the pointer at [`ExchangeRequest::pointer_at`] is to name.
    pub list: Option<&'a mut [u8]>,
    /// Which bytes of the shim's memory the pointer is to name.
    pub memory: Range<usize>,
}

/// Features whose data hold no pointer and which open nothing.
const PLAIN_FEATURES: [FeatureId; 9] = [
    FeatureId::PCI_VF_TOKEN,
    FeatureId::MIGRATION,
    FeatureId::LOW_POWER_ENTRY,
    FeatureId::LOW_POWER_ENTRY_WITH_WAKEUP,
    FeatureId::LOW_POWER_EXIT,
    FeatureId::DMA_LOGGING_STOP,
    FeatureId::MIG_DATA_SIZE,
    FeatureId::BUS_MASTER,
    FeatureId::MIG_PRECOPY_INFO_V2,
];

impl ExchangeRequest {
    /// The request's number (linux/vfio.h, linux/iommufd.h).
    #[inline]
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::MapDma => ioctl::container::IOMMU_MAP_DMA,
            Self::UnmapDma | Self::UnmapDirty => ioctl::container::IOMMU_UNMAP_DMA,
            Self::DirtyPages | Self::DirtyBitmap => ioctl::container::IOMMU_DIRTY_PAGES,
            Self::SetIrqs => ioctl::device::SET_IRQS,
            Self::PciHotReset => ioctl::device::PCI_HOT_RESET,
            Self::Ioeventfd => ioctl::device::IOEVENTFD,
            Self::Feature
            | Self::SetMigState
            | Self::DmaBuf
            | Self::DmaLoggingStart
            | Self::DmaLoggingReport => ioctl::device::FEATURE,
            Self::PrecopyInfo => ioctl::migration::GET_PRECOPY_INFO,
            Self::QueryGfxPlane => ioctl::device::QUERY_GFX_PLANE,
            Self::GetGfxDmabuf => ioctl::device::GET_GFX_DMABUF,
            Self::BindIommufd => ioctl::device::BIND_IOMMUFD,
            Self::AttachIommufdPt => ioctl::device::ATTACH_IOMMUFD_PT,
            Self::DetachIommufdPt => ioctl::device::DETACH_IOMMUFD_PT,
            Self::Destroy => ioctl::iommufd::DESTROY,
            Self::IoasAlloc => ioctl::iommufd::IOAS_ALLOC,
            Self::IoasIovaRanges => ioctl::iommufd::IOAS_IOVA_RANGES,
            Self::IoasMap => ioctl::iommufd::IOAS_MAP,
            Self::IoasMapFile => ioctl::iommufd::IOAS_MAP_FILE,
            Self::IoasUnmap => ioctl::iommufd::IOAS_UNMAP,
        }
    }

    /// How many bytes of the structure the kernel reads at least, whatever argsz says.
    const fn least(self) -> usize {
        match self {
            Self::MapDma => size_of::<abi::IommuType1DmaMap>(),
            Self::UnmapDma => size_of::<IommuType1DmaUnmap>(),
            Self::SetIrqs => size_of::<abi::IrqSet>(),
            Self::PciHotReset => size_of::<abi::PciHotReset>(),
            Self::Ioeventfd => size_of::<abi::DeviceIoeventfd>(),
            Self::Feature => size_of::<DeviceFeature>(),
            Self::UnmapDirty => super::UNMAP_DIRTY_LEN,
            Self::DirtyPages => size_of::<abi::IommuType1DirtyBitmap>(),
            Self::DirtyBitmap => super::DIRTY_BITMAP_LEN,
            Self::SetMigState => super::MIG_STATE_LEN,
            Self::DmaBuf => super::DMA_BUF_LEN,
            Self::DmaLoggingStart => super::DMA_LOGGING_START_LEN,
            Self::DmaLoggingReport => super::DMA_LOGGING_REPORT_LEN,
            Self::PrecopyInfo => size_of::<abi::PrecopyInfo>(),
            Self::QueryGfxPlane => size_of::<abi::DeviceGfxPlaneInfo>(),
            Self::GetGfxDmabuf => size_of::<u32>(),
            Self::IoasMapFile => size_of::<abi::IommuIoasMapFile>(),
            Self::BindIommufd => size_of::<DeviceBindIommufd>(),
            // Before Linux 6.15 they ended before the PASID.
            Self::AttachIommufdPt => 12,
            Self::DetachIommufdPt => 8,
            Self::Destroy => size_of::<abi::IommuDestroy>(),
            Self::IoasAlloc => size_of::<abi::IommuIoasAlloc>(),
            Self::IoasIovaRanges => size_of::<IommuIoasIovaRanges>(),
            Self::IoasMap => size_of::<abi::IommuIoasMap>(),
            Self::IoasUnmap => size_of::<abi::IommuIoasUnmap>(),
        }
    }

    /// Where the structure has a pointer that the shim puts in, in bytes. It has 64 bits, but for
    /// [`ExchangeRequest::DirtyBitmap`] and [`ExchangeRequest::UnmapDirty`], where it is the
    /// target's.
    #[must_use]
    pub const fn pointer_at(self) -> Option<usize> {
        match self {
            Self::MapDma => Some(8),
            Self::IoasMap | Self::IoasIovaRanges | Self::BindIommufd => Some(16),
            Self::DmaLoggingStart => Some(24),
            Self::DmaLoggingReport => Some(32),
            Self::DirtyBitmap | Self::UnmapDirty => Some(40),
            _ => None,
        }
    }

    /// Where the request leaves the number of a file that it opens: [`Sys::exchange_open`] makes
    /// such a request, and no other method does.
    ///
    /// [`Sys::exchange_open`]: super::Sys::exchange_open
    #[must_use]
    pub const fn descriptor(self) -> Option<Descriptor> {
        match self {
            Self::SetMigState => Some(Descriptor::At(12)),
            Self::DmaBuf | Self::GetGfxDmabuf => Some(Descriptor::Returned),
            _ => None,
        }
    }

    /// Where the structure says how much memory is mapped: 64 bits that the shim puts in.
    #[must_use]
    pub const fn length_at(self) -> Option<usize> {
        match self {
            Self::MapDma | Self::IoasMap => Some(24),
            _ => None,
        }
    }
}

impl<'a> Exchange<'a> {
    /// A request without pointers. `argument` is the structure and what follows it; its first
    /// four bytes become its length.
    ///
    /// # Errors
    /// `EINVAL` for a structure that is too short, and for one that would make the kernel follow
    /// a pointer, read past the structure, or open a file; there are other constructors for
    /// those.
    ///
    /// Some numbers name another request on another kind of file: 0x3b71 is a hot reset of a
    /// device and maps memory on a container. What would be harmful there is refused as well.
    pub fn new(request: ExchangeRequest, argument: &'a mut [u8]) -> Result<Self, Errno> {
        let follows_pointer = match request {
            ExchangeRequest::MapDma
            | ExchangeRequest::IoasMap
            | ExchangeRequest::IoasIovaRanges
            | ExchangeRequest::UnmapDirty
            | ExchangeRequest::DirtyBitmap
            | ExchangeRequest::SetMigState
            | ExchangeRequest::DmaBuf
            | ExchangeRequest::DmaLoggingStart
            | ExchangeRequest::DmaLoggingReport
            | ExchangeRequest::QueryGfxPlane
            | ExchangeRequest::GetGfxDmabuf => true,
            ExchangeRequest::DirtyPages => {
                let flags = read::<IommuType1DirtyBitmap>(argument)?.flags;
                flags != DirtyPagesFlags::START && flags != DirtyPagesFlags::STOP
            }
            ExchangeRequest::PciHotReset => {
                // A container takes the number for MAP_DMA, which without flags gives no access.
                let reset = read::<PciHotReset>(argument)?;
                reset.flags != 0 || hot_reset_len(reset.count) != Some(argument.len())
            }
            ExchangeRequest::UnmapDma => {
                // Any flag but ALL: a bitmap is written, or one is not known here.
                let flags = read::<IommuType1DmaUnmap>(argument)?.flags;
                flags.intersects(!DmaUnmapFlags::ALL)
            }
            ExchangeRequest::BindIommufd => {
                let flags = read::<DeviceBindIommufd>(argument)?.flags;
                flags != BindFlags::empty()
            }
            ExchangeRequest::Feature => {
                let flags = read::<DeviceFeature>(argument)?.flags;
                !is_plain(flags)
            }
            _ => false,
        };
        if follows_pointer {
            Err(Errno::EINVAL)
        } else {
            Self::sized(request, argument)
        }
    }

    /// `IOMMU_IOAS_IOVA_RANGES`, which fills `ranges`.
    ///
    /// # Errors
    /// None: the structure is whole.
    pub fn iova_ranges(
        argument: &'a mut IommuIoasIovaRanges,
        ranges: &'a mut [IommuIovaRange],
    ) -> Result<Self, Errno> {
        argument.num_iovas = u32::try_from(ranges.len()).unwrap_or(u32::MAX);
        let exchange = Self::sized(ExchangeRequest::IoasIovaRanges, argument.as_mut_bytes())?;
        Ok(Self {
            list: Some(ranges.as_mut_bytes()),
            ..exchange
        })
    }

    /// `VFIO_DEVICE_BIND_IOMMUFD` with a token, a UUID, of which the kernel reads the 16 bytes.
    ///
    /// # Errors
    /// None: the structure is whole.
    pub fn bind_with_token(
        argument: &'a mut DeviceBindIommufd,
        token: &'a mut [u8; 16],
    ) -> Result<Self, Errno> {
        argument.flags = BindFlags::TOKEN;
        let exchange = Self::sized(ExchangeRequest::BindIommufd, argument.as_mut_bytes())?;
        Ok(Self {
            list: Some(token),
            ..exchange
        })
    }

    /// `VFIO_IOMMU_MAP_DMA` or `IOMMU_IOAS_MAP` of the bytes `range` of the shim's memory.
    ///
    /// # Errors
    /// `EINVAL` for another request, and for a structure that is too short.
    pub fn map(
        request: ExchangeRequest,
        argument: &'a mut [u8],
        range: Range<usize>,
    ) -> Result<Self, Errno> {
        if request.length_at().is_none() {
            return Err(Errno::EINVAL);
        }
        Ok(Self {
            memory: range,
            ..Self::sized(request, argument)?
        })
    }

    /// Stores the length of the structure in its first four bytes.
    pub(super) fn sized(request: ExchangeRequest, argument: &'a mut [u8]) -> Result<Self, Errno> {
        if argument.len() < request.least() {
            return Err(Errno::EINVAL);
        }
        super::put_argsz(argument)?;
        Ok(Self {
            request,
            argument,
            list: None,
            memory: 0..0,
        })
    }

    /// The request.
    #[must_use]
    pub const fn request(&self) -> ExchangeRequest {
        self.request
    }

    /// What a shim passes to its kernel. They are no exchange any more: what is changed in them
    /// can't be passed on unchecked.
    #[must_use]
    pub fn into_parts(self) -> Parts<'a> {
        let Self {
            request,
            argument,
            list,
            memory,
        } = self;
        Parts {
            request,
            argument,
            list,
            memory,
        }
    }
}

impl Parts<'_> {
    /// Stores a pointer, and the length of what is mapped, where the structure has them.
    ///
    /// # Errors
    /// `EINVAL` where it has none.
    pub fn point(&mut self, address: u64, length: u64) -> Result<(), Errno> {
        let mut put = |at: Option<usize>, value: u64| {
            let field = at
                .and_then(|at| self.argument.get_mut(at..))
                .and_then(|rest| rest.first_chunk_mut::<8>());
            field.map(|field| *field = value.to_ne_bytes())
        };
        if matches!(
            self.request,
            ExchangeRequest::DirtyBitmap | ExchangeRequest::UnmapDirty
        ) {
            return self.point_native(address);
        }
        put(self.request.pointer_at(), address).ok_or(Errno::EINVAL)?;
        put(self.request.length_at(), length);
        Ok(())
    }

    /// Stores a pointer of the target's width.
    fn point_native(&mut self, address: u64) -> Result<(), Errno> {
        let address = usize::try_from(address).map_err(|_| Errno::EINVAL)?;
        let field = self
            .request
            .pointer_at()
            .and_then(|at| self.argument.get_mut(at..))
            .and_then(|rest| rest.first_chunk_mut());
        field
            .map(|field| *field = address.to_ne_bytes())
            .ok_or(Errno::EINVAL)
    }
}

/// Whether a request for a feature moves plain data, or none.
fn is_plain(flags: FeatureFlags) -> bool {
    if flags.contains(FeatureFlags::PROBE) {
        return true;
    }
    // A container takes the number for DIRTY_PAGES, which knows none of these two flags.
    let moves = flags.intersects(FeatureFlags::GET | FeatureFlags::SET);
    let id = flags.feature();
    let reads_state = id == FeatureId::MIG_DEVICE_STATE && !flags.contains(FeatureFlags::SET);
    moves && (reads_state || PLAIN_FEATURES.contains(&id))
}

/// The length in bytes of a hot reset's structure with so many groups.
fn hot_reset_len(count: u32) -> Option<usize> {
    let groups = usize::try_from(count).ok()?.checked_mul(size_of::<i32>())?;
    groups.checked_add(size_of::<PciHotReset>())
}

fn read<T: FromBytes>(argument: &[u8]) -> Result<T, Errno> {
    T::read_from_prefix(argument)
        .map(|(head, _)| head)
        .map_err(|_| Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::IommuType1DmaMap;

    #[test]
    fn argsz_is_the_length_of_the_structure() {
        let mut unmap = IommuType1DmaUnmap {
            argsz: u32::MAX,
            ..Default::default()
        };
        Exchange::new(ExchangeRequest::UnmapDma, unmap.as_mut_bytes()).unwrap();
        assert_eq!(unmap.argsz, 24);
    }

    #[test]
    fn a_structure_that_is_cut_short_is_refused() {
        let mut bytes = [0; 64];
        for request in [ExchangeRequest::SetIrqs, ExchangeRequest::UnmapDma] {
            let short = bytes.get_mut(..request.least() - 1).unwrap();
            assert_eq!(Exchange::new(request, short).unwrap_err(), Errno::EINVAL);
        }
    }

    #[test]
    fn what_makes_the_kernel_follow_a_pointer_is_refused() {
        let mut map = IommuType1DmaMap::default();
        let refused = Exchange::new(ExchangeRequest::MapDma, map.as_mut_bytes());
        assert_eq!(refused.unwrap_err(), Errno::EINVAL);

        let flags = DmaUnmapFlags::GET_DIRTY_BITMAP;
        let mut unmap = IommuType1DmaUnmap {
            flags,
            ..Default::default()
        };
        let refused = Exchange::new(ExchangeRequest::UnmapDma, unmap.as_mut_bytes());
        assert_eq!(refused.unwrap_err(), Errno::EINVAL);

        for (id, flags, allowed) in [
            (FeatureId::DMA_LOGGING_START, FeatureFlags::SET, false),
            (FeatureId::DMA_LOGGING_REPORT, FeatureFlags::GET, false),
            (FeatureId(99), FeatureFlags::GET, false),
            (FeatureId(99), FeatureFlags::GET | FeatureFlags::PROBE, true),
            (FeatureId::BUS_MASTER, FeatureFlags::GET, true),
            // It opens a file.
            (FeatureId::MIG_DEVICE_STATE, FeatureFlags::SET, false),
            (FeatureId::MIG_DEVICE_STATE, FeatureFlags::GET, true),
            (FeatureId::DMA_BUF, FeatureFlags::GET, false),
            // A container would take it for GET_BITMAP.
            (FeatureId(4), FeatureFlags::empty(), false),
        ] {
            let flags = flags.with_feature(id);
            let mut feature = DeviceFeature {
                flags,
                ..Default::default()
            };
            let exchange = Exchange::new(ExchangeRequest::Feature, feature.as_mut_bytes());
            assert_eq!(exchange.is_ok(), allowed, "{id} {flags}");
        }
    }

    #[test]
    fn only_a_token_that_is_there_is_pointed_at() {
        let flags = BindFlags::TOKEN;
        let mut bind = DeviceBindIommufd {
            flags,
            token_uuid_ptr: 0x1000,
            ..Default::default()
        };
        let refused = Exchange::new(ExchangeRequest::BindIommufd, bind.as_mut_bytes());
        assert_eq!(refused.unwrap_err(), Errno::EINVAL);

        bind.flags = BindFlags::empty();
        let mut token = [7; 16];
        let exchange = Exchange::bind_with_token(&mut bind, &mut token).unwrap();
        let mut parts = exchange.into_parts();
        assert_eq!(parts.list.as_deref(), Some(&[7; 16][..]));
        parts.point(0x2000, 0).unwrap();
        assert_eq!((bind.flags, bind.token_uuid_ptr), (flags, 0x2000));
    }

    #[test]
    fn a_hot_reset_names_as_many_groups_as_it_has() {
        let reset = |len: usize, count: u32, flags: u32| {
            let mut bytes = std::vec![0; len];
            bytes[4..8].copy_from_slice(&flags.to_ne_bytes());
            bytes[8..12].copy_from_slice(&count.to_ne_bytes());
            Exchange::new(ExchangeRequest::PciHotReset, &mut bytes).is_ok()
        };
        assert!(reset(12, 0, 0));
        assert!(reset(20, 2, 0));
        assert!(!reset(12, 1, 0));
        assert!(!reset(12, u32::MAX, 0));
        // A container would take it for MAP_DMA of any memory.
        assert!(!reset(32, 5, 3));
    }

    #[test]
    fn the_shim_puts_in_the_pointer_and_the_length() {
        let mut map = IommuType1DmaMap {
            vaddr: 1,
            size: u64::MAX,
            ..Default::default()
        };
        let exchange = Exchange::map(ExchangeRequest::MapDma, map.as_mut_bytes(), 0..4096).unwrap();
        let mut parts = exchange.into_parts();
        assert_eq!(parts.memory, 0..4096);
        parts.point(0x1000, 4096).unwrap();
        assert_eq!((map.vaddr, map.size), (0x1000, 4096));
    }
}
