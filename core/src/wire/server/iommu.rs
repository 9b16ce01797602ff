//! The ioctls of a container's IOMMU.

use zerocopy::IntoBytes;

use super::{Dialect, Placed, place, put, request};
use crate::wire::abi::{IommuCapId, IommuInfoFlags, IommuType1Info};
use crate::wire::caps::{IommuCap, Typed};
use crate::wire::chain::{Align, Writer};
use crate::wire::errno::Errno;
use crate::wire::request::InfoRequest;

/// An IOMMU to answer for.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct IommuReply<'a> {
    /// Who answers.
    pub driver: IommuDriver,
    /// A bit for each size, in bytes, that a mapping is made of.
    pub iova_pgsizes: u64,
    /// The capabilities, in the driver's order.
    pub caps: &'a [IommuCap<'a>],
    /// The kernel to answer like.
    pub dialect: Dialect,
}

/// Who implements a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum IommuDriver {
    /// vfio_iommu_type1. Its order is migration, DMA available, IOVA range.
    #[default]
    Type1,
    /// iommufd's compatible container. Its order is DMA available, IOVA range. It always says
    /// the total size in argsz, and writes what fits of a chain that does not.
    Iommufd,
}

/// Bytes of the structure in every 64-bit kernel.
const FIXED: u32 = 24;

impl IommuReply<'_> {
    /// Answers an INFO ioctl on the container.
    ///
    /// # Errors
    /// What the kernel returns: `EINVAL` for a reply shorter than the structure, `ENOTTY` for a
    /// request that is not a container's.
    pub fn answer(&self, asked: InfoRequest, reply: &mut [u8]) -> Result<(), Errno> {
        if asked != InfoRequest::Iommu {
            return Err(Errno::ENOTTY);
        }
        let mut info = IommuType1Info {
            argsz: request::<IommuType1Info>(reply, 16)?.argsz,
            flags: IommuInfoFlags::PGSIZES,
            iova_pgsizes: self.iova_pgsizes,
            ..Default::default()
        };
        match self.driver {
            // No chain, and no flag that announces one.
            _ if self.caps.is_empty() => (),
            IommuDriver::Type1 => {
                info.flags |= IommuInfoFlags::CAPS;
                match place(self.caps, reply, FIXED, self.dialect.align)? {
                    Placed::At(offset) => info.cap_offset = offset,
                    Placed::Needs(len) => info.argsz = len,
                }
            }
            IommuDriver::Iommufd => {
                info.flags |= IommuInfoFlags::CAPS;
                info.argsz = self.place_in_part(reply)?;
                if usize::try_from(info.argsz).is_ok_and(|total| total <= reply.len()) {
                    info.cap_offset = FIXED;
                }
            }
        }
        put(reply, &info, self.dialect.iommu_written)
    }

    /// Writes as much of the chain as iommufd does, and returns the size of the whole.
    fn place_in_part(&self, reply: &mut [u8]) -> Result<u32, Errno> {
        let mut start = FIXED;
        for (n, cap) in self.caps.iter().enumerate() {
            let mut size = Writer::new(&mut [], start, Align::Eight);
            cap.emit(&mut size).map_err(|_| Errno::ENOMEM)?;
            let end = size.len();
            let is_last = n.checked_add(1) == Some(self.caps.len());
            let fits = |end: u32| usize::try_from(end).is_ok_and(|end| end <= reply.len());
            let next = if is_last || !fits(end) { 0 } else { end };
            match cap {
                // The padding behind it is not written.
                IommuCap::DmaAvail { avail } => {
                    let parts: [&[u8]; 3] = [
                        &id(IommuCapId::DMA_AVAIL),
                        &next.to_ne_bytes(),
                        &avail.to_ne_bytes(),
                    ];
                    write_whole(reply, start, &parts);
                }
                IommuCap::IovaRange(ranges) => {
                    let count = u32::try_from(ranges.len()).map_err(|_| Errno::ENOMEM)?;
                    let header: [&[u8]; 4] = [
                        &id(IommuCapId::IOVA_RANGE),
                        &next.to_ne_bytes(),
                        &count.to_ne_bytes(),
                        &[0; 4],
                    ];
                    // Each range that fits is written; the header only with all of them.
                    let whole = fits(end);
                    for (range, offset) in
                        ranges.iter().zip((start.saturating_add(16)..).step_by(16))
                    {
                        write_whole(reply, offset, &[range.as_bytes()]);
                    }
                    if whole {
                        write_whole(reply, start, &header);
                    }
                }
                // Not in iommufd's chains: written like type1's, whole or not at all.
                other => {
                    let mut chain = Writer::new(reply, start, Align::Eight);
                    other.emit(&mut chain).map_err(|_| Errno::ENOMEM)?;
                    if next != 0 {
                        write_whole(reply, start.saturating_add(4), &[&next.to_ne_bytes()]);
                    }
                }
            }
            start = end;
        }
        Ok(start)
    }
}

/// Returns the id and version of a capability, as they stand in memory.
const fn id(id: IommuCapId) -> [u8; 4] {
    let [a, b] = id.0.to_ne_bytes();
    let [c, d] = 1_u16.to_ne_bytes();
    [a, b, c, d]
}

/// Writes `parts` at `offset`, where there is room for all of them.
fn write_whole(reply: &mut [u8], offset: u32, parts: &[&[u8]]) {
    let len = parts
        .iter()
        .fold(0_usize, |len, part| len.saturating_add(part.len()));
    let room = usize::try_from(offset)
        .ok()
        .and_then(|start| reply.get_mut(start..))
        .and_then(|rest| rest.get_mut(..len));
    if let Some(room) = room {
        room.iter_mut()
            .zip(parts.iter().copied().flatten())
            .for_each(|(to, from)| *to = *from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::info::IommuInfo;
    use crate::wire::put_argsz;

    #[test]
    fn no_capabilities_are_no_chain_from_either_driver() {
        for driver in [IommuDriver::Type1, IommuDriver::Iommufd] {
            let iommu = IommuReply {
                driver,
                ..IommuReply::default()
            };
            let mut reply = [0; 64];
            put_argsz(&mut reply).unwrap();
            iommu.answer(InfoRequest::Iommu, &mut reply).unwrap();
            let info = IommuInfo::decode(&reply).unwrap();
            assert_eq!(info.flags, IommuInfoFlags::PGSIZES);
            assert!(info.caps.is_empty());
        }
    }
}
