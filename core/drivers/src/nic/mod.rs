//! What network cards have in common: frames in, frames out, a link and an address.

#[cfg(feature = "smoltcp")]
mod checksum;
#[cfg(feature = "smoltcp")]
mod phy;

use core::fmt;

#[cfg(feature = "smoltcp")]
pub use phy::{Incoming, Outgoing, Phy};

/// A network card, or a pair of queues of one.
///
/// Frames are Ethernet frames (IEEE 802.3) without their checksum. Sending and receiving take no
/// more than one copy of a frame, and tell the device at the end of a batch ([`Nic::flush`]).
///
/// ```
/// use vfio_drivers::nic::{FrameChecksum, Nic};
///
/// /// Sends back what comes, for as long as something comes.
/// fn echo<N: Nic>(nic: &mut N, frame: &mut [u8]) -> Result<u32, N::Error> {
///     let mut count = 0;
///     while let Some(received) = nic.receive(frame)? {
///         let Some(frame) = frame.get(..received.len) else {
///             continue;
///         };
///         if nic.send(frame, None)? {
///             count += 1;
///         }
///     }
///     nic.flush()?;
///     Ok(count)
/// }
/// ```
pub trait Nic {
    /// How the card can fail. It is stopped then, or the frame was not taken.
    type Error: core::error::Error + 'static;

    /// Returns its address.
    fn mac(&self) -> MacAddress;

    /// Asks whether it has a link.
    ///
    /// # Errors
    /// Where the device fails.
    fn link(&mut self) -> Result<Link, Self::Error>;

    /// Returns the length of the longest frame in bytes.
    fn longest_frame(&self) -> usize;

    /// Returns which checksums it computes.
    fn checksums(&self) -> Checksums;

    /// Copies the next frame that came into `frame`, if one came. Frames that are longer than
    /// `frame` are dropped.
    ///
    /// # Errors
    /// Where the device fails.
    fn receive(&mut self, frame: &mut [u8]) -> Result<Option<Received>, Self::Error>;

    /// Tells whether there is room for a frame to be sent.
    ///
    /// # Errors
    /// Where the device fails.
    fn has_room(&mut self) -> Result<bool, Self::Error>;

    /// Puts a frame into the queue, for [`Nic::flush`] to send; whether there was room.
    ///
    /// With `partial` the card puts a checksum into it, where [`Checksums::transmit`] is so.
    ///
    /// # Errors
    /// Where the device fails, or the frame is too long or too short.
    fn send(&mut self, frame: &[u8], partial: Option<PartialChecksum>)
    -> Result<bool, Self::Error>;

    /// Sends what was put into the queue, and gives the device the memory of frames that were
    /// received.
    ///
    /// # Errors
    /// Where the device fails.
    fn flush(&mut self) -> Result<(), Self::Error>;
}

/// The address of a card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct MacAddress(pub [u8; 6]);

/// Whether there is a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Link {
    /// Frames can be sent.
    Up,
    /// Frames that are sent are lost.
    Down,
}

/// Which checksums of TCP and UDP a card computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Checksums {
    /// It puts them into frames that are sent.
    pub transmit: bool,
    /// It checks those of frames that are received, or need not be checked.
    pub receive: bool,
}

/// A frame that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Received {
    /// Its length in bytes.
    pub len: usize,
    /// What the card knows of its checksum.
    pub checksum: FrameChecksum,
}

/// What a card knows of the checksum of TCP or UDP in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum FrameChecksum {
    /// Nothing.
    Unknown,
    /// It is right.
    Valid,
    /// It is yet to be computed: the frame never was on a wire that could damage it.
    Partial(PartialChecksum),
}

/// A checksum that is yet to be computed: its place holds that of the pseudo-header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PartialChecksum {
    /// Where the bytes begin that it is of, to the end of the frame.
    pub start: u16,
    /// Where it goes, in bytes from there.
    pub offset: u16,
}

impl PartialChecksum {
    /// Tells whether a frame of `len` bytes has it.
    #[must_use]
    pub fn is_within(self, len: usize) -> bool {
        let place = usize::from(self.start).saturating_add(usize::from(self.offset));
        place.saturating_add(2) <= len
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}
