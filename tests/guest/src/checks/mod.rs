//! The checks, and the table that says which there are.
//!
//! A check is a function that returns what it saw, or an error: [`NotRun`](crate::report::NotRun) where this kernel lacks what the
//! check is about, any other error where something does not hold. It is added by one row in [`CHECKS`].

mod bench;
mod command;
pub(crate) mod decoding;
mod dirty;
mod display;
mod dma_buf;
mod driver;
pub(crate) mod dying;
mod failures;
mod feature;
mod hardware;
mod held;
mod low_power;
mod migration;
mod noiommu;
mod nvme;
mod presence;
mod registers;
mod replies;
mod reset;
mod rounds;
mod selftest;
mod unplug;
pub(crate) mod used;
mod virtio;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use anyhow::{Result, anyhow};
use vfio_guest::{Case, Device, Kind, Plan};

use crate::mode::{MODES, Mode};
use crate::report::Report;
use crate::world::World;

pub(crate) use bench::{COUNT, run_child};
use selftest::{cdev, dma, driver as copying, init, mmio, pci, setup, sriov};

/// The devices on which everything is asserted that the kernel's own VFIO selftests assert.
const NAMED: &[&str] = &[
    "edu",
    "nvme",
    "pci-testdev",
    "ivshmem-plain",
    "bochs-display",
    "e1000e",
    "igb",
];

/// The device that igb drives.
const IGB: &[&str] = &["igb"];

/// The devices with SR-IOV.
const SRIOV: &[&str] = &["igb", "nvme-sriov"];

/// The NVMe controllers: of blocks of 512 bytes, and of 4096.
const NVME: &[&str] = &["nvme", "nvme-port"];

/// The same, and one whose blocks have protection information of 16 bytes behind them.
const NVME_GUARDED: &[&str] = &["nvme", "nvme-port", "nvme-guard"];

/// The NVMe controller whose subsystem may have several, so that its disk may have several paths.
const SHARED: &[&str] = &["nvme-shared"];

/// Every check, in the order in which they run.
const CHECKS: &[Check] = &[
    Check {
        name: "presence",
        on: On::Each(presence::presence),
    },
    Check {
        name: "pci ids",
        on: On::EachPci(presence::pci_ids),
    },
    Check {
        name: "device",
        on: On::EachPci(hardware::device),
    },
    Check {
        name: "regions",
        on: On::EachPci(hardware::regions),
    },
    Check {
        name: "interrupts",
        on: On::EachPci(hardware::interrupts),
    },
    Check {
        name: "several MSI vectors",
        on: On::Some(&["xhci"], hardware::several_messages),
    },
    Check {
        name: "replies",
        on: On::Each(replies::replies),
    },
    Check {
        name: "replies of iommufd",
        on: On::Each(replies::compatible),
    },
    Check {
        name: "driver edu",
        on: On::Modes(&["edu"], driver::edu),
    },
    Check {
        name: "driver nvme",
        on: On::Modes(NVME_GUARDED, nvme::driver),
    },
    Check {
        name: "driver virtio-net",
        on: On::Modes(&["virtio-net"], virtio::net),
    },
    Check {
        name: "driver virtio-blk",
        on: On::Modes(&["virtio-blk"], virtio::blk),
    },
    Check {
        name: "nvme, read and written by the kernel's driver",
        on: On::Some(NVME_GUARDED, nvme::with_the_kernels),
    },
    Check {
        name: "vfio nvme write, over what is there",
        on: On::Some(SHARED, command::nvme_lost),
    },
    Check {
        name: "in use, open exclusively",
        on: On::Some(NVME, used::open),
    },
    Check {
        name: "in use, mounted",
        // The smallest file system has blocks of 1024 bytes.
        on: On::Some(&["nvme"], used::mounted),
    },
    Check {
        name: "in use, a partition of a disk with several paths",
        on: On::Some(SHARED, used::partition),
    },
    Check {
        name: "edu through its pin",
        on: On::Modes(&["edu"], driver::edu_through_its_pin),
    },
    Check {
        name: "initialise",
        on: On::Modes(NAMED, setup::initialise),
    },
    Check {
        name: "iova ranges",
        on: On::Modes(NAMED, setup::iova_ranges),
    },
    Check {
        name: "iova allocator",
        on: On::Modes(NAMED, setup::iova_allocator),
    },
    Check {
        name: "bind",
        on: On::Some(NAMED, cdev::bind),
    },
    Check {
        name: "info without bind",
        on: On::Some(NAMED, cdev::info_without_bind),
    },
    Check {
        name: "bind to no iommufd",
        on: On::Some(NAMED, cdev::bind_to_no_iommufd),
    },
    Check {
        name: "bind twice",
        on: On::Some(NAMED, cdev::bind_twice),
    },
    Check {
        name: "attach and detach",
        on: On::Some(NAMED, cdev::attach_and_detach),
    },
    Check {
        name: "attach to nothing",
        on: On::Some(NAMED, cdev::attach_to_nothing),
    },
    Check {
        name: "config space",
        on: On::Modes(NAMED, pci::config_space),
    },
    Check {
        name: "bars",
        on: On::Modes(NAMED, pci::bars),
    },
    Check {
        name: "reset",
        on: On::Modes(NAMED, pci::reset),
    },
    Check {
        name: "trigger msi",
        on: On::Modes(NAMED, pci::trigger_msi),
    },
    Check {
        name: "trigger msi-x",
        on: On::Modes(NAMED, pci::trigger_msix),
    },
    Check {
        name: "page table",
        on: On::Modes(NAMED, dma::page_table),
    },
    Check {
        name: "dma of 4 KiB",
        on: On::Modes(NAMED, dma::small),
    },
    Check {
        name: "dma of 2 MiB",
        on: On::Modes(NAMED, dma::huge),
    },
    Check {
        name: "dma of 1 GiB",
        on: On::Modes(NAMED, dma::gigantic),
    },
    Check {
        name: "unmap the last page",
        on: On::Modes(NAMED, dma::unmap_range),
    },
    Check {
        name: "unmap all",
        on: On::Modes(NAMED, dma::unmap_all),
    },
    Check {
        name: "map past the end",
        on: On::Modes(NAMED, dma::overflow),
    },
    Check {
        name: "dma of a bar",
        on: On::Modes(NAMED, mmio::whole_bar),
    },
    Check {
        name: "dma of a bar's page",
        on: On::Modes(NAMED, mmio::first_page),
    },
    Check {
        name: "dma of a misaligned bar",
        on: On::Modes(NAMED, mmio::misaligned),
    },
    Check {
        name: "virtual function",
        on: On::Some(SRIOV, sriov::make),
    },
    Check {
        name: "token of a virtual function",
        on: On::Modes(SRIOV, sriov::init_token_match),
    },
    Check {
        name: "token of a closed function",
        on: On::Modes(SRIOV, sriov::early_close),
    },
    Check {
        name: "token set anew",
        on: On::Modes(SRIOV, sriov::override_token),
    },
    Check {
        name: "token in use",
        on: On::Modes(SRIOV, sriov::token_in_use),
    },
    Check {
        name: "virtual function, taken away",
        on: On::Some(SRIOV, sriov::take_away),
    },
    Check {
        name: "in use, a virtual function",
        on: On::Some(SRIOV, sriov::taken_with_it),
    },
    Check {
        name: "driver igb removed and initialised",
        on: On::Modes(IGB, copying::init_remove),
    },
    Check {
        name: "driver igb copy",
        on: On::Modes(IGB, copying::copy),
    },
    Check {
        name: "driver igb copy from nowhere",
        on: On::Modes(IGB, copying::copy_from_nowhere),
    },
    Check {
        name: "driver igb copy to nowhere",
        on: On::Modes(IGB, copying::copy_to_nowhere),
    },
    Check {
        name: "driver igb lost frame",
        on: On::Modes(IGB, copying::lost_frame),
    },
    Check {
        name: "driver igb interrupt",
        on: On::Modes(IGB, copying::interrupt),
    },
    Check {
        name: "driver igb all in turn",
        on: On::Modes(IGB, copying::mixed),
    },
    Check {
        name: "driver igb storm of copies",
        on: On::Modes(IGB, copying::storm),
    },
    Check {
        name: "devices at once",
        on: On::GuestModes(init::at_once),
    },
    Check {
        name: "vfio run edu",
        on: On::Guest(command::run_edu),
    },
    Check {
        name: "each call fails",
        on: On::Modes(&["edu"], failures::each_call),
    },
    Check {
        name: "many rounds",
        on: On::Modes(&["edu"], rounds::thousand),
    },
    Check {
        name: "two threads, four devices",
        on: On::GuestModes(rounds::at_once),
    },
    Check {
        name: "memory not decoded, trapped",
        on: On::Modes(&["edu"], decoding::trapped),
    },
    Check {
        name: "memory not decoded, mapped",
        on: On::Modes(&["edu"], decoding::mapped),
    },
    Check {
        name: "low power, mapped",
        on: On::Modes(&["edu"], decoding::mapped_in_low_power),
    },
    Check {
        name: "low power, registers",
        on: On::Modes(&["edu", "nvme"], low_power::registers),
    },
    Check {
        name: "killed while DMA runs",
        on: On::Modes(&["edu"], dying::killed),
    },
    Check {
        name: "features",
        on: On::EachPci(feature::probe),
    },
    Check {
        name: "features of a sample",
        on: On::Guest(feature::probe_sample),
    },
    Check {
        name: "low power",
        on: On::EachPci(low_power::config),
    },
    Check {
        name: "hot reset by groups",
        on: On::EachPci(reset::by_group),
    },
    Check {
        name: "hot reset by iommufd",
        on: On::EachPci(reset::by_iommufd),
    },
    Check {
        name: "hot reset of another's",
        on: On::Guest(reset::of_another),
    },
    Check {
        name: "ioeventfd",
        on: On::Guest(reset::ioeventfd),
    },
    Check {
        name: "migration, stop and copy",
        on: On::Guest(migration::stop_copy),
    },
    Check {
        name: "migration, pre-copy",
        on: On::Guest(migration::pre_copy),
    },
    Check {
        name: "migration, refused",
        on: On::Guest(migration::refused),
    },
    Check {
        name: "migration, missing",
        on: On::EachPci(migration::missing),
    },
    Check {
        name: "display, plane",
        on: On::Guest(display::plane),
    },
    Check {
        name: "display, EDID",
        on: On::Guest(display::edid),
    },
    Check {
        name: "display, missing",
        on: On::EachPci(display::missing),
    },
    Check {
        name: "dirty pages of a container",
        on: On::Guest(dirty::container),
    },
    Check {
        name: "dirty pages of a device",
        on: On::EachPci(dirty::device),
    },
    Check {
        name: "dirty pages, logged",
        on: On::Guest(dirty::logged),
    },
    Check {
        name: "BAR as a dma-buf",
        on: On::Guest(dma_buf::export),
    },
    Check {
        name: "vfio --version",
        on: On::Guest(command::version),
    },
    Check {
        name: "vfio list",
        on: On::EachPci(command::list),
    },
    Check {
        name: "vfio inspect, any",
        on: On::Guest(command::inspect_any),
    },
    Check {
        name: "vfio inspect",
        on: On::EachPci(command::inspect),
    },
    Check {
        name: "vfio decode",
        on: On::EachPci(command::decode),
    },
    Check {
        name: "vfio read, write, dump, watch",
        on: On::EachPci(registers::access),
    },
    Check {
        name: "vfio map",
        on: On::EachPci(registers::map),
    },
    Check {
        name: "vfio nvme",
        on: On::Some(NVME_GUARDED, command::nvme),
    },
    Check {
        name: "vfio reset",
        on: On::EachPci(registers::reset),
    },
    Check {
        name: "vfio unbind, bind",
        on: On::EachPci(registers::bind),
    },
    // The device is gone afterwards.
    Check {
        name: "unplugged",
        on: On::Guest(unplug::requested),
    },
];

/// What is done before the power goes. Whether it is still there after it, the host sees.
const POWER_CUT_CHECKS: &[Check] = &[Check {
    name: "nvme, written and flushed before the power goes",
    on: On::Some(NVME, nvme::until_power_goes),
}];

/// Every check of a machine without an IOMMU.
const NOIOMMU_CHECKS: &[Check] = &[
    Check {
        name: "nothing is mapped",
        on: On::Some(&["edu"], noiommu::nothing_is_mapped),
    },
    Check {
        name: "no word, no device",
        on: On::Some(&["edu"], noiommu::unacknowledged),
    },
    Check {
        name: "physical memory",
        on: On::Some(&["edu"], noiommu::memory),
    },
    Check {
        name: "driver edu, noiommu",
        on: On::Some(&["edu"], driver::edu_without_iommu),
    },
    Check {
        name: "driver virtio-net, noiommu",
        on: On::Some(&["virtio-net"], virtio::net_without_iommu),
    },
    Check {
        name: "driver virtio-blk, noiommu",
        on: On::Some(&["virtio-blk"], virtio::blk_without_iommu),
    },
    Check {
        name: "driver nvme, noiommu",
        on: On::Some(NVME, nvme::without_iommu),
    },
    Check {
        name: "several MSI vectors",
        on: On::Some(&["xhci"], hardware::several_messages),
    },
    Check {
        name: "vfio run edu",
        on: On::Guest(command::run_edu_without_iommu),
    },
    Check {
        name: "vfio list",
        on: On::EachPci(command::list),
    },
    Check {
        name: "vfio inspect",
        on: On::EachPci(noiommu::inspect),
    },
];

/// A named check.
pub(crate) struct Check {
    /// The name in reports.
    name: &'static str,
    on: On,
}

/// What a check runs on, and its function.
enum On {
    /// The guest as a whole, once.
    Guest(fn(&World) -> Result<String>),
    /// Each device.
    Each(fn(&World, &Device) -> Result<String>),
    /// Each PCI device.
    EachPci(fn(&World, &Device) -> Result<String>),
    /// The devices of these names.
    Some(
        &'static [&'static str],
        fn(&World, &Device) -> Result<String>,
    ),
    /// The devices of these names, in each mode.
    Modes(
        &'static [&'static str],
        fn(&World, &Device, Mode) -> Result<String>,
    ),
    /// The guest as a whole, in each mode.
    GuestModes(fn(&World, Mode) -> Result<String>),
}

/// A check where it runs.
struct Run<'a> {
    check: &'a Check,
    device: Option<&'a Device>,
    mode: Option<Mode>,
}

impl Check {
    /// Tells whether the check runs on this device.
    fn wants(&self, device: &Device) -> bool {
        match self.on {
            On::Guest(_) | On::GuestModes(_) => false,
            On::Each(_) => true,
            On::EachPci(_) => matches!(device.kind, Kind::Pci { .. }),
            On::Some(names, _) | On::Modes(names, _) => names.contains(&device.name.as_str()),
        }
    }

    /// Returns where the check runs, in order.
    fn runs<'a>(&'a self, devices: &[&'a Device]) -> Vec<Run<'a>> {
        let modes = match self.on {
            On::Modes(..) | On::GuestModes(_) => MODES.map(Some).to_vec(),
            _ => vec![None],
        };
        let devices: Vec<_> = match self.on {
            On::Guest(_) | On::GuestModes(_) => vec![None],
            _ => {
                let wanted = devices.iter().filter(|device| self.wants(device));
                wanted.map(|device| Some(*device)).collect()
            }
        };
        let on_devices = |mode| {
            devices.iter().map(move |&device| Run {
                check: self,
                device,
                mode,
            })
        };
        modes.into_iter().flat_map(on_devices).collect()
    }
}

impl Run<'_> {
    fn case(&self) -> Case {
        Case {
            check: match self.mode {
                Some(mode) => format!("{}, {mode}", self.check.name),
                None => self.check.name.into(),
            },
            device: self.device.map(|device| device.name.clone()),
        }
    }

    /// Runs the check. A device that could not be prepared fails with the reason.
    fn verdict(&self, world: &World) -> Result<String> {
        if let Some(device) = self.device {
            world.ready(device)?;
        }
        caught(|| match (&self.check.on, self.device, self.mode) {
            (On::Guest(run), ..) => run(world),
            (On::GuestModes(run), _, Some(mode)) => held::unchanged(|| run(world, mode)),
            (On::Each(run) | On::EachPci(run), Some(device), _) => run(world, device),
            (On::Some(_, run), Some(device), _) => held::unchanged(|| run(world, device)),
            (On::Modes(_, run), Some(device), Some(mode)) => {
                held::unchanged(|| run(world, device, mode))
            }
            _ => Err(anyhow!("the check has no device or no mode")),
        })
    }
}

/// Returns the checks that a plan asks for.
pub(crate) fn of(plan: &Plan) -> &'static [Check] {
    if plan.power_cut {
        return POWER_CUT_CHECKS;
    }
    if plan.counted {
        return bench::COUNTED_CHECKS;
    }
    match (plan.bench, plan.noiommu) {
        (false, false) => CHECKS,
        (false, true) => NOIOMMU_CHECKS,
        (true, false) => bench::CHECKS,
        (true, true) => bench::NOIOMMU_CHECKS,
    }
}

/// Returns the cases for a plan, in the order in which they run.
pub(crate) fn cases(plan: &Plan) -> Vec<Case> {
    let devices: Vec<_> = plan.devices.iter().collect();
    let runs = of(plan).iter().flat_map(|check| check.runs(&devices));
    runs.map(|run| run.case()).collect()
}

/// Runs every one of `checks`.
///
/// # Errors
///
/// The report cannot be written.
pub(crate) fn run(checks: &[Check], world: &World, report: &mut Report) -> Result<()> {
    let devices: Vec<_> = world.devices().collect();
    for run in checks.iter().flat_map(|check| check.runs(&devices)) {
        let start = Instant::now();
        let verdict = run.verdict(world);
        report.case(run.case(), &verdict, start.elapsed())?;
    }
    Ok(())
}

/// Runs a check. A panic is a failure like any other, and leaves the other checks alone.
fn caught(run: impl FnOnce() -> Result<String>) -> Result<String> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("with no message");
        Err(anyhow!("panicked: {message}"))
    })
}
