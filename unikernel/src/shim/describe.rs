//! What a device says of itself, read from its configuration space.

use core::ops::Range;

use vfio_core::pci::{
    AfCapabilities, CONVENTIONAL_SIZE, CapabilityId, Config, ConfigAccess as _, ConfigError,
    DeviceCapabilities, Entry, ListError, Msi, MsiControl, MsixTable, PciExpress, StandardId,
};
use vfio_core::sys::{Errno, InfoRequest};
use vfio_core::wire::abi::{DeviceFlags, IrqFlags, RegionFlags, RegionSparseMmapArea, pci_region};
use vfio_core::wire::caps::{RegionCap, SparseMmap};
use vfio_core::wire::server::{self, IrqReply};

use crate::pci::{Region, RegionKind, Regions, Registers, Spaces, size_bars};

/// A device that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Description {
    /// Its BARs.
    pub bars: Regions,
    /// Bytes of its configuration space.
    pub config_size: u16,
    /// Where its MSI capability is.
    pub msi: Option<MsiPlace>,
    /// Where its MSI-X capability and table are.
    pub msix: Option<MsixPlace>,
    /// Where a function level reset is started: the register, its bit, and how it is written.
    pub reset: ResetPlace,
}

/// The MSI capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct MsiPlace {
    /// Where it starts.
    pub offset: u16,
    /// What it can.
    pub control: MsiControl,
    /// How many vectors it has.
    pub vectors: u8,
    /// Its bytes.
    pub size: u16,
}

/// The MSI-X capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct MsixPlace {
    /// Where it starts.
    pub offset: u16,
    /// Where its table is, and how many vectors it has.
    pub table: MsixTable,
    /// The pages of its BAR that have nothing but the table, as their first byte and the first
    /// behind them; the same, where the table starts within a page: that page has other registers,
    /// which a driver needs.
    pub pages: (u64, u64),
}

/// Where a function level reset is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ResetPlace {
    /// Nowhere: there is none.
    Missing,
    /// The device control register of PCI Express.
    Express {
        /// Where it is.
        register: u16,
    },
    /// The control register of the advanced features of conventional PCI.
    Advanced {
        /// Where it is.
        register: u16,
    },
}

/// Why a device can't be described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum DescribeError {
    /// Its capabilities can't be followed.
    List(ListError),
    /// A capability ends past the space that is for it.
    Truncated {
        /// Where it starts.
        offset: u16,
    },
    /// Its MSI-X table is not in a BAR of memory.
    TableOutside {
        /// The index of the BAR.
        bar: u32,
        /// Where in the BAR it starts, in bytes.
        offset: u32,
    },
}

/// Regions are a TiB apart in a device's file, as with vfio-pci.
const REGION_SHIFT: u32 = 40;

/// Bytes of a page.
const PAGE: u64 = 4096;

impl ResetPlace {
    /// Returns the byte whose write starts the reset.
    #[must_use]
    pub const fn byte(self) -> Option<u16> {
        match self {
            Self::Missing => None,
            Self::Express { register } => Some(register.saturating_add(1)),
            Self::Advanced { register } => Some(register),
        }
    }
}

impl Description {
    /// Of a device that was not looked at.
    pub const UNKNOWN: Self = Self {
        bars: [Region::MISSING; 6],
        config_size: 0,
        msi: None,
        msix: None,
        reset: ResetPlace::Missing,
    };

    /// Looks at a device. Its BARs are sized, so that nobody may use it meanwhile.
    ///
    /// # Errors
    /// [`DescribeError`]
    pub fn read<S: Spaces>(&mut self, registers: Registers<S>) -> Result<(), DescribeError> {
        *self = Self::UNKNOWN;
        size_bars(registers, 6, &mut self.bars);
        self.config_size = registers.size();
        let config = Config::new(registers);
        for entry in config.capabilities() {
            let entry = entry.map_err(|error| match error {
                ConfigError::List(error) => DescribeError::List(error),
                error => DescribeError::Truncated {
                    offset: error.offset(),
                },
            })?;
            self.take(registers, entry)?;
        }
        Ok(())
    }

    /// Takes a capability that the shim uses; the first of each kind counts.
    #[inline(never)]
    fn take<S: Spaces>(
        &mut self,
        registers: Registers<S>,
        entry: Entry,
    ) -> Result<(), DescribeError> {
        let CapabilityId::Standard(id) = entry.id else {
            return Ok(());
        };
        let at = |place: u16| entry.offset.saturating_add(place);
        let offset = entry.offset;
        let whole = |size: u16| match at(size) {
            ..=CONVENTIONAL_SIZE => Ok(()),
            _ => Err(DescribeError::Truncated { offset }),
        };
        match id {
            StandardId::MSI if self.msi.is_none() => {
                whole(4)?;
                let msi = Msi {
                    offset: entry.offset,
                    control: MsiControl::from_bits_retain(registers.word(at(2))),
                    address: 0,
                    data: 0,
                    mask: None,
                    pending: None,
                };
                whole(msi.size())?;
                self.msi = Some(MsiPlace {
                    offset: msi.offset,
                    control: msi.control,
                    // A reserved number is one that nobody can have asked for.
                    vectors: msi.vectors().unwrap_or(1),
                    size: msi.size(),
                });
            }
            StandardId::MSIX if self.msix.is_none() => {
                whole(12)?;
                let vectors = (registers.word(at(2)) & 0x7ff).saturating_add(1);
                let table = MsixTable::new(registers.long(at(4)), vectors);
                let bar = usize::try_from(table.bar()).ok();
                let is_inside = bar
                    .and_then(|bar| self.bars.get(bar))
                    .is_some_and(|bar| bar.kind != RegionKind::Io && table.range().end <= bar.size);
                if !is_inside {
                    return Err(DescribeError::TableOutside {
                        bar: table.bar(),
                        offset: table.offset(),
                    });
                }
                let Range { start, end } = table.range();
                let pages = match end.checked_next_multiple_of(PAGE) {
                    Some(end) if start.is_multiple_of(PAGE) => (start, end),
                    _ => (0, 0),
                };
                self.msix = Some(MsixPlace {
                    offset: entry.offset,
                    table,
                    pages,
                });
            }
            StandardId::EXP => {
                whole(10)?;
                let can = DeviceCapabilities::from_bits_retain(registers.long(at(4)));
                if can.contains(DeviceCapabilities::FLR) {
                    let register = at(PciExpress::DEVICE_CONTROL);
                    self.reset = ResetPlace::Express { register };
                }
            }
            StandardId::AF if self.reset == ResetPlace::Missing => {
                whole(6)?;
                let can = AfCapabilities::from_bits_retain(registers.byte(at(3)));
                if can.contains(AfCapabilities::FLR) {
                    self.reset = ResetPlace::Advanced { register: at(4) };
                }
            }
            _ => (),
        }
        Ok(())
    }

    /// Answers an INFO ioctl of the device, as Linux does.
    ///
    /// # Errors
    /// What Linux returns.
    pub fn answer(&self, request: InfoRequest, reply: &mut [u8]) -> Result<(), Errno> {
        let mut areas = [RegionSparseMmapArea { offset: 0, size: 0 }; 2];
        let areas = self.around_table(&mut areas);
        let sparse = [RegionCap::SparseMmap(SparseMmap::new(areas))];
        let mappable = [RegionCap::MsixMappable];
        let mut regions = [None; 9];
        // Of all regions only the one that is asked for is looked at.
        let index = reply.get(8..).and_then(|rest| rest.first_chunk());
        let index = index.map_or(u32::MAX, |bytes| u32::from_ne_bytes(*bytes));
        let slot = usize::try_from(index)
            .ok()
            .and_then(|index| regions.get_mut(index));
        if let Some(slot) = slot
            && index != pci_region::VGA
        {
            let region = slot.insert(server::RegionReply {
                offset: u64::from(index) << REGION_SHIFT,
                ..Default::default()
            });
            let trapped = RegionFlags::READ | RegionFlags::WRITE;
            if index == pci_region::CONFIG {
                region.flags = trapped;
                region.size = self.config_size.into();
            } else if let Some(bar) = self.bar(index) {
                region.flags = trapped;
                region.size = bar.size;
                let mut can_map = bar.kind != RegionKind::Io && bar.address.is_multiple_of(PAGE);
                if let Some(msix) = self.msix
                    && msix.table.bar() == index
                {
                    if msix.pages.0 == msix.pages.1 {
                        region.caps = &mappable;
                    } else if areas.is_empty() {
                        can_map = false;
                    } else {
                        region.caps = &sparse;
                    }
                }
                region.flags.set(RegionFlags::MMAP, can_map);
            }
        }
        let mut flags = DeviceFlags::PCI;
        flags.set(DeviceFlags::RESET, self.reset != ResetPlace::Missing);
        let device = server::DeviceReply {
            flags,
            regions: &regions,
            irqs: &self.irqs(),
            ..Default::default()
        };
        device.answer(request, reply)
    }

    /// Returns the interrupts, by index.
    #[must_use]
    pub fn irqs(&self) -> [Option<IrqReply>; 5] {
        let irq = |flags, count: u16| {
            Some(IrqReply {
                flags,
                count: count.into(),
            })
        };
        let fixed = IrqFlags::EVENTFD | IrqFlags::NORESIZE;
        let intx = IrqFlags::EVENTFD | IrqFlags::MASKABLE | IrqFlags::AUTOMASKED;
        let msi = self.msi.map_or(0, |msi| msi.vectors.into());
        let msix = match self.msix {
            Some(msix) => irq(IrqFlags::EVENTFD, msix.table.vectors()),
            None => irq(fixed, 0),
        };
        [irq(intx, 0), irq(fixed, msi), msix, None, None]
    }

    /// Returns a BAR that has a place: without one there is memory, and not the device.
    #[must_use]
    pub fn bar(&self, index: u32) -> Option<&Region> {
        let index = usize::try_from(index).ok()?;
        self.bars.get(index).filter(|bar| bar.has_place())
    }

    /// Returns the region that `offset` of the device's file is in, and how far in it.
    #[must_use]
    pub const fn locate(offset: u64) -> (u64, u64) {
        (offset >> REGION_SHIFT, offset & ((1 << REGION_SHIFT) - 1))
    }

    /// Returns the areas of the table's BAR that can be mapped, besides the pages of the table.
    fn around_table<'a>(
        &self,
        areas: &'a mut [RegionSparseMmapArea; 2],
    ) -> &'a [RegionSparseMmapArea] {
        let Some(msix) = self.msix else {
            return &[];
        };
        let [before, behind] = &mut *areas;
        let (start, end) = msix.pages;
        let size = self.bar(msix.table.bar()).map_or(0, |bar| bar.size);
        before.size = start;
        behind.offset = end;
        behind.size = size.saturating_sub(end);
        let first = usize::from(before.size == 0);
        let last = if behind.size == 0 { 1 } else { 2 };
        areas.get(first..last).unwrap_or_default()
    }

    /// Tells whether bytes of a BAR are some of the MSI-X table's.
    #[must_use]
    pub fn touches_table(&self, bar: u32, at: u64, len: usize) -> bool {
        self.msix.is_some_and(|msix| {
            let table = msix.table.range();
            let end = at.saturating_add(crate::wide(len));
            msix.table.bar() == bar && at < table.end && table.start < end
        })
    }

    /// Tells whether pages of a BAR may be mapped.
    #[must_use]
    pub fn may_map(&self, bar: u32, bytes: Range<u64>) -> bool {
        self.msix.is_none_or(|msix| {
            let (start, end) = msix.pages;
            msix.table.bar() != bar || bytes.end <= start || end <= bytes.start
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::Address;
    use crate::pci::tests::Machine;
    use std::vec::Vec;
    use vfio_core::device::coverage::{Coverage, Reach};
    use vfio_core::sys::put_argsz;
    use vfio_core::wire::info::{DeviceInfo, IrqInfo, RegionInfo};

    /// Returns a device with a BAR of 16 KiB, and what stands in its configuration space.
    fn machine(capabilities: &[(usize, &[u8])]) -> (Machine, Address) {
        let (machine, address) = (Machine::default(), Address::new(0, 5, 0));
        machine.add(address, 0);
        machine.bar(address, 0, 0x4000, 4);
        machine.put(address, 0x12, &[0x10, 0xfe]);
        machine.put(address, 0x06, &[0x10]);
        machine.put(address, 0x34, &[0x40]);
        for (at, bytes) in capabilities {
            machine.put(address, *at, bytes);
        }
        (machine, address)
    }

    fn describe(capabilities: &[(usize, &[u8])]) -> Result<Description, DescribeError> {
        let (machine, address) = machine(capabilities);
        let mut description = Description::UNKNOWN;
        description.read(machine.registers(address))?;
        Ok(description)
    }

    /// Returns the stretches of a region, by their access.
    fn stretches(description: &Description, index: u32) -> Vec<(u64, u64, Reach)> {
        let mut reply = [0; 128];
        put_argsz(&mut reply).unwrap();
        reply[8..12].copy_from_slice(&index.to_ne_bytes());
        description.answer(InfoRequest::Region, &mut reply).unwrap();
        let region = RegionInfo::decode(&reply).unwrap();
        let spans = Coverage::new(&region, PAGE);
        spans
            .map(|span| (span.offset, span.size, span.reach))
            .collect()
    }

    #[test]
    fn a_device_is_described_as_linux_does() {
        let msi: &[u8] = &[5, 0, 0x86, 0];
        let description = describe(&[(0x40, msi)]).unwrap();
        let mut reply = [0; 64];
        put_argsz(&mut reply).unwrap();
        description.answer(InfoRequest::Device, &mut reply).unwrap();
        let info = DeviceInfo::decode(&reply).unwrap();
        assert_eq!((info.num_regions, info.num_irqs), (9, 5));
        assert_eq!(info.flags, DeviceFlags::PCI);
        assert_eq!(stretches(&description, 0), [(0, 0x4000, Reach::Mapped)]);
        assert_eq!(stretches(&description, 1), []);
        assert_eq!(stretches(&description, 7), [(0, 256, Reach::Trapped)]);
        for (index, count) in [(0_u32, 0), (1, 8), (2, 0)] {
            let mut reply = [0; 16];
            put_argsz(&mut reply).unwrap();
            reply[8..12].copy_from_slice(&index.to_ne_bytes());
            description.answer(InfoRequest::Irq, &mut reply).unwrap();
            assert_eq!(IrqInfo::decode(&reply).unwrap().count, count);
        }
        for (request, index) in [
            (InfoRequest::Region, 8),
            (InfoRequest::Region, 9),
            (InfoRequest::Irq, 4),
        ] {
            let mut reply = [0; 64];
            put_argsz(&mut reply).unwrap();
            reply[8] = index;
            assert_eq!(description.answer(request, &mut reply), Err(Errno::EINVAL));
        }
    }

    #[test]
    fn a_bar_without_a_place_is_no_region() {
        let (machine, address) = machine(&[(0x40, &[0x11, 0, 0x40, 0, 0, 0x20, 0, 0])]);
        machine.put(address, 0x12, &[0, 0]);
        machine.bar(address, 2, 0x1000, 0);
        machine.put(address, 0x18, &[0, 0, 0x20, 0xfe]);
        let mut description = Description::UNKNOWN;
        description.read(machine.registers(address)).unwrap();
        assert_eq!(description.bar(0), None);
        assert_eq!(stretches(&description, 0), []);
        assert_eq!(stretches(&description, 2), [(0, 0x1000, Reach::Mapped)]);
        // It has the table of MSI-X, which can't be reached.
        assert_eq!(
            description.msix.map(|msix| msix.table.vectors()),
            Some(0x41)
        );
    }

    #[test]
    fn a_table_with_pages_of_its_own_is_left_out() {
        let msix: &[u8] = &[0x11, 0, 0x40, 0, 0, 0x20, 0, 0, 0, 0x30, 0, 0];
        let description = describe(&[(0x40, msix)]).unwrap();
        let expected = [
            (0, 0x2000, Reach::Mapped),
            (0x2000, 0x1000, Reach::Trapped),
            (0x3000, 0x1000, Reach::Mapped),
        ];
        assert_eq!(stretches(&description, 0), expected);
        assert!(description.may_map(0, 0..0x2000) && !description.may_map(0, 0x1000..0x3000));
        assert!(
            description.touches_table(0, 0x240f, 1) && !description.touches_table(0, 0x2410, 8)
        );
    }

    #[test]
    fn a_table_among_registers_is_mapped_with_them() {
        let msix: &[u8] = &[0x11, 0, 0x03, 0, 0x00, 0x28, 0, 0, 0, 0x30, 0, 0];
        let description = describe(&[(0x40, msix)]).unwrap();
        assert_eq!(stretches(&description, 0), [(0, 0x4000, Reach::Mapped)]);
        assert!(description.may_map(0, 0x2000..0x3000));
    }

    #[test]
    fn capabilities_that_lead_nowhere_are_errors() {
        let looped = describe(&[(0x40, &[5, 0x48]), (0x48, &[9, 0x40])]);
        assert!(matches!(looped, Err(DescribeError::List(_))));
        let cut_off = describe(&[(0x40, &[5, 0xf8]), (0xf8, &[0x11, 0])]);
        assert_eq!(cut_off, Err(DescribeError::Truncated { offset: 0xf8 }));
        let outside: &[u8] = &[0x11, 0, 0xff, 0x07, 0, 0x20, 0, 0];
        let outside = describe(&[(0x40, outside)]);
        assert_eq!(
            outside,
            Err(DescribeError::TableOutside {
                bar: 0,
                offset: 0x2000
            })
        );
        let elsewhere: &[u8] = &[0x11, 0, 0, 0, 6, 0, 0, 0];
        let elsewhere = describe(&[(0x40, elsewhere)]);
        assert_eq!(
            elsewhere,
            Err(DescribeError::TableOutside { bar: 6, offset: 0 })
        );
    }

    #[test]
    fn a_reset_is_found_in_either_capability() {
        let express = describe(&[(0x40, &[0x10, 0, 2, 0, 0, 0, 0, 0x10])]).unwrap();
        assert_eq!(express.reset, ResetPlace::Express { register: 0x48 });
        assert_eq!(express.reset.byte(), Some(0x49));
        let advanced = describe(&[(0x40, &[0x13, 0, 6, 3])]).unwrap();
        assert_eq!(advanced.reset, ResetPlace::Advanced { register: 0x44 });
    }
}
