//! What random reads cost.

use std::cell::Cell;

use vfio_drivers::nvme::{NvmeError, QueueOptions, Refusal};
use vfio_exercise::nvme::{Cost, random_reads};
use vfio_hosted::model::NvmeFault;

use super::opened::{Error, Opened, round_trip, two_namespaces};

/// Makes reads of a namespace, with a counter that counts how often it is read.
fn reads(namespace: u32, depth: usize, fault: Option<NvmeFault>) -> Result<Cost, Error> {
    let opened = Opened::new(two_namespaces());
    let controller = opened.start().unwrap();
    let namespace = controller.namespace(namespace).unwrap();
    if let Some(fault) = fault {
        opened.control.inject(1, 50, fault);
    }
    let mut pair = controller.queue_pair::<8>(QueueOptions::default()).unwrap();
    let looks = Cell::new(0);
    let counter = || {
        looks.set(looks.get() + 1);
        looks.get()
    };
    let cost = random_reads(&mut pair, &namespace, depth, 100, counter);
    if !cost.as_ref().is_err_and(NvmeError::stops) {
        // The slots are there again.
        assert_eq!(pair.under_way(), 0);
        let held: Vec<_> = std::iter::from_fn(|| pair.slot()).collect();
        assert_eq!(held.len(), 8);
        for slot in held {
            pair.release(slot).unwrap();
        }
        round_trip(&mut pair, &namespace);
    }
    drop(pair);
    drop(controller);
    opened.let_time_pass();
    opened.assert_clean();
    cost
}

#[test]
fn random_reads_are_counted_without_waiting_and_without_the_counter() {
    for namespace in [1, 2] {
        let alone = reads(namespace, 1, None).unwrap();
        let expected = Cost {
            reads: 100,
            ticks: 0,
            median: Some(0),
        };
        assert_eq!(alone, expected);
        for depth in [2, 8, 100] {
            let together = reads(namespace, depth, None).unwrap();
            assert!(together.reads >= 100, "{together:?}");
            assert_eq!((together.ticks, together.median), (0, None));
        }
    }
}

#[test]
fn random_reads_end_with_what_goes_wrong() {
    for depth in [1, 8] {
        let error = reads(1, depth, Some(NvmeFault::Status(0x281)));
        assert!(matches!(error, Err(NvmeError::Command(_))), "{error:?}");
        let error = reads(1, depth, Some(NvmeFault::Hang));
        assert!(
            matches!(error, Err(NvmeError::Timeout { queue: 1, .. })),
            "{error:?}"
        );
    }
    let nothing = NvmeError::Request(Refusal::NoSlot);
    assert_eq!(reads(1, 0, None), Err(nothing));
}
