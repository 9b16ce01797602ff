//! Hot resets (drivers/vfio/pci/vfio_pci_core.c of Linux).

use std::vec::Vec;

use vfio_core::sys::{Errno, InfoRequest};
use vfio_core::wire::abi::PciHotReset;
use vfio_core::wire::server;

use super::Kernel;
use crate::lock::lock;
use crate::sim::files::File;
use crate::sim::handle::Fd;
use crate::sim::structure::get;

impl Kernel {
    /// Serves `VFIO_DEVICE_PCI_HOT_RESET`.
    pub(super) fn hot_reset(
        &self,
        place: usize,
        file: File,
        argument: &[u8],
        files: &[&Fd],
    ) -> Result<(), Errno> {
        let head = get::<PciHotReset>(argument)?;
        if head.flags != 0 {
            return Err(Errno::EINVAL);
        }
        let named = files.iter().map(|file| self.file(file));
        let named: Vec<File> = named.collect::<Result<_, _>>()?;
        let devices = self.files().to_reset(place, file, &named)?;
        for device in devices {
            lock(&device).reset_with_others();
        }
        Ok(())
    }

    /// Serves `VFIO_DEVICE_GET_PCI_HOT_RESET_INFO` on a device that was opened by itself. The ids
    /// of devices stand in the place of their groups.
    pub(super) fn hot_reset_info_by_id(&self, place: usize, reply: &mut [u8]) -> Result<(), Errno> {
        let (flags, devices) = self.files().affected_by_id(place)?;
        let answering = server::DeviceReply {
            hot_reset: Some(server::HotReset {
                flags,
                devices: &devices,
            }),
            ..Default::default()
        };
        answering.answer(InfoRequest::PciHotReset, reply)
    }
}
