//! What all devices have in common: how they are started and stopped, and agree on features
//! (Virtual I/O Device Specification 1.2, sections 2.1, 2.2 and 3.1).

use core::time::Duration;

use vfio_core::dma::DmaHandle as _;
use vfio_core::open::AddressSpace;

use super::error::{Misfit, VirtioError};
use super::features::Features;
use super::queue::Virtqueue;
use super::registers::status;
use super::transport::Transport;
use crate::state::{SharedState, State};

/// How long a device may take to become reset.
const RESET: Duration = Duration::from_secs(1);

/// How often the configuration is read until it stays the same meanwhile.
const READS: u32 = 64;

/// What every driver accepts.
const ALWAYS: Features =
    Features(Features::VERSION_1.0 | Features::ACCESS_PLATFORM.0 | Features::ORDER_PLATFORM.0);

/// A device of any type behind a transport: whether it runs, and what it and its driver agreed on.
///
/// Its driver has its virtqueues. It stops it before it gives their memory back, and does not
/// where the device is [`State::Lost`].
#[derive(Debug)]
pub(super) struct Virtio<T: Transport> {
    transport: T,
    features: Features,
    state: SharedState,
}

/// What is asked of a virtqueue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QueueOptions {
    /// Its number.
    pub(super) queue: u16,
    /// Parts of a request.
    pub(super) pieces: u16,
}

impl<T: Transport> Virtio<T> {
    /// Resets a device of a type (section 5), and agrees on all of `wanted` that it offers.
    ///
    /// # Errors
    /// [`VirtioError`]
    pub(super) fn begin(
        transport: T,
        device_type: u16,
        wanted: Features,
    ) -> Result<Self, VirtioError<T::Error>> {
        let found = transport.device_type();
        if found != device_type {
            return Err(VirtioError::Type { found });
        }
        let mut this = Self {
            transport,
            features: Features::default(),
            // What an earlier driver left running is stopped first.
            state: SharedState::stopped(),
        };
        this.negotiate(wanted)?;
        Ok(this)
    }

    /// Resets the device, and agrees on features.
    ///
    /// # Errors
    /// [`VirtioError`]
    pub(super) fn negotiate(&mut self, wanted: Features) -> Result<(), VirtioError<T::Error>> {
        self.reset()?;
        self.state.set(State::Stopped);
        self.add_status(status::ACKNOWLEDGE)?;
        self.add_status(status::DRIVER)?;
        let offered = self.transport.features()?;
        if !offered.contains(Features::VERSION_1) {
            return Err(VirtioError::Missing(Features::VERSION_1));
        }
        let is_confined = !matches!(self.transport.dma().space(), AddressSpace::NoIommu(_));
        if is_confined && !offered.contains(Features::ACCESS_PLATFORM) {
            return Err(VirtioError::NotConfined);
        }
        self.features = offered & (wanted | ALWAYS);
        self.transport.accept(self.features)?;
        self.add_status(status::FEATURES_OK)?;
        if self.transport.status()? & status::FEATURES_OK == 0 {
            return Err(VirtioError::Refused(self.features));
        }
        Ok(())
    }

    /// Makes the memory of a virtqueue of up to `N` entries, as many as the device has.
    ///
    /// # Errors
    /// [`VirtioError::NoQueue`], [`VirtioError::Memory`]
    pub(super) fn queue<const N: usize>(
        &mut self,
        options: QueueOptions,
    ) -> Result<Virtqueue<T::Dma, N>, VirtioError<T::Error>> {
        let QueueOptions { queue, pieces } = options;
        let most = self.transport.queue_size(queue)?;
        let size = u16::try_from(N).unwrap_or(1 << 15).min(most);
        // A device may say anything: what is used is a power of two.
        let size = match size.checked_ilog2() {
            Some(shift) if size >= 2 => 1_u16.wrapping_shl(shift),
            _ => return Err(VirtioError::NoQueue { queue }),
        };
        Virtqueue::new(self.transport.dma(), size, self.features, pieces)
            .map_err(VirtioError::memory)
    }

    /// Gives the device a virtqueue.
    ///
    /// # Errors
    /// As [`Transport::enable_queue`]; [`VirtioError::NoQueue`] where it has become too short.
    pub(super) fn enable<const N: usize>(
        &mut self,
        queue: &mut Virtqueue<T::Dma, N>,
        number: u16,
        vector: Option<u16>,
    ) -> Result<(), VirtioError<T::Error>> {
        if self.transport.queue_size(number)? < queue.size() {
            return Err(VirtioError::NoQueue { queue: number });
        }
        // From here on it may reach memory.
        self.state.set(State::Running);
        let doorbell = self.transport.enable_queue(&queue.setup(number, vector))?;
        queue.set_doorbell(doorbell);
        Ok(())
    }

    /// Lets the device run, whose virtqueues were given to it.
    ///
    /// # Errors
    /// [`VirtioError::Access`]
    pub(super) fn run(&mut self) -> Result<(), VirtioError<T::Error>> {
        self.add_status(status::DRIVER_OK)?;
        self.state.set(State::Running);
        Ok(())
    }

    /// Tells the device of the requests in a virtqueue, if it wants to be told.
    ///
    /// # Errors
    /// [`VirtioError::Access`]; the device is stopped then.
    #[inline]
    pub(super) fn notify<const N: usize>(
        &self,
        queue: &mut Virtqueue<T::Dma, N>,
    ) -> Result<(), VirtioError<T::Error>> {
        if !queue.wants_notification() {
            return Ok(());
        }
        let told = self.transport.notify(queue.doorbell());
        told.map_err(|error| self.fail(error))
    }

    /// Returns what the device and its driver agreed on.
    pub(super) const fn features(&self) -> Features {
        self.features
    }

    pub(super) const fn transport(&self) -> &T {
        &self.transport
    }

    pub(super) const fn transport_mut(&mut self) -> &mut T {
        &mut self.transport
    }

    /// Returns whether it runs.
    pub(super) fn state(&self) -> State {
        self.state.get()
    }

    /// Checks that it runs, as far as the driver knows.
    ///
    /// # Errors
    /// [`VirtioError::Stopped`]
    #[inline]
    pub(super) fn running(&self) -> Result<(), VirtioError<T::Error>> {
        if self.state.is_running() {
            Ok(())
        } else {
            Err(VirtioError::Stopped)
        }
    }

    /// Checks that it runs, as far as it says. It is stopped where it does not.
    ///
    /// # Errors
    /// [`VirtioError::Stopped`], [`VirtioError::Gone`], [`VirtioError::NeedsReset`]
    pub(super) fn check(&self) -> Result<(), VirtioError<T::Error>> {
        self.running()?;
        match self.transport.status() {
            Ok(said) if said & status::NEEDS_RESET != 0 || said & status::DRIVER_OK == 0 => {
                Err(self.fail(VirtioError::NeedsReset { status: said }))
            }
            Ok(_) => Ok(()),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Reads several fields of the configuration as they are at one moment.
    ///
    /// # Errors
    /// As [`Transport::read_config`]; [`VirtioError::Unsteady`], [`VirtioError::Gone`]
    pub(super) fn config<R>(
        &self,
        read: impl Fn(&T) -> Result<R, VirtioError<T::Error>>,
    ) -> Result<R, VirtioError<T::Error>> {
        let mut before = self.transport.config_generation()?;
        for _ in 0..READS {
            let value = read(&self.transport)?;
            let after = self.transport.config_generation()?;
            if after == before {
                // What reads as all ones may be no device's.
                if after == u8::MAX {
                    self.transport.status()?;
                }
                return Ok(value);
            }
            before = after;
        }
        Err(VirtioError::Unsteady)
    }

    /// Stops the device after what it wrote into a virtqueue.
    #[cold]
    #[inline(never)]
    pub(super) fn misfit(&self, queue: u16, misfit: Misfit) -> VirtioError<T::Error> {
        self.fail(VirtioError::Unexpected { queue, misfit })
    }

    /// Stops the device after an error.
    #[cold]
    pub(super) fn fail(&self, error: VirtioError<T::Error>) -> VirtioError<T::Error> {
        if self.state.is_running() {
            let _ = self.add_status(status::FAILED);
        }
        self.stop();
        error
    }

    /// Stops the device. Whether it is known to have stopped, [`Virtio::state`] tells.
    pub(super) fn stop(&self) {
        if !self.state.begins_to_stop() {
            return;
        }
        let is_stopped = self.reset().is_ok();
        self.state.set(if is_stopped {
            State::Stopped
        } else {
            State::Lost
        });
    }

    /// Resets the device: itself, and from outside where it does not do so in time.
    fn reset(&self) -> Result<(), VirtioError<T::Error>> {
        let result = self.reset_itself();
        if result.is_err() && self.transport.reset_from_outside() {
            return Ok(());
        }
        result
    }

    /// Has the device reset itself, and waits for it (section 4.1.4.3.2).
    fn reset_itself(&self) -> Result<(), VirtioError<T::Error>> {
        // One that is gone resets no more.
        self.transport.status()?;
        self.transport.set_status(0)?;
        let deadline = self.transport.now()?.saturating_add(RESET);
        loop {
            let is_over = self.transport.now()? > deadline;
            match self.transport.status()? {
                0 => return Ok(()),
                status if is_over => return Err(VirtioError::NotReset { status }),
                _ => core::hint::spin_loop(),
            }
        }
    }

    /// Goes on to a further step of the start.
    fn add_status(&self, step: u8) -> Result<(), VirtioError<T::Error>> {
        let status = self.transport.status()?;
        self.transport.set_status(status | step)
    }
}
