//! Which functions there are.

use heapless::Vec;
use vfio_core::pci::{Class, HeaderLayout, Id};

use super::{Address, Registers, Spaces};
use crate::acpi::Segment;

/// A function that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Function {
    /// Where it is.
    pub address: Address,
    /// Vendor and device.
    pub id: Id,
    /// What it is.
    pub class: Class,
    /// How its header is laid out.
    pub layout: HeaderLayout,
    /// The bus behind it, where it is a bridge that was followed; else 0.
    pub secondary: u8,
}

/// How many functions a machine can have.
pub const FUNCTIONS_MOST: usize = 48;

/// How many bridges can be behind each other.
const DEPTH_MOST: u32 = 8;

/// The functions of a machine: those of a bus together, and a bridge before what is behind it.
pub type Functions = Vec<Function, FUNCTIONS_MOST>;

/// What of a machine is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ScanError {
    /// So many functions for which there is no room; what is behind their bridges is not counted.
    TooMany {
        /// How many.
        left_out: u32,
    },
    /// What is behind a bridge.
    Behind {
        /// The bridge.
        bridge: Address,
        /// What is wrong with it.
        fault: BridgeFault,
    },
}

/// Why a bridge is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum BridgeFault {
    /// More bridges are before it than an image can follow.
    TooDeep,
    /// The bus behind it has a number that another bus has.
    BusTwice,
    /// There is no number left for the bus behind it.
    NoBus,
}

/// Where things are in a header.
const REVISION: u16 = 0x08;
const HEADER_TYPE: u16 = 0x0e;
/// Where a bridge has the numbers of its buses: its own, the one behind it, the last behind it.
const PRIMARY: u16 = 0x18;
const SECONDARY: u16 = 0x19;
const SUBORDINATE: u16 = 0x1a;

/// A header type says that a device has several functions.
const MULTIFUNCTION: u8 = 0x80;

/// The base class of bridges, whose subclass 0 are those to the host (PCI Code and ID Assignment
/// specification 1.11, section 1.7).
const BRIDGES: u8 = 0x06;

/// Looks for functions on all roots and behind their bridges, and adds them to `functions`. A bus
/// without a number gets one. What is left out is told to `report`, and the others are found.
///
/// A root is the first bus of each of `segments`. Where more than one bridge leads to the host, so
/// is every bus on which something answers and that no bridge leads to: QEMU's `pxb` and `pxb-pcie`
/// show one on bus 0. To look at all buses where nothing says so would take longer than the rest
/// of an image's start.
pub fn scan<S: Spaces>(
    spaces: S,
    segments: impl Iterator<Item = Segment>,
    functions: &mut Functions,
    report: &mut dyn FnMut(ScanError),
) {
    let mut scan = Scan {
        spaces,
        segment: 0,
        functions,
        seen: [false; 256],
        last_bus: 0,
        hosts: 0,
        left_out: 0,
        report,
    };
    for segment in segments {
        if scan.segment != segment.number {
            scan.segment = segment.number;
            scan.seen = [false; 256];
            scan.hosts = 0;
        }
        for bus in segment.first_bus..=segment.last_bus {
            if bus != segment.first_bus && scan.hosts < 2 {
                break;
            }
            if scan.is_new(bus) {
                scan.last_bus = bus;
                scan.bus(bus, segment.last_bus, DEPTH_MOST);
            }
        }
    }
    let left_out = scan.left_out;
    if left_out != 0 {
        (scan.report)(ScanError::TooMany { left_out });
    }
}

struct Scan<'s, S> {
    spaces: S,
    /// The segment that is looked at, and which of its buses were.
    segment: u16,
    seen: [bool; 256],
    functions: &'s mut Functions,
    /// The highest number of a bus on the root or behind it.
    last_bus: u8,
    /// How many bridges of the segment lead to the host.
    hosts: u32,
    left_out: u32,
    report: &'s mut dyn FnMut(ScanError),
}

impl<S: Spaces> Scan<'_, S> {
    /// Tells whether a bus was not looked at yet. From now on it was.
    fn is_new(&mut self, bus: u8) -> bool {
        let seen = self.seen.get_mut(usize::from(bus));
        seen.is_some_and(|seen| !core::mem::replace(seen, true))
    }

    /// Looks for the functions of a bus, and then behind its bridges, whose buses have numbers up
    /// to `limit`.
    fn bus(&mut self, bus: u8, limit: u8, depth: u32) {
        let start = self.functions.len();
        for device in 0..32 {
            let mut functions = 1;
            let mut function = 0;
            while function < functions {
                if self.function(Address::new(bus, device, function)) {
                    functions = 8;
                }
                function = function.saturating_add(1);
            }
        }
        let end = self.functions.len();
        // Those that have numbers come first, so that none of these is given out.
        for has_number in [true, false] {
            for n in start..end {
                let function = self.functions.get(n).copied();
                let bridge = function.filter(|function| function.layout == HeaderLayout::BRIDGE);
                if let Some(function) = bridge {
                    let registers = Registers::new(self.spaces, function.address);
                    let secondary = registers.byte(SECONDARY);
                    if (secondary != 0) == has_number
                        && let Err(fault) = self.behind(n, registers, secondary, limit, depth)
                    {
                        let bridge = function.address;
                        (self.report)(ScanError::Behind { bridge, fault });
                    }
                }
            }
        }
    }

    /// Adds the function at an address, where one answers; tells whether its device has others.
    fn function(&mut self, address: Address) -> bool {
        let address = address.in_segment(self.segment);
        let registers = Registers::new(self.spaces, address);
        let [v0, v1, d0, d1] = registers.long(0).to_le_bytes();
        let id = Id {
            vendor: u16::from_le_bytes([v0, v1]),
            device: u16::from_le_bytes([d0, d1]),
        };
        if id.vendor == 0xffff {
            return false;
        }
        let [revision, interface, sub, base] = registers.long(REVISION).to_le_bytes();
        let header = registers.byte(HEADER_TYPE);
        let layout = HeaderLayout(header & !MULTIFUNCTION);
        let function = Function {
            address,
            id,
            class: Class {
                base,
                sub,
                interface,
                revision,
            },
            layout,
            secondary: 0,
        };
        if function.class.base == BRIDGES && function.class.sub == 0 {
            self.hosts = self.hosts.saturating_add(1);
        }
        if self.functions.push(function).is_err() {
            self.left_out = self.left_out.saturating_add(1);
        }
        address.function() == 0 && header & MULTIFUNCTION != 0
    }

    /// Looks for the functions behind the bridge `n`, whose bus has the number `secondary`, or gets
    /// one up to `limit`.
    #[inline(never)]
    fn behind(
        &mut self,
        n: usize,
        registers: Registers<S>,
        secondary: u8,
        limit: u8,
        depth: u32,
    ) -> Result<(), BridgeFault> {
        let bridge = registers.address();
        let depth = depth.checked_sub(1).ok_or(BridgeFault::TooDeep)?;
        let (bus, limit) = match secondary {
            0 => {
                let next = self.last_bus.checked_add(1);
                let is_free = |bus: &u8| *bus <= limit && !self.answers(*bus);
                let bus = next.filter(is_free).ok_or(BridgeFault::NoBus)?;
                (bus, limit)
            }
            bus => (bus, limit.min(registers.byte(SUBORDINATE))),
        };
        if !self.is_new(bus) {
            return Err(BridgeFault::BusTwice);
        }
        self.last_bus = self.last_bus.max(bus);
        if let Some(function) = self.functions.get_mut(n) {
            function.secondary = bus;
        }
        if secondary == 0 {
            // Until it is known which is the last, all are behind it.
            let numbers = [bridge.bus(), bus, limit, 0];
            registers.set_long(PRIMARY, u32::from_le_bytes(numbers));
        }
        self.bus(bus, limit, depth);
        if secondary == 0 {
            registers.set_byte(SUBORDINATE, self.last_bus);
        }
        Ok(())
    }

    /// Tells whether something is on a bus already.
    fn answers(&self, bus: u8) -> bool {
        let address = |device| Address::new(bus, device, 0).in_segment(self.segment);
        (0..32).any(|device| !Registers::new(self.spaces, address(device)).is_gone())
    }
}
