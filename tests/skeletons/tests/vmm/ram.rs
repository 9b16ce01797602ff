//! The guest's memory: the monitor's own, every byte of it given to a device.

use std::error::Error;
use std::mem;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use vfio_core::dma::{Buffer, BufferOptions, Direction, Dma};
use vfio_core::sys::Sys;

use vfio_skeletons::Ended;

/// Words of a page.
const WORDS: usize = 512;

/// A page, as processors of the guest and devices see it at once.
#[repr(align(4096))]
struct Page([AtomicU64; WORDS]);

/// A stretch of the guest's memory. It is made of the heap here, and might be of a file, of another
/// process or of huge pages.
pub(crate) struct Ram<S: Sys> {
    /// Where the guest finds it.
    start: u64,
    pages: Arc<[Page]>,
    /// None only when it is dropped.
    mapped: Option<Buffer<Arc<Dma<S>>>>,
}

impl<S: Sys> Ram<S> {
    /// Makes `len` bytes, whole pages, at the guest-physical address `start`, where the device finds
    /// them as well.
    pub(crate) fn new(dma: &Arc<Dma<S>>, start: u64, len: usize) -> Result<Self, Box<dyn Error>> {
        let page = |_| Page([const { AtomicU64::new(0) }; WORDS]);
        let pages: Arc<[Page]> = (0..len / size_of::<Page>()).map(page).collect();
        let base = NonNull::from(&*pages).cast();
        let options = BufferOptions::new(Direction::Both).at(start);
        // SAFETY: the pages lie on the heap, which is where they stay: they are freed after the
        // buffer, and not at all where it can't be unmapped (`Drop`). All that is ever made of them
        // are references to atomics.
        let mapped = unsafe { Buffer::foreign(Arc::clone(dma), base, len, options) }?;
        Ok(Self {
            start,
            pages,
            mapped: Some(mapped),
        })
    }

    /// Reads at a guest-physical address; whether it lies here.
    pub(crate) fn read(&self, at: u64, bytes: &mut [u8]) -> Result<bool, Box<dyn Error>> {
        let Some(start) = self.offset_of(at)? else {
            return Ok(false);
        };
        for (at, byte) in (start..).zip(bytes) {
            let word = self.word(at).ok_or("it ends in between")?;
            *byte = word.load(Ordering::Relaxed).to_ne_bytes()[at % 8];
        }
        Ok(true)
    }

    /// Writes at a guest-physical address, as processors of the guest do.
    pub(crate) fn write(&self, at: u64, bytes: &[u8]) -> Ended {
        let start = self.offset_of(at)?.ok_or("there is no memory")?;
        for (at, byte) in (start..).zip(bytes) {
            let word = self.word(at).ok_or("it ends in between")?;
            let mut value = word.load(Ordering::Relaxed).to_ne_bytes();
            value[at % 8] = *byte;
            word.store(u64::from_ne_bytes(value), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Returns how far an address lies in it, if it does.
    fn offset_of(&self, at: u64) -> Result<Option<usize>, Box<dyn Error>> {
        let offset = at
            .checked_sub(self.start)
            .map(usize::try_from)
            .transpose()?;
        Ok(offset.filter(|offset| self.word(*offset).is_some()))
    }

    fn word(&self, at: usize) -> Option<&AtomicU64> {
        self.pages.get(at / 8 / WORDS)?.0.get(at / 8 % WORDS)
    }
}

impl<S: Sys> Drop for Ram<S> {
    fn drop(&mut self) {
        if let Some(mapped) = self.mapped.take()
            && mapped.unmap().is_err()
        {
            // The device may still write them.
            mem::forget(Arc::clone(&self.pages));
        }
    }
}
