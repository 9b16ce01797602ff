//! `vfio run`: a reference driver, run on a device.

mod virtio;

use std::fmt::Display;
use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::process::ExitCode;

use serde::Serialize;
use vfio_core::device::DeviceHandle;
use vfio_core::dma::{Dma, DmaHandle};
use vfio_core::mmio::{Access, Window};
use vfio_core::open::{Mode, Session};
use vfio_core::sys::Sys;
use vfio_core::wire::abi::pci_region;
use vfio_drivers::nvme::{Controller, Options};
use vfio_exercise::nvme::{Lent, NotRestored};
use vfio_exercise::{Outcome, Report, edu, nvme};
use vfio_hosted::discovery;

use crate::failure::Failure;
use crate::interrupt::{INTERRUPTED, Interrupt};
use crate::nvme::contents;
use crate::nvme::drive::{RANGES, is_nvme, queue};
use crate::output;
use crate::target::{Opened, Target, Task, World};
use virtio::{Blk, Net};

/// Run a reference driver on a device, step by step.
///
/// The device is reset where it can be, and driven: its registers are written, it reads and writes memory of this
/// program, it interrupts. Exits with 0 only if every step passed.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    driver: Driver,
}

/// The drivers.
#[derive(clap::Subcommand)]
enum Driver {
    /// QEMU's educational device: registers, factorials, DMA both ways, interrupts.
    Edu {
        /// The PCI address (0000:00:05.0 or 00:05.0), unix:SOCKET for a served device, or sim:edu for the
        /// simulated one, which is the default.
        #[arg(default_value = "sim:edu")]
        device: Target,
    },
    /// An NVMe controller: all commands, queue pairs, interrupts, events. Up to 128 KiB at the end of its first namespace
    /// are written, and get back what was there, after Ctrl-C too; not after a second Ctrl-C, which ends at once.
    ///
    /// Nothing is written to a namespace whose first MiB or last holds anything, unless --yes is given.
    Nvme {
        /// The PCI address (0000:00:06.0 or 00:06.0), unix:SOCKET for a served device, or sim:nvme for the
        /// simulated one, which is the default.
        #[arg(default_value = "sim:nvme")]
        device: Target,

        /// Try it even if the namespace holds something.
        #[arg(long)]
        yes: bool,
    },
    /// A virtio network card: frames, the link, the control queue, interrupts. It asks on its network who has an address.
    VirtioNet {
        /// The PCI address (0000:00:0f.0 or 00:0f.0), or sim:virtio-net for the simulated device, which is the default.
        #[arg(default_value = "sim:virtio-net")]
        device: Target,

        /// The IPv4 address that is asked for: of somebody on the card's network.
        #[arg(long, default_value = "10.0.2.2")]
        peer: Ipv4Addr,

        /// The IPv4 address that the card takes for its own meanwhile.
        #[arg(long, default_value = "10.0.2.15")]
        address: Ipv4Addr,
    },
    /// A virtio disk: reads, writes, flushes. Up to 128 KiB at its end are written, and get back what was there, after
    /// Ctrl-C too; not after a second Ctrl-C, which ends at once.
    ///
    /// Nothing is written to a disk whose first MiB or last holds anything, unless --yes is given.
    VirtioBlk {
        /// The PCI address (0000:00:15.0 or 00:15.0), or sim:virtio-blk for the simulated device, which is the default.
        #[arg(default_value = "sim:virtio-blk")]
        device: Target,

        /// Try it even if the disk holds something.
        #[arg(long)]
        yes: bool,
    },
}

/// What was done, as JSON.
#[derive(Serialize)]
struct Record {
    driver: &'static str,
    device: String,
    simulated: bool,
    mode: &'static str,
    iommu_driver: &'static str,
    passed: bool,
    steps: Vec<Step>,
}

/// A step, as JSON.
#[derive(Serialize)]
struct Step {
    name: &'static str,
    passed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

struct Edu;

struct Nvme {
    /// The namespace may hold something.
    yes: bool,
}

pub(crate) fn run(args: Args, world: &World) -> Result<ExitCode, Failure> {
    let (record, status) = match args.driver {
        Driver::Edu { device } => device.open(world, Edu)?,
        Driver::Nvme { device, yes } => device.open(world, Nvme { yes })?,
        Driver::VirtioNet {
            device,
            peer,
            address,
        } => device.open(world, Net::asking(peer, address))?,
        Driver::VirtioBlk { device, yes } => device.open(world, Blk { yes })?,
    };
    if world.json {
        output::json(&record)?;
    } else {
        let mut out = output::stdout();
        let Record {
            driver,
            device,
            mode,
            ..
        } = &record;
        writeln!(out, "{driver} on {device}, {mode}")?;
        for Step { name, detail, .. } in &record.steps {
            match detail {
                None => writeln!(out, "  passed  {name}")?,
                Some(detail) => writeln!(out, "  {0}failed{0:#}  {name}: {detail}", output::ERROR)?,
            }
        }
        out.flush()?;
    }
    Ok(status)
}

/// Returns the exit status of the program.
const fn status(passed: bool) -> ExitCode {
    if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// QEMU's edu, by its vendor and its device id (QEMU's docs/specs/edu.rst).
const EDU: (u16, u16) = (0x1234, 0x11e8);

impl Task for Edu {
    /// What was done, and the exit status.
    type Output = (Record, ExitCode);

    fn suits(&self, device: &discovery::SysfsDevice) -> Result<(), Failure> {
        let found = (device.vendor_id, device.device_id);
        if found == EDU {
            return Ok(());
        }
        Err(Failure::Unsuitable {
            address: device.address,
            wanted: "edu",
            found: format!("it is {:04x}:{:04x}", found.0, found.1),
        })
    }

    fn run<S: Sys + Clone>(self, opened: Opened<S>) -> Result<Self::Output, Failure> {
        // It ends in a moment, and every step is told; who does not want to wait asks twice.
        let interrupt = Interrupt::catch(None)?;
        let (sys, session, about) = split(opened);
        let report = edu::run(sys, session).map_err(|error| about.failed(&error))?;
        let steps = told(&report, edu::Step::name, |_| None);
        let record = about.record("edu", report.passed(), steps);
        let status = match record.passed {
            true if interrupt.is_asked() => ExitCode::from(INTERRUPTED),
            passed => status(passed),
        };
        Ok((record, status))
    }
}

/// What is said when blocks are to be put back, which takes a moment.
const NOTICE: &str =
    "The blocks get back what they had. Ctrl-C once more ends at once, and that is lost.";

impl Task for Nvme {
    /// What was done, and the exit status.
    type Output = (Record, ExitCode);

    fn suits(&self, device: &discovery::SysfsDevice) -> Result<(), Failure> {
        is_nvme(device)
    }

    fn run<S: Sys + Clone>(self, opened: Opened<S>) -> Result<Self::Output, Failure> {
        let (sys, Session { device, space, .. }, about) = split(opened);
        let bar0 = device.bring_up(pci_region::BAR0);
        let bar0 = bar0.map_err(|error| about.failed(&error))?;
        let dma = Dma::<_, RANGES>::new(sys, space).map_err(|error| about.failed(&error))?;
        if !self.yes
            && !about.simulated
            && let Some((namespace, what)) = held(&device, bar0.share(), &dma)
        {
            let name = format!("namespace {namespace} of {}", about.device);
            return Err(Failure::Borrows { name, what });
        }
        // Without a handler, a signal ends the program, and what was there is lost.
        let interrupt = Interrupt::catch(Some(NOTICE))?;
        let mut kept = vec![0; nvme::KEPT];
        let lent = Lent {
            kept: &mut kept,
            ends: interrupt.flag(),
        };
        let report = nvme::exercise(&device, bar0, &dma, Options::default(), lent);
        let steps = told(&report, nvme::Step::name, |outcome| match outcome {
            Outcome::Lost(NotRestored { len, .. }) => {
                Some(save("nvme", kept.get(..*len).unwrap_or(&kept)))
            }
            _ => None,
        });
        let status = nvme_status(&report);
        Ok((about.record("nvme", report.passed(), steps), status))
    }
}

/// Returns the exit status of the program: interrupted only where nothing else went wrong.
fn nvme_status<E>(report: &nvme::Report<E>) -> ExitCode {
    let has =
        |is: fn(&nvme::Outcome<E>) -> bool| report.steps.iter().any(|(_, outcome)| is(outcome));
    let failed =
        has(|outcome| !outcome.passed() && !matches!(outcome, Outcome::NotRun | Outcome::Ended));
    if !failed && has(|outcome| matches!(outcome, Outcome::Ended)) {
        return ExitCode::from(INTERRUPTED);
    }
    status(report.passed())
}

/// Returns the contents of the first usable namespace, with its number. None where it is empty, or where trying the
/// driver ends before it writes anything.
fn held<D: DeviceHandle, A: Access, M: DmaHandle>(
    device: D,
    bar0: Window<A>,
    dma: M,
) -> Option<(u32, &'static str)> {
    let controller = Controller::start(device, bar0, dma, Options::default()).ok()?;
    let held = held_by(&controller);
    // It is started anew where the driver is tried.
    let _ = controller.shut_down();
    held
}

fn held_by<D: DeviceHandle, M: DmaHandle, A: Access>(
    controller: &Controller<D, M, A>,
) -> Option<(u32, &'static str)> {
    let namespace = controller.first_namespace().ok()??;
    let pair = controller.queue_pair(queue(controller, &namespace));
    let held = contents::held(&mut pair.ok()?, &namespace);
    Some((
        namespace.id(),
        held.unwrap_or(Some("blocks that can't be read"))?,
    ))
}

/// Saves what could not be put back into a file, and says where.
fn save(driver: &str, kept: &[u8]) -> String {
    let path = format!("vfio-run-{driver}-{}.blocks", std::process::id());
    let written = File::create_new(&path).and_then(|mut file| {
        file.write_all(kept)?;
        file.sync_all()
    });
    match written {
        Ok(()) => format!("; what they had is in the file {path}"),
        Err(error) => {
            format!("; what they had can't be written to the file {path} either: {error}")
        }
    }
}

/// The device that a driver runs on.
struct About {
    device: String,
    simulated: bool,
    mode: Mode,
}

/// Separates what a driver takes from what is told of the device.
fn split<S: Sys>(opened: Opened<S>) -> (S, Session<S>, About) {
    let about = About {
        device: opened.name,
        simulated: opened.simulated,
        mode: opened.session.mode,
    };
    (opened.sys, opened.session, about)
}

impl About {
    fn failed(&self, error: &dyn Display) -> Failure {
        Failure::Drive {
            name: self.device.clone(),
            message: error.to_string(),
        }
    }

    fn record(self, driver: &'static str, passed: bool, steps: Vec<Step>) -> Record {
        Record {
            driver,
            device: self.device,
            simulated: self.simulated,
            mode: self.mode.name(),
            iommu_driver: self.mode.iommu().name().unwrap_or("unknown"),
            passed,
            steps,
        }
    }
}

/// Tells each step, with what there is besides to say of a failure.
fn told<S: Copy, E: Display, L: Display, const N: usize>(
    report: &Report<S, E, L, N>,
    name: fn(S) -> &'static str,
    more: impl Fn(&Outcome<E, L>) -> Option<String>,
) -> Vec<Step> {
    let steps = report.steps.iter().map(|(step, outcome)| {
        let passed = outcome.passed();
        let detail = (!passed).then(|| outcome.to_string() + &more(outcome).unwrap_or_default());
        Step {
            name: name(*step),
            passed,
            detail,
        }
    });
    steps.collect()
}

#[cfg(test)]
mod tests {
    use vfio_hosted::model::{self, Nvme as Simulated, NvmeControl, NvmeNamespace};
    use vfio_hosted::sim::Kernel;

    use super::*;
    use crate::target::simulate;

    /// Tries the driver on a controller that is not said to be simulated.
    fn tried(control: &NvmeControl, nvme: Simulated, yes: bool) -> Result<Record, Failure> {
        let opened: Opened<Kernel> = simulate::<Nvme>(model::nvme_with(nvme), None)?;
        let before = control.medium(1);
        let tried = Nvme { yes }.run(opened).map(|(record, _)| record);
        assert!(
            control.medium(1) == before,
            "the blocks are not as they were"
        );
        tried
    }

    #[test]
    fn nothing_is_written_to_a_namespace_that_holds_something_unless_told_to() {
        let namespace = || NvmeNamespace::of_512(8192);
        let nvme = |marked: Option<u64>| {
            let nvme = Simulated::new();
            let control = nvme.control();
            let marked = marked.map_or_else(namespace, |lba| namespace().with_block(lba, b"ZFS"));
            (control, nvme.with_namespace(marked))
        };
        // The first block, the last, and one of those that are written.
        for lba in [0, 8191, 8000] {
            let (control, nvme) = nvme(Some(lba));
            let refused = tried(&control, nvme, false).map(|record| record.passed);
            assert!(matches!(refused, Err(Failure::Borrows { .. })));
        }
        let (control, nvme) = nvme(Some(8191));
        let record = tried(&control, nvme, true).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(record.passed);
    }
}
