//! A driver of the DMA engine of `edu` (QEMU, docs/specs/edu.rst) for memory of anybody's.

use std::error::Error;

use vfio_core::device::DeviceHandle;
use vfio_core::device::region::MappedRegion;
use vfio_core::dma::Reachable;
use vfio_core::mmio::field::ReadPureWrite;
use vfio_core::mmio::{Block, after_status, before_doorbell};
use vfio_core::registers;
use vfio_core::wire::abi::pci_region;

use crate::Ended;

registers! {
    /// The engine's registers, in BAR 0.
    pub struct Engine: 0xa0 {
        /// Where it reads.
        0x80 source: ReadPureWrite<u64>,
        /// Where it writes.
        0x88 destination: ReadPureWrite<u64>,
        /// Bytes.
        0x90 count: ReadPureWrite<u64>,
        /// Bit 0: run; bit 1: to memory.
        0x98 command: ReadPureWrite<u64>,
    }
}

/// Where the engine finds the device's own 4096 bytes.
pub const INSIDE: u64 = 0x4_0000;

/// The highest address that the engine reaches.
pub const HIGHEST: u64 = (1 << 28) - 1;

/// How often the command is read before the device is taken to be stuck.
const PATIENCE: u32 = 50_000_000;

/// Copies between memory and the device's own.
#[derive(Debug)]
pub struct Copier<D: DeviceHandle> {
    registers: Block<MappedRegion<D>, Engine>,
}

impl<D: DeviceHandle> Copier<D> {
    /// Switches the device on.
    ///
    /// # Errors
    /// Where its registers can't be reached.
    pub fn new(device: D) -> Result<Self, Box<dyn Error>> {
        let registers = MappedRegion::bring_up(device, pci_region::BAR0)?.into_block(0)?;
        Ok(Self { registers })
    }

    /// Has the device read all of `memory`, at most 4095 bytes.
    ///
    /// # Errors
    /// Where the device can't be reached, or does not come to an end.
    pub fn load(&mut self, memory: &impl Reachable) -> Ended {
        self.copy(memory.iova(), INSIDE, memory.len(), 0b01)
    }

    /// Has the device write all of `memory`, at most 4095 bytes.
    ///
    /// # Errors
    /// As [`Copier::load`].
    pub fn store(&mut self, memory: &impl Reachable) -> Ended {
        self.copy(INSIDE, memory.iova(), memory.len(), 0b11)
    }

    fn copy(&mut self, from: u64, to: u64, len: usize, command: u64) -> Ended {
        self.registers.write(Engine::source, from)?;
        self.registers.write(Engine::destination, to)?;
        self.registers.write(Engine::count, u64::try_from(len)?)?;
        before_doorbell();
        self.registers.write(Engine::command, command)?;
        for _ in 0..PATIENCE {
            if self.registers.get(Engine::command)? & 1 == 0 {
                after_status();
                return Ok(());
            }
            core::hint::spin_loop();
        }
        Err("the copy does not end".into())
    }
}
