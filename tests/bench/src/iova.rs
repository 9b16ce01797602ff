//! Allocating and freeing IOVAs for many buffers, in each order.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde::Serialize;
use vfio_core::dma::iova::{IovaAllocator, IovaError};
use vfio_core::wire::abi::IovaRange;
use zerocopy::FromZeros as _;

/// The most buffers: as many as type 1 maps by default.
const MOST: usize = 65_000;

/// The capacity.
const CAPACITY: usize = 65_536;

/// How many buffers there are.
const BUFFERS: [usize; 4] = [1, 1_000, 10_000, MOST];

/// Bytes of a buffer.
const SIZE: u64 = 0x1000;

/// The allocator, which is too large for a stack.
type Iovas = Box<IovaAllocator<CAPACITY>>;

/// The names of what is done.
const NAMES: [&str; 9] = [
    "fill", "fifo", "lifo", "other", "random", "refill", "reserve", "aligned", "churn",
];

/// One thing that is done with some number of buffers.
#[derive(Serialize)]
pub(crate) struct Row {
    name: &'static str,
    buffers: usize,
    /// How many operations there are.
    done: usize,
    /// Nanoseconds for each of these.
    nanoseconds: f64,
}

/// What is done, and what it is done with.
struct Case {
    iovas: Iovas,
    /// Where something is done.
    live: Vec<u64>,
    run: fn(&mut Case) -> bool,
    /// How many operations there are for each of `live`.
    each: usize,
}

/// Measures everything with each number of buffers.
///
/// # Errors
///
/// Something is not allocated or freed.
pub(crate) fn rows() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for name in NAMES {
        for buffers in BUFFERS {
            let mut case = Case::new(name, buffers)?;
            let start = Instant::now();
            let is_done = (case.run)(&mut case);
            let elapsed = start.elapsed();
            ensure!(is_done, "{name} of {buffers} buffers ended early");
            let done = case.live.len() * case.each;
            rows.push(Row {
                name,
                buffers,
                done,
                nanoseconds: elapsed.as_nanos() as f64 / done as f64,
            });
        }
    }
    Ok(rows)
}

/// Does one thing, for valgrind to count in `measured_iova_NAME`.
///
/// # Errors
///
/// As for [`rows`].
pub(crate) fn once(name: &str, buffers: &str) -> Result<()> {
    let buffers = buffers.parse().context("not a number of buffers")?;
    let mut case = Case::new(name, buffers)?;
    ensure!((case.run)(&mut case), "{name} ended early");
    Ok(())
}

impl Case {
    fn new(name: &str, buffers: usize) -> Result<Self> {
        let ranges = [
            IovaRange {
                start: 0,
                end: 0xfedf_ffff,
            },
            IovaRange {
                start: 0xfef0_0000,
                end: (1 << 39) - 1,
            },
        ];
        // Made in place.
        let iovas = IovaAllocator::new_box_zeroed();
        let mut iovas: Iovas = iovas.map_err(|_| anyhow!("no memory for an allocator"))?;
        iovas.init(ranges, 0x4020_1000, None)?;
        let mut case = Self {
            iovas,
            live: vec![0; buffers],
            run: measured_iova_fill,
            each: 1,
        };
        if name == "fill" {
            return Ok(case);
        }
        ensure!(case.fill(), "{buffers} buffers can't be allocated");
        case.run = measured_iova_free;
        match name {
            "fifo" => {}
            "lifo" => case.live.reverse(),
            // Every other one first.
            "other" => case.live.sort_by_key(|iova| (iova / SIZE % 2, *iova)),
            "random" => shuffle(&mut case.live),
            "refill" => case.halve(measured_iova_fill)?,
            "reserve" => {
                case.halve(measured_iova_reserve)?;
                shuffle(&mut case.live);
            }
            "aligned" => case.halve(measured_iova_aligned)?,
            "churn" => {
                shuffle(&mut case.live);
                // Half of them, so that there are as many holes as there can be.
                let half = case.live.split_off(buffers.div_ceil(2));
                for iova in half {
                    case.iovas.free(iova, SIZE)?;
                }
                case.run = measured_iova_churn;
                case.each = 2;
            }
            _ => bail!("there is nothing called {name}"),
        }
        Ok(case)
    }

    /// Frees every other buffer, the first first, and does something in their places.
    fn halve(&mut self, run: fn(&mut Case) -> bool) -> Result<(), IovaError> {
        self.live = self.live.iter().copied().step_by(2).collect();
        self.run = run;
        self.live
            .iter()
            .try_for_each(|iova| self.iovas.free(*iova, SIZE))
    }

    fn fill(&mut self) -> bool {
        self.live.iter_mut().all(|iova| {
            let allocated = self.iovas.allocate(black_box(SIZE));
            *iova = allocated.unwrap_or(u64::MAX);
            allocated.is_ok()
        })
    }
}

/// Allocates them all.
#[inline(never)]
#[unsafe(no_mangle)]
extern "Rust" fn measured_iova_fill(case: &mut Case) -> bool {
    black_box(case).fill()
}

/// Frees them all, in their order.
#[inline(never)]
#[unsafe(no_mangle)]
extern "Rust" fn measured_iova_free(case: &mut Case) -> bool {
    let case = black_box(case);
    let iovas = &mut case.iovas;
    case.live
        .iter()
        .all(|iova| iovas.free(*iova, black_box(SIZE)).is_ok())
}

/// Allocates them all where they were.
#[inline(never)]
#[unsafe(no_mangle)]
extern "Rust" fn measured_iova_reserve(case: &mut Case) -> bool {
    let case = black_box(case);
    let iovas = &mut case.iovas;
    case.live
        .iter()
        .all(|iova| iovas.reserve(*iova, black_box(SIZE)).is_ok())
}

/// Allocates as many with an alignment that no single page has, below 4 GiB.
#[inline(never)]
#[unsafe(no_mangle)]
extern "Rust" fn measured_iova_aligned(case: &mut Case) -> bool {
    let case = black_box(case);
    let iovas = &mut case.iovas;
    case.live.iter_mut().all(|iova| {
        let allocated = iovas.allocate_up_to(black_box(SIZE), 2 * SIZE, u64::from(u32::MAX));
        *iova = allocated.unwrap_or(u64::MAX);
        allocated.is_ok()
    })
}

/// Frees each and allocates another in its place.
#[inline(never)]
#[unsafe(no_mangle)]
extern "Rust" fn measured_iova_churn(case: &mut Case) -> bool {
    let case = black_box(case);
    let iovas = &mut case.iovas;
    case.live.iter_mut().all(|iova| {
        let freed = iovas.free(*iova, black_box(SIZE));
        let allocated = iovas.allocate(black_box(SIZE));
        *iova = allocated.unwrap_or(u64::MAX);
        freed.is_ok() && allocated.is_ok()
    })
}

/// Puts them into an order that is no order, and the same every time.
fn shuffle(items: &mut [u64]) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for last in (1..items.len()).rev() {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        items.swap(last, (state % (last as u64 + 1)) as usize);
    }
}
