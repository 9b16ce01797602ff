//! Giving commands to the device, and taking completions.

use core::time::Duration;

use vfio_core::device::DeviceHandle;
use vfio_core::irq::Vectors;
use vfio_core::mmio::Width as _;

use super::admin::SPINS;
use super::controller::{ControllerHandle, State};
use super::error::{Misfit, NvmeError};
use super::queue::{Completion, ErrorOf, QueuePair};
use super::ring::{Completed, Rings};
use super::slot::{FREE, FRESH, HELD, LOST, Slot};
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
        let Some(rings) = &self.rings else {
            return Ok(());
        };
        let tail = rings.tail();
        if rings.taken() > self.lazy {
            self.acknowledge()?;
        }
        if tail != self.rung {
            let old = core::mem::replace(&mut self.rung, tail);
            if let Err(error) = self.tail_bell.ring(old, tail) {
                return Err(self.fail(NvmeError::Access(error)));
            }
        }
        Ok(())
    }

    /// Tells the device which completions were taken.
    #[cold]
    fn acknowledge(&mut self) -> Result<(), NvmeError<ErrorOf<C>>> {
        let Some(rings) = &mut self.rings else {
            return Ok(());
        };
        rings.forget_taken();
        let head = rings.head();
        let old = core::mem::replace(&mut self.freed, head);
        self.head_bell
            .ring(old, head)
            .map_err(|error| self.fail(NvmeError::Access(error)))
    }

    /// A command that ended, if there is one.
    ///
    /// # Errors
    /// [`NvmeError::Unexpected`] for a completion of none of the commands that are under way; the
    /// controller is stopped then.
    #[inline(always)]
    pub fn poll(&mut self) -> Result<Option<Completion>, NvmeError<ErrorOf<C>>> {
        let Some(completed) = self.rings.as_mut().and_then(Rings::take) else {
            return Ok(None);
        };
        let id = completed.id();
        if let Some(place) = self.places.get_mut(usize::from(id))
            && place.state >= FRESH
            && usize::try_from(completed.head_in(self.bits)).is_ok_and(|head| head <= DEPTH)
        {
            place.state = HELD;
            let status = Status::from_bits(completed.status());
            return Ok(Some(Completion {
                slot: Slot(id),
                result: status.map_or(Ok(()), Err),
            }));
        }
        Err(self.misfit(completed))
    }

    /// Waits for a command to end by looking for it; none where none is under way. What was put
    /// into the queue is given to the device first.
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

    /// Waits for a command to end by its interrupt, which is `vectors`' number `vector`;
    /// otherwise as [`QueuePair::wait`].
    ///
    /// # Errors
    /// As [`QueuePair::wait`]; [`NvmeError::Wait`].
    pub fn wait_for_interrupt<D: DeviceHandle, const V: usize>(
        &mut self,
        vectors: &Vectors<D, V>,
        vector: u16,
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
            let came = if self.has_interrupt {
                let limit = self.controller.limits().command.min(SLICE);
                vectors
                    .wait(usize::from(vector), limit)
                    .map_err(NvmeError::Wait)?
            } else {
                0
            };
            if came == 0 {
                self.look()?;
            }
        }
    }

    /// Looks for a completion for a while, and then whether all is well; false where no command is
    /// under way.
    #[cold]
    pub(super) fn look(&mut self) -> Result<bool, NvmeError<ErrorOf<C>>> {
        if self.under_way() == 0 {
            self.controller.running()?;
            return Ok(false);
        }
        let Some(rings) = &mut self.rings else {
            return Err(NvmeError::Stopped);
        };
        let head = rings.head();
        if self.glimpse.is_none_or(|(before, _)| before != head) {
            self.glimpse = rings.peek().map(|there| (head, there));
        }
        for _ in 0..SPINS {
            if rings.is_ready() {
                return Ok(true);
            }
            core::hint::spin_loop();
        }
        if let Err(error) = self.controller.check() {
            return Err(self.fail(error));
        }
        let now = self.controller.now()?;
        let limit = self.controller.limits().command;
        let Some(command) = self.overdue(now, limit) else {
            return Ok(true);
        };
        // It may have come meanwhile.
        if self.rings.as_mut().is_some_and(|rings| rings.has(command)) {
            return Ok(true);
        }
        let error = self.late(command);
        Err(self.fail(error))
    }

    /// A command that is under way for longer than `limit`, as far as the clock was looked at.
    fn overdue(&mut self, now: Duration, limit: Duration) -> Option<u16> {
        // In milliseconds, above the states that are no times; what is older than a month is
        // taken for younger.
        let first = u64::from(FRESH).saturating_add(1);
        let span = u64::from(u32::MAX).saturating_sub(first);
        let millis = u64::try_from(now.as_millis()).unwrap_or_default();
        let millis = millis.checked_rem(span).unwrap_or_default();
        let stamp = u32::truncate(millis.saturating_add(first));
        let limit = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
        let mut late = None;
        for (number, place) in (0..).zip(&mut self.places) {
            match place.state {
                FRESH => place.state = stamp,
                FREE | HELD | LOST => (),
                since if stamp < since => place.state = stamp,
                since if stamp.wrapping_sub(since) > limit => late = late.or(Some(number)),
                _ => (),
            }
        }
        late
    }

    /// What a command that does not end comes from: a completion that can't be told from an old
    /// one, or none.
    fn late(&mut self, command: u16) -> NvmeError<ErrorOf<C>> {
        let written = self.rings.as_mut().and_then(|rings| {
            if rings.is_ready() {
                return None;
            }
            let there = rings.peek()?;
            let (head, before) = self.glimpse?;
            let is_new = there != before || rings.is_first_round() && there.0 != 0;
            (head == rings.head() && is_new).then_some(there)
        });
        match written {
            Some(there) => NvmeError::Unexpected {
                queue: self.id,
                misfit: Misfit::Phase { id: there.id() },
            },
            _ => NvmeError::Timeout {
                queue: self.id,
                command,
            },
        }
    }

    /// A completion that belongs to no command.
    #[cold]
    fn misfit(&mut self, completed: Completed) -> NvmeError<ErrorOf<C>> {
        let misfit = if completed.queue() != self.id {
            let id = completed.queue();
            Misfit::Queue { id }
        } else if usize::from(completed.head()) > DEPTH {
            let head = completed.head();
            Misfit::Head { head }
        } else {
            let id = completed.id();
            Misfit::Command { id }
        };
        if self.controller.state() != State::Running {
            return NvmeError::Stopped;
        }
        let queue = self.id;
        self.fail(NvmeError::Unexpected { queue, misfit })
    }

    /// Gives the queue pair up: no slot is handed out any more, and the controller is stopped.
    #[cold]
    fn fail(&mut self, error: NvmeError<ErrorOf<C>>) -> NvmeError<ErrorOf<C>> {
        for place in &mut self.places {
            place.state = LOST;
        }
        self.free.clear();
        self.controller.stop();
        error
    }
}
