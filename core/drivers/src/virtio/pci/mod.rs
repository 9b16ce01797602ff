//! Devices on PCI (Virtual I/O Device Specification 1.2, section 4.1).

mod error;
mod open;

use core::fmt;
use core::time::Duration;

use vfio_core::device::DeviceHandle;
use vfio_core::device::region::WholeRegion;
use vfio_core::dma::DmaHandle;
use vfio_core::mmio::{Access, Block, RegisterError, Width, Window};
use vfio_core::sys::Sys as _;

pub use error::OpenError;

use super::error::VirtioError;
use super::features::Features;
use super::registers::{Common, GONE, Isr, NO_VECTOR};
use super::transport::{Doorbell, QueueSetup, Transport};

/// A virtio device on PCI, with memory of `M`, whose registers `A` reaches.
pub struct PciTransport<D: DeviceHandle, M: DmaHandle, A: Access = WholeRegion<D>> {
    device: D,
    dma: M,
    device_type: u16,
    common: Stretch<A>,
    notify: Notify<A>,
    isr: Stretch<A>,
    config: Option<Stretch<A>>,
}

/// A structure: a stretch of a BAR that was checked to lie in it.
struct Stretch<A: Access> {
    window: Window<A>,
    /// Where it starts, in bytes from the start of the BAR.
    offset: usize,
    /// Its length in bytes.
    len: usize,
}

/// The doorbells.
struct Notify<A: Access> {
    stretch: Stretch<A>,
    /// How far apart they are in bytes.
    multiplier: u32,
}

impl<D: DeviceHandle, M: DmaHandle, A: Access> PciTransport<D, M, A> {
    /// Returns the handle to the device.
    pub const fn device(&self) -> &D {
        &self.device
    }

    /// Returns why INTx was raised, and acknowledges it: bit 0 for a virtqueue, bit 1 for the
    /// configuration. With MSI-X it is 0.
    ///
    /// # Errors
    /// [`VirtioError::Access`]
    pub fn take_cause(&self) -> Result<u8, VirtioError<A::Error>> {
        let stretch = &self.isr;
        let isr = stretch.window.share().into_block::<Isr>(stretch.offset);
        let mut isr = isr.map_err(|_| self.isr.short(0))?;
        Ok(isr.read(Isr::cause)?)
    }

    fn common(&self) -> Result<Block<&A, Common>, VirtioError<A::Error>> {
        let common = &self.common;
        let block = common.window.share().into_block(common.offset);
        block.map_err(|_| common.short(0))
    }

    /// Returns the offset in the BAR of the doorbell of the queue that is selected.
    fn doorbell_offset(&self) -> Result<usize, VirtioError<A::Error>> {
        let number = self.common()?.get(Common::queue_notify_off)?;
        let Notify {
            stretch,
            multiplier,
        } = &self.notify;
        let offset = u64::from(number).saturating_mul(u64::from(*multiplier));
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        stretch.place(offset, size_of::<u16>())
    }
}

impl<A: Access> Stretch<A> {
    /// Returns where `width` bytes at `offset` of the structure lie in the BAR.
    fn place<E>(&self, offset: usize, width: usize) -> Result<usize, VirtioError<E>> {
        let end = offset.checked_add(width);
        match self.offset.checked_add(offset) {
            Some(place) if end.is_some_and(|end| end <= self.len) => Ok(place),
            _ => Err(self.short(offset)),
        }
    }

    const fn short<E>(&self, offset: usize) -> VirtioError<E> {
        VirtioError::Offset {
            offset,
            len: self.len,
        }
    }

    /// Tells a failed access from one that is not in the BAR.
    fn failed<E>(&self, offset: usize, error: RegisterError<E>) -> VirtioError<E> {
        match error {
            RegisterError::Access(error) => VirtioError::Access(error),
            RegisterError::Offset(_) => self.short(offset),
        }
    }
}

impl<D: DeviceHandle, M: DmaHandle, A: Access> Transport for PciTransport<D, M, A> {
    type Dma = M;
    type Error = A::Error;

    fn dma(&self) -> &M {
        &self.dma
    }

    fn now(&self) -> Result<Duration, VirtioError<A::Error>> {
        self.device.sys().now().map_err(VirtioError::Clock)
    }

    fn device_type(&self) -> u16 {
        self.device_type
    }

    fn features(&self) -> Result<Features, VirtioError<A::Error>> {
        let mut common = self.common()?;
        let mut halves = [0; 2];
        for (select, half) in (0..).zip(&mut halves) {
            common.write(Common::device_feature_select, select)?;
            *half = common.get(Common::device_feature)?;
        }
        Ok(Features::from_halves(halves))
    }

    fn accept(&mut self, features: Features) -> Result<(), VirtioError<A::Error>> {
        let mut common = self.common()?;
        for (select, half) in (0..).zip(features.halves()) {
            common.write(Common::driver_feature_select, select)?;
            common.write(Common::driver_feature, half)?;
        }
        Ok(())
    }

    fn status(&self) -> Result<u8, VirtioError<A::Error>> {
        match self.common()?.get(Common::device_status)? {
            GONE => Err(VirtioError::Gone),
            status => Ok(status),
        }
    }

    fn set_status(&self, status: u8) -> Result<(), VirtioError<A::Error>> {
        Ok(self.common()?.write(Common::device_status, status)?)
    }

    fn reset_from_outside(&self) -> bool {
        self.device.reset().is_ok() && self.status().is_ok_and(|status| status == 0)
    }

    fn queues(&self) -> Result<u16, VirtioError<A::Error>> {
        Ok(self.common()?.get(Common::num_queues)?)
    }

    fn queue_size(&mut self, queue: u16) -> Result<u16, VirtioError<A::Error>> {
        let mut common = self.common()?;
        if queue >= common.get(Common::num_queues)? {
            return Ok(0);
        }
        common.write(Common::queue_select, queue)?;
        Ok(common.get(Common::queue_size)?)
    }

    fn enable_queue(&mut self, setup: &QueueSetup) -> Result<Doorbell, VirtioError<A::Error>> {
        let mut common = self.common()?;
        common.write(Common::queue_select, setup.queue)?;
        let offset = self.doorbell_offset()?;
        common.write(Common::queue_size, setup.size)?;
        let vector = setup.vector.unwrap_or(NO_VECTOR);
        common.write(Common::queue_msix_vector, vector)?;
        if common.get(Common::queue_msix_vector)? != vector {
            return Err(VirtioError::NoVector { vector });
        }
        let [low, high] = Features(setup.desc).halves();
        common.write(Common::queue_desc_low, low)?;
        common.write(Common::queue_desc_high, high)?;
        let [low, high] = Features(setup.driver).halves();
        common.write(Common::queue_driver_low, low)?;
        common.write(Common::queue_driver_high, high)?;
        let [low, high] = Features(setup.device).halves();
        common.write(Common::queue_device_low, low)?;
        common.write(Common::queue_device_high, high)?;
        common.write(Common::queue_enable, 1)?;
        Ok(Doorbell {
            queue: setup.queue,
            offset,
        })
    }

    #[inline]
    fn notify(&self, doorbell: &Doorbell) -> Result<(), VirtioError<A::Error>> {
        let Notify { stretch, .. } = &self.notify;
        let mut window = stretch.window.share();
        let written = window.write(doorbell.offset, doorbell.queue);
        written.map_err(|error| stretch.failed(doorbell.offset, error))
    }

    fn set_config_vector(&mut self, vector: u16) -> Result<(), VirtioError<A::Error>> {
        let mut common = self.common()?;
        common.write(Common::config_msix_vector, vector)?;
        if common.get(Common::config_msix_vector)? == vector {
            Ok(())
        } else {
            Err(VirtioError::NoVector { vector })
        }
    }

    fn config_generation(&self) -> Result<u8, VirtioError<A::Error>> {
        Ok(self.common()?.get(Common::config_generation)?)
    }

    fn read_config<T: Width>(&self, offset: usize) -> Result<T, VirtioError<A::Error>> {
        let none = VirtioError::Offset { offset, len: 0 };
        let config = self.config.as_ref().ok_or(none)?;
        let place = config.place(offset, size_of::<T>())?;
        let read = config.window.share().read(place);
        read.map_err(|error| config.failed(offset, error))
    }
}

impl<D: DeviceHandle, M: DmaHandle, A: Access> fmt::Debug for PciTransport<D, M, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PciTransport")
            .field("device_type", &self.device_type)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "defmt")]
impl<D: DeviceHandle, M: DmaHandle, A: Access> defmt::Format for PciTransport<D, M, A> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "PciTransport(type {})", self.device_type);
    }
}
