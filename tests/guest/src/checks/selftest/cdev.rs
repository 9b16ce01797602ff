//! The character device, step by step (`vfio_iommufd_setup_test`).

use std::ffi::CString;

use anyhow::{Context as _, Result, ensure};
use vfio_core::device::Device as Opened;
use vfio_core::open::iommufd::Ioas;
use vfio_core::query::QueryError;
use vfio_core::sys::{Errno, Exchange, ExchangeRequest, Sys as _};
use vfio_core::wire::abi::{DeviceAttachIommufdPt, DeviceBindIommufd};
use vfio_guest::Device;
use vfio_hosted::linux::{Fd, Linux};
use zerocopy::IntoBytes as _;

use crate::mode::bound;
use crate::world::{World, cdev};

/// Checks that a device that is bound answers.
pub(crate) fn bind(_: &World, device: &Device) -> Result<String> {
    let (_ioas, opened) = bound_only(device)?;
    opened.info(&mut [0; 512])?;
    Ok("it answers".into())
}

/// Checks that a device that is not bound does not answer.
pub(crate) fn info_without_bind(_: &World, device: &Device) -> Result<String> {
    let opened = Opened::new(Linux, open(device)?);
    let mut buffer = [0; 512];
    let info = opened.info(&mut buffer);
    ensure!(
        matches!(info, Err(QueryError::Errno(Errno::EINVAL))),
        "{info:?}"
    );
    Ok("EINVAL".into())
}

/// Checks that a device can't be bound to what is no iommufd.
pub(crate) fn bind_to_no_iommufd(_: &World, device: &Device) -> Result<String> {
    let fd = open(device)?;
    let bound = bind_raw(&fd, &fd);
    ensure!(bound.is_err(), "{bound:?}");
    Ok(format!("{bound:?}"))
}

/// Checks that a device can be bound once.
pub(crate) fn bind_twice(_: &World, device: &Device) -> Result<String> {
    let fd = open(device)?;
    let iommufd = Linux.open(c"/dev/iommu")?;
    bind_raw(&fd, &iommufd).context("once")?;
    let again = bind_raw(&fd, &iommufd);
    ensure!(again == Err(Errno::EINVAL), "{again:?}");
    Ok("EINVAL".into())
}

/// Checks that a device can be attached, detached, and attached again.
pub(crate) fn attach_and_detach(_: &World, device: &Device) -> Result<String> {
    let (ioas, opened) = bound_only(device)?;
    for _ in 0..2 {
        ioas.attach_device(&opened).context("attach")?;
        ioas.detach_device(&opened).context("detach")?;
    }
    Ok("twice".into())
}

/// Checks that a device can't be attached to what is not there.
pub(crate) fn attach_to_nothing(_: &World, device: &Device) -> Result<String> {
    let fd = open(device)?;
    let iommufd = Linux.open(c"/dev/iommu")?;
    bind_raw(&fd, &iommufd).context("bind")?;
    let mut attach = DeviceAttachIommufdPt {
        pt_id: u32::MAX,
        ..Default::default()
    };
    let request = ExchangeRequest::AttachIommufdPt;
    let attached = Linux.exchange(&fd, Exchange::new(request, attach.as_mut_bytes())?);
    ensure!(attached == Err(Errno::ENOENT), "{attached:?}");
    Ok("ENOENT".into())
}

fn bound_only(device: &Device) -> Result<(Ioas<Linux>, Opened<Linux>)> {
    // Whether there is a character device at all comes first.
    cdev(device)?;
    let ioas = Ioas::open(Linux)?;
    let opened = bound(&ioas, device, Ioas::bind)?;
    Ok((ioas, opened))
}

fn open(device: &Device) -> Result<Fd> {
    let path = CString::new(cdev(device)?)?;
    Linux.open(&path).with_context(|| format!("{path:?}"))
}

fn bind_raw(fd: &Fd, iommufd: &Fd) -> Result<u32, Errno> {
    let mut bind = DeviceBindIommufd::default();
    let iommufd = [iommufd];
    Linux.exchange(fd, Exchange::bind_iommufd(&mut bind, &iommufd, None))
}
