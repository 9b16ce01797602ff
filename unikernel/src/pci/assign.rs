//! Places for registers, where the firmware gave none.

use core::ops::Range;

use vfio_core::pci::{Command, HeaderLayout};

use super::bars::{BARS, size_bars};
use super::{Address, Function, Region, RegionKind, Registers, Spaces, halves};

/// Where registers can be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Room {
    /// Below 4 GiB.
    pub low: Range<u64>,
    /// Above.
    pub high: Range<u64>,
    /// I/O ports.
    pub io: Range<u64>,
}

/// Why registers have no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum AssignError {
    /// They need more room than there is.
    NoRoom {
        /// Whose they are.
        address: Address,
        /// The index of their base address register.
        bar: usize,
        /// Bytes.
        size: u64,
    },
}

/// Bytes that a bridge passes on are whole MiBs, and 4096 ports.
const BRIDGE_GRAIN: u64 = 1 << 20;
const BRIDGE_IO_GRAIN: u64 = 1 << 12;

/// Where a bridge has what it passes on (PCI-to-PCI Bridge Architecture specification 1.2, section
/// 3.2.5): ports, memory, memory that may be fetched ahead, and its upper halves.
const IO: u16 = 0x1c;
const MEMORY: u16 = 0x20;
const PREFETCHABLE: u16 = 0x24;
const UPPER_BASE: u16 = 0x28;
const UPPER_LIMIT: u16 = 0x2c;

/// Bytes of a page.
const PAGE: u64 = 4096;

/// Gives all registers a place, and bridges what they pass on, where no firmware did. Where one did,
/// all stays as it is: what it left without a place it had no room for.
///
/// What does not fit is told to `report`, and the rest gets its place.
pub fn assign<S: Spaces>(
    spaces: S,
    functions: &[Function],
    room: &mut Room,
    report: &mut dyn FnMut(AssignError),
) {
    let mut has_place = functions
        .iter()
        .map(|function| has_place(spaces, *function));
    if has_place.any(|has_place| has_place) {
        return;
    }
    let mut places = Places {
        spaces,
        functions,
        report,
    };
    for (n, function) in functions.iter().enumerate() {
        // The functions of a bus are together.
        let before = n.checked_sub(1).and_then(|n| functions.get(n));
        let is_first = before.is_none_or(|before| !is_beside(before, function));
        if is_first && bridge_to(functions, function).is_none() {
            places.bus(function.address, room, false);
        }
    }
}

/// Returns the bridge that leads to the bus of a function. None where the bus is a root.
fn bridge_to<'f>(functions: &'f [Function], function: &Function) -> Option<&'f Function> {
    functions.iter().find(|bridge| {
        bridge.secondary != 0
            && bridge.secondary == function.address.bus()
            && bridge.address.segment() == function.address.segment()
    })
}

/// Tells whether two functions are on the same bus.
fn is_beside(a: &Function, b: &Function) -> bool {
    a.address.segment_bus() == b.address.segment_bus()
}

/// Tells whether a function's registers have a place.
fn has_place<S: Spaces>(spaces: S, function: Function) -> bool {
    let registers = Registers::new(spaces, function.address);
    let mut bars = BARS.iter().take(count(function));
    bars.any(|register| registers.long(*register) & !0xf != 0)
}

/// Returns how many base address registers a function has. A layout that is not known has none.
fn count(function: Function) -> usize {
    match function.layout {
        HeaderLayout::NORMAL => 6,
        HeaderLayout::BRIDGE => 2,
        _ => 0,
    }
}

struct Places<'s, S> {
    spaces: S,
    functions: &'s [Function],
    report: &'s mut dyn FnMut(AssignError),
}

impl<S: Spaces> Places<'_, S> {
    /// Places what is on the bus of `first`, and then what is behind its bridges; `room` loses what
    /// is taken. Behind a bridge only what may be fetched ahead reaches above 4 GiB.
    fn bus(&mut self, first: Address, room: &mut Room, behind: bool) {
        let on_bus = |function: &&Function| function.address.segment_bus() == first.segment_bus();
        for function in self.functions.iter().filter(on_bus) {
            self.function(*function, room, behind);
        }
        for function in self.functions.iter().filter(on_bus) {
            if function.secondary != 0 {
                self.bridge(*function, room);
            }
        }
    }

    /// Places the registers of a function that have no place.
    fn function(&mut self, function: Function, room: &mut Room, behind: bool) {
        let address = function.address;
        let registers = Registers::new(self.spaces, address);
        let mut regions = [Region::MISSING; 6];
        size_bars(registers, count(function), &mut regions);
        for ((bar, region), register) in regions.iter().enumerate().zip(&BARS) {
            if !region.lacks_place() {
                continue;
            }
            let Some(place) = place(region, room, behind) else {
                let size = region.size;
                (self.report)(AssignError::NoRoom { address, bar, size });
                continue;
            };
            let [low, high] = halves(place);
            registers.set_long(*register, low);
            if region.kind.is_64_bit() {
                registers.set_long(register.saturating_add(4), high);
            }
        }
    }

    /// Places what is behind a bridge, and has the bridge pass it on.
    fn bridge(&mut self, function: Function, room: &mut Room) {
        let registers = Registers::new(self.spaces, function.address);
        let command = registers.command();
        if command.contains(Command::MEMORY) {
            // The firmware set it up, with what is behind it.
            return;
        }
        let mut inside = Room {
            low: aligned(&room.low, BRIDGE_GRAIN),
            high: aligned(&room.high, BRIDGE_GRAIN),
            io: aligned(&room.io, BRIDGE_IO_GRAIN),
        };
        // Some bridges fetch ahead only below 4 GiB.
        if registers.long(PREFETCHABLE) & 0xf != 1 {
            inside.high = inside.high.end..inside.high.end;
        }
        let start = inside.clone();
        let bus = Address::new(function.secondary, 0, 0).in_segment(function.address.segment());
        self.bus(bus, &mut inside, true);
        let low = used(&start.low, &inside.low, BRIDGE_GRAIN, &mut room.low);
        let high = used(&start.high, &inside.high, BRIDGE_GRAIN, &mut room.high);
        let io = used(&start.io, &inside.io, BRIDGE_IO_GRAIN, &mut room.io);

        registers.set_long(MEMORY, window(&low));
        registers.set_long(PREFETCHABLE, window(&high));
        let [_, base] = halves(high.start);
        let [_, limit] = halves(high.end.saturating_sub(1));
        registers.set_long(UPPER_BASE, base);
        registers.set_long(UPPER_LIMIT, limit);
        let [first, ..] = (io.start >> 8).to_le_bytes();
        let [last, ..] = (io.end.saturating_sub(1) >> 8).to_le_bytes();
        registers.set_word(IO, u16::from_le_bytes([first & 0xf0, last & 0xf0]));
        registers.set_command(command | Command::MEMORY | Command::IO | Command::MASTER);
    }
}

/// Returns a place for a region, which `room` then has no more.
fn place(region: &Region, room: &mut Room, behind: bool) -> Option<u64> {
    // Memory gets pages of its own, so that it can be mapped alone.
    let size = region.size.max(PAGE);
    match region.kind {
        RegionKind::Io => take(&mut room.io, region.size),
        RegionKind::Memory32 => take(&mut room.low, size),
        RegionKind::Prefetchable64 => {
            take(&mut room.high, size).or_else(|| take(&mut room.low, size))
        }
        RegionKind::Memory64 => {
            let low = take(&mut room.low, size);
            low.or_else(|| {
                if behind {
                    None
                } else {
                    take(&mut room.high, size)
                }
            })
        }
    }
}

/// Returns the first `size` bytes in `room` that start at a multiple of `size`.
fn take(room: &mut Range<u64>, size: u64) -> Option<u64> {
    let start = room.start.checked_next_multiple_of(size)?;
    let end = start.checked_add(size).filter(|end| *end <= room.end)?;
    room.start = end;
    Some(start)
}

/// Returns a bridge's register for a range of memory: 12 bits each of its first and its last MiB.
fn window(range: &Range<u64>) -> u32 {
    let [first, _] = halves(range.start >> 16);
    let [last, _] = halves(range.end.saturating_sub(1) >> 16);
    first & 0xfff0 | (last & 0xfff0) << 16
}

/// Returns a range that starts at a multiple of `grain`.
fn aligned(range: &Range<u64>, grain: u64) -> Range<u64> {
    let start = range.start.checked_next_multiple_of(grain);
    start.unwrap_or(range.end).min(range.end)..range.end
}

/// Returns the used part of a range, in whole grains, and starts `room` behind it. A range that
/// ends before its start stands for nothing, as a bridge takes it.
fn used(before: &Range<u64>, after: &Range<u64>, grain: u64, room: &mut Range<u64>) -> Range<u64> {
    if before.start == after.start {
        return grain..0;
    }
    room.start = aligned(after, grain).start;
    before.start..room.start
}
