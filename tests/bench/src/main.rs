//! What it costs to open a device and to reach its registers: with `vfio-core`, with other crates, and written by hand.
//!
//! The kernel is replaced: [`replies`] takes the place of libc's `ioctl`, for all that open a device. `cargo xtask bench`
//! runs this program: `measure` prints everything but the instructions as JSON. `once NAME` and `again NAME` run the code
//! called NAME for valgrind to count, in a function called `measured_NAME`: for the first time in a process, and after it
//! ran before. `once register NAME` runs `measured_read_NAME` and `measured_write_NAME`.

mod allocator;
mod copies;
mod floor;
mod iova;
mod measured;
mod open;
mod peer;
mod registers;
mod replies;
mod sparse;
mod stack;
mod time;

use std::env;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

/// All that is measured here.
#[derive(Serialize)]
struct Report {
    /// Opening a device, for each way to do it.
    opening: Vec<Opening>,
    /// Reading and writing a register, for each way to do it.
    registers: Vec<registers::Row>,
    /// Copying bytes from and to memory for DMA, for each length.
    copies: Vec<copies::Row>,
    /// Allocating and freeing IOVAs, for each order and number of buffers.
    iova: Vec<iova::Row>,
    /// Parsing sparse chains, for each length.
    sparse: Vec<sparse::Row>,
    /// The peak stack of asking and parsing, for each question.
    stack: Vec<Depth>,
}

/// Opening a device in one way.
#[derive(Serialize)]
struct Opening {
    name: &'static str,
    /// Calls of `ioctl`.
    ioctls: usize,
    /// Heap allocations.
    allocations: usize,
    /// Bytes allocated.
    allocated: usize,
    /// The median, the replaced `ioctl` included.
    nanoseconds: f64,
}

/// The stack that a question takes.
#[derive(Serialize)]
struct Depth {
    name: &'static str,
    /// Bytes, without the buffer for the reply.
    bytes: usize,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    replies::prepare()?;
    match words.as_slice() {
        ["measure"] => {
            println!("{}", serde_json::to_string(&measure()?)?);
            Ok(())
        }
        ["once", "sparse", areas] => sparse::once(areas.parse().context("not a number of areas")?),
        ["once", "iova", name, buffers] => iova::once(name, buffers),
        ["once", "register", name] => registers::once(name),
        ["once", name] => measured::once(name, true),
        ["again", name] => measured::once(name, false),
        _ => bail!("start it with `cargo xtask bench`"),
    }
}

fn measure() -> Result<Report> {
    Ok(Report {
        opening: measured::NAMES
            .into_iter()
            .map(opening)
            .collect::<Result<_>>()?,
        registers: registers::rows()?,
        copies: copies::rows()?,
        iova: iova::rows()?,
        sparse: sparse::rows()?,
        stack: open::QUESTIONS
            .into_iter()
            .map(|(name, question)| Depth {
                name,
                bytes: stack::depth(question),
            })
            .collect(),
    })
}

fn opening(name: &'static str) -> Result<Opening> {
    let mut subject = measured::Subject::new(name)?;
    // What a first call sets up once and for all is not counted.
    subject.open();
    subject.close();
    let before = (allocator::count(), replies::calls());
    subject.open();
    let after = (allocator::count(), replies::calls());
    subject.close();
    Ok(Opening {
        name,
        ioctls: after.1 - before.1,
        allocations: after.0.allocations - before.0.allocations,
        allocated: after.0.bytes - before.0.bytes,
        nanoseconds: time::median(
            &mut subject,
            measured::Subject::open,
            measured::Subject::close,
        ),
    })
}
