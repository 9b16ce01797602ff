//! Network cards below smoltcp.

use core::fmt;

use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

use super::checksum::Transport;
use super::{FrameChecksum, Nic};

/// A card as a device of smoltcp's, for frames of up to `FRAME` bytes.
///
/// A frame is copied once between the card's memory and memory of its own, which smoltcp reads and
/// writes. Checksums of TCP and UDP are left to a card that computes them; what it did not check is
/// checked here, but for fragments.
///
/// smoltcp hears of no errors: [`Phy::flush`] returns them. Call it after each poll of an
/// interface: what was sent is given to the card then, all at once.
///
/// ```
/// use smoltcp::iface::{Interface, SocketSet};
/// use smoltcp::time::Instant;
/// use vfio_drivers::nic::{Nic, Phy};
///
/// fn poll<N: Nic>(
///     interface: &mut Interface,
///     phy: &mut Phy<N, 1514>,
///     sockets: &mut SocketSet<'_>,
///     now: Instant,
/// ) -> Result<(), N::Error> {
///     interface.poll(now, phy, sockets);
///     phy.flush()
/// }
/// ```
pub struct Phy<N: Nic, const FRAME: usize> {
    nic: N,
    received: [u8; FRAME],
    sent: [u8; FRAME],
    /// What went wrong since it was last asked.
    error: Option<N::Error>,
    /// Frames whose checksum was wrong.
    damaged: u64,
}

/// A frame that came.
#[derive(Debug)]
pub struct Incoming<'p> {
    frame: &'p [u8],
}

/// A frame that is to be sent.
pub struct Outgoing<'p, N: Nic> {
    nic: &'p mut N,
    frame: &'p mut [u8],
    error: &'p mut Option<N::Error>,
}

impl<N: Nic, const FRAME: usize> Phy<N, FRAME> {
    /// Puts a card below smoltcp.
    pub const fn new(nic: N) -> Self {
        Self {
            nic,
            received: [0; FRAME],
            sent: [0; FRAME],
            error: None,
            damaged: 0,
        }
    }

    /// Returns the card.
    pub const fn nic(&mut self) -> &mut N {
        &mut self.nic
    }

    /// Gives the card what was sent, and returns what went wrong since it was last called.
    ///
    /// # Errors
    /// What the card returned.
    pub fn flush(&mut self) -> Result<(), N::Error> {
        match self.error.take() {
            Some(error) => Err(error),
            None => self.nic.flush(),
        }
    }

    /// Returns how many frames were dropped because their checksum was wrong.
    #[must_use]
    pub const fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Keeps an error for [`Phy::flush`]: the first one tells most.
    fn kept<T>(error: &mut Option<N::Error>, result: Result<T, N::Error>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(new) => {
                error.get_or_insert(new);
                None
            }
        }
    }

    /// Tells whether the card has room for a frame.
    fn has_room(&mut self) -> bool {
        let has_room = self.nic.has_room();
        Self::kept(&mut self.error, has_room) == Some(true)
    }

    /// Copies the next frame that is whole, and returns its length.
    fn next_frame(&mut self) -> Option<usize> {
        loop {
            let received = self.nic.receive(&mut self.received);
            let received = Self::kept(&mut self.error, received)??;
            let is_checked_here = self.nic.checksums().receive;
            let frame = self.received.get(..received.len)?;
            if received.checksum != FrameChecksum::Unknown
                || !is_checked_here
                || Transport::find(frame).is_none_or(|transport| transport.is_right(frame))
            {
                return Some(received.len);
            }
            self.damaged = self.damaged.wrapping_add(1);
        }
    }
}

impl<N: Nic, const FRAME: usize> Device for Phy<N, FRAME> {
    type RxToken<'p>
        = Incoming<'p>
    where
        Self: 'p;
    type TxToken<'p>
        = Outgoing<'p, N>
    where
        Self: 'p;

    fn receive(&mut self, _: Instant) -> Option<(Incoming<'_>, Outgoing<'_, N>)> {
        // What comes may be answered at once.
        if !self.has_room() {
            return None;
        }
        let len = self.next_frame()?;
        let incoming = Incoming {
            frame: self.received.get(..len)?,
        };
        let outgoing = Outgoing {
            nic: &mut self.nic,
            frame: &mut self.sent,
            error: &mut self.error,
        };
        Some((incoming, outgoing))
    }

    fn transmit(&mut self, _: Instant) -> Option<Outgoing<'_, N>> {
        self.has_room().then_some(Outgoing {
            nic: &mut self.nic,
            frame: &mut self.sent,
            error: &mut self.error,
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.nic.longest_frame().min(FRAME);
        let checksums = self.nic.checksums();
        let left = match (checksums.transmit, checksums.receive) {
            (false, false) => Checksum::Both,
            (false, true) => Checksum::Tx,
            (true, false) => Checksum::Rx,
            (true, true) => Checksum::None,
        };
        capabilities.checksum.tcp = left;
        capabilities.checksum.udp = left;
        capabilities
    }
}

impl RxToken for Incoming<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.frame)
    }
}

impl<N: Nic> TxToken for Outgoing<'_, N> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        // smoltcp's frames are no longer than the capabilities say.
        let frame = self.frame.get_mut(..len).unwrap_or_default();
        let result = f(frame);
        let mut partial = None;
        if self.nic.checksums().transmit {
            partial = Transport::find(frame).and_then(|transport| transport.prepare(frame));
        }
        if let Err(error) = self.nic.send(frame, partial) {
            self.error.get_or_insert(error);
        }
        result
    }
}

impl<N: Nic, const FRAME: usize> fmt::Debug for Phy<N, FRAME> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Phy")
            .field("mac", &self.nic.mac())
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl<N: Nic> fmt::Debug for Outgoing<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").finish_non_exhaustive()
    }
}
