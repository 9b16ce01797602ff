//! The INFO protocol: ask with the whole buffer, and once more where the answer says so.
//!
//! The first call passes the whole buffer, so that the common case is one ioctl. A reply that
//! needs more is asked for again only where the buffer can grow ([`ReplyBuffer::grow`]), and at
//! most [`MAX_CALLS`] times: the kernel's answer may grow between two calls, and a hostile one
//! always does. With a buffer that can't grow, [`QueryError::TooSmall`] carries the fixed
//! structure and the size that is needed.

#![forbid(unsafe_code)]

mod buffer;
mod error;

#[cfg(feature = "std")]
pub use buffer::VEC_LIMIT;
pub use buffer::{ReplyBuffer, Staged};
pub use error::QueryError;

use zerocopy::{FromZeros, Immutable, IntoBytes};

use crate::sys::{Errno, InfoRequest, Sys};
use crate::wire::abi;
use crate::wire::info::{
    DeviceInfo, HotResetInfo, InfoError, IommuInfo, IrqInfo, Malformed, RegionInfo,
};

/// How many times one question is asked at most.
pub const MAX_CALLS: u32 = 4;

/// Asks a device about itself (`VFIO_DEVICE_GET_INFO`). 24 bytes hold the answer of a device
/// without capabilities.
///
/// # Errors
/// [`QueryError`]
#[inline]
pub fn device<'b, S: Sys, B: ReplyBuffer + ?Sized>(
    sys: &S,
    device: &S::Fd,
    buffer: &'b mut B,
) -> Result<DeviceInfo<'b>, QueryError<abi::DeviceInfo>> {
    ask(sys, device, InfoRequest::Device, 0, buffer, |reply| {
        needs_more(DeviceInfo::decode(reply))
    })?;
    Ok(DeviceInfo::decode(buffer.bytes())?)
}

/// Asks a device about the region `index` (`VFIO_DEVICE_GET_REGION_INFO`). 32 bytes hold the
/// answer of a region without capabilities.
///
/// # Errors
/// [`QueryError`]; a region that is not there is [`Errno::EINVAL`].
#[inline]
pub fn region<'b, S: Sys, B: ReplyBuffer + ?Sized>(
    sys: &S,
    device: &S::Fd,
    index: u32,
    buffer: &'b mut B,
) -> Result<RegionInfo<'b>, QueryError<abi::RegionInfo>> {
    ask(sys, device, InfoRequest::Region, index, buffer, |reply| {
        needs_more(RegionInfo::decode(reply))
    })?;
    let info = RegionInfo::decode(buffer.bytes())?;
    same_index(index, info.index)?;
    Ok(info)
}

/// Asks a device about the interrupt `index` (`VFIO_DEVICE_GET_IRQ_INFO`).
///
/// # Errors
/// [`QueryError`]; an interrupt that is not there is [`Errno::EINVAL`].
#[inline]
pub fn irq<S: Sys>(
    sys: &S,
    device: &S::Fd,
    index: u32,
) -> Result<IrqInfo, QueryError<abi::IrqInfo>> {
    // The flags start from zero: some kernel drivers never write them.
    let mut reply = abi::IrqInfo {
        index,
        ..Default::default()
    };
    sys.ioctl_info(device, InfoRequest::Irq, reply.as_mut_bytes())?;
    let info = IrqInfo::decode(reply.as_bytes())?;
    same_index(index, info.index)?;
    Ok(info)
}

/// Asks a container about its IOMMU (`VFIO_IOMMU_GET_INFO`). 256 bytes hold the answer of the
/// machines that were seen.
///
/// # Errors
/// [`QueryError`]
#[inline]
pub fn iommu<'b, S: Sys, B: ReplyBuffer + ?Sized>(
    sys: &S,
    container: &S::Fd,
    buffer: &'b mut B,
) -> Result<IommuInfo<'b>, QueryError<abi::IommuType1Info>> {
    ask(sys, container, InfoRequest::Iommu, 0, buffer, |reply| {
        needs_more(IommuInfo::decode(reply))
    })?;
    Ok(IommuInfo::decode(buffer.bytes())?)
}

/// Asks a device which others a hot reset takes along (`VFIO_DEVICE_GET_PCI_HOT_RESET_INFO`).
/// The answer takes 12 bytes and 8 for each device.
///
/// # Errors
/// [`QueryError`]; a device that can't be reset this way is [`Errno::ENODEV`], and one that is
/// not of PCI [`Errno::ENOTTY`].
#[inline]
pub fn hot_reset<'b, S: Sys, B: ReplyBuffer + ?Sized>(
    sys: &S,
    device: &S::Fd,
    buffer: &'b mut B,
) -> Result<HotResetInfo<'b>, QueryError<abi::PciHotResetInfo>> {
    let asked = ask(sys, device, InfoRequest::PciHotReset, 0, buffer, |reply| {
        needs_more(HotResetInfo::decode(reply))
    });
    let info = HotResetInfo::decode(buffer.bytes());
    match asked {
        // The list did not fit, and its length was filled in.
        Err(QueryError::Errno(Errno::ENOSPC)) => match info {
            Ok(_) => Err(Errno::ENOSPC.into()),
            Err(error) => Err(error.into()),
        },
        Err(error) => Err(error),
        Ok(()) => Ok(info?),
    }
}

/// Asks until the reply is whole, the buffer can't grow, or the calls are used up. What has no
/// index is asked for with 0.
#[inline]
fn ask<S: Sys, B: ReplyBuffer + ?Sized, H: FromZeros + IntoBytes + Immutable>(
    sys: &S,
    fd: &S::Fd,
    request: InfoRequest,
    index: u32,
    buffer: &mut B,
    needs_more: impl Fn(&[u8]) -> Option<u64>,
) -> Result<(), QueryError<H>> {
    let mut answer = Ok(());
    for call in 1..=MAX_CALLS {
        let reply = buffer.bytes();
        if put_head::<H>(reply, index).is_none() {
            return Err(QueryError::Malformed(truncated::<H>(reply)));
        }
        answer = sys.ioctl_info(fd, request, reply);
        let is_final = !matches!(answer, Ok(()) | Err(Errno::ENOSPC));
        // A buffer that grows behind the last call would hold an answer to a shorter one.
        if !B::GROWS || is_final || call == MAX_CALLS {
            break;
        }
        match needs_more(buffer.bytes()) {
            Some(needed) if buffer.grow(needed) => {
                debug!("the reply needs {} bytes: asking again", needed);
            }
            _ => break,
        }
    }
    Ok(answer?)
}

/// Puts a cleared structure with an index at the start of a reply, where there is room for it.
#[inline]
fn put_head<H: FromZeros + IntoBytes + Immutable>(reply: &mut [u8], index: u32) -> Option<()> {
    H::new_zeroed().write_to_prefix(reply).ok()?;
    // Behind argsz and the flags, in every structure that has an index.
    let (_, rest) = reply.split_at_mut_checked(8)?;
    *rest.first_chunk_mut()? = index.to_ne_bytes();
    Some(())
}

/// Returns the error of a buffer that is shorter than the structure.
#[cold]
fn truncated<H>(reply: &[u8]) -> Malformed {
    let number = |len| u32::try_from(len).unwrap_or(u32::MAX);
    Malformed::Truncated {
        len: number(reply.len()),
        min: number(size_of::<H>()),
    }
}

/// Returns the size that a reply needs, where it did not fit.
#[inline]
fn needs_more<T, H>(decoded: Result<T, InfoError<H>>) -> Option<u64> {
    match decoded {
        Err(InfoError::TooSmall { needed, .. }) => Some(needed),
        _ => None,
    }
}

/// Checks that the reply is for the index that was asked about.
#[inline]
fn same_index<H>(asked: u32, got: u32) -> Result<(), QueryError<H>> {
    if asked == got {
        Ok(())
    } else {
        Err(QueryError::Malformed(Malformed::WrongIndex { asked, got }))
    }
}
