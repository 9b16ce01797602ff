//! Disks (Virtual I/O Device Specification 1.2, section 5.2).
//!
//! ```
//! use vfio_core::device::Device;
//! use vfio_core::dma::Dma;
//! use vfio_core::sys::Sys;
//! use vfio_drivers::virtio::PciTransport;
//! use vfio_drivers::virtio::blk::{Blk, Options};
//!
//! /// Reads the first sector.
//! fn first<S: Sys>(
//!     device: &Device<S>,
//!     dma: &Dma<S, 64>,
//! ) -> Result<[u8; 512], Box<dyn std::error::Error>> {
//!     let transport = PciTransport::open(device, dma)?;
//!     let mut disk = Blk::<_, 64>::start(transport, Options::default())?;
//!     let mut sector = [0; 512];
//!     disk.read(0, &mut sector)?;
//!     Ok(sector)
//! }
//! ```

mod config;
mod requests;
mod transfer;

use core::time::Duration;

use vfio_core::dma::{DmaError, DmaHandle};

pub use config::{DiskInfo, SECTOR, features};

use super::device::{QueueOptions, Virtio};
use super::error::{Refusal, VirtioError};
use super::features::Features;
use super::queue::Virtqueue;
use super::transport::Transport;
use crate::state::State;
use config::WANTED;
use requests::{Kind, Requests};
use transfer::{Data, Session};

/// The type of disks (section 5).
const DEVICE_TYPE: u16 = 2;
/// The queue of requests.
const QUEUE: u16 = 0;
/// Parts of a request: what is asked for, its data, and how it went.
const PIECES: u16 = 3;
/// Bytes of a sector, as the device counts.
const SECTOR_32: u32 = 512;
/// Bytes of a name.
const ID_LEN: usize = 20;

/// What is asked of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Options {
    /// Bytes of data of a request, which is rounded up to whole sectors: a longer transfer takes
    /// several.
    pub slot: u32,
    /// How many requests are under way at a time, at most.
    pub requests: u16,
    /// Features that are not to be used.
    pub without: Features,
    /// How long a request may take.
    pub request: Duration,
}

/// A disk, with a queue of up to `DEPTH` entries.
///
/// It is reset on drop. Where nothing tells that it is, its memory is never given back.
#[derive(Debug)]
pub struct Blk<T: Transport, const DEPTH: usize> {
    virtio: Virtio<T>,
    options: Options,
    info: DiskInfo,
    /// None only when it is dropped.
    disk: Option<Disk<T::Dma, DEPTH>>,
}

/// The queue of a disk, and the memory of requests.
#[derive(Debug)]
struct Disk<M: DmaHandle, const DEPTH: usize> {
    queue: Virtqueue<M, DEPTH>,
    requests: Requests<M>,
    /// Slots that no request uses.
    free: heapless::Vec<u16, DEPTH>,
    /// What each request is about.
    places: [Extent; DEPTH],
    /// How many slots there are.
    slots: u16,
}

/// Bytes of a transfer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Extent {
    start: usize,
    len: usize,
}

impl Default for Options {
    /// Returns up to 16 requests of 64 KiB at a time, and 30 seconds for each.
    fn default() -> Self {
        Self {
            slot: 64 << 10,
            requests: 16,
            without: Features::default(),
            request: Duration::from_secs(30),
        }
    }
}

impl<T: Transport, const DEPTH: usize> Blk<T, DEPTH> {
    /// Starts a disk behind a transport.
    ///
    /// # Errors
    /// [`VirtioError`]; the device is reset then.
    pub fn start(transport: T, options: Options) -> Result<Self, VirtioError<T::Error>> {
        const {
            assert!(
                DEPTH >= 4 && DEPTH <= 1 << 15,
                "a disk has a queue of 4 to 32768 entries"
            );
        }
        let mut virtio = Virtio::begin(transport, DEVICE_TYPE, wanted(options.without))?;
        let info = DiskInfo::read(&virtio)?;
        let queue = virtio.queue(QueueOptions {
            queue: QUEUE,
            pieces: PIECES,
        })?;
        if queue.room(PIECES) == 0 {
            return Err(VirtioError::NoQueue { queue: QUEUE });
        }
        let disk = Disk::new(virtio.transport().dma(), queue, &options);
        let disk = disk.map_err(VirtioError::memory)?;
        let mut blk = Self {
            virtio,
            options,
            info,
            disk: Some(disk),
        };
        blk.go()?;
        Ok(blk)
    }

    /// Starts the disk once more, after it was stopped.
    ///
    /// # Errors
    /// [`VirtioError`]; the device is reset then. [`VirtioError::Refused`] where it is no longer
    /// the device that it was.
    pub fn restart(&mut self) -> Result<(), VirtioError<T::Error>> {
        self.virtio.stop();
        let before = self.virtio.features();
        self.virtio.negotiate(wanted(self.options.without))?;
        if self.virtio.features() != before {
            return Err(VirtioError::Refused(before));
        }
        self.info = DiskInfo::read(&self.virtio)?;
        self.go().inspect_err(|_| self.virtio.stop())
    }

    /// Gives the device its queue and lets it run.
    fn go(&mut self) -> Result<(), VirtioError<T::Error>> {
        let disk = self.disk.as_mut().ok_or(VirtioError::Stopped)?;
        disk.clear();
        self.virtio.enable(&mut disk.queue, QUEUE, None)?;
        self.virtio.run()
    }

    /// Returns whether it runs.
    #[must_use]
    pub fn state(&self) -> State {
        self.virtio.state()
    }

    /// Returns what the device and the driver agreed on.
    #[must_use]
    pub const fn features(&self) -> Features {
        self.virtio.features()
    }

    /// Returns what the disk says of itself.
    #[must_use]
    pub const fn info(&self) -> &DiskInfo {
        &self.info
    }

    /// Reads whole sectors of 512 bytes, from `sector` on.
    ///
    /// After an error some of the bytes may have been read.
    ///
    /// # Errors
    /// [`VirtioError::Request`] for what is not on the disk; [`VirtioError::Failed`] where the
    /// disk can't read it. [`VirtioError::Unexpected`], [`VirtioError::Timeout`],
    /// [`VirtioError::NeedsReset`], [`VirtioError::Access`]: it is stopped then.
    pub fn read(&mut self, sector: u64, bytes: &mut [u8]) -> Result<(), VirtioError<T::Error>> {
        self.check_range(sector, bytes.len())?;
        self.session()?.transfer(sector, Data::In(bytes))
    }

    /// Writes whole sectors of 512 bytes, from `sector` on. They are safe after
    /// [`Blk::flush`].
    ///
    /// # Errors
    /// As [`Blk::read`]; [`Refusal::ReadOnly`].
    pub fn write(&mut self, sector: u64, bytes: &[u8]) -> Result<(), VirtioError<T::Error>> {
        if self.info.is_read_only {
            return Err(VirtioError::Request(Refusal::ReadOnly));
        }
        self.check_range(sector, bytes.len())?;
        self.session()?.transfer(sector, Data::Out(bytes))
    }

    /// Has everything that was written kept for good. A disk without a cache keeps it anyway.
    ///
    /// # Errors
    /// As [`Blk::read`].
    pub fn flush(&mut self) -> Result<(), VirtioError<T::Error>> {
        if !self.info.has_cache {
            return self.virtio.running();
        }
        self.session()?.single(Kind::Flush, &mut [])
    }

    /// Returns the name of the disk: up to 20 bytes of ASCII, and zeros behind them.
    ///
    /// # Errors
    /// As [`Blk::read`]; a disk need not have one.
    pub fn id(&mut self) -> Result<[u8; ID_LEN], VirtioError<T::Error>> {
        let mut id = [0; ID_LEN];
        self.session()?.single(Kind::GetId, &mut id)?;
        Ok(id)
    }

    /// Resets the device. Whether it is known to be reset, [`Blk::state`] tells.
    pub fn stop(&mut self) {
        self.virtio.stop();
    }

    fn session(&mut self) -> Result<Session<'_, T, DEPTH>, VirtioError<T::Error>> {
        self.virtio.running()?;
        Ok(Session {
            virtio: &self.virtio,
            disk: self.disk.as_mut().ok_or(VirtioError::Stopped)?,
            limit: self.options.request,
        })
    }

    /// Checks that whole sectors lie on the disk.
    fn check_range(&self, sector: u64, len: usize) -> Result<(), VirtioError<T::Error>> {
        if !len.is_multiple_of(SECTOR) {
            return Err(VirtioError::Request(Refusal::Unaligned { len }));
        }
        let capacity = self.info.capacity;
        let sectors = u64::try_from(len / SECTOR).unwrap_or(u64::MAX);
        match sector.checked_add(sectors) {
            Some(end) if end <= capacity => Ok(()),
            _ => Err(VirtioError::Request(Refusal::OutOfRange { capacity })),
        }
    }
}

impl<M: DmaHandle, const DEPTH: usize> Disk<M, DEPTH> {
    /// Makes the memory of requests: of no more than the queue has entries for.
    fn new(dma: &M, queue: Virtqueue<M, DEPTH>, options: &Options) -> Result<Self, DmaError> {
        let slots = options.requests.clamp(1, queue.room(PIECES).max(1));
        let len = options.slot.max(1).next_multiple_of(SECTOR_32);
        Ok(Self {
            requests: Requests::new(dma, slots, len)?,
            queue,
            free: heapless::Vec::new(),
            places: [Extent::default(); DEPTH],
            slots,
        })
    }

    /// Begins anew with a device that has none of the memory.
    fn clear(&mut self) {
        self.queue.clear();
        self.free.clear();
        for slot in 0..self.slots {
            // There is room for all of them.
            let _ = self.free.push(slot);
        }
    }
}

impl<T: Transport, const DEPTH: usize> Drop for Blk<T, DEPTH> {
    fn drop(&mut self) {
        self.virtio.stop();
        if self.state() == State::Lost {
            // The device may still write it.
            core::mem::forget(self.disk.take());
        }
    }
}

/// Returns what is accepted of what a device offers.
const fn wanted(without: Features) -> Features {
    Features((WANTED.0 | Features::RING.0) & !without.0)
}
