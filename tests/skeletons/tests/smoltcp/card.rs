//! A simulated network card whose wire leads back to it.
//!
//! It has the shape of real ones: two queues with a ring of descriptors each in memory, a doorbell
//! each, and one MSI-X vector.

use vfio_core::wire::abi::{DeviceFlags, IrqFlags, RegionFlags};
use vfio_core::wire::server::IrqReply;
use vfio_hosted::model::{
    Bar, Bus, Config, Description, Fault, Model, RegionDescription, Registers,
};

/// Bytes of the BAR.
const BAR: u32 = 4096;

/// The longest frame.
const FRAME: usize = 2048;

/// The card.
#[derive(Default)]
struct Card {
    is_enabled: bool,
    transmit: Queue,
    receive: Queue,
}

/// A queue, as its registers say.
#[derive(Default)]
struct Queue {
    ring: u64,
    entries: u32,
    /// How many descriptors the card has done.
    head: u32,
    /// How many the driver has given it.
    tail: u32,
}

/// A descriptor: where the frame is, how long it is, and whether it is done.
struct Descriptor {
    /// Where it is itself.
    place: u64,
    address: u64,
    len: u32,
}

/// Returns the card, for a kernel.
pub(crate) fn model() -> Model {
    let config = Config::pcie(0x1234, 0x10e0, 0x02_0000, 1)
        .with_bar(0, Bar::Memory32 { size: BAR })
        // MSI-X: one entry; the table and the pending bits in BAR 1, which nobody needs.
        .with_capability(0x40, 0x11, &[0, 0, 1, 0, 0, 0, 1, 8, 0, 0]);
    let both = RegionFlags::READ | RegionFlags::WRITE;
    let mut regions = vec![None; 8];
    regions[0] = Some(RegionDescription::new(
        0,
        both | RegionFlags::MMAP,
        BAR.into(),
    ));
    regions[7] = Some(RegionDescription::new(7, both, 4096));
    let msix = IrqReply {
        flags: IrqFlags::EVENTFD,
        count: 1,
    };
    Model::new(Description {
        flags: DeviceFlags::PCI | DeviceFlags::RESET,
        regions,
        irqs: vec![None, None, Some(msix)],
        config,
        ..Default::default()
    })
    .with_registers(Card::default())
}

impl Queue {
    fn set(&mut self, register: u64, value: u64) {
        match register {
            0x00 => self.ring = value,
            0x08 => self.entries = u32::try_from(value).unwrap(),
            0x0c => self.tail = u32::try_from(value).unwrap(),
            _ => (),
        }
    }

    /// Takes the next descriptor; none where the driver gave none.
    fn next(&mut self, bus: &mut Bus<'_>) -> Option<Descriptor> {
        if self.head == self.tail {
            return None;
        }
        let place = self.ring + u64::from(self.head % self.entries) * 16;
        let mut bytes = [0; 16];
        bus.dma_read(place, &mut bytes).ok()?;
        self.head = self.head.wrapping_add(1);
        let (words, _) = bytes.as_chunks::<4>();
        let [low, high, len] = [0, 1, 2].map(|at| u32::from_le_bytes(words[at]));
        Some(Descriptor {
            place,
            address: u64::from(high) << 32 | u64::from(low),
            len,
        })
    }
}

impl Descriptor {
    /// Says that it is done, with a frame of `len` bytes.
    fn finish(&self, len: u32, bus: &mut Bus<'_>) -> Result<(), Fault> {
        let status = u64::from(len) | 1 << 32;
        bus.dma_write(self.place + 8, &status.to_le_bytes())
    }
}

impl Card {
    /// Sends the next frame, which comes back at once, or is lost where there is no room for it.
    fn forward(&mut self, bus: &mut Bus<'_>) -> Option<()> {
        let sent = self.transmit.next(bus)?;
        let len = usize::try_from(sent.len).ok().filter(|len| *len <= FRAME)?;
        let mut frame = vec![0; len];
        bus.dma_read(sent.address, &mut frame).ok()?;
        sent.finish(sent.len, bus).ok()?;
        if let Some(received) = self.receive.next(bus) {
            bus.dma_write(received.address, &frame).ok()?;
            received.finish(sent.len, bus).ok()?;
        }
        bus.send_message(0).ok()
    }
}

impl Registers for Card {
    fn read(&mut self, _: u32, offset: u64, data: &mut [u8], _: &mut Bus<'_>) {
        let value = match offset {
            0x00 => 0x10e0,
            0x04 => u64::from(self.is_enabled),
            _ => 0,
        };
        data.copy_from_slice(&value.to_le_bytes()[..data.len()]);
    }

    fn write(&mut self, _: u32, offset: u64, data: &[u8], _: &mut Bus<'_>) {
        let mut value = [0; 8];
        value[..data.len()].copy_from_slice(data);
        let value = u64::from_le_bytes(value);
        match offset {
            0x04 if value & 1 == 0 => *self = Self::default(),
            0x04 => self.is_enabled = true,
            0x40..0x50 => self.transmit.set(offset - 0x40, value),
            0x80..0x90 => self.receive.set(offset - 0x80, value),
            _ => (),
        }
    }

    fn advance(&mut self, bus: &mut Bus<'_>) -> bool {
        self.is_enabled && self.forward(bus).is_some()
    }

    fn reset(&mut self, _: &mut Bus<'_>) {
        *self = Self::default();
    }
}
