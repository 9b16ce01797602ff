//! Intel's 82576, a network card, as a copying machine: frames that are sent in a loop within the
//! card come back into memory.
//!
//! It shows rings of descriptors, a device that is stopped before its memory goes, and recovery:
//! from a frame that gets lost, as it does where the IOMMU refuses the card a read.
//!
//! A frame is what is copied, the first bytes being its addresses and type. The card takes frames
//! for any address. Those of flow control (type 0x8808) it keeps for itself: they are
//! [`IgbError::Lost`].

mod engine;
mod error;
mod frame;
mod registers;
mod ring;

pub use error::IgbError;
pub use ring::Ring;

use core::time::Duration;

use vfio_core::device::DeviceHandle;
use vfio_core::device::irq::Vectors;
use vfio_core::dma::{Buffer, DmaHandle};
use vfio_core::mmio::{Access, Block, Window, after_status, before_doorbell};

use frame::{batch, offset};
use registers::{LINK, Registers};
use ring::Descriptors;

/// The vendor and the device that this driver drives.
pub const ID: (u16, u16) = (0x8086, 0x10c9);

/// The longest frame that is sent, in bytes; a longer copy takes several.
pub const FRAME_MOST: usize = 1024;

/// The shortest frame in bytes: a shorter one would be filled up, and come back longer.
pub const FRAME_LEAST: usize = 60;

/// The vector of the one interrupt.
const VECTOR: u32 = 1;

/// How often a register is read for what the card does at once. A read takes well over 50 ns.
const PATIENCE: u32 = 200_000;

/// How often for the link: QEMU's takes half a second, one of copper a few.
const LINK_PATIENCE: u32 = 50_000_000;

/// The device behind the registers that `A` reaches, with the memory that it reaches itself: rings
/// of `R` descriptors, and what is copied.
///
/// It is stopped on drop. Where nothing tells that it has stopped, its memory is never freed.
#[derive(Debug)]
pub struct Igb<A: Access, M: DmaHandle, const R: usize = 256> {
    registers: Block<A, Registers>,
    /// None only when it is dropped.
    memory: Option<Memory<M, R>>,
    /// The next descriptor, in both rings.
    next: usize,
    has_link: bool,
    /// Whether the device was told of the memory.
    knows_memory: bool,
    is_stopped: bool,
}

/// What the device reaches.
#[derive(Debug)]
struct Memory<M: DmaHandle, const R: usize> {
    receive: Descriptors<M, R>,
    transmit: Descriptors<M, R>,
    copied: Copied<M>,
}

/// Memory to copy from and to, which is the driver's for as long as it lives.
#[derive(Debug)]
pub struct Copied<M: DmaHandle> {
    /// Where copies come from.
    pub source: Buffer<M>,
    /// Where they go.
    pub target: Buffer<M>,
}

impl<A: Access, M: DmaHandle, const R: usize> Igb<A, M, R> {
    /// Resets the device behind BAR 0 and starts it, to copy what `copied` says. Its bus
    /// mastering must be on.
    ///
    /// The link need not be up yet: the first copy waits for it.
    ///
    /// # Errors
    /// [`IgbError::Offset`] where the BAR is too short, [`IgbError::Gone`], [`IgbError::Dma`],
    /// [`IgbError::Reset`], [`IgbError::Phy`], [`IgbError::Queue`]
    pub fn new(bar0: Window<A>, dma: M, copied: Copied<M>) -> Result<Self, IgbError<A::Error>> {
        let registers = bar0.into_block(0).map_err(IgbError::Offset)?;
        let mut this = Self {
            registers,
            memory: Some(Memory {
                receive: Descriptors::new(dma.clone()).map_err(IgbError::Dma)?,
                transmit: Descriptors::new(dma).map_err(IgbError::Dma)?,
                copied,
            }),
            next: 0,
            has_link: false,
            knows_memory: false,
            is_stopped: false,
        };
        if this.registers.get(Registers::status)? == u32::MAX {
            this.is_stopped = true;
            return Err(IgbError::Gone);
        }
        this.reset()?;
        this.loop_back()?;
        this.enable_interrupt()?;
        this.start()?;
        Ok(this)
    }

    /// Returns the memory to copy from and to, for a [`Window`] over each.
    ///
    /// # Errors
    /// [`IgbError::Memory`] where there is none, which is never.
    pub fn memory(&self) -> Result<&Copied<M>, IgbError<A::Error>> {
        let memory = self.memory.as_ref().ok_or(IgbError::Memory)?;
        Ok(&memory.copied)
    }

    /// Copies the first `len` bytes of the source to the start of the target.
    ///
    /// After an error the device is started anew; where that fails, it may still copy, and so does
    /// the next copy fail.
    ///
    /// # Errors
    /// [`IgbError::TooLong`], [`IgbError::TooShort`] below [`FRAME_LEAST`] bytes,
    /// [`IgbError::NoLink`], [`IgbError::Lost`], [`IgbError::Frame`]
    pub fn copy(&mut self, len: usize) -> Result<(), IgbError<A::Error>> {
        let Copied { source, target } = self.memory()?;
        let (from, to, most) = (source.iova(), target.iova(), source.len().min(target.len()));
        if len > most {
            return Err(IgbError::TooLong { len, most });
        }
        self.copy_between(from, to, len)
    }

    /// Copies `len` bytes between addresses of the device's.
    ///
    /// What an IOMMU does not map is not written, and is lost or read as anything.
    ///
    /// # Errors
    /// As [`Igb::copy`], and [`IgbError::Address`].
    ///
    /// # Safety
    /// Where no IOMMU confines the device, both places are memory that may be read and written by
    /// it until it is known to have stopped.
    #[expect(unsafe_code, reason = "a bus address may be that of any memory")]
    pub unsafe fn copy_at(
        &mut self,
        from: u64,
        to: u64,
        len: usize,
    ) -> Result<(), IgbError<A::Error>> {
        self.copy_between(from, to, len)
    }

    fn copy_between(&mut self, from: u64, to: u64, len: usize) -> Result<(), IgbError<A::Error>> {
        if len < FRAME_LEAST {
            return Err(IgbError::TooShort {
                len,
                least: FRAME_LEAST,
            });
        }
        for iova in [from, to] {
            offset(iova, len).ok_or(IgbError::Address { iova })?;
        }
        self.until_linked(LINK_PATIENCE)?;
        let mut done = 0;
        while done < len {
            let copied = self
                .post(from, to, done, len)
                .and_then(|()| self.collect(done, len));
            match copied {
                Ok(end) => done = end,
                Err(error) => {
                    // The first error is the one that tells; where this fails the next copy does.
                    let _ = self.restart();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Waits for the link, looking for it a number of times. A copy does so by itself, for seconds.
    ///
    /// # Errors
    /// [`IgbError::NoLink`], [`IgbError::Gone`]
    pub fn until_linked(&mut self, times: u32) -> Result<(), IgbError<A::Error>> {
        if self.has_link {
            return Ok(());
        }
        for _ in 0..times {
            match self.registers.get(Registers::status)? {
                u32::MAX => return Err(IgbError::Gone),
                status if status & LINK != 0 => {
                    self.has_link = true;
                    return Ok(());
                }
                _ => core::hint::spin_loop(),
            }
        }
        Err(IgbError::NoLink)
    }

    /// Has the device raise the first of `vectors`, and waits for it; returns how often it came.
    ///
    /// It waits no longer than `timeout`.
    ///
    /// # Errors
    /// [`IgbError::NoInterrupt`] where it does not come in time, [`IgbError::Wait`]
    pub fn raise<D: DeviceHandle, const V: usize>(
        &mut self,
        vectors: &Vectors<D, V>,
        timeout: Duration,
    ) -> Result<u64, IgbError<A::Error>> {
        self.registers.write(Registers::vector_set, VECTOR)?;
        match vectors.wait(0, timeout).map_err(IgbError::Wait)? {
            0 => Err(IgbError::NoInterrupt),
            count => Ok(count),
        }
    }

    /// Stops the device, as dropping does, and returns the memory to copy from and to.
    ///
    /// # Errors
    /// [`IgbError::Reset`], [`IgbError::Queue`], and where a register can't be reached.
    pub fn remove(mut self) -> Result<Copied<M>, IgbError<A::Error>> {
        self.stop()?;
        let memory = self.memory.take().ok_or(IgbError::Memory)?;
        Ok(memory.copied)
    }

    /// Tells the device of as many frames as the rings hold, of the copy's bytes from `done` on.
    fn post(
        &mut self,
        from: u64,
        to: u64,
        done: usize,
        len: usize,
    ) -> Result<(), IgbError<A::Error>> {
        let mut next = self.next;
        let memory = self.memory.as_mut().ok_or(IgbError::Memory)?;
        for frame in batch::<R>(done, len) {
            let (Some(from), Some(to)) = (offset(from, frame.at), offset(to, frame.at)) else {
                return Err(IgbError::Address { iova: from });
            };
            let received = memory.receive.receive(next, to);
            received.map_err(|_| IgbError::Memory)?;
            let sent = memory.transmit.send(next, from, frame.len);
            sent.map_err(|_| IgbError::Memory)?;
            next = Descriptors::<M, R>::next(next);
        }
        // A ring has fewer than 2^16 descriptors.
        let tail = u32::try_from(next).unwrap_or(0);
        before_doorbell();
        self.registers.write(Registers::receive_tail, tail)?;
        self.registers.write(Registers::transmit_tail, tail)?;
        Ok(())
    }

    /// Waits for the frames that [`Igb::post`] told of; returns where the copy goes on.
    fn collect(&mut self, done: usize, len: usize) -> Result<usize, IgbError<A::Error>> {
        let mut end = done;
        for frame in batch::<R>(done, len) {
            let index = self.next;
            self.until(Ring::Transmit, |memory| {
                memory.transmit.is_sent(index).map(|is| is.then_some(()))
            })?;
            let received = self.until(Ring::Receive, |memory| memory.receive.received(index))?;
            if !received.is_whole(frame.len) {
                return Err(IgbError::Frame {
                    status: received.status,
                    len: received.len,
                    sent: frame.len,
                });
            }
            self.next = Descriptors::<M, R>::next(index);
            end = frame.at.saturating_add(usize::from(frame.len));
        }
        after_status();
        Ok(end)
    }

    /// Reads a descriptor until it says something.
    fn until<T, E>(
        &mut self,
        ring: Ring,
        mut read: impl FnMut(&mut Memory<M, R>) -> Result<Option<T>, E>,
    ) -> Result<T, IgbError<A::Error>> {
        for _ in 0..PATIENCE {
            let memory = self.memory.as_mut().ok_or(IgbError::Memory)?;
            if let Some(seen) = read(memory).map_err(|_| IgbError::Memory)? {
                return Ok(seen);
            }
            // It takes its time, and tells whether there still is a device.
            if self.registers.get(Registers::status)? == u32::MAX {
                return Err(IgbError::Gone);
            }
        }
        Err(IgbError::Lost { ring })
    }
}

impl<A: Access, M: DmaHandle, const R: usize> Drop for Igb<A, M, R> {
    fn drop(&mut self) {
        // How it went decides whether the memory is freed.
        let _ = self.stop();
    }
}

#[cfg(feature = "defmt")]
impl<A: Access, M: DmaHandle, const R: usize> defmt::Format for Igb<A, M, R> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Igb({} descriptors)", R);
    }
}
