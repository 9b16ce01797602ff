//! The version: what both sides speak, and what they can.

use heapless::Vec;
use zerocopy::{FromBytes, IntoBytes};

use super::json::{DEPTH, Json, JsonFault, Token};
use super::{HEADER_LEN, MessageError, VersionHead};

/// A version of the protocol, and what its speaker can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Version {
    /// 0 in all that is known here.
    pub major: u16,
    /// The newest that is spoken: who answers says no higher one than was proposed.
    pub minor: u16,
    /// What the speaker can.
    pub capabilities: Capabilities,
}

/// What one side can. The default is what holds of who says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Capabilities {
    /// How many descriptors may come beside a message.
    pub max_msg_fds: u64,
    /// How many bytes of a region or of memory a message may move.
    pub max_data_xfer_size: u64,
    /// How many mappings of memory there may be at a time.
    pub max_dma_maps: u64,
    /// A bit for each size, in bytes, of which mappings are made.
    pub pgsizes: u64,
    /// Whether several writes may come in one message.
    pub write_multiple: bool,
    /// How the pages that are written are told, where they are.
    pub migration: Option<Migration>,
    /// A second socket, for what the server asks.
    pub twin_socket: TwinSocket,
}

/// How pages that are written are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Migration {
    /// The size of a page in bytes.
    pub pgsize: u64,
    /// The longest bitmap, in bytes; none where it was not said.
    pub max_bitmap_size: Option<u64>,
}

/// A second socket, for what the server asks of the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TwinSocket {
    /// Whether it is known.
    pub supported: bool,
    /// Which of the descriptors beside the reply it is.
    pub fd_index: Option<u64>,
}

/// What is wrong with a version. Offsets are bytes from the start of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum VersionError {
    /// The text does not end in NUL, or goes on behind one.
    Unterminated {
        /// Where that is seen.
        offset: u32,
    },
    /// The text is no JSON.
    Json {
        /// Where that is seen.
        offset: u32,
        /// Why.
        fault: JsonFault,
    },
    /// A capability is of another kind than the specification says.
    Value {
        /// Where it ends.
        offset: u32,
    },
    /// Another protocol is spoken.
    Major(u16),
}

/// Which object of the text is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Capabilities,
    Migration,
    TwinSocket,
    Unknown,
}

/// Where the text begins.
const TEXT: usize = HEADER_LEN + size_of::<VersionHead>();

impl Version {
    /// Reads what follows the header of a `VERSION` message, command or reply.
    ///
    /// Keys that are not known are skipped. Without a text the capabilities are the defaults.
    ///
    /// # Errors
    /// [`MessageError`]
    pub fn parse(body: &[u8]) -> Result<Self, MessageError> {
        let Ok((head, text)) = VersionHead::read_from_prefix(body) else {
            return Err(super::command::truncated(body, size_of::<VersionHead>()));
        };
        if head.major != 0 {
            return Err(VersionError::Major(head.major).into());
        }
        let capabilities = match text {
            [] => Capabilities::default(),
            text => Capabilities::parse(terminated(text)?)?,
        };
        Ok(Self {
            major: head.major,
            minor: head.minor,
            capabilities,
        })
    }

    /// Writes what follows the header, and returns its length.
    ///
    /// What `out` is too short for is left out, the last capabilities first: some clients take no
    /// reply that is longer than what they sent. What is left out holds by default.
    #[must_use]
    pub fn emit(&self, out: &mut [u8]) -> usize {
        let head = VersionHead {
            major: self.major,
            minor: self.minor,
        };
        let numbers = self.capabilities.numbers();
        // Without any number there is no text.
        (0..=numbers.len())
            .rev()
            .find_map(|count| {
                let mut text = Text { out, len: 0 };
                text.put(head.as_bytes())?;
                text.capabilities(numbers.get(..count).unwrap_or_default())?;
                Some(text.len)
            })
            .unwrap_or(0)
    }
}

impl Capabilities {
    /// Reads JSON.
    fn parse(text: &[u8]) -> Result<Self, VersionError> {
        let mut this = Self::default();
        let mut json = Json::new(text);
        let mut places: Vec<Place, DEPTH> = Vec::new();
        let mut key: &[u8] = &[];
        loop {
            let token = json.next();
            let offset = offset(json.at());
            let Some(token) = token.map_err(|fault| VersionError::Json { offset, fault })? else {
                return Ok(this);
            };
            let place = places.last().copied();
            match token {
                Token::Key(next) => {
                    key = next;
                    continue;
                }
                Token::End => {
                    let _ = places.pop();
                }
                Token::Object => {
                    // The reader nests no deeper.
                    let _ = places.push(Place::below(place, key));
                }
                Token::Array | Token::Whole(_) | Token::Bool(_) | Token::Other => {
                    let is_known = place.is_some_and(|place| this.set(place, key, token).is_none());
                    if is_known || place.is_none() {
                        return Err(VersionError::Value { offset });
                    }
                    if token == Token::Array {
                        let _ = places.push(Place::Unknown);
                    }
                }
            }
            key = &[];
        }
    }

    /// Sets a capability; none where its value is of another kind.
    fn set(&mut self, place: Place, key: &[u8], token: Token<'_>) -> Option<()> {
        let whole = match token {
            Token::Whole(number) => Some(number),
            _ => None,
        };
        let flag = match token {
            Token::Bool(flag) => Some(flag),
            _ => None,
        };
        match (place, key) {
            (Place::Root, b"capabilities")
            | (Place::Capabilities, b"migration" | b"twin_socket") => return None,
            (Place::Capabilities, b"max_msg_fds") => self.max_msg_fds = whole?,
            (Place::Capabilities, b"max_data_xfer_size") => self.max_data_xfer_size = whole?,
            (Place::Capabilities, b"max_dma_maps") => self.max_dma_maps = whole?,
            (Place::Capabilities, b"pgsizes") => self.pgsizes = whole?,
            (Place::Capabilities, b"write_multiple") => self.write_multiple = flag?,
            (Place::Migration, b"pgsize") => self.migration().pgsize = whole?,
            (Place::Migration, b"max_bitmap_size") => {
                self.migration().max_bitmap_size = Some(whole?);
            }
            (Place::TwinSocket, b"supported") => self.twin_socket.supported = flag?,
            (Place::TwinSocket, b"fd_index") => self.twin_socket.fd_index = Some(whole?),
            _ => (),
        }
        Some(())
    }

    fn migration(&mut self) -> &mut Migration {
        self.migration.get_or_insert_default()
    }

    /// Returns the numbers that are said, the most important first.
    const fn numbers(&self) -> [(&'static [u8], u64); 4] {
        [
            (b"max_msg_fds", self.max_msg_fds),
            (b"max_data_xfer_size", self.max_data_xfer_size),
            (b"max_dma_maps", self.max_dma_maps),
            (b"pgsizes", self.pgsizes),
        ]
    }
}

impl Default for Capabilities {
    /// Returns what the specification says.
    fn default() -> Self {
        Self {
            max_msg_fds: 1,
            max_data_xfer_size: 1 << 20,
            max_dma_maps: 65535,
            pgsizes: 4096,
            write_multiple: false,
            migration: None,
            twin_socket: TwinSocket::default(),
        }
    }
}

impl Place {
    /// Returns the object that `key` of the object `above` is.
    fn below(above: Option<Self>, key: &[u8]) -> Self {
        match (above, key) {
            (None, _) => Self::Root,
            (Some(Self::Root), b"capabilities") => Self::Capabilities,
            (Some(Self::Capabilities), b"migration") => Self::Migration,
            (Some(Self::Capabilities), b"twin_socket") => Self::TwinSocket,
            _ => Self::Unknown,
        }
    }
}

impl VersionError {
    /// Returns the offset at which the message goes wrong.
    #[must_use]
    pub const fn offset(&self) -> u32 {
        match *self {
            Self::Major(_) => 16,
            Self::Unterminated { offset } | Self::Json { offset, .. } | Self::Value { offset } => {
                offset
            }
        }
    }
}

/// A text that is written.
struct Text<'b> {
    out: &'b mut [u8],
    len: usize,
}

impl Text<'_> {
    /// Writes JSON of `numbers`; none where it does not fit.
    fn capabilities(&mut self, numbers: &[(&[u8], u64)]) -> Option<()> {
        let mut before: &[u8] = b"{\"capabilities\":{\"";
        for (name, number) in numbers {
            for part in [before, name, b"\":"] {
                self.put(part)?;
            }
            self.number(*number)?;
            before = b",\"";
        }
        if numbers.is_empty() {
            return Some(());
        }
        self.put(b"}}\0")
    }

    /// Writes a number, which has at most 20 digits.
    fn number(&mut self, number: u64) -> Option<()> {
        let mut digits = [0_u8; 20];
        let mut slots = digits.iter_mut().rev();
        let mut rest = number;
        loop {
            let digit = u8::try_from(rest % 10).ok()?;
            *slots.next()? = digit.checked_add(b'0')?;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        let start = slots.len();
        self.put(digits.get(start..)?)
    }

    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len.checked_add(bytes.len())?;
        let room = self.out.get_mut(self.len..end)?;
        for (to, from) in room.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.len = end;
        Some(())
    }
}

/// Returns the text before its NUL, which must be its last byte.
fn terminated(text: &[u8]) -> Result<&[u8], VersionError> {
    let nul = text.iter().position(|byte| *byte == 0);
    match (text, nul) {
        ([before @ .., 0], Some(at)) if at == before.len() => Ok(before),
        (_, at) => Err(VersionError::Unterminated {
            offset: offset(at.unwrap_or(text.len())),
        }),
    }
}

/// Returns an offset in the text, from the start of the message.
fn offset(at: usize) -> u32 {
    u32::try_from(TEXT.saturating_add(at)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
