//! Tries the driver of NVMe controllers, and counts what its reads cost.

mod area;
mod data;
mod discard;
mod errors;
mod event;
mod queues;
mod reads;
mod run;
mod step;
mod transfer;

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use vfio_core::device::DeviceHandle;
use vfio_core::dma::DmaHandle;
use vfio_core::mmio::{Access, Window};
use vfio_drivers::nvme::{
    Controller, ControllerHandle, ErrorOf, Namespace, NvmeError, Options, QueuePair, Refused,
};

pub use area::NotRestored;
pub use reads::{Cost, RandomBlocks, random_reads};
pub use run::run;
pub use step::Step;

use area::{Area, keep, put_back};

/// Bytes that are kept at most: as many are written, at the end of the namespace.
pub const KEPT: usize = 128 << 10;

/// What the caller lends.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Lent<'a> {
    /// Keeps what is on the blocks that are written, out of the device's reach. Where it has less
    /// than [`KEPT`] bytes, fewer blocks are written.
    pub kept: &'a mut [u8],
    /// Set by the caller, ends the exercise before its next step. What was there is put back.
    pub ends: &'a AtomicBool,
}

/// How each step went; `E` is how a register access can fail.
pub type Report<E> = crate::Report<Step, NvmeError<E>, NotRestored<E>, { Step::ALL.len() }>;

/// How a step went; `E` is how a register access can fail.
pub type Outcome<E> = crate::Outcome<NvmeError<E>, NotRestored<E>>;

/// What a step returns.
type Done<C, T = ()> = Result<T, Outcome<ErrorOf<C>>>;

/// Commands at a time of the queue pair that most steps use.
const DEPTH: usize = 8;

/// How long an interrupt or an event may take.
const SOON: Duration = Duration::from_secs(10);

/// Tries every step on the `device` whose BAR 0 is `bar0`, with memory of `dma`. Its bus
/// mastering must be on.
///
/// Blocks at the end of the first namespace are written. What was there is kept in memory of the
/// caller's meanwhile, and put back at the end, after the controller was started again: whatever
/// went wrong before, it does not go wrong with it. [`NotRestored`] says that it could
/// not be put back. After a step that fails, those that build on it are [`Outcome::NotRun`].
///
/// ```
/// use core::sync::atomic::AtomicBool;
/// use vfio_core::device::Device;
/// use vfio_core::dma::Dma;
/// use vfio_core::mmio::{Access, Window};
/// use vfio_core::sys::Sys;
/// use vfio_drivers::nvme::Options;
/// use vfio_exercise::nvme::{KEPT, Lent, exercise};
///
/// fn works<S: Sys, A: Access>(device: &Device<S>, bar0: Window<A>, dma: &Dma<S, 32>) -> bool {
///     let lent = Lent {
///         kept: &mut [0; KEPT],
///         ends: &AtomicBool::new(false),
///     };
///     exercise(device, bar0, dma, Options::default(), lent).passed()
/// }
/// ```
pub fn exercise<D: DeviceHandle, A: Access, M: DmaHandle>(
    device: D,
    bar0: Window<A>,
    dma: M,
    options: Options,
    lent: Lent<'_>,
) -> Report<A::Error> {
    let mut report = Report::new(Step::ALL);
    let started = Controller::start(device.clone(), bar0, dma, options).map_err(Outcome::Device);
    let Some(mut controller) = report.keep(Step::Start, started) else {
        return report;
    };
    blocks(&mut report, device, &mut controller, lent);
    report.keep(
        Step::ShutDown,
        controller.shut_down().map_err(Outcome::Device),
    );
    report
}

/// Tries what is done with blocks, and puts back what was on them.
fn blocks<D: DeviceHandle, A: Access, M: DmaHandle>(
    report: &mut Report<A::Error>,
    device: D,
    controller: &mut Controller<D, M, A>,
    lent: Lent<'_>,
) {
    let found = first_namespace(&*controller);
    let Some(namespace) = report.keep(Step::Namespace, found) else {
        return;
    };
    let longest = controller.longest_transfer().unwrap_or(KEPT).min(KEPT);
    let area = Area::new(&namespace, longest, lent.kept.len()).ok_or(Outcome::NotThere);
    let area = area.and_then(|area| {
        keep(&*controller, &area, lent.kept)?;
        Ok(area)
    });
    let area = match area {
        Ok(area) => area,
        // Nothing was written.
        Err(outcome) => {
            let _: Option<()> = report.keep(Step::RoundTrip, Err(outcome));
            return;
        }
    };
    let mut trial = Trial {
        report: &mut *report,
        ends: lent.ends,
    };
    steps(&mut trial, device, &&*controller, &area);
    let restarted = controller.restart().map_err(Outcome::Device);
    report.keep(Step::Restart, restarted);
    let restored = put_back(controller, &area, lent.kept);
    let restored = restored.map_err(|error| Outcome::Lost(area.not_restored(error)));
    report.keep(Step::Restore, restored);
}

/// The steps that are tried one after the other.
struct Trial<'a, E> {
    report: &'a mut Report<E>,
    ends: &'a AtomicBool,
}

impl<E> Trial<'_, E> {
    /// Tries a step, unless it is told to end.
    fn run(&mut self, step: Step, act: impl FnOnce() -> Result<(), Outcome<E>>) {
        let result = if self.ends.load(Ordering::Relaxed) {
            Err(Outcome::Ended)
        } else {
            act()
        };
        self.report.keep(step, result);
    }
}

/// Runs the steps that write blocks.
fn steps<D: DeviceHandle, C: ControllerHandle>(
    trial: &mut Trial<'_, ErrorOf<C>>,
    device: D,
    controller: &C,
    area: &Area,
) {
    let pair = QueuePair::<_, DEPTH>::new(controller.clone(), area.options(None));
    let mut pair = match pair {
        Ok(pair) => pair,
        Err(error) => return trial.run(Step::RoundTrip, || Err(Outcome::Device(error))),
    };
    trial.run(Step::RoundTrip, || transfer::round_trip(&mut pair, area));
    trial.run(Step::Depth, || transfer::depth(&mut pair, area));
    trial.run(Step::Flush, || transfer::flush(&mut pair, area));
    trial.run(Step::WriteZeroes, || {
        discard::write_zeroes(controller, &mut pair, area)
    });
    trial.run(Step::Deallocate, || {
        discard::deallocate(controller, &mut pair, area)
    });
    trial.run(Step::Queues, || {
        queues::queues(controller.clone(), &mut pair, area)
    });
    trial.run(Step::Interrupt, || {
        queues::interrupt(device.clone(), controller.clone(), area)
    });
    trial.run(Step::Status, || errors::status(&mut pair, area));
    trial.run(Step::ErrorLog, || errors::error_log(controller));
    trial.run(Step::Abort, || errors::abort(&mut pair, area));
    trial.run(Step::Event, || event::event(&device, controller));
}

/// Returns the usable namespace with the lowest identifier.
fn first_namespace<C: ControllerHandle>(controller: C) -> Done<C, Namespace> {
    controller.first_namespace()?.ok_or(Outcome::NotThere)
}

impl<E> From<Refused> for Outcome<E> {
    fn from(refused: Refused) -> Self {
        Self::Device(NvmeError::Request(refused.reason))
    }
}
