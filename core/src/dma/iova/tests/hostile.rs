//! Any numbers, and many allocations.

use std::collections::BTreeMap;
use std::vec::Vec;

use proptest::prelude::*;

use super::{PAGE, X86, new, told};
use crate::dma::iova::IovaAllocator;

/// Numbers at which arithmetic goes wrong, and any others.
fn number() -> impl Strategy<Value = u64> {
    let bit = (0..64_u32, -2..=2_i64);
    let near = |(bit, off): (u32, i64)| (1_u64 << bit).wrapping_add_signed(off);
    prop_oneof![3 => bit.prop_map(near), 1 => any::<u64>(), 1 => Just(0), 1 => Just(u64::MAX)]
}

proptest! {
    #[test]
    fn no_numbers_break_it(
        ranges in prop::collection::vec((number(), number()), 0..6),
        page_sizes in prop::sample::select([PAGE, X86, 0x2001_0000, 1 << 62, 1 << 63].as_slice()),
        steps in prop::collection::vec((0..6, number(), number(), number()), 0..64),
    ) {
        let ranges: Vec<_> = ranges.iter().map(|&(a, b)| (a.min(b), a.max(b))).collect();
        let page = page_sizes & page_sizes.wrapping_neg();
        let Ok(mut iovas) = new::<8>(&ranges, page_sizes, None) else {
            return Ok(());
        };
        // The first and the last address of each.
        let mut live = BTreeMap::new();
        let last = |start: u64, size: u64| start.checked_add((size - 1) | (page - 1));
        for (step, start, size, third) in steps {
            match step {
                0 => if let Ok(start) = iovas.allocate_up_to(size, third, start) {
                    prop_assert!(start != 0 && start.is_multiple_of(third));
                    live.insert(start, last(start, size).unwrap());
                }
                1 => if iovas.allocate(size).is_ok_and(|start| {
                    live.insert(start, last(start, size).unwrap()).is_some()
                }) {
                    prop_assert!(false, "given out twice");
                }
                2 => if iovas.reserve(start, size).is_ok() {
                    prop_assert!(live.insert(start, last(start, size).unwrap()).is_none());
                }
                3 => {
                    let is_live = size != 0
                        && last(start, size).is_some_and(|last| live.get(&start) == Some(&last));
                    prop_assert_eq!(iovas.free(start, size).is_ok(), is_live);
                    if is_live {
                        live.remove(&start);
                    }
                }
                4 => _ = iovas.keep_back(start, size),
                _ => _ = iovas.narrow(told(&[(start.min(size), start.max(size)), (third, u64::MAX)])),
            }
            iovas.check();
            prop_assert_eq!(iovas.mappings(), live.len() as u64);
            for ((_, last), (next, _)) in live.iter().zip(live.iter().skip(1)) {
                prop_assert!(last < next);
            }
            for (&start, &last) in &live {
                let within = |range: crate::wire::abi::IovaRange| range.start <= start && last <= range.end;
                prop_assert!(iovas.ranges().any(within));
            }
        }
        for (start, last) in live {
            prop_assert_eq!(iovas.free(start, (last - start).saturating_add(1)), Ok(()));
        }
        prop_assert!(iovas.ranges().eq(iovas.free_ranges()));
    }
}

/// Puts them into an order that is no order.
fn shuffle(items: &mut [u64]) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for last in (1..items.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        items.swap(last, (state % (last as u64 + 1)) as usize);
    }
}

#[test]
fn the_tree_stays_in_balance_with_many_allocations_in_every_order() {
    let ranges = [(0, 0xfedf_ffff), (0xfef0_0000, (1 << 39) - 1)];
    let whole = new::<4096>(&ranges, X86, None).unwrap();
    let orders: [fn(&mut Vec<u64>); 5] = [
        |_| (),
        |live| live.reverse(),
        |live| live.rotate_left(2000),
        |live| live.sort_by_key(|start| (start / PAGE % 2, *start)),
        |live| shuffle(live),
    ];
    let run = |order: fn(&mut Vec<u64>), size_of: fn(u64) -> u64| {
        let mut iovas: IovaAllocator<4096> = whole.clone();
        let mut live: Vec<u64> = (0..4094)
            .map(|n| iovas.allocate(size_of(n)).unwrap())
            .collect();
        let sizes: BTreeMap<u64, u64> = live.iter().copied().zip((0..).map(size_of)).collect();
        assert!(iovas.allocate(1).is_err());
        iovas.check();
        order(&mut live);
        for (n, start) in live.iter().enumerate() {
            iovas.free(*start, sizes[start]).unwrap();
            if n % 32 == 0 {
                iovas.check();
            }
            // Half of it again, where it comes to lie.
            if n == live.len() / 2 {
                let again: Vec<u64> = (0..n).map(|_| iovas.allocate(PAGE).unwrap()).collect();
                iovas.check();
                again
                    .iter()
                    .for_each(|start| iovas.free(*start, PAGE).unwrap());
            }
        }
        assert!(iovas == whole);
    };
    for order in orders {
        run(order, |_| PAGE);
        run(order, |n| (n % 7 + 1) * PAGE);
    }
}
