//! The registers of `edu` (QEMU, docs/specs/edu.rst), in BAR 0.

use vfio_core::mmio::field::{ReadPure, ReadPureWrite, WriteOnly};
use vfio_core::registers;

/// What [`Registers::id`] holds: `0xRRrr00ed`, the version in the `R`s.
pub(super) const ID: u32 = 0x0000_00ed;
/// The bits of [`Registers::id`] that every version has.
pub(super) const ID_MASK: u32 = 0x0000_ffff;

/// In [`Registers::status`]: a factorial is being computed.
pub(super) const COMPUTING: u32 = 0x01;
/// In [`Registers::status`]: interrupt when a factorial is computed.
pub(super) const INTERRUPT: u32 = 0x80;

/// In [`Registers::dma_command`]: start, and running as long as it is set.
pub(super) const DMA_START: u64 = 0x01;
/// In [`Registers::dma_command`]: from the device's buffer to memory, and not the other way.
pub(super) const DMA_TO_MEMORY: u64 = 0x02;
/// In [`Registers::dma_command`]: interrupt when it is done.
pub(super) const DMA_INTERRUPT: u64 = 0x04;

/// In [`Registers::interrupt_status`]: a factorial was computed.
pub(super) const FACTORIAL_DONE: u32 = 0x001;
/// In [`Registers::interrupt_status`]: DMA was done.
pub(super) const DMA_DONE: u32 = 0x100;

/// Where the device's buffer is for its DMA engine.
pub(super) const BUFFER: u64 = 0x4_0000;
/// The longest copy in bytes. The device's buffer has one more, and QEMU 7.2 ends itself when
/// that is copied, too.
pub const COPY_MOST: usize = 4095;
/// The highest address that the DMA engine reaches: 28 bits, unless QEMU is told otherwise.
pub const DMA_HIGHEST: u64 = (1 << 28) - 1;

registers! {
    /// The registers of edu, in BAR 0.
    pub(super) struct Registers: 0xa0 {
        /// Identification.
        0x00 id: ReadPure<u32>,
        /// Reads as the inverse of what was written.
        0x04 liveness: ReadPureWrite<u32>,
        /// A number to compute the factorial of, and then the factorial.
        0x08 factorial: ReadPureWrite<u32>,
        /// [`COMPUTING`] and [`INTERRUPT`].
        0x20 status: ReadPureWrite<u32>,
        /// What was raised and not yet acknowledged.
        0x24 interrupt_status: ReadPure<u32>,
        /// Raises interrupts.
        0x60 interrupt_raise: WriteOnly<u32>,
        /// Acknowledges interrupts.
        0x64 interrupt_acknowledge: WriteOnly<u32>,
        /// Where DMA reads.
        0x80 dma_source: ReadPureWrite<u64>,
        /// Where DMA writes.
        0x88 dma_destination: ReadPureWrite<u64>,
        /// Bytes.
        0x90 dma_count: ReadPureWrite<u64>,
        /// [`DMA_START`], [`DMA_TO_MEMORY`], [`DMA_INTERRUPT`].
        0x98 dma_command: ReadPureWrite<u64>,
    }
}
