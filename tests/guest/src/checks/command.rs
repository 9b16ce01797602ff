//! The program `vfio`, as a user runs it.

use std::fs;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use vfio_core::sys::InfoRequest;
use vfio_guest::Device;

use crate::program::{self, Ended};
use crate::session::{Session, Through};
use crate::world::{World, group};

/// The exit status of what was interrupted.
const INTERRUPTED: i32 = 130;

/// More than a pipe holds.
const PIPE: usize = 128 << 10;

/// Checks that the program starts, says what it is, and ends well.
pub(crate) fn version(_: &World) -> Result<String> {
    let text = good(&["--version"])?;
    ensure!(text.starts_with("vfio "), "{text:?}");
    Ok(text.trim().into())
}

/// Checks that every device that is bound is listed as ready.
pub(crate) fn list(_: &World, device: &Device) -> Result<String> {
    let listed: Value = serde_json::from_str(&good(&["list", "--json", device.address()])?)?;
    let entry = listed["devices"]
        .get(0)
        .context("the device is not listed")?;
    ensure!(entry["ready"] == true, "obstacles {}", entry["obstacles"]);
    ensure!(entry["driver"] == "vfio-pci", "driver {}", entry["driver"]);
    Ok("ready".into())
}

/// Checks that without a name a device that is bound to vfio-pci is inspected, and that the program
/// says which.
pub(crate) fn inspect_any(_: &World) -> Result<String> {
    let text = good(&["inspect"])?;
    let first = text.lines().next().unwrap_or_default();
    ensure!(first.contains("is bound to vfio-pci"), "{first:?}");
    ensure!(
        text.contains("BAR0") && text.contains("Interrupts"),
        "{text}"
    );
    Ok(first.into())
}

/// Checks that a device is inspected, for people and for programs.
pub(crate) fn inspect(_: &World, device: &Device) -> Result<String> {
    let text = good(&["inspect", device.address()])?;
    ensure!(text.starts_with(device.address()), "{text}");
    let record: Value = serde_json::from_str(&good(&["inspect", "--json", device.address()])?)?;
    ensure!(record["simulated"] == false, "{record}");
    ensure!(
        record["group"] == group(device)?,
        "group {}",
        record["group"]
    );
    ensure!(
        record["troubles"].as_array().is_some_and(Vec::is_empty),
        "{}",
        record["troubles"]
    );
    let regions = record["regions"].as_array().context("no regions")?;
    for region in regions {
        let spans = region["spans"].as_array().context("no spans")?;
        let covered: u64 = spans.iter().filter_map(|span| span["size"].as_u64()).sum();
        ensure!(
            region["size"] == covered,
            "region {} has spans {spans:?}",
            region["index"]
        );
    }
    let names: Vec<_> = record["iommu"]["caps"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|cap| cap["name"].as_str())
        .collect();
    ensure!(
        names.contains(&"IOVA_RANGE"),
        "IOMMU capabilities {names:?}"
    );
    Ok(format!(
        "{} regions, IOMMU {}",
        regions.len(),
        names.join(", ")
    ))
}

/// Checks that a reply captured here is decoded by the program. A short one is told from a whole
/// one.
pub(crate) fn decode(_: &World, device: &Device) -> Result<String> {
    let session = Session::open(device, Through::Type1)?;
    for (len, status, word) in [(4096, 0, "complete"), (16, 4, "buffer_too_small")] {
        let mut reply = vec![0; len];
        session
            .ask(InfoRequest::Iommu, &mut reply)
            .context("IOMMU_GET_INFO")?;
        let file = "/run/reply";
        fs::write(file, &reply)?;
        let ended = program::run("/bin/vfio", &["decode", "--kind", "iommu", "--json", file])?;
        ensure!(
            ended.status == Some(status),
            "argsz {len}: {}",
            told(&ended)
        );
        let decoded: Value = serde_json::from_str(&ended.stdout)?;
        ensure!(decoded["status"] == word, "argsz {len}: {decoded}");
        ensure!(
            decoded["iova_pgsizes"]
                .as_u64()
                .is_some_and(|sizes| sizes & 4096 != 0),
            "{decoded}"
        );
    }
    Ok("whole and short".into())
}

/// Checks that the reference driver passes on the real device.
pub(crate) fn run_edu(world: &World) -> Result<String> {
    run_edu_in(world, &[])
}

/// Checks the reference driver without an IOMMU, where the user says so.
pub(crate) fn run_edu_without_iommu(world: &World) -> Result<String> {
    run_edu_in(world, &["--mode", "noiommu"])
}

fn run_edu_in(world: &World, mode: &[&str]) -> Result<String> {
    let edu = world.named("edu")?.address();
    let arguments = [&["run", "edu", "--json", edu], mode].concat();
    let record: Value = serde_json::from_str(&good(&arguments)?)?;
    ensure!(
        record["passed"] == true && record["simulated"] == false,
        "{record}"
    );
    Ok(format!(
        "{} steps",
        record["steps"].as_array().map_or(0, Vec::len)
    ))
}

/// Returns the program's standard output, if it ends well.
pub(super) fn good(arguments: &[&str]) -> Result<String> {
    let ended = program::run("/bin/vfio", arguments)?;
    ensure!(ended.status == Some(0), "{arguments:?}: {}", told(&ended));
    Ok(ended.stdout)
}

pub(super) fn told(ended: &Ended) -> String {
    format!(
        "exit status {:?}, stderr {:?}",
        ended.status,
        ended.stderr.trim()
    )
}

/// Blocks are written and read, and a namespace that holds something is not written without being told to.
pub(crate) fn nvme(_: &World, device: &Device) -> Result<String> {
    let address = device.address();
    let identified: Value = serde_json::from_str(&good(&["nvme", "identify", "--json", address])?)?;
    let namespace = &identified["namespaces"][0];
    let size = namespace["block_size"].as_u64().context("no block size")?;
    // A boot sector, and blocks that differ.
    let mut blocks: Vec<u8> = (0..40 * size).map(|at| (at / 7 % 251) as u8).collect();
    blocks.splice(510..512, [0x55, 0xaa]);
    let (from, to) = ("/run/nvme-from", "/run/nvme-to");
    fs::write(from, &blocks)?;
    let write = ["nvme", "write", address, from];
    good(&[&write[..], &["--yes"]].concat())?;
    let Ended { status, stderr, .. } = program::run("/bin/vfio", &write)?;
    ensure!(
        status == Some(1) && stderr.contains("--yes"),
        "exit status {status:?}: {stderr}"
    );
    good(&[&write[..], &["--yes", "--lba", "3"]].concat())?;
    good(&["nvme", "read", address, to, "--lba", "3", "--blocks", "40"])?;
    ensure!(fs::read(to)? == blocks, "what is read was not written");
    // It is left empty.
    fs::write(from, vec![0; blocks.len()])?;
    good(&[&write[..], &["--yes"]].concat())?;
    let bench: Value = serde_json::from_str(&good(&[
        "nvme",
        "bench",
        "--json",
        "--seconds",
        "1",
        "--svg",
        "/run/nvme.svg",
        address,
    ])?)?;
    ensure!(
        fs::metadata("/run/nvme.svg")?.len() > 1000,
        "nothing is drawn"
    );
    let streamed = stream(address, size)?;
    let reads = interrupted(address)?;
    Ok(format!(
        "{} IOPS, {streamed} blocks through a pipe, {reads} reads until Ctrl-C",
        bench["iops"]
    ))
}

/// Starts the program, with pipes all around.
fn started(arguments: &[&str]) -> Result<Child> {
    let mut command = Command::new("/bin/vfio");
    command.args(arguments).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().context("vfio does not start")
}

/// Sends Ctrl-C once the process catches it.
fn interrupt(child: &Child) -> Result<()> {
    let path = format!("/proc/{}/status", child.id());
    let end = Instant::now() + Duration::from_secs(60);
    let bit = 1_u64 << (Signal::INT.as_raw() - 1);
    loop {
        let status = fs::read_to_string(&path)?;
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let mask = u64::from_str_radix(mask.context("no SigCgt")?.trim(), 16)?;
        if mask & bit != 0 {
            break;
        }
        ensure!(Instant::now() < end, "it does not catch Ctrl-C");
        sleep(Duration::from_millis(20));
    }
    sleep(Duration::from_secs(1));
    kill_process(Pid::from_child(child), Signal::INT)?;
    Ok(())
}

/// Blocks are written as they come through a pipe, until Ctrl-C, and are there then. They are left empty.
fn stream(address: &str, size: u64) -> Result<u64> {
    // A step of 4 MiB, and a part of the next that never gets whole.
    let step: Vec<u8> = (0..4 << 20).map(|at| (at / 13 % 251) as u8).collect();
    let blocks = (4 << 20) / size;
    let mut child = started(&["nvme", "write", "--yes", "--json", address, "-"])?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    stdin.write_all(&step)?;
    // The pipe takes that only once the step is written.
    stdin.write_all(&step[..PIPE])?;
    interrupt(&child)?;
    let output = child.wait_with_output()?;
    drop(stdin);
    let said = String::from_utf8(output.stderr)?;
    let record: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(
        output.status.code() == Some(INTERRUPTED) && record["blocks"] == blocks,
        "{}: {record} {said}",
        output.status
    );
    let to = "/run/nvme-to";
    let count = blocks.to_string();
    good(&["nvme", "read", address, to, "--blocks", &count])?;
    ensure!(
        fs::read(to)? == step,
        "what was written before Ctrl-C is not there"
    );
    fs::write(to, vec![0; step.len()])?;
    good(&["nvme", "write", "--yes", address, to])?;
    fs::remove_file(to)?;
    Ok(blocks)
}

/// Checks that Ctrl-C ends a measurement with its figures, and that the controller can be driven again.
fn interrupted(address: &str) -> Result<u64> {
    let child = started(&["nvme", "bench", "--json", "--seconds", "3600", address])?;
    interrupt(&child)?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(
        output.status.code() == Some(INTERRUPTED),
        "{}: {said}",
        output.status
    );
    let record: Value = serde_json::from_slice(&output.stdout)?;
    let reads = record["reads"].as_u64().context("no reads")?;
    ensure!(reads > 0, "{record}");
    good(&["nvme", "identify", address])?;
    Ok(reads)
}

/// Checks that nothing is written over what somebody may miss, wherever it is, without being told to. The disk is empty
/// at first, and at the end.
pub(crate) fn nvme_lost(_: &World, device: &Device) -> Result<String> {
    let (address, file) = (device.address(), "/run/nvme-lost");
    // 8 KiB of an uberblock of ZFS and noise.
    let mut blocks: Vec<u8> = (0..8192).map(|at| (at / 7 % 251) as u8).collect();
    blocks[..8].copy_from_slice(&0x00ba_b10c_u64.to_le_bytes());
    fs::write(file, &blocks)?;
    let write = |lba: &str, yes: &[&str]| {
        let arguments = [&["nvme", "write", address, file, "--lba", lba][..], yes].concat();
        program::run("/bin/vfio", &arguments)
    };
    for (lba, yes, word) in [
        // At 8 MiB of 16, where nothing was.
        ("0x4000", false, None),
        ("0x4000", false, Some("data in the blocks to be written")),
        ("0x3ff8", false, Some("data in the blocks to be written")),
        ("0x4010", false, None),
        // Where the uberblocks of a label begin.
        ("0x100", true, None),
        ("0x5000", false, Some("a ZFS pool member")),
    ] {
        let ended = write(lba, if yes { &["--yes"] } else { &[] })?;
        let is_right = match word {
            None => ended.status == Some(0),
            Some(word) => {
                ended.status == Some(1) && [word, "--yes"].iter().all(|w| ended.stderr.contains(w))
            }
        };
        ensure!(is_right, "block {lba}: {}", told(&ended));
    }
    fs::write(file, [0; 8192])?;
    for lba in ["0x4000", "0x4010", "0x100"] {
        let ended = write(lba, &["--yes"])?;
        ensure!(ended.status == Some(0), "block {lba}: {}", told(&ended));
    }
    Ok("refused where something is".into())
}
