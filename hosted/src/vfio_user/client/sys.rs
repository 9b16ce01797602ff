//! The shim's methods.

use core::ffi::CStr;
use core::ptr::NonNull;
use core::time::Duration;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Instant;
use std::vec::Vec;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vfio_core::mmio::Access as _;
use vfio_core::sys::{
    EVENTS_MOST, Errno, Exchange, ExchangeRequest, FdRequest, InfoRequest, NameRequest, Pages,
    Protection, Span, Sys, ValueRequest, put_argsz,
};
use vfio_core::wire::abi::Extension;

use super::connection::Connection;
use super::regions::place;
use super::{Fd, Mapping, Memory, Role, VfioUser};
use crate::linux::{Linux, errno};

impl Sys for VfioUser {
    type Fd = Fd;
    type Mapping = Mapping;
    type Memory = Memory;
    type Event = OwnedFd;

    /// Connects to the server whose socket is at `path`.
    fn open(&self, path: &CStr) -> Result<Fd, Errno> {
        let connected = Connection::open(path, self.options);
        self.opened(connected).map_err(|error| error.errno())
    }

    fn ioctl_info(&self, fd: &Fd, request: InfoRequest, reply: &mut [u8]) -> Result<(), Errno> {
        put_argsz(reply)?;
        match fd.role {
            Role::Container if request == InfoRequest::Iommu => {
                fd.connection.link().iommu_info(reply)
            }
            Role::Container => Err(Errno::ENOTTY),
            Role::Device => fd.connection.link().device_info(request, reply),
        }
    }

    fn ioctl_value(&self, fd: &Fd, request: ValueRequest, value: u32) -> Result<u32, Errno> {
        let value = Extension(request.argument(value)?);
        let known = [Extension::TYPE1V2_IOMMU, Extension::UNMAP_ALL];
        match (fd.role, request) {
            (Role::Container, ValueRequest::GetApiVersion) => {
                Ok(vfio_core::wire::abi::ioctl::API_VERSION)
            }
            (Role::Container, ValueRequest::CheckExtension) => {
                Ok(u32::from(known.contains(&value)))
            }
            (Role::Container, ValueRequest::SetIommu) if value == Extension::TYPE1V2_IOMMU => Ok(0),
            (Role::Container, ValueRequest::SetIommu) => Err(Errno::EINVAL),
            (Role::Device, ValueRequest::Reset) => fd.connection.link().reset().map(|()| 0),
            _ => Err(Errno::ENOTTY),
        }
    }

    fn ioctl_fd(&self, _: &Fd, _: FdRequest, _: &Fd) -> Result<(), Errno> {
        Err(Errno::ENOTTY)
    }

    /// Opens the device of the server, by whatever name: it has one.
    fn ioctl_name(&self, fd: &Fd, request: NameRequest, _: &CStr) -> Result<Fd, Errno> {
        match (fd.role, request) {
            (Role::Container, NameRequest::GetDeviceFd) => {
                fd.connection.link().take_over()?;
                Ok(Fd {
                    connection: Arc::clone(&fd.connection),
                    role: Role::Device,
                    open: Arc::clone(&fd.open),
                })
            }
            (Role::Device, NameRequest::GetDeviceFd) => Err(Errno::ENOTTY),
        }
    }

    fn pread(&self, fd: &Fd, buf: &mut [u8], offset: u64) -> Result<usize, Errno> {
        let (region, at) = of_device(fd, offset)?;
        fd.connection.region_read(region, at, buf)?;
        Ok(buf.len())
    }

    fn pwrite(&self, fd: &Fd, buf: &[u8], offset: u64) -> Result<usize, Errno> {
        let (region, at) = of_device(fd, offset)?;
        fd.connection.region_write(region, at, buf)?;
        Ok(buf.len())
    }

    fn exchange(&self, fd: &Fd, exchange: Exchange<'_, Fd, OwnedFd>) -> Result<u32, Errno> {
        let parts = exchange.into_parts();
        let mut link = fd.connection.link();
        match (fd.role, parts.request) {
            (Role::Container, ExchangeRequest::UnmapDma) => link.unmap_dma(parts.argument),
            (Role::Device, ExchangeRequest::SetIrqs | ExchangeRequest::SetIrqEvents) => {
                link.set_irqs(parts.argument, parts.events)
            }
            (Role::Device, ExchangeRequest::Feature) => link.feature(parts.argument),
            (_, ExchangeRequest::MapDma) => Err(Errno::EINVAL),
            _ => Err(Errno::ENOTTY),
        }
        .map(|()| 0)
    }

    unsafe fn exchange_memory(
        &self,
        fd: &Fd,
        memory: &Memory,
        exchange: Exchange<'_>,
    ) -> Result<u32, Errno> {
        let parts = exchange.into_parts();
        if (fd.role, parts.request) != (Role::Container, ExchangeRequest::MapDma) {
            return Err(Errno::ENOTTY);
        }
        let range = parts.memory;
        if range.start > range.end || range.end > memory.len() {
            return Err(Errno::EINVAL);
        }
        let mut link = fd.connection.link();
        link.map_dma(parts.argument, memory.shared(), range)
            .map(|()| 0)
    }

    fn map(&self, fd: &Fd, span: Span, protection: Protection) -> Result<Mapping, Errno> {
        let (region, start) = of_device(fd, span.offset)?;
        let len = u64::try_from(span.len).map_err(|_| Errno::EINVAL)?;
        let page = u64::try_from(self.page_size()).map_err(|_| Errno::EINVAL)?;
        if len == 0 || !start.is_multiple_of(page) {
            return Err(Errno::EINVAL);
        }
        let pieces = fd
            .connection
            .link()
            .pieces(region, start, len, protection)?;
        Ok(Mapping {
            connection: Arc::clone(&fd.connection),
            region,
            start,
            len: span.len,
            protection,
            pieces,
        })
    }

    fn page_size(&self) -> usize {
        Linux.page_size()
    }

    /// Returns the time; and what servers ask for meanwhile is done.
    fn now(&self) -> Result<Duration, Errno> {
        for open in self.open.connections() {
            let mut link = open.link();
            if link.space.is_asked_for() || !self.options.shares_memory {
                // A failure is told to who asks the server something.
                let _ = link.attend();
            }
        }
        Linux.now()
    }

    fn memory(&self, len: usize, pages: Pages) -> Result<Memory, Errno> {
        match pages {
            Pages::Ordinary => Memory::new(len),
            Pages::Huge(_) => Err(Errno::EINVAL),
        }
    }

    unsafe fn foreign_memory(&self, base: NonNull<u8>, len: usize) -> Result<Memory, Errno> {
        // SAFETY: the caller's promise is passed on; the memory is kept for as long as it is mapped
        // for a device.
        unsafe { Linux.foreign_memory(base, len) }.map(Memory::foreign)
    }

    fn event(&self) -> Result<OwnedFd, Errno> {
        Linux.event()
    }

    fn event_take(&self, event: &OwnedFd) -> Result<u64, Errno> {
        Linux.event_take(event)
    }

    fn event_signal(&self, event: &OwnedFd) -> Result<(), Errno> {
        Linux.event_signal(event)
    }

    /// Waits for events, and does what servers ask for meanwhile. Where none is signalled and a server is gone, it is
    /// an error: its device signals none any more.
    fn events_wait(&self, events: &[&OwnedFd], timeout: Duration) -> Result<bool, Errno> {
        if events.len() > EVENTS_MOST {
            return Err(Errno::EINVAL);
        }
        let deadline = Instant::now().checked_add(timeout);
        let open = self.open.connections();
        loop {
            // First, as what came behind an answer is there already, and ends no wait.
            let failed = open.iter().find_map(|open| open.link().attend().err());
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let left = if failed.is_some() {
                Some(Duration::ZERO)
            } else {
                left
            };
            if wait(events, &open, left)? {
                return Ok(true);
            }
            if let Some(errno) = failed {
                return Err(errno);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(false);
            }
        }
    }
}

/// Waits until an event is signalled or a server asks for something; tells whether an event is.
fn wait(
    events: &[&OwnedFd],
    open: &[Arc<Connection>],
    timeout: Option<Duration>,
) -> Result<bool, Errno> {
    let of = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
    let events_fds = events.iter().map(|event| of(event.as_fd()));
    let sockets = open.iter().map(|open| of(open.socket()));
    let mut fds: Vec<_> = events_fds.chain(sockets).collect();
    // What can't be said in the kernel's terms is for ever.
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    match poll(&mut fds, timeout.as_ref()) {
        Err(rustix::io::Errno::INTR) => return Ok(false),
        polled => polled.map_err(errno)?,
    };
    let mut signalled = fds.iter().take(events.len());
    Ok(signalled.any(|fd| fd.revents().contains(PollFlags::IN)))
}

/// Finds where an access to a device goes: its region, and bytes from the region's start.
fn of_device(fd: &Fd, offset: u64) -> Result<(u32, u64), Errno> {
    match fd.role {
        Role::Device => place(offset),
        Role::Container => Err(Errno::EINVAL),
    }
}
