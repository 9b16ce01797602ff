//! Guests: a kernel, an initramfs and a machine with emulated PCI devices, booted to run checks against the kernel's VFIO.

mod boot;
mod initramfs;
mod kernel;
mod machine;
mod modules;
mod package;
mod results;

use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::paths;
use crate::steps::Steps;
use crate::tools::require;

use initramfs::Programs;
use kernel::Choice;
use results::Results;

/// What to boot and what to test there.
#[derive(Args)]
pub(crate) struct Options {
    /// A kernel: `debian`, `debian-backports`, `given` (which VFIO_GUEST_KERNEL names) or the path of a kernel that needs no modules.
    #[arg(long = "kernel", value_name = "NAME|PATH", default_values_t = Choice::DEFAULT)]
    kernels: Vec<Choice>,
    /// A device to test, by its name in the table of results; all when none is given.
    #[arg(long = "device", value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(machine::names()))]
    devices: Vec<String>,
    /// After how many seconds a boot counts as hung.
    #[arg(long, value_name = "SECONDS", default_value_t = 240)]
    time_limit: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kernels: Choice::DEFAULT.into(),
            devices: Vec::new(),
            time_limit: 240,
        }
    }
}

/// Runs only the guest tests.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let mut steps = Steps::default();
    self::steps(options, &mut steps);
    Ok(steps.finish())
}

/// Runs the guest tests, with one step for each kernel.
pub(crate) fn steps(options: &Options, steps: &mut Steps) {
    let mut programs = None;
    steps.run("guest programs", || {
        programs = Some(initramfs::build()?);
        require("qemu-system-x86_64", "qemu-system-x86")
    });
    let Some(programs) = programs else { return };
    for choice in &options.kernels {
        let name = format!("guest: {choice}");
        let reason = match choice.missing() {
            None => {
                steps.run(&name, || test(choice, options, &programs));
                continue;
            }
            Some(reason) => reason,
        };
        println!("\n== {name}");
        match programs.cases(&machine::plan(choice, &options.devices)) {
            Ok(cases) => println!("{}", Results::not_run(cases, reason)),
            Err(error) => eprintln!("error: {error:#}."),
        }
        steps.not_run(&name, reason);
    }
}

/// Boots one kernel and checks what its guest reports.
fn test(choice: &Choice, options: &Options, programs: &Programs) -> Result<()> {
    let kernel = kernel::obtain(choice)?;
    let directory = paths::guest().join("run").join(&kernel.name);
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;

    let modules = modules::needed(&kernel)?;
    let mut plan = machine::plan(choice, &options.devices);
    plan.modules = modules
        .iter()
        .map(|module| module.path_in_guest())
        .collect();
    let expected = programs.cases(&plan)?;

    let initrd = directory.join("initramfs");
    initramfs::write(&initrd, programs, &modules, &plan)?;
    let boot = boot::boot(
        &kernel,
        &initrd,
        &directory,
        Duration::from_secs(options.time_limit),
    )?;
    let results = Results::read(expected, &boot.results);
    println!("{results}");
    println!(
        "{} in {:.1} s; {}",
        kernel.name,
        boot.time.as_secs_f64(),
        directory.display()
    );
    if results.is_cut_short() || boot.hung {
        println!("{}", boot.last_words());
    }
    ensure!(
        !boot.hung,
        "the guest did not end within {} s; see its console above",
        options.time_limit
    );
    results.verdict()
}
