//! How a device is found, started and stopped.

use std::time::Duration;

use vfio_drivers::virtio::net::{self, features};
use vfio_drivers::virtio::{
    Features, Misfit, OpenError, PciTransport, Place, State, Structure, VirtioError,
};
use vfio_hosted::model::{VirtioBlk, VirtioFault, VirtioNet};

use crate::opened::{NET, Opened, frame};

/// The number of a structure (section 4.1.4).
const COMMON: u8 = 1;
const NOTIFY: u8 = 2;
const ISR: u8 = 3;
const DEVICE: u8 = 4;

/// Returns the error of a device with a structure that is said to be elsewhere.
fn misplaced(cfg_type: u8, bar: u8, offset: u32, len: u32) -> Option<OpenError> {
    let opened = Opened::net(VirtioNet::new().placing(cfg_type, bar, offset, len));
    let error = PciTransport::open(&opened.device, &opened.dma).err();
    opened.assert_clean();
    error
}

#[test]
fn a_structure_that_is_not_in_its_bar_is_not_used() {
    for (cfg_type, structure, offset, len) in [
        (COMMON, Structure::Common, 0x4000, 0x38),
        (COMMON, Structure::Common, 0x3fcc, 0x38),
        (COMMON, Structure::Common, 0, 0x4001),
        (COMMON, Structure::Common, u32::MAX, u32::MAX),
        // Too short, and not aligned.
        (COMMON, Structure::Common, 0, 0x37),
        (COMMON, Structure::Common, 2, 0x38),
        (NOTIFY, Structure::Notify, 0x3000, 1),
        (NOTIFY, Structure::Notify, 0x3001, 0x100),
        (ISR, Structure::Isr, 0x1000, 0),
        (DEVICE, Structure::Device, 0x2000, 0),
        (DEVICE, Structure::Device, 0x2002, 16),
    ] {
        let error = OpenError::Misplaced {
            structure,
            place: Place {
                bar: 4,
                offset,
                len,
            },
            len: 0x4000,
        };
        assert_eq!(misplaced(cfg_type, 4, offset, len), Some(error));
    }
    assert_eq!(misplaced(ISR, 4, 0x3fff, 1), None);
}

#[test]
fn a_structure_in_a_bar_that_is_not_there_is_not_used() {
    for bar in [6, 7, 255] {
        let error = OpenError::NoStructure(Structure::Common);
        assert_eq!(misplaced(COMMON, bar, 0, 0x38), Some(error));
    }
    for bar in [0, 2, 3, 5] {
        let error = misplaced(COMMON, bar, 0, 0x38);
        assert!(
            matches!(
                error,
                Some(OpenError::BringUp(_) | OpenError::Misplaced { .. })
            ),
            "{error:?}"
        );
    }
}

#[test]
fn a_configuration_that_is_too_short_ends_the_start() {
    let opened = Opened::net(VirtioNet::new().placing(DEVICE, 4, 0x2000, 4));
    let error = VirtioError::Offset { offset: 4, len: 4 };
    assert_eq!(opened.start().err(), Some(error));
    // One that is not there at all as well.
    let opened = Opened::net(VirtioNet::new().placing(DEVICE, 6, 0x2000, 4));
    let error = VirtioError::Offset { offset: 0, len: 0 };
    assert_eq!(opened.start().err(), Some(error));
}

#[test]
fn a_device_of_another_type_is_not_started() {
    let opened = Opened::blk(VirtioBlk::new(8));
    let started = net::Net::<_, 1, 8>::start(opened.transport(), NET);
    assert_eq!(started.err(), Some(VirtioError::Type { found: 2 }));
}

#[test]
fn a_device_that_does_not_go_through_the_iommu_is_not_started_behind_one() {
    let opened = Opened::net(VirtioNet::new().without(Features::ACCESS_PLATFORM.0));
    assert_eq!(opened.start().err(), Some(VirtioError::NotConfined));
    opened.assert_clean();
}

#[test]
fn a_device_without_what_is_needed_is_not_started() {
    for feature in [Features::VERSION_1, features::MAC] {
        let opened = Opened::net(VirtioNet::new().without(feature.0));
        assert_eq!(opened.start().err(), Some(VirtioError::Missing(feature)));
        opened.assert_clean();
    }
}

#[test]
fn registers_that_lie_end_the_start() {
    let no_queue = |queue| VirtioError::NoQueue { queue };
    for (at, bytes, error) in [
        // The status: never reset, features not taken, gone.
        (0x14, &[1][..], VirtioError::NotReset { status: 1 }),
        (0x14, &[0], VirtioError::Refused(Features(0x1_3086_8023))),
        (0x14, &[0xff], VirtioError::Gone),
        // No queues, and none with entries.
        (0x12, &[0, 0], no_queue(0)),
        (0x12, &[1, 0], no_queue(1)),
        (0x12, &[2, 0], no_queue(2)),
        (0x18, &[0, 0], no_queue(0)),
        (0x18, &[1, 0], no_queue(0)),
    ] {
        let net = VirtioNet::new();
        let control = net.control();
        let opened = Opened::net(net);
        control.virtio().say(at, bytes);
        let failed = opened.start().err();
        match (failed, error) {
            (Some(VirtioError::Refused(_)), VirtioError::Refused(_)) => (),
            _ => assert_eq!(failed, Some(error), "{at:#x} {bytes:?}"),
        }
        control.virtio().say_no_more();
        assert!(opened.start().is_ok());
        opened.assert_clean();
    }
}

#[test]
fn a_doorbell_out_of_its_structure_ends_the_start() {
    for offset in [0x400_u16, u16::MAX] {
        let net = VirtioNet::new();
        let control = net.control();
        let opened = Opened::net(net);
        control.virtio().say(0x1e, &offset.to_le_bytes());
        let error = VirtioError::Offset {
            offset: usize::from(offset) * 4,
            len: 0x1000,
        };
        assert_eq!(opened.start().err(), Some(error));
        opened.assert_clean();
    }
}

#[test]
fn sizes_that_are_no_power_of_two_are_brought_down_to_one() {
    for size in [2_u16, 3, 7, 100, 0x7fff, u16::MAX] {
        let net = VirtioNet::new();
        let control = net.control();
        let opened = Opened::net(net);
        control.virtio().say(0x18, &size.to_le_bytes());
        let mut net = opened.start().unwrap();
        let mut pair = net.pair(0).unwrap();
        assert!(pair.send(&frame(1, 60), None).unwrap());
        pair.flush().unwrap();
        opened.let_time_pass();
        assert!(pair.receive(&mut [0; 1514]).unwrap().is_some(), "{size}");
        drop(net);
        opened.assert_clean();
    }
}

#[test]
fn a_vector_that_is_not_taken_ends_the_start() {
    let opened = Opened::net(VirtioNet::new());
    for options in [
        net::Options {
            vector: Some(9),
            ..NET
        },
        net::Options {
            config_vector: Some(9),
            ..NET
        },
    ] {
        let started = net::Net::<_, 1, 8>::start(opened.transport(), options);
        assert_eq!(started.err(), Some(VirtioError::NoVector { vector: 9 }));
        opened.assert_clean();
    }
}

#[test]
fn a_configuration_that_never_stands_still_ends_the_start() {
    let net = VirtioNet::new();
    let control = net.control();
    let opened = Opened::net(net);
    control.virtio().set_unsteady(true);
    assert_eq!(opened.start().err(), Some(VirtioError::Unsteady));
    control.virtio().set_unsteady(false);
    assert!(opened.start().is_ok());
}

#[test]
fn a_device_that_is_gone_has_no_link() {
    let net = VirtioNet::new();
    let control = net.control();
    let opened = Opened::net(net);
    let mut net = opened.start().unwrap();
    control.virtio().set_gone(true);
    assert_eq!(net.link(), Err(VirtioError::Gone));
    assert_eq!(net.link(), Err(VirtioError::Stopped));
    control.virtio().set_gone(false);
    net.restart().unwrap();
    drop(net);
    opened.assert_clean();
}

#[test]
fn a_device_that_does_not_become_reset_is_reset_from_outside() {
    let net = VirtioNet::new();
    let control = net.control();
    let opened = Opened::net(net);
    let mut net = opened.start().unwrap();
    control.virtio().set_never_resets(true);
    net.stop();
    assert_eq!(net.state(), State::Stopped);
    net.restart().unwrap();
    drop(net);
    opened.assert_clean();
}

#[test]
fn memory_is_never_given_back_where_nothing_tells_that_a_device_is_reset() {
    let net = VirtioNet::new();
    let control = net.control();
    let opened = Opened::net(net);
    let mut net = opened.start().unwrap();
    let mut pair = net.pair(0).unwrap();
    control.virtio().inject(1, 0, VirtioFault::UsedId(1000));
    control.virtio().set_never_resets(true);
    control.virtio().set_ignores_reset(true);
    assert!(pair.send(&frame(1, 60), None).unwrap());
    pair.flush().unwrap();
    let misfit = Misfit::Id { id: 1000 };
    let unexpected = VirtioError::Unexpected { queue: 1, misfit };
    assert_eq!(pair.unsent(), Err(unexpected));
    assert_eq!(net.state(), State::Lost);
    drop(net);
    let mapped = opened.kernel.live_dma_mappings();
    assert!(mapped > 0);
    // The device writes it still, and meets nothing that is not its own.
    opened.let_time_pass();
    assert_eq!(opened.kernel.faults(), []);
    assert_eq!(opened.kernel.live_dma_mappings(), mapped);
}

#[test]
fn a_command_that_is_never_answered_runs_into_its_time_limit() {
    let net = VirtioNet::new();
    let control = net.control();
    let opened = Opened::net(net);
    let options = net::Options {
        command: Duration::from_millis(5),
        ..NET
    };
    let mut net = net::Net::<_, 1, 8>::start(opened.transport(), options).unwrap();
    control.virtio().inject(2, 0, VirtioFault::Hang);
    assert_eq!(
        net.set_promiscuous(true),
        Err(VirtioError::Timeout { queue: 2 })
    );
    net.restart().unwrap();
    net.set_promiscuous(true).unwrap();
    drop(net);
    opened.assert_clean();
}
