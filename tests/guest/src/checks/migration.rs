//! Does a device migrate: the sample device `mtty` to another of its kind?

use std::fs;

use anyhow::{Result, anyhow};
use vfio_conformance::behaviour::migration;
use vfio_guest::{Device, Kind};

use super::hardware::open;
use crate::mdev;
use crate::world::World;

/// A device of the same kind as the one that goes.
struct Twin(Device);

/// Checks that a device stops, its data go to another, and that one is as the first was.
pub(crate) fn stop_copy(world: &World) -> Result<String> {
    let source = world.named("mtty-1")?;
    let twin = Twin::of(source)?;
    let (_space, source) = open(source)?;
    let (_other_space, target) = open(&twin.0)?;
    migration::stop_copy(&source, &target)
}

/// Checks that a part of the data is read while the device still runs.
pub(crate) fn pre_copy(world: &World) -> Result<String> {
    let source = world.named("mtty-1")?;
    let twin = Twin::of(source)?;
    let (_space, source) = open(source)?;
    let (_other_space, target) = open(&twin.0)?;
    migration::pre_copy(&source, &target)
}

/// Checks that states that are none are refused, and data of another kind of device.
pub(crate) fn refused(world: &World) -> Result<String> {
    let (_space, source) = open(world.named("mtty-1")?)?;
    let (_other_space, other) = open(world.named("mtty-2")?)?;
    migration::refused(&source, &other)
}

/// Checks that PCI devices without a driver of their own do not migrate.
pub(crate) fn missing(_: &World, device: &Device) -> Result<String> {
    let (_space, opened) = open(device)?;
    migration::missing(&opened)
}

impl Twin {
    fn of(device: &Device) -> Result<Self> {
        let mut twin = device.clone();
        let Kind::Mdev { uuid, .. } = &mut twin.kind else {
            return Err(anyhow!("{} is no mediated device", device.name));
        };
        "5f6b0d1e-0b3c-4c7a-9a51-0000000000ff".clone_into(uuid);
        mdev::create(&twin)?;
        Ok(Self(twin))
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        let path = format!("{}/remove", self.0.sysfs());
        if let Err(error) = fs::write(&path, "1") {
            eprintln!("cannot write {path}: {error}");
        }
    }
}
