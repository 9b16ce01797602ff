//! The kernel's sample `mtty`, which migrates (samples/vfio-mdev/mtty.c of Linux).

use std::collections::VecDeque;
use std::vec;
use std::vec::Vec;

use vfio_core::sys::Errno;
use vfio_core::wire::abi::{DeviceFlags, IrqFlags, MigrationFlags};
use vfio_core::wire::server::{Dialect, IrqReply};

use super::pci::TRAPPED;
use super::{Bar, Bus, Config, Description, Iommu, IommuCap, Model, RegionDescription, Registers};

/// One or two UARTs, each in a region of its own, whose output comes back as their input.
///
/// Their interrupts and the divisor of their clock are not simulated. The data of a migration
/// begin as the sample's do, so that those of another kind of device are told from its own; the
/// state of a port is laid out otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mtty {
    ports: Vec<Port>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Port {
    /// What was written to the registers that keep it.
    registers: [u8; 8],
    queue: VecDeque<u8>,
}

/// Offsets of the registers, in bytes.
mod offset {
    pub(super) const DATA: u64 = 0;
    pub(super) const INTERRUPT_ENABLE: u64 = 1;
    pub(super) const LINE_CONTROL: u64 = 3;
    pub(super) const MODEM_CONTROL: u64 = 4;
    pub(super) const LINE_STATUS: u64 = 5;
    pub(super) const SCRATCH: u64 = 7;
}

/// Line status: there is a byte.
const DATA_READY: u8 = 1 << 0;
/// Line status: nothing waits to be sent.
const ALL_SENT: u8 = 0x60;

/// How many bytes wait at most.
const QUEUE_LEN: usize = 16;

/// What the data begin with: magic number, version, ports, flags.
const MAGIC: u64 = 0x7e9d_0989_8c3e_2c4e;
const MAJOR: u32 = 1;
const MINOR: u32 = 0;

/// Bytes of a port's registers.
const PORT: u64 = 8;

/// Bytes of the state of a port.
const PORT_LEN: usize = 8 + 1 + QUEUE_LEN;

impl Mtty {
    /// Creates `ports` ports. Only the first two are in reach.
    #[must_use]
    pub fn new(ports: usize) -> Self {
        Self {
            ports: vec![Port::default(); ports],
        }
    }

    fn port(&mut self, region: u32) -> Option<&mut Port> {
        self.ports.get_mut(usize::try_from(region).ok()?)
    }

    /// Returns how long the data of a migration are.
    fn data_len(&self) -> usize {
        let state = self.ports.len().saturating_mul(PORT_LEN);
        self.initial().len().saturating_add(state)
    }
}

impl Port {
    fn read(&mut self, at: u64) -> u8 {
        let kept = usize::try_from(at).ok();
        let kept = kept.and_then(|at| self.registers.get(at)).copied();
        match at {
            offset::DATA => self.queue.pop_front().unwrap_or_default(),
            offset::INTERRUPT_ENABLE => kept.unwrap_or_default() & 0x0f,
            offset::LINE_CONTROL | offset::MODEM_CONTROL | offset::SCRATCH => {
                kept.unwrap_or_default()
            }
            offset::LINE_STATUS if self.queue.is_empty() => ALL_SENT,
            offset::LINE_STATUS => DATA_READY,
            _ => 0,
        }
    }

    fn write(&mut self, at: u64, value: u8) {
        match at {
            offset::DATA if self.queue.len() < QUEUE_LEN => self.queue.push_back(value),
            offset::INTERRUPT_ENABLE
            | offset::LINE_CONTROL
            | offset::MODEM_CONTROL
            | offset::SCRATCH => {
                let place = usize::try_from(at).ok();
                if let Some(register) = place.and_then(|at| self.registers.get_mut(at)) {
                    *register = value;
                }
            }
            _ => (),
        }
    }

    fn save(&self) -> Vec<u8> {
        let mut state = Vec::from(self.registers);
        state.push(u8::try_from(self.queue.len()).unwrap_or(u8::MAX));
        state.extend(&self.queue);
        state.resize(PORT_LEN, 0);
        state
    }

    fn restore(state: &[u8]) -> Option<Self> {
        let (registers, rest) = state.split_first_chunk()?;
        let (count, rest) = rest.split_first()?;
        Some(Self {
            registers: *registers,
            queue: rest.get(..usize::from(*count))?.iter().copied().collect(),
        })
    }
}

impl Registers for Mtty {
    fn read(&mut self, region: u32, offset: u64, data: &mut [u8], _: &mut Bus<'_>) {
        let Some(port) = self.port(region) else {
            return;
        };
        // Whatever the width, the sample reads one byte.
        if let Some(byte) = data.first_mut() {
            *byte = port.read(offset);
        }
    }

    fn write(&mut self, region: u32, offset: u64, data: &[u8], _: &mut Bus<'_>) {
        if let (Some(port), Some(byte)) = (self.port(region), data.first()) {
            port.write(offset, *byte);
        }
    }

    fn reset(&mut self, _: &mut Bus<'_>) {
        // The sample's reset leaves the ports as they are.
    }

    fn initial(&self) -> Vec<u8> {
        let ports = u32::try_from(self.ports.len()).unwrap_or(u32::MAX);
        let mut initial = Vec::from(MAGIC.to_ne_bytes());
        for field in [MAJOR, MINOR, ports, 0] {
            initial.extend(field.to_ne_bytes());
        }
        initial
    }

    fn save(&self) -> Vec<u8> {
        self.ports.iter().flat_map(Port::save).collect()
    }

    fn accept(&self, data: &[u8]) -> Result<(), Errno> {
        let initial = self.initial();
        if data.len() > self.data_len() {
            return Err(Errno::ENOMEM);
        }
        match data.get(..initial.len()) {
            Some(head) if head != initial => Err(Errno::EFAULT),
            _ => Ok(()),
        }
    }

    fn restore(&mut self, data: &[u8]) -> Result<(), Errno> {
        let state = data.get(self.initial().len()..).unwrap_or_default();
        let (ports, rest) = state.as_chunks::<PORT_LEN>();
        if ports.len() != self.ports.len() || !rest.is_empty() {
            return Err(Errno::EINVAL);
        }
        let ports: Option<Vec<_>> = ports.iter().map(|state| Port::restore(state)).collect();
        self.ports = ports.ok_or(Errno::EINVAL)?;
        Ok(())
    }
}

/// Returns a mediated device of the kernel's sample `mtty` with `ports` serial ports, one or two:
/// it migrates, pre-copy included, and keeps a log of the DMA that it never does.
#[must_use]
pub fn mtty(ports: u32) -> Model {
    let io = Bar::Io { size: 8 };
    let mut config = Config::pci(0x4348, 0x3253, 0x07_0002, 0x10)
        .with_bar(0, io)
        .with_interrupt_pin(1);
    if ports > 1 {
        config = config.with_bar(1, io);
    }
    let regions = (0..9)
        .map(|index| {
            let size = match index {
                7 => 0xff,
                0..=1 if index < ports => PORT,
                _ => 0,
            };
            Some(RegionDescription::new(index, TRAPPED, size))
        })
        .collect();
    let irq = |flags| Some(IrqReply { flags, count: 1 });
    let intx = IrqFlags::EVENTFD | IrqFlags::MASKABLE | IrqFlags::AUTOMASKED;
    let message = IrqFlags::EVENTFD | IrqFlags::NORESIZE;
    Model::new(Description {
        flags: DeviceFlags::PCI | DeviceFlags::RESET,
        regions,
        irqs: vec![irq(intx), irq(message), None, None, None],
        config,
        iommu: iommu(),
        dialect: Dialect::MDEV,
        migration: MigrationFlags::STOP_COPY | MigrationFlags::P2P | MigrationFlags::PRE_COPY,
        logs_dma: true,
        ..Default::default()
    })
    .with_registers(Mtty::new(usize::try_from(ports).unwrap_or(1)))
}

/// Describes a container without an IOMMU, which pins what a driver asks for.
fn iommu() -> Iommu {
    Iommu {
        pgsizes: !0xfff,
        caps: vec![
            IommuCap::Migration {
                pgsize_bitmap: 1 << 12,
                max_dirty_bitmap_size: 1 << 28,
            },
            IommuCap::DmaAvail { avail: 0xffff },
        ],
        ..Iommu::default()
    }
}
