//! Commands on literal bytes.

use std::vec::Vec;

use super::*;
use crate::wire::abi::{FeatureFlags, IrqSetFlags};
use crate::wire::vfio_user::{Capabilities, DmaMapFlags, DmaUnmapFlags};

/// Returns a message of a command, from words of 32 bits.
fn message(command: CommandId, words: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    bytes.extend(data);
    let header = Header {
        id: 3,
        command,
        ..Header::default()
    };
    let mut out = std::vec![0; HEADER_LEN + bytes.len()];
    header.emit(&mut out, &[&bytes]).unwrap();
    out
}

/// Returns the halves of a number of 64 bits, as they lie in memory.
const fn wide(low: u32) -> [u32; 2] {
    if cfg!(target_endian = "little") {
        [low, 0]
    } else {
        [0, low]
    }
}

/// Returns every command, and its words and bytes behind the header.
fn all() -> Vec<(Command<'static>, Vec<u32>, &'static [u8])> {
    let words = |parts: &[&[u32]]| parts.concat();
    let map = DmaMap {
        argsz: 32,
        flags: DmaMapFlags::READ | DmaMapFlags::WRITE,
        offset: 5,
        address: 6,
        size: 7,
    };
    let unmap = DmaUnmap {
        argsz: 24,
        flags: DmaUnmapFlags::ALL,
        address: 6,
        size: 7,
    };
    let access = RegionAccess {
        offset: 8,
        region: 2,
        count: 4,
    };
    let dma = DmaAccess {
        address: 9,
        count: 4,
    };
    let fds = IoFdsHead {
        argsz: 16,
        index: 2,
        ..IoFdsHead::default()
    };
    let feature = DeviceFeature {
        argsz: 12,
        flags: FeatureFlags::from_bits_retain(0x2_0002),
    };
    let read = MigrationData { argsz: 8, size: 64 };
    static WRITES: [Write; 1] = [Write {
        offset: 8,
        region: 2,
        count: 4,
        data: *b"datadata",
    }];
    let region_info = words(&[&[64, 0, 2, 0], &[0; 4]]);
    let access_words = words(&[&wide(8), &[2, 4]]);
    let dma_words = words(&[&wide(9), &wide(4)]);
    std::vec![
        (
            Command::DmaMap(map),
            words(&[&[32, 3], &wide(5), &wide(6), &wide(7)]),
            b"",
        ),
        (
            Command::DmaUnmap(unmap),
            words(&[&[24, 2], &wide(6), &wide(7)]),
            b"",
        ),
        (
            Command::GetInfo { argsz: 16 },
            words(&[&[16, 0, 0, 0]]),
            b""
        ),
        (
            Command::GetRegionInfo {
                argsz: 64,
                index: 2,
            },
            region_info,
            b"",
        ),
        (Command::GetRegionIoFds(fds), words(&[&[16, 0, 2, 0]]), b""),
        (
            Command::GetIrqInfo {
                argsz: 16,
                index: 2,
            },
            words(&[&[16, 0, 2, 0]]),
            b"",
        ),
        (
            Command::SetIrqs {
                argument: IRQ_SET.as_bytes(),
            },
            words(&[&[20, 0x21, 1, 0, 1]]),
            b"",
        ),
        (Command::RegionRead(access), access_words.clone(), b""),
        (
            Command::RegionWrite {
                access,
                data: b"data",
            },
            access_words.clone(),
            b"data",
        ),
        (Command::DmaRead(dma), dma_words.clone(), b""),
        (
            Command::DmaWrite {
                access: dma,
                data: b"data",
            },
            dma_words,
            b"data",
        ),
        (Command::Reset, words(&[]), b""),
        (
            Command::RegionWriteMulti(Writes::new(&WRITES)),
            words(&[&wide(1), &access_words]),
            b"datadata",
        ),
        (
            Command::Feature {
                head: feature,
                data: b"data",
            },
            words(&[&[12, 0x2_0002]]),
            b"data",
        ),
        (Command::MigrationRead(read), words(&[&[8, 64]]), b""),
        (
            Command::MigrationWrite { data: b"data" },
            words(&[&[12, 4]]),
            b"data",
        ),
    ]
}

static IRQ_SET: IrqSet = IrqSet {
    argsz: 20,
    flags: IrqSetFlags::from_bits_retain(0x21),
    index: 1,
    start: 0,
    count: 1,
};

#[test]
fn every_command_is_read_and_written_as_it_lies_in_a_message() {
    for (command, words, data) in all() {
        let bytes = message(command.id(), &words, data);
        let read = Message::read(&bytes).unwrap();
        assert_eq!(Command::parse(&read), Ok(command));
        let mut out = [0xa5; 128];
        assert_eq!(command.emit(&mut out, 3), Ok(bytes.len()), "{command:?}");
        assert_eq!(out[..bytes.len()], bytes, "{command:?}");
        let short = &mut out[..bytes.len() - 1];
        assert!(command.emit(short, 3).is_err(), "{command:?}");
        let _ = command.post(&mut out, 3);
        let posted = Message::read(&out).unwrap().header;
        assert!(!posted.wants_reply());
    }
}

#[test]
fn a_command_that_is_cut_short_is_none() {
    for (command, words, data) in all() {
        let bytes = message(command.id(), &words, data);
        for len in HEADER_LEN..bytes.len() {
            let read = Message::read(&bytes[..len]).unwrap();
            match Command::parse(&read) {
                Err(MessageError::Truncated { len: there, .. }) => {
                    assert_eq!(usize::try_from(there), Ok(len));
                }
                Err(MessageError::Data { .. }) => (),
                // Its argument is looked at by others.
                Ok(Command::Feature { data, .. }) => assert!(data.len() < 4),
                other => panic!("{command:?} of {len}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_size_below_the_structure_and_a_count_that_lies_are_refused() {
    let parse = |command, words: &[u32], data: &[u8]| {
        let bytes = message(command, words, data);
        Command::parse(&Message::read(&bytes).unwrap()).map(drop)
    };
    let argsz = |argsz, min| Err(MessageError::Argsz { argsz, min });
    assert_eq!(
        parse(CommandId::DMA_MAP, &[31, 0, 0, 0, 0, 0, 0, 0], b""),
        argsz(31, 32)
    );
    assert_eq!(parse(CommandId::DMA_UNMAP, &[0; 6], b""), argsz(0, 24));
    assert_eq!(
        parse(CommandId::DEVICE_GET_INFO, &[15, 0, 0, 0], b""),
        argsz(15, 16)
    );
    assert_eq!(
        parse(CommandId::DEVICE_SET_IRQS, &[19, 0, 0, 0, 0], b""),
        argsz(19, 20)
    );
    let data = |offset, count, len| Err(MessageError::Data { offset, count, len });
    let write = |count, bytes| parse(CommandId::REGION_WRITE, &[0, 0, 0, count], bytes);
    assert_eq!(write(5, b"data"), data(32, 5, 4));
    assert_eq!(write(3, b"data"), data(32, 3, 4));
    assert_eq!(write(u32::MAX, b""), data(32, u32::MAX.into(), 0));
    let dma = |count, bytes| parse(CommandId::DMA_WRITE, &[0, 0, count, count], bytes);
    let count = u64::from(u32::MAX) << 32 | u64::from(u32::MAX);
    assert_eq!(dma(u32::MAX, b"data"), data(32, count, 4));
    let multi = |count, bytes| parse(CommandId::REGION_WRITE_MULTI, &wide(count), bytes);
    assert_eq!(multi(1, &[0; 23]), data(24, 1, 23));
    assert_eq!(multi(2, &[0; 24]), data(24, 2, 24));
    let wraps = [&wide(0)[..], &[0; 6]].concat();
    assert!(parse(CommandId::REGION_WRITE_MULTI, &wraps, b"").is_err());
}

#[test]
fn commands_that_no_version_has_are_told_by_their_number() {
    for number in [0, 14, 19, u16::MAX] {
        let command = CommandId(number);
        let bytes = message(command, &[], b"");
        let parsed = Command::parse(&Message::read(&bytes).unwrap());
        assert_eq!(parsed, Err(MessageError::Command(command)));
    }
}

#[test]
fn a_reply_is_no_command() {
    let mut bytes = message(CommandId::DEVICE_RESET, &[], b"");
    for flags in [1_u32, 0x21, 2, 0xf] {
        bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
        let parsed = Command::parse(&Message::read(&bytes).unwrap());
        assert_eq!(parsed, Err(MessageError::Type { flags }));
    }
}

#[test]
fn a_version_is_as_long_as_there_is_room_for() {
    let version = Command::Version(Version {
        major: 0,
        minor: 1,
        capabilities: Capabilities::default(),
    });
    let mut out = [0; 256];
    let len = version.emit(&mut out, 9).unwrap();
    let message = Message::read(&out[..len]).unwrap();
    assert_eq!(usize::try_from(message.header.size), Ok(len));
    assert_eq!(Command::parse(&message), Ok(version));
    assert_eq!(version.emit(&mut out[..20], 9), Ok(20));
    let no_room = NoRoom {
        needed: 20,
        len: 19,
    };
    assert_eq!(version.emit(&mut out[..19], 9), Err(no_room));
}
