//! The simulated kernel as a shim.

use std::ffi::{CStr, CString};
use std::fmt;
use std::format;
use std::string::{String, ToString};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use vfio_core::abi::{Extension, ioctl};
use vfio_core::server;
use vfio_core::sys::{
    Errno, Exchange, FdRequest, InfoRequest, NameRequest, Protection, Span, Sys, ValueRequest,
    put_argsz,
};

use super::device::Device;
use super::event::{Counter, Event, Signal};
use super::fault::FaultLog;
use super::session::{File, Session};
use super::{DmaMemory, Mapping, Model};
use crate::OwnedPlace;

/// Where the container is.
pub const CONTAINER_PATH: &CStr = c"/dev/vfio/vfio";

/// Where the iommufd is, which is a container as well.
pub const IOMMUFD_PATH: &CStr = c"/dev/iommu";

/// How long a waiting thread leaves the devices alone: others may give them work meanwhile.
const SLICE: Duration = Duration::from_millis(1);

/// A simulated kernel. Clones are the same kernel, and threads may share it.
#[derive(Clone, Default)]
pub struct Kernel(pub(super) Arc<Shared>);

/// An open file of a [`Kernel`]; dropping it closes it.
pub struct Fd {
    kernel: Arc<Shared>,
    pub(super) id: u64,
    number: i32,
}

/// How many system calls were made, failed ones included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// [`Sys::open`].
    pub open: u64,
    /// Files and events that were closed.
    pub close: u64,
    /// [`Sys::ioctl_info`].
    pub ioctl_info: u64,
    /// [`Sys::ioctl_value`].
    pub ioctl_value: u64,
    /// [`Sys::ioctl_fd`].
    pub ioctl_fd: u64,
    /// [`Sys::ioctl_name`].
    pub ioctl_name: u64,
    /// [`Sys::pread`].
    pub pread: u64,
    /// [`Sys::pwrite`].
    pub pwrite: u64,
    /// [`Sys::exchange`] and [`Sys::exchange_memory`].
    pub exchange: u64,
    /// [`Sys::map`].
    pub map: u64,
    /// Mappings that were taken away.
    pub unmap: u64,
    /// [`Sys::memory`].
    pub memory: u64,
    /// [`Sys::event`].
    pub event: u64,
    /// [`Sys::event_take`] and [`Sys::event_wait`].
    pub event_read: u64,
}

#[derive(Default)]
pub(super) struct Shared {
    session: Mutex<Session>,
    calls: Mutex<Calls>,
    pub(super) faults: FaultLog,
    pub(super) mappings: AtomicUsize,
    has_no_iommufd: Mutex<bool>,
}

impl Kernel {
    /// A kernel with a container, an iommufd and no device.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a device that is bound to vfio-pci. `name` is its PCI address, like `0000:00:05.0`;
    /// `group` is its IOMMU group, which may have others.
    ///
    /// # Panics
    /// Where the kernel has a device of that name.
    #[must_use]
    pub fn with_device(self, name: &str, model: Model, group: u32) -> Self {
        let device = Device::new(name, model, group, self.0.faults.clone());
        let added = self.0.session().add(name.to_string(), group, device);
        assert!(added.is_ok(), "there is a device {name} already");
        self
    }

    /// Adds a device without an IOMMU, in a group of its own (`/dev/vfio/noiommu-GROUP`): its DMA
    /// takes the addresses of [`Sys::physical_memory`].
    ///
    /// # Panics
    /// As [`Kernel::with_device`].
    #[must_use]
    pub fn with_noiommu_device(self, name: &str, model: Model, group: u32) -> Self {
        let this = self.with_device(name, model, group);
        this.0.session().without_iommu(group);
        this
    }

    /// As [`Kernel::with_device`], of a virtual function of the SR-IOV device `physical`, which
    /// has a token from then on: nobody opens the virtual function without it.
    ///
    /// # Panics
    /// Where the kernel has a device of that name, and where it has none called `physical`.
    #[must_use]
    pub fn with_virtual_function(
        self,
        name: &str,
        model: Model,
        group: u32,
        physical: &str,
    ) -> Self {
        let kernel = self.with_device(name, model, group);
        let made = kernel.0.session().make_virtual(name, physical);
        assert!(made.is_ok(), "there is no device {physical}");
        kernel
    }

    /// Adds a device of another driver to a group, which is then not viable.
    #[must_use]
    pub fn with_foreign_driver(self, group: u32) -> Self {
        self.0.session().own_elsewhere(group);
        self
    }

    /// Takes iommufd away, and the device files that need it, as in Linux before 6.6.
    #[must_use]
    pub fn without_iommufd(self) -> Self {
        *lock(&self.0.has_no_iommufd) = true;
        self
    }

    /// The path of a group.
    #[must_use]
    pub fn group_path(group: u32) -> CString {
        // There is no NUL in it.
        CString::new(format!("{GROUP_PREFIX}{group}")).unwrap_or_default()
    }

    /// The path of a device by itself, which an iommufd is needed for; none where there is no
    /// device of that name.
    #[must_use]
    pub fn device_path(&self, name: &str) -> Option<CString> {
        let session = self.0.session();
        let place = session
            .place(name)
            .filter(|place| session.has_cdev(*place))?;
        CString::new(format!("{DEVICE_PREFIX}{place}")).ok()
    }

    /// Where the device of a name is opened; none where there is no such device.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<OwnedPlace> {
        let (group, is_noiommu) = self.0.session().group_of(name)?;
        let has_iommufd = !*lock(&self.0.has_no_iommufd);
        Some(OwnedPlace {
            name: CString::new(name).ok()?,
            group: Some(group),
            is_noiommu,
            cdev: self.device_path(name).filter(|_| has_iommufd),
            token: None,
        })
    }

    /// Lets time pass by one step for all devices; tells whether any has more to do.
    pub(super) fn advance(&self) -> bool {
        let devices = self.0.session().devices();
        let mut has_more = false;
        for device in devices {
            has_more |= lock(&device).advance();
        }
        has_more
    }

    /// The file behind `fd`, which must be of this kernel.
    pub(super) fn file(&self, fd: &Fd) -> Result<File, Errno> {
        if Arc::ptr_eq(&self.0, &fd.kernel) {
            self.0.session().file(fd.id)
        } else {
            Err(Errno::EBADF)
        }
    }

    fn fd(&self, (id, number): (u64, i32)) -> Fd {
        Fd {
            kernel: Arc::clone(&self.0),
            id,
            number,
        }
    }

    /// The counter of `event`, which must be of this kernel.
    fn counter<'e>(&self, event: &'e Event) -> Result<&'e Counter, Errno> {
        self.0.count(|calls| &mut calls.event_read);
        if Arc::ptr_eq(&self.0, &event.kernel) {
            Ok(&event.signal)
        } else {
            Err(Errno::EBADF)
        }
    }

    /// Lets the device behind `file` do something.
    pub(super) fn with_device_of<R>(
        &self,
        file: File,
        act: impl FnOnce(&mut Device) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        let place = file.device().ok_or(Errno::EINVAL)?;
        // The session is not locked meanwhile: a device may take its time.
        let device = self.0.session().device(place)?;
        act(&mut lock(&device))
    }

    /// The error of a container's request that is not its own: type1's, or none without type1.
    pub(super) fn unknown_to_container(&self, container: u64) -> Errno {
        if self.0.session().has_iommu(container) {
            Errno::ENOTTY
        } else {
            Errno::EINVAL
        }
    }

    /// What an iommufd answers as a container.
    fn has_as_container(&self, iommufd: u64, value: u32) -> u32 {
        let is_there = match Extension(value) {
            Extension::TYPE1_IOMMU | Extension::TYPE1V2_IOMMU | Extension::UNMAP_ALL => true,
            Extension::DMA_CC_IOMMU => {
                let device = self.0.session().first_bound(iommufd);
                device.is_some_and(|device| lock(&device).iommu().is_coherent)
            }
            _ => false,
        };
        u32::from(is_there)
    }

    /// `VFIO_IOMMU_GET_INFO` of an iommufd.
    fn iommufd_info(&self, iommufd: u64, reply: &mut [u8]) -> Result<(), Errno> {
        let mut session = self.0.session();
        let device = session.first_bound(iommufd);
        let device = device.as_deref().map(lock);
        let info = session
            .iommufd(iommufd)?
            .container_info(device.as_ref().map(|device| device.iommu()))?;
        drop(session);
        let dialect = device.map(|device| device.dialect()).unwrap_or_default();
        info.with_server(dialect, |iommu| iommu.answer(InfoRequest::Iommu, reply))
    }

    fn check_extension(&self, container: u64, value: u32) -> u32 {
        let is_there = match Extension(value) {
            Extension::TYPE1_IOMMU
            | Extension::TYPE1V2_IOMMU
            | Extension::UNMAP_ALL
            | Extension::UPDATE_VADDR => true,
            Extension::NOIOMMU_IOMMU => self.0.session().has_noiommu(),
            Extension::DMA_CC_IOMMU => {
                let session = self.0.session();
                let device = session.first_device(container);
                let has_iommu = session.has_iommu(container);
                drop(session);
                has_iommu && device.is_some_and(|device| lock(&device).iommu().is_coherent)
            }
            _ => false,
        };
        u32::from(is_there)
    }
}

/// What the path of a group begins with.
const GROUP_PREFIX: &str = "/dev/vfio/";
/// What the path of a group begins with that no IOMMU confines.
const NOIOMMU_PREFIX: &str = "/dev/vfio/noiommu-";
/// What the path of a device by itself begins with.
const DEVICE_PREFIX: &str = "/dev/vfio/devices/vfio";

/// The number at the end of a path, in the form that the kernel writes: without sign and leading
/// zeros.
fn number_behind(path: &str, prefix: &str) -> Option<u32> {
    let text = path.strip_prefix(prefix)?;
    let number: u32 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

impl Sys for Kernel {
    type Fd = Fd;
    type Mapping = Mapping;
    type Memory = DmaMemory;
    type Event = Event;

    fn page_size(&self) -> usize {
        super::dma_memory::PAGE
    }

    fn open(&self, path: &CStr) -> Result<Fd, Errno> {
        self.0.count(|calls| &mut calls.open);
        if path == CONTAINER_PATH {
            return Ok(self.fd(self.0.session().open_container()));
        }
        let has_iommufd = !*lock(&self.0.has_no_iommufd);
        if path == IOMMUFD_PATH && has_iommufd {
            return Ok(self.fd(self.0.session().open_iommufd()));
        }
        let path = path.to_str().map_err(|_| Errno::ENOENT)?;
        let opened = match number_behind(path, DEVICE_PREFIX) {
            Some(place) if has_iommufd => {
                let place = usize::try_from(place).map_err(|_| Errno::ENOENT)?;
                self.0.session().open_cdev(place)
            }
            _ => {
                let noiommu = number_behind(path, NOIOMMU_PREFIX);
                let number = noiommu.or_else(|| number_behind(path, GROUP_PREFIX));
                let number = number.ok_or(Errno::ENOENT)?;
                self.0.session().open_group(number, noiommu.is_some())
            }
        };
        Ok(self.fd(opened?))
    }

    fn number(&self, fd: &Fd) -> i32 {
        fd.number
    }

    fn ioctl_info(&self, fd: &Fd, request: InfoRequest, reply: &mut [u8]) -> Result<(), Errno> {
        self.0.count(|calls| &mut calls.ioctl_info);
        put_argsz(reply)?;
        // A container and a device share a number: the file decides what it means.
        let is_shared = request.number() == ioctl::container::IOMMU_GET_INFO;
        match self.file(fd)? {
            File::Container(container) => {
                if !is_shared || !self.0.session().has_iommu(container) {
                    return Err(self.unknown_to_container(container));
                }
                let session = self.0.session();
                let device = session.first_device(container).ok_or(Errno::EINVAL)?;
                let used = lock(&session.type1(container)?.space).len();
                drop(session);
                lock(&device).iommu_info(InfoRequest::Iommu, reply, used)
            }
            File::Iommufd(iommufd) if is_shared => self.iommufd_info(iommufd, reply),
            File::Iommufd(_) => Err(Errno::ENOTTY),
            File::Group(number) if request == InfoRequest::GroupStatus => {
                let flags = self.0.session().group_flags(number);
                server::group_status(flags, reply)
            }
            File::Group(_) => Err(Errno::ENOTTY),
            file @ (File::Device(_) | File::Cdev { .. }) => {
                file.device().ok_or(Errno::EINVAL)?;
                if request == InfoRequest::GroupStatus {
                    return Err(Errno::ENOTTY);
                }
                let request = if is_shared {
                    InfoRequest::PciHotReset
                } else {
                    request
                };
                self.with_device_of(file, |device| device.info(request, reply))
            }
        }
    }

    fn ioctl_value(&self, fd: &Fd, request: ValueRequest, value: u32) -> Result<u32, Errno> {
        self.0.count(|calls| &mut calls.ioctl_value);
        match (self.file(fd)?, request) {
            (File::Container(_), ValueRequest::GetApiVersion) => Ok(ioctl::API_VERSION),
            (File::Container(container), ValueRequest::CheckExtension) => {
                Ok(self.check_extension(container, value))
            }
            (File::Container(container), ValueRequest::SetIommu) => {
                self.0.session().set_iommu(container, value).map(|()| 0)
            }
            (File::Container(container), ValueRequest::UnsetContainer | ValueRequest::Reset) => {
                Err(self.unknown_to_container(container))
            }
            (File::Iommufd(_), ValueRequest::GetApiVersion) => Ok(ioctl::API_VERSION),
            (File::Iommufd(iommufd), ValueRequest::CheckExtension) => {
                Ok(self.has_as_container(iommufd, value))
            }
            (File::Iommufd(iommufd), ValueRequest::SetIommu) => {
                let is_v2 = match Extension(value) {
                    Extension::TYPE1_IOMMU => false,
                    Extension::TYPE1V2_IOMMU => true,
                    _ => return Err(Errno::EINVAL),
                };
                self.0.session().iommufd(iommufd)?.set_iommu(is_v2)?;
                Ok(0)
            }
            (file @ (File::Device(_) | File::Cdev { is_bound: true, .. }), ValueRequest::Reset) => {
                self.with_device_of(file, Device::reset).map(|()| 0)
            }
            (
                File::Cdev {
                    is_bound: false, ..
                },
                _,
            ) => Err(Errno::EINVAL),
            (File::Group(number), ValueRequest::UnsetContainer) => {
                self.0.session().unset_container(number).map(|()| 0)
            }
            (File::Group(_) | File::Device(_) | File::Cdev { .. } | File::Iommufd(_), _) => {
                Err(Errno::ENOTTY)
            }
        }
    }

    fn ioctl_fd(&self, fd: &Fd, request: FdRequest, argument: &Fd) -> Result<(), Errno> {
        self.0.count(|calls| &mut calls.ioctl_fd);
        match (self.file(fd)?, request) {
            (File::Group(number), FdRequest::SetContainer) => {
                let argument = self.file(argument)?;
                self.0.session().set_container(number, argument)
            }
            (File::Container(container), _) => Err(self.unknown_to_container(container)),
            (file, _) => Err(file.refusal()),
        }
    }

    fn ioctl_name(&self, fd: &Fd, request: NameRequest, name: &CStr) -> Result<Fd, Errno> {
        self.0.count(|calls| &mut calls.ioctl_name);
        match (self.file(fd)?, request) {
            (File::Group(number), NameRequest::GetDeviceFd) => {
                let name = name.to_str().map_err(|_| Errno::ENODEV)?;
                let opened = self.0.session().open_device(number, name)?;
                Ok(self.fd(opened))
            }
            (File::Container(container), _) => Err(self.unknown_to_container(container)),
            (file, _) => Err(file.refusal()),
        }
    }

    fn pread(&self, fd: &Fd, buf: &mut [u8], offset: u64) -> Result<usize, Errno> {
        self.0.count(|calls| &mut calls.pread);
        let file = self.file(fd)?;
        self.with_device_of(file, |device| device.read(buf, offset))
    }

    fn pwrite(&self, fd: &Fd, buf: &[u8], offset: u64) -> Result<usize, Errno> {
        self.0.count(|calls| &mut calls.pwrite);
        let file = self.file(fd)?;
        self.with_device_of(file, |device| device.write(buf, offset))
    }

    fn exchange(&self, fd: &Fd, exchange: Exchange<'_>) -> Result<u32, Errno> {
        self.0.count(|calls| &mut calls.exchange);
        self.make(fd, exchange, None).map(|()| 0)
    }

    fn exchange_memory(
        &self,
        fd: &Fd,
        memory: &DmaMemory,
        exchange: Exchange<'_>,
    ) -> Result<u32, Errno> {
        self.0.count(|calls| &mut calls.exchange);
        self.make(fd, exchange, Some(memory)).map(|()| 0)
    }

    fn map(&self, fd: &Fd, span: Span, protection: Protection) -> Result<Mapping, Errno> {
        self.0.count(|calls| &mut calls.map);
        let file = self.file(fd)?;
        let place = match file {
            File::Device(_) | File::Cdev { .. } => file.device().ok_or(Errno::EINVAL)?,
            _ => return Err(Errno::ENODEV),
        };
        let device = self.0.session().device(place)?;
        let stretch = lock(&device).stretch(span, protection)?;
        self.0.session().share(fd.id);
        self.0.mappings.fetch_add(1, Ordering::AcqRel);
        let kernel = Arc::clone(&self.0);
        Ok(Mapping::new(kernel, fd.id, device, stretch, protection))
    }

    fn memory(&self, len: usize) -> Result<DmaMemory, Errno> {
        self.0.count(|calls| &mut calls.memory);
        DmaMemory::zeroed(len)
    }

    fn physical_memory(&self, len: usize, highest: u64) -> Result<(DmaMemory, u64), Errno> {
        self.0.count(|calls| &mut calls.memory);
        let memory = Arc::clone(self.0.session().physical());
        DmaMemory::physical(&memory, len, highest)
    }

    fn event(&self) -> Result<Event, Errno> {
        self.0.count(|calls| &mut calls.event);
        let signal = Signal::default();
        let number = self.0.session().open_event(Signal::clone(&signal));
        Ok(Event {
            kernel: Arc::clone(&self.0),
            number,
            signal,
        })
    }

    fn event_number(&self, event: &Event) -> i32 {
        event.number
    }

    fn event_take(&self, event: &Event) -> Result<u64, Errno> {
        let counter = self.counter(event)?;
        self.advance();
        Ok(counter.take())
    }

    fn event_wait(&self, event: &Event, timeout: Duration) -> Result<bool, Errno> {
        let counter = self.counter(event)?;
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let is_busy = self.advance();
            if counter.is_signalled() {
                return Ok(true);
            }
            let left = deadline.map_or(SLICE, |deadline| {
                deadline.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                return Ok(false);
            }
            if !is_busy && counter.wait(left.min(SLICE)) {
                return Ok(true);
            }
        }
    }
}

impl File {
    /// The device that it is, by its place; not one that was not bound yet.
    pub(super) const fn device(self) -> Option<usize> {
        match self {
            Self::Device(place)
            | Self::Cdev {
                place,
                is_bound: true,
            } => Some(place),
            _ => None,
        }
    }

    /// The error of a request that is for another kind of file.
    pub(super) const fn refusal(self) -> Errno {
        match self {
            Self::Cdev {
                is_bound: false, ..
            } => Errno::EINVAL,
            _ => Errno::ENOTTY,
        }
    }
}

impl Shared {
    /// Forgets a mapping of the file `id`.
    pub(super) fn unmap(&self, id: u64) {
        self.count(|calls| &mut calls.unmap);
        self.mappings.fetch_sub(1, Ordering::AcqRel);
        self.session().release(id);
    }

    pub(super) fn session(&self) -> MutexGuard<'_, Session> {
        lock(&self.session)
    }

    pub(super) fn calls(&self) -> MutexGuard<'_, Calls> {
        lock(&self.calls)
    }

    pub(super) fn count(&self, kind: impl FnOnce(&mut Calls) -> &mut u64) {
        let mut calls = self.calls();
        let count = kind(&mut calls);
        *count = count.saturating_add(1);
    }
}

impl Calls {
    /// All ioctls.
    #[must_use]
    pub const fn ioctl(&self) -> u64 {
        self.ioctl_info
            .saturating_add(self.ioctl_value)
            .saturating_add(self.ioctl_fd)
            .saturating_add(self.ioctl_name)
            .saturating_add(self.exchange)
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        self.kernel.count(|calls| &mut calls.close);
        self.kernel.session().close(self.id, self.number);
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel")
            .field("open_files", &self.open_files())
            .field("live_mappings", &self.live_mappings())
            .field("live_dma_mappings", &self.live_dma_mappings())
            .field("calls", &self.calls())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Fd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file: Option<String> = self
            .kernel
            .session()
            .file(self.id)
            .ok()
            .map(|file| format!("{file:?}"));
        f.debug_tuple("Fd").field(&file).finish()
    }
}

/// Locks; a panic of another thread in the middle of a call is that thread's affair.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
