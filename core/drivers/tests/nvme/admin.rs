//! Start, end, admin commands, queue pairs.

use vfio_core::wire::abi::pci_irq;
use vfio_drivers::nvme::{ErrorEntry, EventKind, Refusal, State, Version};

use super::*;

/// The modes that the simulated kernel has.
const MODES: [Mode; 5] = [
    Mode::Iommufd,
    Mode::Type1v2,
    Mode::Type1,
    Mode::IommufdType1v2,
    Mode::IommufdType1,
];

#[test]
fn it_drives_a_controller_in_every_mode_and_leaves_nothing_behind() {
    for mode in MODES {
        let opened = Opened::in_mode(two_namespaces(), mode);
        let controller = opened.start().unwrap();
        assert_eq!(controller.version(), Version(0x0001_0400));
        assert_eq!(controller.info().serial.to_string(), "simulated");
        assert_eq!(controller.queues(), 8);
        let mut ids = [0; 8];
        assert_eq!(controller.namespace_ids(0, &mut ids).unwrap(), 2);
        assert_eq!(ids[..2], [1, 2]);
        assert_eq!(controller.namespace_ids(1, &mut ids).unwrap(), 1);
        let mut pair = controller.queue_pair::<4>(QueueOptions::default()).unwrap();
        for (id, size) in [(1, 512), (2, 4096)] {
            let namespace = controller.namespace(id).unwrap();
            assert_eq!(namespace.block_size(), size);
            round_trip(&mut pair, &namespace);
        }
        drop(pair);
        controller.shut_down().unwrap();
        opened.assert_clean();
        assert_eq!(opened.kernel.open_events(), 0);
    }
}

#[test]
fn a_controller_that_was_left_running_is_stopped_first() {
    let opened = Opened::new(two_namespaces());
    let first = opened.start().unwrap();
    std::mem::forget(first);
    let second = opened.start().unwrap();
    let namespace = second.namespace(1).unwrap();
    round_trip(
        &mut second.queue_pair::<3>(QueueOptions::default()).unwrap(),
        &namespace,
    );
}

#[test]
fn there_are_as_many_queue_pairs_as_the_controller_has() {
    let opened = Opened::new(two_namespaces().with_queues(3).with_stride(4));
    let controller = opened.start().unwrap();
    let namespace = controller.namespace(2).unwrap();
    let pair = || controller.queue_pair::<2>(QueueOptions::default());
    let mut pairs: Vec<_> = (0..3).map(|_| pair().unwrap()).collect();
    assert_eq!(pair().err(), Some(NvmeError::NoQueue { most: 3 }));
    let ids: Vec<_> = pairs.iter().map(Pair::id).collect();
    assert_eq!(ids, [1, 2, 3]);
    for pair in &mut pairs {
        round_trip(pair, &namespace);
    }
    // Numbers are used again.
    drop(pairs.remove(1));
    let mut again = pair().unwrap();
    assert_eq!(again.id(), 2);
    round_trip(&mut again, &namespace);
    drop((pairs, again));
    drop(controller);
    opened.assert_clean();
}

#[test]
fn queue_pairs_are_used_by_threads_at_the_same_time() {
    let opened = Opened::new(two_namespaces().with_latency(3).with_shadow_doorbells());
    let controller = opened.start().unwrap();
    let namespace = controller.namespace(2).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let mut pair = controller.queue_pair::<4>(slots(8192)).unwrap();
            scope.spawn(move || {
                for round in 0..8 {
                    let data = pattern(thread << 8 | round, 32 * 4096);
                    let lba = thread * 64;
                    pair.write_blocks(&namespace, lba, &data).unwrap();
                    let mut back = vec![0; data.len()];
                    pair.read_blocks(&namespace, lba, &mut back).unwrap();
                    assert!(back == data);
                }
            });
        }
    });
    drop(controller);
    opened.assert_clean();
}

#[test]
fn what_can_not_be_is_refused_before_the_device_sees_it() {
    let opened = Opened::new(two_namespaces().with_entries(16));
    let controller = opened.start().unwrap();
    let deep = controller.queue_pair::<16>(QueueOptions::default());
    assert_eq!(deep.err(), Some(NvmeError::TooDeep { most: 15 }));
    let none = controller.queue_pair::<0>(QueueOptions::default());
    assert_eq!(none.err(), Some(NvmeError::TooDeep { most: 15 }));
    let most = 512 << 10;
    for len in [0, 100, most + 4096] {
        let pair = controller.queue_pair::<2>(slots(len));
        assert_eq!(pair.err(), Some(NvmeError::SlotLength { most }));
    }
    let mut pair = controller.queue_pair::<15>(slots(8192)).unwrap();
    let namespace = controller.namespace(2).unwrap();
    let commands = opened.control.counts().commands;
    let mut refused = |lba, blocks| {
        let slot = pair.slot().unwrap();
        let refused = pair.read(slot, &namespace, lba, blocks).unwrap_err();
        pair.release(refused.slot).unwrap();
        refused.reason
    };
    let size = 512;
    for (lba, blocks) in [(0, 0), (512, 1), (511, 2), (u64::MAX, 2), (0, 65537)] {
        let reason = Refusal::OutOfRange { size };
        assert_eq!(refused(lba, blocks), reason);
    }
    assert_eq!(refused(0, 3), Refusal::TooLong { most: 8192 });
    let unaligned = pair.read_blocks(&namespace, 0, &mut [0; 100]);
    let reason = Refusal::Unaligned { block: 4096 };
    assert_eq!(unaligned, Err(NvmeError::Request(reason)));
    // A slot that is not held.
    let slot = pair.slot().unwrap();
    let id = slot.number();
    pair.read(slot, &namespace, 0, 1).unwrap();
    let other = controller
        .queue_pair::<15>(QueueOptions::default())
        .unwrap()
        .slot()
        .unwrap();
    assert_eq!(other.number(), id);
    assert!(pair.window(&other).is_err());
    let refused = pair.write(other, &namespace, 0, 1).unwrap_err();
    assert_eq!(refused.reason, Refusal::Slot { id });
    let busy = pair.flush_blocks(&namespace);
    let reason = Refusal::UnderWay { count: 1 };
    assert_eq!(busy, Err(NvmeError::Request(reason)));
    // Creating and deleting queues aside, nothing was given to the device.
    assert_eq!(opened.control.counts().commands, commands + 4);
    let completion = pair.wait().unwrap().unwrap();
    assert_eq!(completion.result, Ok(()));
}

#[test]
fn namespaces_that_are_not_there_or_make_no_sense_are_errors() {
    let opened = Opened::new(two_namespaces());
    let controller = opened.start().unwrap();
    for id in [0, 3, 1024, 1025, u32::MAX] {
        let none = controller.namespace(id);
        assert_eq!(none.err(), Some(NvmeError::NoNamespace { id }));
    }
    assert_eq!(controller.state(), State::Running);
}

#[test]
fn interrupts_tell_of_completions() {
    let opened = Opened::new(two_namespaces().with_latency(5));
    let controller = opened.start().unwrap();
    let vectors = opened.device.vectors::<3>(pci_irq::MSIX).unwrap();
    let namespace = controller.namespace(1).unwrap();
    let options = QueueOptions {
        vector: Some(2),
        ..Default::default()
    };
    let mut pair = controller.queue_pair::<4>(options).unwrap();
    for round in 0..40 {
        for lba in 0..4 {
            let slot = pair.slot().unwrap();
            pair.read(slot, &namespace, lba + round, 1).unwrap();
        }
        pair.ring().unwrap();
        assert!(vectors.wait(2, Duration::from_secs(5)).unwrap() > 0);
        for _ in 0..4 {
            let ended = pair.wait_for_interrupt(&vectors).unwrap().unwrap();
            assert_eq!(ended.result, Ok(()));
            pair.release(ended.slot).unwrap();
        }
    }
    assert_eq!(pair.wait_for_interrupt(&vectors).unwrap(), None);
    // One that can't be had.
    let options = QueueOptions {
        vector: Some(65),
        ..Default::default()
    };
    let refused = controller.queue_pair::<4>(options);
    assert_eq!(
        code(refused.map(drop)),
        StatusCode::INVALID_INTERRUPT_VECTOR
    );
    assert_eq!(controller.state(), State::Running);
}

#[test]
fn doorbells_in_memory_spare_those_in_registers() {
    let ring = |nvme: Nvme| {
        let opened = Opened::new(nvme.with_latency(2));
        let controller = opened.start().unwrap();
        let namespace = controller.namespace(2).unwrap();
        let mut pair = controller.queue_pair::<8>(QueueOptions::default()).unwrap();
        let before = opened.control.counts().doorbells;
        let data = pattern(3, 256 * 4096);
        pair.write_blocks(&namespace, 0, &data).unwrap();
        let mut back = vec![0; data.len()];
        pair.read_blocks(&namespace, 0, &mut back).unwrap();
        assert!(back == data);
        (
            pair.uses_shadow_doorbells(),
            opened.control.counts().doorbells - before,
        )
    };
    let (is_shadowed, registers) = ring(two_namespaces());
    assert!(!is_shadowed);
    let (is_shadowed, shadowed) = ring(two_namespaces().with_shadow_doorbells());
    assert!(is_shadowed);
    assert!(shadowed * 4 < registers, "{shadowed} of {registers}");
}

#[test]
fn doorbells_stay_in_registers_where_the_memory_for_them_is_refused() {
    let opened = Opened::new(two_namespaces().with_shadow_doorbells());
    // After Identify, and Set Features twice.
    opened.control.inject(0, 3, NvmeFault::Status(0x2));
    let mut controller = opened.start().unwrap();
    assert!(!controller.uses_shadow_doorbells());
    let namespace = controller.namespace(1).unwrap();
    let mut pair = controller.queue_pair::<4>(QueueOptions::default()).unwrap();
    assert!(!pair.uses_shadow_doorbells());
    round_trip(&mut pair, &namespace);
    drop(pair);
    // It takes it later.
    controller.restart().unwrap();
    assert!(controller.uses_shadow_doorbells());
    drop(controller);
    opened.assert_clean();
}

#[test]
fn completions_are_acknowledged_before_the_queue_is_full_of_them() {
    // The completion queue can have no more entries than the submission queue.
    for entries in [9, 16, 17, 64] {
        let opened = Opened::new(two_namespaces().with_entries(entries));
        let controller = opened.start().unwrap();
        let namespace = controller.namespace(1).unwrap();
        let mut pair = controller.queue_pair::<8>(QueueOptions::default()).unwrap();
        let mut data = vec![0; 512 * 2048];
        pair.read_blocks(&namespace, 0, &mut data).unwrap();
    }
}

#[test]
fn a_command_that_hangs_is_aborted() {
    let opened = Opened::new(two_namespaces());
    let controller = opened.start().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut pair = controller.queue_pair::<4>(QueueOptions::default()).unwrap();
    opened.control.inject(1, 0, NvmeFault::Hang);
    let slot = pair.slot().unwrap();
    let id = pair.read(slot, &namespace, 0, 1).unwrap();
    pair.ring().unwrap();
    assert_eq!(pair.poll(), Ok(None));
    assert!(pair.abort(id).unwrap());
    let ended = pair.wait().unwrap().unwrap();
    assert_eq!(ended.id(), id);
    let status = ended.result.unwrap_err();
    assert_eq!(status.code(), StatusCode::ABORT_REQUESTED);
    pair.release(ended.slot).unwrap();
    // There is nothing to abort any more.
    assert!(!pair.abort(id).unwrap());
    round_trip(&mut pair, &namespace);
}

#[test]
fn errors_are_in_the_log() {
    let opened = Opened::new(two_namespaces());
    let controller = opened.start().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut pair = controller.queue_pair::<4>(QueueOptions::default()).unwrap();
    opened.control.inject(1, 0, NvmeFault::Status(0x4281));
    let failed = pair.read_blocks(&namespace, 9, &mut [0; 512]);
    assert_eq!(code(failed), StatusCode::UNRECOVERED_READ_ERROR);
    let mut entries = [ErrorEntry::default(); 4];
    assert_eq!(controller.error_log(&mut entries).unwrap(), 1);
    let [entry, ..] = entries;
    assert_eq!((entry.count, entry.queue, entry.lba), (1, Some(1), 9));
    let status = entry.status.unwrap();
    assert_eq!(status.code(), StatusCode::UNRECOVERED_READ_ERROR);
    assert!(status.do_not_retry());
    assert_eq!(controller.health().unwrap().error_count, 1);
}

#[test]
fn events_are_told_once_until_their_log_is_read() {
    let opened = Opened::new(two_namespaces());
    let controller = opened.start().unwrap();
    controller.enable_events().unwrap();
    assert_eq!(controller.next_event().unwrap(), None);
    controller.set_temperature_threshold(300).unwrap();
    let event = controller.next_event().unwrap().unwrap();
    assert_eq!((event.kind, event.log_page), (EventKind::Health, 2));
    controller.set_temperature_threshold(301).unwrap();
    assert_eq!(controller.next_event().unwrap(), None);
    let health = controller.health().unwrap();
    assert_eq!((health.temperature, health.warnings), (323, 2));
    let event = controller.next_event().unwrap().unwrap();
    assert_eq!(event.kind, EventKind::Health);
    // One that nothing was done for.
    opened.control.remove_namespace(2);
    opened.let_time_pass();
    let event = controller.next_event().unwrap().unwrap();
    assert_eq!((event.kind, event.log_page), (EventKind::Notice, 4));
    assert_eq!(controller.next_event().unwrap(), None);
}

#[test]
fn it_is_started_again_after_it_was_stopped() {
    let opened = Opened::new(two_namespaces().with_shadow_doorbells());
    let mut controller = opened.start().unwrap();
    for _ in 0..3 {
        let namespace = controller.namespace(1).unwrap();
        let mut pair = controller.queue_pair::<4>(QueueOptions::default()).unwrap();
        round_trip(&mut pair, &namespace);
        controller.stop();
        assert_eq!(controller.state(), State::Stopped);
        assert_eq!(
            pair.flush_blocks(&namespace).err(),
            Some(NvmeError::Stopped)
        );
        drop(pair);
        assert_eq!(controller.namespace(1).err(), Some(NvmeError::Stopped));
        controller.restart().unwrap();
    }
    drop(controller);
    opened.assert_clean();
}
