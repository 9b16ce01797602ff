//! A pair of queues: frames in and frames out.

use core::time::Duration;

use vfio_core::device::DeviceHandle;
use vfio_core::device::irq::Vectors;
use vfio_core::dma::DmaHandle;

use super::features::{CSUM, GUEST_CSUM};
use super::receive::ReceiveQueue;
use super::transmit::TransmitQueue;
use super::{Facts, link};
use crate::nic::{Checksums, Link, MacAddress, Nic, PartialChecksum, Received};
use crate::virtio::device::Virtio;
use crate::virtio::error::{Refusal, VirtioError};
use crate::virtio::transport::Transport;

/// How long an interrupt is waited for before the queue is looked at, in nanoseconds: one may be
/// lost.
const SLICE: u64 = 100_000_000;

/// The shortest frame in bytes: its addresses and its type.
const SHORTEST: usize = 14;

/// The queues of a pair, and their memory.
#[derive(Debug)]
pub(super) struct Queues<M: DmaHandle, const DEPTH: usize> {
    pub(super) receive: ReceiveQueue<M, DEPTH>,
    pub(super) transmit: TransmitQueue<M, DEPTH>,
    /// The MSI-X vector of frames that come.
    pub(super) vector: Option<u16>,
}

/// A pair of queues of a card, lent by [`Net::pair`](super::Net::pair). Pairs can be used by
/// several threads at a time.
#[derive(Debug)]
pub struct Pair<'n, T: Transport, const DEPTH: usize> {
    pub(super) virtio: &'n Virtio<T>,
    pub(super) queues: &'n mut Queues<T::Dma, DEPTH>,
    pub(super) facts: &'n Facts,
}

impl<T: Transport, const DEPTH: usize> Pair<'_, T, DEPTH> {
    /// Copies the next frame that came into `frame`, if one came. Where none did, the device is
    /// told of memory that it has again.
    ///
    /// # Errors
    /// [`VirtioError::Unexpected`] for what the device can't have received: it is stopped then.
    /// [`VirtioError::Stopped`], [`VirtioError::Access`]
    #[inline]
    pub fn receive(&mut self, frame: &mut [u8]) -> Result<Option<Received>, VirtioError<T::Error>> {
        self.virtio.running()?;
        let queue = &mut self.queues.receive;
        let received = match queue.receive(frame) {
            Ok(received) => received,
            Err(misfit) => return Err(self.virtio.misfit(queue.queue.number(), misfit)),
        };
        if received.is_none() || queue.is_due() {
            self.virtio.notify(&mut queue.queue)?;
        }
        Ok(received)
    }

    /// Puts a frame into the queue, for [`Pair::flush`] to send; whether there was room.
    ///
    /// # Errors
    /// [`VirtioError::Request`] for a frame that is too long or too short, or whose checksum the
    /// device does not compute; otherwise as [`Pair::receive`].
    #[inline]
    pub fn send(
        &mut self,
        frame: &[u8],
        partial: Option<PartialChecksum>,
    ) -> Result<bool, VirtioError<T::Error>> {
        self.virtio.running()?;
        let queue = &mut self.queues.transmit;
        let (len, most) = (frame.len(), queue.most());
        if !(SHORTEST..=most).contains(&len) {
            let refusal = Refusal::FrameLength { len, most };
            return Err(VirtioError::Request(refusal));
        }
        if let Some(partial) = partial
            && !(partial.is_within(len) && self.virtio.features().contains(CSUM))
        {
            return Err(VirtioError::Request(Refusal::Checksum));
        }
        let sent = queue.send(frame, partial);
        sent.map_err(|misfit| self.virtio.misfit(queue.queue.number(), misfit))
    }

    /// Sends what was put into the queue, and gives the device the memory of frames that were
    /// received. It is told where it wants to be told.
    ///
    /// # Errors
    /// [`VirtioError::Access`]: it is stopped then; [`VirtioError::Stopped`].
    #[inline]
    pub fn flush(&mut self) -> Result<(), VirtioError<T::Error>> {
        self.virtio.running()?;
        self.virtio.notify(&mut self.queues.transmit.queue)?;
        self.virtio.notify(&mut self.queues.receive.queue)
    }

    /// Tells whether there is room for a frame to be sent.
    ///
    /// # Errors
    /// As [`Pair::receive`].
    #[inline]
    pub fn has_room(&mut self) -> Result<bool, VirtioError<T::Error>> {
        self.virtio.running()?;
        let queue = &mut self.queues.transmit;
        let has_room = queue.has_room();
        has_room.map_err(|misfit| self.virtio.misfit(queue.queue.number(), misfit))
    }

    /// Returns how many frames the device has to send, after those that it sent are taken back.
    ///
    /// # Errors
    /// As [`Pair::receive`].
    pub fn unsent(&mut self) -> Result<u16, VirtioError<T::Error>> {
        self.virtio.running()?;
        let queue = &mut self.queues.transmit;
        match queue.reclaim() {
            Ok(()) => Ok(queue.queue.under_way()),
            Err(misfit) => Err(self.virtio.misfit(queue.queue.number(), misfit)),
        }
    }

    /// Waits for a frame by the pair's interrupt, for no longer than `timeout`; whether there is
    /// one. What was put into the queue is sent first.
    ///
    /// The interrupt is that of `vectors` which [`Options::vector`](super::Options::vector) says.
    /// Without one it looks once.
    ///
    /// # Errors
    /// As [`Pair::receive`]; [`VirtioError::NeedsReset`] and [`VirtioError::Gone`] where the
    /// device says so, [`VirtioError::Wait`].
    pub fn wait<D: DeviceHandle, const V: usize>(
        &mut self,
        vectors: &Vectors<D, V>,
        timeout: Duration,
    ) -> Result<bool, VirtioError<T::Error>> {
        self.flush()?;
        // A difference of two durations could panic, as far as a compiler sees.
        let mut left = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        loop {
            self.queues.receive.queue.enable_interrupts();
            if self.has_frame()? || left == 0 {
                break;
            }
            let Some(vector) = self.queues.vector else {
                break;
            };
            let slice = left.min(SLICE);
            let came = vectors.wait(vector.into(), Duration::from_nanos(slice));
            if came.map_err(VirtioError::Wait)? == 0 {
                self.virtio.check()?;
                left = left.saturating_sub(slice);
            }
        }
        self.queues.receive.queue.disable_interrupts();
        self.has_frame()
    }

    /// Returns how many frames came that nobody could use: longer than the caller's memory, or
    /// with a checksum that is not in them.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.queues.receive.dropped
    }

    /// Tells whether the device says that a frame came.
    fn has_frame(&mut self) -> Result<bool, VirtioError<T::Error>> {
        let queue = &mut self.queues.receive.queue;
        match queue.pending() {
            Ok(pending) => Ok(pending > 0),
            Err(misfit) => Err(self.virtio.misfit(queue.number(), misfit)),
        }
    }
}

impl<T: Transport, const DEPTH: usize> Nic for Pair<'_, T, DEPTH> {
    type Error = VirtioError<T::Error>;

    fn mac(&self) -> MacAddress {
        self.facts.mac
    }

    fn link(&mut self) -> Result<Link, Self::Error> {
        link(self.virtio)
    }

    fn longest_frame(&self) -> usize {
        self.facts.longest_frame
    }

    fn checksums(&self) -> Checksums {
        let features = self.virtio.features();
        Checksums {
            transmit: features.contains(CSUM),
            receive: features.contains(GUEST_CSUM),
        }
    }

    #[inline]
    fn receive(&mut self, frame: &mut [u8]) -> Result<Option<Received>, Self::Error> {
        Pair::receive(self, frame)
    }

    #[inline]
    fn has_room(&mut self) -> Result<bool, Self::Error> {
        Pair::has_room(self)
    }

    #[inline]
    fn send(
        &mut self,
        frame: &[u8],
        partial: Option<PartialChecksum>,
    ) -> Result<bool, Self::Error> {
        Pair::send(self, frame, partial)
    }

    #[inline]
    fn flush(&mut self) -> Result<(), Self::Error> {
        Pair::flush(self)
    }
}
