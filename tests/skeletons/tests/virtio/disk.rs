//! A simulated virtio block device (Virtual I/O Device 1.2, 5.2), whose registers, in BAR 0, are
//! those of the MMIO transport (4.2.2), with one split queue (2.7).

use vfio_core::wire::abi::{DeviceFlags, RegionFlags};
use vfio_hosted::model::{
    Bar, Bus, Config, Description, Fault, Model, RegionDescription, Registers,
};

/// Bytes of the BAR.
const BAR: u32 = 4096;

/// Bytes of a sector.
const SECTOR: usize = 512;

/// Of a descriptor: another one follows; the device writes it.
const NEXT: u16 = 1;
const WRITE: u16 = 2;

/// What a request asks for.
const IN: u32 = 0;
const OUT: u32 = 1;

/// How a request ended.
const OK: u8 = 0;
const IOERR: u8 = 1;

/// The device.
struct Disk {
    sectors: Vec<u8>,
    status: u32,
    selected: u32,
    queue: Queue,
}

/// The queue, as the driver set it up.
#[derive(Default)]
struct Queue {
    size: u16,
    is_ready: u32,
    /// The descriptors, the driver's area and the device's, in halves.
    areas: [u32; 6],
    /// How many requests were taken from it.
    taken: u16,
}

/// A stretch of memory of a request.
struct Piece {
    address: u64,
    len: usize,
    is_written: bool,
}

/// Builds a disk of `sectors` sectors, for a kernel.
pub(crate) fn model(sectors: usize) -> Model {
    let config = Config::pci(0x1af4, 0x1042, 0x01_0000, 1).with_bar(0, Bar::Memory32 { size: BAR });
    let both = RegionFlags::READ | RegionFlags::WRITE;
    let mut regions = vec![None; 8];
    regions[0] = Some(RegionDescription::new(
        0,
        both | RegionFlags::MMAP,
        BAR.into(),
    ));
    regions[7] = Some(RegionDescription::new(7, both, 256));
    Model::new(Description {
        flags: DeviceFlags::PCI,
        regions,
        config,
        ..Default::default()
    })
    .with_registers(Disk {
        sectors: vec![0; sectors * SECTOR],
        status: 0,
        selected: 0,
        queue: Queue::default(),
    })
}

impl Queue {
    /// Returns the address of an area: 0 for the descriptors, 1 for the driver's, 2 for the
    /// device's.
    fn area(&self, nth: usize) -> u64 {
        u64::from(self.areas[2 * nth + 1]) << 32 | u64::from(self.areas[2 * nth])
    }

    /// Takes the next request: the number of its first descriptor, and its memory.
    fn next(&mut self, bus: &mut Bus<'_>) -> Result<Option<(u16, Vec<Piece>)>, Fault> {
        let mut index = [0; 2];
        bus.dma_read(self.area(1) + 2, &mut index)?;
        if self.taken == u16::from_le_bytes(index) {
            return Ok(None);
        }
        let place = u64::from(self.taken % self.size) * 2;
        let mut head = [0; 2];
        bus.dma_read(self.area(1) + 4 + place, &mut head)?;
        self.taken = self.taken.wrapping_add(1);
        let head = u16::from_le_bytes(head);
        let (mut at, mut pieces) = (head, Vec::new());
        for _ in 0..self.size {
            let mut raw = [0; 16];
            bus.dma_read(self.area(0) + u64::from(at) * 16, &mut raw)?;
            let number = u128::from_le_bytes(raw);
            let flags = (number >> 96) as u16;
            pieces.push(Piece {
                address: number as u64,
                len: (number >> 64) as u32 as usize,
                is_written: flags & WRITE != 0,
            });
            if flags & NEXT == 0 {
                break;
            }
            at = (number >> 112) as u16;
        }
        Ok(Some((head, pieces)))
    }

    /// Says that a request is done, for which so many bytes were written.
    fn finish(&self, head: u16, written: u32, bus: &mut Bus<'_>) -> Result<(), Fault> {
        let place = u64::from(self.taken.wrapping_sub(1) % self.size) * 8;
        let element = u64::from(written) << 32 | u64::from(head);
        bus.dma_write(self.area(2) + 4 + place, &element.to_le_bytes())?;
        bus.dma_write(self.area(2) + 2, &self.taken.to_le_bytes())
    }
}

impl Disk {
    /// Serves all requests.
    fn serve(&mut self, bus: &mut Bus<'_>) -> Result<(), Fault> {
        while let Some((head, pieces)) = self.queue.next(bus)? {
            let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else {
                return Ok(());
            };
            let data = pieces.get(1..pieces.len() - 1).unwrap_or_default();
            let mut header = [0; 16];
            bus.dma_read(first.address, &mut header)?;
            let number = u128::from_le_bytes(header);
            let status = self.transfer(number as u32, (number >> 64) as usize, data, bus)?;
            bus.dma_write(last.address, &[status])?;
            let written = pieces.iter().filter(|piece| piece.is_written);
            let written: usize = written.map(|piece| piece.len).sum();
            self.queue.finish(head, written as u32, bus)?;
        }
        Ok(())
    }

    fn transfer(
        &mut self,
        kind: u32,
        sector: usize,
        data: &[Piece],
        bus: &mut Bus<'_>,
    ) -> Result<u8, Fault> {
        let mut at = sector * SECTOR;
        for piece in data {
            let Some(bytes) = self.sectors.get_mut(at..at + piece.len) else {
                return Ok(IOERR);
            };
            match (kind, piece.is_written) {
                (IN, true) => bus.dma_write(piece.address, bytes)?,
                (OUT, false) => bus.dma_read(piece.address, bytes)?,
                _ => return Ok(IOERR),
            }
            at += piece.len;
        }
        Ok(OK)
    }

    fn register(&self, offset: u64) -> u32 {
        match offset {
            0x000 => u32::from_le_bytes(*b"virt"),
            0x004 | 0x008 => 2,
            // VIRTIO_F_VERSION_1, in the upper half.
            0x010 => self.selected,
            0x034 => 16,
            0x044 => self.queue.is_ready,
            0x070 => self.status,
            0x100 => (self.sectors.len() / SECTOR) as u32,
            _ => 0,
        }
    }
}

impl Registers for Disk {
    fn read(&mut self, _: u32, offset: u64, data: &mut [u8], _: &mut Bus<'_>) {
        let value = self.register(offset & !3).to_le_bytes();
        let start = (offset & 3) as usize;
        data.copy_from_slice(&value[start..start + data.len()]);
    }

    fn write(&mut self, _: u32, offset: u64, data: &[u8], bus: &mut Bus<'_>) {
        let value = u32::from_le_bytes(data.try_into().unwrap());
        match offset {
            0x014 => self.selected = value,
            0x038 => self.queue.size = value as u16,
            0x044 => self.queue.is_ready = value,
            // A fault is kept by the bus.
            0x050 => _ = self.serve(bus),
            0x070 if value == 0 => self.reset(bus),
            0x070 => self.status = value,
            0x080 | 0x084 | 0x090 | 0x094 | 0x0a0 | 0x0a4 => {
                let area = (offset - 0x080) / 16 * 2 + offset % 16 / 4;
                self.queue.areas[area as usize] = value;
            }
            _ => (),
        }
    }

    fn reset(&mut self, _: &mut Bus<'_>) {
        self.status = 0;
        self.queue = Queue::default();
    }
}
