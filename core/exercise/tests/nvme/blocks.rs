//! The blocks that the steps write get back what they had, whatever goes wrong with the steps.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use vfio_drivers::nvme::{NvmeError, Options, QueueOptions, Slot};
use vfio_exercise::nvme::{KEPT, Lent, NotRestored, Outcome, Step, exercise};
use vfio_hosted::model::{Nvme, NvmeFault, NvmeNamespace};

use super::opened::{OPTIONS, Opened, Pair, pattern};
use super::{exercise_in, exercise_until, outcome, tried};

/// Returns a controller whose namespace is full of a pattern, and the pattern.
fn full(nvme: Nvme) -> (Opened, Vec<u8>) {
    let opened = Opened::new(nvme.with_namespace(NvmeNamespace::of_512(512)));
    let data = fill(&opened);
    (opened, data)
}

/// Fills the first namespace.
fn fill(opened: &Opened) -> Vec<u8> {
    let controller = opened.start().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let data = pattern(21, usize::try_from(namespace.size()).unwrap());
    let options = QueueOptions {
        slot: 16384,
        metadata: 1024,
        vector: None,
    };
    let mut pair = controller.queue_pair::<4>(options).unwrap();
    pair.write_blocks(&namespace, 0, &data).unwrap();
    pair.flush_blocks(&namespace).unwrap();
    data
}

/// Bytes that are kept where many exercises are made.
const LITTLE: usize = 8 << 10;

/// Returns how many commands the steps make, those of the admin queue among them.
fn commands() -> usize {
    let (opened, _) = full(Nvme::new());
    let before = opened.control.counts().commands;
    assert!(exercise_in(&opened, LITTLE).passed());
    usize::try_from(opened.control.counts().commands - before).unwrap()
}

#[test]
fn a_fault_of_any_command_leaves_the_blocks_as_they_were() {
    let faults = [
        NvmeFault::Hang,
        NvmeFault::Status(0x281),
        NvmeFault::Twice,
        NvmeFault::Fatal,
    ];
    let all = 0..u32::try_from(commands()).unwrap();
    // The first reads what is kept: nothing is written then. The last are those that put it back.
    for (first, fault) in faults.into_iter().enumerate() {
        for before in all.clone().skip(2 * first).step_by(2 * faults.len()) {
            let (opened, data) = full(Nvme::new());
            opened.control.inject(1, before, fault);
            let report = exercise_in(&opened, LITTLE);
            let restored = outcome(&report, Step::Restore);
            assert!(
                matches!(restored, Outcome::Passed | Outcome::NotRun),
                "{fault:?} {before}: {restored}"
            );
            assert!(
                opened.control.medium(1).unwrap() == data,
                "{fault:?} {before}"
            );
            opened.let_time_pass();
            assert!(opened.kernel.faults().is_empty(), "{fault:?} {before}");
        }
    }
}

#[test]
fn a_step_that_fails_is_not_hidden_by_those_that_go_on() {
    let (opened, data) = full(Nvme::new());
    // The 40th command of the queue that is tried.
    opened.control.inject(1, 40, NvmeFault::Hang);
    let report = tried(&opened);
    assert!(!report.passed());
    assert_eq!(outcome(&report, Step::Restart), Outcome::Passed);
    assert_eq!(outcome(&report, Step::Restore), Outcome::Passed);
    let is_timeout = |outcome: &Outcome<_>| {
        matches!(
            outcome,
            Outcome::Device(NvmeError::Timeout { queue: 1, .. })
        )
    };
    let late = report
        .steps
        .iter()
        .filter(|(_, outcome)| is_timeout(outcome));
    assert_eq!(late.count(), 1);
    assert!(opened.control.medium(1).unwrap() == data);
    opened.assert_clean();
}

#[test]
fn what_could_not_be_put_back_is_said_aloud_and_kept() {
    let (opened, data) = full(Nvme::new());
    // From some step on nothing is written any more, whatever is tried.
    for _ in 0..1000 {
        opened.control.inject(1, 30, NvmeFault::Status(0x4180));
    }
    let mut kept = vec![0; KEPT];
    let report = {
        let kept = &mut kept[..];
        let ends = &AtomicBool::new(false);
        let lent = Lent { kept, ends };
        exercise(&opened.device, opened.bar0(), &opened.dma, OPTIONS, lent)
    };
    assert!(!report.passed());
    let Outcome::Lost(NotRestored {
        namespace: 1,
        lba,
        blocks,
        len,
        error: Some(NvmeError::Command(_)),
    }) = outcome(&report, Step::Restore)
    else {
        panic!("{}", outcome(&report, Step::Restore));
    };
    assert_eq!((lba, blocks, len), (256, 256, 128 << 10));
    assert!(kept == data[128 << 10..]);
    let said = outcome(&report, Step::Restore).to_string();
    assert!(
        said.starts_with("NOT RESTORED: 256 blocks from 256 on"),
        "{said}"
    );
    opened.assert_clean();
}

#[test]
fn a_controller_that_is_gone_has_its_blocks_not_restored() {
    let (opened, _) = full(Nvme::new());
    opened.control.inject(1, 20, NvmeFault::Gone);
    let report = tried(&opened);
    assert!(!report.passed());
    let error = Some(NvmeError::Gone);
    assert!(
        matches!(outcome(&report, Step::Restore), Outcome::Lost(NotRestored { error: found, .. }) if found == error)
    );
}

#[test]
fn it_ends_early_when_it_is_told_to_and_puts_everything_back() {
    let (opened, data) = full(Nvme::new());
    let report = exercise_until(&opened, &AtomicBool::new(true));
    assert!(!report.passed());
    for step in [Step::RoundTrip, Step::Deallocate, Step::Event] {
        assert_eq!(outcome(&report, step), Outcome::Ended);
    }
    for step in [Step::Start, Step::Restart, Step::Restore, Step::ShutDown] {
        assert_eq!(outcome(&report, step), Outcome::Passed);
    }
    assert!(opened.control.medium(1).unwrap() == data);
    // In the middle: while a command hangs that writes.
    let ends = AtomicBool::new(false);
    opened.control.inject(1, 3, NvmeFault::Hang);
    let report = std::thread::scope(|scope| {
        scope.spawn(|| {
            while opened.control.counts().hung == 0 {
                std::thread::yield_now();
            }
            ends.store(true, Ordering::Relaxed);
        });
        let mut kept = vec![0; KEPT];
        let lent = Lent {
            kept: &mut kept,
            ends: &ends,
        };
        let options = Options {
            command: Duration::from_secs(1),
            ..OPTIONS
        };
        exercise(&opened.device, opened.bar0(), &opened.dma, options, lent)
    });
    assert_eq!(outcome(&report, Step::Deallocate), Outcome::Ended);
    assert_eq!(outcome(&report, Step::Restore), Outcome::Passed);
    assert!(opened.control.medium(1).unwrap() == data);
    opened.assert_clean();
}

#[test]
fn metadata_that_are_apart_are_put_back_as_well() {
    for is_extended in [false, true] {
        let namespace = NvmeNamespace::of_4096(64).with_metadata(is_extended);
        let opened = Opened::new(Nvme::new().with_namespace(namespace));
        let data = fill(&opened);
        let metadata = |lba| opened.control.metadata(1, lba).unwrap();
        // Something in the metadata of the last block, which the steps write.
        {
            let controller = opened.start().unwrap();
            let namespace = controller.namespace(1).unwrap();
            let options = QueueOptions {
                slot: 8192,
                metadata: 64,
                ..Default::default()
            };
            let mut pair = controller.queue_pair::<1>(options).unwrap();
            let slot = pair.slot().unwrap();
            put(&mut pair, &slot, is_extended);
            let last = &data[data.len() - 4096..];
            pair.window(&slot).unwrap().write_bytes(0, last).unwrap();
            pair.write_with_metadata(slot, &namespace, 63, 1).unwrap();
            let ended = pair.wait().unwrap().unwrap();
            assert_eq!(ended.result, Ok(()));
        }
        assert_eq!(metadata(63), [0x3d; 64]);
        let report = tried(&opened);
        assert!(report.passed(), "{:?}", report.steps);
        assert_eq!(metadata(63), [0x3d; 64]);
        assert_eq!(metadata(62), [0; 64]);
        assert!(opened.control.medium(1).unwrap() == data);
        opened.assert_clean();
    }
}

/// Puts metadata into a slot, behind its block or apart.
fn put(pair: &mut Pair<'_, '_, 1>, slot: &Slot, is_extended: bool) {
    let metadata = [0x3d; 64];
    if is_extended {
        let mut window = pair.window(slot).unwrap();
        window.write_bytes(4096, &metadata).unwrap();
    } else {
        let mut window = pair.metadata(slot).unwrap();
        window.write_bytes(0, &metadata).unwrap();
    }
}

#[test]
fn little_memory_to_keep_blocks_in_makes_the_steps_smaller() {
    for (room, blocks) in [
        (0, 0),
        (512, 0),
        (1023, 0),
        (1024, 2),
        (5000, 9),
        (1 << 20, 256),
    ] {
        let (opened, data) = full(Nvme::new());
        let report = exercise_in(&opened, room);
        if blocks == 0 {
            assert_eq!(outcome(&report, Step::RoundTrip), Outcome::NotThere);
            assert_eq!(outcome(&report, Step::Restore), Outcome::NotRun);
            // The controller is told all the same.
            assert_eq!(outcome(&report, Step::ShutDown), Outcome::Passed);
        } else {
            assert!(report.passed(), "{room}: {:?}", report.steps);
        }
        assert!(opened.control.medium(1).unwrap() == data, "{room}");
        opened.assert_clean();
    }
}
