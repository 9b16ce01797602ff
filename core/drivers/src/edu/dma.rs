//! The device's DMA engine.

use vfio_core::device::DeviceHandle;
use vfio_core::device::irq::Vectors;
use vfio_core::dma::{Buffer, BufferOptions, Direction, DmaHandle};
use vfio_core::mmio::{Access, Window, after_status, before_doorbell};

use super::registers::{
    BUFFER, COPY_MOST, DMA_DONE, DMA_HIGHEST, DMA_INTERRUPT, DMA_START, DMA_TO_MEMORY, Registers,
};
use super::{Edu, EduError, PATIENCE};

/// The device, and memory that its DMA engine copies from and to.
///
/// The memory is the engine's own, since a copy that does not end may still write it: it is
/// freed only when no copy is under way, and otherwise never.
#[derive(Debug)]
pub struct DmaEngine<A: Access, M: DmaHandle> {
    edu: Edu<A>,
    memory: Memory<M>,
}

/// Memory that is never freed while a copy may use it.
#[derive(Debug)]
struct Memory<M: DmaHandle> {
    /// None only when it is dropped.
    buffer: Option<Buffer<M>>,
    /// Whether a copy was started that was not seen to end.
    is_copying: bool,
}

/// Which way a copy goes, and whether an interrupt tells of its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copy {
    Write,
    Read,
    ReadByInterrupt,
}

impl<A: Access, M: DmaHandle> DmaEngine<A, M> {
    /// Makes memory that the engine reaches, for the device to use as `direction` says.
    ///
    /// # Errors
    /// [`EduError::Dma`]
    pub fn new(edu: Edu<A>, dma: M, direction: Direction) -> Result<Self, EduError<A::Error>> {
        let options = BufferOptions::new(direction).up_to(DMA_HIGHEST);
        let buffer = Buffer::new(dma, COPY_MOST, options).map_err(EduError::Dma)?;
        let memory = Memory {
            buffer: Some(buffer),
            is_copying: false,
        };
        Ok(Self { edu, memory })
    }

    /// Returns the rest of the device, once no copy is under way.
    ///
    /// Put aside while a copy goes on, nothing would tell of the copy's end.
    ///
    /// # Errors
    /// [`EduError::Stuck`] while a copy does not end.
    pub fn edu(&mut self) -> Result<&mut Edu<A>, EduError<A::Error>> {
        self.settle()?;
        Ok(&mut self.edu)
    }

    /// Returns the memory, for a [`Window`] over it. A copy starts at its first byte.
    ///
    /// # Errors
    /// [`EduError::Stuck`] while a copy does not end.
    pub fn memory(&mut self) -> Result<&Buffer<M>, EduError<A::Error>> {
        self.settle()?;
        self.memory.buffer.as_ref().ok_or(EduError::Stuck)
    }

    /// Waits for the end of a copy that was not seen to end.
    fn settle(&mut self) -> Result<(), EduError<A::Error>> {
        if self.memory.is_copying {
            self.until_copied()?;
        }
        Ok(())
    }

    /// Copies `bytes` to the device's buffer: at most 4095.
    ///
    /// # Errors
    /// [`EduError::TooLong`], [`EduError::Stuck`]
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), EduError<A::Error>> {
        let len = length(bytes.len())?;
        // It fits: the memory is longer than the longest copy.
        let _ = Window::new(self.memory()?).write_bytes(0, bytes);
        self.copy(len, Copy::Write, Self::until_copied)
    }

    /// Copies the first bytes of the device's buffer to `bytes`: at most 4095.
    ///
    /// # Errors
    /// [`EduError::TooLong`], [`EduError::Stuck`]
    pub fn read(&mut self, bytes: &mut [u8]) -> Result<(), EduError<A::Error>> {
        let len = length(bytes.len())?;
        self.copy(len, Copy::Read, Self::until_copied)?;
        self.take(bytes)
    }

    /// Copies as [`DmaEngine::read`] does, waiting for the interrupt.
    ///
    /// # Errors
    /// [`EduError::TooLong`], [`EduError::NoInterrupt`]
    pub fn read_by_interrupt<D: DeviceHandle, const V: usize>(
        &mut self,
        bytes: &mut [u8],
        vectors: &Vectors<D, V>,
    ) -> Result<(), EduError<A::Error>> {
        let len = length(bytes.len())?;
        self.copy(len, Copy::ReadByInterrupt, |this| {
            this.edu.interrupted(vectors, DMA_DONE)?;
            this.until_copied()
        })?;
        self.take(bytes)
    }

    /// Frees the memory, and returns the rest of the device.
    ///
    /// # Errors
    /// [`EduError::Stuck`] while a copy does not end, [`EduError::Dma`] where the memory can't be
    /// unmapped: it is never freed.
    pub fn finish(mut self) -> Result<Edu<A>, EduError<A::Error>> {
        self.settle()?;
        let buffer = self.memory.buffer.take();
        buffer
            .map_or(Ok(()), Buffer::unmap)
            .map_err(EduError::Dma)?;
        Ok(self.edu)
    }

    /// Makes a copy, and waits for its end.
    fn copy(
        &mut self,
        len: u64,
        copy: Copy,
        wait: impl FnOnce(&mut Self) -> Result<(), EduError<A::Error>>,
    ) -> Result<(), EduError<A::Error>> {
        let copied = self.start(len, copy).and_then(|()| wait(self));
        if !matches!(copied, Ok(()) | Err(EduError::Stuck)) {
            // The memory is kept only where the device does not say that it is done with it.
            let _ = self.until_copied();
        }
        copied
    }

    /// Starts a copy from or to the first byte of the memory.
    fn start(&mut self, len: u64, copy: Copy) -> Result<(), EduError<A::Error>> {
        let iova = self.memory()?.iova();
        let (source, destination, command) = match copy {
            Copy::Write => (iova, BUFFER, DMA_START),
            Copy::Read => (BUFFER, iova, DMA_START | DMA_TO_MEMORY),
            Copy::ReadByInterrupt => (BUFFER, iova, DMA_START | DMA_TO_MEMORY | DMA_INTERRUPT),
        };
        let registers = &mut self.edu.registers;
        registers.write(Registers::dma_source, source)?;
        registers.write(Registers::dma_destination, destination)?;
        registers.write(Registers::dma_count, len)?;
        before_doorbell();
        // Whether the device saw the command is not known where the write fails.
        self.memory.is_copying = true;
        Ok(registers.write(Registers::dma_command, command)?)
    }

    fn until_copied(&mut self) -> Result<(), EduError<A::Error>> {
        for _ in 0..PATIENCE {
            let command = self.edu.registers.get(Registers::dma_command)?;
            if command & DMA_START == 0 {
                after_status();
                self.memory.is_copying = false;
                return Ok(());
            }
            core::hint::spin_loop();
        }
        Err(EduError::Stuck)
    }

    /// Reads what was copied to memory.
    fn take(&mut self, bytes: &mut [u8]) -> Result<(), EduError<A::Error>> {
        // It fits: the memory is longer than the longest copy.
        let _ = Window::new(self.memory()?).read_bytes(0, bytes);
        Ok(())
    }
}

impl<M: DmaHandle> Drop for Memory<M> {
    fn drop(&mut self) {
        if self.is_copying {
            // The device may still write it.
            core::mem::forget(self.buffer.take());
        }
    }
}

/// Checks the length of a copy.
fn length<E>(len: usize) -> Result<u64, EduError<E>> {
    match u64::try_from(len) {
        Ok(bytes) if len <= COPY_MOST => Ok(bytes),
        _ => Err(EduError::TooLong { len }),
    }
}
