//! Opening a device with the crate `vfio-ioctls`.

use std::fs::File;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, ensure};
use iommufd_ioctls::{IommuFd, IommufdIoas};
use vfio_ioctls::{VfioDevice, VfioIommufd};

use crate::replies::REGIONS;

/// What a device is opened with.
pub(crate) struct Peer {
    null: File,
    iommufd: Arc<VfioIommufd>,
    /// The device's file, for the next time.
    file: Option<File>,
    opened: Option<VfioDevice>,
}

impl Peer {
    /// Prepares everything that is not opening the device.
    ///
    /// # Errors
    ///
    /// There is no `/dev/null`, which stands for every file.
    pub(crate) fn new() -> Result<Self> {
        Self::with_file(File::open("/dev/null").context("cannot open /dev/null")?)
    }

    /// Creates a peer as [`Peer::new`] does, with a file in place of the device's and every other.
    ///
    /// # Errors
    ///
    /// The file can't be duplicated.
    pub(crate) fn with_file(null: File) -> Result<Self> {
        let iommufd = Arc::new(IommuFd::new_from_fd(null.try_clone()?));
        let ioas = IommufdIoas::new(Arc::clone(&iommufd)).map_err(|error| anyhow!("{error}"))?;
        let iommufd = VfioIommufd::new(iommufd, Some(Arc::new(ioas)), None)
            .map_err(|error| anyhow!("{error}"))?;
        Ok(Self {
            file: Some(null.try_clone()?),
            null,
            iommufd: Arc::new(iommufd),
            opened: None,
        })
    }

    #[inline(always)]
    pub(crate) fn open(&mut self) {
        if let Some(file) = self.file.take() {
            let iommufd = Arc::clone(&self.iommufd);
            self.opened = VfioDevice::new_from_bound_fd(file, iommufd, false).ok();
        }
    }

    /// Closes the device and prepares the next time.
    pub(crate) fn close(&mut self) {
        self.opened = None;
        self.file = self.null.try_clone().ok();
    }

    /// Returns the device.
    ///
    /// # Errors
    ///
    /// It is not open.
    pub(crate) fn device(&self) -> Result<&VfioDevice> {
        self.opened.as_ref().context("not opened")
    }

    /// Tells whether it has what the device has.
    ///
    /// # Errors
    ///
    /// It does not.
    pub(crate) fn check(&self) -> Result<()> {
        let device = self.device()?;
        let caps = (0..).take(REGIONS).map(|n| device.get_region_caps(n).len());
        ensure!(caps.sum::<usize>() == 3, "capabilities are missing");
        ensure!(device.get_irq_info(4).is_some(), "interrupts are missing");
        Ok(())
    }
}
