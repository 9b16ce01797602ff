//! Giving commands to the device, and taking completions.

use core::time::Duration;

use vfio_core::device::DeviceHandle;
use vfio_core::device::irq::Vectors;
use vfio_core::mmio::Width as _;

use super::admin::SPINS;
use super::completion::Completed;
use super::controller::{ControllerHandle, State};
use super::error::{Misfit, NvmeError};
use super::queue::{Completion, ErrorOf, QueuePair, Queues};
use super::slot::{Slot, Usage};
use super::status::Status;

/// How long an interrupt is waited for before the controller is looked at.
const SLICE: Duration = Duration::from_millis(100);

impl<C: ControllerHandle, const DEPTH: usize> QueuePair<C, DEPTH> {
    /// Gives what was put into the queue to the device.
    ///
    /// # Errors
    /// [`NvmeError::Access`]; the controller is stopped then.
    #[inline(always)]
    pub fn ring(&mut self) -> Result<(), NvmeError<ErrorOf<C>>> {
        let Some(Queues { cq, .. }) = &self.queues else {
            return Ok(());
        };
        if cq.taken() > self.lazy {
            self.acknowledge()?;
        }
        if let Some(Queues { sq, .. }) = &mut self.queues
            && let Some((old, new)) = sq.ring()
            && let Err(error) = self.sq_doorbell.ring(old, new)
        {
            return Err(self.fail(NvmeError::Access(error)));
        }
        Ok(())
    }

    /// Tells the device which completions were taken.
    #[cold]
    fn acknowledge(&mut self) -> Result<(), NvmeError<ErrorOf<C>>> {
        let Some(queues) = &mut self.queues else {
            return Ok(());
        };
        let (old, new) = queues.cq.ring();
        self.cq_doorbell
            .ring(old, new)
            .map_err(|error| self.fail(NvmeError::Access(error)))
    }

    /// Returns a command that ended, if there is one.
    ///
    /// # Errors
    /// [`NvmeError::Unexpected`] for a completion of none of the commands that are under way; the
    /// controller is stopped then.
    #[inline(always)]
    pub fn poll(&mut self) -> Result<Option<Completion>, NvmeError<ErrorOf<C>>> {
        let Some(queues) = &mut self.queues else {
            return Ok(None);
        };
        let Some(completed) = queues.cq.take() else {
            return Ok(None);
        };
        let number = completed.cid();
        if let Some(place) = self.places.get_mut(usize::from(number))
            && place.usage.is_command()
            && usize::try_from(completed.sqhd_in(self.sqid)).is_ok_and(|head| head <= DEPTH)
        {
            place.usage = Usage::Held;
            let pair = self.identity;
            let status = Status::from_bits(completed.status());
            return Ok(Some(Completion {
                slot: Slot { pair, number },
                result: status.map_or(Ok(()), Err),
            }));
        }
        // Made here, so that the compiler sees that it is an error: that spares a read six
        // instructions, among them the check of the slot that is its own.
        Err(match self.misfit(completed) {
            Some(misfit) => NvmeError::Unexpected {
                queue: self.id,
                misfit,
            },
            None => NvmeError::Stopped,
        })
    }

    /// Waits for a command to end by looking for it; none where none is under way.
    ///
    /// What was put into the queue is given to the device first.
    ///
    /// # Errors
    /// As [`QueuePair::poll`]; [`NvmeError::Timeout`] where a command takes longer than it may,
    /// [`NvmeError::Fatal`] and [`NvmeError::Gone`] where the controller says so. It is stopped
    /// then.
    #[inline]
    pub fn wait(&mut self) -> Result<Option<Completion>, NvmeError<ErrorOf<C>>> {
        self.ring()?;
        loop {
            if let Some(completion) = self.poll()? {
                return Ok(Some(completion));
            }
            if !self.look()? {
                return Ok(None);
            }
        }
    }

    /// Waits for a command to end by the queue pair's interrupt, otherwise as [`QueuePair::wait`].
    ///
    /// It is the one of `vectors` that [`QueueOptions::vector`](super::QueueOptions::vector) names.
    /// Without one it looks, as that does.
    ///
    /// # Errors
    /// As [`QueuePair::wait`]; [`NvmeError::Wait`], with `EINVAL` where `vectors` has fewer.
    pub fn wait_for_interrupt<D: DeviceHandle, const V: usize>(
        &mut self,
        vectors: &Vectors<D, V>,
    ) -> Result<Option<Completion>, NvmeError<ErrorOf<C>>> {
        self.ring()?;
        loop {
            if let Some(completion) = self.poll()? {
                return Ok(Some(completion));
            }
            if self.under_way() == 0 {
                self.controller.running()?;
                return Ok(None);
            }
            // A device that coalesces interrupts goes by what it knows to have been taken.
            self.acknowledge()?;
            let came = match self.vector {
                Some(vector) => {
                    let limit = self.controller.limits().command.min(SLICE);
                    let came = vectors.wait(vector.into(), limit);
                    came.map_err(NvmeError::Wait)?
                }
                None => 0,
            };
            if came == 0 {
                self.look()?;
            }
        }
    }

    /// Checks that the controller is well, and that no command takes too long.
    ///
    /// Call it every now and then while polling: [`QueuePair::poll`] only looks for completions,
    /// and those of a controller that failed never come.
    ///
    /// What was put into the queue is given to the device first. The time of a command begins
    /// with the first check after that.
    ///
    /// ```
    /// use vfio_drivers::nvme::{
    ///     ControllerHandle, ErrorOf, Namespace, NvmeError, QueuePair,
    /// };
    ///
    /// /// Reads block 0 and does something else until it is there.
    /// fn read<C: ControllerHandle, const DEPTH: usize>(
    ///     pair: &mut QueuePair<C, DEPTH>,
    ///     namespace: &Namespace,
    ///     mut something_else: impl FnMut(),
    /// ) -> Result<(), NvmeError<ErrorOf<C>>> {
    ///     let Some(slot) = pair.slot() else {
    ///         return Ok(());
    ///     };
    ///     pair.read(slot, namespace, 0, 1)
    ///         .map_err(|refused| NvmeError::Request(refused.reason))?;
    ///     pair.ring()?;
    ///     let mut polls = 0_u32;
    ///     let ended = loop {
    ///         if let Some(ended) = pair.poll()? {
    ///             break ended;
    ///         }
    ///         something_else();
    ///         polls = polls.wrapping_add(1);
    ///         if polls.is_multiple_of(1024) {
    ///             pair.check()?;
    ///         }
    ///     };
    ///     // The block is in `pair.window(&ended.slot)`.
    ///     pair.release(ended.slot)
    ///         .map_err(|refused| NvmeError::Request(refused.reason))?;
    ///     ended.result.map_err(NvmeError::Command)
    /// }
    /// ```
    ///
    /// # Errors
    /// [`NvmeError::Timeout`] where a command takes longer than it may, [`NvmeError::Fatal`],
    /// [`NvmeError::NotReady`] and [`NvmeError::Gone`] where the controller says so,
    /// [`NvmeError::Access`]: the controller is stopped then. [`NvmeError::Stopped`] where it was;
    /// [`NvmeError::Clock`].
    #[cold]
    pub fn check(&mut self) -> Result<(), NvmeError<ErrorOf<C>>> {
        self.controller.running()?;
        self.ring()?;
        self.glimpse();
        self.look_after()
    }

    /// Makes sure that the controller is well, and that no command takes longer than it may.
    fn look_after(&mut self) -> Result<(), NvmeError<ErrorOf<C>>> {
        if let Err(error) = self.controller.check() {
            return Err(self.fail(error));
        }
        let now = self.controller.now()?;
        let limit = self.controller.limits().command;
        let Some(command) = self.overdue(now, limit) else {
            return Ok(());
        };
        // It may have come meanwhile.
        let queues = self.queues.as_mut();
        if queues.is_some_and(|queues| queues.cq.has(command)) {
            return Ok(());
        }
        let error = self.late(command);
        Err(self.fail(error))
    }

    /// Looks for a completion for a while, and then whether all is well; false where no command is
    /// under way.
    #[cold]
    pub(super) fn look(&mut self) -> Result<bool, NvmeError<ErrorOf<C>>> {
        if self.under_way() == 0 {
            self.controller.running()?;
            return Ok(false);
        }
        self.glimpse();
        let Some(queues) = &mut self.queues else {
            return Err(NvmeError::Stopped);
        };
        for _ in 0..SPINS {
            if queues.cq.is_ready() {
                return Ok(true);
            }
            core::hint::spin_loop();
        }
        self.look_after()?;
        Ok(true)
    }

    /// Keeps what stands in the place of the next completion when it is first waited for.
    fn glimpse(&mut self) {
        if let Some(Queues { cq, .. }) = &mut self.queues {
            let head = cq.head();
            if self.glimpse.is_none_or(|(before, _)| before != head) {
                self.glimpse = cq.peek().map(|there| (head, there));
            }
        }
    }

    /// Returns a command that is under way for longer than `limit`, by the last look at the clock.
    fn overdue(&mut self, now: Duration, limit: Duration) -> Option<u16> {
        let stamp = u32::truncate(u64::try_from(now.as_millis()).unwrap_or_default());
        let limit = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
        // Milliseconds wrap after 49 days. What seems older than half of that is from ahead: a
        // clock that other processors have may lag.
        let ages = limit.saturating_add(1)..=u32::MAX / 2;
        let mut late = None;
        for (number, place) in (0..).zip(&mut self.places) {
            match place.usage {
                Usage::Free | Usage::Held | Usage::Lost => (),
                Usage::Fresh => place.usage = Usage::Since(stamp),
                Usage::Since(since) if ages.contains(&stamp.wrapping_sub(since)) => {
                    late = late.or(Some(number));
                }
                Usage::Since(_) => (),
            }
        }
        late
    }

    /// Tells why a command does not end: its completion looks like an old one, or there is none.
    fn late(&mut self, command: u16) -> NvmeError<ErrorOf<C>> {
        let written = self.queues.as_mut().and_then(|Queues { cq, .. }| {
            if cq.is_ready() {
                return None;
            }
            let there = cq.peek()?;
            let (head, before) = self.glimpse?;
            (head == cq.head() && cq.is_written(there, before)).then_some(there)
        });
        match written {
            Some(there) => NvmeError::Unexpected {
                queue: self.id,
                misfit: Misfit::Phase { id: there.cid() },
            },
            _ => NvmeError::Timeout {
                queue: self.id,
                command,
            },
        }
    }

    /// Returns the fault of a completion that belongs to no command. None where the controller was
    /// stopped before. It is stopped in any case.
    #[cold]
    #[inline(never)]
    fn misfit(&mut self, completed: Completed) -> Option<Misfit> {
        let misfit = if completed.sqid() != self.id {
            let id = completed.sqid();
            Misfit::Queue { id }
        } else if usize::from(completed.sqhd()) > DEPTH {
            let head = completed.sqhd();
            Misfit::Head { head }
        } else {
            let id = completed.cid();
            Misfit::Command { id }
        };
        if self.controller.state() != State::Running {
            return None;
        }
        self.give_up();
        Some(misfit)
    }

    /// Gives the queue pair up after an error.
    #[cold]
    fn fail(&mut self, error: NvmeError<ErrorOf<C>>) -> NvmeError<ErrorOf<C>> {
        self.give_up();
        error
    }

    /// Gives the queue pair up: no slot is handed out any more, and the controller is stopped.
    fn give_up(&mut self) {
        for place in &mut self.places {
            place.usage = Usage::Lost;
        }
        self.free.clear();
        self.controller.stop();
    }
}
