//! Network cards (Virtual I/O Device Specification 1.2, section 5.1).
//!
//! ```
//! use vfio_core::device::Device;
//! use vfio_core::dma::Dma;
//! use vfio_core::sys::Sys;
//! use vfio_drivers::nic::Nic as _;
//! use vfio_drivers::virtio::PciTransport;
//! use vfio_drivers::virtio::net::{Net, Options};
//!
//! /// Sends a frame, and tells how long the next one is that comes.
//! fn send<S: Sys>(
//!     device: &Device<S>,
//!     dma: &Dma<S, 64>,
//!     frame: &[u8],
//! ) -> Result<usize, Box<dyn std::error::Error>> {
//!     let transport = PciTransport::open(device, dma)?;
//!     // One pair of queues of 256 frames each.
//!     let mut net = Net::<_, 1, 256>::start(transport, Options::default())?;
//!     let mut pair = net.pair(0).ok_or("there is no pair of queues")?;
//!     pair.send(frame, None)?;
//!     pair.flush()?;
//!     let mut answer = vec![0; pair.longest_frame()];
//!     loop {
//!         if let Some(received) = pair.receive(&mut answer)? {
//!             return Ok(received.len);
//!         }
//!     }
//! }
//! ```

mod control;
pub mod features;
mod header;
mod pair;
mod receive;
mod slots;
mod start;
mod transmit;

use core::time::Duration;

pub use pair::Pair;

use super::device::Virtio;
use super::error::{Refusal, VirtioError};
use super::features::Features;
use super::transport::Transport;
use crate::nic::{Link, MacAddress};
use crate::state::State;
use control::{Command, Control};
use features::{CTRL_MAC_ADDR, CTRL_RX, STATUS};
use pair::Queues;

/// What is asked of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Options {
    /// The MSI-X vector of frames that come into the first pair of queues; each further pair has
    /// the next one. None where they are polled for.
    pub vector: Option<u16>,
    /// The MSI-X vector of changes of the configuration: the link went up or down.
    pub config_vector: Option<u16>,
    /// Features that are not to be used.
    pub without: Features,
    /// How long a command of the control queue may take.
    pub command: Duration,
}

/// A network card with up to `PAIRS` pairs of queues of up to `DEPTH` frames each.
///
/// It is reset on drop. Where nothing tells that it is, its memory is never given back.
#[derive(Debug)]
pub struct Net<T: Transport, const PAIRS: usize, const DEPTH: usize> {
    virtio: Virtio<T>,
    options: Options,
    facts: Facts,
    pairs: heapless::Vec<Queues<T::Dma, DEPTH>, PAIRS>,
    control: Option<Control<T::Dma>>,
    /// How many pairs the device could have.
    most_pairs: u16,
}

/// What a card says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Facts {
    mac: MacAddress,
    /// In bytes.
    longest_frame: usize,
}

/// The configuration of a card, in bytes from its start (section 5.1.4).
mod config {
    pub(super) const MAC: usize = 0;
    pub(super) const STATUS: usize = 6;
    pub(super) const MAX_VIRTQUEUE_PAIRS: usize = 8;
    pub(super) const MTU: usize = 10;
}

/// In the status: there is a link.
const LINK_UP: u16 = 1;

impl Default for Options {
    /// Returns a polled card with all features, and 1 second for a command.
    fn default() -> Self {
        Self {
            vector: None,
            config_vector: None,
            without: Features::default(),
            command: Duration::from_secs(1),
        }
    }
}

impl<T: Transport, const PAIRS: usize, const DEPTH: usize> Net<T, PAIRS, DEPTH> {
    /// Returns whether it runs.
    #[must_use]
    pub fn state(&self) -> State {
        self.virtio.state()
    }

    /// Returns what the device and the driver agreed on.
    #[must_use]
    pub const fn features(&self) -> Features {
        self.virtio.features()
    }

    /// Returns its address.
    #[must_use]
    pub const fn mac(&self) -> MacAddress {
        self.facts.mac
    }

    /// Returns the length of the longest frame in bytes, without its checksum.
    #[must_use]
    pub const fn longest_frame(&self) -> usize {
        self.facts.longest_frame
    }

    /// Asks whether there is a link. One that does not say has one.
    ///
    /// # Errors
    /// [`VirtioError::Access`], [`VirtioError::Gone`], [`VirtioError::Unsteady`]: it is stopped
    /// then. [`VirtioError::Stopped`]
    pub fn link(&self) -> Result<Link, VirtioError<T::Error>> {
        link(&self.virtio)
    }

    /// Returns how many pairs of queues there are.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.pairs.len()
    }

    /// Returns how many pairs of queues the device could have.
    #[must_use]
    pub const fn most_pairs(&self) -> u16 {
        self.most_pairs
    }

    /// Returns the pair of queues `index`, if there is one.
    #[must_use]
    pub fn pair(&mut self, index: usize) -> Option<Pair<'_, T, DEPTH>> {
        self.pairs_mut().nth(index)
    }

    /// Returns all pairs of queues, for several threads to use them.
    pub fn pairs_mut(&mut self) -> impl Iterator<Item = Pair<'_, T, DEPTH>> {
        let (virtio, facts) = (&self.virtio, &self.facts);
        self.pairs.iter_mut().map(move |queues| Pair {
            virtio,
            queues,
            facts,
        })
    }

    /// Tells the device into how many of the pairs of queues frames are to come.
    ///
    /// # Errors
    /// [`Refusal::Pairs`] for more than there are, [`Refusal::NotSupported`]; what commands
    /// return: [`VirtioError::Failed`], [`VirtioError::Timeout`]
    pub fn use_pairs(&mut self, count: u16) -> Result<(), VirtioError<T::Error>> {
        let most = u16::try_from(self.pairs.len()).unwrap_or(u16::MAX);
        if !(1..=most).contains(&count) {
            return Err(VirtioError::Request(Refusal::Pairs { most }));
        }
        if !self.features().contains(features::MQ) {
            // There is one, and it is in use.
            return Ok(());
        }
        self.command(Command::VQ_PAIRS_SET, &count.to_le_bytes())
    }

    /// Tells the device whether frames for anybody are wanted.
    ///
    /// # Errors
    /// As [`Net::use_pairs`].
    pub fn set_promiscuous(&mut self, is_so: bool) -> Result<(), VirtioError<T::Error>> {
        self.needs(CTRL_RX)?;
        self.command(Command::PROMISC, &[is_so.into()])
    }

    /// Tells the device whether frames for any group are wanted.
    ///
    /// # Errors
    /// As [`Net::use_pairs`].
    pub fn set_all_multicast(&mut self, is_so: bool) -> Result<(), VirtioError<T::Error>> {
        self.needs(CTRL_RX)?;
        self.command(Command::ALLMULTI, &[is_so.into()])
    }

    /// Gives the device another address.
    ///
    /// # Errors
    /// As [`Net::use_pairs`].
    pub fn set_mac(&mut self, mac: MacAddress) -> Result<(), VirtioError<T::Error>> {
        self.needs(CTRL_MAC_ADDR)?;
        self.command(Command::MAC_ADDR_SET, &mac.0)?;
        self.facts.mac = mac;
        Ok(())
    }

    fn needs(&self, feature: Features) -> Result<(), VirtioError<T::Error>> {
        if self.features().contains(feature) {
            Ok(())
        } else {
            Err(VirtioError::Request(Refusal::NotSupported))
        }
    }

    fn command(&mut self, command: Command, data: &[u8]) -> Result<(), VirtioError<T::Error>> {
        let Some(control) = &mut self.control else {
            return Err(VirtioError::Request(Refusal::NotSupported));
        };
        control.command(&self.virtio, command, data, self.options.command)
    }

    /// Checks that the device says that it runs: do so every now and then while polling.
    ///
    /// # Errors
    /// [`VirtioError::NeedsReset`], [`VirtioError::Gone`], [`VirtioError::Access`]: it is stopped
    /// then. [`VirtioError::Stopped`]
    pub fn check(&self) -> Result<(), VirtioError<T::Error>> {
        self.virtio.check()
    }

    /// Resets the device. Whether it is known to be reset, [`Net::state`] tells.
    pub fn stop(&mut self) {
        self.virtio.stop();
    }
}

/// Asks whether there is a link.
fn link<T: Transport>(virtio: &Virtio<T>) -> Result<Link, VirtioError<T::Error>> {
    virtio.running()?;
    if !virtio.features().contains(STATUS) {
        return Ok(Link::Up);
    }
    let status = virtio.config(|transport| transport.read_config::<u16>(config::STATUS));
    let status = status.map_err(|error| virtio.fail(error))?;
    Ok(if status & LINK_UP != 0 {
        Link::Up
    } else {
        Link::Down
    })
}

impl<T: Transport, const PAIRS: usize, const DEPTH: usize> Drop for Net<T, PAIRS, DEPTH> {
    fn drop(&mut self) {
        self.virtio.stop();
        if self.state() == State::Lost {
            // The device may still write it.
            core::mem::forget(core::mem::take(&mut self.pairs));
            core::mem::forget(self.control.take());
        }
    }
}
