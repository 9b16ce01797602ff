//! QEMU's educational device (hw/misc/edu.c of QEMU and its specs/edu).

#[cfg(test)]
mod tests;

use std::vec;
use std::vec::Vec;

use vfio_core::wire::abi::DeviceFlags;

use super::pci::{MAPPED, pci_irqs, pci_regions};
use super::{Bar, Bus, Config, Description, Model, RegionDescription, Registers};

/// The educational device: identification, liveness check, factorial, DMA engine and interrupts,
/// all in region 0.
///
/// The registers below 0x80 are accessed with 4 bytes, the others with 4 or 8. A factorial and a
/// copy take a few steps of [time](Registers#time).
///
/// It differs from QEMU's in what QEMU leaves to chance: a copy that is not within the device's
/// buffer is not made, and a copy whose DMA faults leaves the buffer as it was. Both end all the
/// same, and raise their interrupt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edu {
    liveness: u32,
    factorial: u32,
    /// Steps until the factorial is there, while one is computed.
    computing: Option<u32>,
    raises_after_factorial: bool,
    interrupt_status: u32,
    source: u64,
    destination: u64,
    count: u64,
    command: u64,
    /// Steps until the copy is made, while one runs.
    copying: Option<u32>,
    buffer: Vec<u8>,
    dma_mask: u64,
}

/// Offsets of the registers, in bytes.
mod offset {
    /// Version and 0xed; read only.
    pub(super) const IDENTIFICATION: u64 = 0x00;
    /// Reads as the complement of what was written.
    pub(super) const LIVENESS: u64 = 0x04;
    /// Reads as the factorial of what was written.
    pub(super) const FACTORIAL: u64 = 0x08;
    /// Bit 0: computing; bit 7: raise an interrupt when the factorial is there.
    pub(super) const STATUS: u64 = 0x20;
    /// Why an interrupt was raised; read only.
    pub(super) const INTERRUPT_STATUS: u64 = 0x24;
    /// Bits written here are set in the interrupt status; write only.
    pub(super) const INTERRUPT_RAISE: u64 = 0x60;
    /// Bits written here are cleared in the interrupt status; write only.
    pub(super) const INTERRUPT_ACKNOWLEDGE: u64 = 0x64;
    /// Where the DMA engine reads.
    pub(super) const DMA_SOURCE: u64 = 0x80;
    /// Where it writes.
    pub(super) const DMA_DESTINATION: u64 = 0x88;
    /// How many bytes.
    pub(super) const DMA_COUNT: u64 = 0x90;
    /// Bit 0: run; bit 1: to memory; bit 2: raise an interrupt when it is done.
    pub(super) const DMA_COMMAND: u64 = 0x98;
}

/// Version 1.0.
const IDENTIFICATION: u32 = 0x0100_00ed;
const STATUS_COMPUTING: u32 = 1 << 0;
const STATUS_RAISES: u32 = 1 << 7;
const CAUSE_FACTORIAL: u32 = 0x001;
const CAUSE_DMA: u32 = 0x100;
const COMMAND_RUN: u64 = 1 << 0;
const COMMAND_TO_MEMORY: u64 = 1 << 1;
const COMMAND_RAISES: u64 = 1 << 2;

/// Where the DMA engine finds the device's buffer.
const BUFFER: u64 = 0x4_0000;
/// Bytes of the buffer.
const BUFFER_LEN: usize = 4096;
/// The engine has 28 address lines.
const DMA_MASK: u64 = (1 << 28) - 1;

/// How many steps work takes.
const STEPS: u32 = 3;

impl Edu {
    /// Creates the device after power-on.
    #[must_use]
    pub fn new() -> Self {
        Self {
            liveness: 0,
            factorial: 0,
            computing: None,
            raises_after_factorial: false,
            interrupt_status: 0,
            source: 0,
            destination: 0,
            count: 0,
            command: 0,
            copying: None,
            buffer: vec![0; BUFFER_LEN],
            dma_mask: DMA_MASK,
        }
    }

    /// Sets the mask of the addresses that the DMA engine reaches, as QEMU's property `dma_mask`
    /// does. Address bits outside it are cleared.
    #[must_use]
    pub fn with_dma_mask(self, dma_mask: u64) -> Self {
        Self { dma_mask, ..self }
    }

    /// Reads a register. All ones stand for none.
    fn register(&self, at: u64) -> u64 {
        match at {
            offset::IDENTIFICATION => IDENTIFICATION.into(),
            offset::LIVENESS => self.liveness.into(),
            offset::FACTORIAL => self.factorial.into(),
            offset::STATUS => self.status().into(),
            offset::INTERRUPT_STATUS => self.interrupt_status.into(),
            offset::DMA_SOURCE => self.source,
            offset::DMA_DESTINATION => self.destination,
            offset::DMA_COUNT => self.count,
            offset::DMA_COMMAND => self.command,
            _ => u64::MAX,
        }
    }

    const fn status(&self) -> u32 {
        let mut status = 0;
        if self.computing.is_some() {
            status |= STATUS_COMPUTING;
        }
        if self.raises_after_factorial {
            status |= STATUS_RAISES;
        }
        status
    }

    /// Writes one of the registers of 32 bits.
    fn set_register(&mut self, at: u64, value: u32, bus: &mut Bus<'_>) {
        match at {
            offset::LIVENESS => self.liveness = !value,
            offset::FACTORIAL if self.computing.is_none() => {
                self.factorial = value;
                self.computing = Some(STEPS);
            }
            offset::STATUS => self.raises_after_factorial = value & STATUS_RAISES != 0,
            offset::INTERRUPT_RAISE => self.raise(value, bus),
            offset::INTERRUPT_ACKNOWLEDGE => {
                self.interrupt_status &= !value;
                if self.interrupt_status == 0 && !bus.uses_messages() {
                    bus.set_intx(false);
                }
            }
            _ => (),
        }
    }

    /// Writes one of the registers of the DMA engine, which keep their values while it runs.
    fn set_dma(&mut self, at: u64, value: u64) {
        if self.copying.is_some() {
            return;
        }
        match at {
            offset::DMA_SOURCE => self.source = value,
            offset::DMA_DESTINATION => self.destination = value,
            offset::DMA_COUNT => self.count = value,
            offset::DMA_COMMAND if value & COMMAND_RUN != 0 => {
                self.command = value;
                self.copying = Some(STEPS);
            }
            _ => (),
        }
    }

    fn raise(&mut self, causes: u32, bus: &mut Bus<'_>) {
        self.interrupt_status |= causes;
        if self.interrupt_status == 0 {
            return;
        }
        if bus.uses_messages() {
            // A fault is kept by the bus; the device does not know of it.
            let _ = bus.send_message(0);
        } else {
            bus.set_intx(true);
        }
    }

    fn finish_copy(&mut self, bus: &mut Bus<'_>) {
        let is_to_memory = self.command & COMMAND_TO_MEMORY != 0;
        let (inside, outside) = if is_to_memory {
            (self.source, self.destination)
        } else {
            (self.destination, self.source)
        };
        let outside = outside & self.dma_mask;
        if let Some(buffer) = part_of_buffer(&mut self.buffer, inside, self.count) {
            // A fault is kept by the bus; the device goes on.
            let _ = if is_to_memory {
                bus.dma_write(outside, buffer)
            } else {
                bus.dma_read(outside, buffer)
            };
        }
        self.command &= !COMMAND_RUN;
        if self.command & COMMAND_RAISES != 0 {
            self.raise(CAUSE_DMA, bus);
        }
    }
}

/// Returns the `count` bytes at `at`, where they lie in the buffer.
fn part_of_buffer(buffer: &mut [u8], at: u64, count: u64) -> Option<&mut [u8]> {
    let start = usize::try_from(at.checked_sub(BUFFER)?).ok()?;
    let end = start.checked_add(usize::try_from(count).ok()?)?;
    buffer.get_mut(start..end)
}

/// Returns the factorial modulo 2^32. From 34 on it is 0.
fn factorial(n: u32) -> u32 {
    (1..=n.min(34)).fold(1, u32::wrapping_mul)
}

/// Counts a step of some work; whether it was the last one.
fn step(left: &mut Option<u32>) -> bool {
    match left {
        Some(0 | 1) => {
            *left = None;
            true
        }
        Some(steps) => {
            *steps = steps.saturating_sub(1);
            false
        }
        None => false,
    }
}

impl Default for Edu {
    fn default() -> Self {
        Self::new()
    }
}

/// Where the registers begin that may be accessed with 8 bytes.
const WIDE: u64 = 0x80;

impl Registers for Edu {
    fn read(&mut self, region: u32, offset: u64, data: &mut [u8], _: &mut Bus<'_>) {
        let value = match (region, data.len()) {
            (0, 4) => self.register(offset),
            (0, 8) if offset >= WIDE => self.register(offset),
            (0, 8) => u64::MAX,
            // QEMU lets no other access through to the device.
            _ => 0,
        };
        data.iter_mut()
            .zip(value.to_le_bytes())
            .for_each(|(to, from)| *to = from);
    }

    fn write(&mut self, region: u32, offset: u64, data: &[u8], bus: &mut Bus<'_>) {
        if region != 0 {
            return;
        }
        if let Ok(data) = <[u8; 4]>::try_from(data) {
            let value = u32::from_le_bytes(data);
            if offset < WIDE {
                self.set_register(offset, value, bus);
            } else {
                self.set_dma(offset, value.into());
            }
        } else if let Ok(data) = <[u8; 8]>::try_from(data)
            && offset >= WIDE
        {
            self.set_dma(offset, u64::from_le_bytes(data));
        }
    }

    fn advance(&mut self, bus: &mut Bus<'_>) -> bool {
        if step(&mut self.computing) {
            self.factorial = factorial(self.factorial);
            if self.raises_after_factorial {
                self.raise(CAUSE_FACTORIAL, bus);
            }
        }
        if step(&mut self.copying) {
            self.finish_copy(bus);
        }
        self.computing.is_some() || self.copying.is_some()
    }

    fn reset(&mut self, bus: &mut Bus<'_>) {
        *self = Self::new().with_dma_mask(self.dma_mask);
        bus.set_intx(false);
    }
}

/// Returns QEMU's educational device: a BAR of 1 MiB with [`Edu`] in it, and one message-signalled
/// interrupt.
#[must_use]
pub fn edu() -> Model {
    let config = Config::pci(0x1234, 0x11e8, 0x00_ff00, 0x10)
        .with_bar(0, Bar::Memory32 { size: 1 << 20 })
        .with_interrupt_pin(1)
        // MSI with 64-bit addresses: control, address, upper address, data.
        .with_capability(0x40, 0x05, &[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    Model::new(Description {
        flags: DeviceFlags::PCI,
        regions: pci_regions(&config, [(0, RegionDescription::new(0, MAPPED, 1 << 20))]),
        irqs: pci_irqs(1, 1, 0, false).into(),
        config,
        ..Default::default()
    })
    .with_registers(Edu::new())
}
