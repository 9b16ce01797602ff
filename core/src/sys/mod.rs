//! The system-call shim: all that this crate asks of the world below it.
//!
//! A world (Linux, the simulated kernel, a unikernel) implements [`Sys`]; everything else in this
//! crate is generic over it and statically dispatched. The type of a request tells what the
//! kernel may touch, and a file descriptor is an owned value that closes itself. Unsafe to call is
//! what makes memory a device's: mapping it, and taking memory that the caller has.
//!
//! # For who writes a shim
//!
//! What is done with a device rests on these; each method says what else it takes.
//!
//! - A [`Sys::Fd`] is a file of VFIO's or iommufd's, from the moment it is opened. A driver of
//!   another kind may take a request for its own, and touch memory or answer as it likes.
//! - A request touches what its type says, as long as it is passed as it is: the structure with
//!   its length in argsz, and what the shim itself puts into it.
//! - Files and events are named by value. The shim puts in their numbers, where its kernel has
//!   numbers, and they stay open until the call returns.
//! - A file that a request opens belongs to the one value that is returned for it.
//! - Errors are those of Linux: [`Errno::ENOTTY`] for a request that a file does not know,
//!   [`Errno::EINVAL`] for one that the method does not make, `ENOSYS` for a method that the world
//!   does not have.

mod exchange;
mod group;
mod logging;
mod memory;
mod naming;
#[expect(unsafe_code, reason = "the word is a promise that nobody can check")]
mod noiommu;
mod opening;
mod request;
mod sync;
mod table;

use core::convert::Infallible;
use core::ffi::CStr;
use core::ptr::NonNull;
use core::time::Duration;

pub use exchange::{Exchange, Parts};
pub use group::GroupPath;
pub use logging::{
    DIRTY_BITMAP_LEN, DMA_LOGGING_REPORT_LEN, DMA_LOGGING_START_LEN, PageRange, UNMAP_DIRTY_LEN,
};
pub use memory::{Pages, Span};
pub use naming::LOW_POWER_WAKEUP_LEN;
pub use noiommu::NoIommu;
pub use opening::{DMA_BUF_LEN, MIG_STATE_LEN};
pub use request::{FdRequest, NameRequest, ValueRequest};
pub use sync::SyncSys;
pub use table::{Descriptor, ExchangeRequest};

pub use crate::mmio::{Absent, Protection};
#[doc(no_inline)]
pub use crate::wire::{Errno, InfoRequest, put_argsz};

use crate::mmio::{Access, Addressable};

/// How many events can be waited for at once: those of 64 interrupts, and one by which another
/// thread wakes who waits.
pub const EVENTS_MOST: usize = 65;

/// The system calls that VFIO needs.
///
/// A world that only answers questions leaves out what maps memory and waits for interrupts: it
/// is then `ENOSYS`, and its types are [`Absent`].
///
/// # Implementation
/// Some methods are unsafe to call, and what their callers promise rests on answers of others: an
/// answer that says that memory was unmapped must be true.
#[expect(unsafe_code, reason = "what makes memory a device's is unsafe to call")]
pub trait Sys {
    /// Whether memory can be mapped for devices at all. A world that has no IOMMU says so, and
    /// what maps is then left out of its programs.
    const MAPS: bool = true;

    /// An open file. Dropping it closes it.
    type Fd: core::fmt::Debug;

    /// A stretch of a file in reach of register accesses. Dropping it unmaps it.
    type Mapping: Access + core::fmt::Debug;

    /// Memory that a device can be given, aligned to a page. Dropping it frees it, even where it
    /// is mapped for a device: whoever maps it keeps it until it was unmapped
    /// ([`Sys::exchange_memory`]). Memory of [`Sys::foreign_memory`] is not freed.
    type Memory: Addressable<Error = Infallible> + core::fmt::Debug;

    /// Something that interrupts are counted in. Dropping it closes it.
    type Event: core::fmt::Debug;

    /// Opens `path` for reading and writing, closed on exec.
    ///
    /// # Implementation
    /// It is a file of VFIO's or iommufd's, by whatever path. Another one is closed and refused:
    /// no request is safe on it.
    ///
    /// # Errors
    /// What `open(2)` returns; `ENODEV` for a file of another kind.
    fn open(&self, path: &CStr) -> Result<Self::Fd, Errno>;

    /// Opens the IOMMU group of a number; with `noiommu` the one that VFIO made up for a device
    /// that no IOMMU confines.
    ///
    /// A world without a file system answers it directly; the others open the group's path,
    /// `/dev/vfio/GROUP` or `/dev/vfio/noiommu-GROUP` ([`GroupPath`]).
    ///
    /// # Implementation
    /// Such a group is opened here alone: [`Sys::open`] refuses its path with `EPERM`. By default
    /// there are none.
    ///
    /// # Errors
    /// As [`Sys::open`].
    fn open_group(&self, group: u32, noiommu: Option<NoIommu>) -> Result<Self::Fd, Errno> {
        if noiommu.is_some() {
            return Err(Errno::ENOENT);
        }
        self.open(GroupPath::new(group, noiommu).as_c_str())
    }

    /// Asks for a structure that begins with argsz.
    ///
    /// # Implementation
    /// The length of `reply` is stored in its first four bytes before the kernel sees it (cut to
    /// `u32::MAX`), so that nothing beyond `reply` is written; [`put_argsz`] does that. Linux reads
    /// [`InfoRequest::least`] bytes even so: a shorter `reply` is passed in memory that has as
    /// many. Whether the answer is believed is the caller's affair.
    ///
    /// # Errors
    /// What `ioctl(2)` returns; `EINVAL` where `reply` has no room for argsz. `reply` may have
    /// been written in part.
    fn ioctl_info(
        &self,
        fd: &Self::Fd,
        request: InfoRequest,
        reply: &mut [u8],
    ) -> Result<(), Errno>;

    /// Makes a request with a plain number and returns the kernel's answer, never negative: the
    /// version, whether there is an extension, and 0 for every other request that was done.
    ///
    /// # Implementation
    /// The number that goes to the kernel is that of [`ValueRequest::argument`], which refuses to
    /// do without an IOMMU where nobody gave the word.
    ///
    /// # Errors
    /// What `ioctl(2)` returns.
    fn ioctl_value(&self, fd: &Self::Fd, request: ValueRequest, value: u32) -> Result<u32, Errno>;

    /// Makes a request that names another open file.
    ///
    /// # Implementation
    /// Linux takes a pointer to the number of `argument`.
    ///
    /// [`FdRequest::SetContainer`] is refused with `EPERM` for a group that no IOMMU confines, in
    /// whichever way it was opened: with iommufd in the container's place nothing else is asked
    /// before its devices can be opened.
    ///
    /// # Errors
    /// What `ioctl(2)` returns.
    fn ioctl_fd(&self, fd: &Self::Fd, request: FdRequest, argument: &Self::Fd)
    -> Result<(), Errno>;

    /// Makes a request that opens something by its name.
    ///
    /// # Implementation
    /// Only a group answers with the number of a file; another file may use the request's number
    /// otherwise.
    ///
    /// # Errors
    /// What `ioctl(2)` returns.
    fn ioctl_name(
        &self,
        fd: &Self::Fd,
        request: NameRequest,
        name: &CStr,
    ) -> Result<Self::Fd, Errno>;

    /// Reads at `offset` (bytes) of `fd` and returns how many bytes were read: fewer than asked
    /// is no error.
    ///
    /// # Errors
    /// What `pread(2)` returns.
    fn pread(&self, fd: &Self::Fd, buf: &mut [u8], offset: u64) -> Result<usize, Errno>;

    /// Writes at `offset` (bytes) of `fd` and returns how many bytes were written.
    ///
    /// # Errors
    /// What `pwrite(2)` returns.
    fn pwrite(&self, fd: &Self::Fd, buf: &[u8], offset: u64) -> Result<usize, Errno>;

    /// Makes a request with a structure and returns the kernel's answer, never negative. It is 0
    /// where all was done, but for [`ExchangeRequest::SetIrqEvents`]: another one is how many
    /// interrupts could be had, and none was set up then.
    ///
    /// # Implementation
    /// - A request that maps memory ([`ExchangeRequest::length_at`]) is refused: only
    ///   [`Sys::exchange_memory`] knows that the memory is the shim's. One that opens a file
    ///   ([`ExchangeRequest::descriptor`]) is refused as well: only [`Sys::exchange_open`] gives
    ///   the file an owner.
    /// - A list ([`Parts::list`]) is passed by a pointer, which [`Parts::point`] puts in.
    /// - Files and events ([`Parts::files`], [`Parts::events`]) are passed by their numbers, which
    ///   [`Parts::name`] puts in, or looked at where they are: a shim that is its own kernel needs
    ///   no numbers.
    ///
    /// # Errors
    /// What `ioctl(2)` returns. The structure may have been written all the same.
    fn exchange(
        &self,
        fd: &Self::Fd,
        exchange: Exchange<'_, Self::Fd, Self::Event>,
    ) -> Result<u32, Errno> {
        let _ = (fd, exchange);
        Err(Errno::ENOSYS)
    }

    /// Makes a request with a structure that opens a file, and returns the file; none where the
    /// kernel opened none.
    ///
    /// # Implementation
    /// Its number is where [`ExchangeRequest::descriptor`] says; a request without is refused,
    /// and [`Sys::exchange`] refuses one with. A number below 0 is none. Only a device answers
    /// with a number that is a file's. Such a request names no files and no events.
    ///
    /// # Errors
    /// What `ioctl(2)` returns; `EINVAL` for a request that opens nothing.
    fn exchange_open(
        &self,
        fd: &Self::Fd,
        exchange: Exchange<'_>,
    ) -> Result<Option<Self::Fd>, Errno> {
        let _ = (fd, exchange);
        Err(Errno::ENOSYS)
    }

    /// Reads from a file that has no offsets, such as a migration's data, and returns how many
    /// bytes were read: 0 at the end, and fewer than asked is no error.
    ///
    /// # Errors
    /// What `read(2)` returns.
    fn read(&self, fd: &Self::Fd, buf: &mut [u8]) -> Result<usize, Errno> {
        let _ = (fd, buf);
        Err(Errno::ENOSYS)
    }

    /// Writes to a file that has no offsets, and returns how many bytes were written.
    ///
    /// # Errors
    /// What `write(2)` returns.
    fn write(&self, fd: &Self::Fd, buf: &[u8]) -> Result<usize, Errno> {
        let _ = (fd, buf);
        Err(Errno::ENOSYS)
    }

    /// Makes a request that maps `memory` for a device.
    ///
    /// # Safety
    /// The caller promises not to drop `memory`, nor to free it where it is
    /// [foreign](Sys::foreign_memory), before
    /// - it was unmapped: a request said so, with as many bytes as were mapped; or
    /// - `fd` was closed, and every group and device that was attached to it: each of them keeps
    ///   what was mapped alive.
    ///
    /// That the kernel pins pages is no substitute: it may not do so yet. An I/O address space of
    /// iommufd to which no device is attached remembers the address in the process, and pins what
    /// is there when a device is attached. Type 1 does the same where all devices are mediated:
    /// it pins what they ask for, when they do, and the rest when a device of an IOMMU joins.
    /// Memory that was freed in between may be anybody's by then.
    ///
    /// # Implementation
    /// The range of the exchange must lie in `memory`.
    ///
    /// # Errors
    /// What `ioctl(2)` returns; `EINVAL` for a range outside `memory`.
    unsafe fn exchange_memory(
        &self,
        fd: &Self::Fd,
        memory: &Self::Memory,
        exchange: Exchange<'_>,
    ) -> Result<u32, Errno> {
        let _ = (fd, memory, exchange);
        Err(Errno::ENOSYS)
    }

    /// Makes a request that maps `mapping`, a stretch of a device, for another device or the same
    /// (peer to peer).
    ///
    /// # Safety
    /// As for [`Sys::exchange_memory`]: `mapping` is not dropped before.
    ///
    /// # Implementation
    /// The range of the exchange must lie in `mapping`.
    ///
    /// # Errors
    /// What `ioctl(2)` returns; `EINVAL` for a range outside `mapping`.
    unsafe fn exchange_mapping(
        &self,
        fd: &Self::Fd,
        mapping: &Self::Mapping,
        exchange: Exchange<'_>,
    ) -> Result<u32, Errno> {
        let _ = (fd, mapping, exchange);
        Err(Errno::ENOSYS)
    }

    /// Maps `span` of `fd`.
    ///
    /// # Errors
    /// What `mmap(2)` returns.
    fn map(
        &self,
        fd: &Self::Fd,
        span: Span,
        protection: Protection,
    ) -> Result<Self::Mapping, Errno> {
        let _ = (fd, span, protection);
        Err(Errno::ENOSYS)
    }

    /// Returns the size of the host's pages, in bytes.
    fn page_size(&self) -> usize;

    /// Returns the time since some moment in the past. It never goes back.
    ///
    /// # Errors
    /// `ENOSYS` in a world without a clock.
    fn now(&self) -> Result<Duration, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Allocates zeroed memory of `len` bytes for DMA, rounded up to whole pages of the kind
    /// `pages`.
    ///
    /// # Errors
    /// What `mmap(2)` returns: `ENOMEM` where there is none, or no huge page is free; `EINVAL` for
    /// a length of 0, and for a size of which the world has no pages.
    fn memory(&self, len: usize, pages: Pages) -> Result<Self::Memory, Errno> {
        let _ = (len, pages);
        Err(Errno::ENOSYS)
    }

    /// Allocates physically contiguous memory that ends at or below `highest`, and returns its
    /// physical address. It is zeroed, and `len` bytes are rounded up to whole ordinary pages. For
    /// devices that no IOMMU confines.
    ///
    /// # Implementation
    /// The memory stays where it is for as long as it lives. A world in which something can move
    /// it all the same says what: Linux does, of its huge pages.
    ///
    /// # Errors
    /// `ENOMEM` where there is no such memory: on Linux, where no huge page is free. `ERANGE`
    /// where it lies too high, `EPERM` where the caller may not know physical addresses, `EINVAL`
    /// for a length of 0.
    fn physical_memory(&self, len: usize, highest: u64) -> Result<(Self::Memory, u64), Errno> {
        let _ = (len, highest);
        Err(Errno::ENOSYS)
    }

    /// Takes the `len` bytes at `base`, which the caller has, as memory for DMA: a guest's memory,
    /// a mapped file, huge pages, a static. Dropping it frees nothing.
    ///
    /// # Safety
    /// The caller promises, until the value is dropped and all that was mapped of it is unmapped
    /// ([`Sys::exchange_memory`]; of a value that was leaked, for ever):
    /// - The bytes are valid for reads and writes.
    /// - Nobody accesses them but atomically or through volatile pointers, and no reference to
    ///   them is alive but to atomics and the like: a device changes them at any time.
    ///
    /// # Errors
    /// `EINVAL` where `base` or `len` is no multiple of the page size, and for a length of 0;
    /// `ENOSYS` in a world that can't.
    unsafe fn foreign_memory(&self, base: NonNull<u8>, len: usize) -> Result<Self::Memory, Errno> {
        let _ = (base, len);
        Err(Errno::ENOSYS)
    }

    /// Returns where memory lies in physical memory, contiguous and for as long as it lives.
    ///
    /// # Errors
    /// `ENOSYS` in a world where memory can move, or lie in pieces: there only
    /// [`Sys::physical_memory`] knows.
    fn physical_address(&self, memory: &Self::Memory) -> Result<u64, Errno> {
        let _ = memory;
        Err(Errno::ENOSYS)
    }

    /// Creates a new event with nothing in it.
    ///
    /// # Errors
    /// What `eventfd(2)` returns.
    fn event(&self) -> Result<Self::Event, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Returns how often the event was signalled since it was last asked. 0 where it was not.
    ///
    /// # Errors
    /// What `read(2)` returns, `EAGAIN` aside.
    fn event_take(&self, event: &Self::Event) -> Result<u64, Errno> {
        let _ = event;
        Err(Errno::ENOSYS)
    }

    /// Signals the event, as an interrupt does: who waits for it, in whichever thread, wakes.
    ///
    /// # Errors
    /// What `write(2)` returns, `EAGAIN` aside.
    fn event_signal(&self, event: &Self::Event) -> Result<(), Errno> {
        let _ = event;
        Err(Errno::ENOSYS)
    }

    /// Waits until one of the events is signalled, and for no longer than `timeout`; tells
    /// whether one is. What is in them stays there: [`Sys::event_take`] tells which it was.
    ///
    /// # Implementation
    /// An event that was signalled before, or is while the wait begins, ends it. Without events
    /// it lasts until `timeout`.
    ///
    /// # Errors
    /// What `poll(2)` returns, `EINTR` aside; `EINVAL` for more than [`EVENTS_MOST`] events.
    fn events_wait(&self, events: &[&Self::Event], timeout: Duration) -> Result<bool, Errno> {
        let _ = (events, timeout);
        Err(Errno::ENOSYS)
    }
}

/// A shim behind a reference is a shim.
#[expect(unsafe_code, reason = "what is unsafe to call is passed on")]
impl<S: Sys + ?Sized> Sys for &S {
    const MAPS: bool = S::MAPS;

    type Fd = S::Fd;
    type Mapping = S::Mapping;
    type Memory = S::Memory;
    type Event = S::Event;

    fn open(&self, path: &CStr) -> Result<Self::Fd, Errno> {
        S::open(self, path)
    }

    fn open_group(&self, group: u32, noiommu: Option<NoIommu>) -> Result<Self::Fd, Errno> {
        S::open_group(self, group, noiommu)
    }

    fn ioctl_info(
        &self,
        fd: &Self::Fd,
        request: InfoRequest,
        reply: &mut [u8],
    ) -> Result<(), Errno> {
        S::ioctl_info(self, fd, request, reply)
    }

    fn ioctl_value(&self, fd: &Self::Fd, request: ValueRequest, value: u32) -> Result<u32, Errno> {
        S::ioctl_value(self, fd, request, value)
    }

    fn ioctl_fd(
        &self,
        fd: &Self::Fd,
        request: FdRequest,
        argument: &Self::Fd,
    ) -> Result<(), Errno> {
        S::ioctl_fd(self, fd, request, argument)
    }

    fn ioctl_name(
        &self,
        fd: &Self::Fd,
        request: NameRequest,
        name: &CStr,
    ) -> Result<Self::Fd, Errno> {
        S::ioctl_name(self, fd, request, name)
    }

    fn pread(&self, fd: &Self::Fd, buf: &mut [u8], offset: u64) -> Result<usize, Errno> {
        S::pread(self, fd, buf, offset)
    }

    fn pwrite(&self, fd: &Self::Fd, buf: &[u8], offset: u64) -> Result<usize, Errno> {
        S::pwrite(self, fd, buf, offset)
    }

    fn exchange(
        &self,
        fd: &Self::Fd,
        exchange: Exchange<'_, Self::Fd, Self::Event>,
    ) -> Result<u32, Errno> {
        S::exchange(self, fd, exchange)
    }

    fn exchange_open(
        &self,
        fd: &Self::Fd,
        exchange: Exchange<'_>,
    ) -> Result<Option<Self::Fd>, Errno> {
        S::exchange_open(self, fd, exchange)
    }

    fn read(&self, fd: &Self::Fd, buf: &mut [u8]) -> Result<usize, Errno> {
        S::read(self, fd, buf)
    }

    fn write(&self, fd: &Self::Fd, buf: &[u8]) -> Result<usize, Errno> {
        S::write(self, fd, buf)
    }

    unsafe fn exchange_memory(
        &self,
        fd: &Self::Fd,
        memory: &Self::Memory,
        exchange: Exchange<'_>,
    ) -> Result<u32, Errno> {
        // SAFETY: the caller's promise is passed on.
        unsafe { S::exchange_memory(self, fd, memory, exchange) }
    }

    unsafe fn exchange_mapping(
        &self,
        fd: &Self::Fd,
        mapping: &Self::Mapping,
        exchange: Exchange<'_>,
    ) -> Result<u32, Errno> {
        // SAFETY: the caller's promise is passed on.
        unsafe { S::exchange_mapping(self, fd, mapping, exchange) }
    }

    fn map(
        &self,
        fd: &Self::Fd,
        span: Span,
        protection: Protection,
    ) -> Result<Self::Mapping, Errno> {
        S::map(self, fd, span, protection)
    }

    fn page_size(&self) -> usize {
        S::page_size(self)
    }

    fn now(&self) -> Result<Duration, Errno> {
        S::now(self)
    }

    fn memory(&self, len: usize, pages: Pages) -> Result<Self::Memory, Errno> {
        S::memory(self, len, pages)
    }

    fn physical_memory(&self, len: usize, highest: u64) -> Result<(Self::Memory, u64), Errno> {
        S::physical_memory(self, len, highest)
    }

    unsafe fn foreign_memory(&self, base: NonNull<u8>, len: usize) -> Result<Self::Memory, Errno> {
        // SAFETY: the caller's promise is passed on.
        unsafe { S::foreign_memory(self, base, len) }
    }

    fn physical_address(&self, memory: &Self::Memory) -> Result<u64, Errno> {
        S::physical_address(self, memory)
    }

    fn event(&self) -> Result<Self::Event, Errno> {
        S::event(self)
    }

    fn event_take(&self, event: &Self::Event) -> Result<u64, Errno> {
        S::event_take(self, event)
    }

    fn event_signal(&self, event: &Self::Event) -> Result<(), Errno> {
        S::event_signal(self, event)
    }

    fn events_wait(&self, events: &[&Self::Event], timeout: Duration) -> Result<bool, Errno> {
        S::events_wait(self, events, timeout)
    }
}

/// Makes a request that has nothing to answer.
///
/// # Errors
/// As [`Sys::exchange`]; `EPROTO` for an answer.
pub(crate) fn send<S: Sys>(
    sys: &S,
    fd: &S::Fd,
    exchange: Exchange<'_, S::Fd, S::Event>,
) -> Result<(), Errno> {
    sys.exchange(fd, exchange).and_then(nothing)
}

/// Checks that a request with nothing to answer has answered nothing. One that maps memory is not
/// asked: whatever it answers, the memory may be mapped.
///
/// # Errors
/// `EPROTO` for an answer: what was asked for may not have been done.
pub(crate) const fn nothing(answer: u32) -> Result<(), Errno> {
    match answer {
        0 => Ok(()),
        _ => Err(Errno::EPROTO),
    }
}
