//! The system-call shim on Linux, on rustix; without the feature `std` it needs no libc.
//!
//! # Interrupted calls
//!
//! `open(2)`, `read(2)`, `write(2)`, `pread(2)` and `pwrite(2)` are made again when a signal
//! interrupts them: they can wait (for the VGA arbiter, say), and nothing was transferred when
//! they return `EINTR`. No ioctl
//! of the shim waits for anything that a signal interrupts; what it returns is handed on as it is.
//!
//! # Without an IOMMU
//!
//! Whether an IOMMU confines a group is told by the name of its device in sysfs. What memory
//! such a device is given, and what can move it all the same, [`Linux`] says.

mod file;
mod mapping;
mod memory;
mod pages;
mod physical;
mod request;
#[cfg(all(test, feature = "std"))]
mod tests;

use core::ffi::CStr;
use core::ops::Range;
use core::ptr::NonNull;
use core::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::retry_on_intr;
use rustix::ioctl::ioctl;
use vfio_core::mmio::{Access as _, Addressable as _};
use vfio_core::sys::{
    Descriptor, EVENTS_MOST, Errno, Exchange, FdRequest, GroupPath, InfoRequest, NameRequest,
    NoIommu, Pages, Parts, Protection, Span, Sys, ValueRequest, put_argsz,
};

pub use file::Fd;
pub use mapping::Mapping;
pub use memory::Memory;

use file::Kind;
use request::{Info, Name, PassFd, Structure, Value};

/// The kernel that the program runs on.
///
/// # Memory for devices without an IOMMU
///
/// [`physical_memory`](Sys::physical_memory) gives out huge pages alone (hugetlb), of which the
/// administrator reserves some (`echo N > /proc/sys/vm/nr_hugepages`), one at least to each piece
/// of memory. A locked ordinary page stays in memory, but not where it is: compaction, the
/// balancing of NUMA nodes, the allocator of contiguous memory and memory hotplug move it. Of
/// these the first two leave huge pages alone. What can move a huge page that is in use (Linux can
/// move those of 2 MiB and 1 GiB on x86-64 and arm64):
/// - memory that goes offline: hotplug, a balloon or `virtio-mem` that shrinks a virtual machine;
/// - an allocation of contiguous memory (CMA, a page of 1 GiB that is reserved at run time) from
///   where it lies;
/// - the soft offlining of a page with correctable errors (`rasdaemon`, `mcelog`; off with
///   `vm.enable_soft_offline=0` since Linux 6.11);
/// - who asks for it: `migrate_pages(2)`, `move_pages(2)`, `mbind(2)`, and cpusets that migrate.
///
/// Who opens a device without an IOMMU promises that none of them happens meanwhile
/// ([`NoIommu::acknowledge`](vfio_core::sys::NoIommu::acknowledge)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Linux;

impl Sys for Linux {
    type Fd = Fd;
    type Mapping = Mapping;
    type Memory = Memory;
    type Event = OwnedFd;

    /// Opens `path`, which must be VFIO's or iommufd's: `ENODEV` for another file, which is
    /// closed again, and where `/sys` is not mounted. `EPERM` for one without an IOMMU, which
    /// only [`Sys::open_group`] opens.
    fn open(&self, path: &CStr) -> Result<Fd, Errno> {
        Fd::checked(open(path)?, None)
    }

    fn open_group(&self, group: u32, noiommu: Option<NoIommu>) -> Result<Fd, Errno> {
        Fd::checked(open(GroupPath::new(group, noiommu).as_c_str())?, noiommu)
    }

    fn ioctl_info(&self, fd: &Fd, request: InfoRequest, reply: &mut [u8]) -> Result<(), Errno> {
        put_argsz(reply)?;
        // The kernel reads a structure whole before it looks at argsz: one that is cut short is
        // passed in memory that has all of it.
        let mut whole = [0; InfoRequest::LEAST_MAX];
        match whole.get_mut(..request.least()) {
            Some(whole) if reply.len() < whole.len() => {
                whole
                    .iter_mut()
                    .zip(&*reply)
                    .for_each(|(to, from)| *to = *from);
                let answer = info(fd, request, whole);
                reply
                    .iter_mut()
                    .zip(&*whole)
                    .for_each(|(to, from)| *to = *from);
                answer
            }
            _ => info(fd, request, reply),
        }
    }

    fn ioctl_value(&self, fd: &Fd, request: ValueRequest, value: u32) -> Result<u32, Errno> {
        let argument = request.argument(value)?;
        // SAFETY: the requests of `ValueRequest` take their argument by value or not at all, on
        // every kind of VFIO file, and a `Fd` is one or refuses them: the kernel touches no memory
        // of the process.
        let answer = unsafe { ioctl(fd, Value::new(request, argument)) }.map_err(errno)?;
        u32::try_from(answer).map_err(|_| Errno::EOVERFLOW)
    }

    fn ioctl_fd(&self, fd: &Fd, request: FdRequest, argument: &Fd) -> Result<(), Errno> {
        // SAFETY: the requests of `FdRequest` read one `i32` and write nothing on a VFIO file, and
        // a `Fd` is one or refuses them; `PassFd` points at an `i32`.
        unsafe { ioctl(fd, PassFd::new(request, argument)) }.map_err(errno)
    }

    fn ioctl_name(&self, fd: &Fd, request: NameRequest, name: &CStr) -> Result<Fd, Errno> {
        if !fd.opens_devices() {
            return Err(Errno::ENOTTY);
        }
        // SAFETY: the requests of `NameRequest` read a C string up to its NUL and write nothing on
        // a VFIO file, and a `Fd` is one or refuses them; `Name` points at a C string.
        let number = unsafe { ioctl(fd, Name::new(request, name)) }.map_err(errno)?;
        // SAFETY: on a group, the requests of `NameRequest` return the number of a device that they
        // opened for the caller: nobody else knows it, and it is not -1.
        Ok(unsafe { Fd::opened(number, Kind::Device) })
    }

    fn pread(&self, fd: &Fd, buf: &mut [u8], offset: u64) -> Result<usize, Errno> {
        retry_on_intr(|| rustix::io::pread(fd, &mut *buf, offset)).map_err(errno)
    }

    fn pwrite(&self, fd: &Fd, buf: &[u8], offset: u64) -> Result<usize, Errno> {
        retry_on_intr(|| rustix::io::pwrite(fd, buf, offset)).map_err(errno)
    }

    fn exchange(&self, fd: &Fd, exchange: Exchange<'_, Fd, OwnedFd>) -> Result<u32, Errno> {
        if exchange.request().descriptor().is_some() {
            // Nobody would own what it opens.
            return Err(Errno::EINVAL);
        }
        let mut parts = exchange.into_parts();
        if parts.request.is_of_device() && !fd.may_be_device() {
            return Err(Errno::ENOTTY);
        }
        // Memory is mapped by `exchange_memory`, which knows that it is the shim's.
        if parts.request.length_at().is_some() {
            return Err(Errno::EINVAL);
        }
        // The list is reached through its address only until the call returns.
        if let Some(list) = &mut parts.list {
            let address = list.as_mut_ptr().expose_provenance();
            parts.point(to_u64(address), 0)?;
        }
        // They are borrowed, and so open, until the call returns.
        parts.name(Fd::as_raw_fd, OwnedFd::as_raw_fd);
        pass(fd, &mut parts)
    }

    fn exchange_open(&self, fd: &Fd, exchange: Exchange<'_>) -> Result<Option<Fd>, Errno> {
        let place = exchange.request().descriptor().ok_or(Errno::EINVAL)?;
        if !fd.opens_files() {
            return Err(Errno::ENOTTY);
        }
        let mut parts = exchange.into_parts();
        let answer = pass(fd, &mut parts)?;
        let number = match place {
            Descriptor::Returned => i32::try_from(answer).map_err(|_| Errno::EOVERFLOW)?,
            Descriptor::At(at) => {
                let field = parts.argument.get(at..).and_then(|rest| rest.first_chunk());
                i32::from_ne_bytes(*field.ok_or(Errno::EINVAL)?)
            }
        };
        if number < 0 {
            return Ok(None);
        }
        // SAFETY: the request succeeded on a device, and is one that opens a file there for the
        // caller: nobody else knows its number. Where it is a field of the structure, the exchange
        // was made with -1 there, so that the kernel wrote it.
        Ok(Some(unsafe { Fd::opened(number, Kind::Opened) }))
    }

    fn read(&self, fd: &Fd, buf: &mut [u8]) -> Result<usize, Errno> {
        retry_on_intr(|| rustix::io::read(fd, &mut *buf)).map_err(errno)
    }

    fn write(&self, fd: &Fd, buf: &[u8]) -> Result<usize, Errno> {
        retry_on_intr(|| rustix::io::write(fd, buf)).map_err(errno)
    }

    unsafe fn exchange_memory(
        &self,
        fd: &Fd,
        memory: &Memory,
        exchange: Exchange<'_>,
    ) -> Result<u32, Errno> {
        // SAFETY: the caller's promise is passed on.
        unsafe { pass_memory(fd, memory.as_ptr(), memory.len(), exchange) }
    }

    unsafe fn exchange_mapping(
        &self,
        fd: &Fd,
        mapping: &Mapping,
        exchange: Exchange<'_>,
    ) -> Result<u32, Errno> {
        // SAFETY: the caller's promise is passed on.
        unsafe { pass_memory(fd, mapping.base(), mapping.len(), exchange) }
    }

    fn map(&self, fd: &Fd, span: Span, protection: Protection) -> Result<Mapping, Errno> {
        Mapping::new(fd, span, protection)
    }

    fn page_size(&self) -> usize {
        rustix::param::page_size()
    }

    fn now(&self) -> Result<Duration, Errno> {
        Ok(now())
    }

    fn memory(&self, len: usize, pages: Pages) -> Result<Memory, Errno> {
        match pages {
            Pages::Ordinary => Memory::ordinary(len),
            Pages::Huge(size) => Memory::huge(len, size),
        }
    }

    fn physical_memory(&self, len: usize, highest: u64) -> Result<(Memory, u64), Errno> {
        physical::memory(len, highest)
    }

    unsafe fn foreign_memory(&self, base: NonNull<u8>, len: usize) -> Result<Memory, Errno> {
        // SAFETY: the caller's promise is passed on.
        unsafe { Memory::foreign(base, len) }
    }

    fn event(&self) -> Result<OwnedFd, Errno> {
        eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(errno)
    }

    fn event_take(&self, event: &OwnedFd) -> Result<u64, Errno> {
        let mut count = [0; 8];
        match retry_on_intr(|| rustix::io::read(event, &mut count)) {
            Ok(_) => Ok(u64::from_ne_bytes(count)),
            Err(rustix::io::Errno::AGAIN) => Ok(0),
            Err(error) => Err(errno(error)),
        }
    }

    fn event_signal(&self, event: &OwnedFd) -> Result<(), Errno> {
        match retry_on_intr(|| rustix::io::write(event, &1_u64.to_ne_bytes())) {
            // One that can count no further is signalled.
            Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(()),
            Err(error) => Err(errno(error)),
        }
    }

    fn events_wait(&self, events: &[&OwnedFd], timeout: Duration) -> Result<bool, Errno> {
        let asked = |event| PollFd::new(event, PollFlags::IN);
        match *events {
            [] => wait(&mut [], timeout),
            [event] => wait(&mut [asked(event)], timeout),
            [first, ..] => {
                let event = |n| events.get(n).copied().unwrap_or(first);
                let mut fds: [_; EVENTS_MOST] = core::array::from_fn(|n| asked(event(n)));
                wait(fds.get_mut(..events.len()).ok_or(Errno::EINVAL)?, timeout)
            }
        }
    }
}

/// Waits until one of the files can be read, for no longer than `timeout`; tells whether it can.
fn wait(fds: &mut [PollFd<'_>], timeout: Duration) -> Result<bool, Errno> {
    let deadline = now().checked_add(timeout);
    loop {
        let left = deadline.map(|deadline| deadline.saturating_sub(now()));
        // What can't be said in the kernel's terms is for ever.
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(fds, left.as_ref()) {
            Err(rustix::io::Errno::INTR) => (),
            Err(error) => return Err(errno(error)),
            Ok(ready) => return Ok(ready > 0),
        }
    }
}

/// Opens a file for reading and writing.
fn open(path: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty())).map_err(errno)
}

/// Passes a request that maps a range of the `len` bytes at `base`.
///
/// # Safety
/// As for [`Sys::exchange_memory`]: the pages stay until they are unmapped for the device.
unsafe fn pass_memory(
    fd: &Fd,
    base: NonNull<u8>,
    len: usize,
    exchange: Exchange<'_>,
) -> Result<u32, Errno> {
    let mut parts = exchange.into_parts();
    if parts.request.length_at().is_none() {
        // Its pointer is to something else, which the kernel may write past the memory.
        return Err(Errno::EINVAL);
    }
    let Range { start, end } = parts.memory;
    let length = end.checked_sub(start).ok_or(Errno::EINVAL)?;
    if end > len {
        return Err(Errno::EINVAL);
    }
    let base = base.as_ptr().expose_provenance();
    let address = base.checked_add(start).ok_or(Errno::EINVAL)?;
    parts.point(to_u64(address), to_u64(length))?;
    pass(fd, &mut parts)
}

/// Passes a request to the kernel.
fn pass<F, E>(fd: &Fd, parts: &mut Parts<'_, F, E>) -> Result<u32, Errno> {
    // SAFETY: an exchange can only be made of a structure of which the kernel touches no more
    // than its length on a VFIO file, and a `Fd` is one or refuses it. A pointer in it is the shim's: to a list
    // that is borrowed until the call returns and is as long as the structure says, or to memory
    // for which whoever called `exchange_memory` promised that it stays until it is unmapped,
    // whether the kernel pins it now, later or never. A descriptor in it is that of a file which
    // is borrowed as long.
    let answer = unsafe { ioctl(fd, Structure::new(parts)) }.map_err(errno)?;
    u32::try_from(answer).map_err(|_| Errno::EOVERFLOW)
}

/// Returns the time since some moment in the past.
///
/// Not by rustix, which with a C library finds no vDSO in a static program, and makes a system
/// call of it.
#[cfg(feature = "std")]
fn now() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

/// Returns the time since some moment in the past.
#[cfg(not(feature = "std"))]
fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::try_from(time).unwrap_or_default()
}

/// Returns an address or a length as the ABI has them.
fn to_u64(value: usize) -> u64 {
    // A pointer has at most 64 bits on Linux.
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// Makes an INFO request; `reply` holds its length in its first four bytes.
fn info(fd: &Fd, request: InfoRequest, reply: &mut [u8]) -> Result<(), Errno> {
    // SAFETY: a `Fd` is a VFIO file, or refuses the request. On every kind of those, the requests
    // of `InfoRequest` read one structure, no longer than `InfoRequest::least` says, which `reply`
    // has. They write no further than the argsz at its start, and the caller made that no more than
    // its length.
    unsafe { ioctl(fd, Info::new(request, reply)) }.map_err(errno)
}

/// Returns the error number of an error.
pub(crate) fn errno(error: rustix::io::Errno) -> Errno {
    Errno(error.raw_os_error())
}
