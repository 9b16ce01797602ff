//! The registers of the 82576 (Intel's datasheet, section 8), in BAR 0.

use vfio_core::mmio::field::{ReadOnly, ReadPure, ReadPureWrite, WriteOnly};
use vfio_core::registers;

/// In [`Registers::control`]: full duplex.
pub(super) const FULL_DUPLEX: u32 = 1 << 0;
/// In [`Registers::control`]: the link is set up.
pub(super) const LINK_UP: u32 = 1 << 6;
/// In [`Registers::control`]: the speed, in two bits.
pub(super) const SPEED: u32 = 3 << 8;
/// In [`Registers::control`]: of [`SPEED`], 1 Gb/s.
pub(super) const GIGABIT: u32 = 2 << 8;
/// In [`Registers::control`]: the speed is the one that stands there.
pub(super) const FORCE_SPEED: u32 = 1 << 11;
/// In [`Registers::control`]: so is the duplex mode.
pub(super) const FORCE_DUPLEX: u32 = 1 << 12;
/// In [`Registers::control`]: reset, until the device takes it away.
pub(super) const RESET: u32 = 1 << 26;

/// In [`Registers::status`]: there is a link.
pub(super) const LINK: u32 = 1 << 1;

/// In [`Registers::extended_control`]: which link, in two bits; 0 for the device's own PHY.
pub(super) const LINK_MODE: u32 = 3 << 22;
/// In [`Registers::extended_control`]: there is a driver.
pub(super) const DRIVER_LOADED: u32 = 1 << 28;

/// In [`Registers::mdi_control`]: where the number of the PHY's register starts.
pub(super) const MDI_REGISTER: u32 = 16;
/// In [`Registers::mdi_control`]: the device's own PHY.
pub(super) const MDI_PHY: u32 = 1 << 21;
/// In [`Registers::mdi_control`]: write.
pub(super) const MDI_WRITE: u32 = 1 << 26;
/// In [`Registers::mdi_control`]: it is done.
pub(super) const MDI_READY: u32 = 1 << 28;
/// In [`Registers::mdi_control`]: it failed.
pub(super) const MDI_ERROR: u32 = 1 << 30;

/// The PHY's control register (IEEE 802.3, 22.2.4.1).
pub(super) const PHY_CONTROL: u32 = 0;
/// In [`PHY_CONTROL`]: the speed is 1 Gb/s.
pub(super) const PHY_GIGABIT: u32 = 1 << 6;
/// In [`PHY_CONTROL`]: full duplex.
pub(super) const PHY_FULL_DUPLEX: u32 = 1 << 8;
/// In [`PHY_CONTROL`]: negotiate again.
pub(super) const PHY_RESTART: u32 = 1 << 9;
/// In [`PHY_CONTROL`]: negotiate at all.
pub(super) const PHY_NEGOTIATE: u32 = 1 << 12;
/// In [`PHY_CONTROL`]: what is sent comes back.
pub(super) const PHY_LOOPBACK: u32 = 1 << 14;

/// In [`Registers::receive_control`]: receive.
pub(super) const RECEIVE: u32 = 1 << 1;
/// In [`Registers::receive_control`]: frames for anybody.
pub(super) const ANY_UNICAST: u32 = 1 << 3;
/// In [`Registers::receive_control`]: and for any group.
pub(super) const ANY_MULTICAST: u32 = 1 << 4;
/// In [`Registers::receive_control`]: the MAC loops frames back. The 82576 has no such loop and
/// relies on its PHY's; QEMU has this one.
pub(super) const MAC_LOOPBACK: u32 = 1 << 6;
/// In [`Registers::receive_control`]: and for all.
pub(super) const BROADCAST: u32 = 1 << 15;
/// In [`Registers::receive_control`]: the checksum of a frame is not put into memory.
pub(super) const STRIP_CHECKSUM: u32 = 1 << 26;

/// In [`Registers::transmit_control`]: transmit.
pub(super) const TRANSMIT: u32 = 1 << 1;
/// In [`Registers::transmit_control`]: fill short frames up.
pub(super) const PAD: u32 = 1 << 3;

/// In [`Registers::interrupt_mode`]: each cause has the MSI-X vector that it was given.
pub(super) const MSIX: u32 = 1 << 4;

/// In [`Registers::receive_format`]: buffers of 1 KiB, and descriptors of the advanced form.
pub(super) const RECEIVE_FORMAT: u32 = 1 | 1 << 25;

/// In [`Registers::receive_queue`] and [`Registers::transmit_queue`]: the queue is in use.
pub(super) const QUEUE_ENABLED: u32 = 1 << 25;

/// In [`Registers::pcie_control`]: a read that nobody answers is made again.
pub(super) const READ_AGAIN: u32 = 1 << 16;

registers! {
    /// The registers that the driver uses.
    pub(super) struct Registers: 0xe02c {
        /// The device (CTRL).
        0x0000 control: ReadPureWrite<u32>,
        /// What the device says (STATUS).
        0x0008 status: ReadPure<u32>,
        /// More of the device (CTRL_EXT).
        0x0018 extended_control: ReadPureWrite<u32>,
        /// Access to the PHY's registers (MDIC).
        0x0020 mdi_control: ReadPureWrite<u32>,
        /// The receiver (RCTL).
        0x0100 receive_control: ReadPureWrite<u32>,
        /// The transmitter (TCTL).
        0x0400 transmit_control: ReadPureWrite<u32>,
        /// Holds causes of interrupts back (IMC).
        0x150c mask_clear: WriteOnly<u32>,
        /// How interrupts work (GPIE).
        0x1514 interrupt_mode: ReadPureWrite<u32>,
        /// Raises interrupts, a bit for each vector (EICS).
        0x1520 vector_set: WriteOnly<u32>,
        /// Lets vectors through (EIMS).
        0x1524 vector_mask_set: ReadPureWrite<u32>,
        /// Holds vectors back (EIMC).
        0x1528 vector_mask_clear: WriteOnly<u32>,
        /// Vectors that need no acknowledgement (EIAC).
        0x152c vector_auto_clear: ReadPureWrite<u32>,
        /// Vectors that were raised (EICR); a read acknowledges.
        0x1580 vector_cause: ReadOnly<u32>,
        /// The vectors of the queues 0 and 1 (IVAR0); all zero: none.
        0x1700 vector_of_queue: ReadPureWrite<u32>,
        /// Checks of checksums (RXCSUM).
        0x5000 checksum_control: ReadPureWrite<u32>,
        /// PCI Express (GCR).
        0x5b00 pcie_control: ReadPureWrite<u32>,
        /// Where the ring of frames that were received is: the low half (RDBAL).
        0xc000 receive_base: ReadPureWrite<u32>,
        /// The high half (RDBAH).
        0xc004 receive_base_high: ReadPureWrite<u32>,
        /// Its length in bytes (RDLEN).
        0xc008 receive_len: ReadPureWrite<u32>,
        /// The form of the descriptors and the size of buffers (SRRCTL).
        0xc00c receive_format: ReadPureWrite<u32>,
        /// The descriptor that the device is at (RDH).
        0xc010 receive_head: ReadPureWrite<u32>,
        /// The first descriptor that it must leave alone (RDT).
        0xc018 receive_tail: ReadPureWrite<u32>,
        /// [`QUEUE_ENABLED`], and thresholds (RXDCTL).
        0xc028 receive_queue: ReadPureWrite<u32>,
        /// Where the ring of frames to be sent is: the low half (TDBAL).
        0xe000 transmit_base: ReadPureWrite<u32>,
        /// The high half (TDBAH).
        0xe004 transmit_base_high: ReadPureWrite<u32>,
        /// Its length in bytes (TDLEN).
        0xe008 transmit_len: ReadPureWrite<u32>,
        /// The descriptor that the device is at (TDH).
        0xe010 transmit_head: ReadPureWrite<u32>,
        /// The first descriptor that it must leave alone (TDT).
        0xe018 transmit_tail: ReadPureWrite<u32>,
        /// [`QUEUE_ENABLED`], and thresholds (TXDCTL).
        0xe028 transmit_queue: ReadPureWrite<u32>,
    }
}
