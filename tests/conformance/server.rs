//! The answering side gives the bytes and error numbers that kernels gave.
//!
//! A device is described from its replies to an ample buffer; from the description, every
//! captured reply must come out again, byte for byte, at every argsz and every index.

use std::collections::BTreeMap;

use vfio_core::abi::{DeviceFlags, PciDependentDevice, RegionFlags};
use vfio_core::info::{DeviceInfo, HotResetInfo, IommuInfo, IrqInfo, RegionInfo};
use vfio_core::server::{Device, Dialect, HotReset, Iommu, IommuDriver, Irq, Region};
use vfio_core::sys::Errno;
use vfio_tests::capability::{Capability, collect};
use vfio_tests::fixture::{self, Fixture};
use vfio_tests::outcome::Kind;

/// A device as its ample replies describe it.
#[derive(Default)]
struct Described {
    flags: DeviceFlags,
    caps: Vec<Capability>,
    regions: Vec<Option<DescribedRegion>>,
    irqs: Vec<Option<Irq>>,
    hot_reset: Option<(vfio_core::abi::HotResetFlags, Vec<PciDependentDevice>)>,
    iova_pgsizes: u64,
    iommu_caps: Vec<Capability>,
}

#[derive(Clone)]
struct DescribedRegion {
    flags: RegionFlags,
    size: u64,
    offset: u64,
    caps: Vec<Capability>,
}

/// Which kernel, which device, reached how.
type Subject = (String, String, String);

fn subject(fixture: &Fixture) -> Subject {
    (
        fixture.source.clone(),
        fixture.label.clone(),
        fixture.via.clone(),
    )
}

/// The captured replies of kernels, by device.
fn captured() -> BTreeMap<Subject, Vec<Fixture>> {
    let mut devices: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for fixture in fixture::index() {
        if fixture.source.starts_with("linux") {
            devices.entry(subject(&fixture)).or_default().push(fixture);
        }
    }
    devices
}

/// How the kernel and the kernel driver behind a device answer.
fn dialect(fixture: &Fixture) -> Dialect {
    match fixture.label.split('-').next() {
        _ if fixture.source.starts_with("linux 6.1.") => Dialect::LINUX_6_1,
        Some("mbochs" | "mdpy") => Dialect::MDEV_DISPLAY,
        Some("mtty") => Dialect::MDEV,
        _ => Dialect::LINUX_6_6,
    }
}

impl Described {
    fn new(fixtures: &[Fixture]) -> Self {
        let mut described = Self::default();
        let ample = fixtures.iter().filter(|fixture| {
            fixture.argsz_in == 4096 && fixture.prefill == "a5" && fixture.result().is_ok()
        });
        for fixture in ample {
            described.add(fixture, &fixture.bytes());
        }
        described
    }

    fn add(&mut self, fixture: &Fixture, reply: &[u8]) {
        let index = usize::try_from(fixture.index.unwrap_or(0)).unwrap();
        match fixture.kind() {
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
                self.irqs[index] = Some(Irq {
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

    /// Answers as the kernel of `fixture` does.
    fn answer(&self, fixture: &Fixture, reply: &mut [u8]) -> Result<(), Errno> {
        let dialect = dialect(fixture);
        let asked = fixture.kind().request();
        if fixture.kind() == Kind::Iommu {
            let caps: Vec<_> = self
                .iommu_caps
                .iter()
                .map(|cap| cap.content.to_iommu())
                .collect();
            let driver = match fixture.via.as_str() {
                "group-iommufd-compat" => IommuDriver::Iommufd,
                "group-type1v2" => IommuDriver::Type1,
                other => panic!("{}: a container by {other}", fixture.file),
            };
            let iommu = Iommu {
                driver,
                iova_pgsizes: self.iova_pgsizes,
                caps: &caps,
                dialect,
            };
            return iommu.answer(asked, reply);
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
                region.as_ref().map(|region| Region {
                    flags: region.flags,
                    size: region.size,
                    offset: region.offset,
                    caps,
                })
            })
            .collect();
        let device = Device {
            flags: self.flags,
            caps: &caps,
            regions: &regions,
            irqs: &self.irqs,
            hot_reset: self.hot_reset.as_ref().map(|(flags, devices)| HotReset {
                flags: *flags,
                devices,
            }),
            dialect,
        };
        device.answer(asked, reply)
    }
}

/// Makes a list of indexes at least `len` long.
fn place<T: Clone>(list: &mut Vec<Option<T>>, len: usize) {
    if list.len() < len {
        list.resize(len, None);
    }
}

/// Compares the answers to each captured call of one source; there must be `count` of them.
fn check(source: &str, count: usize) {
    let mut compared = 0;
    let mut wrong = Vec::new();
    for (subject, fixtures) in captured() {
        if !subject.0.starts_with(source) {
            continue;
        }
        let described = Described::new(&fixtures);
        for fixture in &fixtures {
            let mut reply = fixture.buffer_before();
            let answer = described.answer(fixture, &mut reply);
            let captured = fixture.bytes();
            // Of a call that failed, no more than the structure was kept.
            let same = reply.get(..captured.len()) == Some(&captured)
                && reply[captured.len()..] == fixture.buffer_before()[captured.len()..];
            if !same || answer != fixture.result() {
                let differs = reply.iter().zip(&captured).position(|(a, b)| a != b);
                wrong.push(format!(
                    "{}: {answer:?} instead of {:?}, first other byte {differs:?}",
                    fixture.file,
                    fixture.result()
                ));
            }
            compared += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(compared, count);
}

#[test]
fn linux_6_1() {
    check("linux 6.1.", 161);
}

#[test]
fn linux_6_12() {
    check("linux 6.12.", 56);
}

#[test]
fn linux_7_3() {
    check("linux 7.3.", 122);
}

#[test]
fn requests_of_other_files_are_refused() {
    let mut reply = [0; 64];
    let device = Device::default();
    let iommu = Iommu::default();
    assert_eq!(
        device.answer(Kind::Iommu.request(), &mut reply),
        Err(Errno::ENOTTY)
    );
    for kind in [Kind::Device, Kind::Region, Kind::Irq, Kind::HotReset] {
        assert_eq!(iommu.answer(kind.request(), &mut reply), Err(Errno::ENOTTY));
    }
    assert_eq!(reply, [0; 64]);
}
