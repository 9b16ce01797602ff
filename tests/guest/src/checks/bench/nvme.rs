//! Reading 4 KiB blocks at random from an NVMe controller: the instructions that a read takes, and how many reads a second
//! this driver and the kernel's own make on the same device.

use core::arch::x86_64::_rdtsc;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use vfio_core::abi::pci_region;
use vfio_core::dma::Dma;
use vfio_core::mmio::Bar;
use vfio_core::session::Session;
use vfio_drivers::nvme::{
    Controller, Namespace, Options, Places, QueueOptions, QueuePair, random_reads,
};
use vfio_guest::{Device, FIO, LOADER};
use vfio_hosted::linux::Linux;

use super::{Figures, open};
use crate::bind;
use crate::checks::nvme::disk;
use crate::mode::Mode;
use crate::program;
use crate::report::NotRun;
use crate::world::{World, place};

type Pair<'c, 'd, const DEPTH: usize> = QueuePair<'c, 'd, Linux, Bar<'d, Linux>, 64, DEPTH>;

/// How many reads are counted, and how many are timed.
const COUNTED: u16 = 2000;
const TIMED: u32 = 20_000;

/// How often each driver has its turn; the medians count.
const ROUNDS: usize = 5;

/// How many seconds fio reads.
const SECONDS: &str = "3";

/// Instructions of a read, at depths 1 and 32, where the machine's time stamp counter counts them.
pub(super) fn instructions(_: &World, device: &Device, mode: Mode) -> Result<String> {
    let session = open(device, mode)?;
    let mut figures = Figures::new();
    drive(session, |controller, namespace| {
        for depth in [1, 32] {
            let mut pair = controller.queue_pair::<32>(QueueOptions::default())?;
            let cost = random_reads(&mut pair, namespace, depth, COUNTED, ticks)?;
            let name = format!("depth {depth}, instructions");
            figures.insert(name, cost.of_a_read() as f64);
        }
        Ok(())
    })?;
    Ok(serde_json::to_string(&figures)?)
}

/// Reads a second, by this driver and by the kernel's own with fio, in turn.
pub(super) fn iops(_: &World, device: &Device) -> Result<String> {
    if !Path::new("/").join(FIO).exists() {
        return Err(NotRun("there is no fio".into()).into());
    }
    let (mut ours, mut kernels) = ([vec![], vec![]], [vec![], vec![]]);
    for _ in 0..ROUNDS {
        bind::bind(device)?;
        let session = Session::open(&Linux, &place(device)?.as_place())?;
        drive(session, |controller, namespace| {
            let mut pair = controller.queue_pair::<1>(QueueOptions::default())?;
            ours[0].push(time(&mut pair, namespace)?);
            drop(pair);
            let mut pair = controller.queue_pair::<32>(QueueOptions::default())?;
            ours[1].push(time(&mut pair, namespace)?);
            Ok(())
        })?;
        bind::rebind(device, "nvme")?;
        let disk = disk(device)?;
        for (depth, iops) in [1, 32].into_iter().zip(&mut kernels) {
            iops.push(fio(&disk, depth)?);
        }
    }
    bind::bind(device)?;
    let mut figures = Figures::new();
    for (depth, (ours, kernels)) in [1, 32].into_iter().zip(ours.into_iter().zip(kernels)) {
        let (ours, kernels) = (median(ours)?, median(kernels)?);
        figures.insert(format!("depth {depth}, IOPS"), ours);
        figures.insert(format!("depth {depth}, IOPS by the kernel"), kernels);
        figures.insert(format!("depth {depth}, ratio"), ours / kernels);
    }
    Ok(serde_json::to_string(&figures)?)
}

/// Starts a controller for `run`, and shuts it down.
fn drive(
    session: Session<Linux>,
    run: impl for<'d> FnOnce(&Controller<'d, Linux, Bar<'d, Linux>, 64>, &Namespace) -> Result<()>,
) -> Result<()> {
    let bar0 = session.device.bring_up(pci_region::BAR0)?;
    let dma = Dma::<_, 64>::new(Linux, session.space)?;
    let controller = Controller::start(&session.device, bar0, &dma, Options::default())?;
    let namespace = controller.namespace(1)?;
    run(&controller, &namespace)?;
    Ok(controller.shut_down()?)
}

/// The time stamp counter: it counts instructions where QEMU is told so (`-icount shift=0`).
#[inline(always)]
fn ticks() -> u64 {
    // SAFETY: every x86-64 processor has it.
    unsafe { _rdtsc() }
}

/// Reads a second at the depth of the queue.
fn time<const DEPTH: usize>(pair: &mut Pair<'_, '_, DEPTH>, namespace: &Namespace) -> Result<f64> {
    let mut places = Places::new(namespace);
    let blocks = places.blocks();
    let start = Instant::now();
    let mut given = 0;
    let mut ended = 0;
    while let Some(slot) = pair.slot() {
        pair.read(slot, namespace, places.next_lba(), blocks)?;
        given += 1;
    }
    while ended < TIMED {
        let mut found = pair.wait()?;
        while let Some(completion) = found {
            completion.result?;
            ended += 1;
            if given < TIMED {
                pair.read(completion.slot, namespace, places.next_lba(), blocks)?;
                given += 1;
            } else {
                pair.release(completion.slot);
            }
            found = pair.poll()?;
        }
    }
    Ok(f64::from(TIMED) / start.elapsed().as_secs_f64())
}

/// Reads a second by the kernel's driver.
fn fio(disk: &Path, depth: u32) -> Result<f64> {
    let disk = format!("--filename={}", disk.display());
    let depth = format!("--iodepth={depth}");
    let runtime = format!("--runtime={SECONDS}");
    let ended = program::run(
        &format!("/{LOADER}"),
        &[
            "--library-path",
            "/lib",
            &format!("/{FIO}"),
            "--name=reads",
            "--ioengine=io_uring",
            // What spares the kernel work: it should do its best.
            "--registerfiles",
            "--fixedbufs",
            "--norandommap",
            "--gtod_reduce=1",
            "--iodepth_batch_submit=32",
            "--iodepth_batch_complete_min=1",
            "--iodepth_batch_complete_max=32",
            "--rw=randread",
            "--bs=4k",
            "--direct=1",
            "--thread",
            "--time_based",
            "--output-format=json",
            &runtime,
            &depth,
            &disk,
        ],
    )?;
    ensure!(ended.status == Some(0), "fio: {}", ended.stderr.trim());
    // What it has to say besides stands before.
    let json = ended.stdout.find('{').map(|at| &ended.stdout[at..]);
    let report: Value = serde_json::from_str(json.unwrap_or_default())
        .with_context(|| format!("fio reports {}", ended.stdout))?;
    report["jobs"][0]["read"]["iops"]
        .as_f64()
        .context("fio reports no IOPS")
}

fn median(mut samples: Vec<f64>) -> Result<f64> {
    samples.sort_by(f64::total_cmp);
    samples
        .get(samples.len() / 2)
        .copied()
        .context("no round was made")
}
