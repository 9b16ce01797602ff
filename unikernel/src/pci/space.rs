//! Configuration space, mapped (PCI Express base specification, section 7.2.2) or behind I/O
//! ports (PCI Local Bus specification 3.0, section 3.2.2.3.2).

use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use heapless::Vec;
use spin::{Mutex, MutexGuard};
use vfio_core::mmio::{Mapped, Protection};

use super::{Address, Spaces, Width, halves};
use crate::acpi::{Physical, Segment, Tables};
use crate::paging::{self, Kind, MapError};
use crate::{port, registers};

/// The machine's configuration space. There is one: until it is found, it is behind I/O ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space;

/// How many entries of the table can be used.
const SEGMENTS_MOST: usize = 16;

/// Where it is mapped; nowhere where it is behind I/O ports.
static SEGMENTS: Mutex<Vec<Segment, SEGMENTS_MOST>> = Mutex::new(Vec::new());
/// The bus that was reached last, with its segment, and where its configuration spaces are.
static BUS_REACHED: AtomicU32 = AtomicU32::new(u32::MAX);
static BASE_REACHED: AtomicU64 = AtomicU64::new(0);

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
    /// The machine has more stretches of it than an image can have.
    TooMany,
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
    /// Finds it: where the tables say, or behind I/O ports. What of it can't be used is logged and
    /// left out.
    ///
    /// # Errors
    /// [`SpaceError`], where nothing is left.
    pub fn find<P: Physical>(physical: &P, rsdp: u64) -> Result<Self, SpaceError> {
        let mut found = Ok(Self);
        forget();
        if let Some(tables) = Tables::find(physical, rsdp) {
            for segment in tables.segments() {
                if let Err(error) = add(segment) {
                    defmt::error!("segment {=u16} is left out: {}", segment.number, error);
                    found = Err(error);
                }
            }
        }
        if segments().is_empty() {
            found
        } else {
            Ok(Self)
        }
    }

    /// Takes it to be where `segment` says.
    ///
    /// # Errors
    /// [`SpaceError`]
    pub fn mapped(segment: Segment) -> Result<Self, SpaceError> {
        forget();
        add(segment).map(|()| Self)
    }

    /// Its stretches, by their number. Behind I/O ports there is one.
    pub(crate) fn segment(self, n: usize) -> Option<Segment> {
        let segments = segments();
        if segments.is_empty() && n == 0 {
            return Some(Segment::all(0));
        }
        segments.get(n).copied()
    }

    /// Returns reads, or writes `value`. What was read. What is not there loses writes.
    #[inline(never)]
    fn transfer(address: Address, offset: u16, width: Width, value: Option<u32>) -> u32 {
        let value = value.map(u64::from);
        if address.segment_bus() != BUS_REACHED.load(Ordering::Relaxed) {
            match reach(address) {
                Reach::Ports => return ports(address, offset, width, value),
                Reach::Nowhere => return u32::MAX,
                Reach::Mapped => (),
            }
        }
        let base = BASE_REACHED.load(Ordering::Relaxed);
        let at = base.saturating_add(u64::from(address.devfn()) << 12);
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

impl Segment {
    /// Returns where the configuration spaces of its buses are, in bytes.
    pub(crate) fn range(&self) -> Range<u64> {
        let at = |bus: u8| self.base.saturating_add(u64::from(bus).saturating_mul(BUS));
        at(self.first_bus)..at(self.last_bus).saturating_add(BUS)
    }
}

#[inline(never)]
fn segments() -> MutexGuard<'static, Vec<Segment, SEGMENTS_MOST>> {
    SEGMENTS.lock()
}

/// Forgets where it is.
fn forget() {
    segments().clear();
    BUS_REACHED.store(u32::MAX, Ordering::Relaxed);
}

/// Takes a stretch, of which the first bus must be there: the others are mapped when something is
/// looked for on them.
fn add(segment: Segment) -> Result<(), SpaceError> {
    let (base, start) = (segment.base, segment.range().start);
    if !base.is_multiple_of(paging::PAGE) || base == 0 {
        return Err(SpaceError::Misaligned { base });
    }
    paging::map(start..start.saturating_add(BUS), Kind::Device).map_err(SpaceError::Map)?;
    segments().push(segment).map_err(|_| SpaceError::TooMany)
}

/// How the configuration spaces of a bus are reached.
enum Reach {
    Ports,
    Mapped,
    Nowhere,
}

/// Maps the configuration spaces of a bus.
#[cold]
#[inline(never)]
fn reach(address: Address) -> Reach {
    let (segments, bus) = (segments(), address.bus());
    if segments.is_empty() {
        return Reach::Ports;
    }
    let mut segments = segments.iter();
    let segment = segments.find(|segment| {
        segment.number == address.segment() && (segment.first_bus..=segment.last_bus).contains(&bus)
    });
    let Some(segment) = segment else {
        return Reach::Nowhere;
    };
    let range = Segment {
        first_bus: bus,
        last_bus: bus,
        ..*segment
    }
    .range();
    if paging::map(range.clone(), Kind::Device).is_err() {
        return Reach::Nowhere;
    }
    BASE_REACHED.store(range.start, Ordering::Relaxed);
    BUS_REACHED.store(address.segment_bus(), Ordering::Relaxed);
    Reach::Mapped
}

/// Works as [`Space::transfer`], through the ports.
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
        if segments().is_empty() {
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
