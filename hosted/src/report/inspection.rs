//! All that VFIO says of an open device.

use serde::Serialize;
use vfio_core::device::Device;
use vfio_core::device::coverage::{Coverage, Reach};
use vfio_core::open::AddressSpace;
use vfio_core::open::iommufd;
use vfio_core::query::QueryError;
use vfio_core::sys::{Errno, Sys};
use vfio_core::wire::abi::{DeviceFlags, IommuIovaRange, pci_irq, pci_region};

use super::{Cap, Dependent, caps, names};

/// A device: its regions, interrupts, IOMMU and reset set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// The names of the device's flags.
    pub flags: Vec<&'static str>,
    /// The device's flags as a number.
    pub flags_raw: u32,
    /// How many region indexes there are.
    pub num_regions: u32,
    /// How many interrupt indexes there are.
    pub num_irqs: u32,
    /// The device's capabilities.
    pub caps: Vec<Cap>,
    /// The regions that are there.
    pub regions: Vec<RegionReport>,
    /// The interrupts that are there.
    pub irqs: Vec<IrqReport>,
    /// The IOMMU of the device's container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iommu: Option<IommuReport>,
    /// The I/O address space of an iommufd that the device is attached to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ioas: Option<Ioas>,
    /// What a hot reset takes along; none where the device can't be reset so.
    pub hot_reset: Option<HotReset>,
    /// What could not be asked, or was answered with nonsense.
    pub troubles: Vec<Trouble>,
}

/// A region.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RegionReport {
    /// Its index.
    pub index: u32,
    /// What the index means, or what the type capability says.
    pub name: String,
    /// The names of its flags.
    pub flags: Vec<&'static str>,
    /// Its flags as a number.
    pub flags_raw: u32,
    /// Bytes.
    pub size: u64,
    /// Where it lies in the device's file, in bytes.
    pub offset: u64,
    /// Its capabilities.
    pub caps: Vec<Cap>,
    /// Its bytes from the first to the last, by how they are reached.
    pub spans: Vec<StretchReport>,
}

/// A stretch of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct StretchReport {
    /// Its start, in bytes from the start of the region.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
    /// Whether it can be mapped; else it is read and written by system calls.
    pub mapped: bool,
}

/// An interrupt index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IrqReport {
    /// The index.
    pub index: u32,
    /// What the index means.
    pub name: String,
    /// The names of its flags.
    pub flags: Vec<&'static str>,
    /// Its flags as a number.
    pub flags_raw: u32,
    /// How many interrupts it has.
    pub count: u32,
}

/// The IOMMU of a container.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IommuReport {
    /// The names of its flags.
    pub flags: Vec<&'static str>,
    /// Its flags as a number.
    pub flags_raw: u32,
    /// A bit for each size, in bytes, that a mapping is made of.
    pub iova_pgsizes: u64,
    /// Its capabilities.
    pub caps: Vec<Cap>,
}

/// An I/O address space of an iommufd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ioas {
    /// What addresses and sizes of mappings are multiples of, in bytes.
    pub iova_alignment: u64,
    /// The first and the last address of each range that can be mapped.
    pub iova_ranges: Vec<(u64, u64)>,
}

/// What a hot reset takes along.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HotReset {
    /// The names of the flags.
    pub flags: Vec<&'static str>,
    /// The flags as a number.
    pub flags_raw: u32,
    /// The devices.
    pub devices: Vec<Dependent>,
}

/// A question without a usable answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// What was asked about.
    pub subject: String,
    /// What went wrong.
    pub message: String,
    /// Whether the answer was malformed.
    pub malformed: bool,
}

/// How many indexes are asked about at most: no real device comes near, and a hostile reply
/// can claim 4 billion.
const MAX_INDEXES: u32 = 1024;

/// How many ranges of IOVAs there is room for: a machine has a handful.
const MAX_RANGES: usize = 256;

/// Asks a device, and the address space that it is attached to, about everything. `page` is the
/// size of the host's pages in bytes.
pub fn inspect<S: Sys + Clone>(
    device: &Device<S>,
    space: &AddressSpace<S>,
    page: u64,
) -> Inspection {
    let mut troubles = Vec::new();
    let mut buffer = vec![0; 256];
    let mut this = Inspection {
        flags: Vec::new(),
        flags_raw: 0,
        num_regions: 0,
        num_irqs: 0,
        caps: Vec::new(),
        regions: Vec::new(),
        irqs: Vec::new(),
        iommu: None,
        ioas: None,
        hot_reset: None,
        troubles: Vec::new(),
    };
    let mut is_pci = false;
    match device.info(&mut buffer) {
        Ok(info) => {
            is_pci = info.flags.contains(DeviceFlags::PCI);
            this.flags = names(&info.flags);
            this.flags_raw = info.flags.bits();
            this.num_regions = info.num_regions;
            this.num_irqs = info.num_irqs;
            this.caps = caps::list(&info.caps);
        }
        Err(error) => troubles.push(trouble("device", &error)),
    }
    this.regions = ask_regions(
        device,
        this.num_regions,
        is_pci,
        page,
        &mut buffer,
        &mut troubles,
    );
    for index in 0..indexes(this.num_irqs, &mut troubles) {
        match device.irq(index) {
            Ok(irq) => this.irqs.push(IrqReport {
                index,
                name: irq_name(index, is_pci),
                flags: names(&irq.flags),
                flags_raw: irq.flags.bits(),
                count: irq.count,
            }),
            Err(QueryError::Errno(Errno::EINVAL)) => (),
            Err(error) => troubles.push(trouble(&format!("interrupt {index}"), &error)),
        }
    }
    match space {
        AddressSpace::Container(container) => match container.iommu_info(&mut buffer) {
            Ok(info) => {
                this.iommu = Some(IommuReport {
                    flags: names(&info.flags),
                    flags_raw: info.flags.bits(),
                    iova_pgsizes: info.iova_pgsizes,
                    caps: caps::list(&info.caps),
                });
            }
            Err(error) => troubles.push(trouble("IOMMU", &error)),
        },
        AddressSpace::Ioas(ioas) => match ask_ioas(ioas) {
            Ok(ioas) => this.ioas = Some(ioas),
            Err(errno) => troubles.push(Trouble {
                subject: "I/O address space".into(),
                message: errno.to_string(),
                malformed: false,
            }),
        },
        AddressSpace::NoIommu(_) => (),
    }
    match device.hot_reset_info(&mut buffer) {
        Ok(info) => {
            this.hot_reset = Some(HotReset {
                flags: names(&info.flags),
                flags_raw: info.flags.bits(),
                devices: Dependent::list(&info),
            });
        }
        // On the root bus, and for what is not PCI.
        Err(QueryError::Errno(Errno::ENODEV | Errno::ENOTTY)) => (),
        Err(error) => troubles.push(trouble("hot reset", &error)),
    }
    this.troubles = troubles;
    this
}

/// Asks an I/O address space for its ranges.
fn ask_ioas<S: Sys>(ioas: &iommufd::Ioas<S>) -> Result<Ioas, Errno> {
    let mut ranges = vec![IommuIovaRange::default(); MAX_RANGES];
    let (count, iova_alignment) = ioas.iova_ranges(&mut ranges)?;
    let told = ranges.iter().take(count);
    Ok(Ioas {
        iova_alignment,
        iova_ranges: told.map(|range| (range.start, range.last)).collect(),
    })
}

/// Asks a device about its regions alone: those that are there, and what could not be asked. `page` is the size of the
/// host's pages in bytes.
pub fn regions<S: Sys>(device: &Device<S>, page: u64) -> (Vec<RegionReport>, Vec<Trouble>) {
    let mut troubles = Vec::new();
    let mut buffer = vec![0; 256];
    let (count, is_pci) = match device.info(&mut buffer) {
        Ok(info) => (info.num_regions, info.flags.contains(DeviceFlags::PCI)),
        Err(error) => {
            troubles.push(trouble("device", &error));
            (0, false)
        }
    };
    let regions = ask_regions(device, count, is_pci, page, &mut buffer, &mut troubles);
    (regions, troubles)
}

fn ask_regions<S: Sys>(
    device: &Device<S>,
    count: u32,
    is_pci: bool,
    page: u64,
    buffer: &mut Vec<u8>,
    troubles: &mut Vec<Trouble>,
) -> Vec<RegionReport> {
    let mut regions = Vec::new();
    for index in 0..indexes(count, troubles) {
        match region(device, index, is_pci, page, buffer) {
            Ok(region) => regions.push(region),
            Err(QueryError::Errno(Errno::EINVAL)) => (),
            Err(error) => troubles.push(trouble(&format!("region {index}"), &error)),
        }
    }
    regions
}

/// Returns how many of the indexes that are claimed are asked about.
fn indexes(claimed: u32, troubles: &mut Vec<Trouble>) -> u32 {
    if claimed > MAX_INDEXES {
        troubles.push(Trouble {
            subject: "device".into(),
            message: format!("{claimed} indexes are claimed; only {MAX_INDEXES} are asked about"),
            malformed: true,
        });
    }
    claimed.min(MAX_INDEXES)
}

fn region<S: Sys>(
    device: &Device<S>,
    index: u32,
    is_pci: bool,
    page: u64,
    buffer: &mut Vec<u8>,
) -> Result<RegionReport, QueryError<vfio_core::wire::abi::RegionInfo>> {
    let info = device.region(index, buffer)?;
    let name = match info.kind() {
        Some(kind) => kind.to_string(),
        None => region_name(index, is_pci),
    };
    let spans = Coverage::new(&info, page).map(|span| StretchReport {
        offset: span.offset,
        size: span.size,
        mapped: span.reach == Reach::Mapped,
    });
    Ok(RegionReport {
        index,
        name,
        flags: names(&info.flags),
        flags_raw: info.flags.bits(),
        size: info.size,
        offset: info.offset,
        caps: caps::list(&info.caps),
        spans: spans.collect(),
    })
}

fn region_name(index: u32, is_pci: bool) -> String {
    match index {
        _ if !is_pci => "-".into(),
        pci_region::BAR0..=pci_region::BAR5 => format!("BAR{index}"),
        pci_region::ROM => "ROM".into(),
        pci_region::CONFIG => "CONFIG".into(),
        pci_region::VGA => "VGA".into(),
        _ => "device specific".into(),
    }
}

fn irq_name(index: u32, is_pci: bool) -> String {
    match index {
        _ if !is_pci => "-",
        pci_irq::INTX => "INTX",
        pci_irq::MSI => "MSI",
        pci_irq::MSIX => "MSIX",
        pci_irq::ERR => "ERR",
        pci_irq::REQ => "REQ",
        _ => "device specific",
    }
    .into()
}

fn trouble<H>(subject: &str, error: &QueryError<H>) -> Trouble {
    Trouble {
        subject: subject.into(),
        message: error.to_string(),
        malformed: matches!(error, QueryError::Malformed(_)),
    }
}
