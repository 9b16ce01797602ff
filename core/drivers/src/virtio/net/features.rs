//! Features of network cards (Virtual I/O Device Specification 1.2, section 5.1.3).

use crate::virtio::features::Features;

/// The driver may leave checksums to the device (`VIRTIO_NET_F_CSUM`).
pub const CSUM: Features = Features(1 << 0);
/// The device may leave checksums to the driver (`VIRTIO_NET_F_GUEST_CSUM`).
pub const GUEST_CSUM: Features = Features(1 << 1);
/// The device says how much a frame can carry (`VIRTIO_NET_F_MTU`).
pub const MTU: Features = Features(1 << 3);
/// The device has an address (`VIRTIO_NET_F_MAC`).
pub const MAC: Features = Features(1 << 5);
/// A frame that is received may be in several buffers (`VIRTIO_NET_F_MRG_RXBUF`).
pub const MRG_RXBUF: Features = Features(1 << 15);
/// The device says whether it has a link (`VIRTIO_NET_F_STATUS`).
pub const STATUS: Features = Features(1 << 16);
/// There is a control queue (`VIRTIO_NET_F_CTRL_VQ`).
pub const CTRL_VQ: Features = Features(1 << 17);
/// It is told which frames are wanted (`VIRTIO_NET_F_CTRL_RX`).
pub const CTRL_RX: Features = Features(1 << 18);
/// There are several pairs of queues (`VIRTIO_NET_F_MQ`).
pub const MQ: Features = Features(1 << 22);
/// The device can be given another address (`VIRTIO_NET_F_CTRL_MAC_ADDR`).
pub const CTRL_MAC_ADDR: Features = Features(1 << 23);

/// All that the driver knows how to use.
pub(super) const WANTED: Features = Features(
    CSUM.0
        | GUEST_CSUM.0
        | MTU.0
        | MAC.0
        | MRG_RXBUF.0
        | STATUS.0
        | CTRL_VQ.0
        | CTRL_RX.0
        | MQ.0
        | CTRL_MAC_ADDR.0,
);
