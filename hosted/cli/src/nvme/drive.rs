//! A controller that is driven for as long as something is done with it.

use std::fmt::Display;
use std::process::ExitCode;

use vfio_core::device::DeviceHandle;
use vfio_core::dma::{Dma, DmaHandle};
use vfio_core::mmio::Access;
use vfio_core::open::Session;
use vfio_core::sys::Sys;
use vfio_core::wire::abi::pci_region;
use vfio_drivers::nvme::{Controller, Namespace, Options, QueueOptions};
use vfio_hosted::discovery;

use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output;
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

    /// Does it, until the user asks to end. A failure is for where nothing was done.
    fn run<D: DeviceHandle, M: DmaHandle, A: Access>(
        self,
        controller: &Controller<D, M, A>,
        about: &About,
    ) -> Result<Ended<Self::Output>, Failure>;
}

/// What came of a job.
pub(super) struct Ended<T> {
    /// What was done.
    pub(super) done: T,
    /// What went wrong, if anything did: the job ended before its end, or the controller was not shut down.
    pub(super) failure: Option<Failure>,
}

impl<T> Ended<T> {
    /// Creates the result of a transfer that was finished.
    pub(super) const fn whole(done: T) -> Self {
        Self {
            done,
            failure: None,
        }
    }
}

/// Returns the exit status of a command, by all that can fail at its end. Every failure is told, and the first
/// counts.
pub(super) fn status<const N: usize>(ends: [Result<(), Failure>; N]) -> Result<ExitCode, Failure> {
    let mut failures = ends.into_iter().filter_map(Result::err);
    let Some(first) = failures.next() else {
        return Ok(ExitCode::SUCCESS);
    };
    failures.for_each(|failure| output::failure(&failure));
    Err(first)
}

/// The device that the controller is.
pub(super) struct About {
    /// What the user calls it.
    pub(super) device: String,
    /// Whether it is simulated.
    pub(super) simulated: bool,
    /// The name of the mode in which it was opened.
    pub(super) mode: &'static str,
    /// Tells when the user wants the job to end.
    pub(super) interrupt: &'static Interrupt,
}

impl About {
    /// Returns a failure of the controller.
    pub(super) fn failed(&self, error: &dyn Display) -> Failure {
        Failure::Drive {
            name: self.device.clone(),
            message: error.to_string(),
        }
    }

    /// Returns the namespace with the identifier `id`. Without one, the first that can be used.
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

/// Returns the options of queue pairs for many blocks.
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
pub(super) fn drive<J: Job>(
    target: &Target,
    world: &World,
    job: J,
) -> Result<Ended<J::Output>, Failure> {
    target.open(world, Driven(job))
}

/// The class of NVMe controllers: mass storage, non-volatile memory, NVM Express I/O controller (PCI Code and ID
/// Assignment Specification 1.11, 1.2).
const CLASS: u32 = 0x01_08_02;

/// Checks that a device is an NVMe controller.
pub(crate) fn is_nvme(device: &discovery::SysfsDevice) -> Result<(), Failure> {
    if device.class == CLASS {
        return Ok(());
    }
    Err(Failure::Unsuitable {
        address: device.address,
        wanted: "NVMe controller",
        found: format!("its class is {:06x}, not {CLASS:06x}", device.class),
    })
}

struct Driven<J>(J);

impl<J: Job> Task for Driven<J> {
    type Output = Ended<J::Output>;

    fn suits(&self, device: &discovery::SysfsDevice) -> Result<(), Failure> {
        is_nvme(device)
    }

    fn run<S: Sys + Clone>(self, opened: Opened<S>) -> Result<Self::Output, Failure> {
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
            interrupt: Interrupt::catch(None)?,
        };
        let bar0 = device
            .bring_up(pci_region::BAR0)
            .map_err(|error| about.failed(&error))?;
        let dma = Dma::<_, RANGES>::new(sys, space).map_err(|error| about.failed(&error))?;
        let controller = Controller::start(&device, bar0, &dma, Options::default())
            .map_err(|error| about.failed(&error))?;
        let ended = self.0.run(&controller, &about);
        // One that an error stopped can't be told any more, and the error is what is told.
        let shut_down = controller.shut_down().map_err(|error| about.failed(&error));
        let mut ended = ended?;
        ended.failure = ended.failure.or(shut_down.err());
        Ok(ended)
    }
}

#[cfg(test)]
mod tests {
    use vfio_hosted::model::{self, Nvme, NvmeNamespace};

    use super::*;
    use crate::target::simulate;

    /// Writes a block that no flush follows, and ends in this way.
    struct Unflushed(Result<Ended<()>, Failure>);

    impl Job for Unflushed {
        type Output = ();

        fn run<D: DeviceHandle, M: DmaHandle, A: Access>(
            self,
            controller: &Controller<D, M, A>,
            about: &About,
        ) -> Result<Ended<()>, Failure> {
            let namespace = about.namespace(controller, None)?;
            let options = queue(controller, &namespace);
            let mut pair = controller.queue_pair::<DEPTH>(options).unwrap();
            pair.write_blocks(&namespace, 0, &[7; 512]).unwrap();
            self.0
        }
    }

    #[test]
    fn a_controller_is_shut_down_however_a_job_ends() {
        let failure = || Failure::Signals {
            message: String::new(),
        };
        let ends = [
            Ok(Ended::whole(())),
            Ok(Ended {
                done: (),
                failure: Some(failure()),
            }),
            Err(failure()),
        ];
        for end in ends {
            let nvme = Nvme::new().with_namespace(NvmeNamespace::of_512(8192));
            let control = nvme.control();
            let opened = simulate::<Driven<Unflushed>>(model::nvme_with(nvme), None);
            let opened = opened.unwrap_or_else(|failure| panic!("{failure}"));
            let _ = Driven(Unflushed(end)).run(opened);
            // A controller that is shut down writes its cache back; one that is only reset loses it.
            control.cut_power();
            let medium = control.medium(1).unwrap();
            assert!(medium.starts_with(&[7; 512]));
        }
    }
}
