//! Replies, checked against what was asked, and written.

use core::fmt;

use zerocopy::{FromBytes, IntoBytes};

use super::command::{counted, head, truncated};
use super::{
    CommandId, DmaAccess, DmaUnmap, HEADER_LEN, Header, HeaderFlags, Message, MessageError,
    MessageType, NoRoom, RegionAccess,
};
use crate::wire::errno::Errno;

/// Why a command was not answered as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ReplyError {
    /// The other side refuses.
    Refused(Errno),
    /// It answers another command, or the command of another id. Which reply is whose can't be
    /// told any more.
    Mismatched {
        /// The id.
        id: u16,
        /// The command.
        command: CommandId,
    },
    /// The answer breaks the rules.
    Malformed(MessageError),
}

/// The reply of `DMA_WRITE`, by which the client says how many bytes it took.
///
/// The specification has a count of 4 bytes, and libvfio-user and QEMU one of 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DmaWritten {
    /// Where the device found the memory.
    pub address: u64,
    /// How many bytes were written.
    pub count: u64,
}

impl<'a> Message<'a> {
    /// Returns the body of the reply to the command `command` with the id `id`.
    ///
    /// # Errors
    /// [`ReplyError`]
    pub fn answer(&self, id: u16, command: CommandId) -> Result<&'a [u8], ReplyError> {
        let header = self.header;
        if header.message_type() != Some(MessageType::Reply) {
            let flags = header.flags.bits();
            return Err(ReplyError::Malformed(MessageError::Type { flags }));
        }
        if (header.id, header.command) != (id, command) {
            return Err(ReplyError::Mismatched {
                id: header.id,
                command: header.command,
            });
        }
        match header.failure() {
            Some(errno) => Err(ReplyError::Refused(errno)),
            None => Ok(self.body),
        }
    }
}

impl RegionAccess {
    /// Returns the data in the body of the reply to `REGION_READ`: as many as were asked for.
    ///
    /// # Errors
    /// [`MessageError`]
    pub fn data<'a>(&self, body: &'a [u8]) -> Result<&'a [u8], MessageError> {
        let (access, data): (Self, _) = head(body)?;
        self.same(&access)?;
        counted(data, access.count.into())
    }

    /// Checks the body of the reply to `REGION_WRITE`: all was written.
    ///
    /// # Errors
    /// [`MessageError`]
    pub fn check_written(&self, body: &[u8]) -> Result<(), MessageError> {
        self.same(&head::<Self>(body)?.0)
    }

    fn same(&self, other: &Self) -> Result<(), MessageError> {
        let fields = [
            (16, self.offset == other.offset),
            (24, self.region == other.region),
            (28, self.count == other.count),
        ];
        all(&fields)
    }
}

impl DmaAccess {
    /// Returns the data in the body of the reply to `DMA_READ`: as many as were asked for.
    ///
    /// # Errors
    /// [`MessageError`]
    pub fn data<'a>(&self, body: &'a [u8]) -> Result<&'a [u8], MessageError> {
        let (access, data): (Self, _) = head(body)?;
        let fields = [
            (16, self.address == access.address),
            (24, self.count == access.count),
        ];
        all(&fields)?;
        counted(data, access.count)
    }
}

impl DmaWritten {
    /// Reads the body of the reply to `DMA_WRITE`.
    ///
    /// # Errors
    /// [`MessageError::Truncated`]
    pub fn parse(body: &[u8]) -> Result<Self, MessageError> {
        if let Ok((DmaAccess { address, count }, _)) = DmaAccess::read_from_prefix(body) {
            return Ok(Self { address, count });
        }
        let short = (u64::read_from_prefix(body).ok())
            .and_then(|(address, rest)| Some((address, u32::read_from_prefix(rest).ok()?.0)));
        match short {
            Some((address, count)) => Ok(Self {
                address,
                count: count.into(),
            }),
            None => Err(truncated(body, 12)),
        }
    }

    /// Checks that all of `access` was written.
    ///
    /// # Errors
    /// [`MessageError::Field`]
    pub fn check(&self, access: &DmaAccess) -> Result<(), MessageError> {
        all(&[
            (16, self.address == access.address),
            (24, self.count == access.count),
        ])
    }
}

impl DmaUnmap {
    /// Reads the body of the reply to `DMA_UNMAP`, which says what was unmapped.
    ///
    /// # Errors
    /// [`MessageError`]
    pub fn parse_reply(body: &[u8]) -> Result<Self, MessageError> {
        Ok(head(body)?.0)
    }
}

/// Writes the reply to the command of the header `to`, with `parts` as its body; returns its
/// length.
///
/// # Errors
/// [`NoRoom`] where `out` is too short; nothing was written.
pub fn reply(out: &mut [u8], to: &Header, parts: &[&[u8]]) -> Result<usize, NoRoom> {
    let header = Header {
        id: to.id,
        command: to.command,
        flags: HeaderFlags::REPLY,
        ..Header::default()
    };
    header.emit(out, parts)
}

/// Makes the reply that refuses the command of the header `to`: a header alone.
#[must_use]
pub fn error_reply(to: &Header, errno: Errno) -> [u8; HEADER_LEN] {
    let header = Header {
        id: to.id,
        command: to.command,
        // Its own size.
        size: 16,
        flags: HeaderFlags::REPLY | HeaderFlags::ERROR,
        error: u32::try_from(errno.0).unwrap_or_default(),
    };
    let mut out = [0; HEADER_LEN];
    for (to, from) in out.iter_mut().zip(header.as_bytes()) {
        *to = *from;
    }
    out
}

/// Checks that each field, named by its offset, is as it should be.
fn all(fields: &[(u32, bool)]) -> Result<(), MessageError> {
    match fields.iter().find(|(_, is_same)| !is_same) {
        Some((offset, _)) => Err(MessageError::Field { offset: *offset }),
        None => Ok(()),
    }
}

impl From<MessageError> for ReplyError {
    fn from(error: MessageError) -> Self {
        Self::Malformed(error)
    }
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(errno) => errno.fmt(f),
            Self::Mismatched { id, command } => {
                write!(
                    f,
                    "a reply to {command} with the id {id}, which was not due"
                )
            }
            Self::Malformed(error) => write!(f, "malformed reply: {error}"),
        }
    }
}

impl core::error::Error for ReplyError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Refused(errno) => Some(errno),
            Self::Malformed(error) => Some(error),
            Self::Mismatched { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    const ACCESS: RegionAccess = RegionAccess {
        offset: 8,
        region: 2,
        count: 4,
    };

    fn message(flags: u32, error: u32, body: &[u8]) -> Message<'_> {
        Message {
            header: Header {
                id: 7,
                command: CommandId::REGION_READ,
                flags: HeaderFlags::from_bits_retain(flags),
                error,
                ..Header::default()
            },
            body,
        }
    }

    #[test]
    fn only_the_reply_that_is_due_is_an_answer() {
        let read = CommandId::REGION_READ;
        assert_eq!(message(1, 0, &[9]).answer(7, read), Ok(&[9][..]));
        let refused = message(0x21, 13, &[9]).answer(7, read);
        assert_eq!(refused, Err(ReplyError::Refused(Errno::EACCES)));
        for (id, command) in [(8, read), (7, CommandId::REGION_WRITE)] {
            let mismatched = ReplyError::Mismatched {
                id: 7,
                command: read,
            };
            assert_eq!(message(1, 0, &[]).answer(id, command), Err(mismatched));
        }
        for flags in [0, 0x20, 2, 3] {
            let error = MessageError::Type { flags };
            let malformed = ReplyError::Malformed(error);
            assert_eq!(message(flags, 0, &[]).answer(7, read), Err(malformed));
        }
    }

    #[test]
    fn data_of_a_read_are_those_that_were_asked_for() {
        let body =
            |access: RegionAccess, data: &[u8]| -> Vec<u8> { [access.as_bytes(), data].concat() };
        assert_eq!(ACCESS.data(&body(ACCESS, b"data")), Ok(&b"data"[..]));
        let other = |access| ACCESS.data(&body(access, b"data")).unwrap_err();
        let field = |offset| MessageError::Field { offset };
        assert_eq!(
            other(RegionAccess {
                offset: 0,
                ..ACCESS
            }),
            field(16)
        );
        assert_eq!(
            other(RegionAccess {
                region: 0,
                ..ACCESS
            }),
            field(24)
        );
        assert_eq!(other(RegionAccess { count: 5, ..ACCESS }), field(28));
        for data in [&b"dat"[..], b"data more"] {
            let error = MessageError::Data {
                offset: 32,
                count: 4,
                len: u32::try_from(data.len()).unwrap(),
            };
            assert_eq!(ACCESS.data(&body(ACCESS, data)), Err(error));
        }
        let truncated = MessageError::Truncated { len: 31, min: 32 };
        assert_eq!(ACCESS.data(&[0; 15]), Err(truncated));
        assert_eq!(ACCESS.check_written(&body(ACCESS, b"")), Ok(()));
    }

    #[test]
    fn what_memory_took_is_said_in_four_bytes_or_in_eight() {
        let access = DmaAccess {
            address: 0x1000,
            count: 4,
        };
        let short = [&0x1000_u64.to_ne_bytes()[..], &4_u32.to_ne_bytes()].concat();
        for body in [&short[..], access.as_bytes()] {
            let written = DmaWritten::parse(body).unwrap();
            assert_eq!(written.check(&access), Ok(()));
            let more = DmaAccess { count: 5, ..access };
            assert_eq!(
                written.check(&more),
                Err(MessageError::Field { offset: 24 })
            );
        }
        let truncated = MessageError::Truncated { len: 27, min: 28 };
        assert_eq!(DmaWritten::parse(&short[..11]), Err(truncated));
    }

    #[test]
    fn a_refusal_is_a_header_alone() {
        let command = message(0, 0, &[]).header;
        let refusal = error_reply(&command, Errno::EINVAL);
        let message = Message::read(&refusal).unwrap();
        assert_eq!((message.header.size, message.body.len()), (16, 0));
        let answer = message.answer(7, CommandId::REGION_READ);
        assert_eq!(answer, Err(ReplyError::Refused(Errno::EINVAL)));
    }
}
