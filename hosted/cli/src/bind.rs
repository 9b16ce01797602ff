//! `vfio bind` and `vfio unbind`: the driver of a device.

use std::borrow::Cow;
use std::io::{self, Write};
use std::process::ExitCode;

use vfio_core::sys::Errno;
use vfio_hosted::discovery::{Address, BindError, Caller, DiscoveryError, System, Usage};

use crate::attribute::{Patience, Writer};
use crate::failure::Failure;
use crate::output;

/// Give a device to vfio-pci.
///
/// Refuses a device that the system uses: one with a disk that is mounted or otherwise in use, an active network
/// interface, a device node that a process has open, the boot display, or a virtual function that is in use.
/// What was done is undone if it fails midway. `vfio unbind` gives the device back.
#[derive(clap::Args)]
pub(crate) struct BindArgs {
    /// The PCI address: 0000:00:05.0 or 00:05.0.
    device: Address,

    /// Take the device although the system uses it.
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    patience: Patience,
}

/// Give a device back to the driver that the kernel has for it.
///
/// Refuses a device that a process has open, or a virtual function of it. What was done is undone if it fails midway.
#[derive(clap::Args)]
pub(crate) struct UnbindArgs {
    /// The PCI address: 0000:00:05.0 or 00:05.0.
    device: Address,

    /// Take the device although it is open: it changes its driver once it is closed.
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    patience: Patience,
}

pub(crate) fn bind(args: &BindArgs, system: &System) -> Result<ExitCode, Failure> {
    let taken = taken(args.force, args.device, system)?;
    let writer = Writer::new(&args.patience, taken);
    let bound = system.bind_through(args.device, args.force, |path, value| {
        writer.write(path, value)
    })?;
    let device = system.device(args.device)?;
    let mut out = output::stdout();
    let driver = &bound.driver;
    match (&bound.previous, bound.changed) {
        (_, false) => writeln!(out, "{} was bound to {driver} already.", args.device),
        (Some(old), _) => writeln!(
            out,
            "{} is bound to {driver}; before, to {old}.",
            args.device
        ),
        (None, _) => writeln!(
            out,
            "{} is bound to {driver}; before, to none.",
            args.device
        ),
    }?;
    if !system.obstacles(&device, &Caller::current()).is_empty() {
        writeln!(
            out,
            "`vfio list {}` tells what still stands in the way of opening it.",
            args.device
        )?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn unbind(args: &UnbindArgs, system: &System) -> Result<ExitCode, Failure> {
    let taken = taken(args.force, args.device, system)?;
    let writer = Writer::new(&args.patience, taken);
    let unbound = system.unbind_through(args.device, args.force, |path, value| {
        writer.write(path, value)
    })?;
    let mut out = output::stdout();
    let previous = &unbound.previous;
    match &unbound.driver {
        Some(driver) => writeln!(
            out,
            "{} is bound to {driver}; before, to {previous}.",
            args.device
        ),
        None => writeln!(
            out,
            "{} was taken from {previous}, and the kernel has no other driver for it.",
            args.device
        ),
    }?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the uses of a device that is taken by force: the kernel may then wait for them.
fn taken(force: bool, address: Address, system: &System) -> Result<Vec<Usage>, Failure> {
    if !force {
        return Ok(Vec::new());
    }
    let device = system.device(address)?;
    Ok(system.usages(&device))
}

/// Returns a sentence that tells the user what to do about it.
pub(crate) fn way_out(error: &BindError) -> Cow<'static, str> {
    let text = match error {
        BindError::Discovery(DiscoveryError::NoSuchDevice(_)) => {
            "`vfio list` shows the devices that there are."
        }
        BindError::Bridge(_) => "Bind the devices behind it instead.",
        BindError::ModuleMissing => "Load it: `sudo modprobe vfio-pci`.",
        BindError::InUse { usages, .. } if usages.iter().all(is_denied) => {
            "Only root may: use sudo."
        }
        BindError::InUse { .. } => "Stop using it first, or add --force to take it all the same.",
        BindError::NotBound { .. } => "`vfio list` shows the driver of each device.",
        BindError::Open { .. } => {
            "End it first: the kernel would wait for that. With --force, so does this program."
        }
        BindError::Unfinished { .. } => {
            "It goes on once nobody has the device open, or a function that goes with it; \
             then run the same command again."
        }
        BindError::Step { step, .. } if step.source.kind() == io::ErrorKind::PermissionDenied => {
            "Only root may: use sudo."
        }
        BindError::Step { step, .. } if step.source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            "Run it outside of the container, where sysfs can be written."
        }
        BindError::WrongDriver {
            driver: Some(driver),
            ..
        } if driver == "vfio-pci" => {
            "It was told to take all devices with such ids: take them out of its parameter `ids`, \
             or write them to /sys/bus/pci/drivers/vfio-pci/remove_id."
        }
        _ => "The kernel's log says why: `sudo dmesg`.",
    };
    text.into()
}

/// Tells whether it is only that this user may not ask.
const fn is_denied(usage: &Usage) -> bool {
    matches!(
        usage,
        Usage::Unasked {
            errno: Errno::EACCES | Errno::EPERM,
            ..
        }
    )
}
