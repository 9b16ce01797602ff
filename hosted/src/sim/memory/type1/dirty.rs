//! The tracking of dirty pages by a type1 container (drivers/vfio/vfio_iommu_type1.c of Linux).
//!
//! No device tells what it writes: every page that is mapped counts as written.

use core::mem::size_of;

use vfio_core::sys::Errno;
use vfio_core::wire::abi::{
    Bitmap, DirtyPagesFlags, DmaUnmapFlags, IommuType1DirtyBitmap, IommuType1DirtyBitmapGet,
    IommuType1DmaUnmap,
};

use super::Type1;
use crate::lock::lock;
use crate::sim::bitmap::{WORD, clear_from, set_bits};
use crate::sim::structure::get;

/// The largest bitmap, in bytes.
const LARGEST: u64 = 1 << 28;

impl Type1 {
    /// Serves `VFIO_IOMMU_DIRTY_PAGES`. `list` is the bitmap, where one is asked for.
    pub(in crate::sim) fn dirty_pages(
        &self,
        argument: &[u8],
        list: &mut [u8],
    ) -> Result<(), Errno> {
        if !self.is_v2 {
            return Err(Errno::EACCES);
        }
        let flags = get::<IommuType1DirtyBitmap>(argument)?.flags;
        let mut is_tracking = lock(&self.is_tracking);
        match flags {
            DirtyPagesFlags::START => *is_tracking = true,
            DirtyPagesFlags::STOP => *is_tracking = false,
            DirtyPagesFlags::GET_BITMAP => {
                let rest = argument.get(size_of::<IommuType1DirtyBitmap>()..);
                let get = get::<IommuType1DirtyBitmapGet>(rest.unwrap_or_default())?;
                let stretch = self.stretch(get.iova, get.size, get.bitmap)?;
                if !*is_tracking || self.is_cut(stretch) {
                    return Err(Errno::EINVAL);
                }
                self.fill(stretch, list);
            }
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    /// Serves `VFIO_IOMMU_UNMAP_DMA` with `GET_DIRTY_BITMAP`.
    pub(in crate::sim) fn unmap_dirty(
        &self,
        request: &mut IommuType1DmaUnmap,
        bitmap: Bitmap,
        list: &mut [u8],
    ) -> Result<(), Errno> {
        let stretch = self.stretch(request.iova, request.size, bitmap)?;
        if request.flags != DmaUnmapFlags::GET_DIRTY_BITMAP || !*lock(&self.is_tracking) {
            return Err(Errno::EINVAL);
        }
        let mut unmap = IommuType1DmaUnmap {
            flags: DmaUnmapFlags::empty(),
            ..*request
        };
        if self.is_cut(stretch) {
            return Err(Errno::EINVAL);
        }
        self.fill(stretch, list);
        self.unmap(&mut unmap)?;
        request.size = unmap.size;
        Ok(())
    }

    /// Returns the first address and the last that a bitmap is asked for, where it fits.
    fn stretch(&self, iova: u64, size: u64, bitmap: Bitmap) -> Result<(u64, u64), Errno> {
        let page = lock(&self.space).page;
        let pages = size.checked_div(bitmap.pgsize).unwrap_or(0);
        let needed = pages.div_ceil(WORD).saturating_mul(WORD / 8);
        let fits = pages != 0 && bitmap.size <= LARGEST && bitmap.size >= needed;
        let bits = page.wrapping_sub(1);
        let last = iova
            .checked_add(size.wrapping_sub(1))
            .ok_or(Errno::EINVAL)?;
        if fits && bitmap.pgsize == page && (iova | size) & bits == 0 {
            Ok((iova, last))
        } else {
            Err(Errno::EINVAL)
        }
    }

    /// Tells whether a mapping is only in part within a stretch.
    fn is_cut(&self, (iova, last): (u64, u64)) -> bool {
        let met = lock(&self.space).overlapping(iova, last);
        met.iter().any(|(first, end)| *first < iova || *end > last)
    }

    /// Sets the bits of the pages that are mapped. Words in which a mapping begins or ends are
    /// written whole, but for the bits of those before it; the others stay as they are.
    fn fill(&self, (iova, last): (u64, u64), list: &mut [u8]) {
        let space = lock(&self.space);
        for (first, end) in space.overlapping(iova, last) {
            let bit = first.saturating_sub(iova) / space.page.max(1);
            let count = end.saturating_sub(first) / space.page.max(1);
            let count = count.saturating_add(1);
            clear_from(list, bit, count);
            set_bits(list, bit, count);
        }
    }
}
