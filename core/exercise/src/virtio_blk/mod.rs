//! Tries the driver of virtio disks.

mod run;
mod step;

use core::fmt;

use vfio_drivers::virtio::blk::{Blk, Options, SECTOR};
use vfio_drivers::virtio::{State, Transport, VirtioError};

pub use run::run;
pub use step::Step;

use crate::report::same;

/// Bytes that are kept at most: as many are written, at the end of the disk.
pub const KEPT: usize = 128 << 10;

/// Entries of the queue.
const DEPTH: usize = 64;

/// Bytes of data of a request: all that is kept takes several.
const SLOT: u32 = 16 << 10;

/// How often it is tried to put back what was there.
const ATTEMPTS: usize = 3;

/// The status of a request that the device does not know.
const UNSUPP: u8 = 2;

/// The sectors that were used do not have what they had before, or may not. That is in what was
/// lent to keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct NotRestored<E> {
    /// The first of the sectors of 512 bytes.
    pub sector: u64,
    /// Bytes of what was kept of them.
    pub len: usize,
    /// Why; none where what was written is not what is read.
    pub error: Option<VirtioError<E>>,
}

/// How each step went; `E` is how a register access can fail.
pub type Report<E> = crate::Report<Step, VirtioError<E>, NotRestored<E>, { Step::ALL.len() }>;

/// How a step went; `E` is how a register access can fail.
pub type Outcome<E> = crate::Outcome<VirtioError<E>, NotRestored<E>>;

/// What a step returns.
type Done<T, R = ()> = Result<R, Outcome<<T as Transport>::Error>>;

/// The disk that is tried.
type Disk<T> = Blk<T, DEPTH>;

/// Tries every step on the disk behind `transport`. Its bus mastering must be on.
///
/// Sectors at the end of the disk are written: as many as `kept` holds, and [`KEPT`] bytes at most.
/// What was there is kept in `kept` meanwhile, and put back at the end, whatever went wrong before.
/// After a step that fails, those that build on it are
/// [`Outcome::NotRun`](crate::Outcome::NotRun).
pub fn exercise<T: Transport>(transport: T, kept: &mut [u8]) -> Report<T::Error> {
    let mut report = Report::new(Step::ALL);
    let options = Options {
        slot: SLOT,
        ..Options::default()
    };
    let started = Disk::start(transport, options).map_err(Outcome::Device);
    let Some(mut disk) = report.keep(Step::Start, started) else {
        return report;
    };
    report.keep(Step::Name, name(&mut disk));
    let found = area(&disk, kept).and_then(|(sector, kept)| {
        disk.read(sector, kept)?;
        Ok((sector, kept))
    });
    let Some((sector, kept)) = report.keep(Step::Keep, found) else {
        return report;
    };
    report.keep(Step::RoundTrip, round_trip(&mut disk, sector, kept.len()));
    report.keep(Step::Flush, disk.flush().map_err(Outcome::Device));
    report.keep(Step::Restart, restart(&mut disk, sector, kept.len()));
    report.keep(Step::Restore, put_back(&mut disk, sector, kept));
    report
}

/// Asks the disk for its name.
fn name<T: Transport>(disk: &mut Disk<T>) -> Done<T> {
    match disk.id() {
        Ok(_) => Ok(()),
        Err(VirtioError::Failed { status: UNSUPP }) => Err(Outcome::NotThere),
        Err(error) => Err(Outcome::Device(error)),
    }
}

/// Returns the last sectors of the disk, as many as there is room for, and that room.
fn area<'k, T: Transport>(disk: &Disk<T>, kept: &'k mut [u8]) -> Done<T, (u64, &'k mut [u8])> {
    let info = disk.info();
    if info.is_read_only {
        return Err(Outcome::NotThere);
    }
    let sectors = u64::try_from(kept.len().min(KEPT) / SECTOR).unwrap_or(0);
    let sectors = sectors.min(info.capacity);
    let len = usize::try_from(sectors).unwrap_or(0).saturating_mul(SECTOR);
    let room = kept.get_mut(..len).filter(|room| !room.is_empty());
    let room = room.ok_or(Outcome::NotThere)?;
    Ok((info.capacity.saturating_sub(sectors), room))
}

/// Returns the byte `at` of what is written in a round: no two sectors are the same.
fn pattern(round: u8, at: usize) -> u8 {
    let [a, b, c, ..] = at.to_le_bytes();
    a.wrapping_mul(5) ^ b.wrapping_mul(67) ^ c.wrapping_mul(29) ^ round
}

/// Fills bytes with what is written at `start` in a round.
fn fill(bytes: &mut [u8], round: u8, start: usize) {
    for (at, byte) in (start..).zip(bytes) {
        *byte = pattern(round, at);
    }
}

/// Compares bytes with what was written at `start` in a round.
fn compare<E>(bytes: &[u8], round: u8, start: usize) -> Result<(), Outcome<E>> {
    for (at, byte) in (start..).zip(bytes) {
        same(pattern(round, at), *byte)?;
    }
    Ok(())
}

/// Bytes that are written in one go, in memory of the stack: of several requests.
const CHUNK: usize = 32 << 10;

/// Writes all sectors sector by sector and in one go, and reads them the other way.
#[inline(never)]
fn round_trip<T: Transport>(disk: &mut Disk<T>, sector: u64, len: usize) -> Done<T> {
    let (mut one, mut many) = ([0; SECTOR], [0; CHUNK]);
    for (start, at) in (0..len).step_by(SECTOR).zip(sector..) {
        fill(&mut one, 1, start);
        disk.write(at, &one)?;
    }
    for chunk in chunks(sector, len) {
        let bytes = many.get_mut(..chunk.len).unwrap_or_default();
        disk.read(chunk.sector, bytes)?;
        compare(bytes, 1, chunk.start)?;
        fill(bytes, 2, chunk.start);
        disk.write(chunk.sector, bytes)?;
    }
    for (start, at) in (0..len).step_by(SECTOR).zip(sector..) {
        disk.read(at, &mut one)?;
        compare(&one, 2, start)?;
    }
    Ok(())
}

/// A part of what is written in one go.
struct Chunk {
    sector: u64,
    start: usize,
    len: usize,
}

/// Returns the parts of `len` bytes from a sector on.
fn chunks(sector: u64, len: usize) -> impl Iterator<Item = Chunk> {
    (0..len).step_by(CHUNK).map(move |start| Chunk {
        sector: sector.saturating_add(u64::try_from(start / SECTOR).unwrap_or(u64::MAX)),
        start,
        len: len.saturating_sub(start).min(CHUNK),
    })
}

/// Starts the disk again, and reads what was written.
#[inline(never)]
fn restart<T: Transport>(disk: &mut Disk<T>, sector: u64, len: usize) -> Done<T> {
    disk.restart()?;
    let mut many = [0; CHUNK];
    for chunk in chunks(sector, len) {
        let bytes = many.get_mut(..chunk.len).unwrap_or_default();
        disk.read(chunk.sector, bytes)?;
        compare(bytes, 2, chunk.start)?;
    }
    Ok(())
}

/// Puts back what was on the sectors, and starts the disk again where that fails.
fn put_back<T: Transport>(disk: &mut Disk<T>, sector: u64, kept: &[u8]) -> Done<T> {
    let mut error = None;
    for attempt in 0..ATTEMPTS {
        if (attempt > 0 || disk.state() != State::Running)
            && let Err(again) = disk.restart()
        {
            error = Some(again);
            continue;
        }
        match restore(disk, sector, kept) {
            Ok(true) => return Ok(()),
            Ok(false) => error = None,
            Err(again) => error = Some(again),
        }
    }
    Err(Outcome::Lost(NotRestored {
        sector,
        len: kept.len(),
        error,
    }))
}

/// Writes what was on the sectors, flushes, and compares.
#[inline(never)]
fn restore<T: Transport>(
    disk: &mut Disk<T>,
    sector: u64,
    kept: &[u8],
) -> Result<bool, VirtioError<T::Error>> {
    disk.write(sector, kept)?;
    disk.flush()?;
    let mut many = [0; CHUNK];
    for chunk in chunks(sector, kept.len()) {
        let bytes = many.get_mut(..chunk.len).unwrap_or_default();
        disk.read(chunk.sector, bytes)?;
        let end = chunk.start.saturating_add(chunk.len);
        if kept.get(chunk.start..end) != Some(&*bytes) {
            return Ok(false);
        }
    }
    Ok(true)
}

impl<E: fmt::Display> fmt::Display for NotRestored<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "NOT RESTORED: {} bytes from sector {} on are not what they were before: ",
            self.len, self.sector
        )?;
        match &self.error {
            Some(error) => error.fmt(f),
            None => f.write_str("what is read there is not what was written"),
        }
    }
}
