//! MSI and MSI-X.

use std::vec;

use vfio_core::sys::Errno;
use vfio_core::wire::abi::pci_irq;
use vfio_core::wire::server::{IrqData, IrqRequest};

use super::{Interrupts, Mode, Signals, signal};
use crate::sim::answer::Answer;
use crate::sim::signal::Signal;

/// `ERANGE`: no vectors at all were asked for.
const ERANGE: Errno = Errno(34);

#[derive(Clone, Default)]
pub(super) struct Vector {
    trigger: Option<Signal>,
    /// An MSI-X message that waits for the vector to have a trigger.
    is_pending: bool,
}

impl Interrupts {
    pub(super) fn trigger_messages(
        &mut self,
        request: &IrqRequest<'_>,
        signals: Signals,
    ) -> Result<Answer, Errno> {
        let is_same = matches!(&self.mode, Mode::Messages { index, .. } if *index == request.index);
        if is_same && request.disables() {
            self.mode = Mode::Off;
            return Ok(Answer::Done);
        }
        if !is_same && !matches!(self.mode, Mode::Off) {
            return Err(Errno::EINVAL);
        }
        if matches!(request.data, IrqData::Events(_)) {
            if is_same {
                return self.set_block(request, signals).map(|()| Answer::Done);
            }
            return self.enable_messages(request, signals);
        }
        let Mode::Messages { vectors, .. } = &self.mode else {
            return Err(Errno::EINVAL);
        };
        let named = vectors.iter().skip(request.start).take(request.count);
        for (n, vector) in named.enumerate() {
            if request.concerns(n) {
                signal(vector.trigger.as_ref());
            }
        }
        Ok(Answer::Done)
    }

    /// Enables MSI or MSI-X, with the events of its first vectors.
    fn enable_messages(
        &mut self,
        request: &IrqRequest<'_>,
        signals: Signals,
    ) -> Result<Answer, Errno> {
        let end = request.start.saturating_add(request.count);
        if end == 0 {
            return Err(ERANGE);
        }
        if let Some(most) = self.most
            && usize::try_from(most).is_ok_and(|most| most < end)
        {
            // pci_alloc_irq_vectors, which vfio_msi_enable calls.
            return match most {
                0 => Err(Errno::ENOSPC),
                most => Ok(Answer::Only(most)),
            };
        }
        let count = if request.grows {
            request.available
        } else {
            end
        };
        self.mode = Mode::Messages {
            index: request.index,
            vectors: vec![Vector::default(); count],
        };
        let done = self.set_block(request, signals);
        if done.is_err() {
            self.mode = Mode::Off;
        }
        done.map(|()| Answer::Done)
    }

    /// Gives vectors their events; after one that can't have its own, none of the block has any.
    fn set_block(&mut self, request: &IrqRequest<'_>, signals: Signals) -> Result<(), Errno> {
        let Mode::Messages { vectors, .. } = &mut self.mode else {
            return Err(Errno::EINVAL);
        };
        let mut done = Ok(());
        let mut tried = request.start;
        for found in signals {
            done = give(vectors.get_mut(tried), found);
            tried = tried.saturating_add(1);
            if done.is_err() {
                break;
            }
        }
        if done.is_err() {
            let named = tried.saturating_sub(request.start);
            for vector in vectors.iter_mut().skip(request.start).take(named) {
                vector.trigger = None;
            }
        }
        done
    }

    /// Sends a message of the device.
    pub(in crate::sim::device) fn message(&mut self, vector: u32) {
        let Mode::Messages { index, vectors } = &mut self.mode else {
            return;
        };
        let vector = usize::try_from(vector).ok();
        let Some(vector) = vector.and_then(|vector| vectors.get_mut(vector)) else {
            return;
        };
        match &vector.trigger {
            Some(trigger) => trigger.signal(),
            // The kernel masks what has no trigger in the MSI-X table, and the device waits.
            None => vector.is_pending = *index == pci_irq::MSIX,
        }
    }
}

impl Vector {
    fn set(&mut self, trigger: Option<Signal>) {
        self.trigger = trigger;
        if self.trigger.is_some() && std::mem::take(&mut self.is_pending) {
            signal(self.trigger.as_ref());
        }
    }
}

/// Gives a vector its event, where there is the vector.
fn give(vector: Option<&mut Vector>, found: Result<Option<Signal>, Errno>) -> Result<(), Errno> {
    match (vector, found) {
        (Some(vector), Ok(trigger)) => {
            vector.set(trigger);
            Ok(())
        }
        // There is nothing to take away.
        (None, Ok(None)) => Ok(()),
        (None, Ok(Some(_))) => Err(Errno::EINVAL),
        (_, Err(errno)) => Err(errno),
    }
}
