//! Every step of the drivers of virtio devices, on the simulated ones.

use vfio_core::open::{Mode, Place, Session};
use vfio_core::sys::NoIommu;
use vfio_exercise::{Outcome, virtio_blk, virtio_net};
use vfio_hosted::model::{self, Model, VirtioBlk, VirtioFault, VirtioNet};
use vfio_hosted::sim::Kernel;

const NAME: &str = "0000:01:00.0";
const C_NAME: &std::ffi::CStr = c"0000:01:00.0";
const GROUP: u32 = 3;

/// Returns the word for devices of the simulated kernel that no IOMMU confines.
fn acknowledged() -> NoIommu {
    // SAFETY: a simulated device reaches nothing but the pages that the simulated kernel gave
    // out, which are atomic words that it keeps for as long as they are reached.
    unsafe { NoIommu::acknowledge() }
}

/// Opens a device in a mode.
fn open(mode: Mode, model: Model) -> (Kernel, Session<Kernel>) {
    let kernel = Kernel::new();
    let kernel = match mode {
        Mode::NoIommu => kernel.with_noiommu_device(NAME, model, GROUP),
        _ => kernel.with_device(NAME, model, GROUP),
    };
    let cdev = kernel.device_path(NAME);
    let place = Place {
        name: C_NAME,
        group: Some(GROUP),
        is_noiommu: cdev.is_none(),
        noiommu: Some(acknowledged()),
        cdev: cdev.as_deref(),
        socket: None,
        token: None,
    };
    let session = Session::open_in(mode, &kernel, &place).unwrap();
    (kernel, session)
}

fn assert_nothing_is_left(kernel: &Kernel) {
    assert_eq!(kernel.faults(), []);
    assert_eq!(kernel.live_mappings(), 0);
    assert_eq!(kernel.live_dma_mappings(), 0);
    assert_eq!(kernel.live_physical_memory(), 0);
    assert_eq!(kernel.open_events(), 0);
    assert_eq!((kernel.open_files(), kernel.live_containers()), (0, 0));
}

#[test]
fn a_card_passes_every_step_in_every_mode() {
    for mode in Mode::PREFERRED.into_iter().chain([Mode::NoIommu]) {
        let net = VirtioNet::new().with_pairs(2);
        let (kernel, session) = open(mode, model::virtio_net_with(net));
        let peer = virtio_net::Peer::default();
        let report = virtio_net::run(kernel.clone(), session, peer).unwrap();
        for (step, outcome) in &report.steps {
            assert_eq!(*outcome, Outcome::Passed, "{mode}: {}", step.name());
        }
        assert_nothing_is_left(&kernel);
    }
}

#[test]
fn a_disk_passes_every_step_in_every_mode_and_keeps_what_it_has() {
    for mode in Mode::PREFERRED.into_iter().chain([Mode::NoIommu]) {
        let blk = VirtioBlk::new(300);
        let control = blk.control();
        let (kernel, session) = open(mode, model::virtio_blk_with(blk));
        let mut kept = vec![0; virtio_blk::KEPT];
        let report = virtio_blk::run(kernel.clone(), session, &mut kept).unwrap();
        for (step, outcome) in &report.steps {
            assert_eq!(*outcome, Outcome::Passed, "{mode}: {}", step.name());
        }
        assert!(control.medium().iter().all(|byte| *byte == 0));
        assert_nothing_is_left(&kernel);
    }
}

#[test]
fn a_card_that_nobody_answers_fails_and_says_where() {
    let net = VirtioNet::new();
    // The test takes what is sent.
    let _ = net.control().take_sent();
    let (kernel, session) = open(Mode::Iommufd, model::virtio_net_with(net));
    let peer = virtio_net::Peer::default();
    let report = virtio_net::run(kernel, session, peer).unwrap();
    let failed: Vec<_> = report
        .steps
        .iter()
        .filter(|(_, outcome)| !outcome.passed())
        .map(|(step, _)| step.name())
        .collect();
    assert_eq!(failed, ["answer", "interrupt", "restart"]);
}

#[test]
fn what_a_card_and_a_disk_do_not_have_is_told() {
    let (kernel, session) = open(Mode::Iommufd, model::virtio_net());
    let peer = virtio_net::Peer::default();
    let report = virtio_net::run(kernel, session, peer).unwrap();
    let pairs = (virtio_net::Step::Pairs, Outcome::NotThere);
    assert!(report.passed() && report.steps.contains(&pairs));
    let blk = VirtioBlk::new(300).read_only();
    let (kernel, session) = open(Mode::Iommufd, model::virtio_blk_with(blk));
    let report = virtio_blk::run(kernel, session, &mut [0; 4096]).unwrap();
    let keep = (virtio_blk::Step::Keep, Outcome::NotThere);
    assert!(report.steps.contains(&keep), "{report:?}");
    let restore = (virtio_blk::Step::Restore, Outcome::NotRun);
    assert!(report.steps.contains(&restore), "{report:?}");
}

#[test]
fn what_was_on_a_disk_is_put_back_whatever_fails() {
    for fault in [
        VirtioFault::Status(1),
        VirtioFault::UsedId(3000),
        VirtioFault::NeedsReset,
    ] {
        for before in [20, 300, 600] {
            let blk = VirtioBlk::new(300);
            let control = blk.control();
            control.virtio().inject(0, before, fault);
            let (kernel, session) = open(Mode::Iommufd, model::virtio_blk_with(blk));
            let mut kept = vec![0; virtio_blk::KEPT];
            let report = virtio_blk::run(kernel.clone(), session, &mut kept).unwrap();
            let restore = (virtio_blk::Step::Restore, Outcome::Passed);
            assert!(report.steps.contains(&restore), "{fault:?}: {report:?}");
            assert!(control.medium().iter().all(|byte| *byte == 0));
            assert_nothing_is_left(&kernel);
        }
    }
}

#[test]
fn a_device_that_is_no_virtio_device_is_not_tried() {
    let (kernel, session) = open(Mode::Iommufd, model::edu());
    let peer = virtio_net::Peer::default();
    let error = virtio_net::run(kernel, session, peer).unwrap_err();
    assert_eq!(error.to_string(), "1234:11e8 is no virtio device");
}
