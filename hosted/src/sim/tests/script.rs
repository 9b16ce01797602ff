//! Models whose replies a test gives.

use vfio_core::query::{self, QueryError};
use vfio_core::sys::InfoRequest;
use vfio_core::wire::abi::{self, DeviceFlags};

use super::*;
use crate::model::Script;

/// Returns the bytes of a reply to `VFIO_DEVICE_GET_INFO`.
fn info(argsz: u32, regions: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    let fields = [argsz, DeviceFlags::PCI.bits(), regions, 5];
    for (slot, field) in bytes.chunks_mut(4).zip(fields) {
        slot.copy_from_slice(&field.to_ne_bytes());
    }
    bytes
}

#[test]
fn replies_come_in_order_and_the_last_one_stays() {
    let script = Script::new()
        .reply(InfoRequest::Device, info(24, 9))
        .fail(InfoRequest::Device, Errno::EIO)
        .reply(InfoRequest::Device, info(24, 12));
    let Opened { kernel, device, .. } = open(script.into());
    let regions = || query::device(&kernel, &device, &mut [0; 24]).map(|info| info.num_regions);
    assert_eq!(regions(), Ok(9));
    assert_eq!(regions(), Err(QueryError::Errno(Errno::EIO)));
    assert_eq!(regions(), Ok(12));
    assert_eq!(regions(), Ok(12));
    let region = query::region(&kernel, &device, 0, &mut [0; 32]).err();
    assert_eq!(region, Some(QueryError::Errno(Errno::EINVAL)));
}

#[test]
fn a_reply_is_cut_to_the_buffer() {
    let script = Script::new().reply(InfoRequest::Device, [0x5a; 64]);
    let Opened { kernel, device, .. } = open(script.into());
    let mut reply = [0; 20];
    kernel
        .ioctl_info(&device, InfoRequest::Device, &mut reply)
        .unwrap();
    assert_eq!(reply, [0x5a; 20]);
}

#[test]
fn a_function_sees_the_question_and_answers_for_the_iommu_too() {
    let model = Model::scripted(|request, reply| match request {
        InfoRequest::Iommu => {
            reply[4..8].copy_from_slice(&1_u32.to_ne_bytes());
            reply[8..16].copy_from_slice(&0x1000_u64.to_ne_bytes());
            Ok(())
        }
        InfoRequest::Region => {
            assert_eq!(reply[..4], 32_u32.to_ne_bytes());
            let index = u32::from_ne_bytes(reply[8..12].try_into().unwrap());
            reply[16..24].copy_from_slice(&(u64::from(index) * 4096).to_ne_bytes());
            Ok(())
        }
        _ => Err(Errno::ENOTTY),
    });
    let opened = open(model);
    let Opened { kernel, device, .. } = &opened;
    let iommu = query::iommu(kernel, &opened.container, &mut [0; 24]).map(|info| info.iova_pgsizes);
    assert_eq!(iommu, Ok(0x1000));
    for index in [0, 7, 40] {
        let size = query::region(kernel, device, index, &mut [0; 32]).map(|info| info.size);
        assert_eq!(size, Ok(u64::from(index) * 4096));
    }
    let hot_reset = query::hot_reset(kernel, device, &mut [0; 64]).err();
    assert_eq!(hot_reset, Some(QueryError::Errno(Errno::ENOTTY)));
}

#[test]
fn a_reply_that_always_grows_ends() {
    let mut argsz = 24_u32;
    let model = Model::scripted(move |_, reply| {
        argsz += 8;
        reply[..4].copy_from_slice(&argsz.to_ne_bytes());
        Ok(())
    });
    let Opened { kernel, device, .. } = open(model);
    let before = kernel.calls().ioctl_info;
    let (mut small, mut large) = ([0; 24], [0; 4096]);
    let mut buffer = query::Staged::new(&mut small, &mut large);
    let info: Result<_, QueryError<abi::DeviceInfo>> =
        query::device(&kernel, &device, &mut buffer).map(|info| info.flags);
    // The second reply fits the larger buffer.
    assert_eq!(info, Ok(DeviceFlags::empty()));
    assert_eq!(kernel.calls().ioctl_info - before, 2);
}
