//! The three ways to open a device, side by side, and the functions that valgrind counts.

use core::hint::black_box;

use anyhow::{Context as _, Result, bail, ensure};
use vfio_core::device::Device;
use vfio_core::wire::abi::RegionFlags;
use vfio_core::wire::caps::RegionKind;

use crate::floor;
use crate::open::{self, Failed, Replaced, Whole};
use crate::peer::Peer;
use crate::replies::{AREAS, IRQS, REGIONS};

/// The names of the three.
pub(crate) const NAMES: [&str; 3] = ["core", "floor", "vfio_ioctls"];

/// One of the three, and where its result goes.
pub(crate) enum Subject {
    Core(Box<(Device<Replaced>, Whole)>),
    Floor(Box<floor::Device>),
    VfioIoctls(Box<Peer>),
}

impl Subject {
    pub(crate) fn new(name: &str) -> Result<Self> {
        Ok(match name {
            "core" => Self::Core(Box::new((Device::new(Replaced, 0), Whole::default()))),
            "floor" => Self::Floor(Box::default()),
            "vfio_ioctls" => Self::VfioIoctls(Box::new(Peer::new()?)),
            _ => bail!("there is nothing called {name}"),
        })
    }

    /// Opens the device.
    pub(crate) fn open(&mut self) {
        match black_box(self) {
            Self::Core(core) => drop(measured_core(&core.0, &mut core.1)),
            Self::Floor(device) => measured_floor(device),
            Self::VfioIoctls(peer) => measured_vfio_ioctls(peer),
        }
    }

    /// Opens the device, uncounted.
    fn warm_up(&mut self) {
        match black_box(self) {
            Self::Core(core) => drop(open::open(&core.0, &mut core.1)),
            Self::Floor(device) => drop(floor::open(device)),
            Self::VfioIoctls(peer) => peer.open(),
        }
    }

    /// Closes it.
    pub(crate) fn close(&mut self) {
        match self {
            Self::Core(core) => core.1 = Whole::default(),
            Self::Floor(device) => device.num_regions = 0,
            Self::VfioIoctls(peer) => peer.close(),
        }
    }

    /// Makes sure that all was found: what fails early is fast.
    fn check(&self) -> Result<()> {
        match self {
            Self::Core(core) => check(&core.1),
            Self::Floor(device) => {
                ensure!(
                    (device.num_regions, device.num_irqs, device.num_areas())
                        == (REGIONS as u32, IRQS as u32, AREAS as u32),
                    "something is missing"
                );
                Ok(())
            }
            Self::VfioIoctls(peer) => peer.check(),
        }
    }
}

fn check(whole: &Whole) -> Result<()> {
    let regions: Vec<_> = whole.regions.iter().flatten().collect();
    let irqs = whole.irqs.iter().flatten().count();
    ensure!(
        (regions.len(), irqs) == (REGIONS, IRQS),
        "something is missing"
    );
    let in_order = (0_u64..)
        .zip(&regions)
        .all(|(n, region)| region.offset == n << 40 && region.flags.contains(RegionFlags::MMAP));
    let says = (
        regions[0].size,
        regions[0].areas,
        regions[2].is_msix_mappable,
        regions[9].kind,
    );
    let expected = (
        0x2_0000,
        Some((0, AREAS)),
        true,
        Some(RegionKind::INTEL_IGD_OPREGION),
    );
    ensure!(in_order && says == expected, "something is wrong");
    Ok(())
}

/// Opens the device once, for valgrind to count: for the first time in the process, as a program does that has one
/// device, or after it was opened and closed uncounted, so that the allocator has what it needs at hand.
///
/// # Errors
///
/// There is nothing of that name, or it does not find what the device has.
pub(crate) fn once(name: &str, is_first: bool) -> Result<()> {
    let mut subject = Subject::new(name)?;
    if !is_first {
        subject.warm_up();
        subject.close();
    }
    subject.open();
    subject.check().with_context(|| name.to_owned())
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "Rust" fn measured_core(device: &Device<Replaced>, whole: &mut Whole) -> Result<(), Failed> {
    open::open(device, whole)
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "Rust" fn measured_floor(device: &mut floor::Device) {
    let _ = floor::open(device);
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "Rust" fn measured_vfio_ioctls(peer: &mut Peer) {
    peer.open();
}
