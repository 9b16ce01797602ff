//! Old and odd controllers: what one refuses costs what it was asked for alone, a namespace that
//! can't be used hides no other, and no number of theirs is counted past its end.

use vfio_drivers::nvme::{EventKind, State};

use super::*;

/// Features.
const TEMPERATURE_THRESHOLD: u8 = 0x04;
const WRITE_CACHE: u8 = 0x06;
const QUEUES: u8 = 0x07;
const EVENTS: u8 = 0x0b;
const HOST_BEHAVIOR: u8 = 0x16;
/// Opcodes.
const ABORT: u8 = 0x08;
const EVENT_REQUEST: u8 = 0x0c;
const DOORBELL_BUFFERS: u8 = 0x7c;

/// Returns a controller whose first namespace is an extended format's, which refuses something.
fn refusing(refusal: NvmeRefusal) -> Opened {
    let protection = NvmeProtection {
        kind: 1,
        format: 2,
        storage_tag: 0,
    };
    let extended = NvmeNamespace::of_4096(64).with_protection(protection, true);
    let nvme = Nvme::new()
        .with_namespace(extended)
        .with_namespace(NvmeNamespace::of_512(64))
        .with_shadow_doorbells();
    let opened = Opened::new(nvme);
    opened.control.refuse(refusal);
    opened
}

/// What of a controller can be used.
#[derive(Debug, PartialEq, Eq)]
struct Usable {
    health: bool,
    errors: bool,
    events: bool,
    threshold: bool,
    cache: bool,
    /// Namespace 1 can be read.
    extended: bool,
    /// Namespace 2 can be read and written, by queue pairs.
    plain: bool,
    shadow: bool,
}

const ALL: Usable = Usable {
    health: true,
    errors: true,
    events: true,
    threshold: true,
    cache: true,
    extended: true,
    plain: true,
    shadow: true,
};

fn usable(opened: &Opened) -> Usable {
    let controller = opened.start().unwrap();
    assert_eq!(controller.info().serial.to_string(), "simulated");
    let mut ids = [0; 4];
    assert_eq!(controller.namespace_ids(0, &mut ids), Ok(2));
    assert_eq!(ids[..2], [1, 2]);
    let mut pair = controller.queue_pair::<2>(slots(16384)).ok();
    let mut reads = |id| {
        let namespace = controller.namespace(id).ok()?;
        let mut data = vec![0; 4096];
        let pair = pair.as_mut()?;
        pair.read_blocks(&namespace, 0, &mut data).ok()?;
        Some(namespace)
    };
    let extended = reads(1).is_some();
    let plain = reads(2);
    if let (Some(pair), Some(plain)) = (&mut pair, &plain) {
        round_trip(pair, plain);
    }
    drop(pair);
    let is_told = || {
        controller.enable_events().ok()?;
        // The first look tells of a request that was refused.
        let _ = controller.next_event();
        let raised = controller.set_temperature_threshold(300);
        let event = controller.next_event().ok()??;
        raised.ok()?;
        (event.kind == EventKind::Health).then_some(())
    };
    let usable = Usable {
        threshold: controller.temperature_threshold().is_ok(),
        events: is_told().is_some(),
        health: controller.health().is_ok(),
        errors: controller.error_log(&mut []).is_ok(),
        cache: controller.is_write_cache_on().is_ok(),
        extended,
        plain: plain.is_some(),
        shadow: controller.uses_shadow_doorbells(),
    };
    assert_eq!(controller.state(), State::Running);
    controller.shut_down().unwrap();
    opened.assert_clean();
    usable
}

#[test]
fn what_a_controller_refuses_costs_what_it_was_asked_for_alone() {
    use NvmeRefusal::{Feature, Identify, Log, Opcode};
    let none = Opened::new(two_namespaces().with_shadow_doorbells());
    assert_eq!(usable(&none), ALL);
    for (refusal, left) in [
        (Identify(2), ALL),
        (
            Identify(5),
            Usable {
                extended: false,
                ..ALL
            },
        ),
        (
            Feature(HOST_BEHAVIOR),
            Usable {
                extended: false,
                ..ALL
            },
        ),
        (
            Feature(QUEUES),
            Usable {
                extended: false,
                plain: false,
                ..ALL
            },
        ),
        (
            Feature(EVENTS),
            Usable {
                events: false,
                ..ALL
            },
        ),
        (
            Opcode(EVENT_REQUEST),
            Usable {
                events: false,
                ..ALL
            },
        ),
        (
            Feature(TEMPERATURE_THRESHOLD),
            Usable {
                threshold: false,
                events: false,
                ..ALL
            },
        ),
        (
            Feature(WRITE_CACHE),
            Usable {
                cache: false,
                ..ALL
            },
        ),
        (
            Log(1),
            Usable {
                errors: false,
                ..ALL
            },
        ),
        (
            Log(2),
            Usable {
                health: false,
                ..ALL
            },
        ),
        (Opcode(ABORT), ALL),
        (
            Opcode(DOORBELL_BUFFERS),
            Usable {
                shadow: false,
                ..ALL
            },
        ),
    ] {
        assert_eq!(usable(&refusing(refusal)), left, "{refusal:?}");
    }
}

#[test]
fn a_controller_without_queue_pairs_is_identified_all_the_same() {
    // Entries of 128 bytes, as some have them.
    let opened = Opened::new(two_namespaces().saying(512, &[0x77, 0x44]));
    let controller = opened.start().unwrap();
    assert_eq!(controller.health().unwrap().temperature, 323);
    assert_eq!(controller.namespace(2).unwrap().block_size(), 4096);
    let pair = controller.queue_pair::<1>(QueueOptions::default());
    let sizes = NvmeError::EntrySizes {
        submission: 7,
        completion: 4,
    };
    assert_eq!(pair.err(), Some(sizes));
    drop(controller);
    // One with admin commands alone.
    let capabilities = 1023 | 1 << 16 | 1 << 24 | 1 << 44;
    let opened = Opened::new(Nvme::new().with_capabilities(capabilities));
    let controller = opened.start().unwrap();
    assert_eq!(controller.queues(), 0);
    assert_eq!(controller.health().unwrap().temperature, 323);
    assert_eq!(controller.first_namespace(), Ok(None));
    let pair = controller.queue_pair::<1>(QueueOptions::default());
    assert_eq!(pair.err(), Some(NvmeError::NoQueue { most: 0 }));
    drop(controller);
    opened.assert_clean();
    // One with neither.
    let opened = Opened::new(Nvme::new().with_capabilities(1023 | 1 << 16 | 1 << 24));
    assert!(matches!(
        opened.start().err(),
        Some(NvmeError::Unsupported { .. })
    ));
}

/// Returns namespaces, each with something of its own that can't be used.
fn unusable() -> [NvmeNamespace; 5] {
    let namespace = || NvmeNamespace::of_512(64);
    [
        // Blocks of 1 MiB, format 9 of 6, no blocks, more bytes than 2^64, a type that is not.
        namespace().saying(130, &[20]),
        namespace().saying(26, &[9]),
        namespace().saying(0, &[0; 8]),
        namespace().saying(0, &[0xff; 8]),
        namespace().saying(29, &[5]),
    ]
}

#[test]
fn a_namespace_that_can_not_be_used_hides_no_other() {
    let nvme = unusable()
        .into_iter()
        .fold(Nvme::new(), Nvme::with_namespace);
    let opened = Opened::new(nvme.with_namespace(NvmeNamespace::of_512(64)));
    let controller = opened.start().unwrap();
    let mut ids = [0; 8];
    assert_eq!(controller.namespace_ids(0, &mut ids), Ok(6));
    let errors: Vec<_> = (1..6).map(|id| controller.namespace(id).err()).collect();
    let format = |id, index, shift| Some(NvmeError::Format { id, index, shift });
    assert_eq!(
        errors,
        [
            format(1, 0, 20),
            format(2, 9, 0),
            Some(NvmeError::NoNamespace { id: 3 }),
            Some(NvmeError::Size { id: 4 }),
            Some(NvmeError::Protection {
                id: 5,
                format: Some(0),
                storage_tag: 0
            }),
        ]
    );
    let first = controller.first_namespace().unwrap().unwrap();
    assert_eq!(first.id(), 6);
    drop(controller);
    // Without the last, it is said why the first can't be used.
    opened.control.remove_namespace(6);
    let controller = opened.start().unwrap();
    assert_eq!(controller.first_namespace().err(), format(1, 0, 20));
}

#[test]
fn a_list_that_does_not_go_on_ends() {
    let nvme = unusable()
        .into_iter()
        .fold(Nvme::new(), Nvme::with_namespace);
    let opened = Opened::new(nvme.with_repeated_list());
    let controller = opened.start().unwrap();
    let mut ids = [0; 2];
    assert_eq!(controller.namespace_ids(0, &mut ids), Ok(2));
    assert_eq!(controller.namespace_ids(2, &mut ids), Ok(0));
    assert!(controller.first_namespace().is_err());
}

#[test]
fn what_comes_after_the_last_number_is_nothing() {
    let opened = Opened::new(two_namespaces());
    let controller = opened.start().unwrap();
    for after in [2, 1024, u32::MAX - 2, u32::MAX - 1, u32::MAX] {
        assert_eq!(controller.namespace_ids(after, &mut [0; 4]), Ok(0));
    }
}

#[test]
fn formats_that_can_not_be_read_are_refused_by_name() {
    let protection = NvmeProtection {
        kind: 1,
        format: 2,
        storage_tag: 0,
    };
    let namespace = || NvmeNamespace::of_4096(64).with_protection(protection, false);
    let error = |nvme: Nvme| opened_error(&Opened::new(nvme));
    let unknown = Some(NvmeError::Protection {
        id: 1,
        format: None,
        storage_tag: 0,
    });
    // 17 formats, which only controllers with extended ones have, without a word of those.
    let many = namespace().saying(25, &[16]);
    assert_eq!(
        error(Nvme::new().with_namespace(many).saying(96, &[0; 4])),
        unknown
    );
    let refused = Opened::new(Nvme::new().with_namespace(namespace()));
    refused.control.refuse(NvmeRefusal::Identify(5));
    assert_eq!(opened_error(&refused), unknown);
    // Up to 16 formats without a word of extended ones have a guard of 16 bits.
    let plain = Nvme::new().with_namespace(namespace()).saying(96, &[0; 4]);
    let opened = Opened::new(plain);
    let controller = opened.start().unwrap();
    assert_eq!(controller.namespace(1).unwrap().separate_metadata(), 16);
}

/// Returns why namespace 1 can't be used.
fn opened_error(opened: &Opened) -> Option<Error> {
    let controller = opened.start().unwrap();
    let error = controller.namespace(1).err();
    assert_eq!(controller.state(), State::Running);
    error
}

#[test]
fn numbers_of_the_controller_are_not_counted_past_their_end() {
    for shift in 0..=u8::MAX {
        let opened = Opened::new(two_namespaces().with_transfer_shift(shift));
        let controller = opened.start().unwrap();
        let longest = controller.longest_transfer();
        assert!(longest.is_none_or(|len| len >= 8192), "{shift}");
    }
    for shift in 0..=u8::MAX {
        let namespace = NvmeNamespace::of_512(8).saying(130, &[shift]);
        let opened = Opened::new(Nvme::new().with_namespace(namespace));
        let controller = opened.start().unwrap();
        match controller.namespace(1) {
            Ok(namespace) => {
                assert_eq!(namespace.block_size(), 1 << shift);
                assert_eq!(namespace.size(), 8 << shift);
                assert_eq!(namespace.formats()[0].block_size(), Some(1 << shift));
            }
            Err(error) => {
                assert!(!(9..=16).contains(&shift));
                let (id, index) = (1, 0);
                assert_eq!(error, NvmeError::Format { id, index, shift });
            }
        }
    }
    // One entry, doorbells 2^17 bytes apart, pages of 128 MiB: a typed error each.
    let start = |capabilities: u64| {
        let opened = Opened::new(two_namespaces().with_capabilities(capabilities));
        let controller = opened.start()?;
        controller
            .queue_pair::<1>(QueueOptions::default())
            .map(drop)
    };
    let base = 1 << 16 | 1 << 24 | 1 << 37;
    assert_eq!(start(base), Err(NvmeError::TooDeep { most: 0 }));
    assert!(matches!(
        start(base | 1023 | 0xf << 32),
        Err(NvmeError::Short { .. })
    ));
    let capabilities = start(base | 1023 | 0xf << 48);
    assert!(matches!(capabilities, Err(NvmeError::Unsupported { .. })));
    assert_eq!(start(base | 0xffff), Ok(()));
}
