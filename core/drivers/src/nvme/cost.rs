//! What reads of random blocks cost the processor, by a counter of the caller's.

use core::hint::black_box;

use super::command::Way;
use super::controller::ControllerHandle;
use super::error::{NvmeError, Refusal};
use super::identify::Namespace;
use super::queue::{ErrorOf, QueuePair};
use super::slot::{PAGE_64, Slot};

/// Random places on a namespace, the same in every run: of 4 KiB each, or of a block where that
/// is longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Places {
    state: u64,
    blocks: u32,
    /// At least 1.
    count: u64,
}

/// What reads cost, from giving them to the device to taking their completions. Waiting is left
/// out: looks that find no completion don't count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Cost {
    /// How many reads were made.
    pub reads: u64,
    /// What the counter counted for all of them.
    pub ticks: u64,
    /// The median for a read, which interrupts that came meanwhile leave alone; none where more
    /// than one was under way at a time, or it is not below 512.
    pub median: Option<u16>,
}

/// How often a completion is looked for before the controller is looked at.
const LOOKS: u32 = 1 << 13;

/// The places of reads are chosen before their cost is counted.
const CHOSEN: usize = 64;

/// The highest count of a read that the median tells, and 1.
const MOST: usize = 512;

impl Places {
    /// Places on `namespace`.
    #[must_use]
    pub fn new(namespace: &Namespace) -> Self {
        let page = u32::try_from(PAGE_64).unwrap_or(u32::MAX);
        let blocks = page.checked_div(namespace.block_size()).unwrap_or(0).max(1);
        let count = namespace.blocks().checked_div(blocks.into()).unwrap_or(0);
        Self {
            state: 0x5eed,
            blocks,
            count: count.max(1),
        }
    }

    /// Blocks of a place.
    #[must_use]
    pub const fn blocks(&self) -> u32 {
        self.blocks
    }

    /// The first block of the next place.
    #[inline]
    pub fn next_lba(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let place = self.state.checked_rem(self.count).unwrap_or(0);
        place.saturating_mul(self.blocks.into())
    }
}

impl Cost {
    /// The counter's ticks for a read, rounded up: the median where it is known.
    #[must_use]
    pub fn of_a_read(&self) -> u64 {
        let mean = self.ticks.div_ceil(self.reads.max(1));
        self.median.map_or(mean, u64::from)
    }
}

/// Makes at least `count` random reads of 4 KiB, with `depth` under way at a time, or as many as
/// the queue takes. Each that ends is followed by another, and those that end together are given
/// to the device together. No other command may be under way.
///
/// # Errors
/// As [`QueuePair::wait`]; [`NvmeError::Request`], [`NvmeError::Command`] of the first read that
/// failed: the others have ended then.
#[inline(never)]
pub fn random_reads<C: ControllerHandle, const DEPTH: usize>(
    pair: &mut QueuePair<C, DEPTH>,
    namespace: &Namespace,
    depth: usize,
    count: u16,
    counter: impl Fn() -> u64,
) -> Result<Cost, NvmeError<ErrorOf<C>>> {
    let mut places = Places::new(namespace);
    let blocks = places.blocks;
    let lbas: [u64; CHOSEN] = core::array::from_fn(|_| places.next_lba());
    let lbas = black_box(lbas);
    pair.is_idle()?;
    let mut under_way = 0_usize;
    while under_way < depth
        && let Some(slot) = pair.slot()
    {
        if let Err(refused) = pair.read(slot, namespace, places.next_lba(), blocks) {
            let error = NvmeError::Request(refused.reason);
            return Err(end_reads(pair, refused.slot, error));
        }
        under_way = under_way.wrapping_add(1);
    }
    if under_way == 0 {
        return Err(NvmeError::Request(Refusal::NoSlot));
    }
    pair.ring()?;
    let mut seen = [0_u16; MOST];
    let (mut ticks, mut reads, mut looks) = (0_u64, 0_usize, 0_u32);
    while reads < count.into() {
        let before = reads;
        let start = counter();
        while reads.wrapping_sub(before) < under_way
            && let Some(ended) = pair.poll()?
        {
            if let Err(status) = ended.result {
                return Err(end_reads(pair, ended.slot, NvmeError::Command(status)));
            }
            let lba = lbas.get(reads % CHOSEN).copied().unwrap_or(0);
            if let Err(refused) = pair.transfer(Way::Read, ended.slot, namespace, lba, blocks) {
                let error = NvmeError::Request(refused.reason);
                return Err(end_reads(pair, refused.slot, error));
            }
            reads = reads.wrapping_add(1);
        }
        if reads == before {
            looks = looks.wrapping_add(1);
            if looks.is_multiple_of(LOOKS) && !pair.look()? {
                return Err(NvmeError::Stopped);
            }
            continue;
        }
        pair.ring()?;
        let took = counter().wrapping_sub(start);
        let took = took.saturating_sub(overhead(&counter));
        ticks = ticks.saturating_add(took);
        if let Some(seen) = usize::try_from(took).ok().and_then(|at| seen.get_mut(at)) {
            *seen = seen.saturating_add(1);
        }
    }
    while let Some(ended) = pair.wait()? {
        pair.take_back(ended.slot);
    }
    let mut below = 0_u16;
    let median = (0..).zip(seen).find(|(_, seen)| {
        below = below.saturating_add(*seen);
        below > count / 2
    });
    Ok(Cost {
        reads: u64::try_from(reads).unwrap_or(u64::MAX),
        ticks,
        median: median.filter(|_| under_way == 1).map(|(took, _)| took),
    })
}

/// Takes back the slot of a read that failed, and those of the others when they end. Returns the
/// error, or that of waiting.
#[cold]
#[inline(never)]
fn end_reads<C: ControllerHandle, const DEPTH: usize>(
    pair: &mut QueuePair<C, DEPTH>,
    slot: Slot,
    error: NvmeError<ErrorOf<C>>,
) -> NvmeError<ErrorOf<C>> {
    pair.take_back(slot);
    loop {
        // What was put into the queue is given to the device first.
        match pair.wait() {
            Ok(Some(ended)) => pair.take_back(ended.slot),
            Ok(None) => return error,
            Err(error) => return error,
        }
    }
}

/// What the counter counts for itself.
#[inline(always)]
fn overhead(counter: &impl Fn() -> u64) -> u64 {
    let start = counter();
    counter().wrapping_sub(start)
}
