//! The seam between the driver of a device and the way to it.

use core::time::Duration;

use vfio_core::dma::DmaHandle;
use vfio_core::mmio::Width;

use super::error::VirtioError;
use super::features::Features;

/// How a driver reaches its device (Virtual I/O Device Specification 1.2, section 4).
///
/// Drivers are generic over it. It keeps no state of the device's.
pub trait Transport {
    /// The handle to the address space that the device reads and writes.
    type Dma: DmaHandle;
    /// How a register access can fail.
    type Error: core::error::Error + 'static;

    /// Returns the handle to the address space.
    fn dma(&self) -> &Self::Dma;

    /// Returns the time since some moment in the past.
    ///
    /// # Errors
    /// [`VirtioError::Clock`]
    fn now(&self) -> Result<Duration, VirtioError<Self::Error>>;

    /// Returns the type of the device (section 5).
    fn device_type(&self) -> u16;

    /// Returns the features that the device offers.
    ///
    /// # Errors
    /// [`VirtioError::Access`]
    fn features(&self) -> Result<Features, VirtioError<Self::Error>>;

    /// Tells the device which of its features the driver accepts.
    ///
    /// # Errors
    /// [`VirtioError::Access`]
    fn accept(&mut self, features: Features) -> Result<(), VirtioError<Self::Error>>;

    /// Returns the device status.
    ///
    /// # Errors
    /// [`VirtioError::Access`], [`VirtioError::Gone`]
    fn status(&self) -> Result<u8, VirtioError<Self::Error>>;

    /// Writes the device status; 0 begins a reset.
    ///
    /// # Errors
    /// [`VirtioError::Access`]
    fn set_status(&self, status: u8) -> Result<(), VirtioError<Self::Error>>;

    /// Resets the device from outside, where it does not do so itself; tells whether it is reset.
    fn reset_from_outside(&self) -> bool;

    /// Returns how many virtqueues there are.
    ///
    /// # Errors
    /// [`VirtioError::Access`]
    fn queues(&self) -> Result<u16, VirtioError<Self::Error>>;

    /// Returns how many entries a virtqueue can have: 0 where there is none.
    ///
    /// # Errors
    /// [`VirtioError::Access`]
    fn queue_size(&mut self, queue: u16) -> Result<u16, VirtioError<Self::Error>>;

    /// Gives a virtqueue its memory, and returns its doorbell.
    ///
    /// # Errors
    /// [`VirtioError::Access`], [`VirtioError::Offset`] where its doorbell is in no structure,
    /// [`VirtioError::NoVector`]
    fn enable_queue(&mut self, setup: &QueueSetup) -> Result<Doorbell, VirtioError<Self::Error>>;

    /// Tells the device that there is something in a virtqueue.
    ///
    /// # Errors
    /// [`VirtioError::Access`]
    fn notify(&self, doorbell: &Doorbell) -> Result<(), VirtioError<Self::Error>>;

    /// Gives changes of the configuration an MSI-X vector.
    ///
    /// # Errors
    /// [`VirtioError::Access`], [`VirtioError::NoVector`]
    fn set_config_vector(&mut self, vector: u16) -> Result<(), VirtioError<Self::Error>>;

    /// Returns a number that is another one after the configuration changed.
    ///
    /// # Errors
    /// [`VirtioError::Access`]
    fn config_generation(&self) -> Result<u8, VirtioError<Self::Error>>;

    /// Reads a field of the device's own configuration at `offset`, in bytes, in one access.
    ///
    /// # Errors
    /// [`VirtioError::Access`], [`VirtioError::Offset`]
    fn read_config<T: Width>(&self, offset: usize) -> Result<T, VirtioError<Self::Error>>;
}

/// What a device is told of a virtqueue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct QueueSetup {
    /// Its number.
    pub queue: u16,
    /// Entries, a power of two.
    pub size: u16,
    /// Where the device finds its descriptors.
    pub desc: u64,
    /// Where the device finds what the driver offers.
    pub driver: u64,
    /// Where the device writes what it used.
    pub device: u64,
    /// Its MSI-X vector.
    pub vector: Option<u16>,
}

/// Where the device is told that there is something in a virtqueue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Doorbell {
    /// The virtqueue.
    pub queue: u16,
    /// In bytes; from where on, the transport knows.
    pub offset: usize,
}
