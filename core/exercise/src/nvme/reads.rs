//! Counts what reads of random blocks cost the processor, by a counter of the caller's.

use core::hint::black_box;

use vfio_drivers::nvme::{
    ControllerHandle, ErrorOf, Namespace, NvmeError, QueuePair, Refusal, Slot,
};

/// Random blocks of a namespace, the same in every run: of 4 KiB each, or of a block where that
/// is longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RandomBlocks {
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

/// Bytes of a read.
const LEN: u32 = 4096;

/// How often a completion is looked for before the controller is checked.
const LOOKS: u32 = 1 << 13;

/// The blocks of reads are chosen before their cost is counted.
const CHOSEN: usize = 64;

/// The highest count of a read that the median tells, and 1.
const MOST: usize = 512;

impl RandomBlocks {
    /// Returns blocks of `namespace`.
    #[must_use]
    pub fn new(namespace: &Namespace) -> Self {
        let blocks = LEN.checked_div(namespace.block_size()).unwrap_or(0).max(1);
        let count = namespace.blocks().checked_div(blocks.into()).unwrap_or(0);
        Self {
            state: 0x5eed,
            blocks,
            count: count.max(1),
        }
    }

    /// Returns how many blocks a place has.
    #[must_use]
    pub const fn blocks(&self) -> u32 {
        self.blocks
    }

    /// Returns the first block of the next place.
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
    /// Returns the counter's ticks for a read, rounded up: the median where it is known.
    #[must_use]
    pub fn of_a_read(&self) -> u64 {
        let mean = self.ticks.div_ceil(self.reads.max(1));
        self.median.map_or(mean, u64::from)
    }
}

/// Makes at least `count` random reads of 4 KiB, and counts what they cost.
///
/// `depth` are under way at a time, or as many as the queue takes. Each that ends is followed by
/// another, and those that end together are given to the device together. No other command may be
/// under way.
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
    let mut random = RandomBlocks::new(namespace);
    let blocks = random.blocks;
    let lbas: [u64; CHOSEN] = core::array::from_fn(|_| random.next_lba());
    let lbas = black_box(lbas);
    let under_way = start(pair, namespace, depth, &mut random)?;
    let mut seen = [0_u16; MOST];
    let (mut ticks, mut reads, mut looks) = (0_u64, 0_usize, 0_u32);
    while reads < count.into() {
        let start = counter();
        let ended = turn(pair, namespace, &lbas, blocks, reads, under_way)?;
        if ended == 0 {
            looks = looks.wrapping_add(1);
            if looks.is_multiple_of(LOOKS) {
                pair.check()?;
            }
            continue;
        }
        pair.ring()?;
        let took = counter().wrapping_sub(start);
        let took = took.saturating_sub(overhead(&counter));
        reads = reads.wrapping_add(ended);
        ticks = ticks.saturating_add(took);
        if let Some(seen) = usize::try_from(took).ok().and_then(|at| seen.get_mut(at)) {
            *seen = seen.saturating_add(1);
        }
    }
    while let Some(ended) = pair.wait()? {
        let _ = pair.release(ended.slot);
    }
    Ok(Cost {
        reads: u64::try_from(reads).unwrap_or(u64::MAX),
        ticks,
        median: median(&seen, count).filter(|_| under_way == 1),
    })
}

/// Has each read that ended followed by another, and returns how many: at most `most`.
#[inline(always)]
fn turn<C: ControllerHandle, const DEPTH: usize>(
    pair: &mut QueuePair<C, DEPTH>,
    namespace: &Namespace,
    lbas: &[u64; CHOSEN],
    blocks: u32,
    first: usize,
    most: usize,
) -> Result<usize, NvmeError<ErrorOf<C>>> {
    let mut count = 0_usize;
    while count < most
        && let Some(ended) = pair.poll()?
    {
        if let Err(status) = ended.result {
            return Err(end(pair, ended.slot, NvmeError::Command(status)));
        }
        let lba = lbas.get(first.wrapping_add(count) % CHOSEN);
        let lba = lba.copied().unwrap_or(0);
        if let Err(refused) = pair.read(ended.slot, namespace, lba, blocks) {
            let error = NvmeError::Request(refused.reason);
            return Err(end(pair, refused.slot, error));
        }
        count = count.wrapping_add(1);
    }
    Ok(count)
}

/// Makes the first reads, and returns how many: those that are under way at a time.
fn start<C: ControllerHandle, const DEPTH: usize>(
    pair: &mut QueuePair<C, DEPTH>,
    namespace: &Namespace,
    depth: usize,
    random: &mut RandomBlocks,
) -> Result<usize, NvmeError<ErrorOf<C>>> {
    match pair.under_way() {
        0 => (),
        count => return Err(NvmeError::Request(Refusal::UnderWay { count })),
    }
    let mut under_way = 0_usize;
    while under_way < depth
        && let Some(slot) = pair.slot()
    {
        let lba = random.next_lba();
        if let Err(refused) = pair.read(slot, namespace, lba, random.blocks) {
            let error = NvmeError::Request(refused.reason);
            return Err(end(pair, refused.slot, error));
        }
        under_way = under_way.wrapping_add(1);
    }
    if under_way == 0 {
        return Err(NvmeError::Request(Refusal::NoSlot));
    }
    pair.ring()?;
    Ok(under_way)
}

/// Takes back the slot of a read that failed, and those of the others when they end. Returns the
/// error, or that of waiting.
#[cold]
#[inline(never)]
fn end<C: ControllerHandle, const DEPTH: usize>(
    pair: &mut QueuePair<C, DEPTH>,
    slot: Slot,
    error: NvmeError<ErrorOf<C>>,
) -> NvmeError<ErrorOf<C>> {
    let _ = pair.release(slot);
    loop {
        // What was put into the queue is given to the device first.
        match pair.wait() {
            Ok(Some(ended)) => _ = pair.release(ended.slot),
            Ok(None) => return error,
            Err(error) => return error,
        }
    }
}

/// Returns what a turn took in the middle, of `count` turns of which `seen` says what they took.
fn median(seen: &[u16; MOST], count: u16) -> Option<u16> {
    let mut below = 0_u16;
    let found = (0..).zip(seen).find(|(_, seen)| {
        below = below.saturating_add(**seen);
        below > count / 2
    });
    found.map(|(took, _)| took)
}

/// Returns what the counter counts for itself.
#[inline(always)]
fn overhead(counter: &impl Fn() -> u64) -> u64 {
    let start = counter();
    counter().wrapping_sub(start)
}
