//! Does the reference driver drive the device, in every mode of the kernel's IOMMU API?

use std::ffi::CString;

use anyhow::{Context as _, Result, anyhow, ensure};
use vfio_core::abi::{Extension, pci_region};
use vfio_core::container::Container;
use vfio_core::device::Device as Opened;
use vfio_core::dma::{AddressSpace, Dma};
use vfio_core::iommufd::Ioas;
use vfio_core::mmio::ReadWrite;
use vfio_core::pci::{Command, Config, DeviceConfig};
use vfio_drivers::edu::{Outcome, exercise};
use vfio_guest::Device;
use vfio_hosted::linux::Linux;

use crate::report::NotRun;
use crate::world::{World, cdev, group};

/// The ways to an I/O address space.
const MODES: [(&str, Mode); 5] = [
    (
        "type1",
        Mode::Group(c"/dev/vfio/vfio", Extension::TYPE1_IOMMU),
    ),
    (
        "type1v2",
        Mode::Group(c"/dev/vfio/vfio", Extension::TYPE1V2_IOMMU),
    ),
    (
        "iommufd as type1",
        Mode::Group(c"/dev/iommu", Extension::TYPE1_IOMMU),
    ),
    (
        "iommufd as type1v2",
        Mode::Group(c"/dev/iommu", Extension::TYPE1V2_IOMMU),
    ),
    ("iommufd", Mode::Cdev),
];

#[derive(Clone, Copy)]
enum Mode {
    /// Through the group, with this container and this driver of it.
    Group(&'static std::ffi::CStr, Extension),
    /// Through the character device.
    Cdev,
}

/// The whole reference driver of edu, in every mode that the kernel has.
pub(crate) fn edu(_: &World, device: &Device) -> Result<String> {
    if device.name != "edu" {
        return Err(NotRun("this is another device".into()).into());
    }
    let mut seen = Vec::new();
    for (name, mode) in MODES {
        match open(device, mode) {
            Ok((space, opened)) => {
                run(space, &opened).with_context(|| name.to_owned())?;
                seen.push(name);
            }
            Err(error) if error.is::<NotRun>() => (),
            Err(error) => return Err(error.context(name)),
        }
    }
    ensure!(seen.len() >= 2, "only {seen:?}");
    Ok(seen.join(", "))
}

fn open(device: &Device, mode: Mode) -> Result<(AddressSpace<Linux>, Opened<Linux>)> {
    match mode {
        Mode::Group(path, iommu) => {
            if path == c"/dev/iommu" && !std::path::Path::new("/dev/iommu").exists() {
                return Err(NotRun("this kernel has no /dev/iommu".into()).into());
            }
            let container = Container::open_at(Linux, path)?;
            let group = container.attach(group(device)?)?;
            container.set_iommu(iommu)?;
            let opened = group.device(&CString::new(device.address())?)?;
            Ok((AddressSpace::Container(container), opened))
        }
        Mode::Cdev => {
            let path = CString::new(cdev(device)?)?;
            let ioas = Ioas::open(Linux)?;
            let opened = ioas.attach(&path)?;
            Ok((AddressSpace::Ioas(ioas), opened))
        }
    }
}

fn run(space: AddressSpace<Linux>, device: &Opened<Linux>) -> Result<()> {
    let mut buffer = [0; 512];
    let mut config = Config::new(DeviceConfig::ask(device, &mut buffer)?);
    let command = config.command().map_err(|error| anyhow!("{error}"))?;
    config
        .set_command(command | Command::MASTER | Command::MEMORY)
        .map_err(|error| anyhow!("{error}"))?;
    let dma = Dma::<_, 64>::new(Linux, space)?;
    let region = device.region(pci_region::BAR0, &mut buffer)?;
    let bar0 = device.map::<ReadWrite>(&region, 0)?;
    let report = exercise(device, bar0, &dma);
    for (step, outcome) in &report.steps {
        ensure!(*outcome == Outcome::Passed, "{}: {outcome:?}", step.name());
    }
    let left = dma.space().unmap_all();
    ensure!(
        matches!(left, Ok(0) | Err(vfio_core::sys::Errno::ENOENT)),
        "left mapped: {left:?}"
    );
    Ok(())
}
