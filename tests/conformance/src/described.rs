//! A device described from its own replies, so that the answering side can stand in for it.

use vfio_core::sys::Errno;
use vfio_core::wire::abi::{DeviceFlags, HotResetFlags, PciDependentDevice, RegionFlags};
use vfio_core::wire::info::{DeviceInfo, HotResetInfo, IommuInfo, IrqInfo, RegionInfo};
use vfio_core::wire::server::{
    DeviceReply, Dialect, HotReset, IommuDriver, IommuReply, IrqReply, RegionReply,
};

use crate::capability::{Capability, collect};
use crate::outcome::Kind;

/// A device as its ample replies describe it.
#[derive(Debug)]
pub struct Described {
    dialect: Dialect,
    driver: IommuDriver,
    flags: DeviceFlags,
    caps: Vec<Capability>,
    regions: Vec<Option<DescribedRegion>>,
    irqs: Vec<Option<IrqReply>>,
    hot_reset: Option<(HotResetFlags, Vec<PciDependentDevice>)>,
    iova_pgsizes: u64,
    iommu_caps: Vec<Capability>,
}

#[derive(Clone, Debug)]
struct DescribedRegion {
    flags: RegionFlags,
    size: u64,
    offset: u64,
    caps: Vec<Capability>,
}

impl Described {
    /// Creates a device about which nothing is known but how its kernel answers.
    #[must_use]
    pub fn new(dialect: Dialect, driver: IommuDriver) -> Self {
        Self {
            dialect,
            driver,
            flags: DeviceFlags::default(),
            caps: Vec::new(),
            regions: Vec::new(),
            irqs: Vec::new(),
            hot_reset: None,
            iova_pgsizes: 0,
            iommu_caps: Vec::new(),
        }
    }

    /// Learns from a reply that is whole.
    ///
    /// # Panics
    /// Where the reply is not whole.
    pub fn add(&mut self, kind: Kind, index: u32, reply: &[u8]) {
        let index = usize::try_from(index).unwrap();
        match kind {
            Kind::Device => {
                let info = DeviceInfo::decode(reply).unwrap();
                self.flags = info.flags - DeviceFlags::CAPS;
                self.caps = collect(&info.caps);
                place(
                    &mut self.regions,
                    usize::try_from(info.num_regions).unwrap(),
                );
                place(&mut self.irqs, usize::try_from(info.num_irqs).unwrap());
            }
            Kind::Region => {
                let info = RegionInfo::decode(reply).unwrap();
                place(&mut self.regions, index + 1);
                self.regions[index] = Some(DescribedRegion {
                    flags: info.flags - RegionFlags::CAPS,
                    size: info.size,
                    offset: info.offset,
                    caps: collect(&info.caps),
                });
            }
            Kind::Irq => {
                let info = IrqInfo::decode(reply).unwrap();
                place(&mut self.irqs, index + 1);
                self.irqs[index] = Some(IrqReply {
                    flags: info.flags,
                    count: info.count,
                });
            }
            Kind::HotReset => {
                let info = HotResetInfo::decode(reply).unwrap();
                self.hot_reset = Some((info.flags, info.devices.iter().collect()));
            }
            Kind::Iommu => {
                let info = IommuInfo::decode(reply).unwrap();
                self.iova_pgsizes = info.iova_pgsizes;
                self.iommu_caps = collect(&info.caps);
            }
        }
    }

    /// Answers as the kernel of the device does.
    ///
    /// # Errors
    /// What the kernel returns.
    pub fn answer(&self, kind: Kind, reply: &mut [u8]) -> Result<(), Errno> {
        if kind == Kind::Iommu {
            let caps: Vec<_> = self
                .iommu_caps
                .iter()
                .map(|cap| cap.content.to_iommu())
                .collect();
            let iommu = IommuReply {
                driver: self.driver,
                iova_pgsizes: self.iova_pgsizes,
                caps: &caps,
                dialect: self.dialect,
            };
            return iommu.answer(kind.request(), reply);
        }
        let caps: Vec<_> = self
            .caps
            .iter()
            .map(|cap| cap.content.to_device())
            .collect();
        let region_caps: Vec<Vec<_>> = self
            .regions
            .iter()
            .map(|region| {
                let caps = region.iter().flat_map(|region| &region.caps);
                caps.map(|cap| cap.content.to_region()).collect()
            })
            .collect();
        let regions: Vec<_> = self
            .regions
            .iter()
            .zip(&region_caps)
            .map(|(region, caps)| {
                region.as_ref().map(|region| RegionReply {
                    flags: region.flags,
                    size: region.size,
                    offset: region.offset,
                    caps,
                })
            })
            .collect();
        let device = DeviceReply {
            flags: self.flags,
            caps: &caps,
            regions: &regions,
            irqs: &self.irqs,
            hot_reset: self.hot_reset.as_ref().map(|(flags, devices)| HotReset {
                flags: *flags,
                devices,
            }),
            dialect: self.dialect,
        };
        device.answer(kind.request(), reply)
    }
}

/// Makes a list of indexes at least `len` long.
fn place<T: Clone>(list: &mut Vec<Option<T>>, len: usize) {
    if list.len() < len {
        list.resize(len, None);
    }
}
