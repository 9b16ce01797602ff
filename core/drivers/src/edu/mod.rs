//! QEMU's educational device: the smallest driver that uses registers, interrupts and DMA.
//!
//! [`Edu`] drives the device; [`exercise`] tries all that it can do and tells how each step went,
//! and [`run`] does so on a device that was just opened.

mod error;
mod exercise;
mod registers;
mod run;

pub use error::EduError;
pub use exercise::{Outcome, Report, Step, exercise};
pub use run::run;

use core::time::Duration;

use vfio_core::dma::{Buffer, Direction, Dma};
use vfio_core::field;
use vfio_core::irq::Vectors;
use vfio_core::mmio::{Access, Block, Window};
use vfio_core::sys::Sys;

use registers::{
    BUFFER, COMPUTING, COPY_MOST, DMA_DONE, DMA_HIGHEST, DMA_INTERRUPT, DMA_START, DMA_TO_MEMORY,
    FACTORIAL_DONE, ID, ID_MASK, INTERRUPT, Registers,
};

/// How often a register is read before the device is taken to be stuck.
///
/// A read of an emulated register takes well over 50 ns, and the device needs 100 ms for DMA.
const PATIENCE: u32 = 50_000_000;

/// How long an interrupt may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The device behind the registers that `A` reaches.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Edu<A> {
    registers: Block<A, Registers>,
}

/// Which way DMA goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum Way {
    ToDevice,
    ToMemory,
}

impl<A: Access> Edu<A> {
    /// The device behind BAR 0.
    ///
    /// # Errors
    /// [`EduError::TooShort`] where the BAR is too short, [`EduError::NotEdu`] for another device.
    pub fn new(bar0: Window<A>) -> Result<Self, EduError<A::Error>> {
        let len = bar0.len();
        let registers = bar0.into_block(0);
        let registers = registers.map_err(|_| EduError::TooShort { len })?;
        let this = Self { registers };
        match this.registers.get(field!(Registers, id))? {
            id if id & ID_MASK == ID => Ok(this),
            id => Err(EduError::NotEdu { id }),
        }
    }

    /// The device's version: major and minor.
    ///
    /// # Errors
    /// Where the register can't be read.
    pub fn version(&self) -> Result<(u8, u8), EduError<A::Error>> {
        let [_, _, minor, major] = self.registers.get(field!(Registers, id))?.to_le_bytes();
        Ok((major, minor))
    }

    /// Whether the device answers what it is told.
    ///
    /// # Errors
    /// Where the register can't be reached.
    pub fn is_alive(&mut self, word: u32) -> Result<bool, EduError<A::Error>> {
        self.registers.write(field!(Registers, liveness), word)?;
        Ok(self.registers.get(field!(Registers, liveness))? == !word)
    }

    /// The factorial of `n` in 32 bits, waiting by reading the status.
    ///
    /// # Errors
    /// [`EduError::Stuck`] where the device does not come to an end.
    pub fn factorial(&mut self, n: u32) -> Result<u32, EduError<A::Error>> {
        self.registers.write(field!(Registers, status), 0)?;
        self.registers.write(field!(Registers, factorial), n)?;
        self.until_computed()?;
        Ok(self.registers.get(field!(Registers, factorial))?)
    }

    /// The factorial of `n` in 32 bits, waiting for the interrupt `vector`.
    ///
    /// # Errors
    /// [`EduError::NoInterrupt`] where it does not come in time.
    pub fn factorial_by_interrupt<S: Sys, const N: usize>(
        &mut self,
        n: u32,
        vectors: &Vectors<'_, S, N>,
    ) -> Result<u32, EduError<A::Error>> {
        self.registers.write(field!(Registers, status), INTERRUPT)?;
        self.registers.write(field!(Registers, factorial), n)?;
        self.interrupted(vectors, FACTORIAL_DONE)?;
        self.registers.write(field!(Registers, status), 0)?;
        self.until_computed()?;
        Ok(self.registers.get(field!(Registers, factorial))?)
    }

    /// Has the device raise `bits`, and waits for the interrupt.
    ///
    /// # Errors
    /// [`EduError::NoInterrupt`] where it does not come in time.
    pub fn raise<S: Sys, const N: usize>(
        &mut self,
        bits: u32,
        vectors: &Vectors<'_, S, N>,
    ) -> Result<(), EduError<A::Error>> {
        self.registers
            .write(field!(Registers, interrupt_raise), bits)?;
        self.interrupted(vectors, bits)
    }

    /// Copies the first bytes of `memory` to the device's buffer: `len` of them, at most 4095.
    ///
    /// # Errors
    /// [`EduError::TooLong`], [`EduError::Stuck`]
    pub fn copy_to_device<S: Sys, const N: usize>(
        &mut self,
        memory: &Buffer<'_, S, N>,
        len: usize,
    ) -> Result<(), EduError<A::Error>> {
        let len = Self::length(memory, len)?;
        self.start_dma(memory.iova(), len, Way::ToDevice, false)?;
        self.until_copied()
    }

    /// Copies the first `len` bytes of the device's buffer, at most 4095, to `memory`.
    ///
    /// # Errors
    /// [`EduError::TooLong`], [`EduError::Stuck`]
    pub fn copy_to_memory<S: Sys, const N: usize>(
        &mut self,
        memory: &mut Buffer<'_, S, N>,
        len: usize,
    ) -> Result<(), EduError<A::Error>> {
        let len = Self::length(memory, len)?;
        self.start_dma(memory.iova(), len, Way::ToMemory, false)?;
        self.until_copied()
    }

    /// As [`Edu::copy_to_memory`], waiting for the interrupt.
    ///
    /// # Errors
    /// [`EduError::TooLong`], [`EduError::NoInterrupt`]
    pub fn copy_to_memory_by_interrupt<S: Sys, const N: usize, const V: usize>(
        &mut self,
        memory: &mut Buffer<'_, S, N>,
        len: usize,
        vectors: &Vectors<'_, S, V>,
    ) -> Result<(), EduError<A::Error>> {
        let len = Self::length(memory, len)?;
        self.start_dma(memory.iova(), len, Way::ToMemory, true)?;
        self.interrupted(vectors, DMA_DONE)?;
        self.until_copied()
    }

    /// Memory that the device's DMA engine reaches.
    ///
    /// # Errors
    /// As [`Dma::buffer_up_to`].
    pub fn memory<S: Sys, const N: usize>(
        dma: &Dma<S, N>,
        direction: Direction,
    ) -> Result<Buffer<'_, S, N>, vfio_core::dma::DmaError> {
        dma.buffer_up_to(COPY_MOST, direction, DMA_HIGHEST)
    }

    /// Checks the length of a copy.
    fn length<S: Sys, const N: usize>(
        memory: &Buffer<'_, S, N>,
        len: usize,
    ) -> Result<u64, EduError<A::Error>> {
        match u64::try_from(len) {
            Ok(bytes) if len <= memory.len().min(COPY_MOST) => Ok(bytes),
            _ => Err(EduError::TooLong { len }),
        }
    }

    fn start_dma(
        &mut self,
        iova: u64,
        len: u64,
        way: Way,
        interrupt: bool,
    ) -> Result<(), EduError<A::Error>> {
        let (source, destination, command) = match way {
            Way::ToDevice => (iova, BUFFER, DMA_START),
            Way::ToMemory => (BUFFER, iova, DMA_START | DMA_TO_MEMORY),
        };
        let command = if interrupt {
            command | DMA_INTERRUPT
        } else {
            command
        };
        self.registers
            .write(field!(Registers, dma_source), source)?;
        self.registers
            .write(field!(Registers, dma_destination), destination)?;
        self.registers.write(field!(Registers, dma_count), len)?;
        vfio_core::mmio::before_doorbell();
        Ok(self
            .registers
            .write(field!(Registers, dma_command), command)?)
    }

    fn until_copied(&self) -> Result<(), EduError<A::Error>> {
        for _ in 0..PATIENCE {
            if self.registers.get(field!(Registers, dma_command))? & DMA_START == 0 {
                vfio_core::mmio::after_status();
                return Ok(());
            }
            core::hint::spin_loop();
        }
        Err(EduError::Stuck)
    }

    fn until_computed(&self) -> Result<(), EduError<A::Error>> {
        for _ in 0..PATIENCE {
            if self.registers.get(field!(Registers, status))? & COMPUTING == 0 {
                return Ok(());
            }
            core::hint::spin_loop();
        }
        Err(EduError::Stuck)
    }

    /// Waits for the interrupt, and acknowledges `bits`.
    fn interrupted<S: Sys, const N: usize>(
        &mut self,
        vectors: &Vectors<'_, S, N>,
        bits: u32,
    ) -> Result<(), EduError<A::Error>> {
        let came = vectors.wait(0, TIMEOUT).map_err(EduError::Wait)?;
        let status = self.registers.get(field!(Registers, interrupt_status))?;
        self.registers
            .write(field!(Registers, interrupt_acknowledge), status)?;
        vectors.rearm().map_err(EduError::Irq)?;
        if came == 0 || status & bits != bits {
            return Err(EduError::NoInterrupt {
                expected: bits,
                status,
            });
        }
        Ok(())
    }
}
