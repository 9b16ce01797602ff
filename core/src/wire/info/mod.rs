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

use crate::wire::caps::{Check, Typed};
use crate::wire::chain::ChainError;

/// What all INFO structures have: argsz, flags that may announce a chain, and its offset.
struct Layout {
    /// The shortest structure that an ioctl accepts, in bytes.
    min: u32,
    /// Where a chain may start at the earliest, in bytes.
    fixed: u32,
    /// Where `cap_offset` ends, in bytes: a shorter argsz has none.
    cap_offset_end: u32,
}

/// Reads the fixed structure at the start of a reply. Zeros stand for what a short reply lacks.
#[inline]
fn head<H: FromBytes + IntoBytes>(reply: &[u8], min: u32) -> Result<H, Malformed> {
    match H::read_from_prefix(reply) {
        Ok((head, _)) => Ok(head),
        Err(_) => short_head(reply, min),
    }
}

/// Returns [`head`] of a reply that is shorter than the structure.
#[cold]
fn short_head<H: FromBytes + IntoBytes>(reply: &[u8], min: u32) -> Result<H, Malformed> {
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

/// Tells whether all of the reply is there that its argsz announces.
#[inline]
fn is_whole(reply: &[u8], argsz: u32, min: u32) -> Result<bool, Malformed> {
    if argsz < min {
        return Err(Malformed::ArgszBelowStruct { argsz, min });
    }
    Ok(usize::try_from(argsz).is_ok_and(|len| len <= reply.len()))
}

/// Starts to check the capabilities of a whole reply, whose CAPS flag is set if `cap_offset` is
/// given.
#[inline]
fn chain<'a, C: Typed<'a>>(
    reply: &'a [u8],
    argsz: u32,
    layout: &Layout,
    cap_offset: Option<u32>,
) -> Result<Check<'a, C>, Malformed> {
    match cap_offset {
        None => Ok(Check::EMPTY),
        Some(_) if argsz < layout.cap_offset_end => Err(ChainError::Missing.into()),
        Some(first) => {
            let whole = usize::try_from(argsz).ok().and_then(|len| reply.get(..len));
            Ok(Check::start(whole.unwrap_or(reply), layout.fixed, first)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::*;
    use crate::wire::abi::{self, DeviceFlags};

    /// Decodes a reply of `argsz` bytes that says that capabilities begin at 20.
    fn device(argsz: u32) -> Malformed {
        let info = abi::DeviceInfo {
            argsz,
            flags: DeviceFlags::CAPS,
            cap_offset: 20,
            ..Default::default()
        };
        let reply = info.as_bytes().get(..argsz.try_into().unwrap()).unwrap();
        match DeviceInfo::decode(reply) {
            Err(InfoError::Malformed(error)) => error,
            other => panic!("there are no capabilities: {other:?}"),
        }
    }

    #[test]
    fn an_offset_of_capabilities_is_read_where_all_of_it_is_in_the_reply() {
        let error = ChainError::OutOfBounds {
            offset: 20,
            len: 20,
        };
        assert_eq!(device(20), error.into());
        assert_eq!(device(19), ChainError::Missing.into());
    }
}
