//! The simulated kernel as a shim.

use std::ffi::{CStr, CString};
use std::fmt;
use std::format;
use std::string::{String, ToString};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vfio_core::abi::{Extension, ioctl};
use vfio_core::server;
use vfio_core::sys::{
    Absent, Errno, FdRequest, InfoRequest, NameRequest, Sys, ValueRequest, put_argsz,
};

use super::Model;
use super::device::Device;
use super::session::{File, Session};

/// Where the container is.
pub const CONTAINER_PATH: &CStr = c"/dev/vfio/vfio";

/// A simulated kernel. Clones are the same kernel, and threads may share it.
#[derive(Clone, Default)]
pub struct Kernel(Arc<Shared>);

/// An open file of a [`Kernel`]; dropping it closes it.
pub struct Fd {
    kernel: Arc<Shared>,
    id: u64,
}

/// How many system calls were made, failed ones included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// [`Sys::open`].
    pub open: u64,
    /// Files that were closed.
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
}

#[derive(Default)]
struct Shared {
    session: Mutex<Session>,
    calls: Mutex<Calls>,
}

impl Kernel {
    /// A kernel with a container and no device.
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
        let device = Device::new(name, model, group);
        let added = self.0.session().add(name.to_string(), group, device);
        assert!(added.is_ok(), "there is a device {name} already");
        self
    }

    /// Adds a device of another driver to a group, which is then not viable.
    #[must_use]
    pub fn with_foreign_driver(self, group: u32) -> Self {
        self.0.session().own_elsewhere(group);
        self
    }

    /// The path of a group.
    #[must_use]
    pub fn group_path(group: u32) -> CString {
        // There is no NUL in it.
        CString::new(format!("{GROUP_PREFIX}{group}")).unwrap_or_default()
    }

    /// How many files are open.
    #[must_use]
    pub fn open_files(&self) -> usize {
        self.0.session().open_files()
    }

    /// How many containers are alive: one lives on in the groups that are in it.
    #[must_use]
    pub fn live_containers(&self) -> usize {
        self.0.session().live_containers()
    }

    /// How many system calls were made.
    #[must_use]
    pub fn calls(&self) -> Calls {
        *self.0.calls()
    }

    /// The file behind `fd`, which must be of this kernel.
    fn file(&self, fd: &Fd) -> Result<File, Errno> {
        if Arc::ptr_eq(&self.0, &fd.kernel) {
            self.0.session().file(fd.id)
        } else {
            Err(Errno::EBADF)
        }
    }

    fn fd(&self, id: u64) -> Fd {
        Fd {
            kernel: Arc::clone(&self.0),
            id,
        }
    }

    /// Lets the device behind `file` do something.
    fn with_device_of<R>(
        &self,
        file: File,
        act: impl FnOnce(&mut Device) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        let File::Device(place) = file else {
            return Err(Errno::EINVAL);
        };
        // The session is not locked meanwhile: a device may take its time.
        let device = self.0.session().device(place)?;
        act(&mut lock(&device))
    }

    /// The error of a container's request that is not its own: type1's, or none without type1.
    fn unknown_to_container(&self, container: u64) -> Errno {
        if self.0.session().has_iommu(container) {
            Errno::ENOTTY
        } else {
            Errno::EINVAL
        }
    }

    fn check_extension(&self, container: u64, value: u32) -> u32 {
        let is_there = match Extension(value) {
            Extension::TYPE1_IOMMU
            | Extension::TYPE1V2_IOMMU
            | Extension::UNMAP_ALL
            | Extension::UPDATE_VADDR => true,
            Extension::DMA_CC_IOMMU => {
                let session = self.0.session();
                let device = session.first_device(container);
                let has_iommu = session.has_iommu(container);
                drop(session);
                has_iommu && device.is_some_and(|device| lock(&device).is_coherent())
            }
            _ => false,
        };
        u32::from(is_there)
    }
}

/// What the path of a group begins with.
const GROUP_PREFIX: &str = "/dev/vfio/";

impl Sys for Kernel {
    type Fd = Fd;
    type Mapping = Absent;
    type Memory = Absent;
    type Event = Absent;

    fn page_size(&self) -> usize {
        4096
    }

    fn open(&self, path: &CStr) -> Result<Fd, Errno> {
        self.0.count(|calls| &mut calls.open);
        if path == CONTAINER_PATH {
            let id = self.0.session().open_container();
            return Ok(self.fd(id));
        }
        let number = path
            .to_str()
            .ok()
            .and_then(|path| path.strip_prefix(GROUP_PREFIX))
            // Numbers in the form that the kernel writes, without sign and leading zeros.
            .and_then(|text| {
                let number: u32 = text.parse().ok()?;
                (number.to_string() == text).then_some(number)
            })
            .ok_or(Errno::ENOENT)?;
        let id = self.0.session().open_group(number)?;
        Ok(self.fd(id))
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
                let device = self.0.session().first_device(container);
                let device = device.ok_or(Errno::EINVAL)?;
                lock(&device).iommu_info(InfoRequest::Iommu, reply)
            }
            File::Group(number) if request == InfoRequest::GroupStatus => {
                let flags = self.0.session().group_flags(number);
                server::group_status(flags, reply)
            }
            File::Group(_) => Err(Errno::ENOTTY),
            File::Device(_) if request == InfoRequest::GroupStatus => Err(Errno::ENOTTY),
            file @ File::Device(_) => {
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
            (file @ File::Device(_), ValueRequest::Reset) => {
                self.with_device_of(file, Device::reset).map(|()| 0)
            }
            (File::Group(number), ValueRequest::UnsetContainer) => {
                self.0.session().unset_container(number).map(|()| 0)
            }
            (File::Group(_) | File::Device(_), _) => Err(Errno::ENOTTY),
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
            (File::Device(_), _) => Err(Errno::ENOTTY),
        }
    }

    fn ioctl_name(&self, fd: &Fd, request: NameRequest, name: &CStr) -> Result<Fd, Errno> {
        self.0.count(|calls| &mut calls.ioctl_name);
        match (self.file(fd)?, request) {
            (File::Group(number), NameRequest::GetDeviceFd) => {
                let name = name.to_str().map_err(|_| Errno::ENODEV)?;
                let mut session = self.0.session();
                let (id, first) = session.open_device(number, name)?;
                if let Some(place) = first {
                    let device = session.device(place)?;
                    // Before anybody else can open it.
                    lock(&device).enable();
                }
                drop(session);
                Ok(self.fd(id))
            }
            (File::Container(container), _) => Err(self.unknown_to_container(container)),
            (File::Device(_), _) => Err(Errno::ENOTTY),
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
}

impl Shared {
    fn session(&self) -> MutexGuard<'_, Session> {
        lock(&self.session)
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        lock(&self.calls)
    }

    fn count(&self, kind: impl FnOnce(&mut Calls) -> &mut u64) {
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
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        self.kernel.count(|calls| &mut calls.close);
        self.kernel.session().close(self.id);
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel")
            .field("open_files", &self.open_files())
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
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
