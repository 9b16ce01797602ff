//! virtio-drivers' transport over a BAR: no unsafe code.
//!
//! The registers are those of the MMIO transport (Virtual I/O Device 1.2, 4.2.2), so that the
//! skeleton is short; those of the PCI transport are reached in the same way.

#![forbid(unsafe_code)]

use vfio_core::mmio::field::{Pure, ReadPure, ReadPureWrite, Write, WriteOnly};
use vfio_core::mmio::{Access, Block, Field, OffsetError, Window, before_doorbell};
use vfio_core::registers;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{Error, PhysAddr};
use zerocopy::{FromBytes, Immutable, IntoBytes};

registers! {
    /// The transport's registers.
    struct Mmio: 0x200 {
        0x008 device_id: ReadPure<u32>,
        0x010 device_features: ReadPure<u32>,
        0x014 device_features_sel: WriteOnly<u32>,
        0x020 driver_features: WriteOnly<u32>,
        0x024 driver_features_sel: WriteOnly<u32>,
        0x030 queue_sel: WriteOnly<u32>,
        0x034 queue_size_max: ReadPure<u32>,
        0x038 queue_size: WriteOnly<u32>,
        0x044 queue_ready: ReadPureWrite<u32>,
        0x050 queue_notify: WriteOnly<u32>,
        0x060 interrupt_status: ReadPure<u32>,
        0x064 interrupt_ack: WriteOnly<u32>,
        0x070 status: ReadPureWrite<u32>,
        /// The descriptors, 16 bytes behind them the driver's area, and then the device's.
        0x080 areas: [WriteOnly<u32>; 10],
        0x0fc config_generation: ReadPure<u32>,
        0x100 config: [ReadPureWrite<u8>; 0x100],
    }
}

/// A device behind the registers that `A` reaches.
pub(crate) struct BarTransport<A: Access> {
    registers: Block<A, Mmio>,
}

impl<A: Access> BarTransport<A> {
    pub(crate) fn new(bar: Window<A>) -> Result<Self, OffsetError> {
        Ok(Self {
            registers: bar.into_block(0)?,
        })
    }

    /// Reads a register. The trait knows no errors: a device that is gone answers with zeros.
    fn get<C: Pure>(&self, register: Field<Mmio, C>) -> C::Value
    where
        C::Value: Default,
    {
        self.registers.get(register).unwrap_or_default()
    }

    /// Writes a register, which does nothing to a device that is gone.
    fn set<C: Write>(&mut self, register: Field<Mmio, C>, value: C::Value) {
        let _ = self.registers.write(register, value);
    }

    fn set_area(&mut self, nth: usize, address: PhysAddr) {
        let [a, b, c, d, e, f, g, h] = address.to_le_bytes();
        let halves = [[a, b, c, d], [e, f, g, h]].map(u32::from_le_bytes);
        for (index, half) in (4 * nth..).zip(halves) {
            if let Some(register) = Mmio::areas.get(index) {
                self.set(register, half);
            }
        }
    }
}

/// Returns the bits of a queue's number.
fn wide(queue: u16) -> u32 {
    queue.into()
}

impl<A: Access> Transport for BarTransport<A> {
    fn device_type(&self) -> DeviceType {
        DeviceType::try_from(self.get(Mmio::device_id)).unwrap_or(DeviceType::Block)
    }

    fn read_device_features(&mut self) -> u64 {
        let mut half = |select| {
            self.set(Mmio::device_features_sel, select);
            u64::from(self.get(Mmio::device_features))
        };
        half(0) | half(1) << 32
    }

    fn write_driver_features(&mut self, features: u64) {
        for (select, half) in [(0, features), (1, features >> 32)] {
            self.set(Mmio::driver_features_sel, select);
            self.set(Mmio::driver_features, half as u32);
        }
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.set(Mmio::queue_sel, wide(queue));
        self.get(Mmio::queue_size_max)
    }

    fn notify(&mut self, queue: u16) {
        before_doorbell();
        self.set(Mmio::queue_notify, wide(queue));
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_retain(self.get(Mmio::status))
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.set(Mmio::status, status.bits());
    }

    fn set_guest_page_size(&mut self, _: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        self.set(Mmio::queue_sel, wide(queue));
        self.set(Mmio::queue_size, size);
        self.set_area(0, descriptors);
        self.set_area(1, driver_area);
        self.set_area(2, device_area);
        self.set(Mmio::queue_ready, 1);
    }

    fn queue_unset(&mut self, queue: u16) {
        self.set(Mmio::queue_sel, wide(queue));
        self.set(Mmio::queue_ready, 0);
        // The device is done with it when it says so (4.2.2.2).
        while self.get(Mmio::queue_ready) != 0 {}
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.set(Mmio::queue_sel, wide(queue));
        self.get(Mmio::queue_ready) != 0
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        let status = self.get(Mmio::interrupt_status);
        self.set(Mmio::interrupt_ack, status);
        InterruptStatus::from_bits_truncate(status)
    }

    fn read_config_generation(&self) -> u32 {
        self.get(Mmio::config_generation)
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T, Error> {
        let mut value = T::new_zeroed();
        for (index, byte) in (offset..).zip(value.as_mut_bytes()) {
            let register = Mmio::config.get(index).ok_or(Error::ConfigSpaceTooSmall)?;
            *byte = self.get(register);
        }
        Ok(value)
    }

    fn write_config_space<T: IntoBytes + Immutable>(
        &mut self,
        offset: usize,
        value: T,
    ) -> Result<(), Error> {
        for (index, byte) in (offset..).zip(value.as_bytes()) {
            let register = Mmio::config.get(index).ok_or(Error::ConfigSpaceTooSmall)?;
            self.set(register, *byte);
        }
        Ok(())
    }
}
