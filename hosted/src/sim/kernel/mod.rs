//! The simulated kernel.

mod calls;
mod extension;
mod fd;
mod sys;

use std::ffi::{CStr, CString};
use std::fmt;
use std::format;
use std::string::ToString;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use vfio_core::sys::Errno;
#[cfg(doc)]
use vfio_core::sys::Sys;

use super::Model;
use super::device::Device;
use super::event::{Bell, Event, Signal};
use super::fault::FaultLog;
use super::session::{File, Session};
use super::supply::Supply;
use crate::OwnedPlace;

pub use calls::Calls;
pub use fd::Fd;

/// Where the container is.
pub const CONTAINER_PATH: &CStr = c"/dev/vfio/vfio";

/// Where the iommufd is, which is a container as well.
pub const IOMMUFD_PATH: &CStr = c"/dev/iommu";

/// A simulated kernel. Clones are the same kernel, and threads may share it.
#[derive(Clone, Default)]
pub struct Kernel(pub(in crate::sim) Arc<Shared>);

#[derive(Default)]
pub(in crate::sim) struct Shared {
    session: Mutex<Session>,
    calls: Mutex<Calls>,
    pub(in crate::sim) faults: FaultLog,
    pub(in crate::sim) mappings: AtomicUsize,
    /// How many events are open.
    pub(in crate::sim) events: AtomicUsize,
    bell: Arc<Bell>,
    /// Memory for DMA.
    pub(in crate::sim) supply: Arc<Supply>,
    /// What the clock says, in nanoseconds.
    clock: AtomicU64,
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

    /// Leaves no more than `most` interrupt vectors for the messages of a device, as a host does
    /// that is short of them: who asks for more gets none, and is told how many there are.
    ///
    /// # Panics
    /// Where the kernel has no device of that name.
    #[must_use]
    pub fn with_vectors(self, name: &str, most: u32) -> Self {
        let session = self.0.session();
        let device = session.place(name).map(|place| session.device(place));
        drop(session);
        let Some(Ok(device)) = device else {
            panic!("there is no device {name}");
        };
        lock(&device).interrupts().limit(most);
        self
    }

    /// Reserves so many huge pages of 2 MiB, of which there are none by default.
    #[must_use]
    pub fn with_huge_pages(self, count: usize) -> Self {
        self.0.supply.reserve(count);
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
            noiommu: None,
            cdev: self.device_path(name).filter(|_| has_iommufd),
            token: None,
        })
    }

    /// Lets time pass by one step for all devices; tells whether any has more to do.
    pub(in crate::sim) fn advance(&self) -> bool {
        let devices = self.0.session().devices();
        let mut has_more = false;
        for device in devices {
            has_more |= lock(&device).advance();
        }
        has_more
    }

    /// The file behind `fd`, which must be of this kernel.
    pub(in crate::sim) fn file(&self, fd: &Fd) -> Result<File, Errno> {
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

    /// What counts in `event`, which must be of this kernel.
    pub(in crate::sim) fn signal_of<'e>(&self, event: &'e Event) -> Result<&'e Signal, Errno> {
        if Arc::ptr_eq(&self.0, &event.kernel) {
            Ok(&event.signal)
        } else {
            Err(Errno::EBADF)
        }
    }

    /// Lets the device behind `file` do something.
    pub(in crate::sim) fn with_device_of<R>(
        &self,
        file: File,
        act: impl FnOnce(&mut Device) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        let place = file.device().ok_or(Errno::EINVAL)?;
        // The session is not locked meanwhile: a device may take its time.
        let device = self.0.session().device(place)?;
        let mut device = lock(&device);
        device.wake();
        act(&mut device)
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

impl Shared {
    /// Lets the clock go on, and tells what it says then.
    fn pass(&self, time: Duration) -> Duration {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let before = self.clock.fetch_add(nanos, Ordering::AcqRel);
        Duration::from_nanos(before.saturating_add(nanos))
    }

    /// Forgets a mapping of the file `id`.
    pub(in crate::sim) fn unmap(&self, id: u64) {
        self.count(|calls| &mut calls.unmap);
        self.mappings.fetch_sub(1, Ordering::AcqRel);
        self.session().release(id);
    }

    pub(in crate::sim) fn session(&self) -> MutexGuard<'_, Session> {
        lock(&self.session)
    }

    pub(in crate::sim) fn calls(&self) -> MutexGuard<'_, Calls> {
        lock(&self.calls)
    }

    pub(in crate::sim) fn count(&self, kind: impl FnOnce(&mut Calls) -> &mut u64) {
        let mut calls = self.calls();
        let count = kind(&mut calls);
        *count = count.saturating_add(1);
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

/// Locks; a panic of another thread in the middle of a call is that thread's affair.
pub(in crate::sim) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
