//! Hot resets, and writes that the kernel makes when an event is signalled.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use vfio_core::abi::{Extension, pci_region};
use vfio_core::container::{Container, Group};
use vfio_core::device::Device as Opened;
use vfio_core::ioeventfd::IoeventfdError;
use vfio_core::iommufd::Ioas;
use vfio_core::mmio::{Access, ReadWrite, Width, Window};
use vfio_core::pci::{Command, Config, DeviceConfig};
use vfio_core::reset::{HotResetError, Ownership};
use vfio_core::sys::{Errno, Sys as _};
use vfio_guest::Device;
use vfio_hosted::linux::Linux;

use super::hardware;
use crate::world::{World, cdev, group};

/// The longest that the kernel may take to make a write.
const PATIENCE: Duration = Duration::from_secs(5);

/// From here on the firmware and the console have put nothing into the memory of the display.
const FREE: usize = 8 << 20;

/// `TDLEN` of an e1000e: a register that a driver writes and a reset clears.
const TDLEN: usize = 0x3808;

/// The other function of the slot.
const SIBLING: (&str, &str) = ("e1000e", "e1000e-1");

/// A reset by the groups of the devices that it takes along.
pub(crate) fn by_group(world: &World, device: &Device) -> Result<String> {
    let (_container, own, opened) = open(device)?;
    let mut buffer = [0; 64];
    let own = [&own];
    let reset = opened.hot_reset(&Ownership::Groups(&own), &mut buffer);
    if on_root_bus(device) {
        ensure!(reset == Err(HotResetError::NotPossible), "{reset:?}");
        return Ok("a root bus is not reset".into());
    }
    reset?;
    let none = opened.hot_reset(&Ownership::Groups(&[]), &mut buffer);
    ensure!(
        none == Err(HotResetError::NotOwned(Errno::EINVAL)),
        "without groups: {none:?}"
    );
    let short = opened.hot_reset(&Ownership::Groups(&own), &mut [0; 15]);
    ensure!(
        short == Err(HotResetError::TooSmall { needed: 16 }),
        "{short:?}"
    );
    if device.name != SIBLING.0 {
        return Ok("reset".into());
    }
    let sibling = world.named(SIBLING.1)?;
    let sibling = own[0].device(&CString::new(sibling.address())?)?;
    cleared(&[&opened, &sibling], || {
        Ok(opened.hot_reset(&Ownership::Groups(&own), &mut [0; 16])?)
    })
}

/// A reset by the iommufd that the device is bound to.
pub(crate) fn by_iommufd(world: &World, device: &Device) -> Result<String> {
    let path = CString::new(cdev(device)?)?;
    let ioas = Ioas::open(Linux)?;
    let opened = ioas.attach(&path)?;
    let mut buffer = [0; 64];
    let reset = opened.hot_reset(&Ownership::Iommufd, &mut buffer);
    if on_root_bus(device) {
        ensure!(reset == Err(HotResetError::NotPossible), "{reset:?}");
        return Ok("a root bus is not reset".into());
    }
    reset?;
    if device.name != SIBLING.0 {
        return Ok("reset".into());
    }
    let sibling = ioas.attach(&CString::new(cdev(world.named(SIBLING.1)?)?)?)?;
    cleared(&[&opened, &sibling], || {
        Ok(opened.hot_reset(&Ownership::Iommufd, &mut [0; 12])?)
    })
}

/// A group that is not the device's shows nothing.
pub(crate) fn of_another(world: &World) -> Result<String> {
    let device = world.named("nvme-port")?;
    let other = world.named("edu")?;
    let (container, _own, opened) = open(device)?;
    let group = container.attach(group(other)?)?;
    let reset = opened.hot_reset(&Ownership::Groups(&[&group]), &mut [0; 16]);
    ensure!(
        reset == Err(HotResetError::NotOwned(Errno::EINVAL)),
        "{reset:?}"
    );
    Ok("refused".into())
}

/// Writes of every width into the memory of a display.
pub(crate) fn ioeventfd(world: &World) -> Result<String> {
    let device = world.named("vga")?;
    let (_container, opened) = hardware::open(device)?;
    enable(&opened)?;
    let mut buffer = [0; 256];
    let region = opened.region(pci_region::BAR0, &mut buffer)?;
    let mut memory = opened.map::<ReadWrite>(&region, 0)?;
    write_on_event(&opened, &mut memory, FREE + 0x10, 0xa5_u8)?;
    write_on_event(&opened, &mut memory, FREE + 0x20, 0xa5a6_u16)?;
    write_on_event(&opened, &mut memory, FREE + 0x30, 0xa5a6_a7a8_u32)?;
    write_on_event(&opened, &mut memory, FREE + 0x40, 0xa5a6_a7a8_a9aa_abac_u64)?;

    let event = Linux.event()?;
    let past = opened.ioeventfd(&region, region.size - 1, 0_u16, &event);
    ensure!(
        matches!(past, Err(IoeventfdError::OutOfBounds { .. })),
        "past the end: {past:?}"
    );
    let odd = opened.ioeventfd(&region, 2, 0_u32, &event);
    ensure!(
        matches!(odd, Err(IoeventfdError::Misaligned { .. })),
        "off its width: {odd:?}"
    );
    let _first = opened.ioeventfd(&region, 0, 1_u32, &event)?;
    let second = opened.ioeventfd(&region, 0, 1_u32, &event);
    ensure!(
        matches!(second, Err(IoeventfdError::Errno(Errno::EEXIST))),
        "a second time: {second:?}"
    );
    let mut other = [0; 64];
    let config = opened.region(pci_region::CONFIG, &mut other)?;
    let outside = opened.ioeventfd(&config, 0x3c, 0_u8, &event);
    ensure!(
        matches!(outside, Err(IoeventfdError::Errno(Errno::EINVAL))),
        "config space: {outside:?}"
    );
    Ok("8, 16, 32 and 64 bits".into())
}

/// `value` is written at `at` when an event is signalled, and no more once the write was taken
/// away.
fn write_on_event<A: Access, T: Width + PartialEq + core::fmt::Debug>(
    device: &Opened<Linux>,
    memory: &mut Window<A>,
    at: usize,
    value: T,
) -> Result<()> {
    let event = Linux.event()?;
    let mut buffer = [0; 256];
    let region = device.region(pci_region::BAR0, &mut buffer)?;
    let bits = 8 << T::SHIFT;
    let write = device
        .ioeventfd(&region, u64::try_from(at)?, value, &event)
        .with_context(|| format!("{bits} bits"))?;
    clear(memory, at)?;
    signal(&event)?;
    let start = Instant::now();
    while get::<T, A>(memory, at)? != value {
        ensure!(start.elapsed() < PATIENCE, "{bits} bits were not written");
    }
    // No more than the register was written.
    ensure!(
        get::<u64, A>(memory, at)? == value.widen(),
        "{bits} bits: more was written"
    );
    write.remove()?;
    clear(memory, at)?;
    signal(&event)?;
    std::thread::sleep(Duration::from_millis(20));
    ensure!(
        get::<u64, A>(memory, at)? == 0,
        "{bits} bits were written after all"
    );
    Ok(())
}

fn clear<A: Access>(memory: &mut Window<A>, at: usize) -> Result<()> {
    memory
        .write(at, 0_u64)
        .map_err(|error| anyhow!("{error}"))?;
    ensure!(get::<u64, A>(memory, at)? == 0, "no memory at {at:#x}");
    Ok(())
}

fn get<T: Width, A: Access>(memory: &mut Window<A>, at: usize) -> Result<T> {
    memory.read(at).map_err(|error| anyhow!("{error}"))
}

/// Signals an event.
fn signal(event: &OwnedFd) -> Result<()> {
    ensure!(
        Linux.write(event, &1_u64.to_ne_bytes())? == 8,
        "written short"
    );
    Ok(())
}

/// Every network device has forgotten what was written to it.
fn cleared(devices: &[&Opened<Linux>], reset: impl FnOnce() -> Result<()>) -> Result<String> {
    let mut buffer = [0; 256];
    for device in devices {
        enable(device)?;
        let region = device.region(pci_region::BAR0, &mut buffer)?;
        let mut bar = device.trap::<ReadWrite>(&region)?;
        bar.write(TDLEN, 0x1000_u32)?;
        ensure!(bar.read::<u32>(TDLEN)? == 0x1000, "TDLEN is not written");
    }
    reset()?;
    for device in devices {
        enable(device)?;
        let region = device.region(pci_region::BAR0, &mut buffer)?;
        let left = device.trap::<ReadWrite>(&region)?.read::<u32>(TDLEN)?;
        ensure!(left == 0, "TDLEN is {left:#x} after the reset");
    }
    Ok(format!("{} functions reset", devices.len()))
}

/// Lets the device answer to accesses to its memory.
fn enable(opened: &Opened<Linux>) -> Result<()> {
    let mut buffer = [0; 256];
    let mut config = Config::new(DeviceConfig::ask(opened, &mut buffer)?);
    let command = config.command().map_err(|error| anyhow!("{error}"))?;
    config
        .set_command(command | Command::MEMORY)
        .map_err(|error| anyhow!("{error}"))
}

/// The device with its group.
fn open(device: &Device) -> Result<(Container<Linux>, Group<Linux>, Opened<Linux>)> {
    let container = Container::open(Linux)?;
    let group = container.attach(group(device)?)?;
    container.set_iommu(Extension::TYPE1V2_IOMMU)?;
    let opened = group.device(&CString::new(device.address())?)?;
    Ok((container, group, opened))
}

fn on_root_bus(device: &Device) -> bool {
    device.address().starts_with("0000:00:")
}
