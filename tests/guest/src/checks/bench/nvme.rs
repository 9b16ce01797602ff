//! Reading 4 KiB blocks at random from an NVMe controller.

use core::arch::x86_64::_rdtsc;
use core::hint::black_box;
use std::time::Instant;

use anyhow::{Context as _, Result};
use vfio_core::abi::pci_region;
use vfio_core::dma::Dma;
use vfio_core::mmio::Bar;
use vfio_core::session;
use vfio_drivers::nvme::{Controller, Namespace, Options, QueueOptions, QueuePair, Slot};
use vfio_guest::Device;
use vfio_hosted::linux::Linux;

use super::{Figures, open};

type Pair<'c, 'd, const DEPTH: usize> = QueuePair<'c, 'd, Linux, Bar<'d, Linux>, 64, DEPTH>;

/// How many reads are counted, and how many are timed.
const COUNTED: usize = 2000;
const TIMED: u32 = 20_000;

/// Reads of one block, at depths 1 and 32.
pub(super) fn figures(device: &Device, mode: session::Mode) -> Result<String> {
    let session = open(device, mode)?;
    let bar0 = session.device.bring_up(pci_region::BAR0)?;
    let dma = Dma::<_, 64>::new(Linux, session.space)?;
    let controller = Controller::start(&session.device, bar0, &dma, Options::default())?;
    let namespace = controller.namespace(1)?;
    let mut figures = Figures::new();
    {
        let mut pair = controller.queue_pair::<1>(QueueOptions::default())?;
        let ticks = count_alone(&mut pair, &namespace)?;
        figures.insert("depth 1, ticks".into(), ticks);
        figures.insert("depth 1, IOPS".into(), time(&mut pair, &namespace)?);
    }
    {
        let mut pair = controller.queue_pair::<32>(QueueOptions::default())?;
        let ticks = count_many(&mut pair, &namespace)?;
        figures.insert("depth 32, ticks".into(), ticks);
        figures.insert("depth 32, IOPS".into(), time(&mut pair, &namespace)?);
    }
    Ok(serde_json::to_string(&figures)?)
}

/// The time stamp counter: it counts instructions where QEMU is told so (`-icount shift=0`).
#[inline(always)]
fn ticks() -> u64 {
    // SAFETY: every x86-64 processor has it.
    unsafe { _rdtsc() }
}

/// Places of blocks of 4 KiB, the same in every run.
struct Places {
    state: u64,
    blocks: u32,
    count: u64,
}

impl Places {
    fn new(namespace: &Namespace) -> Self {
        let blocks = 4096 / namespace.block_size();
        Self {
            state: 0x5eed,
            blocks,
            count: namespace.blocks() / u64::from(blocks),
        }
    }

    #[inline(always)]
    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state % self.count) * u64::from(self.blocks)
    }
}

/// Ticks of one read at a time, of the submission and of the look that finds its completion.
fn count_alone(pair: &mut Pair<'_, '_, 1>, namespace: &Namespace) -> Result<f64> {
    let mut places = Places::new(namespace);
    let mut samples = Vec::with_capacity(COUNTED);
    let mut slot = pair.slot().context("no slot")?;
    for _ in 0..COUNTED {
        let lba = black_box(places.next());
        let start = ticks();
        submit(pair, slot, namespace, lba, places.blocks)?;
        let submitted = ticks() - start;
        let (completed, found) = loop {
            let start = ticks();
            let found = pair.poll()?;
            let took = ticks() - start;
            if let Some(found) = found {
                break (took, found);
            }
        };
        found.result?;
        slot = found.slot;
        samples.push(submitted + completed - 2 * overhead());
    }
    pair.release(slot);
    Ok(median(samples) as f64)
}

/// Ticks of a read where 32 are under way: each that ends is followed by another, and those that
/// end together are given to the device together. Looks that find nothing don't count.
fn count_many(pair: &mut Pair<'_, '_, 32>, namespace: &Namespace) -> Result<f64> {
    let mut places = Places::new(namespace);
    let lbas: [u64; 256] = core::array::from_fn(|_| places.next());
    while let Some(slot) = pair.slot() {
        pair.read(slot, namespace, places.next(), places.blocks)?;
    }
    pair.ring()?;
    let (mut total, mut count) = (0, 0_u64);
    for round in 0..COUNTED {
        let overhead = overhead();
        let (start, mut ended) = loop {
            let start = ticks();
            if let Some(ended) = pair.poll()? {
                break (start, ended);
            }
        };
        let mut together = 0;
        loop {
            ended.result?;
            let lba = lbas[(round + together) % 256];
            pair.read(ended.slot, namespace, lba, places.blocks)?;
            together += 1;
            match pair.poll()? {
                Some(next) => ended = next,
                None => break,
            }
        }
        pair.ring()?;
        total += ticks() - start - overhead;
        count += u64::try_from(together)?;
    }
    while let Some(ended) = pair.wait()? {
        pair.release(ended.slot);
    }
    Ok(total as f64 / count as f64)
}

#[inline(always)]
fn submit<const DEPTH: usize>(
    pair: &mut Pair<'_, '_, DEPTH>,
    slot: Slot,
    namespace: &Namespace,
    lba: u64,
    blocks: u32,
) -> Result<()> {
    pair.read(slot, namespace, lba, blocks)?;
    Ok(pair.ring()?)
}

/// Ticks between two looks at the counter.
fn overhead() -> u64 {
    let start = ticks();
    ticks() - start
}

/// Reads a second at the depth of the queue.
fn time<const DEPTH: usize>(pair: &mut Pair<'_, '_, DEPTH>, namespace: &Namespace) -> Result<f64> {
    let mut places = Places::new(namespace);
    let start = Instant::now();
    let mut given = 0;
    let mut ended = 0;
    while let Some(slot) = pair.slot() {
        pair.read(slot, namespace, places.next(), places.blocks)?;
        given += 1;
    }
    while ended < TIMED {
        let mut found = pair.wait()?;
        while let Some(completion) = found {
            completion.result?;
            ended += 1;
            if given < TIMED {
                pair.read(completion.slot, namespace, places.next(), places.blocks)?;
                given += 1;
            } else {
                pair.release(completion.slot);
            }
            found = pair.poll()?;
        }
    }
    Ok(f64::from(TIMED) / start.elapsed().as_secs_f64())
}

fn median(mut samples: Vec<u64>) -> u64 {
    samples.sort_unstable();
    samples.get(samples.len() / 2).copied().unwrap_or(0)
}
