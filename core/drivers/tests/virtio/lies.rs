//! A device that lies in everything that it writes.

use vfio_drivers::virtio::{Misfit, State, VirtioError};
use vfio_hosted::model::{VirtioFault, VirtioNet, VirtioNetControl};

use crate::opened::{Error, Net, Opened, frame, pattern};

/// Sends four frames in a loop, of which the third that comes or is sent fails; returns how.
///
/// Whatever happens, the device is never left with memory that it may still write, and the card
/// can be started again.
fn failing(queue: u16, fault: VirtioFault) -> Option<Error> {
    let net = VirtioNet::new();
    let control = net.control();
    let opened = Opened::net(net);
    let mut net = opened.start().unwrap();
    control.virtio().inject(queue, 2, fault);
    let error = traffic(&opened, &mut net).err();
    if let Some(error) = error {
        assert!(error.stops(), "{error}");
        assert_ne!(net.state(), State::Running);
        let mut pair = net.pair(0).unwrap();
        assert_eq!(pair.receive(&mut [0; 64]), Err(VirtioError::Stopped));
    }
    is_well_again(&opened, &control, &mut net);
    drop(net);
    opened.assert_clean();
    error
}

fn traffic(opened: &Opened, net: &mut Net<'_, 1, 8>) -> Result<usize, Error> {
    let mut count = 0;
    for round in 0..2 {
        let mut pair = net.pair(0).unwrap();
        for index in 0..4 {
            pair.send(&frame(index + round * 4, 100), None)?;
        }
        pair.flush()?;
        opened.let_time_pass();
        pair.unsent()?;
        let mut bytes = [0; 1514];
        while pair.receive(&mut bytes)?.is_some() {
            count += 1;
        }
        net.check()?;
    }
    Ok(count)
}

/// Starts a card again that tells the truth from now on.
fn is_well_again(opened: &Opened, control: &VirtioNetControl, net: &mut Net<'_, 1, 8>) {
    let virtio = control.virtio();
    virtio.set_gone(false);
    virtio.set_event(None);
    virtio.set_used_flags(0);
    virtio.say_no_more();
    net.restart().unwrap();
    assert_eq!(traffic(opened, net), Ok(8));
}

fn unexpected(queue: u16, misfit: Misfit) -> Option<Error> {
    Some(VirtioError::Unexpected { queue, misfit })
}

#[test]
fn a_chain_that_the_device_does_not_have_is_an_error() {
    for queue in [0, 1] {
        for id in [8, 0xffff, 0x1_0000, 0x1_0002, u32::MAX] {
            let error = failing(queue, VirtioFault::UsedId(id));
            assert_eq!(error, unexpected(queue, Misfit::Id { id }));
        }
    }
    // A frame that was sent twice. One that comes twice is in memory that the device has again.
    let error = failing(1, VirtioFault::Twice);
    assert!(
        matches!(error, Some(VirtioError::Unexpected { queue: 1, .. })),
        "{error:?}"
    );
    assert_eq!(failing(0, VirtioFault::Twice), None);
}

#[test]
fn a_length_that_does_not_fit_is_an_error() {
    for len in [2049, 1 << 16, u32::MAX] {
        let error = failing(0, VirtioFault::UsedLen(len));
        assert_eq!(error, unexpected(0, Misfit::TooLong { len, most: 2048 }));
    }
    for len in [0, 1, 11] {
        let error = failing(0, VirtioFault::UsedLen(len));
        assert_eq!(error, unexpected(0, Misfit::TooShort { len, least: 12 }));
    }
    // Nothing is to be written into a frame that is sent.
    for len in [1, u32::MAX] {
        let error = failing(1, VirtioFault::UsedLen(len));
        assert_eq!(error, unexpected(1, Misfit::TooLong { len, most: 0 }));
    }
    // Shorter than it is, or longer, and still in its buffer: who could tell?
    for len in [12, 13, 2048] {
        assert_eq!(failing(0, VirtioFault::UsedLen(len)), None);
    }
}

#[test]
fn an_index_that_runs_ahead_is_an_error() {
    for queue in [0, 1] {
        for more in [9, 0x7fff, 0xff00] {
            let error = failing(queue, VirtioFault::UsedAhead(more));
            assert!(
                matches!(
                    error,
                    Some(VirtioError::Unexpected {
                        queue: of,
                        misfit: Misfit::Index { .. },
                    }) if of == queue
                ),
                "{more}: {error:?}"
            );
        }
    }
}

#[test]
fn a_header_that_makes_no_sense_is_an_error_or_drops_the_frame() {
    let header = |num_buffers: u16, flags: u8| {
        let [low, high] = num_buffers.to_le_bytes();
        [flags, 0xff, 0xff, 0xff, 0xff, 0xff, 90, 0, 9, 0, low, high]
    };
    for count in [0, 9, u16::MAX] {
        let error = failing(0, VirtioFault::Header(header(count, 0)));
        assert_eq!(error, unexpected(0, Misfit::Buffers { count }));
    }
    // A checksum that is not in the frame.
    assert_eq!(failing(0, VirtioFault::Header(header(1, 1))), None);
    // More buffers than the frame is in: the next frames are taken for its rest.
    assert_eq!(failing(0, VirtioFault::Header(header(2, 0))), None);
}

#[test]
fn events_and_flags_cost_notifications_at_most() {
    for event in [0, 1, 5, 0x7fff, 0x8000, u16::MAX] {
        let net = VirtioNet::new();
        let control = net.control();
        let opened = Opened::net(net);
        let mut net = opened.start().unwrap();
        control.virtio().set_event(Some(event));
        control.virtio().set_used_flags(event);
        // Frames may stay where they are; nothing else happens.
        traffic(&opened, &mut net).unwrap();
        is_well_again(&opened, &control, &mut net);
        drop(net);
        opened.assert_clean();
    }
}

#[test]
fn an_answer_that_there_is_not_is_an_error() {
    let net = VirtioNet::new();
    let control = net.control();
    let opened = Opened::net(net);
    let mut net = opened.start().unwrap();
    for status in [2, 0x7f, 0xff] {
        control.virtio().inject(2, 0, VirtioFault::Status(status));
        let error = net.set_promiscuous(true);
        let misfit = Misfit::Status { status };
        assert_eq!(error, Err(VirtioError::Unexpected { queue: 2, misfit }));
        net.restart().unwrap();
    }
    drop(net);
    opened.assert_clean();
}

#[test]
fn a_device_that_needs_a_reset_or_goes_away_is_noticed() {
    for queue in [0, 1] {
        let error = failing(queue, VirtioFault::NeedsReset);
        assert!(
            matches!(error, Some(VirtioError::NeedsReset { .. })),
            "{error:?}"
        );
        let error = failing(queue, VirtioFault::Gone);
        assert!(matches!(error, Some(VirtioError::Gone)), "{error:?}");
    }
}

#[test]
fn random_lies_in_every_field_harm_nobody() {
    for seed in 0..400_u64 {
        let random = pattern(seed + 1, 64);
        let word = |at: usize| u32::from_le_bytes(random[at..at + 4].try_into().unwrap());
        let net = VirtioNet::new().with_pairs(1 + u16::from(random[0] & 1));
        let control = net.control();
        let opened = Opened::net(net);
        // Registers and the configuration lie from the start on.
        if random[1] & 3 == 0 {
            let at = u64::from(random[2]) % 0x38;
            control
                .virtio()
                .say(at, &random[3..3 + usize::from(random[1] >> 2) % 5]);
            control.virtio().say(0x2000 + at % 12, &random[8..10]);
        }
        let Ok(mut net) = opened.start() else {
            control.virtio().say_no_more();
            opened.assert_clean();
            continue;
        };
        for step in 0..4 {
            let small = word(12 + 4 * step) % 16;
            let fault = match random[40 + step] % 8 {
                0 => VirtioFault::UsedId(small),
                1 => VirtioFault::UsedLen(small * 150),
                2 => VirtioFault::UsedAhead(u16::try_from(small).unwrap()),
                3 => VirtioFault::Twice,
                4 => VirtioFault::Header(random[20..32].try_into().unwrap()),
                5 => VirtioFault::Hang,
                6 => VirtioFault::UsedLen(word(44)),
                _ => VirtioFault::Status(random[47]),
            };
            let queue = u16::from(random[48 + step] % 3);
            control.virtio().inject(queue, small % 5, fault);
        }
        control.virtio().set_used_flags(u16::from(random[52]));
        let _ = traffic(&opened, &mut net);
        let _ = net.set_promiscuous(true);
        let _ = traffic(&opened, &mut net);
        drop(net);
        control.virtio().say_no_more();
        opened.let_time_pass();
        assert_eq!(opened.kernel.faults(), [], "seed {seed}");
    }
}
