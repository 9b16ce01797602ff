//! What a disk says of itself (Virtual I/O Device Specification 1.2, sections 5.2.3 and 5.2.4).

use crate::virtio::device::Virtio;
use crate::virtio::error::VirtioError;
use crate::virtio::features::Features;
use crate::virtio::transport::Transport;

/// Feature bits of disks.
pub mod features {
    use crate::virtio::features::Features;

    /// The device says how many pieces of data a request can have (`VIRTIO_BLK_F_SEG_MAX`).
    pub const SEG_MAX: Features = Features(1 << 2);
    /// It can only be read (`VIRTIO_BLK_F_RO`).
    pub const RO: Features = Features(1 << 5);
    /// It says how large its blocks are (`VIRTIO_BLK_F_BLK_SIZE`).
    pub const BLK_SIZE: Features = Features(1 << 6);
    /// It has a cache that can be flushed (`VIRTIO_BLK_F_FLUSH`).
    pub const FLUSH: Features = Features(1 << 9);
}

/// All that the driver knows how to use.
pub(super) const WANTED: Features =
    Features(features::SEG_MAX.0 | features::RO.0 | features::BLK_SIZE.0 | features::FLUSH.0);

/// Bytes of a sector, in which everything is counted.
pub const SECTOR: usize = 512;

/// What a disk says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DiskInfo {
    /// How many sectors of 512 bytes it has.
    pub capacity: u64,
    /// Bytes of its blocks: what it writes best.
    pub block_size: u32,
    /// Whether it can only be read.
    pub is_read_only: bool,
    /// Whether it has a cache, which a flush empties.
    pub has_cache: bool,
}

/// Offsets of the fields, in bytes.
mod offset {
    pub(super) const CAPACITY: usize = 0;
    pub(super) const BLK_SIZE: usize = 20;
}

impl DiskInfo {
    /// Reads what a device says.
    ///
    /// # Errors
    /// [`VirtioError`]
    pub(super) fn read<T: Transport>(virtio: &Virtio<T>) -> Result<Self, VirtioError<T::Error>> {
        let has = |feature| virtio.features().contains(feature);
        let capacity = virtio.config(|transport| {
            let low = transport.read_config(offset::CAPACITY)?;
            let high = transport.read_config(offset::CAPACITY.saturating_add(4))?;
            Ok(Features::from_halves([low, high]).0)
        })?;
        let mut block_size = 512;
        if has(features::BLK_SIZE) {
            let said = virtio.config(|transport| transport.read_config(offset::BLK_SIZE));
            block_size = said?;
        }
        Ok(Self {
            capacity,
            block_size,
            is_read_only: has(features::RO),
            has_cache: has(features::FLUSH),
        })
    }
}
