//! Intel's 82576, a network card, as a copying machine: frames that are sent in a loop within the
//! card come back into memory.
//!
//! It shows rings of descriptors, a device that is stopped before its memory goes, and recovery:
//! from a frame that gets lost, as it does where the IOMMU refuses the card a read.
//!
//! A frame is what is copied, the first bytes being its addresses and type. The card takes frames
//! for any address. Those of flow control (type 0x8808) it keeps for itself: they are
//! [`IgbError::Lost`].

mod error;
mod registers;
mod ring;

pub use error::IgbError;
pub use ring::Ring;

use core::time::Duration;

use vfio_core::device::DeviceHandle;
use vfio_core::device::irq::Vectors;
use vfio_core::dma::{Buffer, DmaHandle};
use vfio_core::mmio::{Access, Block, Window, after_status, before_doorbell};

use registers::{
    ANY_MULTICAST, ANY_UNICAST, BROADCAST, DRIVER_LOADED, FORCE_DUPLEX, FORCE_SPEED, FULL_DUPLEX,
    GIGABIT, LINK, LINK_MODE, LINK_UP, MAC_LOOPBACK, MDI_ERROR, MDI_PHY, MDI_READY, MDI_REGISTER,
    MDI_WRITE, MSIX, PAD, PHY_CONTROL, PHY_FULL_DUPLEX, PHY_GIGABIT, PHY_LOOPBACK, PHY_NEGOTIATE,
    PHY_RESTART, QUEUE_ENABLED, READ_AGAIN, RECEIVE, RECEIVE_FORMAT, RESET, Registers, SPEED,
    STRIP_CHECKSUM, TRANSMIT,
};
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

/// How often a register is read after a reset before anything is believed: a millisecond
/// (datasheet, 4.2.1.6.1).
const RESET_READS: u32 = 2_000;

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

/// A frame of a copy: where it starts, and its length, in bytes.
#[derive(Clone, Copy)]
struct Frame {
    at: usize,
    len: u16,
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

    /// Waits for the link, looking for it so many times. A copy does so by itself, for seconds.
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

    /// Resets the device: all queues are off, and all interrupts are held back.
    fn reset(&mut self) -> Result<(), IgbError<A::Error>> {
        let control = self.registers.get(Registers::control)?;
        self.registers.write(Registers::control, control | RESET)?;
        for read in 0..PATIENCE {
            let control = self.registers.get(Registers::control)?;
            if read >= RESET_READS && control & RESET == 0 {
                return self.hold_interrupts();
            }
            core::hint::spin_loop();
        }
        Err(IgbError::Reset)
    }

    fn hold_interrupts(&mut self) -> Result<(), IgbError<A::Error>> {
        self.registers.write(Registers::mask_clear, u32::MAX)?;
        self.registers
            .write(Registers::vector_mask_clear, u32::MAX)?;
        // A read acknowledges what was raised.
        let _ = self.registers.read(Registers::vector_cause)?;
        Ok(())
    }

    /// Closes the loop in the PHY (datasheet, 3.5.6.3.1), and in the MAC for QEMU.
    fn loop_back(&mut self) -> Result<(), IgbError<A::Error>> {
        let extended = self.registers.get(Registers::extended_control)?;
        let extended = extended & !LINK_MODE | DRIVER_LOADED;
        self.registers
            .write(Registers::extended_control, extended)?;
        // QEMU's link comes up when it was negotiated; the card's by being forced.
        self.write_phy(PHY_NEGOTIATE | PHY_RESTART)?;
        self.write_phy(PHY_LOOPBACK | PHY_GIGABIT | PHY_FULL_DUPLEX)?;
        let control = self.registers.get(Registers::control)? & !SPEED;
        let forced = FORCE_SPEED | GIGABIT | FORCE_DUPLEX | FULL_DUPLEX | LINK_UP;
        self.registers.write(Registers::control, control | forced)?;
        // A read that the IOMMU refuses is over, and not made again for ever.
        let pcie = self.registers.get(Registers::pcie_control)?;
        self.registers
            .write(Registers::pcie_control, pcie & !READ_AGAIN)?;
        Ok(())
    }

    /// Writes the PHY's control register.
    fn write_phy(&mut self, value: u32) -> Result<(), IgbError<A::Error>> {
        let command = MDI_WRITE | MDI_PHY | PHY_CONTROL << MDI_REGISTER | value;
        self.registers.write(Registers::mdi_control, command)?;
        for _ in 0..PATIENCE {
            let answer = self.registers.get(Registers::mdi_control)?;
            if answer & MDI_ERROR != 0 {
                return Err(IgbError::Phy);
            }
            if answer & MDI_READY != 0 {
                return Ok(());
            }
            core::hint::spin_loop();
        }
        Err(IgbError::Phy)
    }

    /// Lets the one interrupt through. No queue has a vector: only [`Igb::raise`] raises it.
    fn enable_interrupt(&mut self) -> Result<(), IgbError<A::Error>> {
        self.registers.write(Registers::interrupt_mode, MSIX)?;
        self.registers.write(Registers::vector_of_queue, 0)?;
        self.registers.write(Registers::vector_auto_clear, VECTOR)?;
        self.registers.write(Registers::vector_mask_set, VECTOR)?;
        Ok(())
    }

    /// Starts both queues from the starts of their rings.
    fn start(&mut self) -> Result<(), IgbError<A::Error>> {
        let len = Descriptors::<M, R>::len();
        let memory = self.memory.as_ref().ok_or(IgbError::Memory)?;
        self.knows_memory = true;
        let registers = &mut self.registers;
        let (base, high) = memory.receive.base();
        registers.write(Registers::receive_base, base)?;
        registers.write(Registers::receive_base_high, high)?;
        registers.write(Registers::receive_len, len)?;
        registers.write(Registers::receive_format, RECEIVE_FORMAT)?;
        registers.write(Registers::receive_head, 0)?;
        registers.write(Registers::receive_tail, 0)?;
        let (base, high) = memory.transmit.base();
        registers.write(Registers::transmit_base, base)?;
        registers.write(Registers::transmit_base_high, high)?;
        registers.write(Registers::transmit_len, len)?;
        registers.write(Registers::transmit_head, 0)?;
        registers.write(Registers::transmit_tail, 0)?;
        self.next = 0;

        // Damaged packets within a frame are nothing to us.
        registers.write(Registers::checksum_control, 0)?;
        let anybody = ANY_UNICAST | ANY_MULTICAST | BROADCAST;
        let receive = RECEIVE | anybody | MAC_LOOPBACK | STRIP_CHECKSUM;
        // A queue is enabled only once its engine is.
        registers.write(Registers::receive_control, receive)?;
        registers.write(Registers::transmit_control, TRANSMIT | PAD)?;
        registers.write(Registers::receive_queue, QUEUE_ENABLED)?;
        registers.write(Registers::transmit_queue, QUEUE_ENABLED)?;
        self.until_queues_are(QUEUE_ENABLED)
    }

    /// Stops both queues: the device reaches no memory any more.
    fn stop_queues(&mut self) -> Result<(), IgbError<A::Error>> {
        let registers = &mut self.registers;
        registers.write(Registers::transmit_queue, 0)?;
        registers.write(Registers::receive_queue, 0)?;
        self.until_queues_are(0)?;
        self.registers.write(Registers::transmit_control, 0)?;
        self.registers.write(Registers::receive_control, 0)?;
        Ok(())
    }

    fn until_queues_are(&self, enabled: u32) -> Result<(), IgbError<A::Error>> {
        let mut waited_for = Ring::Receive;
        for _ in 0..PATIENCE {
            let receive = self.registers.get(Registers::receive_queue)?;
            let transmit = self.registers.get(Registers::transmit_queue)?;
            if receive & QUEUE_ENABLED != enabled {
                waited_for = Ring::Receive;
            } else if transmit & QUEUE_ENABLED != enabled {
                waited_for = Ring::Transmit;
            } else {
                return Ok(());
            }
            core::hint::spin_loop();
        }
        Err(IgbError::Queue(waited_for))
    }

    /// Takes back what the device was told to copy, and has it start anew.
    fn restart(&mut self) -> Result<(), IgbError<A::Error>> {
        self.stop_queues()?;
        self.start()
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

    /// Stops the device, once.
    fn stop(&mut self) -> Result<(), IgbError<A::Error>> {
        if core::mem::replace(&mut self.is_stopped, true) {
            return Ok(());
        }
        // A reset stops the queues as well, where they do not stop by themselves.
        let stopped = self.hold_interrupts().and_then(|()| self.stop_queues());
        let reset = self.reset();
        if reset.is_err() && self.knows_memory {
            // Nothing tells that the device has stopped: it may still write its memory.
            core::mem::forget(self.memory.take());
        }
        reset.and(stopped)
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

/// The frames of a copy of `len` bytes from `done` on, as many as rings of `R` descriptors hold.
fn batch<const R: usize>(done: usize, len: usize) -> impl Iterator<Item = Frame> {
    let mut at = done;
    let frames = core::iter::from_fn(move || {
        let frame = Frame {
            at,
            len: frame_len(len.checked_sub(at)?)?,
        };
        at = at.checked_add(usize::from(frame.len))?;
        Some(frame)
    });
    // A ring that is full looks like one that is empty.
    frames.take(R.saturating_sub(1))
}

/// The length of the next frame where so many bytes are left; no last frame is too short.
fn frame_len(left: usize) -> Option<u16> {
    let len = match left.checked_sub(FRAME_MOST) {
        None | Some(0) => left,
        Some(rest) if rest < FRAME_LEAST => left.checked_sub(FRAME_LEAST)?,
        Some(_) => FRAME_MOST,
    };
    u16::try_from(len).ok().filter(|len| *len != 0)
}

/// The address `by` bytes after `iova`.
fn offset(iova: u64, by: usize) -> Option<u64> {
    iova.checked_add(u64::try_from(by).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_cut_into_frames_none_of_which_is_too_short() {
        for len in FRAME_LEAST..5 * FRAME_MOST {
            let mut done = 0;
            while done < len {
                let mut frames = 0;
                for frame in batch::<8>(done, len) {
                    let frame_len = usize::from(frame.len);
                    assert_eq!(frame.at, done, "{len}");
                    assert!((FRAME_LEAST..=FRAME_MOST).contains(&frame_len), "{len}");
                    done += frame_len;
                    frames += 1;
                }
                assert!((1..8).contains(&frames), "{len}");
            }
            assert_eq!(done, len);
        }
    }
}
