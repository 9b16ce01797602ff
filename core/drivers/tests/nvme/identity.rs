//! What is one controller's or one queue pair's is not taken for another's.

use vfio_drivers::nvme::{CommandId, Completion, Refusal, Refused, Slot};

use super::*;

/// Returns two controllers, the first with blocks of 512 bytes and the second with blocks of 4096.
fn two_controllers() -> [Opened; 2] {
    [
        Opened::new(Nvme::new().with_namespace(NvmeNamespace::of_512(1024))),
        Opened::new(Nvme::new().with_namespace(NvmeNamespace::of_4096(1024))),
    ]
}

/// Puts a command into a queue.
type Put = fn(&mut Pair<'_, '_, 2>, Slot, &Namespace) -> Result<CommandId, Refused>;

/// Checks that each command with a namespace is refused, and gives its slot back.
fn every_command_is_refused(pair: &mut Pair<'_, '_, 2>, namespace: &Namespace) {
    let slot = pair.slot().unwrap();
    let number = slot.number();
    let commands: [Put; 6] = [
        |pair, slot, namespace| pair.read(slot, namespace, 0, 2),
        |pair, slot, namespace| pair.write(slot, namespace, 0, 2),
        |pair, slot, namespace| pair.write_with_metadata(slot, namespace, 0, 2),
        |pair, slot, namespace| pair.flush(slot, namespace),
        |pair, slot, namespace| pair.write_zeroes(slot, namespace, 0, 2, true),
        |pair, slot, namespace| pair.deallocate(slot, namespace, &[0..2, 5..6]),
    ];
    let mut slot = Some(slot);
    for command in commands {
        let refused = command(pair, slot.take().unwrap(), namespace).unwrap_err();
        let id = namespace.id();
        assert_eq!(refused.reason, Refusal::Namespace { id });
        assert_eq!(refused.slot.number(), number);
        slot = Some(refused.slot);
    }
    pair.release(slot.unwrap()).unwrap();
    let reason = Refusal::Namespace { id: namespace.id() };
    let request = Err(NvmeError::Request(reason));
    let mut data = vec![0; 4096];
    assert_eq!(pair.read_blocks(namespace, 0, &mut data), request);
    assert_eq!(pair.write_blocks(namespace, 0, &data), request);
    // Its slot is there again each time.
    for _ in 0..3 {
        assert_eq!(pair.flush_blocks(namespace), request);
    }
    assert_eq!(pair.under_way(), 0);
}

#[test]
fn a_namespace_of_another_controller_is_refused() {
    let [a, b] = two_controllers();
    let (first, second) = (a.start().unwrap(), b.start().unwrap());
    let foreign = first.namespace(1).unwrap();
    let mut pair = second.queue_pair::<2>(QueueOptions::default()).unwrap();
    // What it holds is not touched.
    let (one, two) = (pair.slot().unwrap(), pair.slot().unwrap());
    let mine = [1; 4096];
    for slot in [&one, &two] {
        pair.window(slot).unwrap().write_bytes(0, &mine).unwrap();
    }
    pair.release(one).unwrap();
    let commands = b.control.counts().commands;
    every_command_is_refused(&mut pair, &foreign);
    assert_eq!(b.control.counts().commands, commands);
    let mut there = [0; 4096];
    pair.window(&two)
        .unwrap()
        .read_bytes(0, &mut there)
        .unwrap();
    assert_eq!(there, mine);
    // Its own does as before.
    pair.release(two).unwrap();
    round_trip(&mut pair, &second.namespace(1).unwrap());
    drop(pair);
    drop((first, second));
    a.assert_clean();
    b.assert_clean();
}

#[test]
fn a_namespace_that_was_read_before_a_restart_is_refused() {
    let opened = Opened::new(Nvme::new().with_namespace(NvmeNamespace::of_512(1024)));
    let mut controller = opened.start().unwrap();
    let stale = controller.namespace(1).unwrap();
    // It is formatted meanwhile.
    opened
        .control
        .replace_namespace(1, NvmeNamespace::of_4096(128));
    controller.restart().unwrap();
    let mut pair = controller.queue_pair::<2>(slots(8192)).unwrap();
    every_command_is_refused(&mut pair, &stale);
    let fresh = controller.namespace(1).unwrap();
    assert_eq!(fresh.block_size(), 4096);
    round_trip(&mut pair, &fresh);
}

#[test]
fn namespaces_that_are_read_again_are_the_same() {
    let opened = Opened::new(two_namespaces());
    let controller = opened.start().unwrap();
    assert_eq!(controller.namespace(1), controller.namespace(1));
    assert_ne!(controller.namespace(1), controller.namespace(2));
}

#[test]
fn a_slot_of_another_queue_pair_is_given_back() {
    let opened = Opened::new(two_namespaces());
    let controller = opened.start().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut a = controller.queue_pair::<2>(QueueOptions::default()).unwrap();
    let mut b = controller.queue_pair::<2>(QueueOptions::default()).unwrap();
    let (of_a, of_b) = (a.slot().unwrap(), b.slot().unwrap());
    let id = of_a.number();
    assert_eq!(id, of_b.number());
    let refusal = Refusal::Slot { id };
    assert_ne!(of_a, of_b);
    assert_eq!(b.window(&of_a).err(), Some(refusal));
    assert_eq!(b.metadata(&of_a).err(), Some(refusal));
    let given_back = |refused: Refused| {
        assert_eq!(refused.reason, refusal);
        refused.slot
    };
    let of_a = given_back(b.release(of_a).unwrap_err());
    let of_a = given_back(b.read(of_a, &namespace, 0, 1).unwrap_err());
    let of_a = given_back(b.write(of_a, &namespace, 0, 1).unwrap_err());
    let of_a = given_back(b.flush(of_a, &namespace).unwrap_err());
    let of_a = given_back(b.write_zeroes(of_a, &namespace, 0, 1, false).unwrap_err());
    let of_a = given_back(b.deallocate(of_a, &namespace, &[0..1, 4..5]).unwrap_err());
    // Nobody else has the slot of `b` meanwhile, and `a` has its own.
    let other = b.slot().unwrap();
    assert_ne!(other, of_b);
    assert_eq!(b.slot(), None);
    assert_eq!(b.under_way(), 0);
    a.release(of_a).unwrap();
    b.release(of_b).unwrap();
    b.release(other).unwrap();
    round_trip(&mut a, &namespace);
    round_trip(&mut b, &namespace);
}

#[test]
fn a_slot_outlives_its_queue_pair_and_is_not_that_of_the_next() {
    let opened = Opened::new(two_namespaces());
    let controller = opened.start().unwrap();
    let mut first = controller.queue_pair::<2>(QueueOptions::default()).unwrap();
    let old = first.slot().unwrap();
    drop(first);
    let mut next = controller.queue_pair::<2>(QueueOptions::default()).unwrap();
    assert_eq!(next.id(), 1);
    let held = next.slot().unwrap();
    assert_eq!(held.number(), old.number());
    assert!(next.window(&old).is_err());
    assert!(next.release(old).is_err());
    assert_ne!(next.slot().unwrap().number(), held.number());
}

#[test]
fn slots_of_a_queue_pair_that_was_given_up_are_released_to_nothing() {
    let opened = Opened::new(two_namespaces());
    let controller = opened.start().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut pair = controller.queue_pair::<2>(QueueOptions::default()).unwrap();
    let held = pair.slot().unwrap();
    opened.control.inject(1, 0, NvmeFault::Fatal);
    let error = pair.read_blocks(&namespace, 0, &mut [0; 512]);
    assert_eq!(error, Err(NvmeError::Fatal { status: 3 }));
    assert!(pair.window(&held).is_err());
    assert_eq!(pair.release(held), Ok(()));
    assert_eq!(pair.slot(), None);
}

#[test]
fn a_command_of_another_queue_pair_is_not_aborted() {
    let opened = Opened::new(two_namespaces());
    let controller = opened.start().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut a = controller.queue_pair::<2>(QueueOptions::default()).unwrap();
    let mut b = controller.queue_pair::<2>(QueueOptions::default()).unwrap();
    let mut commands = Vec::new();
    for (queue, pair) in [(1, &mut a), (2, &mut b)] {
        opened.control.inject(queue, 0, NvmeFault::Hang);
        let slot = pair.slot().unwrap();
        commands.push(pair.read(slot, &namespace, 0, 1).unwrap());
        pair.ring().unwrap();
    }
    let id = commands[0].number();
    assert_eq!(id, commands[1].number());
    let refused = Err(NvmeError::Request(Refusal::Slot { id }));
    assert_eq!(b.abort(commands[0]), refused);
    assert_eq!(b.poll(), Ok(None));
    assert_eq!(a.abort(commands[0]), Ok(true));
    let Completion { result, .. } = a.wait().unwrap().unwrap();
    assert_eq!(result.unwrap_err().code(), StatusCode::ABORT_REQUESTED);
}
