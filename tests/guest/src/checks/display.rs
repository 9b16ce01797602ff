//! The display of the sample device `mbochs`: its planes and its EDID.

use anyhow::{Context as _, Result, ensure};
use rustix::fs::SeekFrom;
use vfio_core::device::Device as Opened;
use vfio_core::device::display::{EdidError, PlaneMemory, PlaneType};
use vfio_core::mmio::CanReadWrite;
use vfio_core::sys::Errno;
use vfio_core::wire::abi::{GfxLinkState, RegionFlags};
use vfio_core::wire::caps::RegionKind;
use vfio_guest::Device;
use vfio_hosted::linux::Linux;

use super::hardware::open;
use crate::world::World;

/// The registers of the Bochs display in BAR2, as offsets in bytes.
mod dispi {
    pub(super) const XRES: usize = 0x502;
    pub(super) const YRES: usize = 0x504;
    pub(super) const BPP: usize = 0x506;
    pub(super) const ENABLE: usize = 0x508;
    pub(super) const VIRT_WIDTH: usize = 0x50c;
}

/// `DRM_FORMAT_XRGB8888` (drm/drm_fourcc.h).
const XRGB8888: u32 = u32::from_le_bytes(*b"XR24");

/// The picture that is shown: width and height in pixels. The device shows none smaller than 64 either way.
const MODE: (u16, u16) = (128, 64);

/// Checks that a plane appears with the mode that is set, and with it a dma-buf.
pub(crate) fn plane(world: &World) -> Result<String> {
    let (_space, opened) = open(world.named("mbochs-small")?)?;
    ensure!(opened.has_planes(PlaneMemory::DmaBuf)?, "no dma-bufs");
    ensure!(!opened.has_planes(PlaneMemory::Region)?, "regions");
    let region = opened.plane(PlaneMemory::Region, PlaneType::Primary);
    ensure!(region == Err(Errno::EINVAL), "as a region: {region:?}");
    let dark = opened.plane(PlaneMemory::DmaBuf, PlaneType::Primary)?;
    ensure!(dark.drm_format == 0, "a plane before a mode: {dark:?}");

    set_mode(&opened)?;
    // The sample driver makes the dma-buf of a new mode, says ENOMEM all the same, and finds it
    // when it is asked again.
    let first = opened.plane(PlaneMemory::DmaBuf, PlaneType::Primary);
    ensure!(
        matches!(first, Ok(_) | Err(Errno::ENOMEM)),
        "the plane: {first:?}"
    );
    let plane = opened.plane(PlaneMemory::DmaBuf, PlaneType::Primary)?;
    let (width, height) = (u32::from(MODE.0), u32::from(MODE.1));
    let seen = (plane.drm_format, plane.width, plane.height, plane.stride);
    ensure!(
        seen == (XRGB8888, width, height, 4 * width),
        "the plane is {plane:?}"
    );

    // The sample driver lets nobody map it; its length tells which it is.
    let dma_buf = opened.plane_dma_buf(plane.dmabuf_id())?;
    let len = rustix::fs::seek(dma_buf.fd(), SeekFrom::End(0))?;
    ensure!(
        len == u64::from(plane.size) && plane.size == 4 * width * height,
        "a dma-buf of {len} bytes for {plane:?}"
    );
    let unknown = opened.plane_dma_buf(u32::MAX).err();
    ensure!(unknown == Some(Errno::ENOENT), "an unknown id: {unknown:?}");
    Ok(format!("{width} x {height}, {} bytes", plane.size))
}

/// Checks that the EDID is read, replaced and read again.
pub(crate) fn edid(world: &World) -> Result<String> {
    let (_space, opened) = open(world.named("mbochs-small")?)?;
    let mut buffer = [0; 128];
    let index = (9..32)
        .find(|index| {
            let mut buffer = [0; 128];
            matches!(
                opened
                    .region(*index, &mut buffer)
                    .map(|region| region.kind()),
                Ok(Some(RegionKind::GFX_EDID))
            )
        })
        .context("no EDID region")?;
    let region = opened.region(index, &mut buffer)?;
    ensure!(
        region
            .flags
            .contains(RegionFlags::READ | RegionFlags::WRITE),
        "{}",
        region.flags
    );
    let edid = opened.edid(&region)?;
    let head = edid.head()?;
    ensure!(head.edid_max_size >= 128, "{head:?}");

    let mut written = [0; 256];
    for (byte, value) in written.iter_mut().zip(0..=u8::MAX) {
        *byte = value;
    }
    edid.replace(&written)?;
    let after = edid.head()?;
    ensure!(
        after.edid_size == 256 && after.link_state == GfxLinkState::UP.0,
        "{after:?}"
    );
    let mut read = [0; 512];
    ensure!(edid.read(&mut read)? == written, "another EDID");
    let short = edid.read(&mut [0; 128]).err();
    ensure!(
        short == Some(EdidError::TooSmall { needed: 256 }),
        "{short:?}"
    );
    edid.set_link(false)?;
    ensure!(
        edid.head()?.link_state == GfxLinkState::DOWN.0,
        "the link is up"
    );
    let max = usize::try_from(head.edid_max_size)?;
    let long = edid.replace(&vec![0; max + 1]);
    ensure!(long == Err(EdidError::TooLong { max }), "{long:?}");

    let mut other = [0; 128];
    let memory = opened.region(0, &mut other)?;
    let none = opened.edid(&memory).err();
    ensure!(none == Some(EdidError::NotEdid), "{none:?}");
    Ok(format!(
        "region {index}, up to {} bytes, {} x {}",
        head.edid_max_size, head.max_xres, head.max_yres
    ))
}

/// Checks that other devices have no planes.
pub(crate) fn missing(_: &World, device: &Device) -> Result<String> {
    let (_space, opened) = open(device)?;
    ensure!(!opened.has_planes(PlaneMemory::DmaBuf)?, "planes");
    let plane = opened.plane(PlaneMemory::DmaBuf, PlaneType::Primary);
    ensure!(plane == Err(Errno::ENOTTY), "{plane:?}");
    Ok("no planes".into())
}

/// Does what a guest's driver does to show a picture.
fn set_mode(device: &Opened<Linux>) -> Result<()> {
    let mut buffer = [0; 128];
    let region = device.region(2, &mut buffer)?;
    let mut registers = device.trap::<CanReadWrite>(&region)?;
    for (at, value) in [
        (dispi::XRES, MODE.0),
        (dispi::YRES, MODE.1),
        (dispi::VIRT_WIDTH, MODE.0),
        (dispi::BPP, 32),
        // Enabled, with a linear framebuffer.
        (dispi::ENABLE, 0x41),
    ] {
        registers.write(at, value)?;
    }
    Ok(())
}
