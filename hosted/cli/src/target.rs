//! The device that a command is about, real, simulated or another process's, and opening it.

use std::ffi::{CStr, CString};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use uuid::Uuid;
use vfio_core::open::{Mode, Session};
use vfio_core::sys::{NoIommu, Sys};
use vfio_hosted::OwnedPlace;
use vfio_hosted::discovery::{self, Address, Caller, Obstacle, System};
use vfio_hosted::linux::Linux;
use vfio_hosted::model::{self, Model};
use vfio_hosted::sim::Kernel;
use vfio_hosted::vfio_user::{Options, VfioUser};

use crate::failure::Failure;

/// Where devices are, and how they are opened.
pub(crate) struct World {
    /// What stands for `/`.
    pub(crate) root: PathBuf,
    /// The system.
    pub(crate) system: System,
    /// The mode that is asked for.
    pub(crate) mode: Option<Mode>,
    /// The token of an SR-IOV device.
    pub(crate) vf_token: Option<Uuid>,
    /// Results are written as JSON.
    pub(crate) json: bool,
    /// Whether regions of a device that another process serves are mapped though it could cut their file short.
    pub(crate) maps_unsealed: bool,
}

/// The device that is meant.
#[derive(Clone)]
pub(crate) enum Target {
    /// One of this system.
    Real(Address),
    /// A model of the simulated kernel.
    Simulated(&'static str),
    /// The one that a process serves over the socket at this path.
    Served(CString),
}

/// A device that is open, with what it was opened through.
pub(crate) struct Opened<S: Sys> {
    /// What the user calls it.
    pub(crate) name: String,
    /// Whether it is simulated.
    pub(crate) simulated: bool,
    /// Results are written as JSON.
    pub(crate) json: bool,
    /// Its IOMMU group.
    pub(crate) group: Option<u32>,
    /// The page size of its host, in bytes.
    pub(crate) page: u64,
    /// The shim below.
    pub(crate) sys: S,
    /// The device, and where memory is mapped for it.
    pub(crate) session: Session<S>,
}

/// Something that is done with an open device, in whichever world it is.
pub(crate) trait Task {
    /// What comes of it.
    type Output;

    /// The modes in which the device is opened where none is asked for: the first that the system has.
    const MODES: &'static [Mode] = &Mode::PREFERRED;

    /// Checks that a device is one that it can be done with, before the device is opened and so changed.
    fn suits(&self, _device: &discovery::SysfsDevice) -> Result<(), Failure> {
        Ok(())
    }

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
    pub(crate) fn open<T: Task>(&self, world: &World, task: T) -> Result<T::Output, Failure> {
        match self {
            Self::Real(address) => {
                let device = world.system.device(*address)?;
                task.suits(&device)?;
                openable(&device, &world.system)?;
                let page = u64::try_from(rustix::param::page_size()).unwrap_or(SIMULATED_PAGE);
                let place = OwnedPlace {
                    token: world.vf_token.map(Uuid::into_bytes),
                    noiommu: acknowledged(world.mode),
                    ..device.place()
                };
                let opened = Opened::at::<T>(Linux, place, world.mode, page)?;
                task.run(Opened {
                    json: world.json,
                    ..opened
                })
            }
            Self::Simulated(name) => {
                // The name was checked when it was parsed.
                let model = Model::by_name(name).unwrap_or_else(model::edu);
                let opened = simulate::<T>(model, world.mode)?;
                task.run(Opened {
                    name: format!("sim:{name}"),
                    simulated: true,
                    json: world.json,
                    ..opened
                })
            }
            Self::Served(socket) => served(socket, world, task),
        }
    }
}

/// Opens the device that a process serves, and does `task` with it.
fn served<T: Task>(socket: &CStr, world: &World, task: T) -> Result<T::Output, Failure> {
    let sys = VfioUser::with_options(Options {
        maps_unsealed: world.maps_unsealed,
        ..Options::default()
    });
    let place = OwnedPlace {
        name: socket.to_owned(),
        socket: Some(socket.to_owned()),
        ..OwnedPlace::default()
    };
    let name = format!("unix:{}", socket.to_string_lossy());
    let mode = Some(Mode::VfioUser);
    match Opened::at::<T>(sys.clone(), place, mode, SIMULATED_PAGE) {
        Ok(opened) => task.run(Opened { name, ..opened }),
        Err(Failure::Open { error, .. }) => Err(match sys.failure() {
            Some(failure) => Failure::Served { name, failure },
            None => Failure::Open { name, error },
        }),
        Err(failure) => Err(failure),
    }
}

/// Opens a simulated device.
pub(crate) fn simulate<T: Task>(
    model: Model,
    mode: Option<Mode>,
) -> Result<Opened<Kernel>, Failure> {
    let (address, group) = (SIMULATED_ADDRESS, SIMULATED_GROUP);
    let kernel = Kernel::new();
    let kernel = match mode {
        Some(Mode::NoIommu) => kernel.with_noiommu_device(address, model, group),
        _ => kernel.with_device(address, model, group),
    };
    let place = OwnedPlace {
        noiommu: acknowledged(mode),
        ..kernel.place(address).unwrap_or_default()
    };
    Opened::at::<T>(kernel, place, mode, SIMULATED_PAGE)
}

/// Returns the user's word that a device is to be opened without an IOMMU: asking for that mode
/// gives it.
fn acknowledged(mode: Option<Mode>) -> Option<NoIommu> {
    (mode == Some(Mode::NoIommu)).then(|| {
        // SAFETY: the user asked for the mode, of which the help says what it takes. The drivers
        // of this program stop their devices before they give memory back, and no other command
        // gives a device memory; what a user writes into registers is the user's.
        unsafe { NoIommu::acknowledge() }
    })
}

/// Returns the first obstacle to looking at a device. Looking pins no memory.
pub(crate) fn first_obstacle(
    system: &System,
    device: &discovery::SysfsDevice,
    caller: &Caller,
) -> Option<Obstacle> {
    system
        .obstacles(device, caller)
        .into_iter()
        .find(|obstacle| !matches!(obstacle, Obstacle::MemlockLimit { .. }))
}

/// Tells whether nothing stands before a device.
fn openable(device: &discovery::SysfsDevice, system: &System) -> Result<(), Failure> {
    match first_obstacle(system, device, &Caller::current()) {
        None => Ok(()),
        Some(obstacle) => Err(Failure::Obstacle {
            address: device.address,
            obstacle,
        }),
    }
}

impl<S: Sys + Clone> Opened<S> {
    /// Opens the device at `place`: in `mode`, or else in one of the task's.
    fn at<T: Task>(
        sys: S,
        place: OwnedPlace,
        mode: Option<Mode>,
        page: u64,
    ) -> Result<Self, Failure> {
        let opened = match mode {
            Some(mode) => Session::open_in(mode, &sys, &place.as_place()),
            None => Session::open_first(T::MODES, &sys, &place.as_place()),
        };
        let name = place.name.to_string_lossy().into_owned();
        match opened {
            Ok(session) => Ok(Self {
                name,
                simulated: false,
                json: false,
                group: place.group,
                page,
                sys,
                session,
            }),
            Err(error) => Err(Failure::Open { name, error }),
        }
    }
}

impl FromStr for Target {
    type Err = UnknownTarget;

    fn from_str(text: &str) -> Result<Self, UnknownTarget> {
        let unknown = || UnknownTarget(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            let path = CString::new(path).map_err(|_| unknown())?;
            return match path.is_empty() {
                true => Err(unknown()),
                false => Ok(Self::Served(path)),
            };
        }
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
            "{:?} is neither a PCI address such as 0000:00:05.0, nor a socket unix:PATH, nor one of sim:{}",
            self.0,
            Model::NAMES.join(", sim:")
        )
    }
}

impl std::error::Error for UnknownTarget {}
