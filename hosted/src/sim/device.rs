//! A device of the simulated kernel.

use std::string::{String, ToString};
use std::vec::Vec;

use vfio_core::sys::{Errno, InfoRequest, Protection, Span};
use vfio_core::wire::abi::{
    DeviceFlags, PciDependentDevice, RegionFlags, RegionSparseMmapArea, pci_region,
};
use vfio_core::wire::server::{Dialect, Irq};

use super::config::Config;
use super::dma_log::DmaLog;
use super::dma_memory::PAGE;
use super::fault::FaultLog;
use super::interrupts::Interrupts;
use super::ioeventfd::Ioeventfd;
use super::mapping::Stretch;
use super::migration::Migration;
use super::power::Power;
use super::space::SharedSpace;
use super::{Bus, Description, Iommu, MappingError, Model, Region, RegionCap, Registers};
use crate::discovery::Address;

/// A device, and the state that it is in.
pub(super) struct Device {
    name: String,
    model: Model,
    config: Config,
    at: PciDependentDevice,
    interrupts: Interrupts,
    /// What it reaches by DMA, while it is attached to something.
    space: Option<SharedSpace>,
    faults: FaultLog,
    power: Power,
    ioeventfds: Vec<Ioeventfd>,
    migration: Migration,
    dma_log: Option<DmaLog>,
}

/// Where an access goes.
struct Place {
    region: u32,
    /// Bytes from the start of the region.
    position: u64,
    /// How many bytes of the access the region has.
    len: usize,
}

/// What an access does.
enum Transfer<'a> {
    Read(&'a mut [u8]),
    Write(&'a [u8]),
}

impl Device {
    /// `name` is the address of a PCI device, or that of another one, which has none.
    pub(super) fn new(name: &str, model: Model, group: u32, faults: FaultLog) -> Self {
        let at = name.parse::<Address>().map_or_else(
            |_| PciDependentDevice::default(),
            |address| PciDependentDevice {
                segment: u16::try_from(address.segment()).unwrap_or(u16::MAX),
                bus: address.bus(),
                devfn: address.device() << 3 | address.function(),
                ..Default::default()
            },
        );
        Self {
            name: name.to_string(),
            config: model.description.config.clone(),
            model,
            at: PciDependentDevice {
                group_id: group,
                ..at
            },
            interrupts: Interrupts::default(),
            space: None,
            faults,
            power: Power::default(),
            ioeventfds: Vec::new(),
            migration: Migration::default(),
            dma_log: None,
        }
    }

    /// Its registers, and the bus that they see.
    fn parts(&mut self) -> (&mut dyn Registers, Bus<'_>) {
        let bus = Bus {
            name: &self.name,
            config: &self.config,
            space: self.space.as_ref(),
            interrupts: &mut self.interrupts,
            faults: &self.faults,
            log: self.dma_log.as_mut(),
        };
        (&mut *self.model.registers, bus)
    }

    /// What vfio-pci does before the first file of a device is open.
    pub(super) fn enable(&mut self) {
        if self.dialect().knows_hot_reset {
            self.migration.reset();
        }
        self.config = self.model.description.config.clone();
        self.config.stop_mastering();
        self.interrupts.turn_intx(self.config.is_intx_off());
        if self.model.description.flags.contains(DeviceFlags::RESET) {
            let (registers, mut bus) = self.parts();
            registers.reset(&mut bus);
        }
    }

    /// What vfio-pci does after the last file of a device was closed.
    pub(super) fn disable(&mut self) {
        self.config.stop_mastering();
        self.interrupts.close();
        self.space = None;
        self.power = Power::default();
        self.ioeventfds.clear();
        // A sample that is stopped stays so.
        self.migration.end();
        self.dma_log = None;
    }

    /// Gives the device an address space, or takes it away.
    pub(super) fn attach(&mut self, space: Option<SharedSpace>) {
        self.space = space;
    }

    /// Lets time pass by one step; tells whether there is more to do.
    pub(super) fn advance(&mut self) -> bool {
        self.interrupts.poll_unmask();
        self.poll_ioeventfds();
        if self.migration.is_stopped() {
            return false;
        }
        let (registers, mut bus) = self.parts();
        registers.advance(&mut bus)
    }

    /// Its interrupts by index, to check a request against.
    pub(super) fn irqs(&self) -> Vec<Option<Irq>> {
        self.model.description.irqs.clone()
    }

    pub(super) fn interrupts(&mut self) -> &mut Interrupts {
        &mut self.interrupts
    }

    /// Resets the device, where its flags say that it can be.
    pub(super) fn reset(&mut self) -> Result<(), Errno> {
        if !self.model.description.flags.contains(DeviceFlags::RESET) {
            return Err(Errno::EINVAL);
        }
        self.reset_with_others();
        Ok(())
    }

    /// Resets the device as a part of its slot or bus.
    pub(super) fn reset_with_others(&mut self) {
        self.migration.reset();
        let (registers, mut bus) = self.parts();
        registers.reset(&mut bus);
    }

    /// What it says of itself.
    pub(super) const fn description(&self) -> &Description {
        &self.model.description
    }

    /// Its address, and its group.
    pub(super) const fn address(&self) -> PciDependentDevice {
        self.at
    }

    pub(super) const fn power(&mut self) -> &mut Power {
        &mut self.power
    }

    pub(super) const fn ioeventfds(&mut self) -> &mut Vec<Ioeventfd> {
        &mut self.ioeventfds
    }

    pub(super) const fn migration(&mut self) -> &mut Migration {
        &mut self.migration
    }

    pub(super) const fn dma_log(&mut self) -> &mut Option<DmaLog> {
        &mut self.dma_log
    }

    pub(super) fn registers(&mut self) -> &mut dyn Registers {
        &mut *self.model.registers
    }

    /// The index and the size of the region that `offset` of the device's file lies in, and how
    /// far in it.
    pub(super) fn found(&self, offset: u64) -> Option<(u32, u64, u64)> {
        let (index, region, at) = self.region_at(offset)?;
        Some((index, region.size, at))
    }

    /// The IOMMU that it is behind.
    pub(super) const fn iommu(&self) -> &Iommu {
        &self.model.description.iommu
    }

    /// Whether the kernel that it describes is one of before Linux 6.6.
    pub(super) fn is_of_old_kernel(&self) -> bool {
        self.model.description.dialect.align == vfio_core::wire::chain::Align::Packed
    }

    /// Where `span` is, if it may be mapped so.
    pub(super) fn stretch(&self, span: Span, protection: Protection) -> Result<Stretch, Errno> {
        let page = u64::try_from(PAGE).map_err(|_| Errno::EINVAL)?;
        let len = u64::try_from(span.len).map_err(|_| Errno::EINVAL)?;
        if len == 0 || !span.offset.is_multiple_of(page) {
            return Err(Errno::EINVAL);
        }
        let (index, region, start) = self.region_at(span.offset).ok_or(Errno::EINVAL)?;
        let mut needed = RegionFlags::MMAP;
        needed.set(RegionFlags::READ, protection.read);
        needed.set(RegionFlags::WRITE, protection.write);
        if !region.flags.contains(needed) {
            return Err(Errno::EINVAL);
        }
        let end = start
            .checked_add(len)
            .and_then(|end| end.checked_next_multiple_of(page))
            .ok_or(Errno::EINVAL)?;
        let whole = [RegionSparseMmapArea {
            offset: 0,
            size: region.size,
        }];
        let areas = region.caps.iter().find_map(|cap| match cap {
            RegionCap::SparseMmap(areas) => Some(areas.as_slice()),
            _ => None,
        });
        let holds = |area: &RegionSparseMmapArea| {
            let last = area.offset.checked_add(area.size);
            let last = last.and_then(|end| end.checked_next_multiple_of(page));
            area.size != 0 && area.offset <= start && last.is_some_and(|last| end <= last)
        };
        if !areas.unwrap_or(&whole).iter().any(holds) {
            return Err(Errno::EINVAL);
        }
        Ok(Stretch {
            region: index,
            start,
            len: span.len,
        })
    }

    /// Reads through a mapping.
    pub(super) fn load(
        &mut self,
        region: u32,
        at: u64,
        data: &mut [u8],
    ) -> Result<(), MappingError> {
        self.advance();
        self.check_pages(region)?;
        if self.reaches(region, at, data.len()) {
            let (registers, mut bus) = self.parts();
            registers.read(region, at, data, &mut bus);
        } else {
            data.fill(0xff);
        }
        Ok(())
    }

    /// Writes through a mapping.
    pub(super) fn store(&mut self, region: u32, at: u64, data: &[u8]) -> Result<(), MappingError> {
        self.check_pages(region)?;
        if self.reaches(region, at, data.len()) {
            let (registers, mut bus) = self.parts();
            registers.write(region, at, data, &mut bus);
        }
        Ok(())
    }

    /// Whether the pages of a BAR are in reach: vfio-pci takes them away while its memory is not
    /// to be had.
    fn check_pages(&self, region: u32) -> Result<(), MappingError> {
        let answers = self.config.decodes_memory() && !self.power.is_low();
        if answers || !self.config.is_memory_bar(region) {
            Ok(())
        } else {
            Err(MappingError::NotDecoded)
        }
    }

    /// Whether a mapped access arrives: the page in which a BAR ends may have nothing behind it.
    fn reaches(&self, index: u32, at: u64, len: usize) -> bool {
        let region = usize::try_from(index)
            .ok()
            .and_then(|index| self.model.description.regions.get(index)?.as_ref());
        let end = u64::try_from(len).ok().and_then(|len| at.checked_add(len));
        region.is_some_and(|region| end.is_some_and(|end| end <= region.size))
    }

    /// Answers an INFO ioctl of the device.
    pub(super) fn info(&mut self, request: InfoRequest, reply: &mut [u8]) -> Result<(), Errno> {
        match &mut self.model.script {
            Some(answer) => answer(request, reply),
            None => self
                .model
                .description
                .with_server(self.at, |device| device.answer(request, reply)),
        }
    }

    /// Answers an INFO ioctl of the IOMMU that the device is behind.
    /// The container has made `used` mappings already.
    pub(super) fn iommu_info(
        &mut self,
        request: InfoRequest,
        reply: &mut [u8],
        used: usize,
    ) -> Result<(), Errno> {
        let description = &self.model.description;
        match &mut self.model.script {
            Some(answer) => answer(request, reply),
            None => description
                .iommu
                .with_used(used)
                .with_server(description.dialect, |iommu| iommu.answer(request, reply)),
        }
    }

    /// Whether a test answers for it.
    pub(super) const fn is_scripted(&self) -> bool {
        self.model.script.is_some()
    }

    /// The kernel that it describes.
    pub(super) const fn dialect(&self) -> Dialect {
        self.model.description.dialect
    }

    pub(super) fn read(&mut self, data: &mut [u8], offset: u64) -> Result<usize, Errno> {
        let Some(place) = self.place(data.len(), offset, RegionFlags::READ)? else {
            return Ok(0);
        };
        self.advance();
        if self.is_config(&place) {
            let from = self.config_range(&place)?;
            self.config.show_intx(self.interrupts.level());
            let cells = self.config.bytes().iter().skip(from);
            data.iter_mut()
                .zip(cells)
                .for_each(|(to, from)| *to = *from);
        } else {
            self.transfer(&place, Transfer::Read(data))?;
        }
        Ok(place.len)
    }

    pub(super) fn write(&mut self, data: &[u8], offset: u64) -> Result<usize, Errno> {
        let Some(place) = self.place(data.len(), offset, RegionFlags::WRITE)? else {
            return Ok(0);
        };
        if self.is_config(&place) {
            let at = self.config_range(&place)?;
            self.config.write(at, data);
            self.interrupts.turn_intx(self.config.is_intx_off());
        } else {
            self.transfer(&place, Transfer::Write(data))?;
        }
        Ok(place.len)
    }

    /// Finds the region of an access; none is needed for no bytes.
    fn place(&self, len: usize, offset: u64, needed: RegionFlags) -> Result<Option<Place>, Errno> {
        if len == 0 {
            return Ok(None);
        }
        let (index, region, position) = self.region_at(offset).ok_or(Errno::EINVAL)?;
        if !region.flags.contains(needed) {
            return Err(Errno::EINVAL);
        }
        let left = usize::try_from(region.size.saturating_sub(position)).unwrap_or(usize::MAX);
        let place = Place {
            region: index,
            position,
            len: len.min(left),
        };
        if self.is_config(&place) {
            // Past the end of the configuration space vfio-pci transfers nothing at all.
            return if len <= left {
                Ok(Some(place))
            } else {
                Err(Errno::EFAULT)
            };
        }
        if self.config.is_memory_bar(index) && !self.config.decodes_memory() {
            return Err(Errno::EIO);
        }
        Ok(Some(place))
    }

    /// The region that `offset` of the device's file lies in, and how far in it.
    fn region_at(&self, offset: u64) -> Option<(u32, &Region, u64)> {
        (0..)
            .zip(&self.model.description.regions)
            .find_map(|(index, region)| {
                let region = region.as_ref()?;
                Some((index, region, region.position(offset)?))
            })
    }

    fn is_config(&self, place: &Place) -> bool {
        place.region == pci_region::CONFIG && !self.config.bytes().is_empty()
    }

    /// Where in the configuration space an access begins.
    fn config_range(&self, place: &Place) -> Result<usize, Errno> {
        usize::try_from(place.position)
            .ok()
            .filter(|start| {
                start
                    .checked_add(place.len)
                    .is_some_and(|end| end <= self.config.bytes().len())
            })
            .ok_or(Errno::EFAULT)
    }

    /// Takes an access apart as vfio-pci does, and leaves the MSI-X table out.
    fn transfer(&mut self, place: &Place, mut transfer: Transfer<'_>) -> Result<(), Errno> {
        // The expansion ROM may sit on a bus that knows no more.
        let widest = if place.region == pci_region::ROM {
            4
        } else {
            8
        };
        let mut done = 0;
        while done < place.len {
            let at = place
                .position
                .saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
            let left = place.len.saturating_sub(done);
            let (len, is_table) = self.step(place.region, at, left, widest);
            let end = done.saturating_add(len);
            match &mut transfer {
                Transfer::Read(data) => {
                    let data = data.get_mut(done..end).ok_or(Errno::EFAULT)?;
                    if is_table {
                        data.fill(0xff);
                    } else {
                        let (registers, mut bus) = self.parts();
                        registers.read(place.region, at, data, &mut bus);
                    }
                }
                Transfer::Write(data) => {
                    let data = data.get(done..end).ok_or(Errno::EFAULT)?;
                    if !is_table {
                        let (registers, mut bus) = self.parts();
                        registers.write(place.region, at, data, &mut bus);
                    }
                }
            }
            done = end;
        }
        Ok(())
    }

    /// How many of `left` bytes at `at` go in one access, and whether they are of the MSI-X table.
    fn step(&self, region: u32, at: u64, left: usize, widest: usize) -> (usize, bool) {
        let mut room = left;
        if let Some(table) = self.model.description.msix_table
            && table.region == region
        {
            let end = table.offset.saturating_add(table.size);
            let bytes_to = |bound: u64| usize::try_from(bound.saturating_sub(at)).unwrap_or(left);
            if at < table.offset {
                room = left.min(bytes_to(table.offset));
            } else if at < end {
                return (left.min(bytes_to(end)), true);
            }
        }
        let fits = |width: &usize| {
            *width <= room && u64::try_from(*width).is_ok_and(|width| at.is_multiple_of(width))
        };
        let width = [8, 4, 2]
            .into_iter()
            .filter(|width| *width <= widest)
            .find(fits);
        (width.unwrap_or(1), false)
    }
}
