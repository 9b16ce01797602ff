//! QEMU's educational device: the smallest driver that uses registers, interrupts and DMA.
//!
//! [`Edu`] drives the device, and [`DmaEngine`] its DMA.

mod dma;
mod error;
mod registers;

pub use dma::DmaEngine;
pub use error::EduError;
pub use registers::{COPY_MOST, DMA_HIGHEST};

use core::time::Duration;

use vfio_core::device::DeviceHandle;
use vfio_core::device::irq::Vectors;
use vfio_core::mmio::{Access, Block, Window};

use registers::{COMPUTING, FACTORIAL_DONE, ID, ID_MASK, INTERRUPT, Registers};

/// How often a register is read before the device is taken to be stuck.
///
/// A read of an emulated register takes well over 50 ns, and the device needs 100 ms for DMA.
const PATIENCE: u32 = 50_000_000;

/// How long an interrupt may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The device behind the registers that `A` reaches.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Edu<A: Access> {
    registers: Block<A, Registers>,
}

impl<A: Access> Edu<A> {
    /// Takes the device behind BAR 0.
    ///
    /// # Errors
    /// [`EduError::TooShort`] where the BAR is too short, [`EduError::NotEdu`] for another device.
    pub fn new(bar0: Window<A>) -> Result<Self, EduError<A::Error>> {
        let len = bar0.len();
        let registers = bar0.into_block(0);
        let registers = registers.map_err(|_| EduError::TooShort { len })?;
        let this = Self { registers };
        match this.registers.get(Registers::id)? {
            id if id & ID_MASK == ID => Ok(this),
            id => Err(EduError::NotEdu { id }),
        }
    }

    /// Returns the device's version: major and minor.
    ///
    /// # Errors
    /// Where the register can't be read.
    pub fn version(&self) -> Result<(u8, u8), EduError<A::Error>> {
        let [_, _, minor, major] = self.registers.get(Registers::id)?.to_le_bytes();
        Ok((major, minor))
    }

    /// Tells whether the device answers what it is told.
    ///
    /// # Errors
    /// Where the register can't be reached.
    pub fn is_alive(&mut self, word: u32) -> Result<bool, EduError<A::Error>> {
        self.registers.write(Registers::liveness, word)?;
        Ok(self.registers.get(Registers::liveness)? == !word)
    }

    /// Computes the factorial of `n` in 32 bits, waiting by reading the status.
    ///
    /// # Errors
    /// [`EduError::Stuck`] where the device does not come to an end.
    pub fn factorial(&mut self, n: u32) -> Result<u32, EduError<A::Error>> {
        self.registers.write(Registers::status, 0)?;
        self.registers.write(Registers::factorial, n)?;
        self.until_computed()?;
        Ok(self.registers.get(Registers::factorial)?)
    }

    /// Computes the factorial of `n` in 32 bits, waiting for the interrupt.
    ///
    /// # Errors
    /// [`EduError::NoInterrupt`] where it does not come in time.
    pub fn factorial_by_interrupt<D: DeviceHandle, const V: usize>(
        &mut self,
        n: u32,
        vectors: &Vectors<D, V>,
    ) -> Result<u32, EduError<A::Error>> {
        self.registers.write(Registers::status, INTERRUPT)?;
        self.registers.write(Registers::factorial, n)?;
        self.interrupted(vectors, FACTORIAL_DONE)?;
        self.registers.write(Registers::status, 0)?;
        self.until_computed()?;
        Ok(self.registers.get(Registers::factorial)?)
    }

    /// Has the device raise `bits`, and waits for the interrupt.
    ///
    /// # Errors
    /// [`EduError::NoInterrupt`] where it does not come in time.
    pub fn raise<D: DeviceHandle, const V: usize>(
        &mut self,
        bits: u32,
        vectors: &Vectors<D, V>,
    ) -> Result<(), EduError<A::Error>> {
        self.registers.write(Registers::interrupt_raise, bits)?;
        self.interrupted(vectors, bits)
    }

    fn until_computed(&self) -> Result<(), EduError<A::Error>> {
        for _ in 0..PATIENCE {
            if self.registers.get(Registers::status)? & COMPUTING == 0 {
                return Ok(());
            }
            core::hint::spin_loop();
        }
        Err(EduError::Stuck)
    }

    /// Waits for the interrupt, and acknowledges `bits`.
    fn interrupted<D: DeviceHandle, const V: usize>(
        &mut self,
        vectors: &Vectors<D, V>,
        bits: u32,
    ) -> Result<(), EduError<A::Error>> {
        let came = vectors.wait(0, TIMEOUT).map_err(EduError::Wait)?;
        let status = self.registers.get(Registers::interrupt_status)?;
        self.registers
            .write(Registers::interrupt_acknowledge, status)?;
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
