//! Is every reply of the kernel the one that the answering side gives?
//!
//! A device is described from its replies to an ample buffer; then the kernel and the answering
//! side of `vfio-core` are asked the same with every interesting argsz, and must agree in each
//! byte and each error number.

use anyhow::{Result, ensure};
use vfio_conformance::described::Described;
use vfio_conformance::outcome::Kind;
use vfio_core::sys::Errno;
use vfio_core::wire::server::{Dialect, IommuDriver};
use vfio_guest::{Device, Kind as Bus};

use crate::session::{Session, Through};
use crate::world::{World, version};

/// A buffer that holds every reply.
const AMPLE: usize = 4096;
/// How many indexes are asked about: those of PCI and some past them.
const INDEXES: u32 = 16;
/// What the caller left in its buffer.
const PREFILL: u8 = 0xa5;

/// Compares the INFO ioctls of the device, and those of its type1 container.
pub(crate) fn replies(_: &World, device: &Device) -> Result<String> {
    let session = Session::open(device, Through::Type1)?;
    let mut described = Described::new(dialect(device)?, IommuDriver::Type1);
    let kinds = [
        Kind::Device,
        Kind::Region,
        Kind::Irq,
        Kind::HotReset,
        Kind::Iommu,
    ];
    compare(&session, &mut described, &kinds)
}

/// Compares the container that iommufd offers in place of VFIO's own.
pub(crate) fn compatible(_: &World, device: &Device) -> Result<String> {
    let session = Session::open(device, Through::Iommufd)?;
    let mut described = Described::new(dialect(device)?, IommuDriver::Iommufd);
    compare(&session, &mut described, &[Kind::Iommu])
}

/// Returns how the kernel and its driver of the device answer.
fn dialect(device: &Device) -> Result<Dialect> {
    let version = version()?;
    Ok(match &device.kind {
        Bus::Mdev { parent, .. } if parent == "mtty" => Dialect::MDEV,
        Bus::Mdev { .. } => Dialect::MDEV_DISPLAY,
        Bus::Pci { .. } if version < (6, 6) => Dialect::LINUX_6_1,
        Bus::Pci { .. } => Dialect::LINUX_6_6,
    })
}

fn compare(session: &Session, described: &mut Described, kinds: &[Kind]) -> Result<String> {
    let mut compared = 0;
    for &kind in kinds {
        let indexes = match kind {
            Kind::Region | Kind::Irq => 0..INDEXES,
            _ => 0..1,
        };
        for index in indexes.clone() {
            let mut reply = before(kind, index, AMPLE);
            // What the kernel refuses, the answering side must refuse without being told.
            if session.ask(kind.request(), &mut reply).is_ok() {
                described.add(kind, index, &reply);
            }
        }
        for index in indexes {
            for len in lengths(session, kind, index) {
                same(session, described, kind, index, len)?;
                compared += 1;
            }
        }
    }
    Ok(format!("{compared} replies are the same"))
}

/// Returns the lengths at which a reply is compared: one byte short of the structure, the
/// structure, one byte short of the whole, the whole, and ample.
fn lengths(session: &Session, kind: Kind, index: u32) -> Vec<usize> {
    let min = least(kind);
    let mut lengths = vec![min - 1, min, AMPLE];
    let mut short = before(kind, index, min);
    let answer = session.ask(kind.request(), &mut short);
    let needed = match (kind, answer) {
        (Kind::HotReset, Err(Errno::ENOSPC)) => 12 + 8 * word(&short, 8),
        (_, Ok(())) => word(&short, 0),
        _ => 0,
    };
    if needed > min {
        lengths.extend([needed - 1, needed]);
    }
    // The fields that were added to the structures one by one.
    lengths.extend([min + 4, min + 8]);
    lengths
}

fn same(
    session: &Session,
    described: &Described,
    kind: Kind,
    index: u32,
    len: usize,
) -> Result<()> {
    let mut seen = before(kind, index, len);
    let mut expected = seen.clone();
    let answer = session.ask(kind.request(), &mut seen);
    let answered = described.answer(kind, &mut expected);
    ensure!(
        answer == answered,
        "{kind:?} {index} with argsz {len}: {answer:?}, and not {answered:?}"
    );
    let differs = seen.iter().zip(&expected).position(|(a, b)| a != b);
    ensure!(
        differs.is_none(),
        "{kind:?} {index} with argsz {len} differs at {differs:?}: {seen:02x?}, and not {expected:02x?}"
    );
    Ok(())
}

/// Returns a caller's buffer: the structure zero but for argsz and index, and rubbish in
/// `cap_offset` and behind the structure.
fn before(kind: Kind, index: u32, len: usize) -> Vec<u8> {
    let mut bytes = vec![PREFILL; len];
    bytes
        .iter_mut()
        .take(least(kind))
        .for_each(|byte| *byte = 0);
    let mut put = |at: usize, value: u32| {
        bytes
            .iter_mut()
            .skip(at)
            .zip(value.to_ne_bytes())
            .for_each(|(to, from)| *to = from);
    };
    put(0, u32::try_from(len).unwrap_or(u32::MAX));
    match kind {
        Kind::Region => {
            put(8, index);
            put(12, u32::from_ne_bytes([PREFILL; 4]));
        }
        Kind::Irq => put(8, index),
        Kind::Device | Kind::Iommu | Kind::HotReset => (),
    }
    bytes
}

/// Returns the length of the structure in bytes, as far as it must be there.
fn least(kind: Kind) -> usize {
    usize::try_from(kind.min()).unwrap_or(usize::MAX)
}

/// Returns the number at `at`, or 0.
fn word(bytes: &[u8], at: usize) -> usize {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk::<4>())
        .map_or(0, |word| {
            usize::try_from(u32::from_ne_bytes(*word)).unwrap_or(0)
        })
}
