//! The registers of `edu` (QEMU, docs/specs/edu.rst), in BAR 0.

use vfio_core::mmio::field::{ReadPure, ReadPureWrite, WriteOnly};

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
pub(super) const COPY_MOST: usize = 4095;
/// The highest address that the DMA engine reaches: 28 bits, unless QEMU is told otherwise.
pub(super) const DMA_HIGHEST: u64 = (1 << 28) - 1;

/// The registers; those below 0x80 are 32 bits wide, the others 64.
#[repr(C)]
pub(super) struct Registers {
    /// Identification.
    pub(super) id: ReadPure<u32>,
    /// Reads as the inverse of what was written.
    pub(super) liveness: ReadPureWrite<u32>,
    /// A number to compute the factorial of, and then the factorial.
    pub(super) factorial: ReadPureWrite<u32>,
    _0c: [u32; 5],
    /// [`COMPUTING`] and [`INTERRUPT`].
    pub(super) status: ReadPureWrite<u32>,
    /// What was raised and not yet acknowledged.
    pub(super) interrupt_status: ReadPure<u32>,
    _28: [u32; 14],
    /// Raises interrupts.
    pub(super) interrupt_raise: WriteOnly<u32>,
    /// Acknowledges interrupts.
    pub(super) interrupt_acknowledge: WriteOnly<u32>,
    _68: [u32; 6],
    /// Where DMA reads.
    pub(super) dma_source: ReadPureWrite<u64>,
    /// Where DMA writes.
    pub(super) dma_destination: ReadPureWrite<u64>,
    /// Bytes.
    pub(super) dma_count: ReadPureWrite<u64>,
    /// [`DMA_START`], [`DMA_TO_MEMORY`], [`DMA_INTERRUPT`].
    pub(super) dma_command: ReadPureWrite<u64>,
}

const _: () = {
    assert!(core::mem::offset_of!(Registers, status) == 0x20);
    assert!(core::mem::offset_of!(Registers, interrupt_raise) == 0x60);
    assert!(core::mem::offset_of!(Registers, dma_source) == 0x80);
    assert!(size_of::<Registers>() == 0xa0);
};
