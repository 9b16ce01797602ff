//! Allocating and freeing IOVAs for many buffers, in each order.

use core::hint::black_box;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Serialize;
use vfio_core::abi::IovaRange;
use vfio_core::iova::IovaAllocator;

/// The most buffers: as many as type 1 maps by default.
const MOST: usize = 65_000;

/// The capacity: any order of frees succeeds.
const CAPACITY: usize = 65_536;

/// How many buffers there are.
const BUFFERS: [usize; 4] = [1, 1_000, 10_000, MOST];

/// Bytes of a buffer.
const SIZE: u64 = 0x1000;

/// The allocator, which is too large for a stack.
type Iovas = Box<IovaAllocator<CAPACITY>>;

/// The names of what is done.
const NAMES: [&str; 6] = ["fill", "fifo", "lifo", "random", "refill", "churn"];

/// One thing that is done with some number of buffers.
#[derive(Serialize)]
pub(crate) struct Row {
    name: &'static str,
    buffers: usize,
    /// How many of them something is done with.
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
            let done = (case.run)(&mut case);
            let elapsed = start.elapsed();
            ensure!(done, "{name} of {buffers} buffers ended early");
            rows.push(Row {
                name,
                buffers,
                done: case.live.len(),
                nanoseconds: elapsed.as_nanos() as f64 / case.live.len() as f64,
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
        let mut case = Self {
            iovas: Box::new(IovaAllocator::new(ranges, 0x4020_1000, None)?),
            live: Vec::with_capacity(buffers),
            run: measured_iova_fill,
        };
        case.live.resize(buffers, 0);
        if name == "fill" {
            return Ok(case);
        }
        ensure!(case.fill(), "{buffers} buffers can't be allocated");
        case.run = match name {
            "fifo" => measured_iova_free,
            "lifo" => {
                case.live.reverse();
                measured_iova_free
            }
            "random" => {
                shuffle(&mut case.live);
                measured_iova_free
            }
            "refill" => {
                // Every other page is free.
                for iova in case.live.iter().step_by(2) {
                    case.iovas.free(*iova, SIZE)?;
                }
                case.live.truncate(buffers.div_ceil(2));
                measured_iova_fill
            }
            "churn" => {
                shuffle(&mut case.live);
                // Half of them, so that there are as many holes as there can be.
                let half = case.live.split_off(buffers.div_ceil(2));
                for iova in half {
                    case.iovas.free(iova, SIZE)?;
                }
                measured_iova_churn
            }
            _ => bail!("there is nothing called {name}"),
        };
        Ok(case)
    }

    fn fill(&mut self) -> bool {
        self.live.iter_mut().all(|iova| {
            let allocated = self.iovas.allocate(SIZE);
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
    case.live.iter().all(|iova| iovas.free(*iova, SIZE).is_ok())
}

/// Frees each and allocates another in its place.
#[inline(never)]
#[unsafe(no_mangle)]
extern "Rust" fn measured_iova_churn(case: &mut Case) -> bool {
    let case = black_box(case);
    let iovas = &mut case.iovas;
    case.live.iter_mut().all(|iova| {
        let freed = iovas.free(*iova, SIZE);
        let allocated = iovas.allocate(SIZE);
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
