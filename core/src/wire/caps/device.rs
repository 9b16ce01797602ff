//! The capabilities of a device (`VFIO_DEVICE_GET_INFO`).

use zerocopy::{FromBytes, IntoBytes};

use super::list::{push, push_prefix, read};
use super::{CapError, Typed, Unknown};
use crate::wire::abi::{
    AtomicCompFlags, DeviceCapId, DeviceInfoCapPciAtomicComp, DeviceInfoCapZpciBase,
    DeviceInfoCapZpciGroup, ZpciGroupFlags,
};
use crate::wire::chain::{Capability, Full, Writer};

/// A capability of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum DeviceCap<'a> {
    /// An s390 PCI function (`VFIO_DEVICE_INFO_CAP_ZPCI_BASE`, versions 1 to 3).
    ZpciBase(ZpciBase),
    /// The group of an s390 PCI function (`VFIO_DEVICE_INFO_CAP_ZPCI_GROUP`, versions 1 and 2).
    ZpciGroup(ZpciGroup),
    /// The utility string of an s390 PCI function (`VFIO_DEVICE_INFO_CAP_ZPCI_UTIL`).
    ZpciUtil {
        /// In EBCDIC, as the firmware gave it.
        util_str: &'a [u8],
    },
    /// The function path of an s390 PCI function (`VFIO_DEVICE_INFO_CAP_ZPCI_PFIP`).
    ZpciPfip {
        /// The segments of the internal path.
        pfip: &'a [u8],
    },
    /// The atomic operations that the root complex completes
    /// (`VFIO_DEVICE_INFO_CAP_PCI_ATOMIC_COMP`).
    PciAtomicComp {
        /// The widths.
        flags: AtomicCompFlags,
    },
    /// Any other.
    Unknown(Unknown<'a>),
}

/// What an s390 machine says of a PCI function (`struct vfio_device_info_cap_zpci_base`,
/// linux/vfio_zdev.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ZpciBase {
    /// The first DMA address.
    pub start_dma: u64,
    /// The last DMA address.
    pub end_dma: u64,
    /// The physical channel.
    pub pchid: u16,
    /// The number of the virtual function.
    pub vfn: u16,
    /// The length of the function measurement block, in bytes.
    pub fmb_length: u16,
    /// The type of the function.
    pub pft: u8,
    /// The group.
    pub gid: u8,
    /// The function handle; from version 2 on.
    pub fh: Option<u32>,
    /// The length of the error block, in bytes; from version 3 on, and only with `fh`.
    pub ccdf_err_length: Option<u32>,
}

/// What an s390 machine says of a group of PCI functions (`struct
/// vfio_device_info_cap_zpci_group`, linux/vfio_zdev.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ZpciGroup {
    /// The DMA address space mask.
    pub dasm: u64,
    /// The address of message-signalled interrupts.
    pub msi_addr: u64,
    /// Properties of the group.
    pub flags: ZpciGroupFlags,
    /// The update interval of measurement blocks.
    pub mui: u16,
    /// How many interrupts there are.
    pub noi: u16,
    /// The longest store block, in bytes.
    pub maxstbl: u16,
    /// The version of PCI that is supported.
    pub version: u8,
    /// The longest interpreted store block, in bytes; from version 2 on.
    pub imaxstbl: Option<u16>,
}

impl ZpciBase {
    const fn version(&self) -> u16 {
        match (self.fh, self.ccdf_err_length) {
            (Some(_), Some(_)) => 3,
            (Some(_), None) => 2,
            (None, _) => 1,
        }
    }

    /// Reads version 1, 2 or 3. Only s390 has them: kept out of what others run through.
    #[inline(never)]
    fn read(raw: &Capability<'_>) -> Result<Self, CapError> {
        // Header included.
        let len = match raw.version {
            1 => 32,
            2 => 36,
            _ => 40,
        };
        let cap: DeviceInfoCapZpciBase = read_versioned(raw, len)?;
        Ok(Self {
            start_dma: cap.start_dma,
            end_dma: cap.end_dma,
            pchid: cap.pchid,
            vfn: cap.vfn,
            fmb_length: cap.fmb_length,
            pft: cap.pft,
            gid: cap.gid,
            fh: (raw.version >= 2).then_some(cap.fh),
            ccdf_err_length: (raw.version >= 3).then_some(cap.ccdf_err_length),
        })
    }
}

impl ZpciGroup {
    /// Reads version 1 or 2, as [`ZpciBase::read`] does.
    #[inline(never)]
    fn read(raw: &Capability<'_>) -> Result<Self, CapError> {
        // Header included, as far as the bytes mean something.
        let len = if raw.version == 1 { 39 } else { 42 };
        let cap: DeviceInfoCapZpciGroup = read_versioned(raw, len)?;
        Ok(Self {
            dasm: cap.dasm,
            msi_addr: cap.msi_addr,
            flags: cap.flags,
            mui: cap.mui,
            noi: cap.noi,
            maxstbl: cap.maxstbl,
            version: cap.version,
            imaxstbl: (raw.version >= 2).then_some(cap.imaxstbl),
        })
    }
}

/// Reads a structure of which a version has only the first `len` bytes.
fn read_versioned<T: FromBytes + IntoBytes>(
    raw: &Capability<'_>,
    len: usize,
) -> Result<T, CapError> {
    let present = raw
        .bytes
        .get(..len)
        .ok_or_else(|| CapError::truncated(raw))?;
    let mut whole = T::new_zeroed();
    whole
        .as_mut_bytes()
        .iter_mut()
        .zip(present)
        .for_each(|(to, from)| *to = *from);
    Ok(whole)
}

/// Returns the counted bytes behind a header and a `u32` size.
fn counted<'a>(raw: &Capability<'a>) -> Result<&'a [u8], CapError> {
    let (size, rest) = u32::read_from_prefix(raw.body()).map_err(|_| CapError::truncated(raw))?;
    usize::try_from(size)
        .ok()
        .and_then(|size| rest.get(..size))
        .ok_or_else(|| CapError::count(raw, size))
}

/// Appends counted bytes.
fn push_counted(chain: &mut Writer<'_>, id: DeviceCapId, bytes: &[u8]) -> Result<(), Full> {
    let size = u32::try_from(bytes.len()).map_err(|_| Full)?;
    let parts: [&[u8]; 2] = [&size.to_ne_bytes(), bytes];
    chain.push(id.0, 1, &parts)
}

impl<'a> Typed<'a> for DeviceCap<'a> {
    #[inline]
    fn parse(raw: &Capability<'a>) -> Result<Self, CapError> {
        Ok(match (DeviceCapId(raw.id), raw.version) {
            (DeviceCapId::ZPCI_BASE, 1..=3) => Self::ZpciBase(ZpciBase::read(raw)?),
            (DeviceCapId::ZPCI_GROUP, 1..=2) => Self::ZpciGroup(ZpciGroup::read(raw)?),
            (DeviceCapId::ZPCI_UTIL, 1) => Self::ZpciUtil {
                util_str: counted(raw)?,
            },
            (DeviceCapId::ZPCI_PFIP, 1) => Self::ZpciPfip {
                pfip: counted(raw)?,
            },
            (DeviceCapId::PCI_ATOMIC_COMP, 1) => {
                let (cap, _) = read::<DeviceInfoCapPciAtomicComp>(raw)?;
                Self::PciAtomicComp { flags: cap.flags }
            }
            _ => Self::Unknown(Unknown::new(raw)),
        })
    }

    #[inline]
    fn is_known(id: u16, version: u16) -> bool {
        match DeviceCapId(id) {
            DeviceCapId::ZPCI_BASE => (1..=3).contains(&version),
            DeviceCapId::ZPCI_GROUP => (1..=2).contains(&version),
            DeviceCapId::ZPCI_UTIL | DeviceCapId::ZPCI_PFIP | DeviceCapId::PCI_ATOMIC_COMP => {
                version == 1
            }
            _ => false,
        }
    }

    fn emit(&self, chain: &mut Writer<'_>) -> Result<(), Full> {
        match self {
            Self::ZpciBase(base) => {
                let cap = DeviceInfoCapZpciBase {
                    start_dma: base.start_dma,
                    end_dma: base.end_dma,
                    pchid: base.pchid,
                    vfn: base.vfn,
                    fmb_length: base.fmb_length,
                    pft: base.pft,
                    gid: base.gid,
                    fh: base.fh.unwrap_or(0),
                    ccdf_err_length: base.ccdf_err_length.unwrap_or(0),
                    ..Default::default()
                };
                // Version 1 ended with a multiple of 8; version 2 was padded to one.
                let len = if base.version() == 1 { 32 } else { 40 };
                push_prefix(chain, DeviceCapId::ZPCI_BASE.0, base.version(), &cap, len)
            }
            Self::ZpciGroup(group) => {
                let cap = DeviceInfoCapZpciGroup {
                    dasm: group.dasm,
                    msi_addr: group.msi_addr,
                    flags: group.flags,
                    mui: group.mui,
                    noi: group.noi,
                    maxstbl: group.maxstbl,
                    version: group.version,
                    imaxstbl: group.imaxstbl.unwrap_or(0),
                    ..Default::default()
                };
                let (version, len) = if group.imaxstbl.is_some() {
                    (2, 48)
                } else {
                    (1, 40)
                };
                push_prefix(chain, DeviceCapId::ZPCI_GROUP.0, version, &cap, len)
            }
            Self::ZpciUtil { util_str } => push_counted(chain, DeviceCapId::ZPCI_UTIL, util_str),
            Self::ZpciPfip { pfip } => push_counted(chain, DeviceCapId::ZPCI_PFIP, pfip),
            Self::PciAtomicComp { flags } => {
                let cap = DeviceInfoCapPciAtomicComp {
                    flags: *flags,
                    ..Default::default()
                };
                push(chain, DeviceCapId::PCI_ATOMIC_COMP.0, 1, &cap)
            }
            Self::Unknown(unknown) => unknown.emit(chain),
        }
    }
}
