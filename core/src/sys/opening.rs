//! Requests that open a file, and those of graphics devices.

use core::mem::size_of;

use zerocopy::IntoBytes;

use super::exchange::fill;
use super::{Errno, Exchange, ExchangeRequest};
use crate::wire::abi::{
    DeviceFeature, DeviceFeatureDmaBuf, DeviceFeatureMigState, DeviceGfxPlaneInfo, FeatureFlags,
    FeatureId, GfxPlaneFlags, MigState, RegionDmaRange,
};

/// `O_RDWR | O_CLOEXEC` (asm-generic/fcntl.h).
const OPEN_FLAGS: u32 = 0o200_0002;

/// Bytes of a request to set the state of a migration.
pub const MIG_STATE_LEN: usize = size_of::<DeviceFeature>() + size_of::<DeviceFeatureMigState>();

/// Bytes of a request for a dma-buf, but for its ranges.
pub const DMA_BUF_LEN: usize = size_of::<DeviceFeature>() + size_of::<DeviceFeatureDmaBuf>();

impl<'a, F, E> Exchange<'a, F, E> {
    /// Makes `VFIO_DEVICE_FEATURE` that sets `MIG_DEVICE_STATE`, in `buffer`.
    pub fn set_mig_state(buffer: &'a mut [u8; MIG_STATE_LEN], state: MigState) -> Self {
        let data = DeviceFeatureMigState {
            device_state: state.0,
            // What the kernel does not write names no file.
            data_fd: -1,
        };
        fill(
            buffer,
            [
                feature(FeatureFlags::SET, FeatureId::MIG_DEVICE_STATE).as_bytes(),
                data.as_bytes(),
            ],
        );
        Self::whole(ExchangeRequest::SetMigState, buffer)
    }

    /// Makes `VFIO_DEVICE_FEATURE` that gets a `DMA_BUF` of `ranges` of region `index`. `buffer`
    /// has [`DMA_BUF_LEN`] bytes, and 16 for each range.
    ///
    /// # Errors
    /// `EINVAL` where the buffer is too short.
    pub fn dma_buf(
        buffer: &'a mut [u8],
        index: u32,
        ranges: &[RegionDmaRange],
    ) -> Result<Self, Errno> {
        let data = DeviceFeatureDmaBuf {
            region_index: index,
            open_flags: OPEN_FLAGS,
            flags: 0,
            nr_ranges: u32::try_from(ranges.len()).map_err(|_| Errno::EINVAL)?,
        };
        let ranges = ranges.as_bytes();
        // The kernel reads as many ranges as are said to be there, whatever argsz says.
        let len = DMA_BUF_LEN.checked_add(ranges.len()).ok_or(Errno::EINVAL)?;
        let argument = buffer.get_mut(..len).ok_or(Errno::EINVAL)?;
        fill(
            argument,
            [
                feature(FeatureFlags::GET, FeatureId::DMA_BUF).as_bytes(),
                data.as_bytes(),
                ranges,
            ],
        );
        Self::sized(ExchangeRequest::DmaBuf, argument)
    }

    /// Makes `VFIO_DEVICE_QUERY_GFX_PLANE` for a plane of the type `drm_plane_type`.
    pub fn gfx_plane(
        plane: &'a mut DeviceGfxPlaneInfo,
        flags: GfxPlaneFlags,
        drm_plane_type: u32,
    ) -> Self {
        // A container takes the number for UNMAP_DMA: with zeros in the rest no pointer is there.
        *plane = DeviceGfxPlaneInfo {
            flags,
            drm_plane_type,
            ..Default::default()
        };
        Self::whole(ExchangeRequest::QueryGfxPlane, plane)
    }

    /// Makes `VFIO_DEVICE_GET_GFX_DMABUF` for the dma-buf `id`.
    pub fn gfx_dmabuf(id: &'a mut u32) -> Self {
        // The number is all of the structure, without argsz.
        Self::as_it_is(ExchangeRequest::GetGfxDmabuf, id.as_mut_bytes())
    }
}

/// Returns the head of a feature.
pub(super) fn feature(flags: FeatureFlags, id: FeatureId) -> DeviceFeature {
    DeviceFeature {
        flags: flags.with_feature(id),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Descriptor;
    use super::*;

    type Plain<'a> = Exchange<'a>;

    #[test]
    fn a_state_of_migration_is_asked_for_without_a_file() {
        let mut buffer = [0; MIG_STATE_LEN];
        let exchange = Plain::set_mig_state(&mut buffer, MigState::STOP_COPY);
        let Some(Descriptor::At(at)) = exchange.request().descriptor() else {
            panic!("{exchange:?}")
        };
        let parts = exchange.into_parts();
        assert_eq!(parts.argument[at..], (-1_i32).to_ne_bytes());
        assert_eq!(parts.argument[..4], 16_u32.to_ne_bytes());
    }

    #[test]
    fn a_dma_buf_has_room_for_its_ranges() {
        let ranges = [RegionDmaRange::default(); 3];
        let mut buffer = [0xff; 72];
        assert!(Plain::dma_buf(&mut buffer[..71], 0, &ranges).is_err());
        let parts = Plain::dma_buf(&mut buffer, 0, &ranges)
            .unwrap()
            .into_parts();
        assert_eq!(parts.argument.len(), 72);
        assert_eq!(parts.argument[20..24], 3_u32.to_ne_bytes());
    }

    #[test]
    fn a_query_for_a_plane_holds_no_pointer() {
        let mut plane = DeviceGfxPlaneInfo {
            x_pos: 7,
            y_pos: 7,
            ..Default::default()
        };
        let _ = Plain::gfx_plane(&mut plane, GfxPlaneFlags::PROBE, 0);
        assert_eq!((plane.x_pos, plane.y_pos), (0, 0));
    }

    #[test]
    fn the_id_of_a_dma_buf_is_kept() {
        let mut id = 7;
        let parts = Plain::gfx_dmabuf(&mut id).into_parts();
        assert_eq!(parts.argument, 7_u32.to_ne_bytes());
    }
}
