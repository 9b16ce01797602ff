//! A shim whose system calls fail when a test says so.
//!
//! [`Failing`] stands over any other shim and passes its calls on, counted from 0. One of them
//! fails, or that one and all that follow: a test runs what it tests once to count its calls,
//! and then once for each of them.
//!
//! ```
//! use vfio_core::open::container::{Container, OpenError};
//! use vfio_core::sys::Errno;
//! use vfio_hosted::failing::{Call, Failing, Fault};
//! use vfio_hosted::sim::Kernel;
//!
//! let whole = Failing::new(Kernel::new());
//! Container::open(whole.clone()).unwrap();
//! assert_eq!(whole.calls(), 2);
//!
//! let sys = Failing::new(Kernel::new()).at(1, Fault::Errno(Errno::EINTR));
//! assert_eq!(Container::open(sys.clone()).err(), Some(OpenError::Ask(Errno::EINTR)));
//! assert!(matches!(sys.failed(), Some(Call::Value(_))));
//! ```

mod sys;

use std::sync::{Arc, Mutex};

use vfio_core::sys::{Errno, ExchangeRequest, FdRequest, InfoRequest, NameRequest, ValueRequest};

use crate::lock::lock;

/// A shim over `S` that makes one call fail. Clones count together.
#[derive(Clone, Debug)]
pub struct Failing<S> {
    sys: S,
    plan: Plan,
    count: Arc<Mutex<Count>>,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not made, and fails.
    Errno(Errno),
    /// It moves at most this number of bytes. Only reads and writes are counted then.
    Short(usize),
    /// It is not made, and answers with a number as if it were. Only calls that answer with one
    /// are counted then; to unmap memory is not answered with 0, which says that it was done: a
    /// buffer would free what a device still reaches.
    Answer(u32),
}

/// A system call: a method of [`Sys`](vfio_core::sys::Sys), and what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// A file is opened.
    Open,
    /// A structure is asked for.
    Info(InfoRequest),
    /// A request with a number.
    Value(ValueRequest),
    /// A request that names a file.
    Fd(FdRequest),
    /// A request that opens something by its name.
    Name(NameRequest),
    /// A request with a structure.
    Exchange(ExchangeRequest),
    /// A read at an offset.
    Pread,
    /// A write at an offset.
    Pwrite,
    /// A read.
    Read,
    /// A write.
    Write,
    /// A region is mapped.
    Map,
    /// Memory is asked for.
    Memory,
    /// An event is made.
    Event,
    /// An event is read.
    EventTake,
    /// An event is signalled.
    EventSignal,
    /// Events are waited for.
    EventsWait,
}

/// Which calls fail.
#[derive(Clone, Copy, Debug)]
enum Plan {
    None,
    At(u64, Fault),
    From(u64, Fault),
}

/// What was called so far.
#[derive(Debug, Default)]
struct Count {
    calls: u64,
    failed: Option<Call>,
}

impl<S> Failing<S> {
    /// Creates a shim that only counts.
    #[must_use]
    pub fn new(sys: S) -> Self {
        Self {
            sys,
            plan: Plan::None,
            count: Arc::default(),
        }
    }

    /// Lets the call `n` fail, and no other.
    #[must_use]
    pub fn at(self, n: u64, fault: Fault) -> Self {
        let plan = Plan::At(n, fault);
        Self { plan, ..self }
    }

    /// Lets the call `n` fail, and all that follow.
    #[must_use]
    pub fn from(self, n: u64, fault: Fault) -> Self {
        let plan = Plan::From(n, fault);
        Self { plan, ..self }
    }

    /// Returns how many calls were made or failed.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.count(|count| count.calls)
    }

    /// Returns the first call that failed. None where it was never reached.
    #[must_use]
    pub fn failed(&self) -> Option<Call> {
        self.count(|count| count.failed)
    }

    fn count<R>(&self, act: impl FnOnce(&mut Count) -> R) -> R {
        act(&mut lock(&self.count))
    }

    /// Counts a call; what becomes of it, where it is not just made.
    fn fault(&self, call: Call) -> Option<Fault> {
        let fault = match self.plan {
            Plan::None => None,
            Plan::At(_, fault) | Plan::From(_, fault) => Some(fault),
        };
        let is_counted = match fault {
            Some(Fault::Short(_)) => call.moves_bytes(),
            Some(Fault::Answer(answer)) => call.answers() && (answer != 0 || !call.unmaps()),
            Some(Fault::Errno(_)) | None => true,
        };
        if !is_counted {
            return None;
        }
        self.count(|count| {
            let this = count.calls;
            count.calls = this.saturating_add(1);
            let fails = match self.plan {
                Plan::None => false,
                Plan::At(n, _) => this == n,
                Plan::From(n, _) => this >= n,
            };
            if fails {
                count.failed.get_or_insert(call);
            }
            fault.filter(|_| fails)
        })
    }

    /// Makes a call, unless it is to fail.
    fn call<R>(&self, call: Call, make: impl FnOnce(&S) -> Result<R, Errno>) -> Result<R, Errno> {
        match self.fault(call) {
            Some(Fault::Errno(errno)) => Err(errno),
            // These are of other calls.
            Some(Fault::Short(_) | Fault::Answer(_)) | None => make(&self.sys),
        }
    }

    /// Makes a call that answers with a number, unless it is to fail or to answer otherwise.
    fn ask(&self, call: Call, make: impl FnOnce(&S) -> Result<u32, Errno>) -> Result<u32, Errno> {
        match self.fault(call) {
            Some(Fault::Errno(errno)) => Err(errno),
            Some(Fault::Answer(answer)) => Ok(answer),
            Some(Fault::Short(_)) | None => make(&self.sys),
        }
    }

    /// Makes a call that moves up to `len` bytes; `make` is told how many.
    fn transfer(
        &self,
        call: Call,
        len: usize,
        make: impl FnOnce(&S, usize) -> Result<usize, Errno>,
    ) -> Result<usize, Errno> {
        match self.fault(call) {
            Some(Fault::Errno(errno)) => Err(errno),
            Some(Fault::Short(0)) => Ok(0),
            Some(Fault::Short(most)) => make(&self.sys, len.min(most)),
            Some(Fault::Answer(_)) | None => make(&self.sys, len),
        }
    }
}

impl Call {
    /// Tells whether it answers with a number.
    #[must_use]
    pub const fn answers(self) -> bool {
        match self {
            Self::Value(_) => true,
            // What is opened is handed out by itself.
            Self::Exchange(request) => request.descriptor().is_none(),
            _ => false,
        }
    }

    /// Tells whether it unmaps memory from an address space.
    const fn unmaps(self) -> bool {
        matches!(
            self,
            Self::Exchange(
                ExchangeRequest::UnmapDma
                    | ExchangeRequest::UnmapDirty
                    | ExchangeRequest::IoasUnmap
            )
        )
    }

    /// Tells whether it moves bytes, and may move fewer than it was asked for.
    #[must_use]
    pub const fn moves_bytes(self) -> bool {
        matches!(self, Self::Pread | Self::Pwrite | Self::Read | Self::Write)
    }
}

#[cfg(test)]
mod tests {
    use vfio_core::sys::Sys;

    use super::*;
    use crate::linux::{Fd, Linux};

    #[test]
    fn short_transfers_are_counted_among_themselves() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let sys = Failing::new(Linux).at(1, Fault::Short(3));
        // SAFETY: an ordinary file refuses the requests of VFIO.
        let fd = unsafe { Fd::new_unchecked(file.reopen().unwrap().into()) };
        assert_eq!(sys.pwrite(&fd, b"vfio", 0), Ok(4));
        let mut bytes = [0xa5; 4];
        assert_eq!(sys.pread(&fd, &mut bytes, 0), Ok(3));
        assert_eq!(&bytes, b"vfi\xa5");
        assert_eq!(sys.pread(&fd, &mut bytes, 0), Ok(4));
        assert_eq!((sys.failed(), sys.calls()), (Some(Call::Pread), 3));
        let none = Failing::new(Linux).at(0, Fault::Short(0));
        assert_eq!(none.read(&fd, &mut bytes), Ok(0));
    }

    #[test]
    fn a_call_answers_what_it_is_told_to() {
        let container = c"/dev/vfio/vfio";
        let sys = Failing::new(crate::sim::Kernel::new()).at(1, Fault::Answer(7));
        // What answers with no number is not counted.
        let fd = sys.open(container).unwrap();
        let ask = || sys.ioctl_value(&fd, ValueRequest::GetApiVersion, 0);
        assert_eq!([ask(), ask(), ask()], [Ok(0), Ok(7), Ok(0)]);
        let asked = Some(Call::Value(ValueRequest::GetApiVersion));
        assert_eq!((sys.failed(), sys.calls()), (asked, 3));
    }

    #[test]
    fn all_calls_fail_from_one_on() {
        let sys = Failing::new(Linux).from(1, Fault::Errno(Errno::ENODEV));
        let event = sys.event().unwrap();
        assert_eq!(sys.event_take(&event), Err(Errno::ENODEV));
        assert_eq!(sys.event().err(), Some(Errno::ENODEV));
        assert_eq!((sys.failed(), sys.calls()), (Some(Call::EventTake), 3));
    }
}
