//! Machines whose processor has an x2APIC, which software emulates since QEMU 9.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use super::image::Image;
use super::machine::{Machine, Model};
use super::worlds::LIMIT;
use crate::guest::qemu::Qemu;
use crate::paths;

/// A processor that has one, as QEMU's option `-cpu` takes it.
const PROCESSOR: &str = "qemu64,+x2apic";

/// QEMU's event of a write to `IA32_APIC_BASE`, which the value follows.
const EVENT: &str = "cpu_set_apic_base";

/// In `IA32_APIC_BASE`: the APIC is on, and is an x2APIC.
const ON: u64 = 1 << 11 | 1 << 10;

/// Returns a QEMU that emulates it.
///
/// # Errors
///
/// None can be had.
pub(crate) fn emulator() -> Result<Qemu> {
    let qemu = Qemu::obtain()?;
    ensure!(
        qemu.emulates(PROCESSOR),
        "no x2APIC is emulated by {}",
        qemu.version()
    );
    Ok(qemu)
}

/// Boots the image `edu`, which must get its interrupts by way of the x2APIC.
///
/// # Errors
///
/// It fails, or turns no x2APIC on.
pub(crate) fn drives_edu(qemu: &Qemu, model: Model) -> Result<()> {
    let log = paths::target().join("unikernel/apic");
    let options = ["-cpu", PROCESSOR, "-trace", EVENT, "-D"];
    let mut options: Vec<String> = options.map(str::to_owned).into();
    // QEMU takes a number in the log's name for its own process.
    options.push(log.display().to_string().replace('%', "%%"));
    let machine = Machine {
        options,
        ..Machine::new(model, &["edu"])
    };
    let boot = machine.boot(qemu, &Image::build("edu")?, LIMIT)?;
    boot.succeeded()?;
    boot.says("DmaInterrupt: passed")?;
    let log = fs::read_to_string(&log).with_context(|| format!("cannot read {}", log.display()))?;
    let last = log.lines().filter_map(base).next_back();
    let base = last.with_context(|| format!("QEMU tells of no {EVENT}"))?;
    ensure!(base & ON == ON, "IA32_APIC_BASE is {base:#x} at the end");
    println!("{}: IA32_APIC_BASE is {base:#x}", qemu.version());
    Ok(())
}

/// Returns the value that a line of QEMU's log says was written.
fn base(line: &str) -> Option<u64> {
    let (_, value) = line.split_once(EVENT)?;
    u64::from_str_radix(value.trim().strip_prefix("0x")?, 16).ok()
}
