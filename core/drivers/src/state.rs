//! Whether a device runs, as threads share it.

use core::sync::atomic::{AtomicU8, Ordering};

/// In which state a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum State {
    /// It takes requests.
    Running,
    /// It was stopped, by the driver or after an error, and reaches no memory.
    Stopped,
    /// It was to be stopped, and nothing tells that it is. Memory that it may still reach is
    /// never given back.
    Lost,
}

/// The state of a device, which one thread at a time changes.
#[derive(Debug)]
pub(crate) struct SharedState(AtomicU8);

const RUNNING: u8 = 0;
const STOPPED: u8 = 1;
const LOST: u8 = 2;
/// A thread is about to stop it.
const STOPPING: u8 = 3;

impl SharedState {
    pub(crate) const fn stopped() -> Self {
        Self(AtomicU8::new(STOPPED))
    }

    /// Returns the state: one that is being stopped still runs.
    pub(crate) fn get(&self) -> State {
        match self.0.load(Ordering::Acquire) {
            RUNNING | STOPPING => State::Running,
            STOPPED => State::Stopped,
            _ => State::Lost,
        }
    }

    pub(crate) fn set(&self, state: State) {
        let number = match state {
            State::Running => RUNNING,
            State::Stopped => STOPPED,
            State::Lost => LOST,
        };
        self.0.store(number, Ordering::Release);
    }

    /// Tells whether it takes requests: one that is being stopped does not.
    pub(crate) fn is_running(&self) -> bool {
        self.0.load(Ordering::Acquire) == RUNNING
    }

    /// Returns whether the caller is the one to stop it. Where another thread does, waits until that
    /// is over.
    pub(crate) fn begins_to_stop(&self) -> bool {
        let begun = self
            .0
            .compare_exchange(RUNNING, STOPPING, Ordering::AcqRel, Ordering::Acquire);
        if begun.is_ok() {
            return true;
        }
        while self.0.load(Ordering::Acquire) == STOPPING {
            core::hint::spin_loop();
        }
        false
    }
}
