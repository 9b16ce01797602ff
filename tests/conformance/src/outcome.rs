//! One answer for all INFO ioctls: what became of a reply, whichever structure it has.

use vfio_core::query::{self, QueryError, ReplyBuffer};
use vfio_core::sys::{Errno, InfoRequest, Sys};
use vfio_core::wire::info::{
    DeviceInfo, HotResetInfo, InfoError, IommuInfo, IrqInfo, Malformed, RegionInfo,
};

use crate::capability::{Capability, collect};

/// An INFO ioctl.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `VFIO_DEVICE_GET_INFO`.
    Device,
    /// `VFIO_DEVICE_GET_REGION_INFO`.
    Region,
    /// `VFIO_IOMMU_GET_INFO`.
    Iommu,
    /// `VFIO_DEVICE_GET_IRQ_INFO`.
    Irq,
    /// `VFIO_DEVICE_GET_PCI_HOT_RESET_INFO`.
    HotReset,
}

/// What became of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it was understood; these are its capabilities.
    Whole(Vec<Capability>),
    /// Bytes that the buffer needs.
    TooSmall {
        /// Bytes.
        needed: u64,
    },
    /// It can't be trusted.
    Malformed(Malformed),
    /// There was none.
    Errno(Errno),
}

impl Kind {
    /// Those that have capabilities.
    pub const CHAINS: [Self; 3] = [Self::Device, Self::Region, Self::Iommu];

    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Device,
        Self::Region,
        Self::Iommu,
        Self::Irq,
        Self::HotReset,
    ];

    /// Returns the request of the shim.
    #[must_use]
    pub const fn request(self) -> InfoRequest {
        match self {
            Self::Device => InfoRequest::Device,
            Self::Region => InfoRequest::Region,
            Self::Iommu => InfoRequest::Iommu,
            Self::Irq => InfoRequest::Irq,
            Self::HotReset => InfoRequest::PciHotReset,
        }
    }

    /// Bytes of the whole fixed structure.
    #[must_use]
    pub const fn size(self) -> u32 {
        match self {
            Self::Device | Self::Iommu => 24,
            Self::Region => 32,
            Self::Irq => 16,
            Self::HotReset => 12,
        }
    }

    /// Returns the least argsz that is legal.
    #[must_use]
    pub const fn min(self) -> u32 {
        match self {
            Self::Device | Self::Iommu | Self::Irq => 16,
            Self::Region => 32,
            Self::HotReset => 12,
        }
    }

    /// Returns the first offset at which a chain may start. `struct vfio_device_info` was 20 bytes
    /// long before Linux 6.6, and the chain of a device may start there.
    #[must_use]
    pub const fn chain_start(self) -> u32 {
        match self {
            Self::Device => 20,
            _ => self.size(),
        }
    }
}

/// Interprets a reply.
#[must_use]
pub fn decode(kind: Kind, reply: &[u8]) -> Outcome {
    fn told<T, H>(
        decoded: Result<T, InfoError<H>>,
        caps: impl FnOnce(T) -> Vec<Capability>,
    ) -> Outcome {
        outcome(decoded.map_err(Into::into), caps)
    }
    match kind {
        Kind::Device => told(DeviceInfo::decode(reply), |info| collect(&info.caps)),
        Kind::Region => told(RegionInfo::decode(reply), |info| collect(&info.caps)),
        Kind::Iommu => told(IommuInfo::decode(reply), |info| collect(&info.caps)),
        Kind::Irq => told(IrqInfo::decode(reply), |_| Vec::new()),
        Kind::HotReset => told(HotResetInfo::decode(reply), |info| {
            assert_eq!(info.devices.iter().count(), info.devices.len());
            Vec::new()
        }),
    }
}

/// Asks for a reply, for the region or interrupt `index` where there is one.
pub fn ask<S: Sys, B: ReplyBuffer + ?Sized>(
    kind: Kind,
    sys: &S,
    fd: &S::Fd,
    index: u32,
    buffer: &mut B,
) -> Outcome {
    match kind {
        Kind::Device => outcome(query::device(sys, fd, buffer), |info| collect(&info.caps)),
        Kind::Region => outcome(query::region(sys, fd, index, buffer), |info| {
            assert_eq!(info.index, index);
            collect(&info.caps)
        }),
        Kind::Iommu => outcome(query::iommu(sys, fd, buffer), |info| collect(&info.caps)),
        Kind::Irq => outcome(query::irq(sys, fd, index), |_| Vec::new()),
        Kind::HotReset => outcome(query::hot_reset(sys, fd, buffer), |_| Vec::new()),
    }
}

fn outcome<T, H>(
    answer: Result<T, QueryError<H>>,
    caps: impl FnOnce(T) -> Vec<Capability>,
) -> Outcome {
    match answer {
        Ok(info) => Outcome::Whole(caps(info)),
        Err(QueryError::TooSmall { needed, .. }) => Outcome::TooSmall { needed },
        Err(QueryError::Malformed(error)) => Outcome::Malformed(error),
        Err(QueryError::Errno(errno)) => Outcome::Errno(errno),
    }
}
