//! Any bytes as each of the five replies, as the report describes them, and as its JSON.
#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use vfio_core::wire::info::{DeviceInfo, HotResetInfo, InfoError, IommuInfo, IrqInfo, RegionInfo};
use vfio_fuzz::reader;
use vfio_hosted::report::{Kind, Status, decode};

fuzz_target!(|reply: &[u8]| {
    check(Kind::Device, reply, DeviceInfo::decode(reply));
    check(Kind::Region, reply, RegionInfo::decode(reply));
    check(Kind::Iommu, reply, IommuInfo::decode(reply));
    check(Kind::Irq, reply, IrqInfo::decode(reply));
    check(Kind::HotReset, reply, HotResetInfo::decode(reply));
});

/// Checks that the report says of a reply what the crate says, in text that is JSON.
fn check<T: Debug, H: Debug>(kind: Kind, reply: &[u8], expected: Result<T, InfoError<H>>) {
    let described = decode(kind, reply);
    match (&described, &expected) {
        (Ok(described), Ok(_)) => {
            assert_ne!(described.status, Status::BufferTooSmall);
            assert_eq!(described.needed, None);
        }
        (Ok(described), Err(InfoError::TooSmall { needed, .. })) => {
            assert_eq!(described.status, Status::BufferTooSmall);
            assert_eq!(described.needed, Some(*needed));
        }
        (Err(error), Err(InfoError::Malformed(malformed))) => assert_eq!(error, malformed),
        _ => panic!("{described:?}, and the reply is {expected:?}"),
    }
    if let Ok(described) = described {
        assert_eq!(described.kind, kind);
        reader::check_json(&described);
    }
}
