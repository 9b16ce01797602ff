//! Devices that are opened at once, each by a thread (`vfio_pci_device_init_perf_test`).

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use vfio_core::open::AddressSpace;
use vfio_core::open::container::OpenError;
use vfio_core::open::iommufd::Ioas;
use vfio_core::sys::Errno;
use vfio_guest::{Device, Kind};
use vfio_hosted::linux::Linux;

use super::setup::initialised;
use crate::mode::{InGuest as _, Mode, bound, in_group};
use crate::report::NotRun;
use crate::world::{World, group};

type Space = AddressSpace<Linux>;

/// How long one device took, and whether its thread gave the container its IOMMU driver.
struct Opening {
    time: Duration,
    is_first: bool,
}

/// Drives one device of each group, all in one address space.
pub(crate) fn at_once(world: &World, mode: Mode) -> Result<String> {
    let devices = one_of_each_group(world)?;
    if devices.len() < 2 {
        return Err(NotRun("there is only one group".into()).into());
    }
    let space = mode.space()?;
    let barrier = Barrier::new(devices.len());
    let start = Instant::now();
    let openings: Vec<Opening> = thread::scope(|scope| {
        let opening = |device| {
            let (space, barrier) = (&space, &barrier);
            scope.spawn(move || {
                barrier.wait();
                open(space, device, mode).with_context(|| device.name.clone())
            })
        };
        let threads: Vec<_> = devices.into_iter().map(opening).collect();
        let joined = threads.into_iter().map(|thread| {
            let ended = thread.join();
            ended.unwrap_or_else(|_| Err(anyhow!("a thread panicked")))
        });
        joined.collect::<Result<_>>()
    })?;
    let wall = start.elapsed();
    if let (AddressSpace::Container(_), false) = (&space, mode.is_iommufd()) {
        let first = openings.iter().filter(|opening| opening.is_first).count();
        ensure!(first == 1, "the IOMMU driver was set {first} times");
    }
    let times = || openings.iter().map(|opening| opening.time);
    let (least, most) = (times().min(), times().max());
    Ok(format!(
        "{} devices in {wall:?}, each in {least:?} to {most:?}",
        openings.len()
    ))
}

fn one_of_each_group(world: &World) -> Result<Vec<&Device>> {
    let mut groups = BTreeMap::new();
    for device in world.devices() {
        if matches!(device.kind, Kind::Pci { .. }) && world.ready(device).is_ok() {
            groups.entry(group(device)?).or_insert(device);
        }
    }
    Ok(groups.into_values().collect())
}

fn open(space: &Space, device: &Device, mode: Mode) -> Result<Opening> {
    let start = Instant::now();
    let mut is_first = false;
    let opened = match space {
        AddressSpace::Container(container) | AddressSpace::NoIommu(container) => {
            let attached = container.attach(group(device)?)?;
            match container.set_iommu(mode.iommu()) {
                Ok(()) => is_first = true,
                // VFIO's own container takes its driver from the first thread.
                Err(OpenError::SetIommu {
                    errno: Errno::EINVAL,
                    ..
                }) if !mode.is_iommufd() => (),
                Err(error) => return Err(error.into()),
            }
            in_group(&attached, device)?
        }
        AddressSpace::Ioas(ioas) => bound(ioas, device, Ioas::attach)?,
    };
    initialised(&opened)?;
    Ok(Opening {
        time: start.elapsed(),
        is_first,
    })
}
