//! Writes that the kernel makes when an event is signalled (drivers/vfio/pci/vfio_pci_rdwr.c of
//! Linux).

use vfio_core::sys::Errno;
use vfio_core::wire::abi::{DeviceIoeventfd, IoeventfdFlags, pci_region};

use super::device::Device;
use super::event::Signal;
use super::exchange::structure::get;
use super::kernel::lock;
use super::{Event, Kernel};

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

impl Kernel {
    /// `VFIO_DEVICE_IOEVENTFD`.
    pub(super) fn ioeventfd(
        &self,
        place: usize,
        argument: &[u8],
        events: &[Option<&Event>],
    ) -> Result<(), Errno> {
        let request = get::<DeviceIoeventfd>(argument)?;
        let device = self.0.session().device(place)?;
        if !lock(&device).dialect().knows_hot_reset {
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
        let event = events.first().copied().flatten();
        let write = lock(&device).write_of(request.offset, request.data, width)?;
        if lock(&device).take_or_meet(write, event.is_none())? {
            return Ok(());
        }
        let signal = self.signal_of(event.ok_or(Errno::EINVAL)?)?.clone();
        lock(&device).ioeventfds().push(Ioeventfd { write, signal });
        Ok(())
    }
}

impl Device {
    /// Checks a write to a register.
    fn write_of(&self, offset: u64, data: u64, width: usize) -> Result<Write, Errno> {
        let (region, size, at) = self.found(offset).ok_or(Errno::EINVAL)?;
        let len = u64::try_from(width).map_err(|_| Errno::EINVAL)?;
        let end = at.checked_add(len).ok_or(Errno::EINVAL)?;
        let in_table = self.description().msix_table.is_some_and(|table| {
            let table_end = table.offset.saturating_add(table.size);
            table.region == region && end > table.offset && at < table_end
        });
        if region > pci_region::BAR5 || end > size || in_table {
            return Err(Errno::EINVAL);
        }
        Ok(Write {
            region,
            at,
            data,
            width,
        })
    }

    /// Takes a write away where that is asked for; otherwise it must not be there, and there must
    /// be room for it. Whether that was all.
    fn take_or_meet(&mut self, write: Write, is_taken: bool) -> Result<bool, Errno> {
        let all = self.ioeventfds();
        match all.iter().position(|known| known.write == write) {
            Some(position) if is_taken => {
                all.remove(position);
                Ok(true)
            }
            Some(_) => Err(Errno::EEXIST),
            None if is_taken => Err(Errno::ENODEV),
            None if all.len() >= MOST => Err(Errno::ENOSPC),
            None => Ok(false),
        }
    }

    /// Makes the writes whose event was signalled.
    pub(super) fn poll_ioeventfds(&mut self) {
        let writes: std::vec::Vec<Write> = self
            .ioeventfds()
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
