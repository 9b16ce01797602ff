//! Servers that break the rules in a reply to each command: a typed error in time, and no descriptor more.

use std::time::Instant;

use vfio_core::dma::Direction;
use vfio_core::mmio::RegisterError;
use vfio_core::sys::{Errno, Pages, Sys as _};
use vfio_core::wire::abi::{pci_irq, pci_region};
use vfio_core::wire::vfio_user::{
    Command, CommandId, DmaAccess, FrameError, MessageError, ReplyError,
};
use vfio_hosted::model;
use vfio_hosted::vfio_user::{ChannelError, ClientError, VfioUser};

use crate::proxy::{Fate, Passing, Proxy};
use crate::{SOON, Serving, alone, files, open, sys};

/// The commands that have a reply, in the order in which [`exercise`] gives each for the first time.
const COMMANDS: [CommandId; 10] = [
    CommandId::VERSION,
    CommandId::DEVICE_GET_REGION_INFO,
    CommandId::REGION_READ,
    CommandId::REGION_WRITE,
    CommandId::DEVICE_GET_INFO,
    CommandId::DEVICE_GET_IRQ_INFO,
    CommandId::DMA_MAP,
    CommandId::DMA_UNMAP,
    CommandId::DEVICE_SET_IRQS,
    CommandId::DEVICE_RESET,
];

/// Tells whether the reply of a command has a body.
fn has_body(command: CommandId) -> bool {
    let bare = [
        CommandId::DMA_MAP,
        CommandId::DEVICE_SET_IRQS,
        CommandId::DEVICE_RESET,
    ];
    !bare.contains(&command)
}

/// Gives every command, until one fails.
pub(crate) fn exercise(sys: &VfioUser, path: &std::path::Path) -> Result<(), String> {
    let session = open(sys, path).map_err(|error| error.to_string())?;
    let device = &session.device;
    let mut reply = [0; 256];
    device.info(&mut reply).map_err(|error| error.to_string())?;
    device
        .irq(pci_irq::MSIX)
        .map_err(|error| error.to_string())?;
    let of_register = |error: RegisterError<_>| error.to_string();
    let mut bar0 = device
        .bring_up(pci_region::BAR0)
        .map_err(|error| error.to_string())?;
    bar0.read::<u32>(0x1c).map_err(of_register)?;
    let memory = sys.memory(4096, Pages::Ordinary).unwrap();
    let of_errno = |errno: Errno| errno.to_string();
    // SAFETY: the memory outlives what is mapped, whatever the server says.
    #[expect(unsafe_code, reason = "what is mapped is the test's own memory")]
    unsafe {
        session
            .space
            .map(&memory, 0..4096, 0x1_0000, Direction::Both)
    }
    .map_err(of_errno)?;
    session.space.unmap(0x1_0000, 4096).map_err(of_errno)?;
    let vectors = device.vectors::<2>(pci_irq::MSIX);
    drop(vectors.map_err(|error| error.to_string())?);
    device.reset().map_err(of_errno)
}

/// What is to come of a change.
#[derive(Clone, Copy)]
enum Expected {
    /// Nothing is noticed.
    Done,
    /// The command fails, and the server is talked to all the same.
    Refused,
    /// The server is given up, for this reason.
    GivenUp(fn(ClientError) -> bool),
}

/// Stores a number in a header.
fn put(passing: &mut Passing, at: usize, value: u32) -> Fate {
    passing.bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    Fate::Arrives
}

fn size(passing: &Passing) -> u32 {
    u32::try_from(passing.bytes.len()).unwrap()
}

fn asked_by_server() -> Vec<u8> {
    let access = DmaAccess {
        address: 0xdead_0000,
        count: 16,
    };
    let mut out = [0; 64];
    let len = Command::DmaRead(access).emit(&mut out, 77).unwrap();
    out[..len].to_vec()
}

fn is_late(error: ClientError) -> bool {
    error == ClientError::Channel(ChannelError::Late)
}

fn is_closed(error: ClientError) -> bool {
    error == ClientError::Channel(ChannelError::Closed)
}

/// Returns the reason, wherever it stands.
fn reply_error(error: ClientError) -> Option<ReplyError> {
    match error {
        ClientError::Reply { error, .. } | ClientError::Version(error) => Some(error),
        _ => None,
    }
}

fn is_mismatched(error: ClientError) -> bool {
    matches!(reply_error(error), Some(ReplyError::Mismatched { .. }))
}

fn is_of_type(error: ClientError) -> bool {
    let malformed = ReplyError::Malformed(MessageError::Type { flags: 2 });
    reply_error(error) == Some(malformed)
}

/// One change a row: its name, what it does, and what is to come of it.
type Row = (&'static str, fn(&mut Passing) -> Fate, Expected);

const ROWS: [Row; 22] = [
    ("as it is", |_| Fate::Arrives, Expected::Done),
    ("byte by byte", |_| Fate::InPieces(1), Expected::Done),
    (
        "in pieces of 7 bytes",
        |_| Fate::InPieces(7),
        Expected::Done,
    ),
    (
        "behind a command",
        |_| Fate::Behind(asked_by_server(), 1),
        Expected::Done,
    ),
    (
        "behind twenty commands",
        |_| Fate::Behind(asked_by_server().repeat(20), 20),
        Expected::Done,
    ),
    (
        "refused",
        |passing| {
            passing.bytes.truncate(16);
            put(passing, 4, 16);
            put(passing, 8, 0x21);
            put(passing, 12, 13)
        },
        Expected::Refused,
    ),
    (
        "refused for nothing",
        |passing| {
            put(passing, 8, 0x21);
            put(passing, 12, 0)
        },
        Expected::Refused,
    ),
    ("silent", |_| Fate::Stops(0), Expected::GivenUp(is_late)),
    (
        "silent in its header",
        |_| Fate::Stops(9),
        Expected::GivenUp(is_late),
    ),
    (
        "silent before its last byte",
        |passing| Fate::Stops(passing.bytes.len() - 1),
        Expected::GivenUp(is_late),
    ),
    (
        "hung up",
        |_| Fate::HangsUp(0),
        Expected::GivenUp(is_closed),
    ),
    (
        "hung up in its header",
        |_| Fate::HangsUp(9),
        Expected::GivenUp(is_closed),
    ),
    (
        "hung up before its last byte",
        |passing| Fate::HangsUp(passing.bytes.len() - 1),
        Expected::GivenUp(is_closed),
    ),
    (
        "of another id",
        |passing| {
            passing.bytes[0] ^= 1;
            Fate::Arrives
        },
        Expected::GivenUp(is_mismatched),
    ),
    (
        "to another command",
        |passing| {
            passing.bytes[2] ^= 0x40;
            Fate::Arrives
        },
        Expected::GivenUp(is_mismatched),
    ),
    (
        "a command itself",
        |passing| put(passing, 8, 0),
        Expected::GivenUp(|error| is_late(error) || is_closed(error)),
    ),
    (
        "of no type",
        |passing| put(passing, 8, 2),
        Expected::GivenUp(is_of_type),
    ),
    (
        "shorter than its header",
        |passing| put(passing, 4, 15),
        Expected::GivenUp(|error| {
            let short = FrameError::Short { size: 15 };
            error == ClientError::Channel(ChannelError::Frame(short))
        }),
    ),
    (
        "longer than there is room for",
        |passing| put(passing, 4, u32::MAX),
        Expected::GivenUp(|error| {
            let is_long = |error| matches!(error, FrameError::Long { size: u32::MAX, .. });
            matches!(error, ClientError::Channel(ChannelError::Frame(error)) if is_long(error))
        }),
    ),
    (
        "said to be longer than it is",
        |passing| {
            let size = size(passing);
            put(passing, 4, size + 1)
        },
        Expected::GivenUp(is_late),
    ),
    (
        "beside more descriptors than can be",
        |passing| {
            for _ in 0..40 {
                let file = std::fs::File::open("/dev/null").unwrap();
                passing.fds.push(file.into());
            }
            Fate::Arrives
        },
        Expected::Done,
    ),
    (
        "lost in a flood of commands",
        |_| Fate::Flood(asked_by_server()),
        Expected::GivenUp(|error| is_late(error) || is_closed(error)),
    ),
];

#[test]
fn a_reply_that_breaks_the_rules_is_an_error_in_time() {
    let _alone = alone();
    let before = files();
    // Each waits for servers that say nothing: all at the same time.
    std::thread::scope(|scope| {
        for command in COMMANDS {
            scope.spawn(move || check_all(command));
        }
    });
    assert_eq!(files(), before);
}

#[test]
fn a_feature_without_its_data_is_an_error_and_no_zeros() {
    let _alone = alone();
    let serving = Serving::new(model::nvme());
    // The server has no migration; the refusal becomes a bare success.
    let agreed: fn(&mut Passing) -> Fate = |passing| {
        put(passing, 8, 1);
        put(passing, 12, 0)
    };
    let command = CommandId::DEVICE_FEATURE;
    let proxy = Proxy::new(serving.folder.path(), &serving.path(), command, agreed);
    let sys = sys();
    let session = open(&sys, proxy.path()).unwrap();
    assert!(session.device.migration_state().is_err());
    let error = sys.failure().and_then(reply_error);
    assert!(matches!(error, Some(ReplyError::Malformed(_))), "{error:?}");
    drop((session, sys));
    proxy.end();
    drop(serving.stop());
}

fn check_all(command: CommandId) {
    let serving = Serving::new(model::nvme());
    for (name, change, expected) in ROWS {
        check(&serving, command, name, change, expected);
    }
    if has_body(command) {
        let cut: fn(&mut Passing) -> Fate = |passing| {
            passing.bytes.truncate(17);
            put(passing, 4, 17)
        };
        let is_malformed =
            Expected::GivenUp(|error| matches!(reply_error(error), Some(ReplyError::Malformed(_))));
        // That of a region is looked at by the shim, which gives no server up for it.
        let expected = match command {
            CommandId::DEVICE_GET_REGION_INFO => Expected::Refused,
            _ => is_malformed,
        };
        check(&serving, command, "cut short", cut, expected);
    }
    drop(serving.stop());
}

fn check(
    serving: &Serving,
    command: CommandId,
    name: &str,
    change: fn(&mut Passing) -> Fate,
    expected: Expected,
) {
    let proxy = Proxy::new(serving.folder.path(), &serving.path(), command, change);
    let sys = sys();
    let begun = Instant::now();
    let done = exercise(&sys, proxy.path());
    let took = begun.elapsed();
    let what = format!("{command} {name}: {done:?}, {:?}", sys.failure());
    assert!(took < SOON, "{what} took {took:?}");
    match expected {
        Expected::Done => assert_eq!(done, Ok(()), "{what}"),
        Expected::Refused => {
            assert!(done.is_err(), "{what}");
            let is_version = command == CommandId::VERSION;
            assert_eq!(sys.failure().is_some(), is_version, "{what}");
        }
        Expected::GivenUp(is) => {
            assert!(done.is_err(), "{what}");
            assert!(sys.failure().is_some_and(is), "{what}");
        }
    }
    drop(sys);
    proxy.end();
}
