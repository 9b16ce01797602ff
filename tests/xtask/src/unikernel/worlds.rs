//! The worlds that the images are tested in.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::image::{self, Image};
use super::machine::{End, Machine, Model, Running};
use super::passthrough::Passed;
use super::{disk, instruction, net, passthrough, x2apic};
use crate::guest::kernel::{self, Choice};
use crate::guest::qemu::Qemu;
use crate::steps::Steps;
use crate::tools::{cargo, run};

/// How long an image may take, on a busy machine.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// How large an image may be, stripped, in bytes.
pub(crate) const SIZES: [(&str, u64); 5] = [
    ("edu", 40 << 10),
    ("inspect", 40 << 10),
    ("nvme", 64 << 10),
    ("nvme-integrity", 64 << 10),
    ("net", 124 << 10),
];

/// The images that are a reference driver, and called like it.
const DRIVERS: [&str; 2] = ["edu", "nvme"];

/// Runs the images in every world.
pub(crate) fn steps(steps: &mut Steps) {
    steps.run("unikernel: lints", || {
        run(image::command("clippy").args(["--bins", "--examples", "--", "-D", "warnings"]))
    });
    steps.run("unikernel: images without core::fmt", || {
        for (name, most) in SIZES {
            let image = Image::build(name)?;
            image.formats_nothing()?;
            let size = image.size()?;
            // Whether that is little enough is for the benches to say.
            println!("{name}: {size} bytes; the target is {most}");
        }
        Ok(())
    });
    steps.run("unikernel: a register access is one instruction", || {
        instruction::check(&Image::build("first-read")?)
    });
    for world in good() {
        steps.run(&format!("unikernel: {}", world.name), || world.run());
        if let (true, Some(place)) = (
            DRIVERS.contains(&world.image),
            world.name.strip_prefix(world.image),
        ) {
            steps.drove(world.image, &format!("unikernel{place}"));
        }
    }
    with_x2apic(steps);
    for drive in DRIVES {
        steps.run(&format!("unikernel: nvme {}", drive.name), || drive.run());
        steps.drove("nvme", &format!("unikernel {}", drive.name));
    }
    net::steps(steps);
    steps.run("unikernel: a unikernel of one's own", own);
    steps.run("unikernel: an executor that awaits interrupts", executor);
    steps.run("unikernel: turned off by ACPI", turned_off);
    steps.run(
        "unikernel: a clock of a processor that is held back",
        held_back,
    );
    for world in bad() {
        steps.run(&format!("unikernel: {}", world.name), || world.fails());
    }
    let choice = Choice::Given;
    for (name, driver, images) in [
        ("unikernel: passed through by VFIO", "edu", PASSED),
        (
            "unikernel: nvme passed through by VFIO",
            "nvme",
            PASSED_NVME,
        ),
    ] {
        match choice.missing() {
            Some(reason) => steps.not_run(name, reason),
            None => steps.run(name, || passed_through(&choice, images)),
        }
        steps.drove(driver, "unikernel: passed through by VFIO");
    }
}

/// Runs the image `edu` on machines whose processor has an x2APIC.
fn with_x2apic(steps: &mut Steps) {
    let qemu = x2apic::emulator();
    for (model, place) in [(Model::Q35, "q35"), (Model::Microvm, "microvm")] {
        let name = format!("unikernel: edu on {place}, x2APIC");
        match &qemu {
            Ok(qemu) => steps.run(&name, || x2apic::drives_edu(qemu, model)),
            Err(reason) => steps.not_run(&name, &format!("{reason:#}")),
        }
        steps.drove("edu", &format!("unikernel on {place}, x2APIC"));
    }
}

/// An image on a machine.
struct World {
    name: &'static str,
    image: &'static str,
    machine: Machine,
    /// What the image must say.
    says: &'static [&'static str],
}

/// A machine with an NVMe controller, for the image of its driver.
struct Drive {
    name: &'static str,
    model: Model,
    /// Bytes of a block.
    block: usize,
    /// Bytes of its metadata, which QEMU keeps behind all blocks.
    metadata: usize,
    devices: &'static [&'static str],
}

/// The controllers that are driven.
const DRIVES: [Drive; 6] = [
    Drive {
        name: "on q35",
        model: Model::Q35,
        block: 512,
        metadata: 0,
        devices: &["nvme,serial=unikernel,drive=disk"],
    },
    Drive {
        name: "on microvm, behind a root port",
        model: Model::Microvm,
        block: 512,
        metadata: 0,
        devices: &[PORT, "nvme,serial=unikernel,drive=disk,bus=port1"],
    },
    Drive {
        name: "on microvm, with blocks of 4 KiB",
        model: Model::Microvm,
        block: 4096,
        metadata: 0,
        devices: &[
            "nvme,serial=unikernel,drive=disk,logical_block_size=4096,physical_block_size=4096",
        ],
    },
    Drive {
        name: "on q35, with a guard of 64 bits behind blocks",
        model: Model::Q35,
        block: 4096,
        metadata: 16,
        devices: &[
            BARE,
            "nvme-ns,drive=disk,bus=bare,logical_block_size=4096,physical_block_size=4096,\
             ms=16,mset=1,pi=1,pif=2",
        ],
    },
    Drive {
        name: "on q35, with a guard of 64 bits apart",
        model: Model::Q35,
        block: 4096,
        metadata: 16,
        devices: &[
            BARE,
            "nvme-ns,drive=disk,bus=bare,logical_block_size=4096,physical_block_size=4096,\
             ms=16,mset=0,pi=1,pif=2",
        ],
    },
    Drive {
        name: "on q35, with a guard of 16 bits and other metadata behind blocks",
        model: Model::Q35,
        block: 512,
        metadata: 64,
        devices: &[BARE, "nvme-ns,drive=disk,bus=bare,ms=64,mset=1,pi=2,pif=0"],
    },
];

/// A controller whose namespaces are devices of their own.
const BARE: &str = "nvme,serial=unikernel,id=bare";

impl Drive {
    /// Boots the images; they must succeed, and what was written must be on the disk.
    fn run(&self) -> Result<()> {
        let qemu = Qemu::installed()?;
        let path = disk::make("disk")?;
        let machine = Machine {
            options: disk::drive(&path),
            command_line: WRITE.into(),
            ..Machine::new(self.model, self.devices)
        };
        let boot = machine.boot(&qemu, &Image::build("nvme-integrity")?, LIMIT)?;
        boot.succeeded()?;
        INTEGRITY.iter().try_for_each(|text| boot.says(text))?;
        disk::has_what_was_written(&path, self.block, self.metadata, &boot)?;
        let boot = machine.boot(&qemu, &Image::build("nvme")?, LIMIT)?;
        boot.succeeded()?;
        boot.says(READS)
    }
}

/// What the image `nvme-integrity` is told, so that it may write.
const WRITE: &str = "write";

/// What it must say then.
const INTEGRITY: [&str; 3] = [
    "integrity, polled: passed",
    "integrity, by MSI-X: passed",
    "integrity, after a restart: passed",
];

/// What the image `nvme` must say.
const READS: &str = "random reads at depth 32";

/// The images that are passed a device, with that and what they are told.
type Images = &'static [(&'static str, &'static passthrough::Device, &'static str)];
const PASSED: Images = &[
    ("edu", &passthrough::EDU, ""),
    ("inspect", &passthrough::EDU, ""),
];
const PASSED_NVME: Images = &[
    ("nvme-integrity", &passthrough::NVME, WRITE),
    ("nvme", &passthrough::NVME, ""),
];

/// A root port, and what is behind it.
const PORT: &str = "pcie-root-port,id=port1,chassis=1";

/// A second root with a root port, and what is behind it; conventional PCI has no root ports.
const ROOT: &[&str] = &[
    "pxb-pcie,id=root2,bus_nr=0x80",
    "pcie-root-port,id=port2,bus=root2,chassis=2",
    "edu,bus=port2",
];
const ROOT_PC: &[&str] = &["pxb,id=root2,bus_nr=0x80", "edu,bus=root2,addr=1"];

/// Returns a machine with a device, whose image is told what to try.
fn trial(word: &str, model: Model, device: &str) -> Machine {
    Machine {
        command_line: format!("trial={word}"),
        ..Machine::new(model, &[device])
    }
}

/// Returns a machine with memory behind a BAR of `size`, which does not fit below 4 GiB. QEMU's
/// usual processor has no pages of 1 GiB.
fn above_4_gib(model: Model, size: &str) -> Machine {
    let memory = format!("memory-backend-ram,id=shared,size={size},reserve=off");
    Machine {
        options: vec!["-object".into(), memory],
        command_line: "trial=high".into(),
        ..Machine::new(model, &["ivshmem-plain,memdev=shared"])
    }
}

/// Returns the worlds in which the images succeed.
fn good() -> Vec<World> {
    let edu = |name, model, devices: &[&str]| World {
        name,
        image: "edu",
        machine: Machine::new(model, devices),
        says: &["DmaInterrupt: passed"],
    };
    let inspect = |name, model, devices: &[&str], says| World {
        name,
        image: "inspect",
        machine: Machine::new(model, devices),
        says,
    };
    vec![
        edu("edu on q35", Model::Q35, &["edu"]),
        edu("edu on microvm", Model::Microvm, &["edu"]),
        edu("edu on pc", Model::Pc, &["edu"]),
        edu(
            "edu behind a root port",
            Model::Q35,
            &[PORT, "edu,bus=port1"],
        ),
        edu(
            "edu behind a root port on microvm",
            Model::Microvm,
            &[PORT, "edu,bus=port1"],
        ),
        edu(
            "edu on microvm without an interval timer",
            Model::MicrovmNoPit,
            &["edu"],
        ),
        edu("edu behind a second root", Model::Q35, ROOT),
        edu("edu behind a second root on pc", Model::Pc, ROOT_PC),
        edu("edu behind a second root on microvm", Model::Microvm, ROOT),
        World {
            name: "a BAR that the firmware did not place",
            image: "trials",
            machine: trial("unplaced", Model::Q35, "e1000e"),
            says: &["BAR 0: 0 bytes, BAR 1: 131072 bytes"],
        },
        World {
            name: "a BAR of 32 GiB without pages of 1 GiB",
            image: "trials",
            machine: above_4_gib(Model::Q35, "32G"),
            says: &["34359738368 bytes"],
        },
        inspect(
            "a BAR larger than the address space",
            Model::Microvm,
            &["pci-testdev,membar=1T"],
            &["NoRoom", "region 0: 0x1000 bytes"],
        ),
        World {
            name: "MSI-X on two vectors",
            image: "trials",
            machine: trial("msix", Model::Q35, "e1000e"),
            says: &["vector 1: 1"],
        },
        World {
            name: "an interrupt changes no register",
            image: "trials",
            machine: trial("registers", Model::Q35, "edu"),
            says: &["registers: 0x0"],
        },
        World {
            name: "a function level reset",
            image: "trials",
            machine: trial("reset", Model::Microvm, "nvme,serial=1"),
            says: &["configuration 0x0"],
        },
        World {
            name: "a BAR above 4 GiB on q35",
            image: "trials",
            machine: above_4_gib(Model::Q35, "4G"),
            says: &["times 4 GiB"],
        },
        World {
            name: "a BAR above 4 GiB on microvm",
            image: "trials",
            machine: above_4_gib(Model::Microvm, "4G"),
            says: &["times 4 GiB"],
        },
        inspect(
            "inspect on microvm, behind a root port",
            Model::Microvm,
            &[PORT, "nvme,serial=1,bus=port1", "pci-testdev,membar=8G"],
            &["0x200000000 bytes: mapped", "MSIX (Standard(0x11))"],
        ),
        inspect(
            "inspect on q35",
            Model::Q35,
            &["edu", "nvme,serial=1", "e1000e"],
            &["sparse mmap"],
        ),
    ]
}

/// Returns the worlds in which the images fail, each with an error frame that says why.
fn bad() -> Vec<World> {
    let trial = |name, word: &str, says| World {
        name,
        image: "trials",
        machine: trial(word, Model::Q35, "edu"),
        says,
    };
    vec![
        World {
            name: "no device",
            image: "edu",
            machine: Machine::new(Model::Q35, &[]),
            says: &["NoDevice"],
        },
        World {
            name: "a machine on which nothing tells the time",
            image: "edu",
            machine: Machine::new(Model::MicrovmNoTimer, &["edu"]),
            says: &["NoSource"],
        },
        World {
            name: "a BAR for which there are too few page tables",
            image: "trials",
            machine: Machine {
                command_line: "trial=too-large".into(),
                ..Machine::new(Model::Microvm, &["pci-testdev,membar=128G"])
            },
            says: &["NoTable { address: ", "Map(Errno(12))"],
        },
        World {
            name: "memory too small for the image",
            image: "edu",
            machine: Machine {
                memory: "2M".into(),
                ..Machine::new(Model::Microvm, &["edu"])
            },
            says: &["TooSmall"],
        },
        World {
            name: "a disk that keeps nothing",
            image: "nvme-integrity",
            machine: Machine {
                options: [
                    "-blockdev",
                    "null-co,node-name=disk,size=33554432,read-zeroes=on",
                ]
                .map(str::to_owned)
                .into(),
                command_line: WRITE.into(),
                ..Machine::new(Model::Q35, &["nvme,serial=unikernel,drive=disk"])
            },
            says: &["Lost"],
        },
        World {
            name: "blocks that nobody said may be written",
            image: "nvme-integrity",
            machine: Machine::new(Model::Q35, &["nvme,serial=unikernel"]),
            says: &["NotAsked"],
        },
        World {
            name: "a controller without a namespace",
            image: "nvme",
            machine: Machine::new(Model::Q35, &["nvme,serial=unikernel"]),
            says: &["NoNamespace"],
        },
        trial("more memory for DMA than there is", "arena", &["Errno(12)"]),
        trial("capabilities that lead to each other", "cycle", &["Loop"]),
        trial("a device that does not answer", "silent", &["NotEdu"]),
        trial(
            "an interrupt that never comes",
            "no-interrupt",
            &["NoInterrupt"],
        ),
        trial("an event that nobody signals", "no-event", &["NoInterrupt"]),
        trial(
            "a panic",
            "panic",
            &["panic at unikernel/src/bin/trials.rs"],
        ),
        trial(
            "a page fault",
            "page-fault",
            &["PageFault", "cr2 0x4000000000"],
        ),
        trial("a write to code", "write-code", &["error code 0x3"]),
        trial("execution of data", "execute-data", &["error code 0x11"]),
        trial(
            "a stack overflow",
            "stack-overflow",
            &["PageFault", "error code 0x2"],
        ),
        trial(
            "an invalid opcode",
            "invalid-opcode",
            &["exception 6 (InvalidOpcode)"],
        ),
        trial(
            "an exception within a frame",
            "fault-in-frame",
            &["PageFault"],
        ),
    ]
}

impl World {
    /// Boots the image; it must succeed, and say what it has to.
    fn run(&self) -> Result<()> {
        let qemu = Qemu::installed()?;
        let boot = self
            .machine
            .boot(&qemu, &Image::build(self.image)?, LIMIT)?;
        boot.succeeded()?;
        self.says.iter().try_for_each(|text| boot.says(text))
    }
}

impl World {
    /// Boots the image; it must fail, and say why in an error frame, within the time limit.
    fn fails(&self) -> Result<()> {
        let qemu = Qemu::installed()?;
        let boot = self
            .machine
            .boot(&qemu, &Image::build(self.image)?, LIMIT)?;
        self.says
            .iter()
            .try_for_each(|why| boot.failed_because(why))
    }
}

/// How far apart the speeds of one clock may be, in percent: that of the time stamp counter is the host's.
const SPEEDS_APART: u64 = 3;

/// Checks that a machine that is held back again and again finds the same speed of its clock as one that is not. It is held back
/// for longer than its interval timer takes to wrap around.
fn held_back() -> Result<()> {
    let qemu = Qemu::installed()?;
    let image = Image::build("trials")?;
    let speed = |is_held_back| {
        let machine = Machine {
            is_held_back,
            ..trial("clock", Model::Microvm, "edu")
        };
        let boot = machine.boot(&qemu, &image, LIMIT)?;
        boot.succeeded()?;
        let mut words = boot
            .lines
            .iter()
            .flat_map(|line| line.text.split_once(" MHz"));
        let (speed, _) = words.next().context("the image says no speed")?;
        Ok::<u64, anyhow::Error>(speed.parse()?)
    };
    let (free, held) = (speed(false)?, speed(true)?);
    ensure!(
        free.abs_diff(held) * 100 <= free * SPEEDS_APART,
        "{held} MHz where it is held back, {free} MHz where it is not"
    );
    Ok(())
}

/// Checks that without `isa-debug-exit` the machine is turned off by what ACPI says of it.
fn turned_off() -> Result<()> {
    let qemu = Qemu::installed()?;
    let image = Image::build("hello")?;
    for model in [Model::Q35, Model::Pc, Model::Microvm] {
        let machine = Machine {
            has_no_exit: true,
            ..Machine::new(model, &[])
        };
        let boot = machine.boot(&qemu, &image, LIMIT)?;
        boot.says("hello")?;
        ensure!(
            boot.end == End::Otherwise(Some(0)),
            "the image on {model:?} {}",
            boot.end
        );
    }
    Ok(())
}

/// How long the example may be, in lines.
const EXAMPLE_MOST: usize = 165;

/// Runs the example of a unikernel with a shim of its own: it logs nothing, and ends as the images do. Run on the host, it
/// says what it is.
fn own() -> Result<()> {
    let mut run = cargo();
    run.args([
        "run",
        "--quiet",
        "--example",
        "own-shim",
        "--features",
        "image",
    ]);
    let output = run.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        said.contains("this is an image"),
        "on the host it ends otherwise: {said}"
    );
    let qemu = Qemu::installed()?;
    let source = crate::paths::root().join("unikernel/examples/own-shim.rs");
    let lines = fs::read_to_string(&source)?.lines().count();
    ensure!(lines <= EXAMPLE_MOST, "it has {lines} lines");
    let image = Image::build_example("own-shim")?;
    for model in [Model::Q35, Model::Pc] {
        for (devices, end) in [([].as_slice(), End::Failure), (&["edu"], End::Success)] {
            let machine = Machine::new(model, devices);
            let mut running = Running(machine.command(&qemu, &image).spawn()?);
            let start = Instant::now();
            let status = loop {
                match running.0.try_wait()? {
                    Some(status) => break status,
                    None if start.elapsed() > LIMIT => bail!("it hung on {model:?}"),
                    None => thread::sleep(Duration::from_millis(20)),
                }
            };
            ensure!(End::of(status.code()) == end, "{status} on {model:?}");
        }
    }
    println!("{lines} lines, {} bytes", image.size()?);
    Ok(())
}

/// Runs the example of an executor, on each machine.
fn executor() -> Result<()> {
    let qemu = Qemu::installed()?;
    let image = Image::build_example("executor")?;
    for model in [Model::Q35, Model::Microvm] {
        let boot = Machine::new(model, &["edu"]).boot(&qemu, &image, LIMIT)?;
        boot.succeeded()?;
        boot.says("4 factorials")?;
    }
    Ok(())
}

/// Boots the images with a device that a Linux guest passes through.
fn passed_through(choice: &Choice, images: Images) -> Result<()> {
    let qemu = Qemu::installed()?;
    let kernel = kernel::obtain(choice)?;
    let build = |&(name, device, command_line): &(&str, _, _)| {
        Ok(Passed {
            image: Image::build(name)?,
            device,
            command_line,
        })
    };
    let images = images.iter().map(build).collect::<Result<Vec<_>>>()?;
    let disk = disk::make("passed-disk")?;
    let boots = passthrough::boot(&qemu, &kernel, &images, &disk, 4 * passthrough::LIMIT)?;
    for (passed, boot) in images.iter().zip(&boots) {
        println!("-- {}", passed.image.name);
        for line in &boot.lines {
            println!("{line}");
        }
        println!(
            "the image {} after {:.1} s",
            boot.end,
            boot.time.as_secs_f64()
        );
    }
    for (passed, boot) in images.iter().zip(&boots) {
        boot.succeeded()?;
        ensure!(
            boot.time < passthrough::LIMIT,
            "an image took {:.1} s",
            boot.time.as_secs_f64()
        );
        if passed.command_line == WRITE {
            INTEGRITY.iter().try_for_each(|text| boot.says(text))?;
            disk::has_what_was_written(&disk, 512, 0, boot)?;
        } else if passed.image.name == "nvme" {
            boot.says(READS)?;
        }
    }
    Ok(())
}
