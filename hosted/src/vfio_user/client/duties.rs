//! What vfio-pci does for its users by itself, and no server does: the interrupts and the addresses of a PCI
//! function.

use vfio_core::sys::Errno;
use vfio_core::wire::abi::{RegionFlags, pci_irq, pci_region};

use super::connection::Link;

/// Offsets in configuration space (PCI Local Bus Specification 3.0, 6.1).
const COMMAND: u64 = 0x04;
const STATUS: u64 = 0x06;
const HEADER_TYPE: u64 = 0x0e;
const BAR0: u64 = 0x10;
const CAPABILITIES: u64 = 0x34;

/// Command: I/O and memory.
const DECODES: u16 = 0b11;
/// Command: INTx is off.
const INTX_OFF: u16 = 1 << 10;
/// Status: there is a list of capabilities.
const HAS_LIST: u16 = 1 << 4;

/// Capability ids.
const MSI: u8 = 0x05;
const MSIX: u8 = 0x11;

/// Where BARs of memory and of ports are put that have no address: away from what a machine has there, and where 32 bits
/// reach.
const MEMORY: u64 = 0xc000_0000;
const MEMORY_64: u64 = 0x40_0000_0000;
const PORTS: u64 = 0x1000;

/// What a reset takes away of configuration space.
#[derive(Default)]
pub(super) struct Kept {
    /// None where there is no configuration space.
    command: Option<u16>,
    bars: [u32; 6],
    /// The controls of MSI and MSI-X, and where they are.
    controls: [Option<(u64, u16)>; 2],
}

/// Addresses that are free.
struct Free {
    memory: u64,
    memory_64: u64,
    ports: u64,
}

impl Link {
    /// Makes a function as vfio-pci has it when it is opened: INTx off, and each BAR at an address. Some servers need the
    /// one, and some the other.
    pub(super) fn take_over(&mut self) -> Result<(), Errno> {
        match self.region(pci_region::CONFIG) {
            Ok(config) if config.size >= 64 && config.flags.contains(RegionFlags::READ) => (),
            // No function of PCI.
            Ok(_) | Err(Errno::EINVAL) => return Ok(()),
            Err(errno) => return Err(errno),
        }
        let command = self.config_16(COMMAND)?;
        // Addresses are given while nothing is decoded.
        self.set_config_16(COMMAND, (command | INTX_OFF) & !DECODES)?;
        self.place_bars()?;
        self.set_config_16(COMMAND, command | INTX_OFF)
    }

    /// Reads what a reset takes away.
    pub(super) fn keep(&mut self) -> Result<Kept, Errno> {
        if self
            .region(pci_region::CONFIG)
            .is_ok_and(|config| config.size < 64)
        {
            return Ok(Kept::default());
        }
        let mut kept = Kept {
            command: Some(self.config_16(COMMAND)?),
            ..Kept::default()
        };
        for (bar, at) in kept.bars.iter_mut().zip((BAR0..).step_by(4)) {
            *bar = self.config_32(at)?;
        }
        for (slot, id) in kept.controls.iter_mut().zip([MSI, MSIX]) {
            *slot = match self.capability(id)? {
                Some(at) => {
                    let at = at.saturating_add(2);
                    Some((at, self.config_16(at)?))
                }
                None => None,
            };
        }
        Ok(kept)
    }

    /// Writes what a reset has taken away.
    pub(super) fn restore(&mut self, kept: &Kept) -> Result<(), Errno> {
        let Some(command) = kept.command else {
            return Ok(());
        };
        for (bar, at) in kept.bars.iter().zip((BAR0..).step_by(4)) {
            self.set_config_32(at, *bar)?;
        }
        for (at, control) in kept.controls.iter().flatten() {
            self.set_config_16(*at, *control)?;
        }
        self.set_config_16(COMMAND, command)?;
        match self.msix_vectors {
            0 => Ok(()),
            vectors => self.turn_msix(0, vectors, true),
        }
    }

    /// Gives an address to each BAR that has none.
    fn place_bars(&mut self) -> Result<(), Errno> {
        if self.config_8(HEADER_TYPE)? & 0x7f != 0 {
            return Ok(());
        }
        let mut free = Free {
            memory: MEMORY,
            memory_64: MEMORY_64,
            ports: PORTS,
        };
        let mut index = 0_u32;
        while index <= pci_region::BAR5 {
            let at = BAR0.saturating_add(u64::from(index).saturating_mul(4));
            let low = self.config_32(at)?;
            let is_wide = low & 0b111 == 0b100 && index < pci_region::BAR5;
            let size = self.region(index).map_or(0, |region| region.size);
            let mask = if low & 1 == 1 { !0b11 } else { !0b1111 };
            let high = if is_wide {
                self.config_32(at.saturating_add(4))?
            } else {
                0
            };
            if size > 0 && low & mask == 0 && high == 0 {
                let address = free.take(size, low & 1 == 1, is_wide);
                if let Some(address) = address {
                    self.set_config_32(at, low_half(address) | low & !mask)?;
                    if is_wide {
                        self.set_config_32(at.saturating_add(4), low_half(address >> 32))?;
                    }
                }
            }
            index = index.saturating_add(if is_wide { 2 } else { 1 });
        }
        Ok(())
    }

    /// Turns the interrupts of an index on, of which `vectors` from `start` on have events, or off.
    pub(super) fn turn(
        &mut self,
        index: u32,
        start: u32,
        vectors: u32,
        is_on: bool,
    ) -> Result<(), Errno> {
        match index {
            pci_irq::INTX => {
                let command = self.config_16(COMMAND)?;
                let command = if is_on {
                    command & !INTX_OFF
                } else {
                    command | INTX_OFF
                };
                self.set_config_16(COMMAND, command)
            }
            pci_irq::MSI => self.turn_msi(start.saturating_add(vectors), is_on),
            pci_irq::MSIX => self.turn_msix(start, vectors, is_on),
            _ => Ok(()),
        }
    }

    /// Sets the enable bit of MSI, and how many vectors there are.
    fn turn_msi(&mut self, vectors: u32, is_on: bool) -> Result<(), Errno> {
        let Some(at) = self.capability(MSI)? else {
            return Ok(());
        };
        let at = at.saturating_add(2);
        let control = self.config_16(at)? & !0x71;
        let count = vectors.max(1).checked_next_power_of_two();
        let count = count.map_or(0, u32::trailing_zeros).min(5);
        let count = u16::try_from(count << 4).unwrap_or(0);
        let on = if is_on { 1 | count } else { 0 };
        self.set_config_16(at, control | on)
    }

    /// Unmasks the vectors in the table, and sets the enable bit of MSI-X.
    fn turn_msix(&mut self, start: u32, vectors: u32, is_on: bool) -> Result<(), Errno> {
        let Some(at) = self.capability(MSIX)? else {
            return Ok(());
        };
        let table = self.config_32(at.saturating_add(4))?;
        let control_at = at.saturating_add(2);
        let control = self.config_16(control_at)? & 0x3fff;
        if is_on {
            for vector in start..start.saturating_add(vectors) {
                let entry = u64::from(table & !0b111).saturating_add(u64::from(vector) * 16);
                // The entry's control, in which the lowest bit masks.
                let at = entry.saturating_add(12);
                self.region_write(table & 0b111, at, &0_u32.to_le_bytes())?;
            }
        }
        self.msix_vectors = if is_on {
            self.msix_vectors.max(start.saturating_add(vectors))
        } else {
            0
        };
        let on = if is_on { 0x8000 } else { 0 };
        self.set_config_16(control_at, control | on)
    }

    /// Finds where the first capability of an id is.
    fn capability(&mut self, id: u8) -> Result<Option<u64>, Errno> {
        if self.config_16(STATUS)? & HAS_LIST == 0 {
            return Ok(None);
        }
        let mut at = self.config_8(CAPABILITIES)? & !0b11;
        // No list has more: each takes four bytes of the 192 behind the header.
        for _ in 0..48 {
            if at < 0x40 {
                break;
            }
            let [found, next] = self.config_16(at.into())?.to_le_bytes();
            if found == id {
                return Ok(Some(at.into()));
            }
            at = next & !0b11;
        }
        Ok(None)
    }

    fn config_8(&mut self, at: u64) -> Result<u8, Errno> {
        let mut data = [0];
        self.region_read(pci_region::CONFIG, at, &mut data)?;
        let [byte] = data;
        Ok(byte)
    }

    fn config_16(&mut self, at: u64) -> Result<u16, Errno> {
        let mut data = [0; 2];
        self.region_read(pci_region::CONFIG, at, &mut data)?;
        Ok(u16::from_le_bytes(data))
    }

    fn config_32(&mut self, at: u64) -> Result<u32, Errno> {
        let mut data = [0; 4];
        self.region_read(pci_region::CONFIG, at, &mut data)?;
        Ok(u32::from_le_bytes(data))
    }

    fn set_config_16(&mut self, at: u64, value: u16) -> Result<(), Errno> {
        self.region_write(pci_region::CONFIG, at, &value.to_le_bytes())
    }

    fn set_config_32(&mut self, at: u64, value: u32) -> Result<(), Errno> {
        self.region_write(pci_region::CONFIG, at, &value.to_le_bytes())
    }
}

impl Free {
    /// Takes `size` bytes, aligned to their size; none where there are no more.
    fn take(&mut self, size: u64, is_ports: bool, is_wide: bool) -> Option<u64> {
        let align = size.checked_next_power_of_two()?;
        let (next, end) = if is_ports {
            (&mut self.ports, 0x1_0000)
        } else if is_wide {
            (&mut self.memory_64, 1 << 46)
        } else {
            (&mut self.memory, 0xfe00_0000)
        };
        let address = next.checked_next_multiple_of(align)?;
        let behind = address.checked_add(size).filter(|behind| *behind <= end)?;
        *next = behind;
        Some(address)
    }
}

/// Returns the low half of an address.
fn low_half(address: u64) -> u32 {
    u32::try_from(address & u64::from(u32::MAX)).unwrap_or(0)
}
