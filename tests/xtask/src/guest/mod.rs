//! Guests: a kernel, an initramfs and a machine with emulated PCI devices, booted to run checks against the kernel's VFIO.

mod archive;
mod boot;
mod fio;
pub(crate) mod initramfs;
pub(crate) mod kernel;
mod machine;
mod modules;
mod monitor;
mod package;
pub(crate) mod qemu;
mod results;
pub(crate) mod source;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use vfio_freestanding::checks;
use vfio_guest::{Case, Device, Outcome, Plan, Stretch};

use crate::paths;
use crate::steps::Steps;

use initramfs::Programs;
use kernel::Choice;
use qemu::Qemu;
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
    #[arg(long, value_name = "SECONDS", default_value_t = TIME_LIMIT)]
    time_limit: u64,
    /// How many seconds the driver of igb copies without a pause, in each mode.
    #[arg(long, value_name = "SECONDS", default_value_t = STORM)]
    storm: u64,
}

/// What [`Options::time_limit`] and [`Options::storm`] are where nothing is asked for.
const TIME_LIMIT: u64 = 1800;
const STORM: u64 = 2;

impl Default for Options {
    fn default() -> Self {
        Self {
            kernels: Choice::DEFAULT.into(),
            devices: Vec::new(),
            time_limit: TIME_LIMIT,
            storm: STORM,
        }
    }
}

/// Runs only the guest tests.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let mut steps = Steps::default();
    self::steps(options, &mut steps);
    Ok(steps.finish())
}

/// What guests are booted with.
pub(crate) struct Tools {
    programs: Programs,
    qemu: Qemu,
}

/// Runs the guest tests, with one step for each kernel and what runs on it.
pub(crate) fn steps(options: &Options, steps: &mut Steps) {
    if let Some(tools) = tools(steps) {
        let guests = guests(options, &tools, steps);
        steps.append_side_by_side(guests, Guest::boot);
    }
}

/// Obtains what guests are booted with, as a step; none where it fails.
pub(crate) fn tools(steps: &mut Steps) -> Option<Tools> {
    let mut tools = None;
    steps.run("guest programs", || {
        let qemu = Qemu::obtain()?;
        println!("{}", qemu.version());
        let programs = initramfs::build()?;
        tools = Some(Tools { programs, qemu });
        Ok(())
    });
    tools
}

/// A guest that is to be booted.
pub(crate) struct Guest<'a> {
    name: String,
    choice: &'a Choice,
    world: World,
    options: &'a Options,
    tools: &'a Tools,
}

impl Guest<'_> {
    /// Boots it, as a step.
    pub(crate) fn boot(self) -> Steps {
        let Tools { programs, qemu } = self.tools;
        let mut steps = Steps::default();
        let mut results = None;
        steps.run(&self.name, || {
            let (choice, world) = (self.choice, self.world);
            test(choice, world, self.options, programs, qemu, &mut results)
        });
        if let Some(results) = results {
            results.add_to(&mut steps.matrix, &self.name);
        }
        steps
    }
}

/// Returns the guests that are to be booted, and notes those that can't be.
pub(crate) fn guests<'a>(
    options: &'a Options,
    tools: &'a Tools,
    steps: &mut Steps,
) -> Vec<Guest<'a>> {
    let Tools { programs, qemu } = tools;
    let worlds = options.kernels.iter().flat_map(|choice| {
        let worlds = World::ALL.into_iter().map(move |world| (choice, world));
        worlds.filter(|(_, world)| world.is_wanted(options))
    });
    let mut guests = Vec::new();
    for (choice, world) in worlds {
        let name = format!("guest: {choice}{}", world.suffix());
        let Some(reason) = choice.missing().or_else(|| world.missing(choice)) else {
            guests.push(Guest {
                name,
                choice,
                world,
                options,
                tools,
            });
            continue;
        };
        println!("\n== {name}");
        match world.cases(programs, &world.plan(choice, qemu, options)) {
            Ok(cases) => {
                let results = Results::not_run(cases, reason);
                println!("{results}");
                results.add_to(&mut steps.matrix, &name);
            }
            Err(error) => eprintln!("error: {error:#}."),
        }
        steps.not_run(&name, reason);
    }
    // A kernel is fetched once, before guests that have it are side by side. What goes wrong is
    // told where it is booted.
    for choice in &options.kernels {
        let _ = choice.missing().is_none().then(|| kernel::obtain(choice));
    }
    guests
}

/// How long a guest may take in which something is measured, in seconds.
const BENCH_LIMIT: u64 = 1800;

/// What was measured in a guest, or why it was not.
pub(crate) struct Measured {
    /// The kernel, and whether the machine has an IOMMU.
    pub(crate) name: String,
    /// Each bench with how it ended, and its figures or the reason.
    pub(crate) cases: Vec<(Case, Outcome, String)>,
}

/// Boots guests in which something of `devices` is measured: with the kernel that `VFIO_GUEST_KERNEL` names, or with the
/// distribution's in the modes that it has; with an IOMMU and without.
///
/// # Errors
///
/// A guest can't be booted, or a bench fails in it.
pub(crate) fn measure(devices: &[&str]) -> Result<Vec<Measured>> {
    let choice = match Choice::Given.missing() {
        None => Choice::Given,
        Some(_) => Choice::Debian,
    };
    let options = Options {
        kernels: vec![choice.clone()],
        devices: devices.iter().map(|&name| name.to_owned()).collect(),
        time_limit: BENCH_LIMIT,
        ..Options::default()
    };
    let qemu = Qemu::obtain()?;
    let programs = initramfs::build_to_measure()?;
    let mut measured = Vec::new();
    for world in [World::Bench, World::NoIommuBench, World::Counted] {
        let cases = world.cases(&programs, &world.plan(&choice, &qemu, &options))?;
        if cases.is_empty() {
            continue;
        }
        let mut results = None;
        let results = match world.missing(&choice) {
            Some(reason) => Results::not_run(cases, reason),
            None => {
                test(&choice, world, &options, &programs, &qemu, &mut results)?;
                results.context("the guest reported nothing")?
            }
        };
        measured.push(Measured {
            name: format!("{choice}{}", world.suffix()),
            cases: results.cases().to_vec(),
        });
    }
    Ok(measured)
}

/// What runs in the guest.
#[derive(Clone, Copy, PartialEq, Eq)]
enum World {
    /// A program with std, which makes every check on every device.
    Std,
    /// A program without libc and std, which makes its own checks on one device.
    Freestanding,
    /// As [`World::Std`], on a machine without an IOMMU, with the checks and devices that are for it.
    NoIommu,
    /// As [`World::Std`], with a few writes, after which the power goes.
    PowerCut,
    /// As [`World::Std`], with figures in place of checks.
    Bench,
    /// As [`World::NoIommu`], with figures in place of checks.
    NoIommuBench,
    /// As [`World::Bench`], on a machine that counts instructions.
    Counted,
}

impl World {
    /// Where checks are made.
    const ALL: [Self; 4] = [Self::Std, Self::Freestanding, Self::NoIommu, Self::PowerCut];

    /// Returns the suffix of the names of steps and directories.
    fn suffix(self) -> &'static str {
        match self {
            Self::Std => "",
            Self::Freestanding => ", without libc",
            Self::NoIommu => ", without an IOMMU",
            Self::PowerCut => ", power cut",
            Self::Bench => ", bench",
            Self::NoIommuBench => ", bench, without an IOMMU",
            Self::Counted => ", bench, counted",
        }
    }

    /// Tells whether it has one of the devices that were asked for.
    fn is_wanted(self, options: &Options) -> bool {
        let has = |name: &String| match self {
            Self::Std => true,
            Self::Freestanding => name == checks::DEVICE,
            Self::NoIommu => machine::NOIOMMU_DEVICES.contains(&name.as_str()),
            Self::PowerCut => machine::disk(name).is_some(),
            Self::Bench | Self::NoIommuBench | Self::Counted => false,
        };
        options.devices.is_empty() || options.devices.iter().any(has)
    }

    const fn is_noiommu(self) -> bool {
        matches!(self, Self::NoIommu | Self::NoIommuBench)
    }

    /// Returns why this kernel can't have it. `None` where it can.
    fn missing(self, choice: &Choice) -> Option<&'static str> {
        (self.is_noiommu() && !choice.is_built_for_tests())
            .then_some("Debian builds its kernels without CONFIG_VFIO_NOIOMMU")
    }

    /// Returns the plan of its guest. Modules are still to be added.
    fn plan(self, choice: &Choice, qemu: &Qemu, options: &Options) -> Plan {
        let mut plan = machine::plan(choice, qemu, &options.devices);
        plan.counted = self == Self::Counted;
        plan.bench = plan.counted || matches!(self, Self::Bench | Self::NoIommuBench);
        plan.storm = options.storm;
        if self == Self::PowerCut {
            plan.power_cut = true;
            plan.devices
                .retain(|device| machine::disk(&device.name).is_some());
        }
        if self.is_noiommu() {
            plan.noiommu = true;
            let is_kept =
                |device: &Device| machine::NOIOMMU_DEVICES.contains(&device.name.as_str());
            plan.devices.retain(is_kept);
        }
        plan
    }

    /// Returns the cases that the guest must report.
    fn cases(self, programs: &Programs, plan: &Plan) -> Result<Vec<Case>> {
        if self != Self::Freestanding {
            return programs.cases(plan);
        }
        Ok(checks::Check::ALL
            .into_iter()
            .map(|check| Case {
                check: check.name().into(),
                device: Some(checks::DEVICE.into()),
            })
            .collect())
    }
}

/// Boots one kernel and checks what its guest reports, which is kept in `reported`.
fn test(
    choice: &Choice,
    world: World,
    options: &Options,
    programs: &Programs,
    qemu: &Qemu,
    reported: &mut Option<Results>,
) -> Result<()> {
    let kernel = kernel::obtain(choice)?;
    let name = format!("{}{}", kernel.name, world.suffix());
    // QEMU's options take no comma.
    let directory = paths::guest()
        .join("run")
        .join(name.replace(", ", "-").replace(' ', "-"));
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;

    let modules = modules::needed(&kernel)?;
    let mut plan = world.plan(choice, qemu, options);
    plan.modules = modules
        .iter()
        .map(|module| module.path_in_guest())
        .collect();
    let expected = world.cases(programs, &plan)?;

    // What stands where the guest is not even booted.
    *reported = Some(Results::read(expected.clone(), ""));

    let initrd = directory.join("initramfs");
    let root = match world {
        World::Freestanding => programs.freestanding_root(&plan)?,
        _ => programs.root(&plan)?,
    };
    initramfs::write(&initrd, &root, &modules)?;
    let boot = boot::boot(
        &kernel,
        qemu,
        &plan,
        &initrd,
        &directory,
        Duration::from_secs(options.time_limit),
    )?;
    let results = reported.insert(Results::read(expected, &boot.results));
    println!("{results}");
    println!(
        "{name} in {:.1} s; {}",
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
    results.verdict()?;
    if plan.power_cut {
        for device in &plan.devices {
            if let (None, Some(disk)) = (&device.missing, machine::disk(&device.name)) {
                survived(&directory.join(disk)).with_context(|| device.name.clone())?;
                println!("{}: everything that was flushed is on {disk}", device.name);
            }
        }
    }
    Ok(())
}

/// Tells whether a disk has what was written to it and flushed before the power went.
fn survived(disk: &Path) -> Result<()> {
    let seen = fs::read(disk).with_context(|| format!("cannot read {}", disk.display()))?;
    let mut expected = vec![0; seen.len()];
    for stretch in Stretch::of_disk(seen.len() as u64) {
        let (at, bytes) = (stretch.at as usize, stretch.bytes());
        expected[at..at + bytes.len()].copy_from_slice(&bytes);
    }
    let differs = seen
        .iter()
        .zip(&expected)
        .position(|(one, other)| one != other);
    ensure!(
        differs.is_none(),
        "byte {:#x} is not what was written",
        differs.unwrap_or_default()
    );
    Ok(())
}
