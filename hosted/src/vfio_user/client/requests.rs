//! Requests of the kernel's, as the commands of a server.

use std::ops::Range;
use std::os::fd::AsFd as _;

use vfio_core::sys::{Errno, InfoRequest};
use vfio_core::wire::abi::{
    DeviceFeature, DmaUnmapFlags, FeatureFlags, IommuType1DmaMap, IommuType1DmaUnmap, IovaRange,
};
use vfio_core::wire::caps::{Array, IommuCap};
use vfio_core::wire::server::{Dialect, IommuReply};
use vfio_core::wire::vfio_user::{self, Command, DmaMapFlags, DmaUnmap, MessageError};
use zerocopy::{FromBytes, IntoBytes};

use super::connection::Link;
use super::memory::Shared;
use super::space::Mapped;

impl Link {
    /// Asks about the device, or about an interrupt of it.
    pub(super) fn device_info(
        &mut self,
        request: InfoRequest,
        reply: &mut [u8],
    ) -> Result<(), Errno> {
        let argsz = u32::try_from(reply.len()).unwrap_or(u32::MAX);
        let index = reply.get(8..).and_then(|rest| rest.first_chunk());
        let index = index.copied().map_or(0, u32::from_ne_bytes);
        let command = match request {
            InfoRequest::Device => Command::GetInfo { argsz },
            InfoRequest::Irq => Command::GetIrqInfo { argsz, index },
            InfoRequest::Region => return self.region_info(index, reply),
            InfoRequest::Iommu | InfoRequest::GroupStatus | InfoRequest::PciHotReset => {
                return Err(Errno::ENOTTY);
            }
        };
        let least = 16;
        if reply.len() < least {
            return Err(Errno::EINVAL);
        }
        self.ask(&command, &[], 0, |body| {
            // As long as it says, or as there is room for.
            let said = body.first_chunk().copied().map_or(0, u32::from_ne_bytes);
            let said = usize::try_from(said).unwrap_or(usize::MAX);
            let needed = said.min(reply.len()).max(least);
            if body.len() < needed {
                return Err(MessageError::Truncated {
                    len: u32::try_from(body.len().saturating_add(16)).unwrap_or(u32::MAX),
                    min: u32::try_from(needed.saturating_add(16)).unwrap_or(u32::MAX),
                });
            }
            // What is not the answer's stays as it is.
            for (to, from) in reply.iter_mut().zip(body).take(needed) {
                *to = *from;
            }
            Ok(())
        })
    }

    /// Answers what a container is asked about its IOMMU.
    pub(super) fn iommu_info(&self, reply: &mut [u8]) -> Result<(), Errno> {
        let everything = [IovaRange {
            start: 0,
            end: u64::MAX,
        }];
        let used = u64::try_from(self.space.len()).unwrap_or(u64::MAX);
        let left = self.server.max_dma_maps.saturating_sub(used);
        let caps = [
            IommuCap::DmaAvail {
                avail: u32::try_from(left).unwrap_or(u32::MAX),
            },
            IommuCap::IovaRange(Array::new(&everything)),
        ];
        let iommu = IommuReply {
            iova_pgsizes: self.page_sizes(),
            caps: &caps,
            dialect: Dialect::LINUX_6_6,
            ..IommuReply::default()
        };
        iommu.answer(InfoRequest::Iommu, reply)
    }

    /// Sizes of pages that both sides have, and all that are larger, as bits.
    fn page_sizes(&self) -> u64 {
        let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
        let least = self.server.pgsizes & self.server.pgsizes.wrapping_neg();
        page.max(least).wrapping_neg()
    }

    /// Maps the bytes `range` of `memory` (`VFIO_IOMMU_MAP_DMA`).
    pub(super) fn map_dma(
        &mut self,
        argument: &[u8],
        memory: Shared,
        range: Range<usize>,
    ) -> Result<(), Errno> {
        let (request, _) =
            IommuType1DmaMap::read_from_prefix(argument).map_err(|_| Errno::EINVAL)?;
        let size = u64::try_from(range.len()).map_err(|_| Errno::EINVAL)?;
        let align = self.page_sizes() & self.page_sizes().wrapping_neg();
        if !request.iova.is_multiple_of(align) || !size.is_multiple_of(align) {
            return Err(Errno::EINVAL);
        }
        self.space
            .check(request.iova, size, self.server.max_dma_maps)?;
        let map = vfio_user::DmaMap {
            argsz: 32,
            // Nobody holds a server to less, and some crash where they can't write to what a device
            // only reads.
            flags: DmaMapFlags::READ | DmaMapFlags::WRITE,
            offset: u64::try_from(range.start).map_err(|_| Errno::EINVAL)?,
            address: request.iova,
            size,
        };
        let mapped = Mapped {
            memory: memory.clone(),
            range,
        };
        // The server may use it before it has answered, and whatever it answers.
        self.space.insert(request.iova, mapped);
        let file = memory.file.as_ref().filter(|_| self.options.shares_memory);
        let done = match file {
            Some(file) => self.ask(&Command::DmaMap(map), &[file.as_fd()], 16, |_| Ok(())),
            None => {
                let map = vfio_user::DmaMap { offset: 0, ..map };
                self.ask(&Command::DmaMap(map), &[], 16, |_| Ok(()))
            }
        };
        if done.is_err() {
            self.space.remove(request.iova);
        }
        done
    }

    /// Unmaps whole mappings (`VFIO_IOMMU_UNMAP_DMA`), as type 1 version 2 does.
    pub(super) fn unmap_dma(&mut self, argument: &mut [u8]) -> Result<(), Errno> {
        let (mut request, _) =
            IommuType1DmaUnmap::read_from_prefix(argument).map_err(|_| Errno::EINVAL)?;
        let is_all = request.flags.contains(DmaUnmapFlags::ALL);
        let end = request.iova.checked_add(request.size);
        let end = if is_all { Some(u64::MAX) } else { end };
        let end = end.ok_or(Errno::EINVAL)?;
        let mut unmapped = 0_u64;
        loop {
            let next = if is_all {
                self.space.first()
            } else {
                self.space.next_within(request.iova, end)?
            };
            let Some((address, size)) = next else {
                break;
            };
            self.unmap_one(address, size)?;
            unmapped = unmapped.saturating_add(size);
        }
        request.size = unmapped;
        request.write_to_prefix(argument).map_err(|_| Errno::EINVAL)
    }

    fn unmap_one(&mut self, address: u64, size: u64) -> Result<(), Errno> {
        let unmap = DmaUnmap {
            argsz: 24,
            address,
            size,
            ..DmaUnmap::default()
        };
        self.ask(&Command::DmaUnmap(unmap), &[], 40, |body| {
            let done = DmaUnmap::parse_reply(body)?;
            match (done.address == address, done.size == size) {
                (true, true) => Ok(()),
                (false, _) => Err(MessageError::Field { offset: 24 }),
                (true, false) => Err(MessageError::Field { offset: 32 }),
            }
        })?;
        self.space.remove(address);
        Ok(())
    }

    /// Moves plain data of a feature (`VFIO_DEVICE_FEATURE`).
    pub(super) fn feature(&mut self, argument: &mut [u8]) -> Result<(), Errno> {
        let head = DeviceFeature::read_from_prefix(argument)
            .map_err(|_| Errno::EINVAL)?
            .0;
        let sent = argument
            .get(size_of::<DeviceFeature>()..)
            .unwrap_or_default();
        let sent = sent.to_vec();
        let command = Command::Feature { head, data: &sent };
        // A probe is answered by success alone.
        let is_read =
            head.flags.contains(FeatureFlags::GET) && !head.flags.contains(FeatureFlags::PROBE);
        let needed = if is_read { argument.len() } else { 0 };
        let answer = self.ask(&command, &[], 0, |body| {
            // What is missing would be taken for zeros.
            if body.len() < needed {
                let number = |len| u32::try_from(len).unwrap_or(u32::MAX);
                return Err(MessageError::Truncated {
                    len: number(body.len()),
                    min: number(needed),
                });
            }
            Ok(body.to_vec())
        })?;
        for (to, from) in argument.iter_mut().zip(answer) {
            *to = from;
        }
        Ok(())
    }

    /// Resets the device (`VFIO_DEVICE_RESET`).
    pub(super) fn reset(&mut self) -> Result<(), Errno> {
        // As vfio-pci restores configuration space.
        let kept = self.keep()?;
        self.ask(&Command::Reset, &[], 16, |_| Ok(()))?;
        self.restore(&kept)
    }
}
