//! A stream of bytes, taken apart into messages.

use core::cell::Cell;
use core::fmt;

use zerocopy::FromBytes;

use super::{HEADER_LEN, Header};

/// Takes a stream apart into messages, in whichever pieces it arrives.
///
/// The buffer is the caller's, and no message may be longer than it. What arrives goes into
/// [`Frames::space`], [`Frames::fill`] says how much that was, and [`Frames::next`] returns what is
/// whole by then.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Frames<B> {
    buffer: B,
    /// Where the next message begins.
    start: usize,
    /// Where the bytes end that have arrived.
    end: usize,
}

/// A whole message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Message<'a> {
    /// Its header, whose size is that of the message.
    pub header: Header,
    /// What follows the header.
    pub body: &'a [u8],
}

/// A stream that can't be taken apart any further: where the next message begins is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum FrameError {
    /// A message is said to be shorter than its header.
    Short {
        /// Its size in bytes, as it says.
        size: u32,
    },
    /// A message is longer than the buffer.
    Long {
        /// Its size in bytes, as it says.
        size: u32,
        /// The length of the buffer.
        max: usize,
    },
    /// The buffer is shorter than a header.
    Buffer,
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Frames<B> {
    /// Makes a reader of messages that are no longer than `buffer`.
    #[must_use]
    pub const fn new(buffer: B) -> Self {
        Self {
            buffer,
            start: 0,
            end: 0,
        }
    }

    /// Returns where the next bytes go. It is empty where a message waits to be taken that fills
    /// the buffer.
    ///
    /// What was returned by [`Frames::next`] is forgotten.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start > 0 {
            let cells = Cell::from_mut(self.buffer.as_mut()).as_slice_of_cells();
            // Towards the start, from the first byte on: none is overwritten before it has moved.
            let kept = cells.get(self.start..self.end).unwrap_or_default();
            for (to, from) in cells.iter().zip(kept) {
                to.set(from.get());
            }
            self.end = kept.len();
            self.start = 0;
        }
        self.buffer.as_mut().get_mut(self.end..).unwrap_or_default()
    }

    /// Tells that `len` bytes have arrived in the [`Frames::space`], whose length it does not
    /// exceed.
    pub fn fill(&mut self, len: usize) {
        let most = self.buffer.as_ref().len();
        self.end = self.end.saturating_add(len).min(most);
    }

    /// Returns how many bytes are missing until the next message is whole, or its header: what
    /// can be read without reading into the message behind it.
    ///
    /// # Errors
    /// [`FrameError`], as [`Frames::next`] returns it.
    pub fn missing(&self) -> Result<usize, FrameError> {
        let there = self.waiting().len();
        let whole = self.size()?.unwrap_or(HEADER_LEN);
        Ok(whole.saturating_sub(there))
    }

    /// Tells whether a message has begun to arrive that is not whole.
    #[must_use]
    pub fn is_amid(&self) -> bool {
        self.end > self.start
    }

    /// Returns the next message where it is whole.
    ///
    /// # Errors
    /// [`FrameError`], and again for each call from then on.
    #[expect(
        clippy::should_implement_trait,
        reason = "a message borrows the reader, which no iterator can say"
    )]
    pub fn next(&mut self) -> Result<Option<Message<'_>>, FrameError> {
        let Some(size) = self.size()? else {
            return Ok(None);
        };
        let end = self.start.saturating_add(size);
        if end > self.end {
            return Ok(None);
        }
        let start = core::mem::replace(&mut self.start, end);
        let bytes = self.buffer.as_ref().get(start..end).unwrap_or_default();
        Ok(Message::read(bytes))
    }

    /// Returns the size of the next message, once its header has arrived.
    fn size(&self) -> Result<Option<usize>, FrameError> {
        let max = self.buffer.as_ref().len();
        if max < HEADER_LEN {
            return Err(FrameError::Buffer);
        }
        let Ok((Header { size, .. }, _)) = Header::read_from_prefix(self.waiting()) else {
            return Ok(None);
        };
        match usize::try_from(size) {
            Ok(whole) if whole < HEADER_LEN => Err(FrameError::Short { size }),
            Ok(whole) if whole <= max => Ok(Some(whole)),
            _ => Err(FrameError::Long { size, max }),
        }
    }

    /// Returns what has arrived and was not taken.
    fn waiting(&self) -> &[u8] {
        let arrived = self.buffer.as_ref().get(self.start..self.end);
        arrived.unwrap_or_default()
    }
}

impl<'a> Message<'a> {
    /// Takes bytes apart that are one message; none where they are no header.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (header, body) = Header::read_from_prefix(bytes).ok()?;
        Some(Self { header, body })
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { size } => write!(f, "a message of {size} bytes, of 16 at least"),
            Self::Long { size, max } => write!(f, "a message of {size} bytes, of {max} at most"),
            Self::Buffer => f.write_str("a buffer that is too short for a header"),
        }
    }
}

impl core::error::Error for FrameError {}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::super::{CommandId, HeaderFlags};
    use super::*;

    /// Returns a message of so many bytes behind its header, each of which is its id.
    fn message(id: u8, body: usize) -> Vec<u8> {
        let header = Header {
            id: id.into(),
            command: CommandId::REGION_READ,
            flags: HeaderFlags::REPLY,
            ..Header::default()
        };
        let mut out = std::vec![0; HEADER_LEN + body];
        header.emit(&mut out, &[&std::vec![id; body]]).unwrap();
        out
    }

    /// Feeds a stream in pieces of `step` bytes, and returns the ids and the lengths of the bodies.
    fn fed(stream: &[u8], step: usize) -> Vec<(u16, usize)> {
        let mut frames = Frames::new([0; 40]);
        let mut heard = Vec::new();
        let mut rest = stream;
        while !rest.is_empty() {
            let space = frames.space();
            let len = step.min(rest.len()).min(space.len());
            assert_ne!(len, 0, "the buffer is full, and nothing can be taken");
            space[..len].copy_from_slice(&rest[..len]);
            frames.fill(len);
            rest = &rest[len..];
            while let Some(message) = frames.next().unwrap() {
                let id = u8::try_from(message.header.id).unwrap();
                assert!(message.body.iter().all(|byte| *byte == id));
                heard.push((message.header.id, message.body.len()));
            }
        }
        assert!(!frames.is_amid());
        heard
    }

    #[test]
    fn messages_arrive_whole_however_the_stream_is_cut() {
        let stream = [message(1, 0), message(2, 24), message(3, 7), message(4, 0)].concat();
        for step in 1..=stream.len() {
            assert_eq!(fed(&stream, step), [(1, 0), (2, 24), (3, 7), (4, 0)]);
        }
    }

    #[test]
    fn what_is_missing_never_reaches_into_the_next_message() {
        let mut frames = Frames::new([0; 64]);
        assert_eq!(frames.missing(), Ok(16));
        let bytes = message(5, 9);
        for (at, byte) in bytes.iter().enumerate() {
            let expected = if at < 16 { 16 - at } else { 25 - at };
            assert_eq!(frames.missing(), Ok(expected));
            frames.space()[0] = *byte;
            frames.fill(1);
        }
        assert_eq!(frames.missing(), Ok(0));
        assert!(frames.next().unwrap().is_some());
        assert_eq!(frames.missing(), Ok(16));
    }

    #[test]
    fn a_size_that_can_not_be_ends_the_stream() {
        for (size, error) in [
            (0, FrameError::Short { size: 0 }),
            (15, FrameError::Short { size: 15 }),
            (41, FrameError::Long { size: 41, max: 40 }),
            (
                u32::MAX,
                FrameError::Long {
                    size: u32::MAX,
                    max: 40,
                },
            ),
        ] {
            let mut bytes = message(1, 0);
            bytes[4..8].copy_from_slice(&u32::to_ne_bytes(size));
            let mut frames = Frames::new([0; 40]);
            frames.space()[..16].copy_from_slice(&bytes);
            frames.fill(16);
            assert_eq!(frames.missing(), Err(error));
            assert_eq!(frames.next(), Err(error));
            assert_eq!(frames.next(), Err(error));
        }
        assert_eq!(Frames::new([0; 15]).next(), Err(FrameError::Buffer));
    }

    #[test]
    fn no_more_is_filled_than_there_is_room_for() {
        let mut frames = Frames::new([0; 40]);
        frames.fill(usize::MAX);
        assert_eq!(frames.space().len(), 0);
        assert_eq!(frames.next(), Err(FrameError::Short { size: 0 }));
    }
}
