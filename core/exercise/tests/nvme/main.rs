//! Every step of the NVMe driver, on controllers that have all that it tries and on others.

mod blocks;
#[path = "../../../drivers/tests/nvme/opened.rs"]
mod opened;
mod reads;

use std::sync::atomic::AtomicBool;

use vfio_drivers::nvme::{NvmeError, QueueOptions};
use vfio_exercise::nvme::{KEPT, Lent, Outcome, Report, Step, exercise};
use vfio_hosted::model::{Nvme, NvmeNamespace, NvmeRefusal};
use vfio_hosted::sim::MappingError;

use opened::{OPTIONS, Opened, pattern, two_namespaces};

/// Tries every step of the driver.
fn tried(opened: &Opened) -> Report<MappingError> {
    exercise_in(opened, KEPT)
}

/// Exercises until it is told to end.
fn exercise_until(opened: &Opened, ends: &AtomicBool) -> Report<MappingError> {
    let kept = &mut vec![0; KEPT][..];
    let lent = Lent { kept, ends };
    exercise(&opened.device, opened.bar0(), &opened.dma, OPTIONS, lent)
}

/// Returns how a step went.
fn outcome(report: &Report<MappingError>, step: Step) -> Outcome<MappingError> {
    report
        .steps
        .iter()
        .find(|(known, _)| *known == step)
        .unwrap()
        .1
}

/// Tries every step with `room` bytes to keep blocks in.
fn exercise_in(opened: &Opened, room: usize) -> Report<MappingError> {
    let mut kept = vec![0; room];
    let kept = &mut kept[..];
    let ends = &AtomicBool::new(false);
    let lent = Lent { kept, ends };
    exercise(&opened.device, opened.bar0(), &opened.dma, OPTIONS, lent)
}

#[test]
fn every_step_passes_and_leaves_the_blocks_as_they_were() {
    for nvme in [
        two_namespaces(),
        two_namespaces().with_shadow_doorbells().with_latency(2),
        two_namespaces().with_transfer_shift(1),
        Nvme::new().with_namespace(NvmeNamespace::of_4096(64).with_metadata(false)),
    ] {
        let opened = Opened::new(nvme);
        let controller = opened.start().unwrap();
        let namespace = controller.namespace(1).unwrap();
        let len = usize::try_from(namespace.size()).unwrap();
        let data = pattern(9, len);
        let options = QueueOptions {
            metadata: 1024,
            ..Default::default()
        };
        let mut pair = controller.queue_pair::<8>(options).unwrap();
        pair.write_blocks(&namespace, 0, &data).unwrap();
        drop(pair);
        drop(controller);
        let report = tried(&opened);
        for (step, outcome) in &report.steps {
            assert_eq!(*outcome, Outcome::Passed, "{}", step.name());
        }
        assert!(opened.control.medium(1).unwrap() == data);
        opened.assert_clean();
    }
}

#[test]
fn steps_that_could_not_be_made_are_told() {
    let opened = Opened::new(Nvme::new());
    let report = tried(&opened);
    assert!(!report.passed());
    let outcomes: Vec<_> = report.steps.iter().take(3).copied().collect();
    assert_eq!(
        outcomes,
        [
            (Step::Start, Outcome::Passed),
            (Step::Namespace, Outcome::NotThere),
            (Step::RoundTrip, Outcome::NotRun),
        ]
    );
    opened.assert_clean();
}

#[test]
fn the_exercise_says_what_a_controller_without_queues_lacks() {
    let opened = Opened::new(two_namespaces());
    // That of how many queues there are.
    opened.control.refuse(NvmeRefusal::Feature(0x07));
    let report = tried(&opened);
    let outcomes: Vec<_> = report.steps.iter().take(3).copied().collect();
    let lacks = Outcome::Device(NvmeError::NoQueue { most: 0 });
    assert_eq!(
        outcomes,
        [
            (Step::Start, Outcome::Passed),
            (Step::Namespace, Outcome::Passed),
            (Step::RoundTrip, lacks),
        ]
    );
}

#[test]
fn a_namespace_that_can_not_be_used_is_passed_over() {
    // Blocks of 1 MiB.
    let nvme = Nvme::new().with_namespace(NvmeNamespace::of_512(64).saying(130, &[20]));
    let opened = Opened::new(nvme.with_namespace(NvmeNamespace::of_512(64)));
    let report = tried(&opened);
    assert!(report.passed(), "{report:?}");
    // Without the other, it is said why the first can't be used.
    opened.control.remove_namespace(2);
    let error = NvmeError::Format {
        id: 1,
        index: 0,
        shift: 20,
    };
    let found = outcome(&tried(&opened), Step::Namespace);
    assert_eq!(found, Outcome::Device(error));
}
