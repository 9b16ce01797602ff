//! Planes of a mediated graphics device.

flags! {
    /// `VFIO_GFX_PLANE_TYPE_*` (linux/vfio.h).
    pub struct GfxPlaneFlags: u32 {
        /// Only ask whether the other flag is supported.
        PROBE = 1 << 0;
        /// The plane is a dma-buf.
        DMABUF = 1 << 1;
        /// The plane is a region.
        REGION = 1 << 2;
    }
}

layout! {
    /// `struct vfio_device_gfx_plane_info` (linux/vfio.h): question and answer of
    /// `VFIO_DEVICE_QUERY_GFX_PLANE`.
    pub struct DeviceGfxPlaneInfo(64) {
        /// Size of the buffer in bytes.
        pub argsz: u32 => 0,
        /// Question: the kind of plane.
        pub flags: GfxPlaneFlags => 4,
        /// Question: `DRM_PLANE_TYPE_*`.
        pub drm_plane_type: u32 => 8,
        /// Pixel format, `DRM_FORMAT_*`.
        pub drm_format: u32 => 12,
        /// Tiling, `DRM_FORMAT_MOD_*`.
        pub drm_format_mod: u64 => 16,
        /// Width in pixels.
        pub width: u32 => 24,
        /// Height in pixels.
        pub height: u32 => 28,
        /// Bytes from line to line.
        pub stride: u32 => 32,
        /// Size in bytes.
        pub size: u32 => 36,
        /// Horizontal position of a cursor in pixels.
        pub x_pos: u32 => 40,
        /// Vertical position of a cursor in pixels.
        pub y_pos: u32 => 44,
        /// Horizontal position of the hot spot in pixels.
        pub x_hot: u32 => 48,
        /// Vertical position of the hot spot in pixels.
        pub y_hot: u32 => 52,
        /// Index of the region; with [`GfxPlaneFlags::DMABUF`] the field is
        /// [`dmabuf_id`](DeviceGfxPlaneInfo::dmabuf_id).
        pub region_index: u32 => 56,
        /// Zero.
        pub reserved: u32 => 60,
    }
}

impl DeviceGfxPlaneInfo {
    /// Returns the id of the dma-buf, for `VFIO_DEVICE_GET_GFX_DMABUF`. It is in an answer with
    /// [`GfxPlaneFlags::DMABUF`]; C has a union.
    pub const fn dmabuf_id(&self) -> u32 {
        self.region_index
    }
}
