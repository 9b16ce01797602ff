//! Buses that are made up.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::vec::Vec;

use super::{
    Address, AssignError, BridgeFault, FUNCTIONS_MOST, Functions, Region, RegionKind, Registers,
    Room, ScanError, Spaces, Width, assign, scan, size_bars,
};
use crate::acpi::Segment;

/// The bytes of a configuration space, and which bits can be written.
type Bytes = (Vec<u8>, Vec<u8>);

/// The configuration spaces of functions.
#[derive(Default)]
pub(crate) struct Machine {
    spaces: RefCell<BTreeMap<Address, Bytes>>,
    /// The roots besides bus 0 of each segment: any function on them.
    roots: Vec<Address>,
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

    /// Tells whether the bus of a function is a root, or a bridge leads to it.
    fn leads_to(&self, address: Address) -> bool {
        let is_root = |root: &Address| root.segment_bus() == address.segment_bus();
        let leads = |(bridge, (bytes, _)): (&Address, &Bytes)| {
            bytes[0x0e] & 0x7f == 1
                && bytes[0x19] == address.bus()
                && bridge.segment() == address.segment()
        };
        address.bus() == 0
            || self.roots.iter().any(is_root)
            || self.spaces.borrow().iter().any(leads)
    }

    fn change(&self, address: Address, change: impl FnOnce(&mut [u8], &mut [u8])) {
        let mut spaces = self.spaces.borrow_mut();
        let (bytes, writable) = spaces.get_mut(&address).unwrap();
        change(bytes, writable);
    }

    pub(crate) fn registers(&self, address: Address) -> Registers<&Self> {
        Registers::new(self, address)
    }

    /// Scans all buses of segment 0; the functions, and what is left out.
    fn scan(&self) -> (Functions, Vec<ScanError>) {
        self.scan_segments(&[Segment::all(0)])
    }

    fn scan_segments(&self, segments: &[Segment]) -> (Functions, Vec<ScanError>) {
        let (mut functions, mut errors) = (Functions::new(), Vec::new());
        let segments = segments.iter().copied();
        scan(self, segments, &mut functions, &mut |error| {
            errors.push(error)
        });
        (functions, errors)
    }

    /// Returns the functions. None is left out.
    fn whole_scan(&self) -> Functions {
        let (functions, errors) = self.scan();
        assert_eq!(errors, []);
        functions
    }

    /// Places what has no place; what does not fit.
    fn assign(&self, functions: &Functions) -> Vec<AssignError> {
        let mut errors = Vec::new();
        assign(self, functions, &mut room(), &mut |error| {
            errors.push(error)
        });
        errors
    }

    /// Adds a bridge to the host, as QEMU's roots are shown.
    fn add_host(&self, address: Address) {
        self.add(address, 0);
        self.put(address, 0x0a, &[0, 6]);
    }
}

impl Spaces for &Machine {
    fn size(&self) -> u16 {
        256
    }

    fn read(&self, address: Address, offset: u16, width: Width) -> u32 {
        let spaces = self.spaces.borrow();
        let mut value = [0xff; 4];
        if let Some((bytes, _)) = spaces.get(&address)
            && self.leads_to(address)
        {
            let at = usize::from(offset);
            value = [0; 4];
            value[..width.bytes()].copy_from_slice(&bytes[at..at + width.bytes()]);
        }
        u32::from_le_bytes(value)
    }

    fn write(&self, address: Address, offset: u16, width: Width, value: u32) {
        let leads = self.leads_to(address);
        let mut spaces = self.spaces.borrow_mut();
        if let Some((bytes, writable)) = spaces.get_mut(&address)
            && leads
        {
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

fn addresses(functions: &Functions) -> Vec<Address> {
    functions.iter().map(|function| function.address).collect()
}

fn behind(bridge: Address, fault: BridgeFault) -> ScanError {
    ScanError::Behind { bridge, fault }
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
    let functions = machine.whole_scan();
    let expected = [
        at(0, 0),
        Address::new(0, 0, 3),
        at(0, 2),
        at(0, 4),
        at(1, 0),
        at(2, 5),
        at(3, 0),
    ];
    assert_eq!(addresses(&functions), expected);
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
fn a_bus_that_no_bridge_leads_to_is_a_root() {
    let machine = Machine {
        roots: std::vec![at(0x80, 0), at(0xff, 0)],
        ..Machine::default()
    };
    machine.add_host(at(0, 0));
    machine.add(at(0, 2), 1);
    machine.put(at(0, 2), 0x18, &[0, 1, 1]);
    machine.add(at(1, 0), 0);
    machine.add(at(0x80, 0), 1);
    machine.put(at(0x80, 0), 0x18, &[0x80, 0x81, 0x81]);
    machine.add(at(0x81, 0), 0);
    machine.add(at(0xff, 31), 0);
    let first = [at(0, 0), at(0, 2), at(1, 0)];
    assert_eq!(addresses(&machine.whole_scan()), first);
    // One more bridge to the host says that there are others.
    machine.add_host(at(0, 1));
    let all = [
        at(0, 0),
        at(0, 1),
        at(0, 2),
        at(1, 0),
        at(0x80, 0),
        at(0x81, 0),
        at(0xff, 31),
    ];
    assert_eq!(addresses(&machine.whole_scan()), all);
}

#[test]
fn roots_get_numbers_and_places_of_their_own() {
    let machine = Machine {
        roots: std::vec![at(2, 0), at(0x80, 0)],
        ..Machine::default()
    };
    machine.add_host(at(0, 0));
    machine.add_host(at(0, 1));
    for bus in [0, 2, 0x80] {
        machine.add(at(bus, 3), 1);
    }
    for bus in [1, 3, 0x81] {
        machine.add(at(bus, 0), 0);
        machine.bar(at(bus, 0), 0, 0x10_0000, 0);
    }
    let functions = machine.whole_scan();
    // No bridge gets the number of a root.
    for (bridge, numbers) in [
        (at(0, 3), 0x01_01_00),
        (at(2, 3), 0x03_03_02),
        (at(0x80, 3), 0x81_81_80),
    ] {
        assert_eq!(machine.registers(bridge).long(0x18) & 0xff_ffff, numbers);
    }
    assert_eq!(machine.assign(&functions), []);
    for (bus, place) in [(1, 0xc000_0000), (3, 0xc010_0000), (0x81, 0xc020_0000)] {
        assert_eq!(machine.registers(at(bus, 0)).long(0x10), place);
    }
}

#[test]
fn every_stretch_of_the_table_has_a_root() {
    let machine = Machine {
        roots: std::vec![at(0x40, 0)],
        ..Machine::default()
    };
    let other = |address: Address| address.in_segment(1);
    for address in [
        at(0, 0),
        at(0x40, 3),
        other(at(0, 0)),
        other(at(1, 0)),
        at(0x90, 0),
    ] {
        machine.add(address, 0);
    }
    machine.add(other(at(0, 1)), 1);
    let stretch = |number, first_bus, last_bus| Segment {
        base: 0,
        number,
        first_bus,
        last_bus,
    };
    let stretches = [
        stretch(0, 0x40, 0x7f),
        stretch(0, 0, 0x3f),
        stretch(1, 0, 1),
    ];
    let (functions, errors) = machine.scan_segments(&stretches);
    assert_eq!(errors, []);
    let all = [
        at(0x40, 3),
        at(0, 0),
        other(at(0, 0)),
        other(at(0, 1)),
        other(at(1, 0)),
    ];
    assert_eq!(addresses(&functions), all);
}

#[test]
fn an_odd_bridge_leaves_out_what_is_behind_it_alone() {
    let machine = Machine::default();
    for device in [1, 2, 3] {
        machine.add(at(0, device), 1);
    }
    machine.add(at(1, 0), 0);
    machine.add(at(2, 0), 0);
    // Two lead to the same bus; the numbers of firmware may come in any order.
    machine.put(at(0, 1), 0x18, &[0, 2, 2]);
    machine.put(at(0, 2), 0x18, &[0, 2, 2]);
    machine.put(at(0, 3), 0x18, &[0, 1, 1]);
    let (functions, errors) = machine.scan();
    assert_eq!(errors, [behind(at(0, 2), BridgeFault::BusTwice)]);
    let all = [at(0, 1), at(0, 2), at(0, 3), at(2, 0), at(1, 0)];
    assert_eq!(addresses(&functions), all);
    assert_eq!(functions[1].secondary, 0);

    let machine = Machine::default();
    for bus in 0..20 {
        machine.add(at(bus, 0), 1);
    }
    machine.add(at(0, 5), 0);
    let (functions, errors) = machine.scan();
    assert_eq!(functions.len(), 10);
    assert_eq!(errors, [behind(at(8, 0), BridgeFault::TooDeep)]);
}

#[test]
fn a_bus_gets_no_number_that_its_bridges_do_not_pass_on() {
    let machine = Machine::default();
    machine.add(at(0, 1), 1);
    machine.put(at(0, 1), 0x18, &[0, 1, 2]);
    for device in [1, 2] {
        machine.add(at(1, device), 1);
    }
    machine.add(at(2, 0), 0);
    let (functions, errors) = machine.scan();
    assert_eq!(errors, [behind(at(1, 2), BridgeFault::NoBus)]);
    assert_eq!(
        addresses(&functions),
        [at(0, 1), at(1, 1), at(1, 2), at(2, 0)]
    );
}

#[test]
fn functions_for_which_there_is_no_room_are_counted() {
    let machine = Machine::default();
    for device in 0..32 {
        for function in 0..8 {
            machine.add(Address::new(0, device, function), 0x80);
        }
    }
    let (functions, errors) = machine.scan();
    assert_eq!(functions.len(), FUNCTIONS_MOST);
    let left_out = 256 - u32::try_from(FUNCTIONS_MOST).unwrap();
    assert_eq!(errors, [ScanError::TooMany { left_out }]);
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
    let functions = machine.whole_scan();
    assert_eq!(machine.assign(&functions), []);

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
    let functions = machine.whole_scan();
    assert_eq!(machine.assign(&functions), []);
    assert_eq!(machine.registers(at(0, 1)).long(0x10), 0);
    assert_eq!(machine.registers(at(0, 2)).long(0x10), 0xfe00_0000);
}

#[test]
fn what_does_not_fit_is_told_and_the_rest_is_placed() {
    let machine = Machine::default();
    machine.add(at(0, 3), 0);
    machine.bar(at(0, 3), 1, 1 << 31, 0);
    machine.bar(at(0, 3), 2, 0x1000, 0);
    let functions = machine.whole_scan();
    let error = AssignError::NoRoom {
        address: at(0, 3),
        bar: 1,
        size: 1 << 31,
    };
    assert_eq!(machine.assign(&functions), [error]);
    assert_eq!(machine.registers(at(0, 3)).long(0x14), 0);
    assert_eq!(machine.registers(at(0, 3)).long(0x18), 0xc000_0000);
}
