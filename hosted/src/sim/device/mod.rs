//! A device of the simulated kernel.

mod dma_log;
mod faults;
mod feature;
mod interrupts;
mod ioeventfd;
mod mapped;
mod migration;
mod power;
mod root;
mod trapped;

use std::string::{String, ToString};
use std::vec::Vec;

use vfio_core::sys::{Errno, InfoRequest};
use vfio_core::wire::abi::{DeviceFlags, PciDependentDevice};
use vfio_core::wire::chain::Align;
use vfio_core::wire::server::Dialect;

use crate::discovery::Address;
use crate::model::{Bus, Config, Description, Iommu, Model, RegionDescription, Registers};
use crate::sim::memory::SharedSpace;
use dma_log::DmaLog;
use interrupts::Interrupts;
use ioeventfd::Ioeventfd;
use migration::Migration;
use power::Power;
use root::Root;

pub(super) use faults::FaultLog;
pub use mapped::MappingError;
pub(super) use mapped::Stretch;
pub(super) use migration::SharedData;

/// A device, and the state that it is in.
pub(in crate::sim) struct Device {
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

impl Device {
    /// Creates a device. `name` is the address of a PCI device, or that of another one, which has
    /// none.
    pub(in crate::sim) fn new(name: &str, model: Model, group: u32, faults: FaultLog) -> Self {
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
            config: model.description().config.clone(),
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

    /// Lets the registers act, on the bus of the device.
    fn act<R>(&mut self, act: impl FnOnce(&mut dyn Registers, &mut Bus<'_>) -> R) -> R {
        let mut root = Root {
            space: self.space.as_ref(),
            interrupts: &mut self.interrupts,
            faults: &self.faults,
            log: self.dma_log.as_mut(),
        };
        let mut bus = Bus::new(&self.name, &self.config, &mut root);
        act(self.model.registers(), &mut bus)
    }

    /// Does what vfio-pci does before the first file of a device is open.
    pub(in crate::sim) fn enable(&mut self) {
        if self.dialect().knows_hot_reset {
            self.migration.reset();
        }
        self.config = self.description().config.clone();
        self.config.stop_mastering();
        self.interrupts.turn_intx(self.config.is_intx_off());
        if self.description().flags.contains(DeviceFlags::RESET) {
            self.act(|registers, bus| registers.reset(bus));
        }
    }

    /// Does what vfio-pci does after the last file of a device was closed.
    pub(in crate::sim) fn disable(&mut self) {
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
    pub(in crate::sim) fn attach(&mut self, space: Option<SharedSpace>) {
        self.space = space;
    }

    /// Lets time pass by one step; tells whether there is more to do.
    pub(in crate::sim) fn advance(&mut self) -> bool {
        self.interrupts.poll_unmask();
        self.poll_ioeventfds();
        if self.migration.is_stopped() {
            return false;
        }
        self.act(|registers, bus| registers.advance(bus))
    }

    pub(in crate::sim) fn interrupts(&mut self) -> &mut Interrupts {
        &mut self.interrupts
    }

    /// Resets the device, where its flags say that it can be.
    pub(in crate::sim) fn reset(&mut self) -> Result<(), Errno> {
        if !self.description().flags.contains(DeviceFlags::RESET) {
            return Err(Errno::EINVAL);
        }
        self.reset_with_others();
        Ok(())
    }

    /// Resets the device as a part of its slot or bus.
    pub(in crate::sim) fn reset_with_others(&mut self) {
        self.migration.reset();
        self.act(|registers, bus| registers.reset(bus));
    }

    /// Returns what the device says of itself.
    pub(in crate::sim) const fn description(&self) -> &Description {
        self.model.description()
    }

    /// Its address, and its group.
    pub(in crate::sim) const fn address(&self) -> PciDependentDevice {
        self.at
    }

    /// Returns the IOMMU that it is behind.
    pub(in crate::sim) const fn iommu(&self) -> &Iommu {
        &self.model.description().iommu
    }

    /// Tells whether the kernel that it describes is one of before Linux 6.6.
    pub(in crate::sim) fn is_of_old_kernel(&self) -> bool {
        self.description().dialect.align == Align::Packed
    }

    /// Answers an INFO ioctl of the device.
    pub(in crate::sim) fn info(
        &mut self,
        request: InfoRequest,
        reply: &mut [u8],
    ) -> Result<(), Errno> {
        self.model.info(request, self.at, reply)
    }

    /// Answers an INFO ioctl of the IOMMU that the device is behind.
    /// The container has made `used` mappings already.
    pub(in crate::sim) fn iommu_info(
        &mut self,
        request: InfoRequest,
        reply: &mut [u8],
        used: usize,
    ) -> Result<(), Errno> {
        self.model.iommu_info(request, used, reply)
    }

    /// Tells whether a test answers for it.
    pub(in crate::sim) const fn is_scripted(&self) -> bool {
        self.model.is_scripted()
    }

    /// Returns the kernel that it describes.
    pub(in crate::sim) const fn dialect(&self) -> Dialect {
        self.model.description().dialect
    }

    /// Returns the region that `offset` of the device's file lies in, and how far in it.
    fn region_at(&self, offset: u64) -> Option<(u32, &RegionDescription, u64)> {
        (0..)
            .zip(&self.description().regions)
            .find_map(|(index, region)| {
                let region = region.as_ref()?;
                Some((index, region, region.position(offset)?))
            })
    }
}
