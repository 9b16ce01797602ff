//! What is known of each request with a structure: one row for each.
//!
//! [`Exchange`](super::Exchange) rests on this table. What a row does not allow is refused.

use core::mem::{offset_of, size_of};

use crate::wire::abi::{
    Bitmap, DeviceBindIommufd, DeviceFeature, DeviceFeatureDmaBuf, DeviceFeatureDmaLoggingControl,
    DeviceFeatureDmaLoggingReport, DeviceFeatureMigState, DeviceGfxPlaneInfo, DeviceIoeventfd,
    DeviceLowPowerEntryWithWakeup, DirtyPagesFlags, DmaUnmapFlags, FeatureFlags, FeatureId,
    IommuDestroy, IommuIoasAlloc, IommuIoasIovaRanges, IommuIoasMap, IommuIoasMapFile,
    IommuIoasUnmap, IommuType1DirtyBitmap, IommuType1DirtyBitmapGet, IommuType1DmaMap,
    IommuType1DmaUnmap, IrqSet, IrqSetFlags, PciHotReset, PrecopyInfo,
    ioctl::{container, device, iommufd, migration},
};

/// Where a request that opens a file leaves its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Descriptor {
    /// The call returns it.
    Returned,
    /// It is an `i32` at this place of the structure, in bytes; -1 for none.
    At(usize),
}

/// What is known of a request. Places are in bytes from the start of the structure.
struct Row {
    /// Its number (linux/vfio.h, linux/iommufd.h).
    number: u32,
    /// Bytes of the structure that the kernel reads at least, whatever argsz says.
    least: usize,
    /// Where the shim puts a pointer.
    pointer: Option<Pointer>,
    /// Where the shim puts the length of what is mapped: 64 bits.
    length: Option<usize>,
    /// Where the numbers begin, 32 bits each, of the files or the events that it names.
    names: Option<usize>,
    /// Where it leaves the number of a file that it opens.
    opens: Option<Descriptor>,
    /// What the bytes may say.
    contents: Contents,
}

/// Where a pointer is, and how wide.
#[derive(Clone, Copy)]
pub(super) enum Pointer {
    /// It has 64 bits on every target.
    Wide(usize),
    /// It is as wide as the target's pointers.
    Native(usize),
}

/// What the bytes of a request may say that [`Exchange::new`](super::Exchange::new) makes.
pub(super) enum Contents {
    /// Nothing: a constructor of its own makes it, together with what it points at or names.
    Made,
    /// Anything: the kernel touches no more than the structure.
    Any,
    /// Anything with flags, in the second four bytes, that pass.
    Flags(fn(u32) -> bool),
}

/// A structure with another one behind it.
#[repr(C)]
struct Behind<A, B>(A, B);

type UnmapDirty = Behind<IommuType1DmaUnmap, Bitmap>;
type DirtyBitmap = Behind<IommuType1DirtyBitmap, IommuType1DirtyBitmapGet>;
type LowPowerWakeup = Behind<DeviceFeature, DeviceLowPowerEntryWithWakeup>;
type MigState = Behind<DeviceFeature, DeviceFeatureMigState>;
type DmaLoggingStart = Behind<DeviceFeature, DeviceFeatureDmaLoggingControl>;
type DmaLoggingReport = Behind<DeviceFeature, DeviceFeatureDmaLoggingReport>;

/// Features whose data hold no pointer and no descriptor, and which open nothing.
const PLAIN_FEATURES: [FeatureId; 8] = [
    FeatureId::PCI_VF_TOKEN,
    FeatureId::MIGRATION,
    FeatureId::LOW_POWER_ENTRY,
    FeatureId::LOW_POWER_EXIT,
    FeatureId::DMA_LOGGING_STOP,
    FeatureId::MIG_DATA_SIZE,
    FeatureId::BUS_MASTER,
    FeatureId::MIG_PRECOPY_INFO_V2,
];

/// Declares the requests, each with its row. A column is a function of its own, whose cells are
/// computed when it is compiled: a program has no more of the table than the columns it uses.
macro_rules! requests {
    ($($(#[$doc:meta])+ $request:ident = $row:expr;)+) => {
        /// A request with a structure.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        pub enum ExchangeRequest {
            $($(#[$doc])+ $request,)+
        }

        impl ExchangeRequest {
            /// Returns the request's number (linux/vfio.h, linux/iommufd.h).
            #[inline]
            #[must_use]
            pub const fn number(self) -> u32 {
                match self { $(Self::$request => const { $row.number },)+ }
            }

            /// Returns [`Row::least`].
            pub(super) const fn least(self) -> usize {
                match self { $(Self::$request => const { $row.least },)+ }
            }

            /// Returns [`Row::pointer`].
            pub(super) const fn pointer(self) -> Option<Pointer> {
                match self { $(Self::$request => const { $row.pointer },)+ }
            }

            /// Returns where the structure says how much memory is mapped: 64 bits that the shim
            /// puts in.
            #[must_use]
            pub const fn length_at(self) -> Option<usize> {
                match self { $(Self::$request => const { $row.length },)+ }
            }

            /// Returns where the structure has the numbers of the files or events that the request
            /// names. They are 32 bits each, one after the other, and the shim puts them in.
            #[must_use]
            pub const fn names_at(self) -> Option<usize> {
                match self { $(Self::$request => const { $row.names },)+ }
            }

            /// Returns where the request leaves the number of a file that it opens.
            /// [`Sys::exchange_open`](super::Sys::exchange_open) makes such a request, and no other
            /// method does.
            #[must_use]
            pub const fn descriptor(self) -> Option<Descriptor> {
                match self { $(Self::$request => const { $row.opens },)+ }
            }

            /// Returns [`Row::contents`].
            pub(super) const fn contents(self) -> Contents {
                match self { $(Self::$request => const { $row.contents },)+ }
            }
        }
    };
}

requests! {
    /// `VFIO_IOMMU_MAP_DMA`, on a container: maps memory of the shim.
    MapDma = Row {
        pointer: Some(Pointer::Wide(offset_of!(IommuType1DmaMap, vaddr))),
        length: Some(offset_of!(IommuType1DmaMap, size)),
        ..Row::made::<IommuType1DmaMap>(container::IOMMU_MAP_DMA)
    };
    /// `VFIO_IOMMU_UNMAP_DMA`, on a container.
    UnmapDma = Row {
        contents: Contents::Flags(unmaps_only),
        ..Row::made::<IommuType1DmaUnmap>(container::IOMMU_UNMAP_DMA)
    };
    /// `VFIO_IOMMU_UNMAP_DMA` with `GET_DIRTY_BITMAP`, on a container: fills a bitmap.
    UnmapDirty = Row {
        pointer: Some(Pointer::Native(offset_of!(UnmapDirty, 1.data))),
        ..Row::made::<UnmapDirty>(container::IOMMU_UNMAP_DMA)
    };
    /// `VFIO_IOMMU_DIRTY_PAGES`, on a container: starts or stops.
    DirtyPages = Row {
        contents: Contents::Flags(starts_or_stops),
        ..Row::made::<IommuType1DirtyBitmap>(container::IOMMU_DIRTY_PAGES)
    };
    /// `VFIO_IOMMU_DIRTY_PAGES`, on a container: fills a bitmap.
    DirtyBitmap = Row {
        pointer: Some(Pointer::Native(offset_of!(DirtyBitmap, 1.bitmap.data))),
        ..Row::made::<DirtyBitmap>(container::IOMMU_DIRTY_PAGES)
    };
    /// `VFIO_DEVICE_SET_IRQS`, on a device: without events.
    SetIrqs = Row {
        contents: Contents::Flags(is_without_events),
        ..Row::made::<IrqSet>(device::SET_IRQS)
    };
    /// `VFIO_DEVICE_SET_IRQS`, on a device: names events.
    SetIrqEvents = Row {
        names: Some(size_of::<IrqSet>()),
        ..Row::made::<IrqSet>(device::SET_IRQS)
    };
    /// `VFIO_DEVICE_PCI_HOT_RESET`, on a device: names groups.
    // A container takes the number for MAP_DMA, which without flags gives no access.
    PciHotReset = Row {
        names: Some(size_of::<PciHotReset>()),
        ..Row::made::<PciHotReset>(device::PCI_HOT_RESET)
    };
    /// `VFIO_DEVICE_IOEVENTFD`, on a device: names an event.
    Ioeventfd = Row {
        names: Some(offset_of!(DeviceIoeventfd, fd)),
        ..Row::made::<DeviceIoeventfd>(device::IOEVENTFD)
    };
    /// `VFIO_DEVICE_FEATURE`, on a device: moves plain data, or none.
    Feature = Row {
        contents: Contents::Flags(is_plain),
        ..Row::made::<DeviceFeature>(device::FEATURE)
    };
    /// `VFIO_DEVICE_FEATURE` that sets `LOW_POWER_ENTRY_WITH_WAKEUP`, on a device: names an event.
    LowPowerWakeup = Row {
        names: Some(offset_of!(LowPowerWakeup, 1.wakeup_eventfd)),
        ..Row::made::<LowPowerWakeup>(device::FEATURE)
    };
    /// `VFIO_DEVICE_FEATURE` that sets `MIG_DEVICE_STATE`, on a device: opens a data descriptor
    /// where the new state has one.
    SetMigState = Row {
        opens: Some(Descriptor::At(offset_of!(MigState, 1.data_fd))),
        ..Row::made::<MigState>(device::FEATURE)
    };
    /// `VFIO_DEVICE_FEATURE` that gets `DMA_BUF`, on a device: opens a dma-buf.
    DmaBuf = Row {
        opens: Some(Descriptor::Returned),
        ..Row::made::<Behind<DeviceFeature, DeviceFeatureDmaBuf>>(device::FEATURE)
    };
    /// `VFIO_DEVICE_FEATURE` that sets `DMA_LOGGING_START`, on a device: names a list of ranges.
    DmaLoggingStart = Row {
        pointer: Some(Pointer::Wide(offset_of!(DmaLoggingStart, 1.ranges))),
        ..Row::made::<DmaLoggingStart>(device::FEATURE)
    };
    /// `VFIO_DEVICE_FEATURE` that gets `DMA_LOGGING_REPORT`, on a device: fills a bitmap.
    DmaLoggingReport = Row {
        pointer: Some(Pointer::Wide(offset_of!(DmaLoggingReport, 1.bitmap))),
        ..Row::made::<DmaLoggingReport>(device::FEATURE)
    };
    /// `VFIO_MIG_GET_PRECOPY_INFO`, on a migration's data descriptor.
    PrecopyInfo = Row::any::<PrecopyInfo>(migration::GET_PRECOPY_INFO);
    /// `VFIO_DEVICE_QUERY_GFX_PLANE`, on a device.
    // A container takes the number for UNMAP_DMA.
    QueryGfxPlane = Row::made::<DeviceGfxPlaneInfo>(device::QUERY_GFX_PLANE);
    /// `VFIO_DEVICE_GET_GFX_DMABUF`, on a device: opens a dma-buf.
    GetGfxDmabuf = Row {
        opens: Some(Descriptor::Returned),
        ..Row::made::<u32>(device::GET_GFX_DMABUF)
    };
    /// `VFIO_DEVICE_BIND_IOMMUFD`, on a device: names an iommufd, and may name a token.
    BindIommufd = Row {
        pointer: Some(Pointer::Wide(offset_of!(DeviceBindIommufd, token_uuid_ptr))),
        names: Some(offset_of!(DeviceBindIommufd, iommufd)),
        ..Row::made::<DeviceBindIommufd>(device::BIND_IOMMUFD)
    };
    /// `VFIO_DEVICE_ATTACH_IOMMUFD_PT`, on a device.
    // Before Linux 6.15 it ended before the PASID.
    AttachIommufdPt = Row::any::<[u32; 3]>(device::ATTACH_IOMMUFD_PT);
    /// `VFIO_DEVICE_DETACH_IOMMUFD_PT`, on a device.
    // As above.
    DetachIommufdPt = Row::any::<[u32; 2]>(device::DETACH_IOMMUFD_PT);
    /// `IOMMU_DESTROY`, on an iommufd.
    Destroy = Row::any::<IommuDestroy>(iommufd::DESTROY);
    /// `IOMMU_IOAS_ALLOC`, on an iommufd.
    IoasAlloc = Row::any::<IommuIoasAlloc>(iommufd::IOAS_ALLOC);
    /// `IOMMU_IOAS_IOVA_RANGES`, on an iommufd: fills a list of ranges.
    IoasIovaRanges = Row {
        pointer: Some(Pointer::Wide(offset_of!(
            IommuIoasIovaRanges,
            allowed_iovas
        ))),
        ..Row::made::<IommuIoasIovaRanges>(iommufd::IOAS_IOVA_RANGES)
    };
    /// `IOMMU_IOAS_MAP`, on an iommufd: maps memory of the shim.
    IoasMap = Row {
        pointer: Some(Pointer::Wide(offset_of!(IommuIoasMap, user_va))),
        length: Some(offset_of!(IommuIoasMap, length)),
        ..Row::made::<IommuIoasMap>(iommufd::IOAS_MAP)
    };
    /// `IOMMU_IOAS_MAP_FILE`, on an iommufd: maps a file.
    IoasMapFile = Row {
        names: Some(offset_of!(IommuIoasMapFile, fd)),
        ..Row::made::<IommuIoasMapFile>(iommufd::IOAS_MAP_FILE)
    };
    /// `IOMMU_IOAS_UNMAP`, on an iommufd.
    IoasUnmap = Row::any::<IommuIoasUnmap>(iommufd::IOAS_UNMAP);
}

impl ExchangeRequest {
    /// Tells whether a device takes it. A container may take its number for a request of its own.
    #[must_use]
    pub const fn is_of_device(self) -> bool {
        !matches!(
            self,
            Self::MapDma
                | Self::UnmapDma
                | Self::UnmapDirty
                | Self::DirtyPages
                | Self::DirtyBitmap
                | Self::PrecopyInfo
                | Self::Destroy
                | Self::IoasAlloc
                | Self::IoasIovaRanges
                | Self::IoasMap
                | Self::IoasMapFile
                | Self::IoasUnmap
        )
    }

    /// Returns where the structure has a pointer that the shim puts in, in bytes. It has 64 bits,
    /// but for [`ExchangeRequest::DirtyBitmap`] and [`ExchangeRequest::UnmapDirty`], where it is
    /// the target's.
    #[must_use]
    pub const fn pointer_at(self) -> Option<usize> {
        match self.pointer() {
            Some(Pointer::Wide(at) | Pointer::Native(at)) => Some(at),
            None => None,
        }
    }
}

impl Row {
    /// Admits a request with the structure `T` that a constructor of its own makes.
    const fn made<T>(number: u32) -> Self {
        Self {
            number,
            least: size_of::<T>(),
            pointer: None,
            length: None,
            names: None,
            opens: None,
            contents: Contents::Made,
        }
    }

    /// Admits a request with the structure `T`, whatever that says.
    const fn any<T>(number: u32) -> Self {
        Self {
            contents: Contents::Any,
            ..Self::made::<T>(number)
        }
    }
}

/// Admits `UNMAP_DMA` without flags or with ALL. Any other flag has a bitmap written, or is not
/// known here.
fn unmaps_only(flags: u32) -> bool {
    !DmaUnmapFlags::from_bits_retain(flags).intersects(!DmaUnmapFlags::ALL)
}

/// Admits two actions of `DIRTY_PAGES`. The third has a bitmap written.
fn starts_or_stops(flags: u32) -> bool {
    let flags = DirtyPagesFlags::from_bits_retain(flags);
    flags == DirtyPagesFlags::START || flags == DirtyPagesFlags::STOP
}

/// Admits `SET_IRQS` whose data are no descriptors.
fn is_without_events(flags: u32) -> bool {
    !IrqSetFlags::from_bits_retain(flags).intersects(IrqSetFlags::DATA_EVENTFD)
}

/// Admits `FEATURE` that moves plain data, or none.
fn is_plain(flags: u32) -> bool {
    let flags = FeatureFlags::from_bits_retain(flags);
    if flags.contains(FeatureFlags::PROBE) {
        return true;
    }
    // A container takes the number for DIRTY_PAGES, which knows none of these two flags.
    let moves = flags.intersects(FeatureFlags::GET | FeatureFlags::SET);
    let id = flags.feature();
    let reads_state = id == FeatureId::MIG_DEVICE_STATE && !flags.contains(FeatureFlags::SET);
    moves && (reads_state || PLAIN_FEATURES.contains(&id))
}
