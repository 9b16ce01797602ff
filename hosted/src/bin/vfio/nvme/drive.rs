//! A controller that is driven for as long as something is done with it.

use std::fmt::Display;

use vfio_core::abi::pci_region;
use vfio_core::device::DeviceHandle;
use vfio_core::dma::{Dma, DmaHandle};
use vfio_core::mmio::Access;
use vfio_core::session::Session;
use vfio_core::sys::Sys;
use vfio_drivers::nvme::{Controller, Namespace, Options, QueueOptions};

use crate::failure::Failure;
use crate::target::{Opened, Target, Task, World};

/// How many buffers and ranges of addresses there can be.
pub(crate) const RANGES: usize = 64;

/// How many commands are under way at a time where blocks are read and written.
pub(crate) const DEPTH: usize = 16;

/// Bytes of each of these commands, if the controller transfers as many.
const SLOT: usize = 128 << 10;

/// Something that is done with a controller, in whichever world it is.
pub(super) trait Job {
    /// What comes of it.
    type Output;

    /// Does it.
    fn run<D: DeviceHandle, M: DmaHandle, A: Access>(
        self,
        controller: &Controller<D, M, A>,
        about: &About,
    ) -> Result<Self::Output, Failure>;
}

/// The device that the controller is.
pub(super) struct About {
    /// What the user calls it.
    pub(super) device: String,
    /// Whether it is simulated.
    pub(super) simulated: bool,
    /// The name of the mode in which it was opened.
    pub(super) mode: &'static str,
}

impl About {
    /// A failure of the controller.
    pub(super) fn failed(&self, error: &dyn Display) -> Failure {
        Failure::Drive {
            name: self.device.clone(),
            message: error.to_string(),
        }
    }

    /// The namespace with the identifier `id`; without one, the first that can be used.
    pub(super) fn namespace<D: DeviceHandle, M: DmaHandle, A: Access>(
        &self,
        controller: &Controller<D, M, A>,
        id: Option<u32>,
    ) -> Result<Namespace, Failure> {
        let found = match id {
            Some(id) => controller.namespace(id).map(Some),
            None => controller.first_namespace(),
        };
        found
            .map_err(|error| self.failed(&error))?
            .ok_or_else(|| self.failed(&"the controller has no namespace"))
    }
}

/// What queue pairs for many blocks are like.
pub(crate) fn queue<D: DeviceHandle, M: DmaHandle, A: Access>(
    controller: &Controller<D, M, A>,
    namespace: &Namespace,
) -> QueueOptions {
    let longest = controller.longest_transfer().unwrap_or(SLOT).min(SLOT);
    QueueOptions {
        slot: longest,
        // A block has no more metadata than data, as far as any is known.
        metadata: if namespace.has_separate_metadata() {
            longest
        } else {
            0
        },
        vector: None,
    }
}

/// Starts the controller `target`, does `job`, and shuts it down.
pub(super) fn drive<J: Job>(target: Target, world: &World, job: J) -> Result<J::Output, Failure> {
    target.open(world, Driven(job))
}

struct Driven<J>(J);

impl<J: Job> Task for Driven<J> {
    type Output = J::Output;

    fn run<S: Sys + Clone>(self, opened: Opened<S>) -> Result<J::Output, Failure> {
        let Opened {
            name,
            simulated,
            sys,
            session,
            ..
        } = opened;
        let Session {
            mode,
            device,
            space,
        } = session;
        let about = About {
            device: name,
            simulated,
            mode: mode.name(),
        };
        let bar0 = device
            .bring_up(pci_region::BAR0)
            .map_err(|error| about.failed(&error))?;
        let dma = Dma::<_, RANGES>::new(sys, space).map_err(|error| about.failed(&error))?;
        let controller = Controller::start(&device, bar0, &dma, Options::default())
            .map_err(|error| about.failed(&error))?;
        let output = self.0.run(&controller, &about)?;
        controller
            .shut_down()
            .map_err(|error| about.failed(&error))?;
        Ok(output)
    }
}
