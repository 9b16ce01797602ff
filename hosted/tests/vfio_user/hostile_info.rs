//! Servers whose answers about regions lie: an error, and never a region that is mapped as a whole.

use vfio_core::query::QueryError;
use vfio_core::sys::Errno;
use vfio_core::wire::abi::pci_region;
use vfio_core::wire::vfio_user::CommandId;
use vfio_hosted::model;

use crate::proxy::{Fate, Passing, Proxy};
use crate::{Serving, alone, files, open, sys};

/// Where the structure begins in a message.
const BODY: usize = 16;

/// Replaces the answer by one of region 7, which is asked about first, with `argsz`, `cap_offset` and what is behind.
fn answer(passing: &mut Passing, argsz: u32, cap_offset: u32, behind: &[u32]) -> Fate {
    // Flags: read, write, map, capabilities.
    let words = [argsz, 0xf, pci_region::CONFIG, cap_offset];
    let words = words.iter().chain(&[0x1000, 0, 0, 0]).chain(behind);
    passing.bytes.truncate(BODY);
    passing
        .bytes
        .extend(words.flat_map(|word| word.to_ne_bytes()));
    let size = u32::try_from(passing.bytes.len()).unwrap();
    passing.bytes[4..8].copy_from_slice(&size.to_ne_bytes());
    Fate::Arrives
}

/// Returns the head of a list of areas at 32: its id and version, what is next, and how many there
/// are.
const fn sparse(next: u32, count: u32) -> [u32; 4] {
    [0x1_0001, next, count, 0]
}

/// One lie a row, and the error.
type Row = (&'static str, fn(&mut Passing) -> Fate, Errno);

const ROWS: [Row; 16] = [
    (
        "argsz 0",
        |passing| answer(passing, 0, 0, &[]),
        Errno::EPROTO,
    ),
    (
        "argsz 31",
        |passing| answer(passing, 31, 0, &[]),
        Errno::EPROTO,
    ),
    (
        "argsz past the message",
        |passing| answer(passing, 48, 32, &[]),
        Errno::EPROTO,
    ),
    (
        "argsz of 4 GiB",
        |passing| answer(passing, u32::MAX, 32, &[]),
        Errno::EMSGSIZE,
    ),
    (
        "argsz past what was asked for",
        |passing| answer(passing, 4097, 32, &[]),
        Errno::EMSGSIZE,
    ),
    (
        "no chain",
        |passing| answer(passing, 32, 0, &[]),
        Errno::EPROTO,
    ),
    (
        "a chain in the structure",
        |passing| answer(passing, 48, 16, &sparse(0, 0)),
        Errno::EPROTO,
    ),
    (
        "a chain past the end",
        |passing| answer(passing, 48, 48, &sparse(0, 0)),
        Errno::EPROTO,
    ),
    (
        "a chain that points at itself",
        |passing| answer(passing, 48, 32, &sparse(32, 0)),
        Errno::EPROTO,
    ),
    (
        "a chain that goes back",
        |passing| answer(passing, 48, 32, &sparse(8, 0)),
        Errno::EPROTO,
    ),
    (
        "more areas than there are",
        |passing| answer(passing, 48, 32, &sparse(0, 1)),
        Errno::EPROTO,
    ),
    (
        "4 G areas",
        |passing| answer(passing, 48, 32, &sparse(0, u32::MAX)),
        Errno::EPROTO,
    ),
    (
        "an area past the region",
        |passing| {
            let area = [sparse(0, 1), [0x1000, 0, 1, 0]].concat();
            answer(passing, 64, 32, &area)
        },
        Errno::EPROTO,
    ),
    (
        "areas that overlap",
        |passing| {
            let areas = [sparse(0, 2), [0, 0, 0x800, 0], [0x400, 0, 0x800, 0]].concat();
            answer(passing, 80, 32, &areas)
        },
        Errno::EPROTO,
    ),
    (
        "another region",
        |passing| {
            let fate = answer(passing, 32, 0, &[]);
            passing.bytes[BODY + 4] = 3;
            passing.bytes[BODY + 8] = 6;
            fate
        },
        Errno::EPROTO,
    ),
    (
        "the same capability twice",
        |passing| {
            let twice = [sparse(48, 0), sparse(0, 0)].concat();
            answer(passing, 64, 32, &twice)
        },
        Errno::EPROTO,
    ),
];

#[test]
fn an_answer_about_a_region_that_lies_is_an_error() {
    let _alone = alone();
    let before = files();
    let serving = Serving::new(model::edu());
    for (name, change, errno) in ROWS {
        let command = CommandId::DEVICE_GET_REGION_INFO;
        let proxy = Proxy::new(serving.folder.path(), &serving.path(), command, change);
        let sys = sys();
        let error = open(&sys, proxy.path()).err();
        let told = error.map(|error| error.to_string());
        let expected = format!("the device can't be opened: {errno}");
        assert_eq!(told, Some(expected), "{name}");
        drop(sys);
        proxy.end();
    }
    drop(serving.stop());
    assert_eq!(files(), before);
}

#[test]
fn as_many_areas_as_are_taken_are_checked_in_no_time() {
    let _alone = alone();
    let serving = Serving::new(model::edu());
    let change: fn(&mut Passing) -> Fate = |passing| {
        // 253 of them, in no order: as many as an answer of 4096 bytes has.
        let mut areas = sparse(0, 253).to_vec();
        for n in (0..253).rev() {
            areas.extend([n * 16, 0, 8, 0]);
        }
        answer(passing, 32 + 16 + 253 * 16, 32, &areas)
    };
    let command = CommandId::DEVICE_GET_REGION_INFO;
    let proxy = Proxy::new(serving.folder.path(), &serving.path(), command, change);
    let session = open(&sys(), proxy.path()).unwrap();
    let mut reply = [0; 64];
    let begun = std::time::Instant::now();
    let config = session.device.region(pci_region::CONFIG, &mut reply);
    assert!(config.is_ok(), "{config:?}");
    let none = session.device.region(99, &mut reply);
    assert_eq!(none, Err(QueryError::Errno(Errno::EINVAL)));
    assert!(begun.elapsed() < std::time::Duration::from_millis(50));
    drop(session);
    proxy.end();
    drop(serving.stop());
}
