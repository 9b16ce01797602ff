//! A caller that polls, and checks every now and then, learns of everything that goes wrong.

use vfio_drivers::nvme::State;

use super::*;

/// Polls for a read that `fault` befalls, and checks after every so many polls; returns what the
/// caller learns.
fn polled(fault: NvmeFault, spoil: impl Fn(&NvmeControl)) -> Error {
    let opened = Opened::new(two_namespaces());
    let controller = opened.start().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut pair = controller.queue_pair::<4>(QueueOptions::default()).unwrap();
    opened.control.inject(1, 0, fault);
    let slot = pair.slot().unwrap();
    pair.read(slot, &namespace, 0, 1).unwrap();
    pair.ring().unwrap();
    spoil(&opened.control);
    loop {
        for _ in 0..100 {
            assert_eq!(pair.poll(), Ok(None));
        }
        opened.let_time_pass();
        if let Err(error) = pair.check() {
            assert_ne!(controller.state(), State::Running);
            assert_eq!(pair.check(), Err(NvmeError::Stopped));
            assert_eq!(pair.poll(), Ok(None));
            assert_eq!(pair.slot(), None);
            return error;
        }
    }
}

#[test]
fn an_overdue_command_is_noticed() {
    let (queue, command) = (1, 0);
    let error = polled(NvmeFault::Hang, |_| ());
    assert_eq!(error, NvmeError::Timeout { queue, command });
}

#[test]
fn a_fatal_controller_is_noticed() {
    let error = polled(NvmeFault::Fatal, |_| ());
    assert_eq!(error, NvmeError::Fatal { status: 3 });
    // Of its own accord, while a command takes its time.
    let error = polled(NvmeFault::Hang, NvmeControl::fail);
    assert_eq!(error, NvmeError::Fatal { status: 3 });
}

#[test]
fn a_controller_that_is_gone_is_noticed() {
    let error = polled(NvmeFault::Hang, |control| control.set_gone(true));
    assert_eq!(error, NvmeError::Gone);
}

#[test]
fn a_controller_that_fails_while_nothing_is_under_way_is_noticed() {
    let opened = Opened::new(two_namespaces());
    let controller = opened.start().unwrap();
    let mut pair = controller.queue_pair::<4>(QueueOptions::default()).unwrap();
    assert_eq!(pair.check(), Ok(()));
    opened.control.fail();
    opened.let_time_pass();
    assert_eq!(pair.check(), Err(NvmeError::Fatal { status: 3 }));
}

#[test]
fn checking_gives_commands_to_the_device_and_takes_none_of_their_completions() {
    let opened = Opened::new(two_namespaces().with_latency(3));
    let controller = opened.start().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut pair = controller.queue_pair::<4>(QueueOptions::default()).unwrap();
    for _ in 0..4 {
        let slot = pair.slot().unwrap();
        pair.read(slot, &namespace, 0, 1).unwrap();
    }
    // Past their limit: they are there, and nobody has taken them yet.
    let limit = opened.now() + OPTIONS.command * 2;
    while opened.now() < limit {
        pair.check().unwrap();
        opened.let_time_pass();
    }
    for _ in 0..4 {
        let ended = pair.poll().unwrap().unwrap();
        assert_eq!(ended.result, Ok(()));
        pair.release(ended.slot).unwrap();
    }
    assert_eq!(pair.poll(), Ok(None));
}
