//! Disks.

use vfio_core::open::Mode;
use vfio_drivers::virtio::blk::{self, Options, features};
use vfio_drivers::virtio::{Features, Misfit, Refusal, State, VirtioError};
use vfio_hosted::model::{self, VirtioBlk, VirtioFault};

use crate::opened::{Opened, disk, pattern};

#[test]
fn what_is_written_is_read_back_and_safe_after_a_flush() {
    for mode in [Mode::Type1v2, Mode::Iommufd] {
        let blk = VirtioBlk::new(256);
        let control = blk.control();
        let opened = Opened::in_mode(model::virtio_blk_with(blk), mode);
        let mut disk = opened.start_disk().unwrap();
        assert_eq!(disk.info().capacity, 256);
        assert_eq!(disk.info().block_size, 512);
        let data = pattern(3, 200 * 512);
        disk.write(7, &data).unwrap();
        let mut back = vec![0; data.len()];
        disk.read(7, &mut back).unwrap();
        assert!(back == data);
        assert!(control.medium().iter().all(|byte| *byte == 0));
        disk.flush().unwrap();
        control.cut_power();
        assert!(control.medium()[7 * 512..207 * 512] == data);
        assert!(disk.id().unwrap().starts_with(b"simulated\0"));
        drop(disk);
        opened.assert_clean();
    }
}

#[test]
fn every_kind_of_queue_carries_requests() {
    for without in [
        Features(0),
        Features::INDIRECT_DESC,
        Features::EVENT_IDX,
        Features::INDIRECT_DESC | Features::EVENT_IDX,
    ] {
        for entries in [2, 4, 16, 256] {
            let opened = Opened::blk(VirtioBlk::new(64).with_entries(entries));
            let options = Options { without, ..disk() };
            let started = blk::Blk::<_, 64>::start(opened.transport(), options);
            if entries == 2 {
                // A request takes three.
                assert_eq!(started.err(), Some(VirtioError::NoQueue { queue: 0 }));
                continue;
            }
            let mut disk = started.unwrap();
            for round in 0..20 {
                let data = pattern(round, 64 * 512);
                disk.write(0, &data).unwrap();
                let mut back = vec![0; data.len()];
                disk.read(0, &mut back).unwrap();
                assert!(back == data, "{without:?} {entries}");
            }
            drop(disk);
            opened.assert_clean();
        }
    }
}

#[test]
fn what_is_not_on_the_disk_is_refused() {
    let opened = Opened::blk(VirtioBlk::new(16));
    let mut disk = opened.start_disk().unwrap();
    let outside = Err(VirtioError::Request(Refusal::OutOfRange { capacity: 16 }));
    assert_eq!(disk.read(16, &mut [0; 512]), outside);
    assert_eq!(disk.read(0, &mut [0; 17 * 512]), outside);
    assert_eq!(disk.write(u64::MAX, &[0; 512]), outside);
    let unaligned = Err(VirtioError::Request(Refusal::Unaligned { len: 511 }));
    assert_eq!(disk.write(0, &[0; 511]), unaligned);
    assert_eq!(disk.read(16, &mut []), Ok(()));
    assert_eq!(disk.state(), State::Running);
}

#[test]
fn a_disk_that_can_only_be_read_is_not_written() {
    let opened = Opened::blk(VirtioBlk::new(16).read_only());
    let mut disk = opened.start_disk().unwrap();
    assert!(disk.info().is_read_only);
    let refused = Err(VirtioError::Request(Refusal::ReadOnly));
    assert_eq!(disk.write(0, &[0; 512]), refused);
    assert_eq!(disk.read(0, &mut [1; 512]), Ok(()));
    // One whose driver does not know says so itself.
    drop(disk);
    let options = Options {
        without: features::RO,
        ..disk_options()
    };
    let mut disk = blk::Blk::<_, 64>::start(opened.transport(), options).unwrap();
    let failed = Err(VirtioError::Failed { status: 1 });
    assert_eq!(disk.write(0, &[0; 512]), failed);
    assert_eq!(disk.state(), State::Running);
}

fn disk_options() -> Options {
    disk()
}

#[test]
fn a_request_that_fails_leaves_the_disk_as_it_is() {
    let blk = VirtioBlk::new(64);
    let control = blk.control();
    let opened = Opened::blk(blk);
    let mut disk = opened.start_disk().unwrap();
    for status in [1, 2] {
        for before in [0, 3, 7] {
            control
                .virtio()
                .inject(0, before, VirtioFault::Status(status));
            let failed = disk.write(0, &pattern(1, 64 * 512));
            assert_eq!(failed, Err(VirtioError::Failed { status }));
            assert_eq!(disk.read(0, &mut [0; 64 * 512]), Ok(()));
        }
    }
    drop(disk);
    opened.assert_clean();
}

#[test]
fn a_disk_that_lies_is_reset_and_can_be_started_again() {
    let unexpected = |misfit| VirtioError::Unexpected { queue: 0, misfit };
    for (fault, error) in [
        (
            VirtioFault::Status(3),
            unexpected(Misfit::Status { status: 3 }),
        ),
        (
            VirtioFault::Status(0xff),
            unexpected(Misfit::Status { status: 0xff }),
        ),
        (VirtioFault::UsedId(77), unexpected(Misfit::Id { id: 77 })),
        (
            VirtioFault::UsedLen(4096),
            unexpected(Misfit::TooShort {
                len: 4096,
                least: 4097,
            }),
        ),
        (
            VirtioFault::UsedLen(u32::MAX),
            unexpected(Misfit::TooLong {
                len: u32::MAX,
                most: 4097,
            }),
        ),
        (VirtioFault::Hang, VirtioError::Timeout { queue: 0 }),
        (
            VirtioFault::NeedsReset,
            VirtioError::NeedsReset { status: 0x4f },
        ),
        (VirtioFault::Gone, VirtioError::Gone),
    ] {
        let blk = VirtioBlk::new(64);
        let control = blk.control();
        let opened = Opened::blk(blk);
        let mut disk = opened.start_disk().unwrap();
        control.virtio().inject(0, 2, fault);
        let mut bytes = vec![0; 64 * 512];
        assert_eq!(disk.read(0, &mut bytes), Err(error), "{fault:?}");
        assert!(error.stops());
        let is_lost = fault == VirtioFault::Gone;
        let state = if is_lost { State::Lost } else { State::Stopped };
        assert_eq!(disk.state(), state, "{fault:?}");
        assert_eq!(disk.read(0, &mut bytes), Err(VirtioError::Stopped));
        control.virtio().set_gone(false);
        disk.restart().unwrap();
        assert_eq!(disk.read(0, &mut bytes), Ok(()));
        drop(disk);
        opened.assert_clean();
    }
}
