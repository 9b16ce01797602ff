//! Finished INFO replies, interpreted: what stands in the buffer after the call.
//!
//! A reply is a buffer of exactly the length that was passed as argsz. Interpreting it checks
//! the whole of it; what comes out can be iterated without another check.

#![forbid(unsafe_code)]

mod device;
mod error;
mod hot_reset;
mod iommu;
mod irq;
mod region;

pub use device::DeviceInfo;
pub use error::{InfoError, Malformed};
pub use hot_reset::HotResetInfo;
pub use iommu::IommuInfo;
pub use irq::IrqInfo;
pub use region::{Mappable, RegionInfo};

use zerocopy::{FromBytes, IntoBytes};

use crate::caps::{Caps, Typed};
use crate::chain::ChainError;

/// What all INFO structures have: argsz, flags that may announce a chain, and its offset.
struct Layout {
    /// The shortest structure that an ioctl accepts, in bytes.
    min: u32,
    /// Where a chain may start at the earliest, in bytes.
    fixed: u32,
    /// Where `cap_offset` ends, in bytes: a shorter argsz has none.
    cap_offset_end: u32,
}

/// The fixed structure at the start of a reply, zeros standing for what a short reply lacks.
#[inline]
fn head<H: FromBytes + IntoBytes>(reply: &[u8], min: u32) -> Result<H, Malformed> {
    if let Ok((head, _)) = H::read_from_prefix(reply) {
        return Ok(head);
    }
    let len = u32::try_from(reply.len()).unwrap_or(u32::MAX);
    if len < min {
        return Err(Malformed::Truncated { len, min });
    }
    let mut head = H::new_zeroed();
    head.as_mut_bytes()
        .iter_mut()
        .zip(reply)
        .for_each(|(to, from)| *to = *from);
    Ok(head)
}

/// How much of a reply its argsz says is there.
#[derive(Clone, Copy)]
enum Extent<'a> {
    /// The reply is cut to argsz.
    Whole(&'a [u8]),
    /// The reply needs so many bytes.
    TooSmall(u32),
}

/// Compares argsz with the reply.
#[inline]
fn extent(reply: &[u8], argsz: u32, min: u32) -> Result<Extent<'_>, Malformed> {
    if argsz < min {
        return Err(Malformed::ArgszBelowStruct { argsz, min });
    }
    let whole = usize::try_from(argsz).ok().and_then(|len| reply.get(..len));
    Ok(whole.map_or(Extent::TooSmall(argsz), Extent::Whole))
}

/// The capabilities of a reply whose CAPS flag is set if `cap_offset` is given.
#[inline]
fn chain<'a, C: Typed<'a>, H>(
    reply: &'a [u8],
    argsz: u32,
    layout: &Layout,
    cap_offset: Option<u32>,
    head: H,
) -> Result<Caps<'a, C>, InfoError<H>> {
    let whole = match extent(reply, argsz, layout.min)? {
        Extent::Whole(whole) => whole,
        Extent::TooSmall(needed) => {
            return Err(InfoError::TooSmall {
                head,
                needed: needed.into(),
            });
        }
    };
    match cap_offset {
        None => Ok(Caps::EMPTY),
        Some(_) if argsz < layout.cap_offset_end => {
            Err(Malformed::Cap(ChainError::Missing.into()).into())
        }
        Some(first) => Ok(Caps::parse(whole, layout.fixed, first).map_err(Malformed::Cap)?),
    }
}
