//! The answering side gives the bytes and error numbers that kernels gave.
//!
//! A device is described from its replies to an ample buffer; from the description, every
//! captured reply must come out again, byte for byte, at every argsz and every index.

use std::collections::BTreeMap;

use vfio_conformance::described::Described;
use vfio_conformance::fixture::{self, Fixture};
use vfio_conformance::outcome::Kind;
use vfio_core::sys::Errno;
use vfio_core::wire::server::{DeviceReply, Dialect, IommuDriver, IommuReply};

/// Which kernel, which device, reached how.
type Subject = (String, String, String);

fn subject(fixture: &Fixture) -> Subject {
    (
        fixture.source.clone(),
        fixture.label.clone(),
        fixture.via.clone(),
    )
}

/// Returns the captured replies of kernels, by device.
fn captured() -> BTreeMap<Subject, Vec<Fixture>> {
    let mut devices: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for fixture in fixture::index() {
        if fixture.source.starts_with("linux") {
            devices.entry(subject(&fixture)).or_default().push(fixture);
        }
    }
    devices
}

/// Returns how the kernel and the kernel driver behind a device answer.
fn dialect(fixture: &Fixture) -> Dialect {
    match fixture.label.split('-').next() {
        _ if fixture.source.starts_with("linux 6.1.") => Dialect::LINUX_6_1,
        Some("mbochs" | "mdpy") => Dialect::MDEV_DISPLAY,
        Some("mtty") => Dialect::MDEV,
        _ => Dialect::LINUX_6_6,
    }
}

/// Returns the driver behind the container that a device was reached through.
fn driver(fixture: &Fixture) -> IommuDriver {
    match fixture.via.as_str() {
        "group-iommufd-compat" => IommuDriver::Iommufd,
        _ => IommuDriver::Type1,
    }
}

/// Returns the device that the ample replies describe.
fn described(fixtures: &[Fixture]) -> Described {
    let first = fixtures.first().expect("a device has replies");
    let mut described = Described::new(dialect(first), driver(first));
    let ample = fixtures.iter().filter(|fixture| {
        fixture.argsz_in == 4096 && fixture.prefill == "a5" && fixture.result().is_ok()
    });
    for fixture in ample {
        described.add(fixture.kind(), fixture.index.unwrap_or(0), &fixture.bytes());
    }
    described
}

/// Compares the answers to each captured call of one source; there must be `count` of them.
fn check(source: &str, count: usize) {
    let mut compared = 0;
    let mut wrong = Vec::new();
    for (subject, fixtures) in captured() {
        if !subject.0.starts_with(source) {
            continue;
        }
        let described = described(&fixtures);
        for fixture in &fixtures {
            let mut reply = fixture.buffer_before();
            let answer = described.answer(fixture.kind(), &mut reply);
            let captured = fixture.bytes();
            // Of a call that failed, no more than the structure was kept.
            let same = reply.get(..captured.len()) == Some(&captured)
                && reply[captured.len()..] == fixture.buffer_before()[captured.len()..];
            if !same || answer != fixture.result() {
                let differs = reply.iter().zip(&captured).position(|(a, b)| a != b);
                wrong.push(format!(
                    "{}: {answer:?} instead of {:?}, first other byte {differs:?}",
                    fixture.file,
                    fixture.result()
                ));
            }
            compared += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(compared, count);
}

#[test]
fn linux_6_1() {
    check("linux 6.1.", 161);
}

#[test]
fn linux_6_12() {
    check("linux 6.12.", 56);
}

#[test]
fn linux_7_3() {
    check("linux 7.3.", 122);
}

#[test]
fn requests_of_other_files_are_refused() {
    let mut reply = [0; 64];
    let device = DeviceReply::default();
    let iommu = IommuReply::default();
    assert_eq!(
        device.answer(Kind::Iommu.request(), &mut reply),
        Err(Errno::ENOTTY)
    );
    for kind in [Kind::Device, Kind::Region, Kind::Irq, Kind::HotReset] {
        assert_eq!(iommu.answer(kind.request(), &mut reply), Err(Errno::ENOTTY));
    }
    assert_eq!(reply, [0; 64]);
}
