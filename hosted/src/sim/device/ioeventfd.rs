//! Writes that the kernel makes when an event is signalled (drivers/vfio/pci/vfio_pci_rdwr.c of
//! Linux).

use std::vec::Vec;

use vfio_core::sys::Errno;
use vfio_core::wire::abi::{DeviceIoeventfd, IoeventfdFlags, pci_region};

use super::Device;
use crate::sim::signal::Signal;

/// How many a device has at most.
const MOST: usize = 1000;

/// A write to a register whenever an event is signalled.
pub(super) struct Ioeventfd {
    write: Write,
    signal: Signal,
}

/// A write to a register.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Write {
    region: u32,
    /// Bytes from the start of the region.
    at: u64,
    data: u64,
    /// Bytes.
    width: usize,
}

impl Device {
    /// Serves `VFIO_DEVICE_IOEVENTFD`, whose event was looked up. None takes a write away.
    pub(in crate::sim) fn set_ioeventfd(
        &mut self,
        request: &DeviceIoeventfd,
        signal: Option<Result<Signal, Errno>>,
    ) -> Result<(), Errno> {
        if !self.dialect().knows_hot_reset {
            // The samples know none.
            return Err(Errno::ENOTTY);
        }
        let width = match request.flags {
            IoeventfdFlags::SIZE_8 => 1,
            IoeventfdFlags::SIZE_16 => 2,
            IoeventfdFlags::SIZE_32 => 4,
            IoeventfdFlags::SIZE_64 => 8,
            _ => return Err(Errno::EINVAL),
        };
        let write = self.write_of(request.offset, request.data, width)?;
        let known = self
            .ioeventfds
            .iter()
            .position(|known| known.write == write);
        match (known, signal) {
            (Some(position), None) => {
                self.ioeventfds.remove(position);
            }
            (Some(_), Some(_)) => return Err(Errno::EEXIST),
            (None, None) => return Err(Errno::ENODEV),
            (None, Some(_)) if self.ioeventfds.len() >= MOST => return Err(Errno::ENOSPC),
            (None, Some(signal)) => {
                let signal = signal?;
                self.ioeventfds.push(Ioeventfd { write, signal });
            }
        }
        Ok(())
    }

    /// Checks a write to a register.
    fn write_of(&self, offset: u64, data: u64, width: usize) -> Result<Write, Errno> {
        let (index, region, at) = self.region_at(offset).ok_or(Errno::EINVAL)?;
        let len = u64::try_from(width).map_err(|_| Errno::EINVAL)?;
        let end = at.checked_add(len).ok_or(Errno::EINVAL)?;
        let in_table = self.description().msix_table.is_some_and(|table| {
            let table_end = table.offset.saturating_add(table.size);
            table.region == index && end > table.offset && at < table_end
        });
        if index > pci_region::BAR5 || end > region.size || in_table {
            return Err(Errno::EINVAL);
        }
        Ok(Write {
            region: index,
            at,
            data,
            width,
        })
    }

    /// Makes the writes whose event was signalled.
    pub(super) fn poll_ioeventfds(&mut self) {
        let writes: Vec<Write> = self
            .ioeventfds
            .iter()
            .filter(|known| known.signal.take() > 0)
            .map(|known| known.write)
            .collect();
        for write in writes {
            let bytes = write.data.to_le_bytes();
            let bytes = bytes.get(..write.width).unwrap_or_default();
            // While the memory is not decoded the write is lost.
            let _ = self.store(write.region, write.at, bytes);
        }
    }
}
