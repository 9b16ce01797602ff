//! The simulated kernel.

mod container;
mod exchange;
mod feature;
mod hot_reset;
mod observation;
mod path;
mod sys;

use std::ffi::CString;
use std::fmt;
use std::format;
use std::string::ToString;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

#[cfg(doc)]
use vfio_core::sys::Sys;
use vfio_core::sys::{Errno, InfoRequest};

use crate::lock::lock;
use crate::model::Model;
use crate::place::OwnedPlace;
use crate::sim::device::{Device, FaultLog};
use crate::sim::files::{File, OpenFiles, Share, SharedFiles};
use crate::sim::handle::{Event, Fd};
use crate::sim::ledger::Ledger;
use crate::sim::memory::Supply;
use crate::sim::signal::{Bell, Signal};
use container::CONTAINER_INFO;
use path::{DEVICE_PREFIX, GROUP_PREFIX};

pub use path::{CONTAINER_PATH, IOMMUFD_PATH};

/// A simulated kernel. Clones are the same kernel, and threads may share it.
#[derive(Clone, Default)]
pub struct Kernel(Arc<Shared>);

#[derive(Default)]
struct Shared {
    files: SharedFiles,
    ledger: Arc<Ledger>,
    faults: FaultLog,
    bell: Arc<Bell>,
    /// Memory for DMA.
    supply: Arc<Supply>,
    /// What the clock says, in nanoseconds.
    clock: AtomicU64,
    has_no_iommufd: Mutex<bool>,
}

impl Kernel {
    /// Creates a kernel with a container, an iommufd and no device.
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
        let added = self.files().add(name.to_string(), group, device);
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
        this.files().without_iommu(group);
        this
    }

    /// Adds a virtual function of the SR-IOV device `physical`, as [`Kernel::with_device`] does.
    /// `physical` has a token from then on: nobody opens the virtual function without it.
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
        let made = kernel.files().make_virtual(name, physical);
        assert!(made.is_ok(), "there is no device {physical}");
        kernel
    }

    /// Adds a device of another driver to a group, which is then not viable.
    #[must_use]
    pub fn with_foreign_driver(self, group: u32) -> Self {
        self.files().own_elsewhere(group);
        self
    }

    /// Leaves no more than `most` interrupt vectors for a device's messages, like a host that is
    /// short of them. Whoever asks for more gets none, and is told how many there are.
    ///
    /// # Panics
    /// Where the kernel has no device of that name.
    #[must_use]
    pub fn with_vectors(self, name: &str, most: u32) -> Self {
        let files = self.files();
        let device = files.place(name).map(|place| files.device(place));
        drop(files);
        let Some(Ok(device)) = device else {
            panic!("there is no device {name}");
        };
        lock(&device).interrupts().limit(most);
        self
    }

    /// Reserves huge pages of 2 MiB. By default there are none.
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

    /// Returns the path of a group.
    #[must_use]
    pub fn group_path(group: u32) -> CString {
        // There is no NUL in it.
        CString::new(format!("{GROUP_PREFIX}{group}")).unwrap_or_default()
    }

    /// Returns the path of a device by itself, which an iommufd is needed for. None where there is
    /// no device of that name.
    #[must_use]
    pub fn device_path(&self, name: &str) -> Option<CString> {
        let files = self.files();
        let place = files.place(name).filter(|place| files.has_cdev(*place))?;
        CString::new(format!("{DEVICE_PREFIX}{place}")).ok()
    }

    /// Returns where the device of a name is opened. None where there is no such device.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<OwnedPlace> {
        let (group, is_noiommu) = self.files().group_of(name)?;
        let has_iommufd = !*lock(&self.0.has_no_iommufd);
        Some(OwnedPlace {
            name: CString::new(name).ok()?,
            group: Some(group),
            is_noiommu,
            noiommu: None,
            cdev: self.device_path(name).filter(|_| has_iommufd),
            socket: None,
            token: None,
        })
    }

    /// Lets time pass by one step for all devices; tells whether any has more to do.
    fn advance(&self) -> bool {
        let devices = self.files().devices();
        let mut has_more = false;
        for device in devices {
            has_more |= lock(&device).advance();
        }
        has_more
    }

    /// Lets the clock go on, and tells what it says then.
    fn pass(&self, time: Duration) -> Duration {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let before = self.0.clock.fetch_add(nanos, Ordering::AcqRel);
        Duration::from_nanos(before.saturating_add(nanos))
    }

    fn files(&self) -> MutexGuard<'_, OpenFiles> {
        lock(&self.0.files)
    }

    /// Hands out the file that was opened with this id.
    fn fd(&self, id: u64) -> Fd {
        Fd::new(&self.0.ledger, Share::new(&self.0.files, id))
    }

    /// Returns the file behind `fd`, which must be of this kernel.
    fn file(&self, fd: &Fd) -> Result<File, Errno> {
        fd.share().file_in(&self.0.files)
    }

    /// Returns the signal of `event`, which must be of this kernel.
    fn signal_of<'e>(&self, event: &'e Event) -> Result<&'e Signal, Errno> {
        event.signal_in(&self.0.ledger)
    }

    /// Answers an INFO ioctl of a device.
    fn device_info(&self, file: File, request: InfoRequest, reply: &mut [u8]) -> Result<(), Errno> {
        let place = file.device().ok_or(Errno::EINVAL)?;
        if request == InfoRequest::GroupStatus {
            return Err(Errno::ENOTTY);
        }
        let request = if request.number() == CONTAINER_INFO {
            InfoRequest::PciHotReset
        } else {
            request
        };
        let by_id = matches!(file, File::Cdev { .. })
            && request == InfoRequest::PciHotReset
            && self.with_device_of(file, |device| Ok(!device.is_scripted()))?;
        if by_id {
            return self.hot_reset_info_by_id(place, reply);
        }
        self.with_device_of(file, |device| device.info(request, reply))
    }

    /// Lets the device behind `file` do something.
    fn with_device_of<R>(
        &self,
        file: File,
        act: impl FnOnce(&mut Device) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        let place = file.device().ok_or(Errno::EINVAL)?;
        // The files are not locked meanwhile: a device may take its time.
        let device = self.files().device(place)?;
        let mut device = lock(&device);
        device.wake();
        act(&mut device)
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
