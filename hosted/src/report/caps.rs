//! Capabilities.

use serde::Serialize;
use vfio_core::wire::abi::{DeviceCapId, IommuCapId, RegionCapId};
use vfio_core::wire::caps::{
    Caps, DeviceCap, IommuCap, RegionCap, Typed, Unknown, ZpciBase, ZpciGroup,
};

use super::{hex, names};

/// A capability.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cap {
    /// The id, in the space of its ioctl.
    pub id: u16,
    /// The version.
    pub version: u16,
    /// Where it starts, in bytes from the start of the reply.
    pub offset: u32,
    /// Where the next one starts; 0 in the last.
    pub next: u32,
    /// The name in linux/vfio.h without its prefix, or `UNKNOWN`.
    pub name: &'static str,
    /// What it holds.
    #[serde(flatten)]
    pub body: Body,
}

/// What a capability holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[expect(
    missing_docs,
    reason = "the fields are those of the capability, which vfio-core documents"
)]
pub enum Body {
    SparseMmap {
        areas: Vec<Area>,
    },
    Type {
        r#type: u32,
        subtype: u32,
        type_name: &'static str,
    },
    MsixMappable {},
    Nvlink2Ssatgt {
        tgt: u64,
    },
    Nvlink2Lnkspd {
        link_speed: u32,
    },
    IovaRange {
        ranges: Vec<Range>,
    },
    Migration {
        flags: u32,
        pgsize_bitmap: u64,
        max_dirty_bitmap_size: u64,
    },
    DmaAvail {
        avail: u32,
    },
    ZpciBase {
        start_dma: u64,
        end_dma: u64,
        pchid: u16,
        vfn: u16,
        fmb_length: u16,
        pft: u8,
        gid: u8,
        #[serde(skip_serializing_if = "Option::is_none")]
        fh: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        ccdf_err_length: Option<u32>,
    },
    ZpciGroup {
        dasm: u64,
        msi_addr: u64,
        flags: u64,
        mui: u16,
        noi: u16,
        maxstbl: u16,
        pci_version: u8,
        #[serde(skip_serializing_if = "Option::is_none")]
        imaxstbl: Option<u16>,
    },
    ZpciUtil {
        util_str: String,
    },
    ZpciPfip {
        pfip: String,
    },
    PciAtomicComp {
        flags: u32,
        flag_names: Vec<&'static str>,
    },
    Unknown {
        raw: String,
    },
}

/// An area that may be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Area {
    /// Its start, in bytes from the start of the region.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

/// A range of IOVAs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Range {
    /// The first.
    pub start: u64,
    /// The last, which belongs to the range.
    pub end: u64,
}

/// A typed capability that can be described.
pub(super) trait Describe {
    /// Returns the name of the capability and what it holds.
    fn describe(&self, id: u16) -> (Option<&'static str>, Body);
}

/// Returns the capabilities of a chain.
pub(super) fn list<'a, C: Typed<'a> + Describe>(caps: &Caps<'a, C>) -> Vec<Cap> {
    caps.chain()
        .iter()
        .zip(caps)
        .map(|(raw, cap)| {
            let (name, body) = cap.describe(raw.id);
            Cap {
                id: raw.id,
                version: raw.version,
                offset: raw.offset,
                next: raw.next,
                name: name.unwrap_or("UNKNOWN"),
                body,
            }
        })
        .collect()
}

fn unknown(cap: &Unknown<'_>) -> (Option<&'static str>, Body) {
    (None, Body::Unknown { raw: hex(cap.raw) })
}

impl Describe for RegionCap<'_> {
    fn describe(&self, id: u16) -> (Option<&'static str>, Body) {
        let body = match self {
            Self::SparseMmap(sparse) => Body::SparseMmap {
                areas: sparse
                    .areas
                    .iter()
                    .map(|area| Area {
                        offset: area.offset,
                        size: area.size,
                    })
                    .collect(),
            },
            Self::Type(kind) => Body::Type {
                r#type: kind.type_().0,
                subtype: kind.subtype().0,
                type_name: kind.name(),
            },
            Self::MsixMappable => Body::MsixMappable {},
            Self::Nvlink2Ssatgt { tgt } => Body::Nvlink2Ssatgt { tgt: *tgt },
            Self::Nvlink2Lnkspd { link_speed } => Body::Nvlink2Lnkspd {
                link_speed: *link_speed,
            },
            Self::Unknown(cap) => return unknown(cap),
        };
        (RegionCapId(id).name(), body)
    }
}

impl Describe for IommuCap<'_> {
    fn describe(&self, id: u16) -> (Option<&'static str>, Body) {
        let body = match *self {
            Self::IovaRange(ranges) => Body::IovaRange {
                ranges: ranges
                    .iter()
                    .map(|range| Range {
                        start: range.start,
                        end: range.end,
                    })
                    .collect(),
            },
            Self::Migration {
                flags,
                pgsize_bitmap,
                max_dirty_bitmap_size,
            } => Body::Migration {
                flags,
                pgsize_bitmap,
                max_dirty_bitmap_size,
            },
            Self::DmaAvail { avail } => Body::DmaAvail { avail },
            Self::Unknown(cap) => return unknown(&cap),
        };
        (IommuCapId(id).name(), body)
    }
}

impl Describe for DeviceCap<'_> {
    fn describe(&self, id: u16) -> (Option<&'static str>, Body) {
        let body = match self {
            Self::ZpciBase(base) => {
                let ZpciBase {
                    start_dma,
                    end_dma,
                    pchid,
                    vfn,
                    fmb_length,
                    pft,
                    gid,
                    fh,
                    ccdf_err_length,
                } = *base;
                Body::ZpciBase {
                    start_dma,
                    end_dma,
                    pchid,
                    vfn,
                    fmb_length,
                    pft,
                    gid,
                    fh,
                    ccdf_err_length,
                }
            }
            Self::ZpciGroup(group) => {
                let ZpciGroup {
                    dasm,
                    msi_addr,
                    flags,
                    mui,
                    noi,
                    maxstbl,
                    version,
                    imaxstbl,
                } = *group;
                Body::ZpciGroup {
                    dasm,
                    msi_addr,
                    flags: flags.bits(),
                    mui,
                    noi,
                    maxstbl,
                    pci_version: version,
                    imaxstbl,
                }
            }
            Self::ZpciUtil { util_str } => Body::ZpciUtil {
                util_str: hex(util_str),
            },
            Self::ZpciPfip { pfip } => Body::ZpciPfip { pfip: hex(pfip) },
            Self::PciAtomicComp { flags } => Body::PciAtomicComp {
                flags: flags.bits(),
                flag_names: names(flags),
            },
            Self::Unknown(cap) => return unknown(cap),
        };
        (DeviceCapId(id).name(), body)
    }
}
