//! Regions that are read and written by system calls (drivers/vfio/pci/vfio_pci_rdwr.c and
//! vfio_pci_config.c of Linux).

use vfio_core::sys::Errno;
use vfio_core::wire::abi::{RegionFlags, pci_region};

use super::Device;

/// Where an access goes.
struct Place {
    region: u32,
    /// Bytes from the start of the region.
    position: u64,
    /// How many bytes of the access the region has.
    len: usize,
}

/// What an access does.
enum Transfer<'a> {
    Read(&'a mut [u8]),
    Write(&'a [u8]),
}

impl Device {
    pub(in crate::sim) fn read(&mut self, data: &mut [u8], offset: u64) -> Result<usize, Errno> {
        let Some(place) = self.place(data.len(), offset, RegionFlags::READ)? else {
            return Ok(0);
        };
        self.advance();
        if self.is_config(&place) {
            let from = self.config_range(&place)?;
            self.config.show_intx(self.interrupts.level());
            let cells = self.config.bytes().iter().skip(from);
            data.iter_mut()
                .zip(cells)
                .for_each(|(to, from)| *to = *from);
        } else {
            self.transfer(&place, Transfer::Read(data))?;
        }
        Ok(place.len)
    }

    pub(in crate::sim) fn write(&mut self, data: &[u8], offset: u64) -> Result<usize, Errno> {
        let Some(place) = self.place(data.len(), offset, RegionFlags::WRITE)? else {
            return Ok(0);
        };
        if self.is_config(&place) {
            let at = self.config_range(&place)?;
            self.config.write(at, data);
            self.interrupts.turn_intx(self.config.is_intx_off());
        } else {
            self.transfer(&place, Transfer::Write(data))?;
        }
        Ok(place.len)
    }

    /// Finds the region of an access; none is needed for no bytes.
    fn place(&self, len: usize, offset: u64, needed: RegionFlags) -> Result<Option<Place>, Errno> {
        if len == 0 {
            return Ok(None);
        }
        let (index, region, position) = self.region_at(offset).ok_or(Errno::EINVAL)?;
        if !region.flags.contains(needed) {
            return Err(Errno::EINVAL);
        }
        let left = usize::try_from(region.size.saturating_sub(position)).unwrap_or(usize::MAX);
        let place = Place {
            region: index,
            position,
            len: len.min(left),
        };
        if self.is_config(&place) {
            // Past the end of the configuration space vfio-pci transfers nothing at all.
            return if len <= left {
                Ok(Some(place))
            } else {
                Err(Errno::EFAULT)
            };
        }
        if self.config.is_memory_bar(index) && !self.config.decodes_memory() {
            return Err(Errno::EIO);
        }
        Ok(Some(place))
    }

    fn is_config(&self, place: &Place) -> bool {
        place.region == pci_region::CONFIG && !self.config.bytes().is_empty()
    }

    /// Returns where in the configuration space an access begins.
    fn config_range(&self, place: &Place) -> Result<usize, Errno> {
        usize::try_from(place.position)
            .ok()
            .filter(|start| {
                start
                    .checked_add(place.len)
                    .is_some_and(|end| end <= self.config.bytes().len())
            })
            .ok_or(Errno::EFAULT)
    }

    /// Takes an access apart as vfio-pci does, and leaves the MSI-X table out.
    fn transfer(&mut self, place: &Place, mut transfer: Transfer<'_>) -> Result<(), Errno> {
        // The expansion ROM may sit on a bus that knows no more.
        let widest = if place.region == pci_region::ROM {
            4
        } else {
            8
        };
        let mut done = 0;
        while done < place.len {
            let at = place
                .position
                .saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
            let left = place.len.saturating_sub(done);
            let (len, is_table) = self.step(place.region, at, left, widest);
            let end = done.saturating_add(len);
            match &mut transfer {
                Transfer::Read(data) => {
                    let data = data.get_mut(done..end).ok_or(Errno::EFAULT)?;
                    if is_table {
                        data.fill(0xff);
                    } else {
                        self.act(|registers, bus| registers.read(place.region, at, data, bus));
                    }
                }
                Transfer::Write(data) => {
                    let data = data.get(done..end).ok_or(Errno::EFAULT)?;
                    if !is_table {
                        self.act(|registers, bus| registers.write(place.region, at, data, bus));
                    }
                }
            }
            done = end;
        }
        Ok(())
    }

    /// Returns how many of `left` bytes at `at` go in one access. Tells whether they are of the
    /// MSI-X table.
    fn step(&self, region: u32, at: u64, left: usize, widest: usize) -> (usize, bool) {
        let mut room = left;
        if let Some(table) = self.description().msix_table
            && table.region == region
        {
            let end = table.offset.saturating_add(table.size);
            let bytes_to = |bound: u64| usize::try_from(bound.saturating_sub(at)).unwrap_or(left);
            if at < table.offset {
                room = left.min(bytes_to(table.offset));
            } else if at < end {
                return (left.min(bytes_to(end)), true);
            }
        }
        let fits = |width: &usize| {
            *width <= room && u64::try_from(*width).is_ok_and(|width| at.is_multiple_of(width))
        };
        let width = [8, 4, 2]
            .into_iter()
            .filter(|width| *width <= widest)
            .find(fits);
        (width.unwrap_or(1), false)
    }
}
