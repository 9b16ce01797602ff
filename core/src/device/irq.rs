//! Interrupts: events that a device signals, masks and triggers.

#![forbid(unsafe_code)]

use core::fmt;
use core::time::Duration;

use zerocopy::IntoBytes;

use crate::device::{Device, DeviceHandle};
use crate::sys::{EVENTS_MOST, Errno, Exchange, ExchangeRequest, Sys};
use crate::wire::abi::{IrqSet, IrqSetFlags, pci_irq};

/// What is to happen to interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Action {
    /// They are held back.
    Mask,
    /// They come through again.
    Unmask,
    /// They are signalled; with events: when they occur, from now on.
    Trigger,
}

/// To which interrupts it is to happen, from a first one on.
#[derive(Debug)]
pub enum Data<'a, E> {
    /// This number of interrupts.
    All(u32),
    /// To those that are true.
    Bools(&'a [bool]),
    /// When an event is signalled, or, with [`Action::Trigger`], by signalling one; `None` takes
    /// away the one that was there.
    Events(&'a [Option<&'a E>]),
}

/// Why interrupts could not be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum IrqError {
    /// Bytes that the buffer needs.
    TooSmall {
        /// Bytes.
        needed: usize,
    },
    /// Somebody has the interrupts of the index already, as [`Vectors`].
    Claimed {
        /// The index.
        index: u32,
    },
    /// The kernel has only this number of vectors for them, and has enabled none.
    Only {
        /// How many it could enable.
        available: u32,
    },
    /// The kernel refuses: `EINVAL` for interrupts that are not there.
    Errno(Errno),
}

/// `N` interrupts of one index, each with an event; they are disabled on drop.
///
/// Nobody else has interrupts of the index meanwhile.
///
#[cfg_attr(feature = "alloc", doc = "```")]
#[cfg_attr(not(feature = "alloc"), doc = "```ignore")]
/// use std::sync::Arc;
/// use std::time::Duration;
/// use vfio_core::wire::abi::pci_irq;
/// use vfio_core::device::Device;
/// use vfio_core::device::irq::Vectors;
/// use vfio_core::sys::Sys;
///
/// fn count<S: Sys>(device: Arc<Device<S>>) -> Result<u64, Box<dyn std::error::Error>> {
///     // They own the device, with others. `device.vectors::<2>(..)` borrows it.
///     let vectors = Vectors::<_, 2>::new(device, pci_irq::MSIX)?;
///     let first = vectors.wait(0, Duration::from_millis(100))?;
///     Ok(first + vectors.take(1)?)
/// }
/// ```
pub struct Vectors<D: DeviceHandle, const N: usize> {
    device: D,
    index: u32,
    events: heapless::Vec<<D::Sys as Sys>::Event, N>,
}

/// Ends a wait for interrupts from another thread ([`Vectors::wait_any_or`]).
pub struct Waker<D: DeviceHandle> {
    device: D,
    event: <D::Sys as Sys>::Event,
}

/// The most interrupts that [`Vectors`] hold.
const MOST: usize = 64;

/// Bytes of the structure before its data.
const HEAD: usize = size_of::<IrqSet>();

impl<S: Sys> Device<S> {
    /// Makes one `VFIO_DEVICE_SET_IRQS` for the interrupts of `index` from `start` on. `buffer`
    /// holds the request: 20 bytes, and 1 for each bool or 4 for each event.
    ///
    /// # Errors
    /// [`IrqError`]
    pub fn set_irqs(
        &self,
        index: u32,
        start: u32,
        action: Action,
        data: &Data<'_, S::Event>,
        buffer: &mut [u8],
    ) -> Result<(), IrqError> {
        let (kind, count, each) = match data {
            Data::All(count) => (IrqSetFlags::DATA_NONE, usize::try_from(*count).ok(), 0),
            Data::Bools(bools) => (IrqSetFlags::DATA_BOOL, Some(bools.len()), 1),
            Data::Events(events) => (IrqSetFlags::DATA_EVENTFD, Some(events.len()), 4),
        };
        let count = count.unwrap_or(usize::MAX);
        let needed = HEAD.saturating_add(count.saturating_mul(each));
        let request = buffer
            .get_mut(..needed)
            .ok_or(IrqError::TooSmall { needed })?;
        let head = IrqSet {
            flags: kind | action.flag(),
            index,
            start,
            count: u32::try_from(count).map_err(|_| IrqError::Errno(Errno::EINVAL))?,
            ..Default::default()
        };
        let exchange = if let Data::Events(events) = data {
            Exchange::irq_events(request, head, events)
        } else {
            // The buffer is as long as both.
            let _ = head.write_to_prefix(request);
            if let Data::Bools(bools) = data {
                let values = request.iter_mut().skip(HEAD);
                for (value, concerns) in values.zip(*bools) {
                    *value = u8::from(*concerns);
                }
            }
            Exchange::new(ExchangeRequest::SetIrqs, request)
        };
        let answer = exchange.and_then(|exchange| self.sys().exchange(self.fd(), exchange));
        match (answer.map_err(IrqError::Errno)?, data) {
            (0, _) => Ok(()),
            (available, Data::Events(_)) => Err(IrqError::Only { available }),
            (_, Data::All(_) | Data::Bools(_)) => Err(IrqError::Errno(Errno::EPROTO)),
        }
    }

    /// Disables all interrupts of `index`.
    ///
    /// # Errors
    /// [`IrqError`]
    pub fn disable_irqs(&self, index: u32) -> Result<(), IrqError> {
        self.set_irqs(index, 0, Action::Trigger, &Data::All(0), &mut [0; HEAD])
    }

    /// Enables the first `N` interrupts of `index`, each with an event of its own.
    ///
    /// `N` is at most 64, or it does not compile; [`Device::set_irqs`] serves more.
    ///
    /// # Errors
    /// [`IrqError`]
    pub fn vectors<const N: usize>(&self, index: u32) -> Result<Vectors<&Self, N>, IrqError> {
        Vectors::new(self, index)
    }
}

impl<D: DeviceHandle, const N: usize> Vectors<D, N> {
    /// Enables the first `N` interrupts of `index`, as [`Device::vectors`] does, and keeps the
    /// handle.
    ///
    /// # Errors
    /// [`IrqError`]
    pub fn new(device: D, index: u32) -> Result<Self, IrqError> {
        const {
            assert!(N <= MOST, "at most 64 interrupts have an event each");
        }
        if !device.claim(index) {
            return Err(IrqError::Claimed { index });
        }
        // From here on the claim is given back on drop.
        let mut vectors = Self {
            device,
            index,
            events: heapless::Vec::new(),
        };
        for _ in 0..N {
            let event = vectors.device.sys().event().map_err(IrqError::Errno)?;
            // There is room for all of them.
            let _ = vectors.events.push(event);
        }
        vectors.enable()?;
        Ok(vectors)
    }

    /// Has each interrupt signal its event.
    fn enable(&self) -> Result<(), IrqError> {
        let mut signalled = heapless::Vec::<_, N>::new();
        for event in &self.events {
            let _ = signalled.push(Some(event));
        }
        let mut buffer = [0; HEAD + 4 * MOST];
        self.device.set_irqs(
            self.index,
            0,
            Action::Trigger,
            &Data::Events(&signalled),
            &mut buffer,
        )
    }
}

impl Action {
    const fn flag(self) -> IrqSetFlags {
        match self {
            Self::Mask => IrqSetFlags::ACTION_MASK,
            Self::Unmask => IrqSetFlags::ACTION_UNMASK,
            Self::Trigger => IrqSetFlags::ACTION_TRIGGER,
        }
    }
}

impl<D: DeviceHandle, const N: usize> Vectors<D, N> {
    /// Waits until the interrupt `vector` occurs, for no longer than `timeout`; returns how often
    /// it did since it was last asked, 0 where the time ran out.
    ///
    /// # Errors
    /// `EINVAL` where there is no such vector; what waiting returns.
    pub fn wait(&self, vector: usize, timeout: Duration) -> Result<u64, Errno> {
        let event = self.event(vector).ok_or(Errno::EINVAL)?;
        if self.device.sys().events_wait(&[event], timeout)? {
            self.take(vector)
        } else {
            Ok(0)
        }
    }

    /// Waits until any of the interrupts occurs, for no longer than `timeout`. Returns the lowest
    /// vector that occurred, whose count stays for [`Vectors::take`]; none where the time ran out.
    ///
    /// # Errors
    /// What waiting returns.
    pub fn wait_any(&self, timeout: Duration) -> Result<Option<usize>, Errno> {
        self.wait_among(None, timeout)
    }

    /// Waits as [`Vectors::wait_any`] does, or until `waker` is woken. Where it was, and no
    /// interrupt occurred, there is no vector.
    ///
    /// ```
    /// use std::time::Duration;
    /// use vfio_core::wire::abi::pci_irq;
    /// use vfio_core::device::Device;
    /// use vfio_core::device::irq::{IrqError, Waker};
    /// use vfio_core::sys::{Errno, Sys};
    ///
    /// fn serve<S: Sys>(device: &Device<S>, waker: &Waker<&Device<S>>) -> Result<(), Errno> {
    ///     let Ok(vectors) = device.vectors::<4>(pci_irq::MSIX) else {
    ///         return Err(Errno::EIO);
    ///     };
    ///     while !waker.take()? {
    ///         match vectors.wait_any_or(waker, Duration::from_secs(1))? {
    ///             Some(vector) => println!("{vector} occurred {} times", vectors.take(vector)?),
    ///             None => println!("nothing for a second, or it is time to end"),
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// What waiting returns.
    pub fn wait_any_or<W>(
        &self,
        waker: &Waker<W>,
        timeout: Duration,
    ) -> Result<Option<usize>, Errno>
    where
        W: DeviceHandle<Sys = D::Sys>,
    {
        self.wait_among(Some(&waker.event), timeout)
    }

    /// Waits for any of the events, or for one more.
    fn wait_among(
        &self,
        other: Option<&<D::Sys as Sys>::Event>,
        timeout: Duration,
    ) -> Result<Option<usize>, Errno> {
        let sys = self.device.sys();
        let mut all = heapless::Vec::<_, EVENTS_MOST>::new();
        for event in self.events.iter().chain(other) {
            // There is room for all of them.
            let _ = all.push(event);
        }
        if !sys.events_wait(&all, timeout)? {
            return Ok(None);
        }
        for (vector, event) in self.events.iter().enumerate() {
            if sys.events_wait(&[event], Duration::ZERO)? {
                return Ok(Some(vector));
            }
        }
        Ok(None)
    }

    /// Returns how often the interrupt `vector` occurred since it was last asked.
    ///
    /// # Errors
    /// `EINVAL` where there is no such vector; what reading returns.
    pub fn take(&self, vector: usize) -> Result<u64, Errno> {
        let event = self.event(vector).ok_or(Errno::EINVAL)?;
        self.device.sys().event_take(event)
    }

    /// Returns the event of a vector, for a loop of the caller's own.
    #[must_use]
    pub fn event(&self, vector: usize) -> Option<&<D::Sys as Sys>::Event> {
        self.events.get(vector)
    }

    /// Lets the next interrupt through, once the device was told that the last one was seen:
    /// INTx is masked whenever it occurs, and the others never are.
    ///
    /// # Errors
    /// [`IrqError`]
    pub fn rearm(&self) -> Result<(), IrqError> {
        if self.index == pci_irq::INTX {
            self.unmask()
        } else {
            Ok(())
        }
    }

    /// Lets interrupts through again that were masked.
    ///
    /// # Errors
    /// [`IrqError`]
    pub fn unmask(&self) -> Result<(), IrqError> {
        self.device
            .set_irqs(self.index, 0, Action::Unmask, &Data::All(1), &mut [0; HEAD])
    }
}

impl<D: DeviceHandle> Waker<D> {
    /// Makes a waker that was not woken.
    ///
    /// # Errors
    /// What making an event returns.
    pub fn new(device: D) -> Result<Self, Errno> {
        let event = device.sys().event()?;
        Ok(Self { device, event })
    }

    /// Wakes whoever waits, or is about to, until [`Waker::take`].
    ///
    /// # Errors
    /// What signalling an event returns.
    pub fn wake(&self) -> Result<(), Errno> {
        self.device.sys().event_signal(&self.event)
    }

    /// Tells whether it was woken since it was last asked.
    ///
    /// # Errors
    /// What reading an event returns.
    pub fn take(&self) -> Result<bool, Errno> {
        let count = self.device.sys().event_take(&self.event)?;
        Ok(count > 0)
    }

    /// Returns the event, for a loop of the caller's own.
    pub const fn event(&self) -> &<D::Sys as Sys>::Event {
        &self.event
    }
}

impl<D: DeviceHandle, const N: usize> Drop for Vectors<D, N> {
    fn drop(&mut self) {
        // Closing the device disables them as well; nothing more can be done here.
        let _ = self.device.disable_irqs(self.index);
        self.device.disclaim(self.index);
    }
}

impl<D: DeviceHandle, const N: usize> fmt::Debug for Vectors<D, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vectors")
            .field("index", &self.index)
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

impl<D: DeviceHandle> fmt::Debug for Waker<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waker")
            .field("event", &self.event)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for IrqError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSmall { needed } => {
                write!(f, "the request needs a buffer of {needed} bytes")
            }
            Self::Claimed { index } => {
                write!(f, "the interrupts of index {index} have an owner already")
            }
            Self::Only { available } => {
                write!(
                    f,
                    "only {available} of the interrupts can be had, and none is enabled"
                )
            }
            Self::Errno(errno) => write!(f, "the interrupts can't be set: {errno}"),
        }
    }
}

impl core::error::Error for IrqError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::TooSmall { .. } | Self::Claimed { .. } | Self::Only { .. } => None,
            Self::Errno(errno) => Some(errno),
        }
    }
}

#[cfg(feature = "defmt")]
impl<E> defmt::Format for Data<'_, E> {
    fn format(&self, f: defmt::Formatter<'_>) {
        match self {
            Self::All(count) => defmt::write!(f, "All({})", count),
            Self::Bools(bools) => defmt::write!(f, "Bools({})", bools),
            Self::Events(events) => defmt::write!(f, "Events({})", events.len()),
        }
    }
}

#[cfg(feature = "defmt")]
impl<D: DeviceHandle, const N: usize> defmt::Format for Vectors<D, N> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Vectors({} of index {})", N, self.index);
    }
}

#[cfg(feature = "defmt")]
impl<D: DeviceHandle> defmt::Format for Waker<D> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Waker");
    }
}
