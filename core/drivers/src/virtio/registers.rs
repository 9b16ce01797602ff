//! The registers that all devices have (Virtual I/O Device Specification 1.2, section 4.1.4.3).
//!
//! Those of 64 bits are reached in halves, as the specification wants it.

use vfio_core::mmio::field::{ReadOnly, ReadPure, ReadPureWrite, WriteOnly};
use vfio_core::registers;

registers! {
    /// The common configuration.
    pub(super) struct Common: 0x38 {
        /// Which 32 feature bits of the device are shown.
        0x00 device_feature_select: WriteOnly<u32>,
        /// Feature bits that the device offers.
        0x04 device_feature: ReadPure<u32>,
        /// Which 32 feature bits of the driver are written.
        0x08 driver_feature_select: WriteOnly<u32>,
        /// Feature bits that the driver accepts.
        0x0c driver_feature: WriteOnly<u32>,
        /// The MSI-X vector of changes of the configuration.
        0x10 config_msix_vector: ReadPureWrite<u16>,
        /// How many virtqueues there are.
        0x12 num_queues: ReadPure<u16>,
        /// How far the driver is: [`status`](super::status).
        0x14 device_status: ReadPureWrite<u8>,
        /// Another number after each change of the device's own configuration.
        0x15 config_generation: ReadPure<u8>,
        /// Which virtqueue the registers from here on are those of.
        0x16 queue_select: WriteOnly<u16>,
        /// How many entries it has; at first the most that it can have, 0 for none.
        0x18 queue_size: ReadPureWrite<u16>,
        /// Its MSI-X vector.
        0x1a queue_msix_vector: ReadPureWrite<u16>,
        /// Whether it is in use.
        0x1c queue_enable: ReadPureWrite<u16>,
        /// Where its doorbell is.
        0x1e queue_notify_off: ReadPure<u16>,
        /// Where its descriptors are: the low half.
        0x20 queue_desc_low: WriteOnly<u32>,
        /// The high half.
        0x24 queue_desc_high: WriteOnly<u32>,
        /// Where the driver's part is: the low half.
        0x28 queue_driver_low: WriteOnly<u32>,
        /// The high half.
        0x2c queue_driver_high: WriteOnly<u32>,
        /// Where the device's part is: the low half.
        0x30 queue_device_low: WriteOnly<u32>,
        /// The high half.
        0x34 queue_device_high: WriteOnly<u32>,
    }
}

registers! {
    /// Why INTx was raised (section 4.1.4.5).
    pub(super) struct Isr: 0x1 {
        /// Bit 0: a virtqueue; bit 1: the configuration. A read acknowledges.
        0x00 cause: ReadOnly<u8>,
    }
}

/// What a vector register reads as where there is no vector.
pub(super) const NO_VECTOR: u16 = u16::MAX;

/// What the status reads as where no device answers.
pub(super) const GONE: u8 = u8::MAX;

/// How far a driver is, in the device status (section 2.1).
pub(super) mod status {
    /// The driver has seen the device.
    pub(crate) const ACKNOWLEDGE: u8 = 1;
    /// It knows how to drive it.
    pub(crate) const DRIVER: u8 = 2;
    /// It drives it.
    pub(crate) const DRIVER_OK: u8 = 4;
    /// It has accepted features.
    pub(crate) const FEATURES_OK: u8 = 8;
    /// The device can't go on.
    pub(crate) const NEEDS_RESET: u8 = 64;
    /// The driver can't go on.
    pub(crate) const FAILED: u8 = 128;
}
