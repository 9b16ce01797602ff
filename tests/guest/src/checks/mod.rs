//! The checks, and the table that says which there are.
//!
//! A check is a function that returns what it saw, or an error: [`NotRun`](crate::report::NotRun) where this kernel lacks what the
//! check is about, any other error where something does not hold. It is added by one row in [`CHECKS`].

mod command;
mod dirty;
mod display;
mod dma_buf;
mod driver;
mod feature;
mod hardware;
mod migration;
mod presence;
mod replies;
mod reset;

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Result, anyhow};
use vfio_guest::{Case, Device, Kind, Plan};

use crate::report::Report;
use crate::world::World;

/// Every check, in the order in which they run.
const CHECKS: [Check; 29] = [
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
        name: "replies",
        on: On::Each(replies::replies),
    },
    Check {
        name: "replies of iommufd",
        on: On::Each(replies::compatible),
    },
    Check {
        name: "driver edu",
        on: On::EachPci(driver::edu),
    },
    Check {
        name: "features",
        on: On::EachPci(feature::probe),
    },
    Check {
        name: "low power",
        on: On::EachPci(feature::low_power),
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
];

/// A named check.
struct Check {
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
}

impl Check {
    /// Whether the check runs on this device.
    fn wants(&self, device: &Device) -> bool {
        match self.on {
            On::Guest(_) => false,
            On::Each(_) => true,
            On::EachPci(_) => matches!(device.kind, Kind::Pci { .. }),
        }
    }

    fn case(&self, device: Option<&Device>) -> Case {
        Case {
            check: self.name.into(),
            device: device.map(|device| device.name.clone()),
        }
    }
}

/// The cases for a plan, in the order in which they run.
pub(crate) fn cases(plan: &Plan) -> Vec<Case> {
    let mut cases = Vec::new();
    for check in &CHECKS {
        if let On::Guest(_) = check.on {
            cases.push(check.case(None));
        }
        cases.extend(
            plan.devices
                .iter()
                .filter(|device| check.wants(device))
                .map(|device| check.case(Some(device))),
        );
    }
    cases
}

/// Runs every check. A device that could not be prepared fails each of its checks with the reason.
///
/// # Errors
///
/// The report cannot be written.
pub(crate) fn run(world: &World, report: &mut Report) -> Result<()> {
    for check in &CHECKS {
        match check.on {
            On::Guest(run) => report.case(check.case(None), &caught(|| run(world)))?,
            On::Each(run) | On::EachPci(run) => {
                for device in world.devices().filter(|device| check.wants(device)) {
                    let verdict = world
                        .ready(device)
                        .and_then(|()| caught(|| run(world, device)));
                    report.case(check.case(Some(device)), &verdict)?;
                }
            }
        }
    }
    Ok(())
}

/// What `run` returns; a panic is a failure like any other, and leaves the other checks alone.
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
