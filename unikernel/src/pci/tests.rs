//! Buses that are made up.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::vec::Vec;

use super::{
    Address, AssignError, Functions, Region, RegionKind, Registers, Room, ScanError, Spaces, Width,
    assign, scan, size_bars,
};

/// The bytes of a configuration space, and which bits can be written.
type Bytes = (Vec<u8>, Vec<u8>);

/// The configuration spaces of functions.
#[derive(Default)]
pub(crate) struct Machine {
    spaces: RefCell<BTreeMap<Address, Bytes>>,
}

impl Machine {
    /// Adds a function: header type 0 or 1.
    pub(crate) fn add(&self, address: Address, header: u8) {
        let mut bytes = std::vec![0; 256];
        bytes[..4].copy_from_slice(&[0x34, 0x12, 0xe8, 0x11]);
        bytes[0x0e] = header;
        let mut writable = std::vec![0; 256];
        writable[4..6].copy_from_slice(&[0xff, 0x07]);
        if header & 0x7f == 1 {
            writable[0x18..0x1b].fill(0xff);
            for at in [0x1c, 0x1d, 0x20, 0x22, 0x24, 0x26] {
                writable[at] = 0xf0;
            }
            for at in [0x21, 0x23, 0x25, 0x27] {
                writable[at] = 0xff;
            }
            writable[0x28..0x30].fill(0xff);
            bytes[0x24] = 1;
            bytes[0x26] = 1;
        }
        let added = self.spaces.borrow_mut().insert(address, (bytes, writable));
        assert!(added.is_none());
    }

    /// Gives a function a base address register of `size` bytes.
    pub(crate) fn bar(&self, address: Address, index: usize, size: u64, flags: u8) {
        let mask = size.wrapping_neg().to_le_bytes();
        let is_wide = flags & 0x7 == 0x4;
        self.change(address, |bytes, writable| {
            let at = 0x10 + 4 * index;
            let len = if is_wide { 8 } else { 4 };
            bytes[at] = flags;
            writable[at..at + len].copy_from_slice(&mask[..len]);
        });
    }

    /// Changes bytes, whether they can be written or not.
    pub(crate) fn put(&self, address: Address, at: usize, new: &[u8]) {
        self.change(address, |bytes, _| {
            bytes[at..at + new.len()].copy_from_slice(new)
        });
    }

    fn change(&self, address: Address, change: impl FnOnce(&mut [u8], &mut [u8])) {
        let mut spaces = self.spaces.borrow_mut();
        let (bytes, writable) = spaces.get_mut(&address).unwrap();
        change(bytes, writable);
    }

    pub(crate) fn registers(&self, address: Address) -> Registers<&Self> {
        Registers::new(self, address)
    }

    fn scan(&self) -> Result<Functions, ScanError> {
        let mut functions = Functions::new();
        scan(self, &mut functions).map(|()| functions)
    }
}

impl Spaces for &Machine {
    fn size(&self) -> u16 {
        256
    }

    fn read(&self, address: Address, offset: u16, width: Width) -> u32 {
        let spaces = self.spaces.borrow();
        let mut value = [0xff; 4];
        if let Some((bytes, _)) = spaces.get(&address) {
            let at = usize::from(offset);
            value = [0; 4];
            value[..width.bytes()].copy_from_slice(&bytes[at..at + width.bytes()]);
        }
        u32::from_le_bytes(value)
    }

    fn write(&self, address: Address, offset: u16, width: Width, value: u32) {
        let mut spaces = self.spaces.borrow_mut();
        if let Some((bytes, writable)) = spaces.get_mut(&address) {
            let new = value.to_le_bytes();
            for (n, new) in new.iter().enumerate().take(width.bytes()) {
                let at = usize::from(offset) + n;
                bytes[at] = bytes[at] & !writable[at] | new & writable[at];
            }
        }
    }
}

const fn room() -> Room {
    Room {
        low: 0xc000_0000..0xe000_0000,
        high: 0xc0_0000_0000..0x100_0000_0000,
        io: 0xc000..0x1_0000,
    }
}

fn at(bus: u8, device: u8) -> Address {
    Address::new(bus, device, 0)
}

#[test]
fn functions_are_found_behind_bridges_without_numbers() {
    let machine = Machine::default();
    machine.add(at(0, 0), 0x80);
    machine.add(Address::new(0, 0, 3), 0);
    machine.add(at(0, 2), 1);
    machine.add(at(1, 0), 1);
    machine.add(at(2, 5), 0);
    machine.add(at(0, 4), 1);
    machine.add(at(3, 0), 0);
    let functions = machine.scan().unwrap();
    let found: Vec<_> = functions.iter().map(|function| function.address).collect();
    let expected = [
        at(0, 0),
        Address::new(0, 0, 3),
        at(0, 2),
        at(0, 4),
        at(1, 0),
        at(2, 5),
        at(3, 0),
    ];
    assert_eq!(found, expected);
    // Its own bus, the one behind it, the last behind it.
    assert_eq!(
        machine.registers(at(0, 2)).long(0x18) & 0xff_ffff,
        0x02_01_00
    );
    assert_eq!(
        machine.registers(at(1, 0)).long(0x18) & 0xff_ffff,
        0x02_02_01
    );
    assert_eq!(
        machine.registers(at(0, 4)).long(0x18) & 0xff_ffff,
        0x03_03_00
    );
}

#[test]
fn bridges_that_lead_to_each_other_are_refused() {
    let machine = Machine::default();
    machine.add(at(0, 1), 1);
    machine.add(at(0, 2), 1);
    machine.put(at(0, 1), 0x19, &[1]);
    machine.put(at(0, 2), 0x19, &[1]);
    let bridge = at(0, 2);
    assert_eq!(machine.scan(), Err(ScanError::BusTwice { bridge, bus: 1 }));

    let machine = Machine::default();
    for bus in 0..20 {
        machine.add(at(bus, 0), 1);
    }
    assert!(matches!(machine.scan(), Err(ScanError::TooDeep { .. })));
}

#[test]
fn more_functions_than_there_is_room_for_are_refused() {
    let machine = Machine::default();
    for device in 0..32 {
        for function in 0..8 {
            machine.add(Address::new(0, device, function), 0x80);
        }
    }
    assert_eq!(machine.scan(), Err(ScanError::TooMany));
}

#[test]
fn registers_are_sized_and_left_as_they_were() {
    let machine = Machine::default();
    machine.add(at(0, 1), 0);
    machine.bar(at(0, 1), 0, 0x1000, 0);
    machine.bar(at(0, 1), 1, 0x20, 1);
    machine.bar(at(0, 1), 2, 1 << 40, 0xc);
    // Half of a pair, without the other half.
    machine.bar(at(0, 1), 5, 0x1000, 4);
    machine.put(at(0, 1), 0x10, &[0, 0x30, 0, 0xfe]);
    machine.put(at(0, 1), 0x04, &[0x07, 0x00]);
    let registers = machine.registers(at(0, 1));
    let mut regions = [Region::MISSING; 6];
    size_bars(registers, 6, &mut regions);
    let kinds: Vec<_> = regions
        .iter()
        .filter(|region| region.size != 0)
        .map(|region| (region.kind, region.address, region.size))
        .collect();
    let wide = RegionKind::Prefetchable64;
    let expected = [
        (RegionKind::Memory32, 0xfe00_3000, 0x1000),
        (RegionKind::Io, 0, 0x20),
        (wide, 0, 1 << 40),
    ];
    assert_eq!(kinds, expected);
    assert_eq!(registers.long(0x10), 0xfe00_3000);
    assert_eq!(registers.word(0x04), 7);
}

#[test]
fn registers_without_a_place_get_one_and_bridges_pass_it_on() {
    let machine = Machine::default();
    machine.add(at(0, 1), 0);
    machine.bar(at(0, 1), 0, 0x10, 0);
    machine.bar(at(0, 1), 1, 0x10_0000, 0);
    machine.add(at(0, 2), 1);
    machine.bar(at(0, 2), 0, 0x1000, 0);
    machine.add(at(1, 0), 0);
    machine.bar(at(1, 0), 0, 0x4000, 4);
    machine.bar(at(1, 0), 2, 1 << 33, 0xc);
    machine.bar(at(1, 0), 4, 0x20, 1);
    let functions = machine.scan().unwrap();
    assign(&machine, &functions, &mut room()).unwrap();

    let (endpoint, bridge) = (machine.registers(at(0, 1)), machine.registers(at(0, 2)));
    let behind = machine.registers(at(1, 0));
    assert_eq!(endpoint.long(0x10), 0xc000_0000);
    assert_eq!(endpoint.long(0x14), 0xc010_0000);
    assert_eq!(bridge.long(0x10), 0xc020_0000);
    assert_eq!(behind.long(0x10) & !0xf, 0xc030_0000);
    assert_eq!((behind.long(0x18) & !0xf, behind.long(0x1c)), (0, 0xc0));
    assert_eq!(behind.long(0x20), 0xc001);
    // The first and the last MiB that it passes on, and the upper halves.
    assert_eq!(bridge.long(0x20), 0xc030_c030);
    assert_eq!(
        (bridge.long(0x24), bridge.long(0x28), bridge.long(0x2c)),
        (0xfff1_0001, 0xc0, 0xc1)
    );
    assert_eq!(bridge.word(0x1c), 0xc0c0);
    assert_eq!(bridge.word(0x04), 7);
}

#[test]
fn what_firmware_placed_stays_where_it_is() {
    let machine = Machine::default();
    for device in [1, 2] {
        machine.add(at(0, device), 0);
        machine.bar(at(0, device), 0, 0x1000, 0);
    }
    machine.put(at(0, 2), 0x10, &[0, 0, 0, 0xfe]);
    let functions = machine.scan().unwrap();
    assign(&machine, &functions, &mut room()).unwrap();
    assert_eq!(machine.registers(at(0, 1)).long(0x10), 0);
    assert_eq!(machine.registers(at(0, 2)).long(0x10), 0xfe00_0000);
}

#[test]
fn what_does_not_fit_is_an_error() {
    let machine = Machine::default();
    machine.add(at(0, 3), 0);
    machine.bar(at(0, 3), 1, 1 << 31, 0);
    let functions = machine.scan().unwrap();
    let error = AssignError::NoRoom {
        address: at(0, 3),
        bar: 1,
        size: 1 << 31,
    };
    assert_eq!(assign(&machine, &functions, &mut room()), Err(error));
}
