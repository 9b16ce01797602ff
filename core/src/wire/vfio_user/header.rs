//! The header of a message.

use zerocopy::IntoBytes;

use super::NoRoom;
use crate::wire::errno::Errno;

ids! {
    /// What a message is about: `VFIO_USER_*` (libvfio-user's `vfio-user.h`).
    pub struct CommandId: u16 {
        /// Which version both sides speak, and what they can.
        VERSION = 1;
        /// Memory of the client for the device's use.
        DMA_MAP = 2;
        /// Takes memory back.
        DMA_UNMAP = 3;
        /// As `VFIO_DEVICE_GET_INFO`.
        DEVICE_GET_INFO = 4;
        /// As `VFIO_DEVICE_GET_REGION_INFO`.
        DEVICE_GET_REGION_INFO = 5;
        /// Descriptors by which parts of a region are written.
        DEVICE_GET_REGION_IO_FDS = 6;
        /// As `VFIO_DEVICE_GET_IRQ_INFO`.
        DEVICE_GET_IRQ_INFO = 7;
        /// As `VFIO_DEVICE_SET_IRQS`.
        DEVICE_SET_IRQS = 8;
        /// Reads a region.
        REGION_READ = 9;
        /// Writes a region.
        REGION_WRITE = 10;
        /// The device reads memory of the client.
        DMA_READ = 11;
        /// The device writes memory of the client.
        DMA_WRITE = 12;
        /// As `VFIO_DEVICE_RESET`.
        DEVICE_RESET = 13;
        /// Dirty pages, in versions that are gone.
        DIRTY_PAGES = 14;
        /// Several writes of regions at once.
        REGION_WRITE_MULTI = 15;
        /// As `VFIO_DEVICE_FEATURE`.
        DEVICE_FEATURE = 16;
        /// Reads the data of a migration.
        MIG_DATA_READ = 17;
        /// Writes the data of a migration.
        MIG_DATA_WRITE = 18;
    }
}

flags! {
    /// `VFIO_USER_F_*` (libvfio-user's `vfio-user.h`). The low four bits are a number, the
    /// [`MessageType`].
    pub struct HeaderFlags: u32 {
        /// The lowest bit of the type: a reply.
        REPLY = 1 << 0;
        /// The sender of a command wants no reply.
        NO_REPLY = 1 << 4;
        /// A reply that says why nothing was done.
        ERROR = 1 << 5;
    }
}

layout! {
    /// The header of a message: `struct vfio_user_header`.
    pub struct Header(16) {
        /// Chosen by who sends a command, and repeated in the reply.
        pub id: u16 => 0,
        /// What the message is about.
        pub command: CommandId => 2,
        /// Bytes of the whole message, the header among them.
        pub size: u32 => 4,
        /// Which kind of message it is.
        pub flags: HeaderFlags => 8,
        /// An error number, in a reply that has [`HeaderFlags::ERROR`].
        pub error: u32 => 12,
    }
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum MessageType {
    /// It asks something.
    Command,
    /// It answers a command.
    Reply,
}

/// The bits of the flags that are the type.
const TYPE_MASK: u32 = 0xf;

impl Header {
    /// Returns the type of the message; none where it is one of no version known.
    #[must_use]
    pub const fn message_type(&self) -> Option<MessageType> {
        match self.flags.bits() & TYPE_MASK {
            0 => Some(MessageType::Command),
            1 => Some(MessageType::Reply),
            _ => None,
        }
    }

    /// Tells whether the sender of the command waits for a reply.
    #[must_use]
    pub const fn wants_reply(&self) -> bool {
        !self.flags.contains(HeaderFlags::NO_REPLY)
    }

    /// Returns the error of a reply; `EIO` where it does not say which.
    #[must_use]
    pub fn failure(&self) -> Option<Errno> {
        let number = || i32::try_from(self.error).ok().filter(|number| *number > 0);
        self.flags
            .contains(HeaderFlags::ERROR)
            .then(|| number().map_or(Errno::EIO, Errno))
    }

    /// Writes a message of this header and `parts`, one after the other; returns its length.
    ///
    /// The size is that of what is written, whatever the header says.
    ///
    /// # Errors
    /// [`NoRoom`] where `out` is too short; nothing was written.
    pub fn emit(mut self, out: &mut [u8], parts: &[&[u8]]) -> Result<usize, NoRoom> {
        let len = parts.iter().fold(super::HEADER_LEN, |len, part| {
            len.saturating_add(part.len())
        });
        let no_room = NoRoom {
            needed: len,
            len: out.len(),
        };
        let room = out.get_mut(..len).ok_or(no_room)?;
        self.size = u32::try_from(len).map_err(|_| no_room)?;
        let mut rest = put(room, self.as_bytes());
        for part in parts {
            rest = put(rest, part);
        }
        Ok(len)
    }
}

/// Puts bytes at the start of a slot, and returns the rest of it.
fn put<'s>(slot: &'s mut [u8], bytes: &[u8]) -> &'s mut [u8] {
    let (start, rest) = slot.split_at_mut_checked(bytes.len()).unwrap_or_default();
    for (to, from) in start.iter_mut().zip(bytes) {
        *to = *from;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_sixteen_bytes_with_the_size_of_the_message() {
        let header = Header {
            id: 0x0102,
            command: CommandId::REGION_READ,
            flags: HeaderFlags::NO_REPLY,
            ..Header::default()
        };
        let mut out = [0xa5; 20];
        assert_eq!(header.emit(&mut out, &[&[7], &[8, 9]]), Ok(19));
        let expected = [
            2, 1, 9, 0, 19, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 7, 8, 9, 0xa5,
        ];
        #[cfg(target_endian = "little")]
        assert_eq!(out, expected);
        let no_room = NoRoom {
            needed: 19,
            len: 18,
        };
        assert_eq!(header.emit(&mut out[..18], &[&[7], &[8, 9]]), Err(no_room));
    }

    #[test]
    fn an_error_that_says_nothing_is_an_error_all_the_same() {
        let of = |flags, error| Header {
            flags,
            error,
            ..Header::default()
        };
        let failed = HeaderFlags::REPLY | HeaderFlags::ERROR;
        assert_eq!(of(failed, 22).failure(), Some(Errno::EINVAL));
        assert_eq!(of(failed, 0).failure(), Some(Errno::EIO));
        assert_eq!(of(failed, u32::MAX).failure(), Some(Errno::EIO));
        assert_eq!(of(HeaderFlags::REPLY, 22).failure(), None);
    }

    #[test]
    fn only_two_types_are_known() {
        let of = |flags| Header {
            flags: HeaderFlags::from_bits_retain(flags),
            ..Header::default()
        };
        assert_eq!(of(0x30).message_type(), Some(MessageType::Command));
        assert_eq!(of(0x21).message_type(), Some(MessageType::Reply));
        assert_eq!(of(2).message_type(), None);
        assert_eq!(of(0xf).message_type(), None);
    }
}
