//! Whether blocks have what was written to them: of random sizes at random places, at several
//! depths, polled and by interrupts, after a flush and after a restart.
//!
//! It needs the word `write` on the command line: the last 4096 blocks of the first namespace lose
//! what is on them.
#![no_std]
#![no_main]

mod drive;

use spin::Mutex;
use vfio_core::device::irq::{IrqError, Vectors};
use vfio_core::wire::abi::pci_irq;
use vfio_drivers::nvme::{Completion, Namespace, NvmeError, Slot};

use vfio_unikernel::boot::Boot;

use drive::{DEPTH, Drive, DriveError, Failure, Machine, Opened, Pair, drive, options};

vfio_unikernel::entry!(main);

/// The MSI-X vector of the queue pair that is not polled.
const VECTOR: u16 = 1;

/// How many blocks are used at most.
const BLOCKS: usize = 4096;

/// Bytes that a command transfers at most: more than two pages take a PRP list.
const TRANSFER: usize = 16 << 10;

/// Depths, and how many commands are made at each.
const DEPTHS: [(usize, u32); 4] = [(1, 60), (2, 100), (7, 200), (DEPTH, 400)];

/// The round that waits for interrupts.
const BY_MSIX: usize = 1;

/// The round that only looks at what the others left.
const AFTER: usize = 2;

/// How often each block was written.
static WRITTEN: Mutex<[u16; BLOCKS]> = Mutex::new([0; BLOCKS]);

/// Why there is no answer, or which one.
#[derive(defmt::Format)]
enum Error {
    /// The controller was not driven, or failed.
    Drive(DriveError),
    /// Nobody said that something may be written.
    NotAsked,
    /// Interrupts can't be had.
    Irq(IrqError),
    /// A block has not what was written to it.
    Lost(Lost),
}

/// A block that has not what was written to it.
#[derive(Clone, Copy, defmt::Format)]
struct Lost {
    /// The block.
    lba: u64,
    /// The byte in it.
    at: usize,
    /// What was written there.
    expected: u64,
    /// What was read.
    got: u64,
}

/// What is checked.
struct Check<'a> {
    namespace: &'a mut Namespace,
    /// The first block that is used.
    first: u64,
    /// How many are.
    count: usize,
    /// Blocks that a command transfers at most.
    most: usize,
    written: &'a mut [u16; BLOCKS],
    random: u64,
    lost: Option<Lost>,
}

/// A command that is under way.
#[derive(Clone, Copy, Default)]
struct Command {
    /// Which of the parts of the blocks is its own: no two commands are about one block at a time.
    part: usize,
    /// The first of its blocks, among those that are used, and how many.
    start: usize,
    count: usize,
    is_write: bool,
}

/// What is done to blocks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Write,
    Read,
}

fn main(boot: &Boot) -> Result<(), Error> {
    let mut words = boot.command_line.split(|byte| *byte == b' ');
    if !words.any(|word| word == b"write") {
        return Err(Error::NotAsked);
    }
    drive(boot, |device, controller, mut namespace| {
        let vectors = device.vectors::<2>(pci_irq::MSIX).map_err(Error::Irq)?;
        let lost = check(controller, &mut namespace, &vectors);
        let lost = lost.map_err(DriveError::Nvme)?;
        lost.map_or(Ok(()), |lost| Err(Error::Lost(lost)))
    })
}

impl From<DriveError> for Error {
    fn from(error: DriveError) -> Self {
        Self::Drive(error)
    }
}

/// Writes and reads, and compares: returns what was lost. The controller is started again, and its namespace read
/// again.
fn check(
    controller: &mut Drive<'_>,
    namespace: &mut Namespace,
    vectors: &Vectors<Opened<'_>, 2>,
) -> Result<Option<Lost>, Failure> {
    let count = usize::try_from(namespace.blocks()).unwrap_or(BLOCKS);
    let count = count.min(BLOCKS);
    let stride = usize::try_from(namespace.stride()).unwrap_or(usize::MAX);
    let longest = controller.longest_transfer().unwrap_or(TRANSFER);
    let mut check = Check {
        first: namespace
            .blocks()
            .saturating_sub(u64::try_from(count).unwrap_or(0)),
        namespace,
        count,
        most: TRANSFER
            .min(longest)
            .checked_div(stride)
            .unwrap_or(0)
            .max(1),
        written: &mut WRITTEN.lock(),
        random: 0x5eed_0002,
        lost: None,
    };
    for round in 0..=AFTER {
        let vectors = (round == BY_MSIX).then_some(vectors);
        if round == AFTER {
            controller.restart()?;
            *check.namespace = controller.namespace(check.namespace.id())?;
        }
        let vector = vectors.map(|_| VECTOR);
        let most = check.most.saturating_mul(stride);
        let mut pair: Pair<'_, '_> =
            controller.queue_pair(options(check.namespace, most, vector))?;
        if round == 0 {
            check.all(&mut pair, Act::Write)?;
        }
        if round != AFTER {
            for (depth, commands) in DEPTHS {
                check.at_random(&mut pair, vectors, depth, commands)?;
            }
            pair.flush_blocks(check.namespace)?;
        }
        check.all(&mut pair, Act::Read)?;
        if check.lost.is_some() {
            return Ok(check.lost);
        }
        let how = match round {
            AFTER => defmt::intern!("after a restart"),
            BY_MSIX => defmt::intern!("by MSI-X"),
            _ => defmt::intern!("polled"),
        };
        defmt::info!("integrity, {=istr}: passed", how);
    }
    // For the host, to look whether the disk has the same.
    defmt::info!(
        "checksum {=u64:#018x} from block {=u64} on",
        check.sum(),
        check.first
    );
    Ok(None)
}

impl Check<'_> {
    /// Writes or reads all blocks, with as many commands at a time as there are slots.
    fn all(&mut self, pair: &mut Pair<'_, '_>, act: Act) -> Result<(), Failure> {
        let mut commands = [Command::default(); DEPTH];
        let mut next = 0;
        loop {
            while next < self.count
                && let Some(slot) = pair.slot()
            {
                let count = self.most.min(self.count.saturating_sub(next));
                let command = Command {
                    part: 0,
                    start: next,
                    count,
                    is_write: act == Act::Write,
                };
                self.give(pair, slot, command, &mut commands)?;
                next = next.saturating_add(count);
            }
            let Some(ended) = pair.wait()? else {
                return Ok(());
            };
            let (slot, _) = self.take(pair, ended, &commands)?;
            release(pair, slot)?;
        }
    }

    /// Makes `left` commands with random blocks, `depth` at a time.
    fn at_random(
        &mut self,
        pair: &mut Pair<'_, '_>,
        vectors: Option<&Vectors<Opened<'_>, 2>>,
        depth: usize,
        mut left: u32,
    ) -> Result<(), Failure> {
        let mut commands = [Command::default(); DEPTH];
        for part in 0..depth {
            let Some(slot) = pair.slot() else {
                break;
            };
            let command = self.choose(part, depth);
            self.give(pair, slot, command, &mut commands)?;
        }
        loop {
            let ended = match vectors {
                None => pair.wait()?,
                Some(vectors) => pair.wait_for_interrupt(vectors)?,
            };
            let Some(ended) = ended else {
                return Ok(());
            };
            let (slot, part) = self.take(pair, ended, &commands)?;
            if left == 0 {
                release(pair, slot)?;
                continue;
            }
            left = left.saturating_sub(1);
            let command = self.choose(part, depth);
            self.give(pair, slot, command, &mut commands)?;
        }
    }

    /// Returns a command with random blocks of a part.
    fn choose(&mut self, part: usize, depth: usize) -> Command {
        let size = self.count.checked_div(depth).unwrap_or(0).max(1);
        let offset = self.below(size);
        let most = size.saturating_sub(offset).min(self.most);
        Command {
            part,
            start: part.saturating_mul(size).saturating_add(offset),
            count: self.below(most).saturating_add(1),
            is_write: self.below(2) == 0,
        }
    }

    /// Gives a command to the device.
    fn give(
        &mut self,
        pair: &mut Pair<'_, '_>,
        slot: Slot,
        command: Command,
        commands: &mut [Command; DEPTH],
    ) -> Result<(), Failure> {
        if let Some(place) = commands.get_mut(usize::from(slot.number())) {
            *place = command;
        }
        let blocks = command.start..command.start.saturating_add(command.count);
        for written in self.written.get_mut(blocks).into_iter().flatten() {
            *written = written.wrapping_add(u16::from(command.is_write));
        }
        // A read has to fill what it is not to be: all of it is wrong before.
        self.each_word(pair, &slot, command, |window, at, word| {
            let word = if command.is_write { word } else { !word };
            window.write(at, word).map_or(Some(0), |()| None)
        })?;
        let lba = self.lba(command.start);
        let count = u32::try_from(command.count).unwrap_or(u32::MAX);
        let given = if command.is_write {
            pair.write(slot, self.namespace, lba, count)
        } else {
            pair.read(slot, self.namespace, lba, count)
        };
        given.map_err(|refused| NvmeError::Request(refused.reason))?;
        Ok(())
    }

    /// Looks at a command that ended, and returns its slot and its part.
    fn take(
        &mut self,
        pair: &mut Pair<'_, '_>,
        ended: Completion,
        commands: &[Command; DEPTH],
    ) -> Result<(Slot, usize), Failure> {
        ended.result.map_err(NvmeError::Command)?;
        let slot = ended.slot;
        let command = commands.get(usize::from(slot.number())).copied();
        let command = command.unwrap_or_default();
        if !command.is_write {
            self.each_word(pair, &slot, command, |window, at, word| {
                let got = window.read(at).unwrap_or(!word);
                (got != word).then_some(got)
            })?;
        }
        Ok((slot, command.part))
    }

    /// Does something with each word of a command's data, which should be what `act` is told;
    /// what it returns is there instead.
    fn each_word(
        &mut self,
        pair: &mut Pair<'_, '_>,
        slot: &Slot,
        command: Command,
        act: impl Fn(&mut Data<'_>, usize, u64) -> Option<u64>,
    ) -> Result<(), Failure> {
        let stride = usize::try_from(self.namespace.stride()).unwrap_or(0);
        let mut window = pair.window(slot).map_err(NvmeError::Request)?;
        for block in 0..command.count {
            let index = command.start.saturating_add(block);
            let base = block.saturating_mul(stride);
            for at in (0..self.size()).step_by(8) {
                let expected = self.word(index, at);
                if let Some(got) = act(&mut window, base.saturating_add(at), expected) {
                    self.lose(index, at, expected, got);
                }
            }
        }
        Ok(())
    }

    /// Keeps what was lost first.
    #[cold]
    fn lose(&mut self, index: usize, at: usize, expected: u64, got: u64) {
        let lba = self.lba(index);
        let lost = Lost {
            lba,
            at,
            expected,
            got,
        };
        self.lost.get_or_insert(lost);
    }

    /// Returns the word at `at` (bytes) of one of the blocks used, as it was written last.
    fn word(&self, index: usize, at: usize) -> u64 {
        let written = self.written.get(index).copied().unwrap_or(0);
        word(self.lba(index) << 16 ^ u64::from(written), at)
    }

    /// Returns a checksum (FNV-1a of words) of all blocks as they were written last.
    fn sum(&self) -> u64 {
        let mut sum = 0xcbf2_9ce4_8422_2325;
        for index in 0..self.count {
            for at in (0..self.size()).step_by(8) {
                sum = (sum ^ self.word(index, at)).wrapping_mul(0x100_0000_01b3);
            }
        }
        sum
    }

    /// Bytes of a block.
    fn size(&self) -> usize {
        usize::try_from(self.namespace.block_size()).unwrap_or(0)
    }

    /// Returns the block of the namespace that is one of those used.
    fn lba(&self, index: usize) -> u64 {
        let index = u64::try_from(index).unwrap_or(0);
        self.first.saturating_add(index)
    }

    /// Returns a random number below `limit`.
    fn below(&mut self, limit: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let number = usize::try_from(self.random >> 16).unwrap_or(0);
        number.checked_rem(limit).unwrap_or(0)
    }
}

/// Gives a slot back.
fn release(pair: &mut Pair<'_, '_>, slot: Slot) -> Result<(), Failure> {
    pair.release(slot)
        .map_err(|refused| NvmeError::Request(refused.reason))
}

/// The memory of a slot.
type Data<'q> = vfio_drivers::nvme::SlotWindow<'q, Machine>;

/// Returns the word at `at` (bytes) of a block, which tells blocks and writes apart.
fn word(seed: u64, at: usize) -> u64 {
    let at = u64::try_from(at).unwrap_or(0);
    let mixed = (seed.rotate_left(32) ^ at).wrapping_mul(0xff51_afd7_ed55_8ccd);
    (mixed ^ mixed >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53)
}
