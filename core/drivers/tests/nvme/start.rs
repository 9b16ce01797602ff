//! How a controller is started and stopped: in the order and in the time that it needs, and with
//! what it refuses left out.

use vfio_core::mmio::CanReadWrite;
use vfio_drivers::nvme::State;

use super::*;

/// Admin commands.
const GET_LOG_PAGE: NvmeRefusal = NvmeRefusal::Opcode(0x02);
const SET_FEATURES: NvmeRefusal = NvmeRefusal::Opcode(0x09);

#[test]
fn a_controller_that_is_becoming_ready_is_not_told_to_stop_before() {
    let opened = Opened::new(two_namespaces().with_settling(40));
    // An earlier driver has just enabled it.
    let mut bar0: Window<_, CanReadWrite> = opened.bar0();
    for (offset, value) in [
        (0x24, 0x000f_000f),
        (0x28, 0),
        (0x30, 0),
        (0x14, 0x0046_0001),
    ] {
        bar0.write::<u32>(offset, value).unwrap();
    }
    assert_eq!(bar0.read::<u32>(0x1c).unwrap() & 1, 0);
    let controller = opened.start().unwrap();
    assert_eq!(opened.control.counts().stopped_early, 0);
    let namespace = controller.namespace(1).unwrap();
    let mut pair = controller.queue_pair::<2>(QueueOptions::default()).unwrap();
    round_trip(&mut pair, &namespace);
}

#[test]
fn a_controller_that_never_becomes_ready_is_stopped_without_waiting_once_more() {
    let opened = Opened::new(two_namespaces());
    opened.control.set_never_ready(true);
    let begun = opened.now();
    let error = opened.start().err();
    assert_eq!(error, Some(NvmeError::NotReady { status: 0 }));
    // CAP.TO is 500 ms.
    assert!((opened.now() - begun) < Duration::from_millis(950));
    // That nobody knows what it does then is why it was reset.
    opened.assert_clean();
    // One that an earlier driver left so is given its time, and reset.
    opened.bar0().write::<u32>(0x14, 0x0046_0001).unwrap();
    let error = opened.start().err();
    assert_eq!(error, Some(NvmeError::NotReady { status: 0 }));
    opened.control.set_never_ready(false);
    drop(opened.start().unwrap());
    opened.assert_clean();
}

#[test]
fn the_time_to_become_ready_may_be_longer_than_cap_to() {
    // CAP.TO is 500 ms.
    let slow = || two_namespaces().with_settling(u32::MAX);
    let started = |nvme| {
        let opened = Opened::new(nvme);
        let begun = opened.now();
        let error = opened.start().err();
        assert!(matches!(error, Some(NvmeError::NotReady { .. })));
        opened.now() - begun
    };
    assert!(started(slow()) < Duration::from_millis(950));
    assert!(started(slow().with_ready_time(2)) > Duration::from_millis(990));
    // Less than CAP.TO is not believed.
    assert!(started(slow().with_ready_time(0)) > Duration::from_millis(490));
}

#[test]
fn a_controller_that_was_stopped_is_shut_down_at_once() {
    let opened = Opened::new(two_namespaces());
    let controller = opened.start().unwrap();
    controller.stop();
    let begun = opened.now();
    assert_eq!(controller.shut_down(), Err(NvmeError::Stopped));
    assert!((opened.now() - begun) < Duration::from_millis(500));
    opened.assert_clean();
    // As one that has a fatal error.
    let controller = opened.start().unwrap();
    opened.control.fail();
    opened.let_time_pass();
    let begun = opened.now();
    assert_eq!(controller.shut_down(), Err(NvmeError::Fatal { status: 3 }));
    assert!((opened.now() - begun) < Duration::from_secs(2));
    opened.assert_clean();
}

#[test]
fn a_controller_that_gives_no_queues_is_started_all_the_same() {
    let opened = Opened::new(two_namespaces());
    opened.control.refuse(SET_FEATURES);
    let controller = opened.start().unwrap();
    assert_eq!(controller.queues(), 0);
    assert_eq!(controller.info().serial.to_string(), "simulated");
    assert_eq!(controller.health().unwrap().temperature, 323);
    assert_eq!(controller.namespace(2).unwrap().block_size(), 4096);
    let pair = controller.queue_pair::<1>(QueueOptions::default());
    assert_eq!(pair.err(), Some(NvmeError::NoQueue { most: 0 }));
    assert_eq!(code(controller.enable_events()), StatusCode::INVALID_OPCODE);
    assert_eq!(controller.state(), State::Running);
    controller.shut_down().unwrap();
    opened.assert_clean();
}

#[test]
fn a_log_that_is_refused_costs_the_log_alone() {
    let opened = Opened::new(two_namespaces());
    opened.control.refuse(GET_LOG_PAGE);
    let controller = opened.start().unwrap();
    assert_eq!(code(controller.health()), StatusCode::INVALID_OPCODE);
    let namespace = controller.namespace(1).unwrap();
    let mut pair = controller.queue_pair::<2>(QueueOptions::default()).unwrap();
    round_trip(&mut pair, &namespace);
}

#[test]
fn namespaces_are_found_where_the_controller_does_not_list_them() {
    let five = || {
        (0..5).fold(Nvme::new(), |nvme, _| {
            nvme.with_namespace(NvmeNamespace::of_512(8))
        })
    };
    // Before version 1.1, what is asked for is one bit: the list would be a namespace.
    let old = Opened::new(five().with_version(0x0001_0000));
    let refusing = Opened::new(five());
    refusing.control.refuse(NvmeRefusal::Identify(2));
    for opened in [old, refusing] {
        opened.control.remove_namespace(2);
        let controller = opened.start().unwrap();
        let mut ids = [0; 8];
        assert_eq!(controller.namespace_ids(0, &mut ids), Ok(4));
        assert_eq!(ids[..4], [1, 3, 4, 5]);
        assert_eq!(controller.namespace_ids(1, &mut ids[..2]), Ok(2));
        assert_eq!(ids[..2], [3, 4]);
        assert_eq!(controller.namespace_ids(5, &mut ids), Ok(0));
        assert_eq!(controller.namespace_ids(u32::MAX, &mut ids), Ok(0));
    }
}

#[test]
fn a_limit_of_transfers_that_can_not_be_counted_is_none() {
    for shift in [52, 63, 255] {
        let opened = Opened::new(two_namespaces().with_transfer_shift(shift));
        let controller = opened.start().unwrap();
        assert_eq!(controller.longest_transfer(), Some(usize::MAX));
        let namespace = controller.namespace(2).unwrap();
        let mut pair = controller.queue_pair::<2>(slots(16384)).unwrap();
        round_trip(&mut pair, &namespace);
    }
}
