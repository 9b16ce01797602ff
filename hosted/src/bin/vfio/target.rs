//! The device that a command is about, real or simulated, and opening it.

use std::ffi::CString;
use std::fmt;
use std::str::FromStr;

use vfio_core::abi::Extension;
use vfio_core::container::{Container, Group, OpenError};
use vfio_core::device::Device;
use vfio_core::sys::Sys;
use vfio_hosted::discovery::{self, Address, Caller, NoIommuMode, Obstacle, System};
use vfio_hosted::linux::Linux;
use vfio_hosted::sim::{Kernel, Model, model};

use crate::failure::Failure;

/// The device that is meant.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// One of this system.
    Real(Address),
    /// A model of the simulated kernel.
    Simulated(&'static str),
}

/// A device that is open, with what it was opened through.
pub(crate) struct Opened<S: Sys> {
    /// What the user calls it.
    pub(crate) name: String,
    /// Whether it is simulated.
    pub(crate) simulated: bool,
    /// Its IOMMU group.
    pub(crate) group: u32,
    /// The IOMMU driver of its container.
    pub(crate) iommu: Extension,
    /// The page size of its host, in bytes.
    pub(crate) page: u64,
    /// The shim below.
    pub(crate) sys: S,
    /// The device.
    pub(crate) device: Device<S>,
    /// Its container.
    pub(crate) container: Container<S>,
    /// Holds the group for as long as the device is open.
    _group: Group<S>,
}

/// Something that is done with an open device, in whichever world it is.
pub(crate) trait Task {
    /// What comes of it.
    type Output;

    /// Does it.
    fn run<S: Sys + Clone>(self, opened: Opened<S>) -> Result<Self::Output, Failure>;
}

/// The page size of the simulated host, in bytes.
const SIMULATED_PAGE: u64 = 4096;
/// The IOMMU group of the simulated device.
const SIMULATED_GROUP: u32 = 1;
/// The address of the simulated device.
const SIMULATED_ADDRESS: &str = "0000:00:05.0";

impl Target {
    /// Opens the device and does `task` with it. A simulated device is there only meanwhile.
    pub(crate) fn open<T: Task>(self, system: &System, task: T) -> Result<T::Output, Failure> {
        match self {
            Self::Real(address) => {
                let device = system.device(address)?;
                let group = openable(&device, system)?;
                let page = u64::try_from(rustix::param::page_size()).unwrap_or(SIMULATED_PAGE);
                let name = address.to_string();
                task.run(Opened::through_group(Linux, group, &name, page)?)
            }
            Self::Simulated(name) => {
                // The name was checked when it was parsed.
                let model = Model::by_name(name).unwrap_or_else(model::edu);
                task.run(simulate(&format!("sim:{name}"), model)?)
            }
        }
    }
}

/// Opens a simulated device.
pub(crate) fn simulate(name: &str, model: Model) -> Result<Opened<Kernel>, Failure> {
    let kernel = Kernel::new().with_device(SIMULATED_ADDRESS, model, SIMULATED_GROUP);
    let opened = Opened::through_group(kernel, SIMULATED_GROUP, SIMULATED_ADDRESS, SIMULATED_PAGE)?;
    Ok(Opened {
        name: name.to_owned(),
        simulated: true,
        ..opened
    })
}

/// What keeps a device from being looked at. Looking pins no memory.
pub(crate) fn first_obstacle(
    system: &System,
    device: &discovery::Device,
    caller: &Caller,
) -> Option<Obstacle> {
    system
        .obstacles(device, caller)
        .into_iter()
        .find(|obstacle| !matches!(obstacle, Obstacle::MemlockLimit { .. }))
}

/// The group of a device that nothing stands before.
fn openable(device: &discovery::Device, system: &System) -> Result<u32, Failure> {
    let without_group = || Obstacle::NoIommu {
        mode: NoIommuMode::NotLoaded,
    };
    first_obstacle(system, device, &Caller::current())
        .map_or_else(
            || {
                let group = device.group.as_ref().map(|group| group.number);
                group.ok_or_else(without_group)
            },
            Err,
        )
        .map_err(|obstacle| Failure::Obstacle {
            address: device.address,
            obstacle,
        })
}

impl<S: Sys + Clone> Opened<S> {
    /// Opens the device called `name` through its group.
    fn through_group(sys: S, group: u32, name: &str, page: u64) -> Result<Self, Failure> {
        let open = |error| Failure::Open {
            name: name.to_owned(),
            error,
        };
        let container = Container::open(sys.clone()).map_err(open)?;
        let attached = container.attach(group).map_err(open)?;
        let iommu = [Extension::TYPE1V2_IOMMU, Extension::TYPE1_IOMMU]
            .into_iter()
            .find_map(|iommu| match container.set_iommu(iommu) {
                Err(OpenError::NoIommu(_)) => None,
                other => Some(other.map(|()| iommu)),
            })
            .unwrap_or(Err(OpenError::NoIommu(Extension::TYPE1_IOMMU)))
            .map_err(open)?;
        // Names come from an address: there is no NUL in them.
        let c_name = CString::new(name).unwrap_or_default();
        let device = attached.device(&c_name).map_err(open)?;
        Ok(Self {
            name: name.to_owned(),
            simulated: false,
            group,
            iommu,
            page,
            sys,
            device,
            container,
            _group: attached,
        })
    }
}

impl FromStr for Target {
    type Err = UnknownTarget;

    fn from_str(text: &str) -> Result<Self, UnknownTarget> {
        let unknown = || UnknownTarget(text.to_owned());
        match text.strip_prefix("sim:") {
            Some(name) => Model::NAMES
                .iter()
                .find(|model| **model == name)
                .map(|model| Self::Simulated(model))
                .ok_or_else(unknown),
            None => text.parse().map(Self::Real).map_err(|_| unknown()),
        }
    }
}

/// A word that names no device.
#[derive(Debug)]
pub(crate) struct UnknownTarget(String);

impl fmt::Display for UnknownTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is neither a PCI address such as 0000:00:05.0 nor one of sim:{}",
            self.0,
            Model::NAMES.join(", sim:")
        )
    }
}

impl std::error::Error for UnknownTarget {}
