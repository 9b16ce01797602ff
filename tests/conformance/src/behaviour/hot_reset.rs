//! Hot resets.

use anyhow::{Result, anyhow, ensure};
use vfio_core::device::Device;
use vfio_core::device::reset::{HotResetError, Ownership};
use vfio_core::mmio::CanReadWrite;
use vfio_core::open::container::Group;
use vfio_core::pci::{Command, Config, DeviceConfig};
use vfio_core::sys::{Errno, Sys};
use vfio_core::wire::abi::pci_region;

/// Resets the device by its own group, which takes it along alone or with others of the group. On
/// the root bus (`on_root_bus`) it can't be reset.
///
/// # Errors
/// What a call returns, and what does not hold.
pub fn by_group<S: Sys>(opened: &Device<S>, own: &Group<S>, on_root_bus: bool) -> Result<String> {
    let mut buffer = [0; 64];
    let own = [own.fd()];
    let reset = opened.hot_reset(&Ownership::Groups(&own), &mut buffer);
    if on_root_bus {
        ensure!(reset == Err(HotResetError::NotPossible), "{reset:?}");
        return Ok("a root bus is not reset".into());
    }
    reset?;
    let short = opened.hot_reset(&Ownership::Groups(&own), &mut [0; 15]);
    ensure!(
        short == Err(HotResetError::TooSmall { needed: 16 }),
        "{short:?}"
    );
    Ok("reset".into())
}

/// Resets without any group a device that was opened through VFIO's own container.
///
/// # Errors
/// What does not hold.
pub fn by_nobody<S: Sys>(opened: &Device<S>) -> Result<()> {
    let none = opened.hot_reset(&Ownership::Groups(&[]), &mut [0; 12]);
    ensure!(
        none == Err(HotResetError::NotOwned(Errno::EINVAL)),
        "without groups: {none:?}"
    );
    Ok(())
}

/// Resets by the iommufd that the device is bound to.
///
/// # Errors
/// What a call returns, and what does not hold.
pub fn by_iommufd<S: Sys>(opened: &Device<S>, on_root_bus: bool) -> Result<String> {
    let mut buffer = [0; 64];
    let reset = opened.hot_reset(&Ownership::Iommufd, &mut buffer);
    if on_root_bus {
        ensure!(reset == Err(HotResetError::NotPossible), "{reset:?}");
        return Ok("a root bus is not reset".into());
    }
    reset?;
    Ok("reset".into())
}

/// Checks that other groups than those which a reset takes along are refused.
///
/// # Errors
/// What does not hold.
pub fn of_another<S: Sys>(opened: &Device<S>, others: &[&Group<S>]) -> Result<String> {
    let others: Vec<_> = others.iter().map(|group| group.fd()).collect();
    let reset = opened.hot_reset(&Ownership::Groups(&others), &mut [0; 64]);
    ensure!(
        reset == Err(HotResetError::NotOwned(Errno::EINVAL)),
        "{reset:?}"
    );
    Ok("refused".into())
}

/// Checks that every device has forgotten what was written to `register` of BAR 0, of 32 bits.
///
/// # Errors
/// What a call returns, and what does not hold.
pub fn cleared<S: Sys>(
    devices: &[&Device<S>],
    register: usize,
    reset: impl FnOnce() -> Result<()>,
) -> Result<String> {
    let mut buffer = [0; 256];
    for device in devices {
        enable(device)?;
        let region = device.region(pci_region::BAR0, &mut buffer)?;
        let mut bar = device.trap::<CanReadWrite>(&region)?;
        bar.write(register, 0x1000_u32)?;
        ensure!(
            bar.read::<u32>(register)? == 0x1000,
            "{register:#x} is not written"
        );
    }
    reset()?;
    for device in devices {
        enable(device)?;
        let region = device.region(pci_region::BAR0, &mut buffer)?;
        let left = device
            .trap::<CanReadWrite>(&region)?
            .read::<u32>(register)?;
        ensure!(left == 0, "{register:#x} is {left:#x} after the reset");
    }
    Ok(format!("{} functions reset", devices.len()))
}

/// Lets the device answer to accesses to its memory.
///
/// # Errors
/// What a call returns.
pub fn enable<S: Sys>(opened: &Device<S>) -> Result<()> {
    let mut buffer = [0; 256];
    let mut config = Config::new(DeviceConfig::ask(opened, &mut buffer)?);
    let command = config.command().map_err(|error| anyhow!("{error}"))?;
    config
        .set_command(command | Command::MEMORY)
        .map_err(|error| anyhow!("{error}"))
}
