//! The answering side of the ABI: from a description of a device, the replies that the kernel
//! would give, byte for byte.
//!
//! It serves where there is no kernel to ask: behind the simulated kernel, in a unikernel, in
//! anything else that speaks VFIO. `reply` is always the caller's memory, of exactly argsz bytes,
//! with argsz in its first four; what the kernel leaves alone there is left alone here.

#![forbid(unsafe_code)]

mod device;
mod dialect;
mod iommu;
mod irqs;

pub use device::{DeviceReply, HotReset, IrqReply, RegionReply};
pub use dialect::Dialect;
pub use iommu::{IommuDriver, IommuReply};
pub use irqs::{IrqData, IrqRequest};

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::wire::abi::{GroupFlags, GroupStatus};
use crate::wire::caps::Typed;
use crate::wire::chain::{Align, Full, Writer};
use crate::wire::errno::Errno;

/// Answers `VFIO_GROUP_GET_STATUS`.
///
/// # Errors
/// `EINVAL` where `reply` is shorter than the structure.
pub fn group_status(flags: GroupFlags, reply: &mut [u8]) -> Result<(), Errno> {
    let argsz = request::<GroupStatus>(reply, 8)?.argsz;
    put(reply, &GroupStatus { argsz, flags }, 8)
}

/// Returns the caller's structure, at least `min` bytes of which must be there.
fn request<H: FromBytes + IntoBytes + Default>(reply: &[u8], min: usize) -> Result<H, Errno> {
    if reply.len() < min {
        return Err(Errno::EINVAL);
    }
    let mut head = H::default();
    head.as_mut_bytes()
        .iter_mut()
        .zip(reply)
        .for_each(|(to, from)| *to = *from);
    Ok(head)
}

/// Writes the first `len` bytes of the structure, or fewer where the reply is shorter.
fn put<H: IntoBytes + Immutable>(reply: &mut [u8], head: &H, len: usize) -> Result<(), Errno> {
    reply
        .iter_mut()
        .zip(head.as_bytes())
        .take(len)
        .for_each(|(to, from)| *to = *from);
    Ok(())
}

/// Where a chain went.
enum Placed {
    /// It starts behind the fixed structure.
    At(u32),
    /// Bytes that the whole reply needs.
    Needs(u32),
}

/// Writes a chain behind a fixed structure, all of it or nothing.
fn place<'a, C: Typed<'a>>(
    caps: &[C],
    reply: &mut [u8],
    fixed: u32,
    align: Align,
) -> Result<Placed, Errno> {
    let emit = |chain: &mut Writer<'_>| caps.iter().try_for_each(|cap| cap.emit(chain));
    let too_long = |_: Full| Errno::ENOMEM;
    let mut size = Writer::new(&mut [], fixed, align);
    emit(&mut size).map_err(too_long)?;
    let needs = size.len();
    if usize::try_from(needs).is_ok_and(|needs| needs <= reply.len()) {
        emit(&mut Writer::new(reply, fixed, align)).map_err(too_long)?;
        Ok(Placed::At(fixed))
    } else {
        Ok(Placed::Needs(needs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_groups_status_is_its_flags_behind_argsz() {
        let mut reply = [0x5a; 12];
        reply[..4].copy_from_slice(&12_u32.to_ne_bytes());
        group_status(GroupFlags::VIABLE, &mut reply).unwrap();
        assert_eq!(reply[..4], 12_u32.to_ne_bytes());
        assert_eq!(reply[4..8], 1_u32.to_ne_bytes());
        assert_eq!(reply[8..], [0x5a; 4]);
        assert_eq!(
            group_status(GroupFlags::VIABLE, &mut [0; 7]),
            Err(Errno::EINVAL)
        );
    }
}
