//! The life of the guest, from the first mount to power-off.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, reboot};
use vfio_guest::{PLAN, Plan, RESULTS};

use crate::report::{NotRun, Report};
use crate::world::World;
use crate::{bind, checks, mdev, modules};

/// The file systems that a test needs: source and type, mount point.
const MOUNTS: [(&str, &str); 5] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("tmpfs", "/run"),
    ("debugfs", "/sys/kernel/debug"),
];

/// Runs the plan and powers off; nothing that goes wrong in between returns, since an init that ends is a kernel panic.
pub(crate) fn run() -> ! {
    if let Err(error) = mount_all().and_then(|()| test()) {
        eprintln!("vfio-guest: {error:#}");
    }
    power_off()
}

fn mount_all() -> Result<()> {
    for (kind, target) in MOUNTS {
        // A kernel without debugfs still has everything that VFIO needs.
        if target == "/sys/kernel/debug" && !Path::new(target).exists() {
            continue;
        }
        fs::create_dir_all(target).with_context(|| format!("cannot create {target}"))?;
        mount(kind, target, kind, MountFlags::empty(), None)
            .with_context(|| format!("cannot mount {kind} on {target}"))?;
    }
    Ok(())
}

/// Prepares the devices and runs every check. What could not be prepared shows as failed checks with the reason.
fn test() -> Result<()> {
    let plan = fs::read(PLAN).with_context(|| format!("cannot read {PLAN}"))?;
    let plan: Plan =
        serde_json::from_slice(&plan).with_context(|| format!("cannot parse {PLAN}"))?;
    let results = fs::OpenOptions::new()
        .write(true)
        .open(RESULTS)
        .with_context(|| format!("cannot open {RESULTS}"))?;
    let mut report = Report::new(results);

    modules::load(&plan.modules)?;
    if plan.noiommu {
        let parameter = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode";
        fs::write(parameter, "Y").with_context(|| format!("cannot write {parameter}"))?;
    }
    let checks = checks::of(&plan);
    let devices = plan
        .devices
        .into_iter()
        .map(|device| {
            let ready = match &device.missing {
                Some(reason) => Err(NotRun(reason.clone()).into()),
                None => bind::bind(&device).and_then(|()| mdev::create(&device)),
            };
            (device, ready)
        })
        .collect();
    checks::run(checks, &World::new(devices, plan.storm), &mut report)?;
    report.finish()?;
    if plan.power_cut {
        // The host takes the power away.
        loop {
            std::thread::park();
        }
    }
    Ok(())
}

/// Ends the guest, and with it the machine.
fn power_off() -> ! {
    rustix::fs::sync();
    // A kernel that cannot power off halts instead, for ever; a restart ends a QEMU that runs with -no-reboot.
    let command = if Path::new("/sys/firmware/acpi/tables").exists() {
        RebootCommand::PowerOff
    } else {
        RebootCommand::Restart
    };
    let _ = reboot(command);
    let _ = reboot(RebootCommand::Restart);
    loop {
        std::thread::park();
    }
}
