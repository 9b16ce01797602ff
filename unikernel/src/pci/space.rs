//! Configuration space, mapped (PCI Express base specification, section 7.2.2) or behind I/O
//! ports (PCI Local Bus specification 3.0, section 3.2.2.3.2).

use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, Ordering};

use spin::Mutex;
use vfio_core::mmio::Mapped;

use super::{Address, Spaces, Width};
use crate::acpi::{Physical, Segment, Tables};
use crate::paging::{self, Kind, MapError};
use crate::{port, registers};

/// How configuration space is reached.
#[derive(Debug)]
pub struct Space {
    /// Where it is mapped; without that, it is behind I/O ports.
    segment: Option<Segment>,
    /// The buses up to this one are mapped.
    mapped: AtomicU8,
}

/// Why configuration space can't be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SpaceError {
    /// It can't be mapped.
    Map(MapError),
    /// Where it should be, it is not aligned as it must be.
    Misaligned {
        /// Where it should be.
        base: u64,
    },
}

/// Bytes of the configuration spaces of a bus.
const BUS: u64 = 1 << 20;
/// Bytes of a configuration space.
const MAPPED_SIZE: u16 = 4096;
const PORTS_SIZE: u16 = 256;

/// Which register is meant, and its value.
const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;

/// The two ports are used together.
static PORTS: Mutex<()> = Mutex::new(());

impl Space {
    /// Configuration space behind I/O ports.
    #[must_use]
    pub const fn ports() -> Self {
        Self {
            segment: None,
            mapped: AtomicU8::new(0),
        }
    }

    /// The configuration space of segment 0.
    ///
    /// # Errors
    /// [`SpaceError`]
    pub fn find<P: Physical>(physical: &P, rsdp: u64) -> Result<Self, SpaceError> {
        let tables = Tables::find(physical, rsdp);
        match tables.and_then(|tables| tables.segment()) {
            Some(segment) => Self::mapped(segment),
            None => Ok(Self::ports()),
        }
    }

    /// The configuration space that is mapped where `segment` says.
    ///
    /// # Errors
    /// [`SpaceError`]
    pub fn mapped(segment: Segment) -> Result<Self, SpaceError> {
        let base = segment.base;
        if !base.is_multiple_of(paging::PAGE) || base == 0 {
            return Err(SpaceError::Misaligned { base });
        }
        // Bus 0 is there; the others are mapped when something is looked for on them.
        paging::map(base..base.saturating_add(BUS), Kind::Device).map_err(SpaceError::Map)?;
        Ok(Self {
            segment: Some(segment),
            mapped: AtomicU8::new(0),
        })
    }

    /// Where it is, if it is mapped.
    pub(crate) fn range(&self) -> Option<Range<u64>> {
        let segment = self.segment?;
        let buses = u64::from(segment.last_bus).saturating_add(1);
        Some(segment.base..segment.base.saturating_add(buses.saturating_mul(BUS)))
    }

    /// The registers of a function, where they are mapped.
    fn function(&self, segment: Segment, address: Address) -> Option<Mapped<'static>> {
        let bus = address.bus();
        let mapped = self.mapped.load(Ordering::Relaxed);
        let at = |bus: u8| {
            segment
                .base
                .saturating_add(u64::from(bus).saturating_mul(BUS))
        };
        if bus > mapped {
            if bus > segment.last_bus {
                return None;
            }
            paging::map(at(mapped)..at(bus).saturating_add(BUS), Kind::Device).ok()?;
            self.mapped.store(bus, Ordering::Relaxed);
        }
        let at = at(bus).saturating_add(u64::from(address.devfn()) << 12);
        let base = core::ptr::with_exposed_provenance_mut(usize::try_from(at).ok()?);
        // SAFETY: it is mapped for ever, at a page boundary; it is the device's and not Rust's.
        Some(unsafe { Mapped::new(NonNull::new(base)?, MAPPED_SIZE.into()) })
    }

    /// Reads, or writes `value`; what was read. What is not there loses writes.
    #[inline(never)]
    fn transfer(&self, address: Address, offset: u16, width: Width, value: Option<u32>) -> u32 {
        let (bytes, value) = (width.bytes(), value.map(u64::from));
        let read = if let Some(segment) = self.segment {
            self.function(segment, address)
                .and_then(|function| registers::mapped(&function, offset.into(), bytes, value))
        } else {
            let _ports = PORTS.lock();
            Some(registers::port(select(address, offset), bytes, value))
        };
        read.and_then(|read| u32::try_from(read).ok())
            .unwrap_or(u32::MAX)
    }
}

/// Names a register, whose value is then at the port that is returned.
fn select(address: Address, offset: u16) -> u16 {
    let (bus, devfn) = (u32::from(address.bus()), u32::from(address.devfn()));
    let register = 1 << 31 | bus << 16 | devfn << 8 | u32::from(offset & 0xfc);
    port::write(ADDRESS, register);
    DATA.saturating_add(offset & 3)
}

impl Spaces for Space {
    fn size(&self) -> u16 {
        match self.segment {
            Some(_) => MAPPED_SIZE,
            None => PORTS_SIZE,
        }
    }

    fn read(&self, address: Address, offset: u16, width: Width) -> u32 {
        self.transfer(address, offset, width, None)
    }

    fn write(&self, address: Address, offset: u16, width: Width, value: u32) {
        self.transfer(address, offset, width, Some(value));
    }
}
