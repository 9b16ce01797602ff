//! Reads and writes: as many requests at a time as there are slots.

use core::time::Duration;

use vfio_core::dma::DmaHandle;

use super::config::SECTOR;
use super::requests::{Kind, status};
use super::{Disk, Extent};
use crate::virtio::device::Virtio;
use crate::virtio::error::{Misfit, VirtioError};
use crate::virtio::queue::Used;
use crate::virtio::transport::Transport;

/// What a transfer reads into, or writes from.
pub(super) enum Data<'a> {
    In(&'a mut [u8]),
    Out(&'a [u8]),
}

/// A disk in use: its device, and its queue.
pub(super) struct Session<'b, T: Transport, const DEPTH: usize> {
    pub(super) virtio: &'b Virtio<T>,
    pub(super) disk: &'b mut Disk<T::Dma, DEPTH>,
    /// How long a request may take.
    pub(super) limit: Duration,
}

/// How far a transfer is.
struct Progress {
    /// Bytes that were asked for.
    asked: usize,
    /// Requests under way.
    under_way: u16,
    /// The first request that failed, as the device says.
    failed: Option<u8>,
}

impl Data<'_> {
    fn len(&self) -> usize {
        match self {
            Self::In(bytes) => bytes.len(),
            Self::Out(bytes) => bytes.len(),
        }
    }

    const fn kind(&self) -> Kind {
        match self {
            Self::In(_) => Kind::In,
            Self::Out(_) => Kind::Out,
        }
    }
}

impl<T: Transport, const DEPTH: usize> Session<'_, T, DEPTH> {
    /// Makes all requests of a transfer from a sector on, and waits for them.
    ///
    /// # Errors
    /// [`VirtioError::Failed`]; where the device is stopped: [`VirtioError::Unexpected`],
    /// [`VirtioError::Timeout`], [`VirtioError::Access`], [`VirtioError::NeedsReset`]
    pub(super) fn transfer(
        mut self,
        sector: u64,
        mut data: Data<'_>,
    ) -> Result<(), VirtioError<T::Error>> {
        let mut progress = Progress {
            asked: 0,
            under_way: 0,
            failed: None,
        };
        loop {
            if progress.failed.is_none() {
                self.disk.ask(sector, &data, &mut progress);
            }
            if progress.under_way == 0 {
                break;
            }
            self.virtio.notify(&mut self.disk.queue)?;
            let used = self.wait()?;
            progress.under_way = progress.under_way.saturating_sub(1);
            match self.finish(used, &mut data)? {
                status::OK => (),
                other => progress.failed = progress.failed.or(Some(other)),
            }
        }
        match progress.failed {
            Some(status) => Err(VirtioError::Failed { status }),
            None => Ok(()),
        }
    }

    /// Makes a request with data for one slot, and waits for it.
    ///
    /// # Errors
    /// As [`Session::transfer`].
    pub(super) fn single(
        &mut self,
        kind: Kind,
        bytes: &mut [u8],
    ) -> Result<(), VirtioError<T::Error>> {
        let Some(slot) = self.disk.claim() else {
            // There is one at least, and none is in use here.
            return Err(VirtioError::Stopped);
        };
        let len = bytes.len();
        self.disk.requests.write(slot, bytes);
        self.disk.submit(slot, kind, 0, Extent { start: 0, len });
        self.virtio.notify(&mut self.disk.queue)?;
        let used = self.wait()?;
        let said = self.said(used, len, kind)?;
        self.disk.requests.read(slot, bytes);
        self.disk.release(slot);
        match said {
            status::OK => Ok(()),
            status => Err(VirtioError::Failed { status }),
        }
    }

    /// Takes what a request brought, and returns how it went.
    fn finish(&mut self, used: Used, data: &mut Data<'_>) -> Result<u8, VirtioError<T::Error>> {
        let slot = used.token;
        let Extent { start, len } = self.disk.place(slot);
        let said = self.said(used, len, data.kind())?;
        if let (Data::In(bytes), status::OK) = (data, said)
            && let Some(bytes) = bytes.get_mut(start..start.saturating_add(len))
        {
            self.disk.requests.read(slot, bytes);
        }
        self.disk.release(slot);
        Ok(said)
    }

    /// Checks how a request ended that had `len` bytes of data, and returns what the device says.
    fn said(&mut self, used: Used, len: usize, kind: Kind) -> Result<u8, VirtioError<T::Error>> {
        let said = self.disk.requests.status(used.token);
        let misfit = match (said, kind) {
            (status::OK, Kind::In) => {
                // The data and the status.
                let least = u32::try_from(len).unwrap_or(u32::MAX).saturating_add(1);
                let len = used.len;
                (len < least).then_some(Misfit::TooShort { len, least })
            }
            (status::OK | status::IOERR | status::UNSUPP, _) => None,
            (status, _) => Some(Misfit::Status { status }),
        };
        match misfit {
            None => Ok(said),
            Some(misfit) => Err(self.virtio.misfit(self.disk.queue.number(), misfit)),
        }
    }

    /// Waits for a request to end.
    fn wait(&mut self) -> Result<Used, VirtioError<T::Error>> {
        let queue = self.disk.queue.number();
        let deadline = self.virtio.transport().now()?.saturating_add(self.limit);
        loop {
            let is_over = self.virtio.transport().now()? > deadline;
            for _ in 0..SPINS {
                match self.disk.queue.take() {
                    Ok(Some(used)) => return Ok(used),
                    Ok(None) => core::hint::spin_loop(),
                    Err(misfit) => return Err(self.virtio.misfit(queue, misfit)),
                }
            }
            self.virtio.check()?;
            if is_over {
                return Err(self.virtio.fail(VirtioError::Timeout { queue }));
            }
        }
    }
}

/// How often the queue is looked at before the clock is.
const SPINS: u32 = 1024;

impl<M: DmaHandle, const DEPTH: usize> Disk<M, DEPTH> {
    /// Asks for as much of a transfer as there are free slots for.
    fn ask(&mut self, sector: u64, data: &Data<'_>, progress: &mut Progress) {
        while progress.asked < data.len()
            && let Some(slot) = self.claim()
        {
            let start = progress.asked;
            let len = data.len().saturating_sub(start).min(self.requests.len());
            let end = start.saturating_add(len);
            if let Data::Out(bytes) = data
                && let Some(bytes) = bytes.get(start..end)
            {
                self.requests.write(slot, bytes);
            }
            let sectors = u64::try_from(start / SECTOR).unwrap_or(u64::MAX);
            let first = sector.saturating_add(sectors);
            self.submit(slot, data.kind(), first, Extent { start, len });
            progress.under_way = progress.under_way.saturating_add(1);
            progress.asked = end;
        }
    }

    /// Takes a slot that no request uses.
    fn claim(&mut self) -> Option<u16> {
        self.free.pop()
    }

    /// Gives a slot back.
    fn release(&mut self, slot: u16) {
        // It came from there: there is room.
        let _ = self.free.push(slot);
    }

    /// Puts a request into the queue.
    fn submit(&mut self, slot: u16, kind: Kind, sector: u64, extent: Extent) {
        if let Some(place) = self.places.get_mut(usize::from(slot)) {
            *place = extent;
        }
        let pieces = self.requests.prepare(slot, kind, sector, extent.len);
        // There are entries for the parts of each slot.
        let _ = self.queue.add(&pieces, slot);
    }

    /// Returns what the request of a slot is about.
    fn place(&self, slot: u16) -> Extent {
        let place = self.places.get(usize::from(slot));
        place.copied().unwrap_or_default()
    }
}
