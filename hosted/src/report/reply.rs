//! A captured reply.

use serde::Serialize;
use vfio_core::wire::abi::{self, HotResetFlags};
use vfio_core::wire::info::{
    DeviceInfo, HotResetInfo, InfoError, IommuInfo, IrqInfo, Malformed, RegionInfo,
};
use zerocopy::{FromBytes, IntoBytes};

use super::{Cap, caps, names};

/// The ioctl that a reply comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `VFIO_DEVICE_GET_INFO`
    Device,
    /// `VFIO_DEVICE_GET_REGION_INFO`
    Region,
    /// `VFIO_IOMMU_GET_INFO`
    Iommu,
    /// `VFIO_DEVICE_GET_IRQ_INFO`
    Irq,
    /// `VFIO_DEVICE_GET_PCI_HOT_RESET_INFO`
    HotReset,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Device,
        Self::Region,
        Self::Iommu,
        Self::Irq,
        Self::HotReset,
    ];

    /// Returns its name in lower-case letters and hyphens, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Region => "region",
            Self::Iommu => "iommu",
            Self::Irq => "irq",
            Self::HotReset => "hot-reset",
        }
    }

    /// Returns the kind of a name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A reply, decoded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reply {
    /// The ioctl.
    pub kind: Kind,
    /// argsz, as it is in the reply.
    pub argsz: u32,
    /// The names of the flags that are set.
    pub flags: Vec<&'static str>,
    /// The flags as a number.
    pub flags_raw: u32,
    /// Whether there is a chain, and all of it.
    pub status: Status,
    /// With [`Status::BufferTooSmall`]: how many bytes the buffer must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needed: Option<u64>,
    /// The rest of the fixed structure, and the capabilities.
    #[serde(flatten)]
    pub fields: Fields,
}

/// Whether a reply is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The reply is whole.
    Complete,
    /// The reply is whole and announces no capabilities, though it could.
    NoCaps,
    /// The reply did not fit into the buffer.
    BufferTooSmall,
}

/// The fields of each kind of reply; `cap_offset` is what the buffer holds, if it reaches there.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[expect(
    missing_docs,
    reason = "the fields are those of the structures that vfio-core documents"
)]
pub enum Fields {
    Device {
        num_regions: u32,
        num_irqs: u32,
        cap_offset: Option<u32>,
        caps: Vec<Cap>,
    },
    Region {
        index: u32,
        size: u64,
        offset: u64,
        cap_offset: Option<u32>,
        caps: Vec<Cap>,
    },
    Iommu {
        iova_pgsizes: u64,
        cap_offset: Option<u32>,
        caps: Vec<Cap>,
    },
    Irq {
        index: u32,
        count: u32,
    },
    HotReset {
        count: u32,
        devices: Vec<Dependent>,
    },
}

/// A device that a hot reset takes along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dependent {
    /// Its IOMMU group, where the reply names groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_id: Option<u32>,
    /// Its iommufd device id, where the reply names those: 0 is owned without an id, and
    /// 4294967295 not owned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devid: Option<u32>,
    /// The PCI segment.
    pub segment: u16,
    /// The PCI bus.
    pub bus: u8,
    /// The device in the high five bits, the function in the low three.
    pub devfn: u8,
}

impl Dependent {
    /// Returns the devices of a reply.
    pub(super) fn list(info: &HotResetInfo<'_>) -> Vec<Self> {
        let by_id = info.flags.contains(HotResetFlags::DEV_ID);
        info.devices
            .iter()
            .map(|device| Self {
                group_id: (!by_id).then_some(device.group_id),
                devid: by_id.then_some(device.group_id),
                segment: device.segment,
                bus: device.bus,
                devfn: device.devfn,
            })
            .collect()
    }
}

/// Decodes a reply: the whole buffer after the call, of exactly the length that was passed.
///
/// A buffer that was too small is no error here, but a [`Status`].
///
/// # Errors
/// [`Malformed`]
pub fn decode(kind: Kind, reply: &[u8]) -> Result<Reply, Malformed> {
    match kind {
        Kind::Device => device(reply),
        Kind::Region => region(reply),
        Kind::Iommu => iommu(reply),
        Kind::Irq => irq(reply),
        Kind::HotReset => hot_reset(reply),
    }
}

/// Returns a reply, or how many bytes it needs.
fn whole<T, H>(decoded: Result<T, InfoError<H>>) -> Result<Result<T, u64>, Malformed> {
    match decoded {
        Ok(info) => Ok(Ok(info)),
        Err(InfoError::TooSmall { needed, .. }) => Ok(Err(needed)),
        Err(InfoError::Malformed(error)) => Err(error),
    }
}

/// Returns the fixed structure, zeros standing for what the reply lacks.
fn head<H: FromBytes + IntoBytes>(reply: &[u8]) -> H {
    let mut head = H::new_zeroed();
    head.as_mut_bytes()
        .iter_mut()
        .zip(reply)
        .for_each(|(to, from)| *to = *from);
    head
}

/// Returns `cap_offset`, if the reply has it: it ends at `end`.
fn cap_offset(reply: &[u8], argsz: u32, end: u32, value: u32) -> Option<u32> {
    let is_there = argsz >= end && u32::try_from(reply.len()).is_ok_and(|len| len >= end);
    is_there.then_some(value)
}

/// Returns the status of a reply that can have capabilities.
fn status<T>(info: &Result<T, u64>, has_caps: bool) -> Status {
    match info {
        Err(_) => Status::BufferTooSmall,
        Ok(_) if has_caps => Status::Complete,
        Ok(_) => Status::NoCaps,
    }
}

fn device(reply: &[u8]) -> Result<Reply, Malformed> {
    let info = whole(DeviceInfo::decode(reply))?;
    let head: abi::DeviceInfo = head(reply);
    Ok(Reply {
        kind: Kind::Device,
        argsz: head.argsz,
        flags: names(&head.flags),
        flags_raw: head.flags.bits(),
        status: status(&info, head.flags.contains(abi::DeviceFlags::CAPS)),
        needed: info.as_ref().err().copied(),
        fields: Fields::Device {
            num_regions: head.num_regions,
            num_irqs: head.num_irqs,
            cap_offset: cap_offset(reply, head.argsz, 20, head.cap_offset),
            caps: info.map_or_else(|_| Vec::new(), |info| caps::list(&info.caps)),
        },
    })
}

fn region(reply: &[u8]) -> Result<Reply, Malformed> {
    let info = whole(RegionInfo::decode(reply))?;
    let head: abi::RegionInfo = head(reply);
    Ok(Reply {
        kind: Kind::Region,
        argsz: head.argsz,
        flags: names(&head.flags),
        flags_raw: head.flags.bits(),
        status: status(&info, head.flags.contains(abi::RegionFlags::CAPS)),
        needed: info.as_ref().err().copied(),
        fields: Fields::Region {
            index: head.index,
            size: head.size,
            offset: head.offset,
            cap_offset: cap_offset(reply, head.argsz, 16, head.cap_offset),
            caps: info.map_or_else(|_| Vec::new(), |info| caps::list(&info.caps)),
        },
    })
}

fn iommu(reply: &[u8]) -> Result<Reply, Malformed> {
    let info = whole(IommuInfo::decode(reply))?;
    let head: abi::IommuType1Info = head(reply);
    Ok(Reply {
        kind: Kind::Iommu,
        argsz: head.argsz,
        flags: names(&head.flags),
        flags_raw: head.flags.bits(),
        status: status(&info, head.flags.contains(abi::IommuInfoFlags::CAPS)),
        needed: info.as_ref().err().copied(),
        fields: Fields::Iommu {
            iova_pgsizes: head.iova_pgsizes,
            cap_offset: cap_offset(reply, head.argsz, 20, head.cap_offset),
            caps: info.map_or_else(|_| Vec::new(), |info| caps::list(&info.caps)),
        },
    })
}

fn irq(reply: &[u8]) -> Result<Reply, Malformed> {
    let info = whole(IrqInfo::decode(reply))?;
    let head: abi::IrqInfo = head(reply);
    Ok(Reply {
        kind: Kind::Irq,
        argsz: head.argsz,
        flags: names(&head.flags),
        flags_raw: head.flags.bits(),
        status: status(&info, true),
        needed: info.err(),
        fields: Fields::Irq {
            index: head.index,
            count: head.count,
        },
    })
}

fn hot_reset(reply: &[u8]) -> Result<Reply, Malformed> {
    let info = whole(HotResetInfo::decode(reply))?;
    let head: abi::PciHotResetInfo = head(reply);
    Ok(Reply {
        kind: Kind::HotReset,
        argsz: head.argsz,
        flags: names(&head.flags),
        flags_raw: head.flags.bits(),
        status: status(&info, true),
        needed: info.as_ref().err().copied(),
        fields: Fields::HotReset {
            count: head.count,
            devices: info.map_or_else(|_| Vec::new(), |info| Dependent::list(&info)),
        },
    })
}
