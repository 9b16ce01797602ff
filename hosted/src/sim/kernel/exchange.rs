//! Requests with a structure: mappings, interrupts, iommufd's objects.

use std::ops::Range;

use vfio_core::sys::{Errno, ExchangeRequest, Parts};
use vfio_core::wire::abi::{
    AttachFlags, DeviceAttachIommufdPt, DeviceBindIommufd, DeviceDetachIommufdPt, DeviceIoeventfd,
    IommuDestroy, IommuIoasAlloc, IommuIoasIovaRanges, IommuIoasMap, IommuIoasUnmap,
    IommuType1DmaMap, IommuType1DmaUnmap, PrecopyInfo,
};

use super::Kernel;
use crate::lock::lock;
use crate::sim::answer::Answer;
use crate::sim::files::File;
use crate::sim::handle::{Event, Fd};
use crate::sim::memory::{DmaMemory, Iommufd};
use crate::sim::structure::{get, get_prefix, get_two, get_whole, put};

/// Memory to map, and which bytes of it.
type Source<'m> = Option<(&'m DmaMemory, Range<usize>)>;

impl Kernel {
    /// Makes a request; `memory` is what it maps, for one that maps something.
    pub(super) fn make(
        &self,
        fd: &Fd,
        parts: Parts<'_, Fd, Event>,
        memory: Option<&DmaMemory>,
    ) -> Result<Answer, Errno> {
        let source = match memory {
            Some(memory) => Some(source(memory, &parts)?),
            None => None,
        };
        let file = self.file(fd)?;
        match file {
            File::Container(id) => self.of_container(id, parts, source),
            File::Iommufd(id) => self.of_iommufd(id, parts, source),
            File::Migration(id) => self.of_migration(id, parts),
            File::Group(_) => Err(Errno::ENOTTY),
            File::Device(_) | File::Cdev { .. } => return self.of_device(fd, file, parts),
        }
        .map(|()| Answer::Done)
    }

    fn of_container(
        &self,
        id: u64,
        parts: Parts<'_, Fd, Event>,
        source: Source<'_>,
    ) -> Result<(), Errno> {
        let unknown = self.unknown_to_container(id);
        let type1 = self.files().type1(id);
        match parts.request {
            ExchangeRequest::MapDma => {
                let type1 = type1?;
                let request = get::<IommuType1DmaMap>(parts.argument)?;
                // Without memory the kernel finds none at the address.
                let (memory, range) = source.ok_or(Errno::EFAULT)?;
                type1.map(&request, memory, range)
            }
            ExchangeRequest::UnmapDma => {
                let type1 = type1?;
                let mut request = get::<IommuType1DmaUnmap>(parts.argument)?;
                type1.unmap(&mut request)?;
                put(parts.argument, &request)
            }
            ExchangeRequest::UnmapDirty => {
                let type1 = type1?;
                let (mut request, bitmap) = get_two(parts.argument)?;
                let list = parts.list.unwrap_or_default();
                type1.unmap_dirty(&mut request, bitmap, list)?;
                put(parts.argument, &request)
            }
            ExchangeRequest::DirtyPages | ExchangeRequest::DirtyBitmap => {
                type1?.dirty_pages(parts.argument, parts.list.unwrap_or_default())
            }
            _ => Err(unknown),
        }
    }

    fn of_iommufd(
        &self,
        id: u64,
        parts: Parts<'_, Fd, Event>,
        source: Source<'_>,
    ) -> Result<(), Errno> {
        let mut files = self.files();
        let iommufd = files.iommufd(id)?;
        let argument = parts.argument;
        match parts.request {
            ExchangeRequest::IoasAlloc => {
                let mut request = get_whole::<IommuIoasAlloc>(argument)?;
                if request.flags != 0 {
                    return Err(Errno::EOPNOTSUPP);
                }
                request.out_ioas_id = iommufd.add_ioas();
                put(argument, &request)
            }
            ExchangeRequest::IoasIovaRanges => {
                let mut request = get_whole::<IommuIoasIovaRanges>(argument)?;
                let mut none = [];
                let list = parts.list.unwrap_or(&mut none);
                let answer = iommufd.iova_ranges(&mut request, list);
                // The number of ranges is told even where they did not fit.
                if matches!(answer, Ok(()) | Err(Errno::EMSGSIZE)) {
                    put(argument, &request)?;
                }
                answer
            }
            ExchangeRequest::IoasMap => {
                let mut request = get_whole::<IommuIoasMap>(argument)?;
                let (memory, range) = source.ok_or(Errno::EFAULT)?;
                iommufd.map(&mut request, memory, range)?;
                put(argument, &request)
            }
            ExchangeRequest::IoasUnmap => {
                let mut request = get_whole::<IommuIoasUnmap>(argument)?;
                iommufd.unmap(&mut request)?;
                put(argument, &request)
            }
            ExchangeRequest::Destroy => iommufd.destroy(get_whole::<IommuDestroy>(argument)?.id),
            _ => of_container_of(iommufd, parts.request, argument, source),
        }
    }

    fn of_migration(&self, id: u64, parts: Parts<'_, Fd, Event>) -> Result<(), Errno> {
        if parts.request != ExchangeRequest::PrecopyInfo {
            return Err(Errno::ENOTTY);
        }
        let mut info = get::<PrecopyInfo>(parts.argument)?;
        let (place, data) = self.files().migration(id)?;
        let device = self.files().device(place)?;
        lock(&device).precopy(&data, &mut info)?;
        put(parts.argument, &info)
    }

    fn of_device(&self, fd: &Fd, file: File, parts: Parts<'_, Fd, Event>) -> Result<Answer, Errno> {
        let place = file.device();
        if let Some(place) = place {
            let device = self.files().device(place)?;
            lock(&device).wake();
        }
        match (parts.request, place) {
            (
                ExchangeRequest::Feature
                | ExchangeRequest::LowPowerWakeup
                | ExchangeRequest::SetMigState
                | ExchangeRequest::DmaBuf
                | ExchangeRequest::DmaLoggingStart
                | ExchangeRequest::DmaLoggingReport,
                Some(place),
            ) => self.feature(place, parts),
            (ExchangeRequest::SetIrqs | ExchangeRequest::SetIrqEvents, Some(place)) => {
                self.set_irqs(place, parts)
            }
            _ => self.of_device_plain(fd, file, parts).map(|()| Answer::Done),
        }
    }

    /// Serves a request that answers nothing.
    fn of_device_plain(
        &self,
        fd: &Fd,
        file: File,
        parts: Parts<'_, Fd, Event>,
    ) -> Result<(), Errno> {
        if parts.request == ExchangeRequest::BindIommufd {
            return self.bind_iommufd(fd, parts);
        }
        let argument = parts.argument;
        let place = file.device().ok_or(Errno::EINVAL)?;
        let is_cdev = matches!(file, File::Cdev { .. });
        match parts.request {
            ExchangeRequest::AttachIommufdPt if is_cdev => {
                let mut request = get_prefix::<DeviceAttachIommufdPt>(argument);
                pasid(request.flags)?;
                request.pt_id = self.files().attach(place, request.pt_id)?;
                put(argument, &request)
            }
            ExchangeRequest::DetachIommufdPt if is_cdev => {
                let request = get_prefix::<DeviceDetachIommufdPt>(argument);
                pasid(request.flags)?;
                self.files().detach(place);
                Ok(())
            }
            ExchangeRequest::PciHotReset => self.hot_reset(place, file, argument, parts.files),
            ExchangeRequest::Ioeventfd => {
                let request = get::<DeviceIoeventfd>(argument)?;
                let event = parts.events.first().copied().flatten();
                let signal = event.map(|event| self.signal_of(event).cloned());
                let device = self.files().device(place)?;
                lock(&device).set_ioeventfd(&request, signal)
            }
            _ => Err(Errno::ENOTTY),
        }
    }

    fn bind_iommufd(&self, fd: &Fd, parts: Parts<'_, Fd, Event>) -> Result<(), Errno> {
        let mut request = get::<DeviceBindIommufd>(parts.argument)?;
        let iommufd = self.file(parts.files.first().ok_or(Errno::EINVAL)?)?;
        // With the flag there is a list, which an exchange makes sure of.
        let token = parts.list.and_then(|list| list.first_chunk().copied());
        request.out_devid = self.files().bind_cdev(fd.share().id(), iommufd, token)?;
        put(parts.argument, &request)
    }

    fn set_irqs(&self, place: usize, parts: Parts<'_, Fd, Event>) -> Result<Answer, Errno> {
        let signal = |event: &Event| self.signal_of(event).cloned();
        let signals = parts.events.iter();
        let signals = signals.map(|event| event.map(signal).transpose()).collect();
        let device = self.files().device(place)?;
        lock(&device).set_irqs(parts.argument, signals)
    }
}

/// Serves a request of an iommufd as a container.
fn of_container_of(
    iommufd: &Iommufd,
    request: ExchangeRequest,
    argument: &mut [u8],
    source: Source<'_>,
) -> Result<(), Errno> {
    match request {
        ExchangeRequest::MapDma => {
            let request = get::<IommuType1DmaMap>(argument)?;
            let (memory, range) = source.ok_or(Errno::EFAULT)?;
            iommufd.map_dma(&request, memory, range)
        }
        ExchangeRequest::UnmapDma => {
            let mut request = get::<IommuType1DmaUnmap>(argument)?;
            let answer = iommufd.unmap_dma(&mut request);
            if matches!(answer, Ok(()) | Err(Errno::ENOENT)) {
                put(argument, &request)?;
            }
            answer
        }
        _ => Err(Errno::ENOTTY),
    }
}

/// Returns the memory of a request, whose range must lie in it.
fn source<'m>(
    memory: &'m DmaMemory,
    parts: &Parts<'_, Fd, Event>,
) -> Result<(&'m DmaMemory, Range<usize>), Errno> {
    let range = parts.memory.clone();
    if parts.request.length_at().is_none()
        || range.start > range.end
        || range.end > memory.pages().len()
    {
        return Err(Errno::EINVAL);
    }
    Ok((memory, range))
}

/// Refuses a second address space for a device.
fn pasid(flags: AttachFlags) -> Result<(), Errno> {
    if flags == AttachFlags::PASID {
        Err(Errno::EOPNOTSUPP)
    } else if flags.is_empty() {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}
