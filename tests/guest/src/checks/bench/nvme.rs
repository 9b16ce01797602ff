//! Reading 4 KiB blocks at random from an NVMe controller: the instructions that a read takes, and how many reads a second
//! this driver and the kernel's own make on the same device.

use core::arch::x86_64::_rdtsc;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use vfio_core::device::Device as Opened;
use vfio_core::dma::Dma;
use vfio_core::open::Session;
use vfio_core::wire::abi::pci_region;
use vfio_drivers::nvme::{Controller, Namespace, Options, QueueOptions, QueuePair};
use vfio_exercise::nvme::{RandomBlocks, random_reads};
use vfio_guest::{Device, FIO, LOADER};
use vfio_hosted::linux::Linux;

use super::{Figures, open};
use crate::bind;
use crate::checks::nvme::disk;
use crate::mode::Mode;
use crate::program;
use crate::report::NotRun;
use crate::world::{World, place};

type Started<'d> = Controller<&'d Opened<Linux>, &'d Dma<Linux, 64>>;
type Pair<'c, 'd, const DEPTH: usize> = QueuePair<&'c Started<'d>, DEPTH>;

/// How many reads are counted.
const COUNTED: u16 = 2000;

/// How often each driver has its turn; the medians count.
const ROUNDS: usize = 7;

/// How many seconds each driver reads in its turn, at each depth.
const SECONDS: u64 = 2;

/// How many reads there are between two looks at whether the time is over.
const BATCH: u32 = 128;

const DEPTHS: [u32; 2] = [1, 32];

/// What spares fio and the kernel work.
const TUNED: [&str; 7] = [
    "--registerfiles",
    "--fixedbufs",
    "--norandommap",
    "--gtod_reduce=1",
    "--iodepth_batch_submit=32",
    "--iodepth_batch_complete_min=1",
    "--iodepth_batch_complete_max=32",
];

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

/// Reads a second in a turn of a driver, at each depth.
type Turn = [f64; 2];

/// Whose turn it is.
enum Driver {
    This,
    Kernels,
    /// The kernel's as well, spared work.
    Tuned,
}

/// Reads a second, by this driver and by the kernel's own with fio, in turn. Who is first changes from round to round, so that
/// what slows the machine down or speeds it up does so to both.
pub(super) fn iops(_: &World, device: &Device) -> Result<String> {
    if !Path::new("/").join(FIO).exists() {
        return Err(NotRun("there is no fio".into()).into());
    }
    let (mut ours, mut kernels, mut tuned) = (vec![], vec![], vec![]);
    bind::bind(device)?;
    for round in 0..ROUNDS {
        let mut turns = [Driver::This, Driver::Kernels, Driver::Tuned];
        if round % 2 == 1 {
            turns.reverse();
        }
        for driver in turns {
            match driver {
                Driver::This => ours.push(by_this(device)?),
                Driver::Kernels => kernels.push(by_kernel(device, &[])?),
                Driver::Tuned => tuned.push(by_kernel(device, &TUNED)?),
            }
        }
    }
    let mut figures = Figures::new();
    for (index, depth) in DEPTHS.into_iter().enumerate() {
        let of = |turns: &[Turn]| median(turns.iter().map(|turn| turn[index]).collect());
        // Of the turns of a round, which are next to each other.
        let rounds = ours.iter().zip(&kernels);
        let ratios = rounds.map(|(ours, kernel)| ours[index] / kernel[index]);
        let named = [
            ("IOPS", of(&ours)?),
            ("IOPS by the kernel", of(&kernels)?),
            ("IOPS by the kernel, tuned", of(&tuned)?),
            ("ratio", median(ratios.collect())?),
        ];
        for (name, figure) in named {
            figures.insert(format!("depth {depth}, {name}"), figure);
        }
    }
    Ok(serde_json::to_string(&figures)?)
}

/// Reads a second by this driver.
fn by_this(device: &Device) -> Result<Turn> {
    let session = Session::open(&Linux, &place(device)?.as_place())?;
    let mut turn = [0.0; 2];
    drive(session, |controller, namespace| {
        let mut pair = controller.queue_pair::<1>(QueueOptions::default())?;
        turn[0] = time(&mut pair, namespace)?;
        drop(pair);
        let mut pair = controller.queue_pair::<32>(QueueOptions::default())?;
        turn[1] = time(&mut pair, namespace)?;
        Ok(())
    })?;
    Ok(turn)
}

/// Reads a second by the kernel's driver, which gives the device back.
fn by_kernel(device: &Device, options: &[&str]) -> Result<Turn> {
    bind::rebind(device, "nvme")?;
    let disk = disk(device)?;
    let mut turn = [0.0; 2];
    for (iops, depth) in turn.iter_mut().zip(DEPTHS) {
        *iops = fio(&disk, depth, options)?;
    }
    bind::bind(device)?;
    Ok(turn)
}

/// Starts a controller for `run`, and shuts it down.
fn drive(
    session: Session<Linux>,
    run: impl for<'d> FnOnce(&Started<'d>, &Namespace) -> Result<()>,
) -> Result<()> {
    let bar0 = session.device.bring_up(pci_region::BAR0)?;
    let dma = Dma::<_, 64>::new(Linux, session.space)?;
    let controller = Controller::start(&session.device, bar0, &dma, Options::default())?;
    let namespace = controller.namespace(1)?;
    run(&controller, &namespace)?;
    Ok(controller.shut_down()?)
}

/// Reads the time stamp counter. It counts instructions where QEMU is told so (`-icount shift=0`).
#[inline(always)]
fn ticks() -> u64 {
    // SAFETY: every x86-64 processor has it.
    unsafe { _rdtsc() }
}

/// Reads a second at the depth of the queue.
fn time<const DEPTH: usize>(pair: &mut Pair<'_, '_, DEPTH>, namespace: &Namespace) -> Result<f64> {
    let mut random = RandomBlocks::new(namespace);
    let blocks = random.blocks();
    let limit = Duration::from_secs(SECONDS);
    let start = Instant::now();
    while let Some(slot) = pair.slot() {
        pair.read(slot, namespace, random.next_lba(), blocks)?;
    }
    let mut ended = 0_u32;
    let mut is_over = false;
    while let Some(completion) = pair.wait()? {
        let mut found = Some(completion);
        while let Some(completion) = found {
            completion.result?;
            ended += 1;
            if ended.is_multiple_of(BATCH) {
                is_over = start.elapsed() >= limit;
            }
            if is_over {
                pair.release(completion.slot)?;
            } else {
                pair.read(completion.slot, namespace, random.next_lba(), blocks)?;
            }
            found = pair.poll()?;
        }
    }
    Ok(f64::from(ended) / start.elapsed().as_secs_f64())
}

/// Reads a second by fio.
fn fio(disk: &Path, depth: u32, options: &[&str]) -> Result<f64> {
    let disk = format!("--filename={}", disk.display());
    let depth = format!("--iodepth={depth}");
    let runtime = format!("--runtime={SECONDS}");
    let program = format!("/{FIO}");
    let mut arguments = vec![
        "--library-path",
        "/lib",
        &program,
        "--name=reads",
        "--ioengine=io_uring",
        "--rw=randread",
        "--bs=4k",
        "--direct=1",
        "--thread",
        "--time_based",
        "--output-format=json",
        &runtime,
        &depth,
        &disk,
    ];
    arguments.extend(options);
    let ended = program::run(&format!("/{LOADER}"), &arguments)?;
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
