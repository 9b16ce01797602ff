//! Which functions there are.

use heapless::Vec;
use vfio_core::pci::{Class, HeaderLayout, Id};

use super::{Address, Registers, Spaces};

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
    /// The bus behind it, where it is a bridge; 0 where that has no number yet.
    pub secondary: u8,
}

/// How many functions a machine can have.
pub const FUNCTIONS_MOST: usize = 48;

/// How many bridges can be behind each other.
const DEPTH_MOST: u32 = 8;

/// The functions of a machine: those of a bus together, and a bridge before what is behind it.
pub type Functions = Vec<Function, FUNCTIONS_MOST>;

/// Why the functions can't be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ScanError {
    /// There are more functions than an image can have.
    TooMany,
    /// More bridges are behind each other than an image can follow.
    TooDeep {
        /// The last of them.
        bridge: Address,
    },
    /// The bus behind a bridge has a number that another bus has.
    BusTwice {
        /// The bridge.
        bridge: Address,
        /// The number.
        bus: u8,
    },
    /// There is no number left for the bus behind a bridge.
    NoBus {
        /// The bridge.
        bridge: Address,
    },
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

/// Looks for functions on bus 0 and behind its bridges, and adds them to `functions`. A bus
/// without a number gets one.
///
/// # Errors
/// [`ScanError`]
pub fn scan<S: Spaces>(spaces: S, functions: &mut Functions) -> Result<(), ScanError> {
    let mut scan = Scan {
        spaces,
        functions,
        last_bus: 0,
    };
    scan.bus(0, DEPTH_MOST)
}

struct Scan<'s, S> {
    spaces: S,
    functions: &'s mut Functions,
    /// The highest number that a bus has.
    last_bus: u8,
}

impl<S: Spaces> Scan<'_, S> {
    /// Looks for the functions of a bus, and then behind its bridges.
    fn bus(&mut self, bus: u8, depth: u32) -> Result<(), ScanError> {
        let start = self.functions.len();
        for device in 0..32 {
            let mut functions = 1;
            let mut function = 0;
            while function < functions {
                if self.function(Address::new(bus, device, function))? {
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
                if let Some(function) = bridge
                    && (function.secondary != 0) == has_number
                {
                    let bus = self.behind(function, depth)?;
                    if let Some(function) = self.functions.get_mut(n) {
                        function.secondary = bus;
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds the function at an address, where one answers; tells whether its device has others.
    fn function(&mut self, address: Address) -> Result<bool, ScanError> {
        let registers = Registers::new(self.spaces, address);
        let [v0, v1, d0, d1] = registers.long(0).to_le_bytes();
        let id = Id {
            vendor: u16::from_le_bytes([v0, v1]),
            device: u16::from_le_bytes([d0, d1]),
        };
        if id.vendor == 0xffff {
            return Ok(false);
        }
        let [revision, interface, sub, base] = registers.long(REVISION).to_le_bytes();
        let header = registers.byte(HEADER_TYPE);
        let layout = HeaderLayout(header & !MULTIFUNCTION);
        let secondary = if layout == HeaderLayout::BRIDGE {
            registers.byte(SECONDARY)
        } else {
            0
        };
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
            secondary,
        };
        let added = self.functions.push(function);
        added.map_err(|_| ScanError::TooMany)?;
        Ok(address.function() == 0 && header & MULTIFUNCTION != 0)
    }

    /// Looks for the functions behind a bridge; the number of the bus.
    #[inline(never)]
    fn behind(&mut self, function: Function, depth: u32) -> Result<u8, ScanError> {
        let bridge = function.address;
        let depth = depth.checked_sub(1).ok_or(ScanError::TooDeep { bridge })?;
        let has_number = function.secondary != 0;
        let bus = if has_number {
            function.secondary
        } else {
            let next = self.last_bus.checked_add(1);
            next.ok_or(ScanError::NoBus { bridge })?
        };
        if bus <= self.last_bus {
            return Err(ScanError::BusTwice { bridge, bus });
        }
        self.last_bus = bus;
        let registers = Registers::new(self.spaces, bridge);
        if !has_number {
            // Until it is known which is the last, all are behind it.
            let numbers = [bridge.bus(), bus, 0xff, 0];
            registers.set_long(PRIMARY, u32::from_le_bytes(numbers));
        }
        self.bus(bus, depth)?;
        if !has_number {
            registers.set_byte(SUBORDINATE, self.last_bus);
        }
        Ok(bus)
    }
}
