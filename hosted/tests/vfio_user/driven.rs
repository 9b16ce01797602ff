//! Drivers that do not notice that their device is another process's.

use std::sync::mpsc;

use vfio_core::dma::{Direction, Dma};
use vfio_core::mmio::Window;
use vfio_core::sys::{Errno, Pages, Sys as _};
use vfio_core::wire::abi::{pci_irq, pci_region};
use vfio_drivers::nvme::Options as NvmeOptions;
use vfio_exercise::{edu, nvme};
use vfio_hosted::model::{self, Bus, Model, Registers};
use vfio_hosted::vfio_user::{Ended, Options, VfioUser};

use crate::{PATIENCE, Serving, alone, files, open, sys};

#[test]
fn edu_passes_all_steps_for_one_client_after_the_other() {
    let _alone = alone();
    let before = files();
    let serving = Serving::new(model::edu());
    for _ in 0..3 {
        let sys = sys();
        let session = open(&sys, &serving.path()).unwrap();
        let report = edu::run(sys, session).unwrap();
        assert!(report.passed(), "{report:?}");
    }
    let clients = serving.stop();
    assert_eq!(clients.len(), 3);
    assert!(
        clients
            .iter()
            .all(|client| client.ended == Ended::Left && client.faults == 0)
    );
    assert_eq!(files(), before);
}

#[test]
fn nvme_passes_all_steps_where_its_server_has_the_memory_and_where_it_has_to_ask() {
    let _alone = alone();
    let before = files();
    for shares_memory in [true, false] {
        let serving = Serving::new(model::nvme());
        let sys = VfioUser::with_options(Options {
            shares_memory,
            ..Options::default()
        });
        let session = open(&sys, &serving.path()).unwrap();
        let bar0 = session.device.bring_up(pci_region::BAR0).unwrap();
        let dma = Dma::<_, 64>::new(sys.clone(), session.space).unwrap();
        let mut kept = vec![0; nvme::KEPT];
        let ends = std::sync::atomic::AtomicBool::new(false);
        let lent = nvme::Lent {
            kept: &mut kept,
            ends: &ends,
        };
        let options = NvmeOptions::default();
        let report = nvme::exercise(&session.device, bar0, &dma, options, lent);
        assert!(
            report.passed(),
            "shares memory: {shares_memory}: {report:?}"
        );
        drop((session.device, dma));
        assert!(serving.stop().iter().all(|client| client.faults == 0));
    }
    assert_eq!(files(), before);
}

#[test]
fn the_device_is_as_new_for_each_client() {
    let _alone = alone();
    let serving = Serving::new(model::edu());
    let (mut commands, mut liveness) = (vec![], vec![]);
    for _ in 0..2 {
        let session = open(&sys(), &serving.path()).unwrap();
        let mut reply = [0; 64];
        let config = session
            .device
            .region(pci_region::CONFIG, &mut reply)
            .unwrap();
        let mut command = [0; 2];
        session.device.read(config.offset, 4, &mut command).unwrap();
        commands.push(command);
        let mut bar0 = session.device.bring_up(pci_region::BAR0).unwrap();
        liveness.push(bar0.read::<u32>(4).unwrap());
        bar0.write::<u32>(4, 7).unwrap();
    }
    assert_eq!(commands[0], commands[1]);
    assert_eq!(liveness, [0, 0]);
    drop(serving.stop());
}

#[test]
fn intx_is_masked_when_it_occurs_and_comes_again_once_it_is_unmasked() {
    let _alone = alone();
    let serving = Serving::new(model::edu());
    let session = open(&sys(), &serving.path()).unwrap();
    let mut bar0 = session.device.bring_up(pci_region::BAR0).unwrap();
    let vectors = session.device.vectors::<1>(pci_irq::INTX).unwrap();
    bar0.write::<u32>(0x60, 1).unwrap();
    assert_eq!(vectors.wait(0, PATIENCE), Ok(1));
    bar0.write::<u32>(0x60, 2).unwrap();
    assert_eq!(vectors.take(0), Ok(0), "it is masked");
    // It is still asserted.
    vectors.rearm().unwrap();
    assert_eq!(vectors.wait(0, PATIENCE), Ok(1));
    bar0.write::<u32>(0x64, 3).unwrap();
    vectors.rearm().unwrap();
    assert_eq!(vectors.take(0), Ok(0));
    drop((vectors, bar0));
    drop(session);
    drop(serving.stop());
}

#[test]
fn memory_without_a_file_is_asked_for_while_events_are_waited_for() {
    let _alone = alone();
    let serving = Serving::new(model::edu());
    let sys = VfioUser::with_options(Options {
        patience: PATIENCE,
        shares_memory: false,
        ..Options::default()
    });
    let session = open(&sys, &serving.path()).unwrap();
    let mut bar0 = session.device.bring_up(pci_region::BAR0).unwrap();
    let vectors = session.device.vectors::<1>(pci_irq::MSI).unwrap();
    let dma = Dma::<_, 16>::new(sys.clone(), session.space).unwrap();
    let buffer = dma.buffer(8192, Direction::Both).unwrap();
    let mut memory = Window::new(&buffer);
    memory.write_bytes(4000, &[0x5a; 100]).unwrap();
    for (from, to, command) in [
        (buffer.iova() + 4000, 0x4_0000, 5_u64),
        (0x4_0000, buffer.iova(), 7),
    ] {
        for (at, value) in [(0x80, from), (0x88, to), (0x90, 100), (0x98, command)] {
            bar0.write::<u64>(at, value).unwrap();
        }
        assert_eq!(vectors.wait(0, 10 * PATIENCE), Ok(1));
        bar0.write::<u32>(0x64, 0x100).unwrap();
    }
    let mut back = [0; 100];
    memory.read_bytes(0, &mut back).unwrap();
    assert_eq!(back, [0x5a; 100]);
    drop((vectors, bar0, memory));
    drop(buffer);
    drop((dma, session.device));
    assert_eq!(serving.stop()[0].faults, 0);
}

#[test]
fn mappings_are_whole_and_bounded_by_what_the_server_takes() {
    let _alone = alone();
    let serving = Serving::with_room(model::edu(), 8);
    let sys = sys();
    let session = open(&sys, &serving.path()).unwrap();
    let memory = sys.memory(4 * 4096, Pages::Ordinary).unwrap();
    let both = vfio_core::dma::Direction::Both;
    let map = |range, iova| {
        // SAFETY: the memory outlives the session.
        #[expect(unsafe_code, reason = "what is mapped is the test's own memory")]
        unsafe {
            session.space.map(&memory, range, iova, both)
        }
    };
    assert_eq!(map(0..8192, 0x1_0000), Ok(()));
    assert_eq!(map(0..4096, 0x1_1000), Err(Errno::EEXIST));
    assert_eq!(map(0..4095, 0x4_0000), Err(Errno::EINVAL));
    assert_eq!(map(0..4096, 0x4_0001), Err(Errno::EINVAL));
    assert_eq!(map(0..8192, u64::MAX - 4095), Err(Errno::EOVERFLOW));
    assert_eq!(session.space.unmap(0x1_0000, 4096), Err(Errno::EINVAL));
    for n in 1..8 {
        assert_eq!(map(0..4096, 0x10_0000 * n), Ok(()));
    }
    assert_eq!(map(0..4096, 0x80_0000), Err(Errno::ENOSPC));
    assert_eq!(session.space.unmap(0, 0x11_0000), Ok(8192 + 4096));
    assert_eq!(session.space.unmap(0, 0x11_0000), Ok(0));
    assert_eq!(session.space.unmap_all(), Ok(6 * 4096));
    drop(session);
    drop(serving.stop());
}

#[test]
fn a_server_that_is_gone_ends_a_wait_for_its_interrupts() {
    let _alone = alone();
    let serving = Serving::new(model::edu());
    let session = open(&sys(), &serving.path()).unwrap();
    let vectors = session.device.vectors::<1>(pci_irq::MSI).unwrap();
    let (told, tell) = mpsc::channel();
    let stopping = std::thread::spawn(move || {
        tell.recv().unwrap();
        serving.stop()
    });
    told.send(()).unwrap();
    assert_eq!(vectors.wait(0, 100 * PATIENCE), Err(Errno::ECONNRESET));
    assert_eq!(stopping.join().unwrap()[0].ended, Ended::Stopped);
    drop(vectors);
}

/// A register at 0 that sends the message of the vector that is written to it.
struct Bell;

impl Registers for Bell {
    fn read(&mut self, _: u32, _: u64, data: &mut [u8], _: &mut Bus<'_>) {
        data.fill(0);
    }

    fn write(&mut self, region: u32, offset: u64, data: &[u8], bus: &mut Bus<'_>) {
        if let (0, 0, [vector, 0, 0, 0]) = (region, offset, data) {
            bus.send_message((*vector).into()).unwrap();
        }
    }

    fn reset(&mut self, _: &mut Bus<'_>) {}
}

#[test]
fn a_message_of_a_masked_vector_waits_in_the_pending_bits() {
    let _alone = alone();
    let msix = model::msix();
    let bell = Model::new(msix.description().clone()).with_registers(Bell);
    let serving = Serving::new(bell);
    let session = open(&sys(), &serving.path()).unwrap();
    let mut bar0 = session.device.bring_up(pci_region::BAR0).unwrap();
    let vectors = session.device.vectors::<3>(pci_irq::MSIX).unwrap();
    let ring = |bar0: &mut Window<_>, vector| Window::write::<u32>(bar0, 0, vector).unwrap();
    ring(&mut bar0, 1);
    assert_eq!([0, 1, 2].map(|n| vectors.take(n).unwrap()), [0, 1, 0]);
    // The mask of vector 1, in its entry's control; the pending bits are at 0x3000.
    bar0.write::<u32>(0x2000 + 16 + 12, 1).unwrap();
    ring(&mut bar0, 1);
    ring(&mut bar0, 2);
    assert_eq!([0, 1, 2].map(|n| vectors.take(n).unwrap()), [0, 0, 1]);
    assert_eq!(bar0.read::<u64>(0x3000).unwrap(), 0b10);
    bar0.write::<u32>(0x2000 + 16 + 12, 0).unwrap();
    assert_eq!([0, 1, 2].map(|n| vectors.take(n).unwrap()), [0, 1, 0]);
    assert_eq!(bar0.read::<u64>(0x3000).unwrap(), 0);
    // The mask of all, in the capability's control.
    let mut reply = [0; 64];
    let config = session
        .device
        .region(pci_region::CONFIG, &mut reply)
        .unwrap()
        .offset;
    session.device.write(config, 0x43, &[0xc0]).unwrap();
    ring(&mut bar0, 0);
    assert_eq!(vectors.take(0), Ok(0));
    session.device.write(config, 0x43, &[0x80]).unwrap();
    assert_eq!(vectors.take(0), Ok(1));
    drop((vectors, bar0));
    drop(session);
    drop(serving.stop());
}
