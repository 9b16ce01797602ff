//! The educational device on a bus without memory.

use super::*;
use crate::model::bus::tests::{Bare, with_bus};
use crate::model::{DmaAccess, FaultReason};

/// The device on a bus, with time that passes only when told.
struct Bench<'a, 'b> {
    edu: Edu,
    bus: &'a mut Bus<'b>,
    root: &'a Bare,
}

impl Bench<'_, '_> {
    fn read(&mut self, at: u64) -> u32 {
        let mut data = [0xa5; 4];
        self.edu.read(0, at, &mut data, self.bus);
        u32::from_le_bytes(data)
    }

    fn read64(&mut self, at: u64) -> u64 {
        let mut data = [0xa5; 8];
        self.edu.read(0, at, &mut data, self.bus);
        u64::from_le_bytes(data)
    }

    fn write(&mut self, at: u64, value: u32) {
        self.edu.write(0, at, &value.to_le_bytes(), self.bus);
    }

    fn write64(&mut self, at: u64, value: u64) {
        self.edu.write(0, at, &value.to_le_bytes(), self.bus);
    }

    fn finish(&mut self) {
        while self.edu.advance(self.bus) {}
    }
}

fn bench(test: impl FnOnce(Bench<'_, '_>)) {
    with_bus(|bus, root| {
        test(Bench {
            edu: Edu::new(),
            bus,
            root,
        });
    });
}

#[test]
fn it_inverts_and_multiplies() {
    bench(|mut edu| {
        assert_eq!(edu.read(0), 0x0100_00ed);
        edu.write(4, 0x1234_5678);
        assert_eq!(edu.read(4), !0x1234_5678);
        for (n, result) in [
            (0, 1),
            (5, 120),
            (12, 479_001_600),
            (13, 1_932_053_504),
            (34, 0),
            (u32::MAX, 0),
        ] {
            edu.write(8, n);
            assert_eq!(edu.read(0x20), 1);
            // It is busy, and has the number still.
            edu.write(8, 7);
            assert_eq!(edu.read(8), n);
            edu.finish();
            assert_eq!((edu.read(0x20), edu.read(8)), (0, result));
        }
    });
}

#[test]
fn interrupt_causes_are_raised_and_acknowledged() {
    bench(|mut edu| {
        edu.write(8, 3);
        edu.finish();
        assert_eq!(edu.read(0x24), 0);
        edu.write(0x20, 0xffff_ffff);
        assert_eq!(edu.read(0x20), 0x80);
        edu.write(8, 3);
        assert_eq!(edu.read(0x20), 0x81);
        edu.finish();
        edu.write(0x60, 0x10);
        assert_eq!(edu.read(0x24), 0x11);
        assert!(edu.root.intx.get());
        edu.write(0x64, 0x01);
        assert_eq!(edu.read(0x24), 0x10);
        assert!(edu.root.intx.get());
        edu.write(0x64, 0x10);
        assert!(!edu.root.intx.get());
        // Nothing is raised.
        edu.write(0x60, 0);
        assert!(!edu.root.intx.get());
    });
}

#[test]
fn registers_have_their_widths() {
    bench(|mut edu| {
        assert_eq!(edu.read64(0), u64::MAX);
        edu.write64(0x80, 0x1122_3344_5566_7788);
        assert_eq!(edu.read64(0x80), 0x1122_3344_5566_7788);
        assert_eq!(edu.read(0x80), 0x5566_7788);
        edu.write(0x80, 9);
        assert_eq!(edu.read64(0x80), 9);
        assert_eq!(edu.read(0x84), u32::MAX);
        let mut byte = [0xa5];
        edu.edu.read(0, 0, &mut byte, edu.bus);
        assert_eq!(byte, [0]);
        edu.edu.write(0, 4, &[0, 0], edu.bus);
        assert_eq!(edu.read(4), 0);
        // The buffer is for the DMA engine alone.
        assert_eq!(edu.read(0x4_0000), u32::MAX);
    });
}

#[test]
fn copies_end_even_where_they_fault() {
    bench(|mut edu| {
        edu.write64(0x80, 0xf_1000_0000 + 0x2000);
        edu.write64(0x88, 0x4_0000);
        edu.write64(0x90, 16);
        // Without the bit to run nothing is stored.
        edu.write64(0x98, 4);
        assert_eq!(edu.read64(0x98), 0);
        edu.write64(0x98, 5);
        assert_eq!(edu.read64(0x98), 5);
        edu.write64(0x80, 0);
        assert_eq!(edu.read64(0x80), 0xf_1000_2000);
        edu.finish();
        assert_eq!(edu.read64(0x98), 4);
        assert_eq!(edu.read(0x24), 0x100);
        let faults = edu.root.faults.borrow().clone();
        assert_eq!(faults.len(), 1);
        // Its address is cut to 28 bits.
        assert_eq!(
            (faults[0].iova, faults[0].access, faults[0].reason),
            (0x2000, DmaAccess::Read, FaultReason::Unattached)
        );
        // What is not in the buffer is not tried.
        for (at, count) in [(0x4_0001, 4096), (0x3_ffff, 1), (0, 16), (u64::MAX, 2)] {
            edu.write64(0x88, at);
            edu.write64(0x90, count);
            edu.write64(0x98, 1);
            edu.finish();
        }
        assert_eq!(edu.root.faults.borrow().len(), 1);
    });
}
