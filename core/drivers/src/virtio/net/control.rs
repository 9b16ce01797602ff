//! The control queue (Virtual I/O Device Specification 1.2, section 5.1.6.5).

use core::time::Duration;

use vfio_core::dma::{Buffer, Direction, DmaError, DmaHandle};

use crate::virtio::device::Virtio;
use crate::virtio::error::{Misfit, VirtioError};
use crate::virtio::queue::{Access, Piece, Virtqueue};
use crate::virtio::transport::Transport;

/// Entries of the control queue: a command has two parts.
const ENTRIES: usize = 4;
/// Parts of a command: what is to be done, and how that went.
pub(super) const PIECES: u16 = 2;
/// The most bytes of what is to be done: a class, a command and an address.
const COMMAND: usize = 8;
/// Where the answer goes.
const ACK: usize = 64;
/// The same, as an address.
const ACK_64: u64 = 64;

/// The answer where all went well.
const OK: u8 = 0;
/// The answer where it did not.
const ERROR: u8 = 1;
/// No answer of a device's.
const NONE: u8 = 0xff;

/// A class of commands, and a command of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Command(u8, u8);

impl Command {
    pub(super) const PROMISC: Self = Self(0, 0);
    pub(super) const ALLMULTI: Self = Self(0, 1);
    pub(super) const MAC_ADDR_SET: Self = Self(1, 1);
    pub(super) const VQ_PAIRS_SET: Self = Self(4, 0);
}

/// The control queue, and the memory of one command.
#[derive(Debug)]
pub(super) struct Control<M: DmaHandle> {
    pub(super) queue: Virtqueue<M, ENTRIES>,
    memory: Buffer<M>,
}

impl<M: DmaHandle> Control<M> {
    pub(super) fn new(queue: Virtqueue<M, ENTRIES>, dma: &M) -> Result<Self, DmaError> {
        let memory = Buffer::new(dma.clone(), ACK.saturating_add(1), Direction::Both)?;
        Ok(Self { queue, memory })
    }

    /// Makes a command with up to 6 bytes of data, and waits for the answer.
    ///
    /// # Errors
    /// [`VirtioError::Failed`] where the device refuses; [`VirtioError::Timeout`],
    /// [`VirtioError::Unexpected`], [`VirtioError::Access`]: it is stopped then.
    pub(super) fn command<T: Transport<Dma = M>>(
        &mut self,
        virtio: &Virtio<T>,
        command: Command,
        data: &[u8],
        limit: Duration,
    ) -> Result<(), VirtioError<T::Error>> {
        virtio.running()?;
        self.submit(command, data);
        virtio.notify(&mut self.queue)?;
        self.wait(virtio, limit)?;
        let ack = self.memory.window().read(ACK).unwrap_or(NONE);
        match ack {
            OK => Ok(()),
            ERROR => Err(VirtioError::Failed { status: ack }),
            status => Err(virtio.misfit(self.queue.number(), Misfit::Status { status })),
        }
    }

    /// Puts a command into the queue, which is empty.
    fn submit(&mut self, command: Command, data: &[u8]) {
        let mut bytes = [0; COMMAND];
        let all = [command.0, command.1]
            .into_iter()
            .chain(data.iter().copied());
        let mut len = 0_u32;
        for (place, byte) in bytes.iter_mut().zip(all) {
            *place = byte;
            len = len.saturating_add(1);
        }
        let mut window = self.memory.window();
        // Both lie in the memory.
        let _ = window.write_bytes(0, &bytes);
        let _ = window.write(ACK, NONE);
        let iova = self.memory.iova();
        let pieces = [
            Piece {
                iova,
                len,
                access: Access::Read,
            },
            Piece {
                iova: iova.saturating_add(ACK_64),
                len: 1,
                access: Access::Write,
            },
        ];
        let _ = self.queue.add(&pieces, 0);
    }

    /// Waits until the device is done with the command.
    fn wait<T: Transport<Dma = M>>(
        &mut self,
        virtio: &Virtio<T>,
        limit: Duration,
    ) -> Result<(), VirtioError<T::Error>> {
        let queue = self.queue.number();
        let deadline = virtio.transport().now()?.saturating_add(limit);
        loop {
            let is_over = virtio.transport().now()? > deadline;
            match self.queue.take() {
                Ok(Some(_)) => return Ok(()),
                Ok(None) if is_over => return Err(virtio.fail(VirtioError::Timeout { queue })),
                Ok(None) => virtio.check()?,
                Err(misfit) => return Err(virtio.misfit(queue, misfit)),
            }
        }
    }
}
