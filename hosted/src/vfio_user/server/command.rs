//! The commands of a client, done and answered.

use std::os::fd::OwnedFd;
use std::vec;
use std::vec::Vec;

use vfio_core::sys::{Errno, InfoRequest};
use vfio_core::wire::vfio_user::{
    Capabilities, Command, CommandId, Header, IoFdsHead, Message, MessageError, MessageType,
    RegionAccess, ReplyError, Version, Writes,
};
use zerocopy::IntoBytes;

use super::device::{Device, Transfer};
use super::error::Ended;
use super::session::{Received, Session};
use super::{Limits, MAX_TRANSFER};

/// What a command is answered with.
type Answer = Result<Vec<u8>, Errno>;

/// The newest minor version that is spoken here.
const MINOR: u16 = 1;

/// Does what a message asks for, and answers it.
pub(super) fn serve(
    device: &mut Device,
    session: &mut Session,
    limits: &Limits,
    received: Received,
) {
    let Received { bytes, fds } = received;
    let Some(message) = Message::read(&bytes) else {
        return;
    };
    let header = message.header;
    if header.message_type() == Some(MessageType::Reply) {
        return session.end(Ended::Reply(ReplyError::Mismatched {
            id: header.id,
            command: header.command,
        }));
    }
    let command = Command::parse(&message);
    if session.client.is_none() {
        return begin(session, limits, &message, command);
    }
    let answer = match command {
        Ok(command) => make(device, session, command, fds),
        Err(error) => Err(error.errno()),
    };
    if header.wants_reply() && session.ended().is_none() {
        match answer {
            Ok(body) => session.reply(&header, &[&body]),
            Err(errno) => session.refuse(&header, errno),
        }
    }
}

/// Takes the first message, which must be the version.
fn begin(
    session: &mut Session,
    limits: &Limits,
    message: &Message<'_>,
    command: Result<Command<'_>, MessageError>,
) {
    let Header { command: id, .. } = message.header;
    let version = match command {
        Ok(Command::Version(version)) => version,
        Err(error) if id == CommandId::VERSION => {
            session.refuse(&message.header, error.errno());
            return session.end(Ended::Version(error));
        }
        Ok(_) | Err(_) => {
            session.refuse(&message.header, Errno::EINVAL);
            return session.end(Ended::Unversioned(id));
        }
    };
    let ours = Version {
        major: 0,
        minor: version.minor.min(MINOR),
        capabilities: limits.capabilities(),
    };
    // Some clients take no reply that is longer than what they sent.
    let mut body = vec![0; message.body.len()];
    let len = ours.emit(&mut body);
    session.client = Some(version.capabilities);
    session.reply(&message.header, &[body.get(..len).unwrap_or_default()]);
}

/// Does what a command asks for.
fn make(
    device: &mut Device,
    session: &mut Session,
    command: Command<'_>,
    fds: Vec<OwnedFd>,
) -> Answer {
    let takes_fds = matches!(command, Command::DmaMap(_) | Command::SetIrqs { .. });
    if !takes_fds && !fds.is_empty() {
        return Err(Errno::EINVAL);
    }
    match command {
        Command::DmaMap(map) => session.memory.map(&map, fds).map(|()| vec![]),
        Command::DmaUnmap(unmap) => {
            let unmapped = session.memory.unmap(&unmap)?;
            Ok(unmapped.as_bytes().to_vec())
        }
        Command::GetInfo { argsz } => device.info(InfoRequest::Device, 0, argsz),
        Command::GetRegionInfo { argsz, index } => device.info(InfoRequest::Region, index, argsz),
        Command::GetIrqInfo { argsz, index } => device.info(InfoRequest::Irq, index, argsz),
        Command::GetRegionIoFds(head) => {
            // There are none, of a region that is there.
            device.info(InfoRequest::Region, head.index, 32)?;
            let none = IoFdsHead {
                argsz: 16,
                flags: 0,
                count: 0,
                ..head
            };
            Ok(none.as_bytes().to_vec())
        }
        Command::SetIrqs { argument } => device.set_irqs(argument, fds).map(|()| vec![]),
        Command::RegionRead(access) => read(device, session, access),
        Command::RegionWrite { access, data } => {
            let RegionAccess { offset, region, .. } = access;
            bounded(data.len())?;
            device.access(session, region, offset, Transfer::Write(data))?;
            Ok(access.as_bytes().to_vec())
        }
        Command::RegionWriteMulti(writes) => write_each(device, session, &writes),
        Command::Reset => device.reset(session).map(|()| vec![]),
        Command::Version(_) | Command::DmaRead(_) | Command::DmaWrite { .. } => Err(Errno::EINVAL),
        Command::Feature { .. } | Command::MigrationRead(_) | Command::MigrationWrite { .. } => {
            Err(Errno::EOPNOTSUPP)
        }
    }
}

fn read(device: &mut Device, session: &mut Session, access: RegionAccess) -> Answer {
    let count = usize::try_from(access.count).map_err(|_| Errno::E2BIG)?;
    bounded(count)?;
    let mut body = access.as_bytes().to_vec();
    let head = body.len();
    body.resize(head.saturating_add(count), 0);
    let data = body.get_mut(head..).unwrap_or_default();
    let RegionAccess { offset, region, .. } = access;
    device.access(session, region, offset, Transfer::Read(data))?;
    Ok(body)
}

/// Writes regions several times, up to the first write that is refused.
fn write_each(device: &mut Device, session: &mut Session, writes: &Writes<'_>) -> Answer {
    let mut done = 0_u64;
    for write in writes.iter() {
        let len = usize::try_from(write.count).map_err(|_| Errno::EINVAL)?;
        let data = write.data.get(..len).ok_or(Errno::EINVAL)?;
        device.access(session, write.region, write.offset, Transfer::Write(data))?;
        done = done.saturating_add(1);
    }
    Ok(done.as_bytes().to_vec())
}

/// Checks that no more is moved than was said.
fn bounded(len: usize) -> Result<(), Errno> {
    if len > MAX_TRANSFER {
        return Err(Errno::E2BIG);
    }
    Ok(())
}

impl Limits {
    /// Returns what is told of them.
    fn capabilities(&self) -> Capabilities {
        let number = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Capabilities {
            max_msg_fds: number(self.max_msg_fds),
            max_data_xfer_size: number(MAX_TRANSFER),
            max_dma_maps: number(self.max_dma_maps),
            pgsizes: 4096,
            ..Capabilities::default()
        }
    }
}
