//! Configuration space, mapped (PCI Express base specification, section 7.2.2) or behind I/O
//! ports (PCI Local Bus specification 3.0, section 3.2.2.3.2).

use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use spin::Mutex;
use vfio_core::mmio::{Mapped, Protection};

use super::{Address, Spaces, Width, halves};
use crate::acpi::{Physical, Segment, Tables};
use crate::paging::{self, Kind, MapError};
use crate::{port, registers};

/// The machine's configuration space. There is one: until it is found, it is behind I/O ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space;

/// Where it is mapped; 0 where it is behind I/O ports.
static BASE: AtomicU64 = AtomicU64::new(0);
/// The last bus that it has there.
static LAST_BUS: AtomicU8 = AtomicU8::new(0);
/// The buses up to this one are mapped.
static MAPPED_BUS: AtomicU8 = AtomicU8::new(0);

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
    /// Finds it: that of segment 0, or behind I/O ports.
    ///
    /// # Errors
    /// [`SpaceError`]
    pub fn find<P: Physical>(physical: &P, rsdp: u64) -> Result<Self, SpaceError> {
        let tables = Tables::find(physical, rsdp);
        match tables.and_then(|tables| tables.segment()) {
            Some(segment) => Self::mapped(segment),
            None => Ok(Self),
        }
    }

    /// Takes it to be where `segment` says.
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
        BASE.store(base, Ordering::Relaxed);
        LAST_BUS.store(segment.last_bus, Ordering::Relaxed);
        MAPPED_BUS.store(0, Ordering::Relaxed);
        Ok(Self)
    }

    /// Where it is, if it is mapped.
    pub(crate) fn range(self) -> Option<Range<u64>> {
        let base = BASE.load(Ordering::Relaxed);
        let end = of_bus(LAST_BUS.load(Ordering::Relaxed)).saturating_add(BUS);
        (base != 0).then_some(base..end)
    }

    /// Reads, or writes `value`; what was read. What is not there loses writes.
    #[inline(never)]
    fn transfer(address: Address, offset: u16, width: Width, value: Option<u32>) -> u32 {
        let (bus, value) = (address.bus(), value.map(u64::from));
        if BASE.load(Ordering::Relaxed) == 0 {
            return ports(address, offset, width, value);
        }
        if bus > MAPPED_BUS.load(Ordering::Relaxed) && !reach(bus) {
            return u32::MAX;
        }
        let at = of_bus(bus).saturating_add(u64::from(address.devfn()) << 12);
        let base = usize::try_from(at).ok();
        let base = base.and_then(|at| NonNull::new(core::ptr::with_exposed_provenance_mut(at)));
        let read = base.and_then(|base| {
            // SAFETY: it is mapped for ever, to be read and written, at a page boundary; it is the
            // device's and not Rust's.
            let function = unsafe { Mapped::new(base, MAPPED_SIZE.into(), Protection::BOTH) };
            registers::mapped(&function, offset.into(), width.bytes(), value)
        });
        let [low, _] = halves(read.unwrap_or(u64::MAX));
        low
    }
}

/// Maps the configuration spaces up to those of `bus`; whether there are any.
#[cold]
#[inline(never)]
fn reach(bus: u8) -> bool {
    let range = of_bus(MAPPED_BUS.load(Ordering::Relaxed))..of_bus(bus).saturating_add(BUS);
    if bus > LAST_BUS.load(Ordering::Relaxed) || paging::map(range, Kind::Device).is_err() {
        return false;
    }
    MAPPED_BUS.store(bus, Ordering::Relaxed);
    true
}

/// Where the configuration spaces of a bus are.
fn of_bus(bus: u8) -> u64 {
    BASE.load(Ordering::Relaxed)
        .saturating_add(u64::from(bus).saturating_mul(BUS))
}

/// As [`Space::transfer`], through the ports.
#[inline(never)]
fn ports(address: Address, offset: u16, width: Width, value: Option<u64>) -> u32 {
    let _ports = PORTS.lock();
    let port = select(address, offset);
    let [low, _] = halves(registers::port(port, width.bytes(), value));
    low
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
        if BASE.load(Ordering::Relaxed) == 0 {
            PORTS_SIZE
        } else {
            MAPPED_SIZE
        }
    }

    fn read(&self, address: Address, offset: u16, width: Width) -> u32 {
        Self::transfer(address, offset, width, None)
    }

    fn write(&self, address: Address, offset: u16, width: Width, value: u32) {
        Self::transfer(address, offset, width, Some(value));
    }
}
