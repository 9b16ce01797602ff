//! What one side asks of the other.

use zerocopy::{FromBytes, IntoBytes};

use super::{
    CommandId, DmaAccess, DmaMap, DmaUnmap, HEADER_LEN, Header, HeaderFlags, IoFdsHead, Message,
    MessageError, MessageType, MigrationData, NoRoom, RegionAccess, Version, Write,
};
use crate::wire::abi::{DeviceFeature, DeviceInfo, IrqInfo, IrqSet, RegionInfo};

/// A command, of the client or ([`Command::DmaRead`], [`Command::DmaWrite`]) of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Command<'a> {
    /// The version that is proposed.
    Version(Version),
    /// Memory for the device's use, with a descriptor or without.
    DmaMap(DmaMap),
    /// Memory that is taken back.
    DmaUnmap(DmaUnmap),
    /// Asks about the device.
    GetInfo {
        /// Bytes that are provided for the answer.
        argsz: u32,
    },
    /// Asks about a region.
    GetRegionInfo {
        /// Bytes that are provided for the answer.
        argsz: u32,
        /// The index.
        index: u32,
    },
    /// Asks for the descriptors by which a region is written.
    GetRegionIoFds(IoFdsHead),
    /// Asks about an interrupt.
    GetIrqInfo {
        /// Bytes that are provided for the answer.
        argsz: u32,
        /// The index.
        index: u32,
    },
    /// Sets interrupts: the argument of `VFIO_DEVICE_SET_IRQS`, whose events are descriptors beside
    /// the message.
    SetIrqs {
        /// The structure, and the bools behind it.
        argument: &'a [u8],
    },
    /// Reads a region.
    RegionRead(RegionAccess),
    /// Writes a region.
    RegionWrite {
        /// Where.
        access: RegionAccess,
        /// What.
        data: &'a [u8],
    },
    /// The device reads memory.
    DmaRead(DmaAccess),
    /// The device writes memory.
    DmaWrite {
        /// Where.
        access: DmaAccess,
        /// What.
        data: &'a [u8],
    },
    /// Resets the device.
    Reset,
    /// Writes regions several times.
    RegionWriteMulti(Writes<'a>),
    /// Asks for a feature, or sets it: the argument of `VFIO_DEVICE_FEATURE`.
    Feature {
        /// The structure.
        head: DeviceFeature,
        /// What is behind it.
        data: &'a [u8],
    },
    /// Reads the data of a migration.
    MigrationRead(MigrationData),
    /// Writes the data of a migration.
    MigrationWrite {
        /// The data.
        data: &'a [u8],
    },
}

/// The writes of `REGION_WRITE_MULTI`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Writes<'a> {
    bytes: &'a [u8],
}

/// Bytes of a write in a message.
const WRITE_LEN: usize = size_of::<Write>();

impl<'a> Command<'a> {
    /// Reads a command.
    ///
    /// # Errors
    /// [`MessageError`]
    pub fn parse(message: &Message<'a>) -> Result<Self, MessageError> {
        let Message { header, body } = *message;
        if header.message_type() != Some(MessageType::Command) {
            let flags = header.flags.bits();
            return Err(MessageError::Type { flags });
        }
        match header.command {
            CommandId::VERSION => Ok(Self::Version(Version::parse(body)?)),
            CommandId::DMA_MAP
            | CommandId::DMA_UNMAP
            | CommandId::REGION_READ
            | CommandId::REGION_WRITE
            | CommandId::REGION_WRITE_MULTI
            | CommandId::DMA_READ
            | CommandId::DMA_WRITE
            | CommandId::MIG_DATA_READ
            | CommandId::MIG_DATA_WRITE => Self::of_data(header.command, body),
            command => Self::of_device(command, body),
        }
    }

    /// Reads a command that moves data, or says where they are.
    fn of_data(command: CommandId, body: &'a [u8]) -> Result<Self, MessageError> {
        Ok(match command {
            CommandId::DMA_MAP => Self::DmaMap(sized(body, |map: &DmaMap| map.argsz)?),
            CommandId::DMA_UNMAP => Self::DmaUnmap(sized(body, |unmap: &DmaUnmap| unmap.argsz)?),
            CommandId::REGION_READ => Self::RegionRead(head(body)?.0),
            CommandId::REGION_WRITE => {
                let (access, data): (RegionAccess, _) = head(body)?;
                let data = counted(data, access.count.into())?;
                Self::RegionWrite { access, data }
            }
            CommandId::REGION_WRITE_MULTI => Self::RegionWriteMulti(Writes::parse(body)?),
            CommandId::DMA_READ => Self::DmaRead(head(body)?.0),
            CommandId::DMA_WRITE => {
                let (access, data): (DmaAccess, _) = head(body)?;
                let data = counted(data, access.count)?;
                Self::DmaWrite { access, data }
            }
            CommandId::MIG_DATA_READ => {
                Self::MigrationRead(sized(body, |data: &MigrationData| data.argsz)?)
            }
            CommandId::MIG_DATA_WRITE => {
                let (MigrationData { size, .. }, data) = head(body)?;
                let data = counted(data, size.into())?;
                Self::MigrationWrite { data }
            }
            unknown => return Err(MessageError::Command(unknown)),
        })
    }

    /// Reads a command that is about the device.
    fn of_device(command: CommandId, body: &'a [u8]) -> Result<Self, MessageError> {
        Ok(match command {
            CommandId::DEVICE_GET_INFO => {
                let [argsz, _flags, _regions, _irqs] = sized(body, first)?;
                Self::GetInfo { argsz }
            }
            CommandId::DEVICE_GET_REGION_INFO => {
                let RegionInfo { argsz, index, .. } = sized(body, |info: &RegionInfo| info.argsz)?;
                Self::GetRegionInfo { argsz, index }
            }
            CommandId::DEVICE_GET_REGION_IO_FDS => {
                Self::GetRegionIoFds(sized(body, |head: &IoFdsHead| head.argsz)?)
            }
            CommandId::DEVICE_GET_IRQ_INFO => {
                let IrqInfo { argsz, index, .. } = sized(body, |info: &IrqInfo| info.argsz)?;
                Self::GetIrqInfo { argsz, index }
            }
            CommandId::DEVICE_SET_IRQS => {
                let _: IrqSet = sized(body, |set: &IrqSet| set.argsz)?;
                Self::SetIrqs { argument: body }
            }
            CommandId::DEVICE_RESET => Self::Reset,
            CommandId::DEVICE_FEATURE => {
                let head: DeviceFeature = sized(body, |feature: &DeviceFeature| feature.argsz)?;
                let data = body.get(size_of::<DeviceFeature>()..).unwrap_or_default();
                Self::Feature { head, data }
            }
            unknown => return Err(MessageError::Command(unknown)),
        })
    }

    /// Returns the command's number.
    #[must_use]
    pub const fn id(&self) -> CommandId {
        match self {
            Self::Version(_) => CommandId::VERSION,
            Self::DmaMap(_) => CommandId::DMA_MAP,
            Self::DmaUnmap(_) => CommandId::DMA_UNMAP,
            Self::GetInfo { .. } => CommandId::DEVICE_GET_INFO,
            Self::GetRegionInfo { .. } => CommandId::DEVICE_GET_REGION_INFO,
            Self::GetRegionIoFds(_) => CommandId::DEVICE_GET_REGION_IO_FDS,
            Self::GetIrqInfo { .. } => CommandId::DEVICE_GET_IRQ_INFO,
            Self::SetIrqs { .. } => CommandId::DEVICE_SET_IRQS,
            Self::RegionRead(_) => CommandId::REGION_READ,
            Self::RegionWrite { .. } => CommandId::REGION_WRITE,
            Self::DmaRead(_) => CommandId::DMA_READ,
            Self::DmaWrite { .. } => CommandId::DMA_WRITE,
            Self::Reset => CommandId::DEVICE_RESET,
            Self::RegionWriteMulti(_) => CommandId::REGION_WRITE_MULTI,
            Self::Feature { .. } => CommandId::DEVICE_FEATURE,
            Self::MigrationRead(_) => CommandId::MIG_DATA_READ,
            Self::MigrationWrite { .. } => CommandId::MIG_DATA_WRITE,
        }
    }

    /// Writes the command as a message with the id `id` that wants a reply; returns its length.
    ///
    /// Where a structure counts data, it counts those that are given.
    ///
    /// # Errors
    /// [`NoRoom`] where `out` is too short; what is in it then is no message.
    pub fn emit(&self, out: &mut [u8], id: u16) -> Result<usize, NoRoom> {
        self.emit_with(out, id, HeaderFlags::empty())
    }

    /// Works as [`Command::emit`], for a sender that wants no reply, not even of an error.
    ///
    /// # Errors
    /// As [`Command::emit`].
    pub fn post(&self, out: &mut [u8], id: u16) -> Result<usize, NoRoom> {
        self.emit_with(out, id, HeaderFlags::NO_REPLY)
    }

    fn emit_with(&self, out: &mut [u8], id: u16, flags: HeaderFlags) -> Result<usize, NoRoom> {
        let header = Header {
            id,
            command: self.id(),
            flags,
            ..Header::default()
        };
        match *self {
            Self::Version(ref version) => emit_version(header, version, out),
            Self::DmaMap(map) => header.emit(out, &[map.as_bytes()]),
            Self::DmaUnmap(unmap) => header.emit(out, &[unmap.as_bytes()]),
            Self::GetInfo { argsz } => header.emit(out, &[[argsz, 0, 0, 0].as_bytes()]),
            Self::GetRegionInfo { argsz, index } => header.emit(
                out,
                &[RegionInfo {
                    argsz,
                    index,
                    ..RegionInfo::default()
                }
                .as_bytes()],
            ),
            Self::GetRegionIoFds(head) => header.emit(out, &[head.as_bytes()]),
            Self::GetIrqInfo { argsz, index } => header.emit(
                out,
                &[IrqInfo {
                    argsz,
                    index,
                    ..IrqInfo::default()
                }
                .as_bytes()],
            ),
            Self::SetIrqs { argument } => header.emit(out, &[argument]),
            Self::RegionRead(access) => header.emit(out, &[access.as_bytes()]),
            Self::RegionWrite { access, data } => {
                let count = count(data);
                header.emit(out, &[RegionAccess { count, ..access }.as_bytes(), data])
            }
            Self::DmaRead(access) => header.emit(out, &[access.as_bytes()]),
            Self::DmaWrite { access, data } => {
                let count = count(data).into();
                header.emit(out, &[DmaAccess { count, ..access }.as_bytes(), data])
            }
            Self::Reset => header.emit(out, &[]),
            Self::RegionWriteMulti(writes) => {
                let count = u64::try_from(writes.len()).unwrap_or(u64::MAX);
                header.emit(out, &[count.as_bytes(), writes.bytes])
            }
            Self::Feature { head, data } => header.emit(out, &[head.as_bytes(), data]),
            Self::MigrationRead(data) => header.emit(out, &[data.as_bytes()]),
            Self::MigrationWrite { data } => {
                let size = count(data);
                let argsz = size.saturating_add(8);
                header.emit(out, &[MigrationData { argsz, size }.as_bytes(), data])
            }
        }
    }
}

impl<'a> Writes<'a> {
    /// Makes the command of `writes`.
    #[must_use]
    pub fn new(writes: &'a [Write]) -> Self {
        Self {
            bytes: writes.as_bytes(),
        }
    }

    fn parse(body: &'a [u8]) -> Result<Self, MessageError> {
        let (count, bytes): (u64, _) = head(body)?;
        let each = u64::try_from(WRITE_LEN).unwrap_or(u64::MAX);
        let len = count.checked_mul(each);
        if len.is_some() && len == u64::try_from(bytes.len()).ok() {
            Ok(Self { bytes })
        } else {
            Err(data_error::<u64>(count, bytes))
        }
    }

    /// Returns how many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len() / WRITE_LEN
    }

    /// Tells whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the writes, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Write> + use<'a> {
        let (writes, _) = self.bytes.as_chunks::<WRITE_LEN>();
        writes
            .iter()
            .filter_map(|bytes| Write::read_from_bytes(bytes).ok())
    }
}

/// Writes a version, which is as long as its text needs, or as there is room for.
fn emit_version(header: Header, version: &Version, out: &mut [u8]) -> Result<usize, NoRoom> {
    let len = out.len();
    let written = version.emit(out.get_mut(HEADER_LEN..).unwrap_or_default());
    let size = HEADER_LEN.saturating_add(written);
    let needed = HEADER_LEN.saturating_add(size_of::<super::VersionHead>());
    let no_room = NoRoom { needed, len };
    let start = out.get_mut(..HEADER_LEN).filter(|_| written != 0);
    header.emit(start.ok_or(no_room)?, &[])?;
    put_size(out, size);
    Ok(size)
}

/// Puts the size of a message into its header: `size` is the third field.
fn put_size(out: &mut [u8], size: usize) {
    let size = u32::try_from(size).unwrap_or(u32::MAX);
    if let Some(field) = out.get_mut(4..8) {
        for (to, from) in field.iter_mut().zip(size.to_ne_bytes()) {
            *to = from;
        }
    }
}

/// Returns the structure at the start of a body, and what is behind it.
pub(super) fn head<T: FromBytes>(body: &[u8]) -> Result<(T, &[u8]), MessageError> {
    T::read_from_prefix(body).map_err(|_| truncated(body, size_of::<T>()))
}

/// Returns a structure that says how long it is, which is long enough.
fn sized<T: FromBytes>(body: &[u8], argsz: impl Fn(&T) -> u32) -> Result<T, MessageError> {
    let (value, _) = head::<T>(body)?;
    let (argsz, min) = (argsz(&value), u32::try_from(size_of::<T>()));
    match min {
        Ok(min) if argsz < min => Err(MessageError::Argsz { argsz, min }),
        _ => Ok(value),
    }
}

/// Returns the first of four words.
const fn first(words: &[u32; 4]) -> u32 {
    let [first, ..] = words;
    *first
}

/// Returns the data, which must be as many as they are said to be.
pub(super) fn counted(data: &[u8], count: u64) -> Result<&[u8], MessageError> {
    if u64::try_from(data.len()) == Ok(count) {
        Ok(data)
    } else {
        Err(data_error::<RegionAccess>(count, data))
    }
}

/// Returns the error of data behind the structure `T` whose count is another.
fn data_error<T>(count: u64, data: &[u8]) -> MessageError {
    let offset = HEADER_LEN.saturating_add(size_of::<T>());
    MessageError::Data {
        offset: u32::try_from(offset).unwrap_or(u32::MAX),
        count,
        len: u32::try_from(data.len()).unwrap_or(u32::MAX),
    }
}

/// Returns the error of a body that is shorter than its structure.
pub(super) fn truncated(body: &[u8], min: usize) -> MessageError {
    let of_message = |len: usize| {
        let len = HEADER_LEN.saturating_add(len);
        u32::try_from(len).unwrap_or(u32::MAX)
    };
    MessageError::Truncated {
        len: of_message(body.len()),
        min: of_message(min),
    }
}

/// Returns how many bytes there are.
fn count(data: &[u8]) -> u32 {
    // A message is no longer than 32 bits say, or it is not written.
    u32::try_from(data.len()).unwrap_or(u32::MAX)
}

const _: () = assert!(size_of::<DeviceInfo>() == size_of::<[u32; 4]>() + 8);

#[cfg(test)]
mod tests;
