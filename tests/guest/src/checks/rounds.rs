//! Devices that are opened and closed over and over, and by threads at once.

use std::thread;

use anyhow::{Result, anyhow, ensure};
use vfio_conformance::session;
use vfio_core::dma::Dma;
use vfio_core::open::Session;
use vfio_guest::{Device, Kind};
use vfio_hosted::linux::Linux;

use super::held;
use crate::mode::{InGuest as _, Mode};
use crate::report::NotRun;
use crate::world::{World, group, place};

/// How often a device is opened: through a container and through iommufd each, and in the modes that share most with them.
const ROUNDS: u32 = 1000;
const FEWER_ROUNDS: u32 = 100;

/// How often each thread opens its devices.
const ROUNDS_AT_ONCE: u32 = 20;

/// Opens and closes a thousand times, or a hundred, without a file or a mapping more.
pub(crate) fn thousand(_: &World, device: &Device, mode: Mode) -> Result<String> {
    drop(mode.open(device)?);
    let place = place(device)?;
    let rounds = match mode {
        Mode::Type1v2 | Mode::Iommufd => ROUNDS,
        _ => FEWER_ROUNDS,
    };
    for round in 0..rounds {
        held::unchanged(|| {
            session::round(&Linux, &place.as_place(), mode)
                .map_err(|error| anyhow!("round {round}: {error}"))?;
            Ok(String::new())
        })?;
    }
    Ok(format!("{rounds} rounds"))
}

/// Drives two devices in each of two threads.
pub(crate) fn at_once(world: &World, mode: Mode) -> Result<String> {
    let devices = four_groups(world)?;
    for device in &devices {
        drop(mode.open(device)?);
    }
    thread::scope(|scope| {
        let threads: Vec<_> = devices
            .chunks(2)
            .map(|pair| scope.spawn(move || drive(pair, mode)))
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err(anyhow!("a thread panicked")))
        })
    })?;
    let names: Vec<_> = devices.iter().map(|device| device.name.as_str()).collect();
    Ok(names.join(", "))
}

fn drive(pair: &[&Device], mode: Mode) -> Result<()> {
    for _ in 0..ROUNDS_AT_ONCE {
        let mut open = Vec::new();
        for device in pair {
            let place = place(device)?;
            let session = Session::open_in(mode, &Linux, &place.as_place())?;
            open.push((session.device, Dma::<_, 16>::new(Linux, session.space)?));
        }
        for (device, dma) in &open {
            session::any(device, dma).map_err(|error| anyhow!("{error}"))?;
        }
    }
    Ok(())
}

/// Returns four devices, each of another group.
fn four_groups(world: &World) -> Result<Vec<&Device>> {
    let mut devices: Vec<(u32, &Device)> = Vec::new();
    for device in world.devices() {
        if matches!(device.kind, Kind::Pci { .. }) && world.ready(device).is_ok() {
            let group = group(device)?;
            if devices.iter().all(|(known, _)| *known != group) {
                devices.push((group, device));
            }
        }
    }
    devices.truncate(4);
    ensure!(
        devices.len() == 4,
        NotRun("there are not four groups".into())
    );
    Ok(devices.into_iter().map(|(_, device)| device).collect())
}
