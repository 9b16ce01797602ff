//! A driver of the card, which owns all that it drives: its registers, its rings, its frames and
//! its vector.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use vfio_core::device::DeviceHandle;
use vfio_core::device::irq::Vectors;
use vfio_core::device::region::MappedRegion;
use vfio_core::dma::{Buffer, Chunk, Direction, DmaHandle, Pool};
use vfio_core::handle::Projection;
use vfio_core::mmio::field::{ReadPure, ReadPureWrite, WriteOnly};
use vfio_core::mmio::{Array, Block, Through, Window, after_status, before_doorbell};
use vfio_core::registers;
use vfio_core::wire::abi::{pci_irq, pci_region};

registers! {
    /// The whole card's registers.
    struct Card: 0x08 {
        0x00 id: ReadPure<u32>,
        /// Bit 0: its queues run.
        0x04 control: ReadPureWrite<u32>,
    }

    /// A queue's registers.
    struct QueueRegisters: 0x10 {
        0x00 ring: WriteOnly<u64>,
        /// Descriptors in the ring.
        0x08 entries: WriteOnly<u32>,
        /// How many descriptors the card was given, modulo 2^32.
        0x0c tail: WriteOnly<u32>,
    }

    /// A descriptor of a frame.
    struct Descriptor: 0x10 {
        0x00 address: ReadPureWrite<u64>,
        0x08 len: ReadPureWrite<u32>,
        /// Bit 0: the card is done with it.
        0x0c status: ReadPureWrite<u32>,
    }
}

/// What [`Card::id`] holds.
const ID: u32 = 0x10e0;

/// Where the queues' registers are, in bytes from the start of BAR 0.
const TRANSMIT: usize = 0x40;
const RECEIVE: usize = 0x80;

/// Descriptors of a ring.
const ENTRIES: usize = 16;

/// The longest frame, in bytes.
pub(crate) const FRAME: usize = 1514;

/// Bytes of a chunk: a frame, and some to fill it up.
const CHUNK: usize = 2048;

/// The registers of BAR 0, for several owners.
type Registers<D, R> = Block<Through<Projection<Arc<Window<MappedRegion<D>>>, MappedRegion<D>>>, R>;

/// Memory for a frame.
type Frame<M> = Chunk<Arc<Pool<M>>>;

/// The card.
pub(crate) struct Nic<D: DeviceHandle, M: DmaHandle> {
    registers: Registers<D, Card>,
    vectors: Vectors<D, 1>,
    pub(crate) transmit: Queue<D, M>,
    pub(crate) receive: Queue<D, M>,
    frames: Arc<Pool<M>>,
}

/// A queue.
pub(crate) struct Queue<D: DeviceHandle, M: DmaHandle> {
    registers: Registers<D, QueueRegisters>,
    ring: Array<Buffer<M>, Descriptor>,
    /// The frames that the card has, each at the place of its descriptor.
    given: [Option<Frame<M>>; ENTRIES],
    head: u32,
    tail: u32,
}

impl<D: DeviceHandle, M: DmaHandle> Nic<D, M> {
    pub(crate) fn new(device: D, dma: M) -> Result<Self, Box<dyn Error>> {
        let bar0 = Arc::new(MappedRegion::bring_up(device.clone(), pci_region::BAR0)?);
        let mut registers = block::<_, Card>(&bar0, 0)?;
        if registers.get(Card::id)? != ID {
            return Err("it is another device".into());
        }
        registers.write(Card::control, 0)?;
        let frames = Pool::new(dma.clone(), 2 * ENTRIES, CHUNK, Direction::Both)?;
        let mut this = Self {
            registers,
            vectors: Vectors::new(device, pci_irq::MSIX)?,
            transmit: Queue::new(&bar0, TRANSMIT, dma.clone())?,
            receive: Queue::new(&bar0, RECEIVE, dma)?,
            frames: Arc::new(frames),
        };
        for _ in 0..ENTRIES {
            let frame = this.frame().ok_or("there are too few frames")?;
            this.receive.give(frame, CHUNK)?;
        }
        this.registers.write(Card::control, 1)?;
        Ok(this)
    }

    /// Takes memory for a frame, if there is any.
    pub(crate) fn frame(&self) -> Option<Frame<M>> {
        Chunk::new(Arc::clone(&self.frames))
    }

    /// Waits until the card has done something, for no longer than `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) -> Result<(), Box<dyn Error>> {
        self.vectors.wait(0, timeout)?;
        Ok(())
    }
}

impl<D: DeviceHandle, M: DmaHandle> Drop for Nic<D, M> {
    fn drop(&mut self) {
        // It reaches no memory any more when that is unmapped.
        let _ = self.registers.write(Card::control, 0);
        let _ = self.registers.get(Card::control);
    }
}

impl<D: DeviceHandle, M: DmaHandle> Queue<D, M> {
    fn new(bar0: &Arc<Window<MappedRegion<D>>>, at: usize, dma: M) -> Result<Self, Box<dyn Error>> {
        let memory = Buffer::new(dma, ENTRIES * 16, Direction::Both)?;
        let mut registers = block::<_, QueueRegisters>(bar0, at)?;
        registers.write(QueueRegisters::ring, memory.iova())?;
        registers.write(QueueRegisters::entries, u32::try_from(ENTRIES)?)?;
        Ok(Self {
            registers,
            ring: Window::new(memory).into_array(0, ENTRIES)?,
            given: Default::default(),
            head: 0,
            tail: 0,
        })
    }

    /// Tells whether there is a place in the ring.
    pub(crate) fn has_room(&self) -> bool {
        self.given[index(self.tail)].is_none()
    }

    /// Gives the card a frame of `len` bytes, or to fill with so many.
    pub(crate) fn give(&mut self, frame: Frame<M>, len: usize) -> Result<(), Box<dyn Error>> {
        let at = index(self.tail);
        let mut descriptor = self.ring.block(at).ok_or("the ring is shorter")?;
        descriptor.write(Descriptor::address, frame.iova())?;
        descriptor.write(Descriptor::len, u32::try_from(len)?)?;
        descriptor.write(Descriptor::status, 0)?;
        self.given[at] = Some(frame);
        self.tail = self.tail.wrapping_add(1);
        before_doorbell();
        self.registers.write(QueueRegisters::tail, self.tail)?;
        Ok(())
    }

    /// Takes the next frame back that the card is done with, and its length in bytes.
    pub(crate) fn take(&mut self) -> Option<(Frame<M>, usize)> {
        let at = index(self.head);
        let descriptor = self.ring.block(at)?;
        if descriptor.get(Descriptor::status).ok()? & 1 == 0 {
            return None;
        }
        after_status();
        let len = descriptor.get(Descriptor::len).ok()?;
        let frame = self.given[at].take()?;
        self.head = self.head.wrapping_add(1);
        // What the card says is not believed.
        Some((frame, usize::try_from(len).ok()?.min(FRAME)))
    }
}

/// Returns where the descriptor of a number is in its ring.
fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(0) % ENTRIES
}

/// Registers of a window that others have registers of.
fn block<D: DeviceHandle, R: vfio_core::mmio::Registers>(
    bar0: &Arc<Window<MappedRegion<D>>>,
    at: usize,
) -> Result<Registers<D, R>, Box<dyn Error>> {
    let window = Window::through(Arc::clone(bar0), |bar0| bar0);
    Ok(window.into_block(at)?)
}
