//! True passthrough: a Linux guest gives a device to vfio-pci and starts a second machine, which boots an image with that
//! device.
//!
//! The guest sees this system's files as they are, so that it has QEMU and the images without an archive of its own.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::disk::drive;
use super::image::Image;
use super::log::{Dictionary, Line};
use super::machine::{Boot, End, Machine, Model, Running};
use crate::guest::kernel::Kernel;
use crate::guest::qemu::Qemu;
use crate::paths;

/// An image, and what it gets.
pub(crate) struct Passed {
    /// The image.
    pub(crate) image: Image,
    /// Its device.
    pub(crate) device: &'static Device,
    /// What it is told.
    pub(crate) command_line: &'static str,
}

/// A device that is passed through.
pub(crate) struct Device {
    /// As QEMU's option of that name takes it.
    option: &'static str,
    /// Where the guest has it.
    address: &'static str,
}

/// The devices that the guest has.
pub(crate) const EDU: Device = Device {
    option: "edu,addr=05.0",
    address: "0000:00:05.0",
};
pub(crate) const NVME: Device = Device {
    option: "nvme,serial=passed,drive=disk,addr=06.0",
    address: "0000:00:06.0",
};

/// How long an image may take, from the start of the second machine to its end.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// What the guest's kernel is told: its root is this system's. A busy host starves the timer that Linux tries out at boot.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 no_timer_check intel_iommu=on iommu=nopt root=host rootfstype=9p \
                            rootflags=trans=virtio,version=9p2000.L,msize=524288,cache=loose ro init=";

/// What stands before and behind the report of an image.
const BEGIN: &str = "image ";
const END: &str = "end ";

/// Boots each of `images` on `qemu` in a machine within a guest of `kernel`, and returns how each ended. The guest is ended after
/// `limit`. The disk of its NVMe controller is `disk`.
///
/// # Errors
///
/// The guest can't be started, or does not report each image's end.
pub(crate) fn boot(
    qemu: &Qemu,
    kernel: &Kernel,
    images: &[Passed],
    disk: &Path,
    limit: Duration,
) -> Result<Vec<Boot>> {
    let directory = paths::target().join("unikernel/passthrough");
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let init = directory.join("init");
    fs::write(&init, script(qemu, images)?)
        .with_context(|| format!("cannot write {}", init.display()))?;
    let mut chmod = Command::new("chmod");
    crate::tools::run(chmod.arg("+x").arg(&init))?;
    // What an earlier boot left would pass for this one's.
    for name in ["console", "report"] {
        File::create(directory.join(name)).context("cannot create a port")?;
    }

    let mut guest = guest(qemu, kernel, &init, disk);
    guest.current_dir(&directory).stdin(Stdio::null());
    let start = Instant::now();
    let mut running = Running(guest.spawn().context("cannot start QEMU")?);
    while running.0.try_wait()?.is_none() {
        if start.elapsed() > limit {
            bail!(
                "the guest did not end within {} s; its console is {}",
                limit.as_secs(),
                directory.join("console").display()
            );
        }
        thread::sleep(Duration::from_millis(50));
    }
    drop(running);
    println!(
        "the guest ended after {:.1} s",
        start.elapsed().as_secs_f64()
    );
    let report = fs::read(directory.join("report")).context("cannot read the guest's report")?;
    let report = String::from_utf8_lossy(&report);
    let read = |passed: &Passed| read(&report, &passed.image);
    images.iter().map(read).collect()
}

/// Returns the command that starts the guest.
fn guest(qemu: &Qemu, kernel: &Kernel, init: &Path, disk: &Path) -> Command {
    let mut qemu = qemu.command();
    qemu.args(["-nodefaults", "-no-user-config", "-no-reboot"])
        .args(["-display", "none", "-nic", "none"])
        .args(["-machine", "q35,accel=tcg,kernel-irqchip=split"])
        .args(["-cpu", "max", "-m", "1G"])
        .args(["-device", "intel-iommu,intremap=on,caching-mode=on"])
        .args(drive(disk))
        .args(["-device", EDU.option, "-device", NVME.option])
        .args(["-serial", "file:console", "-serial", "file:report"])
        .args([
            "-virtfs",
            "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
        ])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-append")
        .arg(format!("{COMMAND_LINE}{}", init.display()));
    qemu
}

/// Writes what the guest does: it gives the devices to vfio-pci, boots each image, and reports its log as digits, which no
/// terminal changes.
fn script(qemu: &Qemu, images: &[Passed]) -> Result<String> {
    let mut script = String::from(
        "#!/bin/sh\n\
         export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\
         mount -t proc proc /proc\n\
         mount -t sysfs sysfs /sys\n\
         mount -t devtmpfs devtmpfs /dev\n\
         mount -t tmpfs tmpfs /run\n\
         cd /run\n\
         export TMPDIR=/run HOME=/run\n\
         exec > /dev/ttyS1\n",
    );
    for Device { address, .. } in [EDU, NVME] {
        write!(
            script,
            "device=/sys/bus/pci/devices/{address}\n\
             echo vfio-pci > $device/driver_override\n\
             [ -e $device/driver ] && echo {address} > $device/driver/unbind\n\
             echo {address} > /sys/bus/pci/drivers_probe\n"
        )?;
    }
    for passed in images {
        let Passed { image, device, .. } = passed;
        let machine = Machine {
            command_line: passed.command_line.into(),
            ..Machine::new(Model::Q35, &[&format!("vfio-pci,host={}", device.address)])
        };
        let machine = machine.command(qemu, image);
        let mut command = Command::new("timeout");
        command.arg(LIMIT.as_secs().to_string());
        command.arg(machine.get_program()).args(machine.get_args());
        let words: Result<Vec<String>> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| {
                let word = word.to_str().context("a path that is no text")?;
                Ok(format!("'{}'", word.replace('\'', "'\\''")))
            })
            .collect();
        write!(
            script,
            "echo '{BEGIN}{}'\n\
             read start rest < /proc/uptime\n\
             {} > log\n\
             status=$?\n\
             read end rest < /proc/uptime\n\
             od -An -v -tx1 log\n\
             echo \"{END}$status $start $end\"\n",
            image.name,
            words?.join(" "),
        )?;
    }
    script.push_str("sync\nsleep 0.1\necho o > /proc/sysrq-trigger\nsleep 60\n");
    Ok(script)
}

/// Returns how an image ended, as the guest reports.
fn read(report: &str, image: &Image) -> Result<Boot> {
    let mut lines = report.lines().map(str::trim);
    let begin = format!("{BEGIN}{}", image.name);
    ensure!(
        lines.any(|line| line == begin),
        "the guest did not come to boot {}",
        image.name
    );
    let mut bytes = Vec::new();
    for line in lines {
        let Some(end) = line.strip_prefix(END) else {
            for digits in line.split_whitespace() {
                bytes.push(u8::from_str_radix(digits, 16).context("no digits of a log")?);
            }
            continue;
        };
        let mut words = end.split_whitespace();
        let status = words.next().and_then(|word| word.parse().ok());
        let mut second = || words.next().and_then(|word| word.parse::<f64>().ok());
        let (start, end) = second().zip(second()).context("no times in the report")?;
        let dictionary = Dictionary::read(image)?;
        let lines: Vec<Line> = dictionary.decoder().decode(&bytes);
        return Ok(Boot {
            end: if status == Some(124) {
                End::Hung
            } else {
                End::of(status)
            },
            lines,
            time: Duration::from_secs_f64((end - start).max(0.0)),
        });
    }
    bail!("the guest's report ends within {}", image.name)
}
