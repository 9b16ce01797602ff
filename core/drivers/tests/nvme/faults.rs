//! A controller that fails in each way that there is.

use vfio_core::wire::abi::pci_irq;
use vfio_drivers::nvme::{Misfit, State, StatusType};

use super::*;

/// Lets a read of queue 1 fail by `fault`, and gives back how.
///
/// Whatever happens, the device is never left with memory that it may still write, and a
/// controller that stopped can be started again.
fn failing(fault: NvmeFault, before: u32) -> Error {
    let opened = Opened::new(two_namespaces());
    let mut controller = opened.start().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut pair = controller.queue_pair::<4>(QueueOptions::default()).unwrap();
    opened.control.inject(1, before, fault);
    // Another queue pair has a command under way that hangs.
    let mut other = controller.queue_pair::<4>(QueueOptions::default()).unwrap();
    opened.control.inject(2, 0, NvmeFault::Hang);
    let slot = other.slot().unwrap();
    other.read(slot, &namespace, 0, 8).unwrap();
    other.ring().unwrap();

    let mut data = vec![0; 512 * 512];
    let error = pair.read_blocks(&namespace, 0, &mut data).unwrap_err();
    assert!(error.stops(), "{error}");
    assert_eq!(controller.state(), State::Stopped);
    // No slot is handed out, and nothing completes, in any queue pair.
    assert!(pair.slot().is_none());
    assert_eq!(pair.wait().err(), Some(NvmeError::Stopped));
    assert_eq!(other.wait().err(), Some(NvmeError::Stopped));
    drop((pair, other));
    assert_eq!(
        controller
            .queue_pair::<2>(QueueOptions::default())
            .map(drop),
        Err(NvmeError::Stopped)
    );
    opened.let_time_pass();
    controller.restart().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut pair = controller.queue_pair::<4>(QueueOptions::default()).unwrap();
    round_trip(&mut pair, &namespace);
    drop(pair);
    drop(controller);
    opened.let_time_pass();
    opened.assert_clean();
    error
}

#[test]
fn a_command_that_never_ends_runs_into_its_time_limit() {
    for before in [0, 3, 40] {
        let error = failing(NvmeFault::Hang, before);
        assert!(
            matches!(error, NvmeError::Timeout { queue: 1, command } if command < 4),
            "{error}"
        );
    }
}

#[test]
fn a_completion_with_a_wrong_id_is_an_error() {
    for id in [4, 1000, u16::MAX] {
        let misfit = Misfit::Command { id };
        let error = NvmeError::Unexpected { queue: 1, misfit };
        assert_eq!(failing(NvmeFault::WrongId(id), 2), error);
    }
    // The last of four: the others are no longer under way.
    let error = failing(NvmeFault::Twice, 63);
    assert!(
        matches!(
            error,
            NvmeError::Unexpected {
                queue: 1,
                misfit: Misfit::Command { .. }
            }
        ),
        "{error}"
    );
}

#[test]
fn a_completion_with_a_wrong_queue_is_an_error() {
    for id in [0, 2, u16::MAX] {
        let misfit = Misfit::Queue { id };
        let error = NvmeError::Unexpected { queue: 1, misfit };
        assert_eq!(failing(NvmeFault::WrongQueue(id), 1), error);
    }
}

#[test]
fn a_completion_with_a_wrong_head_is_an_error() {
    for head in [5, u16::MAX] {
        let misfit = Misfit::Head { head };
        let error = NvmeError::Unexpected { queue: 1, misfit };
        assert_eq!(failing(NvmeFault::WrongHead(head), 1), error);
    }
}

#[test]
fn a_completion_with_a_wrong_phase_is_an_error() {
    let error = failing(NvmeFault::WrongPhase, 0);
    assert!(
        matches!(
            error,
            NvmeError::Unexpected {
                queue: 1,
                misfit: Misfit::Phase { .. }
            }
        ),
        "{error}"
    );
}

#[test]
fn a_fatal_status_is_an_error() {
    for before in [0, 5] {
        let error = failing(NvmeFault::Fatal, before);
        assert_eq!(error, NvmeError::Fatal { status: 3 });
    }
}

#[test]
fn every_status_is_a_typed_error_of_the_command_alone() {
    let opened = Opened::new(two_namespaces());
    let controller = opened.start().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut pair = controller.queue_pair::<4>(QueueOptions::default()).unwrap();
    for code in StatusCode::NAMED {
        let bits = code.to_bits() >> 1;
        for flags in [0, 0x4000, 0x6800] {
            opened.control.inject(1, 0, NvmeFault::Status(bits | flags));
            let failed = pair.read_blocks(&namespace, 0, &mut [0; 512]);
            let Err(NvmeError::Command(status)) = failed else {
                panic!("{failed:?}");
            };
            assert_eq!(status.code(), *code);
            assert_eq!(status.do_not_retry(), flags & 0x4000 != 0);
            assert_eq!(status.has_more(), flags & 0x2000 != 0);
        }
        // Of an admin command as well.
        if *code != StatusCode::INVALID_NAMESPACE {
            opened.control.inject(0, 0, NvmeFault::Status(bits));
            assert_eq!(super::code(controller.namespace(1)), *code);
        }
    }
    opened.control.inject(1, 0, NvmeFault::Status(0x7c1));
    let unknown = super::code(pair.read_blocks(&namespace, 0, &mut [0; 512]));
    assert_eq!((unknown.kind(), unknown.code()), (StatusType::Vendor, 0xc1));
    assert_eq!(controller.state(), State::Running);
    round_trip(&mut pair, &namespace);
}

#[test]
fn one_command_of_many_fails_and_the_others_do_not() {
    let opened = Opened::new(two_namespaces().with_latency(2));
    let controller = opened.start().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut pair = controller.queue_pair::<4>(slots(4096)).unwrap();
    let data = pattern(1, 64 * 4096);
    opened.control.inject(1, 3, NvmeFault::Status(0x280));
    let failed = pair.write_blocks(&namespace, 0, &data);
    assert_eq!(code(failed), StatusCode::WRITE_FAULT);
    assert_eq!(pair.under_way(), 0);
    pair.write_blocks(&namespace, 0, &data).unwrap();
    let held: Vec<_> = std::iter::from_fn(|| pair.slot()).collect();
    assert_eq!(held.len(), 4);
}

#[test]
fn a_namespace_that_vanishes_is_an_error() {
    let opened = Opened::new(two_namespaces());
    let controller = opened.start().unwrap();
    let namespace = controller.namespace(2).unwrap();
    let mut pair = controller.queue_pair::<4>(QueueOptions::default()).unwrap();
    round_trip(&mut pair, &namespace);
    opened.control.remove_namespace(2);
    let failed = pair.read_blocks(&namespace, 0, &mut [0; 4096]);
    assert_eq!(code(failed), StatusCode::INVALID_NAMESPACE);
    assert_eq!(
        controller.namespace(2).err(),
        Some(NvmeError::NoNamespace { id: 2 })
    );
    let other = controller.namespace(1).unwrap();
    round_trip(&mut pair, &other);
}

#[test]
fn a_controller_that_never_becomes_ready_is_an_error() {
    let opened = Opened::new(two_namespaces());
    opened.control.set_never_ready(true);
    assert_eq!(
        opened.start().err(),
        Some(NvmeError::NotReady { status: 0 })
    );
    opened.assert_clean();
    opened.control.set_never_ready(false);
    drop(opened.start().unwrap());
    opened.control.fail();
    assert_eq!(opened.start().err(), Some(NvmeError::Fatal { status: 2 }));
    opened.assert_clean();
}

#[test]
fn a_controller_that_can_not_be_driven_is_an_error() {
    // No NVM command set; pages of 8 KiB at least.
    for capabilities in [0x0000_0000_0101_03ff, 0x0001_0020_0101_03ff] {
        let opened = Opened::new(two_namespaces().with_capabilities(capabilities));
        let error = opened.start().err();
        assert!(matches!(error, Some(NvmeError::Unsupported { .. })));
    }
}

#[test]
fn a_controller_that_is_gone_keeps_its_memory() {
    let opened = Opened::new(two_namespaces());
    opened.control.set_gone(true);
    assert_eq!(opened.start().err(), Some(NvmeError::Gone));
    opened.assert_clean();
    opened.control.set_gone(false);

    let controller = opened.start().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut pair = controller.queue_pair::<4>(QueueOptions::default()).unwrap();
    let mapped = opened.kernel.live_dma_mappings();
    opened.control.inject(1, 2, NvmeFault::Gone);
    let error = pair.read_blocks(&namespace, 0, &mut [0; 8192]);
    // The first two were made, and there is no third.
    assert_eq!(error, Ok(()));
    let error = pair.read_blocks(&namespace, 0, &mut [0; 8192]);
    assert_eq!(error, Err(NvmeError::Gone));
    assert_eq!(controller.state(), State::Lost);
    drop(pair);
    drop(controller);
    // It may be there still, and write.
    assert_eq!(opened.kernel.live_dma_mappings(), mapped);
}

#[test]
fn memory_is_kept_where_nothing_tells_that_the_device_has_stopped() {
    let opened = Opened::new(two_namespaces());
    let mut controller = opened.start().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut pair = controller.queue_pair::<2>(slots(16384)).unwrap();
    let mapped = opened.kernel.live_dma_mappings();
    opened.control.inject(1, 0, NvmeFault::Hang);
    opened.control.set_never_stops(true);
    opened.control.set_ignores_reset(true);
    let error = pair.read_blocks(&namespace, 0, &mut [0; 16384]);
    let (queue, command) = (1, 0);
    assert_eq!(error, Err(NvmeError::Timeout { queue, command }));
    assert_eq!(controller.state(), State::Lost);
    drop(pair);
    // The device goes on writing, and meets memory that is still its own.
    opened.let_time_pass();
    assert_eq!(opened.kernel.faults(), []);
    assert_eq!(opened.kernel.live_dma_mappings(), mapped);
    // It can be used again once it does stop.
    assert!(controller.restart().is_err());
    assert_eq!(controller.state(), State::Lost);
    opened.control.set_never_stops(false);
    opened.control.set_ignores_reset(false);
    // What hangs is told to stop once more, and does.
    opened.device.reset().unwrap();
    controller.restart().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut pair = controller.queue_pair::<2>(QueueOptions::default()).unwrap();
    round_trip(&mut pair, &namespace);
    drop(pair);
    drop(controller);
    opened.let_time_pass();
    assert_eq!(opened.kernel.faults(), []);
}

#[test]
fn a_device_that_does_not_stop_when_told_is_reset() {
    let opened = Opened::new(two_namespaces());
    let controller = opened.start().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut pair = controller.queue_pair::<2>(QueueOptions::default()).unwrap();
    opened.control.inject(1, 0, NvmeFault::Hang);
    opened.control.set_never_stops(true);
    assert!(pair.read_blocks(&namespace, 0, &mut [0; 512]).is_err());
    assert_eq!(controller.state(), State::Stopped);
    drop(pair);
    drop(controller);
    opened.let_time_pass();
    opened.assert_clean();
}

#[test]
fn a_queue_pair_is_dropped_with_commands_under_way() {
    let opened = Opened::new(two_namespaces().with_latency(100));
    let controller = opened.start().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mapped = opened.kernel.live_dma_mappings();
    let mut pair = controller.queue_pair::<4>(QueueOptions::default()).unwrap();
    opened.control.inject(1, 1, NvmeFault::Hang);
    while let Some(slot) = pair.slot() {
        pair.read(slot, &namespace, 0, 8).unwrap();
    }
    pair.ring().unwrap();
    drop(pair);
    assert_eq!(controller.state(), State::Running);
    assert_eq!(opened.kernel.live_dma_mappings(), mapped);
    opened.let_time_pass();
    // Its deletion fails: the controller is stopped, and the memory is free all the same.
    let pair = controller.queue_pair::<4>(QueueOptions::default()).unwrap();
    opened.control.inject(0, 0, NvmeFault::Status(0x101));
    drop(pair);
    assert_eq!(controller.state(), State::Stopped);
    drop(controller);
    opened.let_time_pass();
    opened.assert_clean();
}

#[test]
fn admin_commands_fail_as_others_do() {
    let failing = |fault| {
        let opened = Opened::new(two_namespaces());
        let controller = opened.start().unwrap();
        controller.enable_events().unwrap();
        opened.control.inject(0, 0, fault);
        let error = controller.namespace(1).unwrap_err();
        assert_eq!(controller.state(), State::Stopped);
        assert_eq!(controller.health().err(), Some(NvmeError::Stopped));
        drop(controller);
        opened.let_time_pass();
        opened.assert_clean();
        error
    };
    let unexpected = |misfit| NvmeError::Unexpected { queue: 0, misfit };
    assert!(matches!(
        failing(NvmeFault::Hang),
        NvmeError::Timeout { queue: 0, .. }
    ));
    for id in [0x7000, u16::MAX] {
        let misfit = Misfit::Command { id };
        assert_eq!(failing(NvmeFault::WrongId(id)), unexpected(misfit));
    }
    let misfit = Misfit::Queue { id: 1 };
    assert_eq!(failing(NvmeFault::WrongQueue(1)), unexpected(misfit));
    let misfit = Misfit::Head { head: 16 };
    assert_eq!(failing(NvmeFault::WrongHead(16)), unexpected(misfit));
    assert!(matches!(
        failing(NvmeFault::WrongPhase),
        NvmeError::Unexpected {
            queue: 0,
            misfit: Misfit::Phase { .. }
        }
    ));
    assert_eq!(failing(NvmeFault::Fatal), NvmeError::Fatal { status: 3 });
}

#[test]
fn a_command_that_hangs_runs_into_its_limit_while_others_complete() {
    let opened = Opened::new(two_namespaces().with_latency(1));
    let controller = opened.start().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut pair = controller.queue_pair::<4>(QueueOptions::default()).unwrap();
    opened.control.inject(1, 0, NvmeFault::Hang);
    let slot = pair.slot().unwrap();
    let hangs = pair.read(slot, &namespace, 0, 1).unwrap();
    let mut completed = 0;
    let error = loop {
        let slot = pair.slot().unwrap();
        pair.read(slot, &namespace, 1, 1).unwrap();
        match pair.wait() {
            Ok(ended) => {
                completed += 1;
                pair.release(ended.unwrap().slot).unwrap();
            }
            Err(error) => break error,
        }
    };
    let (queue, command) = (1, hangs.number());
    assert_eq!(error, NvmeError::Timeout { queue, command });
    assert!(completed > 10);
}

#[test]
fn a_command_whose_interrupt_never_comes_runs_into_its_limit() {
    let opened = Opened::new(two_namespaces());
    let controller = opened.start().unwrap();
    let vectors = opened.device.vectors::<2>(pci_irq::MSIX).unwrap();
    let namespace = controller.namespace(1).unwrap();
    let options = QueueOptions {
        vector: Some(1),
        ..Default::default()
    };
    let mut pair = controller.queue_pair::<2>(options).unwrap();
    opened.control.inject(1, 0, NvmeFault::Hang);
    let slot = pair.slot().unwrap();
    pair.read(slot, &namespace, 0, 1).unwrap();
    let error = pair.wait_for_interrupt(&vectors).unwrap_err();
    let (queue, command) = (1, 0);
    assert_eq!(error, NvmeError::Timeout { queue, command });
}
