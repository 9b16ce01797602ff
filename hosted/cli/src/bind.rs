//! `vfio bind` and `vfio unbind`: the driver of a device.

mod persistence;

use std::borrow::Cow;
use std::cell::RefCell;
use std::convert::Infallible;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use serde::Serialize;
use vfio_core::sys::Errno;
use vfio_hosted::discovery::{Address, BindError, Caller, DiscoveryError, System, Usage};

use crate::attribute::{Patience, Writer};
use crate::failure::Failure;
use crate::output::{self, COMMAND};
use crate::target::World;

/// Give devices to vfio-pci.
///
/// Refuses a device that the system uses: one with a disk that is mounted or otherwise in use, an active network
/// interface, a device node that a process has open, the boot display, or a virtual function that is in use.
/// What was done to a device is undone if it fails midway. `vfio unbind` gives devices back.
#[derive(clap::Args)]
pub(crate) struct BindArgs {
    #[command(flatten)]
    meant: Meant,

    /// Take devices although the system uses them.
    #[arg(long)]
    force: bool,

    /// Have udev give the devices to vfio-pci at each start, too: rules in /etc/udev/rules.d, until `vfio unbind`.
    #[arg(long)]
    persist: bool,

    #[command(flatten)]
    patience: Patience,
}

/// Give devices back to the drivers that the kernel has for them.
///
/// Refuses a device that a process has open, or a virtual function of it. What was done to a device is undone if it
/// fails midway.
#[derive(clap::Args)]
pub(crate) struct UnbindArgs {
    #[command(flatten)]
    meant: Meant,

    /// Take devices although they are open: they change their driver once they are closed.
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    patience: Patience,
}

/// The devices that are meant, and whether anything is done.
#[derive(clap::Args)]
struct Meant {
    /// PCI addresses (0000:00:05.0 or 00:05.0), or names of network interfaces and disks (eth0, nvme0n1).
    #[arg(value_name = "DEVICE", required = true)]
    devices: Vec<Name>,

    /// All devices in the IOMMU groups of these, too.
    #[arg(long)]
    group: bool,

    /// Change nothing: say what would be written where.
    #[arg(long)]
    dry_run: bool,
}

/// What a user calls a device.
#[derive(Clone)]
enum Name {
    Address(Address),
    /// An interface or a disk.
    Other(String),
}

/// What was done, as JSON.
#[derive(Serialize)]
struct Record {
    devices: Vec<Done>,
}

#[derive(Serialize)]
struct Done {
    device: String,
    previous: Option<String>,
    driver: Option<String>,
    /// Whether anything was done.
    changed: bool,
    /// What would be written in a dry run.
    writes: Vec<Write>,
}

/// A value for an attribute of sysfs, or a file of rules.
#[derive(Serialize)]
struct Write {
    path: PathBuf,
    value: String,
}

pub(crate) fn bind(args: &BindArgs, world: &World) -> Result<ExitCode, Failure> {
    let system = &world.system;
    let rule = |address| {
        args.persist.then(|| {
            (
                persistence::path(&world.root, address),
                persistence::rule(address),
            )
        })
    };
    let change = |address, write: &dyn Fn(&Path, &str) -> io::Result<()>| {
        let bound = system.bind_through(address, args.force, write)?;
        Ok((bound.previous, Some(bound.driver), bound.changed))
    };
    let each = |address: Address| {
        let done = args
            .meant
            .change(address, args.force, &args.patience, world, change)?;
        match rule(address) {
            Some((path, value)) if args.meant.dry_run => Ok(done.and(Write { path, value })),
            Some((path, value)) => persistence::write(&path, &value).map(|()| done),
            None => Ok(done),
        }
    };
    args.meant.each(world, each)
}

pub(crate) fn unbind(args: &UnbindArgs, world: &World) -> Result<ExitCode, Failure> {
    let change = |address, write: &dyn Fn(&Path, &str) -> io::Result<()>| {
        let unbound = world.system.unbind_through(address, args.force, write)?;
        Ok((Some(unbound.previous), unbound.driver, true))
    };
    let each = |address: Address| {
        let done = args
            .meant
            .change(address, args.force, &args.patience, world, change)?;
        if !args.meant.dry_run {
            persistence::remove(&persistence::path(&world.root, address))?;
        }
        Ok(done)
    };
    args.meant.each(world, each)
}

/// The drivers before and after, and whether anything was done.
type Change = (Option<String>, Option<String>, bool);

impl Meant {
    /// Does something to each device in turn, and tells what was done. It ends with the first that fails.
    fn each(
        &self,
        world: &World,
        act: impl Fn(Address) -> Result<Done, Failure>,
    ) -> Result<ExitCode, Failure> {
        let mut record = Record {
            devices: Vec::new(),
        };
        let mut ended = Ok(ExitCode::SUCCESS);
        for address in self.addresses(&world.system)? {
            match act(address) {
                Ok(done) if world.json => record.devices.push(done),
                Ok(done) => done.tell(address, &world.system)?,
                Err(failure) => {
                    ended = Err(failure);
                    break;
                }
            }
        }
        // What was done before something failed is told, too.
        if world.json && (ended.is_ok() || !record.devices.is_empty()) {
            output::json(&record)?;
        }
        ended
    }

    /// Returns the addresses of all that is meant, each once.
    fn addresses(&self, system: &System) -> Result<Vec<Address>, Failure> {
        let mut addresses = Vec::new();
        for name in &self.devices {
            match name {
                Name::Address(address) => addresses.push(*address),
                Name::Other(name) => {
                    let behind = system.behind(name)?;
                    if behind.is_empty() {
                        return Err(Failure::NothingBehind { name: name.clone() });
                    }
                    addresses.extend(behind);
                }
            }
        }
        if self.group {
            for address in addresses.clone() {
                let group = system.device(address)?.group;
                let members = group.into_iter().flat_map(|group| group.members);
                for member in members.filter_map(|member| member.address()) {
                    // vfio-pci takes no bridge, and the group works without.
                    if !system.device(member)?.bridge {
                        addresses.push(member);
                    }
                }
            }
        }
        let mut seen = Vec::new();
        addresses.retain(|address| {
            let is_new = !seen.contains(address);
            seen.push(*address);
            is_new
        });
        Ok(addresses)
    }

    /// Changes the driver of a device, or finds out how that would be done.
    fn change(
        &self,
        address: Address,
        force: bool,
        patience: &Patience,
        world: &World,
        change: impl Fn(Address, &dyn Fn(&Path, &str) -> io::Result<()>) -> Result<Change, BindError>,
    ) -> Result<Done, Failure> {
        let device = address.to_string();
        if !self.dry_run {
            let taken = taken(force, address, &world.system)?;
            let writer = Writer::new(patience, taken);
            let (previous, driver, changed) =
                change(address, &|path, value| writer.write(path, value))?;
            return Ok(Done {
                device,
                previous,
                driver,
                changed,
                writes: Vec::new(),
            });
        }
        let writes = RefCell::new(Vec::new());
        let note = |path: &Path, value: &str| {
            let (path, value) = (path.to_owned(), value.trim_end().to_owned());
            writes.borrow_mut().push(Write { path, value });
            Ok(())
        };
        let ended = change(address, &note);
        let mut writes = writes.into_inner();
        // As nothing was written, the driver is not found afterwards, and what was done is undone.
        let last = writes
            .iter()
            .position(|write| write.path.ends_with("drivers_probe"));
        match (last, ended) {
            (Some(last), _) => writes.truncate(last.saturating_add(1)),
            (None, Err(error)) => return Err(error.into()),
            (None, Ok(_)) => (),
        }
        let previous = world.system.device(address)?.driver;
        Ok(Done {
            device,
            driver: previous.clone(),
            previous,
            changed: false,
            writes,
        })
    }
}

impl Done {
    /// Adds what would be written.
    fn and(mut self, write: Write) -> Self {
        self.writes.push(write);
        self
    }

    /// Tells people of it.
    fn tell(&self, address: Address, system: &System) -> Result<(), Failure> {
        let mut out = output::stdout();
        let before = self.previous.as_deref().unwrap_or("none");
        if !self.writes.is_empty() {
            writeln!(out, "{address}, now with {before}, would be changed by:")?;
            for Write { path, value } in &self.writes {
                let value = value.escape_default();
                writeln!(out, "    {COMMAND}{value} > {}{COMMAND:#}", path.display())?;
            }
            return Ok(out.flush()?);
        }
        match &self.driver {
            Some(driver) if !self.changed => {
                writeln!(out, "{address} was bound to {driver} already.")
            }
            Some(driver) => writeln!(out, "{address} is bound to {driver}; before, to {before}."),
            None => writeln!(
                out,
                "{address} was taken from {before}, and the kernel has no other driver for it."
            ),
        }?;
        let device = system.device(address)?;
        if device.has_vfio_driver() && !system.obstacles(&device, &Caller::current()).is_empty() {
            writeln!(
                out,
                "`vfio list {address}` tells what still stands in the way of opening it."
            )?;
        }
        Ok(out.flush()?)
    }
}

impl FromStr for Name {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let address = text.parse().map(Self::Address);
        Ok(address.unwrap_or_else(|_| Self::Other(text.to_owned())))
    }
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
