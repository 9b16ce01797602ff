//! The reference driver of NVMe on the first controller that the machine has: what it is, and how
//! fast random reads are. Nothing is written.
#![no_std]
#![no_main]

mod drive;

use vfio_drivers::nvme::Namespace;
use vfio_exercise::nvme::{Cost, RandomBlocks, random_reads};
use vfio_unikernel::boot::Boot;
use vfio_unikernel::clock::{self, ClockError};

use drive::{DEPTH, Drive, DriveError, Failure, Pair, drive, options};

vfio_unikernel::entry!(main);

/// How many reads are counted at each depth.
const READS: u16 = 4096;

/// Why the controller was not driven to the end.
#[derive(defmt::Format)]
enum Error {
    /// It was not driven, or failed.
    Drive(DriveError),
    /// The time can't be told.
    Clock(ClockError),
}

fn main(boot: &Boot) -> Result<(), Error> {
    drive(boot, |_, controller, namespace| {
        read(controller, &namespace)
    })
}

/// Reads at random, one at a time and many.
fn read(controller: &Drive<'_>, namespace: &Namespace) -> Result<(), Error> {
    // More than a page where blocks have metadata in line.
    let stride = usize::try_from(namespace.stride()).unwrap_or(0);
    let blocks = usize::try_from(RandomBlocks::new(namespace).blocks()).unwrap_or(1);
    let len = blocks.saturating_mul(stride);
    let mut pair: Pair<'_, '_> = controller.queue_pair(options(namespace, len, None))?;
    for depth in [1, DEPTH] {
        let start = micros()?;
        let cost = random_reads(&mut pair, namespace, depth, READS, clock::stamp)?;
        say(depth, &cost, micros()?.saturating_sub(start));
    }
    Ok(())
}

/// Microseconds since the processor was started.
fn micros() -> Result<u64, Error> {
    let now = clock::now().map_err(Error::Clock)?;
    Ok(u64::try_from(now.as_micros()).unwrap_or(u64::MAX))
}

/// Says what reads cost, and how many there were a second.
fn say(depth: usize, cost: &Cost, micros: u64) {
    let iops = cost.reads.saturating_mul(1_000_000).checked_div(micros);
    defmt::info!(
        "random reads at depth {=usize}: {=u64}, {=u64} ticks each, {=u64} a second",
        depth,
        cost.reads,
        cost.of_a_read(),
        iops.unwrap_or(0)
    );
}

impl From<DriveError> for Error {
    fn from(error: DriveError) -> Self {
        Self::Drive(error)
    }
}

impl From<Failure> for Error {
    fn from(error: Failure) -> Self {
        Self::Drive(error.into())
    }
}
