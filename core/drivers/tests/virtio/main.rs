//! The drivers of virtio devices on simulated ones, sound and unsound.

mod blk;
mod lies;
mod net;
mod opened;
mod start;
