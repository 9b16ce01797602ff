//! Frames.

use std::thread;
use std::time::Duration;

use vfio_core::open::Mode;
use vfio_core::wire::abi::pci_irq;
use vfio_drivers::nic::{FrameChecksum, Link, MacAddress, Nic as _, PartialChecksum};
use vfio_drivers::virtio::net::{self, Options, features};
use vfio_drivers::virtio::{Features, Refusal, State, VirtioError};
use vfio_hosted::model::{self, VirtioFault, VirtioNet};

use crate::opened::{NET, Net, Opened, frame};

/// Sends frames and takes back what comes.
fn echo(opened: &Opened, net: &mut Net<'_, 1, 8>, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut pair = net.pair(0).unwrap();
    for frame in frames {
        assert!(pair.send(frame, None).unwrap(), "no room");
    }
    pair.flush().unwrap();
    opened.let_time_pass();
    let mut came = vec![];
    let mut bytes = vec![0; 9014];
    while let Some(received) = pair.receive(&mut bytes).unwrap() {
        came.push(bytes[..received.len].to_vec());
    }
    came
}

fn frames(seed: u64, count: u64) -> Vec<Vec<u8>> {
    (0..count)
        .map(|index| frame(seed + index, 60 + usize::try_from(index).unwrap() * 200))
        .collect()
}

#[test]
fn what_is_sent_in_a_loop_comes_back() {
    for mode in [Mode::Type1, Mode::Type1v2, Mode::Iommufd] {
        let opened = Opened::in_mode(model::virtio_net(), mode);
        let mut net = opened.start().unwrap();
        for round in 0..50 {
            let frames = frames(round * 100, 7);
            assert!(echo(&opened, &mut net, &frames) == frames, "{mode} {round}");
        }
        drop(net);
        opened.assert_clean();
    }
}

#[test]
fn every_set_of_features_carries_frames() {
    let optional = [
        Features::EVENT_IDX,
        Features::INDIRECT_DESC,
        features::MRG_RXBUF,
        features::CTRL_VQ,
        features::STATUS,
        features::CSUM,
        features::GUEST_CSUM,
    ];
    for set in 0..1 << optional.len() {
        let absent = optional.iter().enumerate();
        let absent = absent.filter(|(bit, _)| set >> bit & 1 != 0);
        let absent = absent.fold(0, |all, (_, feature)| all | feature.0);
        // Half of them are not offered, and half are not accepted.
        let opened = Opened::net(VirtioNet::new().without(absent & 0x5555_5555_5555_5555));
        let options = Options {
            without: Features(absent),
            ..NET
        };
        let mut net = net::Net::start(opened.transport(), options).unwrap();
        assert_eq!(net.features().0 & absent, 0);
        let frames = frames(set, 6);
        assert!(echo(&opened, &mut net, &frames) == frames, "{absent:#x}");
        assert_eq!(net.link(), Ok(Link::Up));
        drop(net);
        opened.assert_clean();
    }
}

#[test]
fn a_batch_takes_one_notification_and_none_where_the_device_looks_anyway() {
    let net = VirtioNet::new();
    let control = net.control();
    let opened = Opened::net(net);
    let mut net = opened.start().unwrap();
    let before = control.virtio().counts().notifications;
    let mut pair = net.pair(0).unwrap();
    for frame in &frames(1, 8) {
        assert!(pair.send(frame, None).unwrap());
    }
    assert_eq!(control.virtio().counts().notifications, before);
    pair.flush().unwrap();
    assert_eq!(control.virtio().counts().notifications, before + 1);
    // Nothing new, nothing to tell.
    pair.flush().unwrap();
    assert_eq!(control.virtio().counts().notifications, before + 1);
    // A device that says that it looks until 100 more came is not told of the next.
    control.virtio().set_event(Some(100));
    assert!(pair.send(&frame(9, 60), None).unwrap());
    pair.flush().unwrap();
    let told = control.virtio().counts().notifications;
    assert!(pair.send(&frame(10, 60), None).unwrap());
    pair.flush().unwrap();
    assert_eq!(control.virtio().counts().notifications, told);
}

#[test]
fn a_device_without_an_event_index_says_in_a_flag_that_it_looks_anyway() {
    let net = VirtioNet::new().without(Features::EVENT_IDX.0);
    let control = net.control();
    let opened = Opened::net(net);
    let mut net = opened.start().unwrap();
    let mut pair = net.pair(0).unwrap();
    control.virtio().set_used_flags(1);
    let send = |pair: &mut net::Pair<'_, _, 8>| {
        assert!(pair.send(&frame(1, 60), None).unwrap());
        pair.flush().unwrap();
        control.virtio().counts().notifications
    };
    let told = send(&mut pair);
    assert_eq!(send(&mut pair), told);
}

#[test]
fn a_full_queue_takes_no_more_until_frames_were_sent() {
    let opened = Opened::net(VirtioNet::new());
    let mut net = opened.start().unwrap();
    let mut pair = net.pair(0).unwrap();
    for _ in 0..8 {
        assert!(pair.send(&frame(1, 60), None).unwrap());
    }
    assert!(!pair.send(&frame(1, 60), None).unwrap());
    assert_eq!(pair.unsent(), Ok(8));
    pair.flush().unwrap();
    assert_eq!(pair.unsent(), Ok(0));
    assert!(pair.send(&frame(1, 60), None).unwrap());
}

#[test]
fn a_frame_in_several_buffers_is_put_together() {
    let opened = Opened::net(VirtioNet::new().with_mtu(9000));
    let mut net = opened.start().unwrap();
    assert_eq!(net.longest_frame(), 9014);
    for len in [2036, 2037, 4084, 4085, 9000] {
        let frames = [frame(7, len), frame(8, 60)];
        assert!(echo(&opened, &mut net, &frames) == frames, "{len}");
    }
    drop(net);
    // One buffer for each frame.
    let options = Options {
        without: features::MRG_RXBUF,
        ..NET
    };
    let mut net = net::Net::start(opened.transport(), options).unwrap();
    let frames = [frame(7, 9014), frame(8, 60)];
    assert!(echo(&opened, &mut net, &frames) == frames);
    drop(net);
    opened.assert_clean();
}

#[test]
fn frames_that_are_too_long_or_too_short_are_not_taken() {
    let opened = Opened::net(VirtioNet::new());
    let mut net = opened.start().unwrap();
    let mut pair = net.pair(0).unwrap();
    for len in [0, 13, 2048, 70_000] {
        let sent = pair.send(&vec![0; len], None);
        assert!(
            matches!(
                sent,
                Err(VirtioError::Request(Refusal::FrameLength { len: was, .. })) if was == len
            ),
            "{sent:?}"
        );
    }
    assert_eq!(pair.longest_frame(), 1514);
    assert!(pair.send(&frame(1, 1514), None).unwrap());
    assert_eq!(net.state(), State::Running);
}

#[test]
fn frames_that_the_caller_has_no_room_for_are_dropped_and_counted() {
    let opened = Opened::net(VirtioNet::new());
    let mut net = opened.start().unwrap();
    let mut pair = net.pair(0).unwrap();
    for len in [100, 60] {
        assert!(pair.send(&frame(1, len), None).unwrap());
    }
    pair.flush().unwrap();
    opened.let_time_pass();
    let mut bytes = [0; 64];
    let received = pair.receive(&mut bytes).unwrap().unwrap();
    assert_eq!((received.len, pair.dropped()), (60, 1));
}

#[test]
fn checksums_are_left_to_the_device_both_ways() {
    let net = VirtioNet::new();
    let control = net.control();
    let opened = Opened::net(net);
    let mut net = opened.start().unwrap();
    let mut pair = net.pair(0).unwrap();
    assert!(pair.checksums().transmit && pair.checksums().receive);
    let mut sent = frame(1, 80);
    sent[50..52].fill(0);
    let partial = PartialChecksum {
        start: 34,
        offset: 16,
    };
    // In a loop it stays as it is: what comes was never on a wire.
    assert!(pair.send(&sent, Some(partial)).unwrap());
    pair.flush().unwrap();
    opened.let_time_pass();
    let mut bytes = [0; 1514];
    let received = pair.receive(&mut bytes).unwrap().unwrap();
    assert_eq!(received.checksum, FrameChecksum::Partial(partial));
    assert!(bytes[..80] == sent);
    // On a wire it is there.
    let _ = control.take_sent();
    assert!(pair.send(&sent, Some(partial)).unwrap());
    pair.flush().unwrap();
    let on_wire = control.take_sent().remove(0);
    assert_eq!(ones_complement_sum(&on_wire[34..]), 0xffff);
    // What is not in the frame is refused.
    let partial = PartialChecksum {
        start: 34,
        offset: 45,
    };
    assert_eq!(
        pair.send(&sent, Some(partial)),
        Err(VirtioError::Request(Refusal::Checksum))
    );
}

/// Returns the sum of all words. That of bytes with their checksum is 0xffff (RFC 1071).
fn ones_complement_sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks(2).map(|pair| {
        let word = [pair[0], pair.get(1).copied().unwrap_or(0)];
        u32::from(u16::from_be_bytes(word))
    });
    let sum: u32 = words.sum();
    (sum & 0xffff) + (sum >> 16)
}

#[test]
fn the_link_goes_down_and_up_and_frames_are_lost_meanwhile() {
    let net = VirtioNet::new();
    let control = net.control();
    let opened = Opened::net(net);
    let options = Options {
        config_vector: Some(1),
        ..NET
    };
    let mut net = net::Net::<_, 1, 8>::start(opened.transport(), options).unwrap();
    let vectors = opened.device.vectors::<2>(pci_irq::MSIX).unwrap();
    assert_eq!(net.link(), Ok(Link::Up));
    control.set_link(false);
    assert_eq!(vectors.wait(1, Duration::from_secs(1)), Ok(1));
    assert_eq!(net.link(), Ok(Link::Down));
    assert_eq!(
        echo(&opened, &mut net, &frames(1, 3)),
        Vec::<Vec<u8>>::new()
    );
    control.set_link(true);
    assert_eq!(vectors.wait(1, Duration::from_secs(1)), Ok(1));
    assert_eq!(net.link(), Ok(Link::Up));
    let frames = frames(2, 3);
    assert!(echo(&opened, &mut net, &frames) == frames);
}

#[test]
fn a_frame_that_comes_ends_a_wait_also_where_the_interrupt_is_lost() {
    for features in [0, Features::EVENT_IDX.0] {
        let net = VirtioNet::new().without(features);
        let control = net.control();
        let opened = Opened::net(net);
        let options = Options {
            vector: Some(0),
            ..NET
        };
        let mut net = net::Net::<_, 1, 8>::start(opened.transport(), options).unwrap();
        let vectors = opened.device.vectors::<1>(pci_irq::MSIX).unwrap();
        let mut pair = net.pair(0).unwrap();
        let second = Duration::from_secs(1);
        assert_eq!(pair.wait(&vectors, Duration::from_millis(10)), Ok(false));
        let mut bytes = [0; 1514];
        for fault in [None, Some(VirtioFault::NoInterrupt), None] {
            if let Some(fault) = fault {
                control.virtio().inject(0, 0, fault);
            }
            control.receive(&frame(3, 77));
            assert_eq!(pair.wait(&vectors, second), Ok(true));
            assert_eq!(pair.receive(&mut bytes).unwrap().unwrap().len, 77);
            assert_eq!(pair.receive(&mut bytes), Ok(None));
        }
        // Nobody wants to be told while nobody waits.
        let before = control.virtio().counts().interrupts;
        control.receive(&frame(3, 77));
        opened.let_time_pass();
        assert_eq!(control.virtio().counts().interrupts, before);
        assert!(pair.receive(&mut bytes).unwrap().is_some());
    }
}

#[test]
fn several_pairs_of_queues_carry_frames_in_threads_of_their_own() {
    let net = VirtioNet::new().with_pairs(4);
    let control = net.control();
    let opened = Opened::net(net);
    let mut net = net::Net::<_, 3, 16>::start(opened.transport(), NET).unwrap();
    assert_eq!((net.pairs(), net.most_pairs()), (3, 4));
    assert_eq!(control.commands(), [vec![4, 0, 3, 0]]);
    for index in 0..9 {
        control.receive(&frame(index, 60));
    }
    opened.let_time_pass();
    let came = thread::scope(|scope| {
        let threads = net.pairs_mut().map(|mut pair| {
            scope.spawn(move || {
                let mut bytes = [0; 1514];
                let mut count = 0;
                while pair.receive(&mut bytes).unwrap().is_some() {
                    count += 1;
                    assert!(pair.send(&bytes[..60], None).unwrap());
                }
                pair.flush().unwrap();
                count
            })
        });
        let threads: Vec<_> = threads.collect();
        let came = threads.into_iter().map(|thread| thread.join().unwrap());
        came.collect::<Vec<_>>()
    });
    assert_eq!(came, [3, 3, 3]);
    net.use_pairs(1).unwrap();
    assert_eq!(
        net.use_pairs(4),
        Err(VirtioError::Request(Refusal::Pairs { most: 3 }))
    );
    drop(net);
    opened.assert_clean();
}

#[test]
fn a_card_that_has_become_another_is_not_started_again() {
    let net = VirtioNet::new().with_mtu(1500).with_pairs(2);
    let control = net.control();
    let opened = Opened::net(net);
    let mut net = opened.start().unwrap();
    // The pairs of queues, and what a frame carries.
    for (at, bytes) in [(0x2008, [9, 0]), (0x200a, [0, 9])] {
        control.virtio().say(at, &bytes);
        let refused = net.restart();
        assert!(
            matches!(refused, Err(VirtioError::Refused(_))),
            "{refused:?}"
        );
        control.virtio().say_no_more();
    }
    net.restart().unwrap();
    drop(net);
    opened.assert_clean();
}

#[test]
fn the_control_queue_says_which_frames_are_wanted() {
    let net = VirtioNet::new();
    let control = net.control();
    let opened = Opened::net(net);
    let mut net = opened.start().unwrap();
    net.set_promiscuous(true).unwrap();
    net.set_all_multicast(false).unwrap();
    let mac = MacAddress([2, 0, 0, 0, 0, 9]);
    net.set_mac(mac).unwrap();
    assert_eq!(net.mac(), mac);
    let commands = [vec![0, 0, 1], vec![0, 1, 0], vec![1, 1, 2, 0, 0, 0, 0, 9]];
    assert_eq!(control.commands(), commands);
    control.set_refuses_commands(true);
    let refused = net.set_promiscuous(false);
    assert_eq!(refused, Err(VirtioError::Failed { status: 1 }));
    assert_eq!(net.state(), State::Running);
    // It forgets what it was told.
    net.restart().unwrap();
    assert_eq!(net.mac().to_string(), "52:54:00:12:34:56");
    drop(net);
    let options = Options {
        without: features::CTRL_VQ,
        ..NET
    };
    let mut net = net::Net::<_, 1, 8>::start(opened.transport(), options).unwrap();
    assert_eq!(
        net.set_promiscuous(true),
        Err(VirtioError::Request(Refusal::NotSupported))
    );
}

#[test]
fn two_cards_on_a_wire_reach_each_other() {
    let (here, there) = (
        VirtioNet::new(),
        VirtioNet::new().with_mac([2, 0, 0, 0, 0, 2]),
    );
    here.control().connect(&there.control());
    let (here, there) = (Opened::net(here), Opened::net(there));
    let (mut first, mut second) = (here.start().unwrap(), there.start().unwrap());
    assert_eq!(second.mac().to_string(), "02:00:00:00:00:02");
    let sent = frame(4, 999);
    let mut pair = first.pair(0).unwrap();
    assert!(pair.send(&sent, None).unwrap());
    pair.flush().unwrap();
    there.let_time_pass();
    let mut bytes = [0; 1514];
    let received = second.pair(0).unwrap().receive(&mut bytes).unwrap();
    assert_eq!(received.map(|received| received.len), Some(999));
    assert!(bytes[..999] == sent);
}

#[test]
fn a_reset_under_load_loses_frames_and_nothing_else() {
    let opened = Opened::net(VirtioNet::new().with_pairs(2));
    let mut net = net::Net::<_, 2, 8>::start(opened.transport(), NET).unwrap();
    for round in 0..10 {
        for mut pair in net.pairs_mut() {
            for frame in &frames(round, 5) {
                assert!(pair.send(frame, None).unwrap());
            }
            if round % 2 == 0 {
                pair.flush().unwrap();
            }
        }
        net.restart().unwrap();
        assert_eq!(net.state(), State::Running);
    }
    net.stop();
    let mut pair = net.pair(0).unwrap();
    assert_eq!(pair.send(&frame(1, 60), None), Err(VirtioError::Stopped));
    assert_eq!(pair.receive(&mut [0; 64]), Err(VirtioError::Stopped));
    assert_eq!(pair.flush(), Err(VirtioError::Stopped));
    drop(net);
    opened.assert_clean();
}
