//! The numbers by which requests name files and events.

use vfio_core::sys::Errno;

use super::{File, Numbered, Open, Session};
use crate::sim::event::Signal;

impl Session {
    /// Opens a file, and gives it a number.
    pub(super) fn open(&mut self, file: impl FnOnce(u64) -> File) -> (u64, i32) {
        self.last_id = self.last_id.wrapping_add(1);
        let id = self.last_id;
        let file = file(id);
        self.files.insert(id, Open { file, shares: 1 });
        (id, self.number(Numbered::File(id)))
    }

    /// The lowest number that is free; below it are those of every program.
    pub(super) fn number(&mut self, numbered: Numbered) -> i32 {
        let number = (3..)
            .find(|number| !self.numbers.contains_key(number))
            .unwrap_or(i32::MAX);
        self.numbers.insert(number, numbered);
        number
    }

    pub(in crate::sim) fn open_event(&mut self, signal: Signal) -> i32 {
        self.number(Numbered::Event(signal))
    }

    pub(in crate::sim) fn close_event(&mut self, number: i32) {
        self.numbers.remove(&number);
    }

    /// The event of a number.
    pub(in crate::sim) fn event(&self, number: i32) -> Result<Signal, Errno> {
        match self.numbers.get(&number) {
            Some(Numbered::Event(signal)) => Ok(Signal::clone(signal)),
            Some(Numbered::File(_)) => Err(Errno::EINVAL),
            None => Err(Errno::EBADF),
        }
    }
}
