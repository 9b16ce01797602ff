//! Bytes between memory for DMA and a slice, against `memcpy` of the same bytes in the same run.

use core::hint::black_box;

use anyhow::{Result, anyhow, ensure};
use serde::Serialize;
use vfio_core::mmio::Window;
use vfio_core::sys::{Pages, Sys as _};
use vfio_hosted::linux::{Linux, Memory};

use crate::time;

/// How many bytes are copied: a cache line, a block, a frame and more, a page, many pages.
const LENGTHS: [usize; 5] = [64, 512, 2_048, 4_096, 65_536];

/// How many copies are timed at once.
const BATCH: u32 = 50;

/// Bytes of each copy.
#[derive(Serialize)]
pub(crate) struct Row {
    bytes: usize,
    /// Nanoseconds that `memcpy` takes.
    memcpy: f64,
    /// Nanoseconds from memory for DMA to a slice.
    read: f64,
    /// Nanoseconds from a slice to memory for DMA.
    write: f64,
}

/// Memory for DMA, and two slices aligned as it is.
struct Case {
    window: Window<Memory>,
    from: Window<Memory>,
    to: Window<Memory>,
    len: usize,
}

/// Measures each length.
///
/// # Errors
///
/// There is no memory, or other bytes arrive than were sent.
pub(crate) fn rows() -> Result<Vec<Row>> {
    LENGTHS
        .into_iter()
        .map(|len| {
            let mut case = Case::new(len)?;
            case.check()?;
            let batch = |run: fn(&mut Case)| {
                move |case: &mut Case| (0..BATCH).for_each(|_| run(black_box(case)))
            };
            let mut measured = |run| time::median(&mut case, batch(run), |_| ()) / f64::from(BATCH);
            Ok(Row {
                bytes: len,
                memcpy: measured(Case::memcpy),
                read: measured(Case::read),
                write: measured(Case::write),
            })
        })
        .collect()
}

impl Case {
    fn new(len: usize) -> Result<Self> {
        let memory = || {
            let memory = Linux.memory(len, Pages::Ordinary);
            let memory = memory.map_err(|errno| anyhow!("no memory: {errno}"))?;
            Ok::<_, anyhow::Error>(Window::new(memory))
        };
        Ok(Self {
            window: memory()?,
            from: memory()?,
            to: memory()?,
            len,
        })
    }

    /// Returns where bytes come from and where they go.
    fn slices(&mut self) -> (&mut [u8], &mut [u8]) {
        let len = self.len;
        // SAFETY: no device was given the memory, and no other window is over it.
        let from = unsafe { self.from.as_mut_slice() };
        // SAFETY: as above.
        let to = unsafe { self.to.as_mut_slice() };
        (&mut from[..len], &mut to[..len])
    }

    fn memcpy(&mut self) {
        let (from, to) = self.slices();
        to.copy_from_slice(black_box(from));
        black_box(to);
    }

    fn read(&mut self) {
        let len = self.len;
        // SAFETY: no device was given the memory, and no other window is over it.
        let to = unsafe { self.to.as_mut_slice() };
        let _ = self.window.read_bytes(0, &mut to[..len]);
        black_box(to);
    }

    fn write(&mut self) {
        let len = self.len;
        // SAFETY: as above.
        let from = unsafe { self.from.as_slice() };
        let _ = self.window.write_bytes(0, black_box(&from[..len]));
    }

    fn check(&mut self) -> Result<()> {
        let (from, _) = self.slices();
        from.iter_mut()
            .zip(1..)
            .for_each(|(to, n): (_, u32)| *to = n.to_le_bytes()[0]);
        self.write();
        self.read();
        let (from, to) = self.slices();
        ensure!(from == to, "other bytes arrive than were sent");
        Ok(())
    }
}
