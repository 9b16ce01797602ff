//! The system calls.

use core::ptr::NonNull;
use std::ffi::CStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vfio_core::sys::{
    EVENTS_MOST, Errno, Exchange, FdRequest, InfoRequest, NameRequest, NoIommu, Pages, Parts,
    Protection, Span, Sys, ValueRequest, put_argsz,
};
use vfio_core::wire::server;

use super::Kernel;
use super::container::CONTAINER_INFO;
use super::path::{
    CONTAINER_PATH, DEVICE_PREFIX, GROUP_PREFIX, IOMMUFD_PATH, NOIOMMU_PREFIX, number_behind,
};
use crate::lock::lock;
use crate::sim::answer::Answer;
use crate::sim::device::Device;
use crate::sim::files::File;
use crate::sim::handle::{Event, Fd, Mapping};
use crate::sim::memory::DmaMemory;
use crate::sim::pages::PAGE;
use crate::sim::signal::{Counter, Signal};

/// By how much the clock goes on each time it is looked at.
const STEP: Duration = Duration::from_micros(50);

/// How long a waiting thread leaves the devices alone: others may give them work meanwhile.
const SLICE: Duration = Duration::from_millis(1);

impl Sys for Kernel {
    type Fd = Fd;
    type Mapping = Mapping;
    type Memory = DmaMemory;
    type Event = Event;

    fn page_size(&self) -> usize {
        PAGE
    }

    fn open(&self, path: &CStr) -> Result<Fd, Errno> {
        self.0.ledger.count(|calls| &mut calls.open);
        if path == CONTAINER_PATH {
            return Ok(self.fd(self.files().open_container()));
        }
        let has_iommufd = !*lock(&self.0.has_no_iommufd);
        if path == IOMMUFD_PATH && has_iommufd {
            return Ok(self.fd(self.files().open_iommufd()));
        }
        let path = path.to_str().map_err(|_| Errno::ENOENT)?;
        if path.starts_with(NOIOMMU_PREFIX) {
            return Err(Errno::EPERM);
        }
        let opened = match number_behind(path, DEVICE_PREFIX) {
            Some(place) if has_iommufd => {
                let place = usize::try_from(place).map_err(|_| Errno::ENOENT)?;
                self.files().open_cdev(place)
            }
            _ => {
                let number = number_behind(path, GROUP_PREFIX).ok_or(Errno::ENOENT)?;
                self.files().open_group(number, false)
            }
        };
        Ok(self.fd(opened?))
    }

    fn open_group(&self, group: u32, noiommu: Option<NoIommu>) -> Result<Fd, Errno> {
        self.0.ledger.count(|calls| &mut calls.open);
        let opened = self.files().open_group(group, noiommu.is_some());
        Ok(self.fd(opened?))
    }

    fn ioctl_info(&self, fd: &Fd, request: InfoRequest, reply: &mut [u8]) -> Result<(), Errno> {
        self.0.ledger.count(|calls| &mut calls.ioctl_info);
        put_argsz(reply)?;
        let file = self.file(fd)?;
        match file {
            File::Container(container) => self.container_info(container, request, reply),
            File::Iommufd(iommufd) if request.number() == CONTAINER_INFO => {
                self.iommufd_info(iommufd, reply)
            }
            File::Group(number) if request == InfoRequest::GroupStatus => {
                let flags = self.files().group_flags(number);
                server::group_status(flags, reply)
            }
            File::Iommufd(_) | File::Group(_) | File::Migration(_) => Err(Errno::ENOTTY),
            File::Device(_) | File::Cdev { .. } => self.device_info(file, request, reply),
        }
    }

    fn ioctl_value(&self, fd: &Fd, request: ValueRequest, value: u32) -> Result<u32, Errno> {
        self.0.ledger.count(|calls| &mut calls.ioctl_value);
        let value = request.argument(value)?;
        match self.file(fd)? {
            File::Container(container) => self.container_value(container, request, value),
            File::Iommufd(iommufd) => self.iommufd_value(iommufd, request, value),
            File::Group(number) if request == ValueRequest::UnsetContainer => {
                self.files().unset_container(number).map(|()| 0)
            }
            file @ (File::Device(_) | File::Cdev { is_bound: true, .. })
                if request == ValueRequest::Reset =>
            {
                self.with_device_of(file, Device::reset).map(|()| 0)
            }
            file @ (File::Group(_) | File::Device(_) | File::Cdev { .. } | File::Migration(_)) => {
                Err(file.refusal())
            }
        }
    }

    fn ioctl_fd(&self, fd: &Fd, request: FdRequest, argument: &Fd) -> Result<(), Errno> {
        self.0.ledger.count(|calls| &mut calls.ioctl_fd);
        match (self.file(fd)?, request) {
            // A group without an IOMMU was opened by who gave the word.
            (File::Group(number), FdRequest::SetContainer | FdRequest::SetContainerNoIommu(_)) => {
                let argument = self.file(argument)?;
                self.files().set_container(number, argument)
            }
            (File::Container(container), _) => Err(self.unknown_to_container(container)),
            (file, _) => Err(file.refusal()),
        }
    }

    fn ioctl_name(&self, fd: &Fd, request: NameRequest, name: &CStr) -> Result<Fd, Errno> {
        self.0.ledger.count(|calls| &mut calls.ioctl_name);
        match (self.file(fd)?, request) {
            (File::Group(number), NameRequest::GetDeviceFd) => {
                let name = name.to_str().map_err(|_| Errno::ENODEV)?;
                let opened = self.files().open_device(number, name)?;
                Ok(self.fd(opened))
            }
            (File::Container(container), _) => Err(self.unknown_to_container(container)),
            (file, _) => Err(file.refusal()),
        }
    }

    fn pread(&self, fd: &Fd, buf: &mut [u8], offset: u64) -> Result<usize, Errno> {
        self.0.ledger.count(|calls| &mut calls.pread);
        let file = self.file(fd)?;
        self.with_device_of(file, |device| device.read(buf, offset))
    }

    fn pwrite(&self, fd: &Fd, buf: &[u8], offset: u64) -> Result<usize, Errno> {
        self.0.ledger.count(|calls| &mut calls.pwrite);
        let file = self.file(fd)?;
        self.with_device_of(file, |device| device.write(buf, offset))
    }

    fn exchange(&self, fd: &Fd, exchange: Exchange<'_, Fd, Event>) -> Result<u32, Errno> {
        self.0.ledger.count(|calls| &mut calls.exchange);
        if exchange.request().descriptor().is_some() {
            // Nobody would own what it opens.
            return Err(Errno::EINVAL);
        }
        self.make(fd, exchange.into_parts(), None)
            .map(Answer::number)
    }

    fn exchange_open(&self, fd: &Fd, exchange: Exchange<'_>) -> Result<Option<Fd>, Errno> {
        self.0.ledger.count(|calls| &mut calls.exchange);
        if exchange.request().descriptor().is_none() {
            return Err(Errno::EINVAL);
        }
        match self.make(fd, nameless(exchange), None)? {
            Answer::Opened(id) => Ok(Some(self.fd(id))),
            Answer::Done | Answer::Only(_) => Ok(None),
        }
    }

    fn read(&self, fd: &Fd, buf: &mut [u8]) -> Result<usize, Errno> {
        self.0.ledger.count(|calls| &mut calls.read);
        match self.file(fd)? {
            File::Migration(id) => {
                let (_, data) = self.files().migration(id)?;
                lock(&data).read(buf)
            }
            _ => Err(Errno::EINVAL),
        }
    }

    fn write(&self, fd: &Fd, buf: &[u8]) -> Result<usize, Errno> {
        self.0.ledger.count(|calls| &mut calls.write);
        match self.file(fd)? {
            File::Migration(id) => {
                let (place, data) = self.files().migration(id)?;
                let device = self.files().device(place)?;
                lock(&device).resume(&data, buf)
            }
            _ => Err(Errno::EINVAL),
        }
    }

    #[expect(unsafe_code, reason = "the trait's method is unsafe to call")]
    unsafe fn exchange_memory(
        &self,
        fd: &Fd,
        memory: &DmaMemory,
        exchange: Exchange<'_>,
    ) -> Result<u32, Errno> {
        self.0.ledger.count(|calls| &mut calls.exchange);
        self.make(fd, nameless(exchange), Some(memory))
            .map(Answer::number)
    }

    fn map(&self, fd: &Fd, span: Span, protection: Protection) -> Result<Mapping, Errno> {
        self.0.ledger.count(|calls| &mut calls.map);
        let file = self.file(fd)?;
        let place = match file {
            File::Device(_) | File::Cdev { .. } => file.device().ok_or(Errno::EINVAL)?,
            _ => return Err(Errno::ENODEV),
        };
        let device = self.files().device(place)?;
        let stretch = lock(&device).stretch(span, protection)?;
        let share = fd.share().clone();
        let ledger = &self.0.ledger;
        Ok(Mapping::new(ledger, share, device, stretch, protection))
    }

    fn now(&self) -> Result<Duration, Errno> {
        self.0.ledger.count(|calls| &mut calls.now);
        self.advance();
        Ok(self.pass(STEP))
    }

    fn memory(&self, len: usize, pages: Pages) -> Result<DmaMemory, Errno> {
        self.0.ledger.count(|calls| &mut calls.memory);
        match pages {
            Pages::Ordinary => DmaMemory::ordinary(len, &self.0.supply),
            Pages::Huge(size) => DmaMemory::huge(len, size, &self.0.supply),
        }
    }

    fn physical_memory(&self, len: usize, highest: u64) -> Result<(DmaMemory, u64), Errno> {
        self.0.ledger.count(|calls| &mut calls.memory);
        let memory = Arc::clone(self.files().physical());
        DmaMemory::physical(&memory, len, highest)
    }

    #[expect(unsafe_code, reason = "the trait's method is unsafe to call")]
    unsafe fn foreign_memory(&self, base: NonNull<u8>, len: usize) -> Result<DmaMemory, Errno> {
        self.0.ledger.count(|calls| &mut calls.memory);
        // SAFETY: the caller's promise is passed on.
        unsafe { DmaMemory::foreign(base, len) }
    }

    fn event(&self) -> Result<Event, Errno> {
        self.0.ledger.count(|calls| &mut calls.event);
        let signal = Signal::new(Counter::new(&self.0.bell)?);
        Ok(Event::new(&self.0.ledger, signal))
    }

    fn event_take(&self, event: &Event) -> Result<u64, Errno> {
        self.0.ledger.count(|calls| &mut calls.event_read);
        let signal = self.signal_of(event)?;
        self.advance();
        Ok(signal.take())
    }

    fn event_signal(&self, event: &Event) -> Result<(), Errno> {
        self.0.ledger.count(|calls| &mut calls.event_write);
        self.signal_of(event)?.signal();
        self.advance();
        Ok(())
    }

    fn events_wait(&self, events: &[&Event], timeout: Duration) -> Result<bool, Errno> {
        self.0.ledger.count(|calls| &mut calls.event_read);
        if events.len() > EVENTS_MOST {
            return Err(Errno::EINVAL);
        }
        for event in events {
            self.signal_of(event)?;
        }
        let is_signalled = || events.iter().any(|event| event.signal().is_signalled());
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let is_busy = self.advance();
            if is_signalled() {
                return Ok(true);
            }
            let left = deadline.map_or(SLICE, |deadline| {
                deadline.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                self.pass(timeout);
                return Ok(false);
            }
            if !is_busy && self.0.bell.wait(left.min(SLICE), is_signalled) {
                return Ok(true);
            }
        }
    }
}

/// Returns a request that names no files and events.
fn nameless(exchange: Exchange<'_>) -> Parts<'_, Fd, Event> {
    let Parts {
        request,
        argument,
        list,
        memory,
        ..
    } = exchange.into_parts();
    Parts {
        request,
        argument,
        list,
        memory,
        files: &[],
        events: &[],
    }
}
