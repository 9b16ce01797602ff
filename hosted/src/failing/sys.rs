//! The calls, passed on.

use core::ffi::CStr;
use core::ptr::NonNull;
use core::time::Duration;

use vfio_core::sys::{
    Errno, Exchange, FdRequest, InfoRequest, NameRequest, NoIommu, Pages, Protection, Span, Sys,
    ValueRequest,
};

use super::{Call, Failing};

impl<S: Sys> Sys for Failing<S> {
    type Fd = S::Fd;
    type Mapping = S::Mapping;
    type Memory = S::Memory;
    type Event = S::Event;

    fn open(&self, path: &CStr) -> Result<S::Fd, Errno> {
        self.call(Call::Open, |sys| sys.open(path))
    }

    fn open_group(&self, group: u32, noiommu: Option<NoIommu>) -> Result<S::Fd, Errno> {
        self.call(Call::Open, |sys| sys.open_group(group, noiommu))
    }

    fn ioctl_info(&self, fd: &S::Fd, request: InfoRequest, reply: &mut [u8]) -> Result<(), Errno> {
        self.call(Call::Info(request), |sys| {
            sys.ioctl_info(fd, request, reply)
        })
    }

    fn ioctl_value(&self, fd: &S::Fd, request: ValueRequest, value: u32) -> Result<u32, Errno> {
        self.ask(Call::Value(request), |sys| {
            sys.ioctl_value(fd, request, value)
        })
    }

    fn ioctl_fd(&self, fd: &S::Fd, request: FdRequest, argument: &S::Fd) -> Result<(), Errno> {
        self.call(Call::Fd(request), |sys| sys.ioctl_fd(fd, request, argument))
    }

    fn ioctl_name(&self, fd: &S::Fd, request: NameRequest, name: &CStr) -> Result<S::Fd, Errno> {
        self.call(Call::Name(request), |sys| sys.ioctl_name(fd, request, name))
    }

    fn pread(&self, fd: &S::Fd, buf: &mut [u8], offset: u64) -> Result<usize, Errno> {
        self.transfer(Call::Pread, buf.len(), |sys, len| {
            sys.pread(fd, buf.get_mut(..len).unwrap_or_default(), offset)
        })
    }

    fn pwrite(&self, fd: &S::Fd, buf: &[u8], offset: u64) -> Result<usize, Errno> {
        self.transfer(Call::Pwrite, buf.len(), |sys, len| {
            sys.pwrite(fd, buf.get(..len).unwrap_or_default(), offset)
        })
    }

    fn exchange(&self, fd: &S::Fd, exchange: Exchange<'_, S::Fd, S::Event>) -> Result<u32, Errno> {
        self.ask(Call::Exchange(exchange.request()), |sys| {
            sys.exchange(fd, exchange)
        })
    }

    fn exchange_open(&self, fd: &S::Fd, exchange: Exchange<'_>) -> Result<Option<Self::Fd>, Errno> {
        self.call(Call::Exchange(exchange.request()), |sys| {
            sys.exchange_open(fd, exchange)
        })
    }

    fn read(&self, fd: &S::Fd, buf: &mut [u8]) -> Result<usize, Errno> {
        self.transfer(Call::Read, buf.len(), |sys, len| {
            sys.read(fd, buf.get_mut(..len).unwrap_or_default())
        })
    }

    fn write(&self, fd: &S::Fd, buf: &[u8]) -> Result<usize, Errno> {
        self.transfer(Call::Write, buf.len(), |sys, len| {
            sys.write(fd, buf.get(..len).unwrap_or_default())
        })
    }

    unsafe fn exchange_memory(
        &self,
        fd: &S::Fd,
        memory: &S::Memory,
        exchange: Exchange<'_>,
    ) -> Result<u32, Errno> {
        self.ask(Call::Exchange(exchange.request()), |sys| {
            // SAFETY: the caller's promise is passed on.
            unsafe { sys.exchange_memory(fd, memory, exchange) }
        })
    }

    unsafe fn exchange_mapping(
        &self,
        fd: &S::Fd,
        mapping: &S::Mapping,
        exchange: Exchange<'_>,
    ) -> Result<u32, Errno> {
        self.ask(Call::Exchange(exchange.request()), |sys| {
            // SAFETY: the caller's promise is passed on.
            unsafe { sys.exchange_mapping(fd, mapping, exchange) }
        })
    }

    fn map(&self, fd: &S::Fd, span: Span, protection: Protection) -> Result<S::Mapping, Errno> {
        self.call(Call::Map, |sys| sys.map(fd, span, protection))
    }

    fn page_size(&self) -> usize {
        self.sys.page_size()
    }

    fn memory(&self, len: usize, pages: Pages) -> Result<S::Memory, Errno> {
        self.call(Call::Memory, |sys| sys.memory(len, pages))
    }

    fn physical_memory(&self, len: usize, highest: u64) -> Result<(S::Memory, u64), Errno> {
        self.call(Call::Memory, |sys| sys.physical_memory(len, highest))
    }

    unsafe fn foreign_memory(&self, base: NonNull<u8>, len: usize) -> Result<S::Memory, Errno> {
        self.call(Call::Memory, |sys| {
            // SAFETY: the caller's promise is passed on.
            unsafe { sys.foreign_memory(base, len) }
        })
    }

    fn physical_address(&self, memory: &S::Memory) -> Result<u64, Errno> {
        self.sys.physical_address(memory)
    }

    fn event(&self) -> Result<S::Event, Errno> {
        self.call(Call::Event, S::event)
    }

    fn event_take(&self, event: &S::Event) -> Result<u64, Errno> {
        self.call(Call::EventTake, |sys| sys.event_take(event))
    }

    fn event_signal(&self, event: &S::Event) -> Result<(), Errno> {
        self.call(Call::EventSignal, |sys| sys.event_signal(event))
    }

    fn events_wait(&self, events: &[&S::Event], timeout: Duration) -> Result<bool, Errno> {
        self.call(Call::EventsWait, |sys| sys.events_wait(events, timeout))
    }
}
