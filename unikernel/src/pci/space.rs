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

    /// Maps the configuration spaces up to those of `bus`; whether it is one of the segment's.
    #[cold]
    #[inline(never)]
    fn reach(&self, segment: Segment, bus: u8) -> bool {
        let from = of_bus(segment, self.mapped.load(Ordering::Relaxed));
        let to = of_bus(segment, bus).saturating_add(BUS);
        if bus > segment.last_bus || paging::map(from..to, Kind::Device).is_err() {
            return false;
        }
        self.mapped.store(bus, Ordering::Relaxed);
        true
    }

    /// Reads, or writes `value`; what was read. What is not there loses writes.
    #[inline(never)]
    fn transfer(&self, address: Address, offset: u16, width: Width, value: Option<u32>) -> u32 {
        let (bus, value) = (address.bus(), value.map(u64::from));
        let Some(segment) = self.segment else {
            return ports(address, offset, width, value);
        };
        if bus > self.mapped.load(Ordering::Relaxed) && !self.reach(segment, bus) {
            return u32::MAX;
        }
        let at = of_bus(segment, bus).saturating_add(u64::from(address.devfn()) << 12);
        let base = usize::try_from(at).ok();
        let base = base.and_then(|at| NonNull::new(core::ptr::with_exposed_provenance_mut(at)));
        let read = base.and_then(|base| {
            // SAFETY: it is mapped for ever, at a page boundary; it is the device's and not Rust's.
            let function = unsafe { Mapped::new(base, MAPPED_SIZE.into()) };
            registers::mapped(&function, offset.into(), width.bytes(), value)
        });
        low_half(read.unwrap_or(u64::MAX))
    }
}

/// Where the configuration spaces of a bus are.
fn of_bus(segment: Segment, bus: u8) -> u64 {
    segment
        .base
        .saturating_add(u64::from(bus).saturating_mul(BUS))
}

/// As [`Space::transfer`], through the ports.
#[inline(never)]
fn ports(address: Address, offset: u16, width: Width, value: Option<u64>) -> u32 {
    let _ports = PORTS.lock();
    low_half(registers::port(
        select(address, offset),
        width.bytes(),
        value,
    ))
}

/// What a register of no more than 32 bits holds.
fn low_half(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
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
