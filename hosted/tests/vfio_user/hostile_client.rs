//! Clients that break the rules: each gets an error or is hung up on, and the next is served as if nothing was.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use vfio_core::sys::Errno;
use vfio_core::wire::abi::{IrqSet, IrqSetFlags};
use vfio_core::wire::vfio_user::{
    Command, CommandId, DmaMap, DmaMapFlags, DmaUnmap, DmaUnmapFlags, FrameError, Header,
    HeaderFlags, Message, RegionAccess, ReplyError, Version, VersionHead, Write, Writes,
};
use vfio_hosted::model;
use vfio_hosted::vfio_user::{ChannelError, Ended};
use zerocopy::IntoBytes as _;

use crate::hostile_server::exercise;
use crate::proxy::{Passing, receive, send};
use crate::{PATIENCE, SOON, Serving, alone, files, sys};

/// A client that says what it likes.
struct Client(UnixStream);

impl Client {
    fn connect(serving: &Serving) -> Self {
        let socket = UnixStream::connect(serving.path()).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket.set_write_timeout(Some(SOON)).unwrap();
        Self(socket)
    }

    /// Connects, and says its version as it should.
    fn versioned(serving: &Serving) -> Self {
        let client = Self::connect(serving);
        let version = Command::Version(Version::default());
        assert_eq!(client.ask(&bytes(&version), vec![]), Ok(()));
        client
    }

    /// Sends a message, and tells how it is answered: none where the server hangs up.
    fn ask(&self, bytes: &[u8], fds: Vec<OwnedFd>) -> Result<(), Option<Errno>> {
        send(&self.0, bytes, &fds);
        let reply = receive(&self.0).ok_or(None)?;
        let header = Message::read(&reply.bytes).unwrap().header;
        assert_eq!(header.flags & HeaderFlags::REPLY, HeaderFlags::REPLY);
        header.failure().map_or(Ok(()), |errno| Err(Some(errno)))
    }

    /// Tells whether the server has hung up, or does so soon.
    fn is_left_alone(&mut self) -> bool {
        match self.0.read(&mut [0; 1]) {
            Ok(len) => len == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

fn bytes(command: &Command<'_>) -> Vec<u8> {
    let mut out = vec![0; 2 << 20];
    let len = command.emit(&mut out, 5).unwrap();
    out.truncate(len);
    out
}

/// Returns a message of any command and body.
fn raw(command: u16, flags: u32, body: &[u8]) -> Vec<u8> {
    let header = Header {
        id: 5,
        command: CommandId(command),
        flags: HeaderFlags::from_bits_retain(flags),
        ..Header::default()
    };
    let mut out = vec![0; 16 + body.len()];
    header.emit(&mut out, &[body]).unwrap();
    out
}

fn with_size(mut message: Vec<u8>, size: u32) -> Vec<u8> {
    message[4..8].copy_from_slice(&size.to_ne_bytes());
    message
}

fn memory(len: u64) -> OwnedFd {
    let file = memfd_create("guest", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, len).unwrap();
    file
}

fn null() -> OwnedFd {
    std::fs::File::open("/dev/null").unwrap().into()
}

fn map(address: u64, size: u64) -> DmaMap {
    DmaMap {
        argsz: 32,
        flags: DmaMapFlags::READ | DmaMapFlags::WRITE,
        offset: 0,
        address,
        size,
    }
}

fn unmap(flags: DmaUnmapFlags, address: u64, size: u64) -> Vec<u8> {
    bytes(&Command::DmaUnmap(DmaUnmap {
        argsz: 24,
        flags,
        address,
        size,
    }))
}

fn read(region: u32, offset: u64, count: u32) -> Vec<u8> {
    bytes(&Command::RegionRead(RegionAccess {
        offset,
        region,
        count,
    }))
}

fn irqs(flags: u32, index: u32, start: u32, count: u32, data: &[u8]) -> Vec<u8> {
    let head = IrqSet {
        argsz: 20,
        flags: IrqSetFlags::from_bits_retain(flags),
        index,
        start,
        count,
    };
    let argument = [head.as_bytes(), data].concat();
    bytes(&Command::SetIrqs {
        argument: &argument,
    })
}

/// Checks that the next client gets all that it should.
fn next_is_served(serving: &Serving, what: &str) {
    let done = exercise(&sys(), &serving.path());
    assert_eq!(done, Ok(()), "after {what}");
}

#[test]
fn who_does_not_begin_with_a_version_is_hung_up_on() {
    let _alone = alone();
    let before = files();
    let serving = Serving::new(model::nvme());
    let version = |text: &str| {
        let head = VersionHead { major: 0, minor: 1 };
        raw(1, 0, &[head.as_bytes(), text.as_bytes()].concat())
    };
    let other = VersionHead { major: 1, minor: 0 };
    let deep = format!("{}\0", "[".repeat(100_000));
    let rows: [(&str, Vec<u8>); 9] = [
        ("another command", bytes(&Command::Reset)),
        ("an unknown command", raw(99, 0, b"")),
        ("half a version", raw(1, 0, &[0; 3])),
        ("another protocol", raw(1, 0, other.as_bytes())),
        ("text without an end", version("{}")),
        ("text that goes on", version("{}\0{}\0")),
        ("no JSON", version("{\"capabilities\":\0")),
        (
            "a number that is a string",
            version("{\"capabilities\":{\"max_msg_fds\":\"8\"}}\0"),
        ),
        ("nesting", version(&deep)),
    ];
    for (what, message) in rows {
        let mut client = Client::connect(&serving);
        assert_eq!(
            client.ask(&message, vec![]),
            Err(Some(Errno::EINVAL)),
            "{what}"
        );
        assert!(client.is_left_alone(), "{what}");
        drop(client);
        next_is_served(&serving, what);
    }
    drop(serving.stop());
    assert_eq!(files(), before);
}

#[test]
fn who_stops_in_the_middle_is_hung_up_on_in_time() {
    let _alone = alone();
    let before = files();
    let serving = Serving::new(model::nvme());
    let late = Ended::Channel(ChannelError::Late);
    let frame = |error| Ended::Channel(ChannelError::Frame(error));
    let reset = bytes(&Command::Reset);
    let write = raw(10, 0, &[0; 64]);
    let rows: [(&str, bool, Vec<u8>, Ended); 8] = [
        ("nothing", false, vec![], late),
        ("half a header", false, reset[..9].to_vec(), late),
        (
            "half a header of a command",
            true,
            reset[..9].to_vec(),
            late,
        ),
        ("half a command", true, write[..40].to_vec(), late),
        (
            "a size of 0",
            true,
            with_size(reset.clone(), 0),
            frame(FrameError::Short { size: 0 }),
        ),
        (
            "a size of 15",
            true,
            with_size(reset.clone(), 15),
            frame(FrameError::Short { size: 15 }),
        ),
        (
            "a size of 4 GiB",
            true,
            with_size(reset.clone(), u32::MAX),
            frame(FrameError::Long {
                size: u32::MAX,
                max: (1 << 20) + 32,
            }),
        ),
        (
            "a reply that is not due",
            true,
            raw(11, 1, b""),
            Ended::Reply(ReplyError::Mismatched {
                id: 5,
                command: CommandId::DMA_READ,
            }),
        ),
    ];
    let mut expected = vec![];
    for (what, is_versioned, message, ended) in rows {
        let mut client = match is_versioned {
            true => Client::versioned(&serving),
            false => Client::connect(&serving),
        };
        let begun = Instant::now();
        client.0.write_all(&message).unwrap();
        assert!(client.is_left_alone(), "{what}");
        assert!(begun.elapsed() < SOON, "{what}");
        drop(client);
        next_is_served(&serving, what);
        expected.extend([ended, Ended::Left]);
    }
    let clients = serving.stop();
    let ended: Vec<_> = clients.iter().map(|client| client.ended).collect();
    assert_eq!(ended, expected);
    assert_eq!(files(), before);
}

#[test]
fn a_command_that_breaks_the_rules_is_refused_and_the_next_is_done() {
    let _alone = alone();
    let before = files();
    let serving = Serving::new(model::nvme());
    let client = Client::versioned(&serving);
    let (pipe, end) = rustix::pipe::pipe().unwrap();
    let (inval, nosup) = (Errno::EINVAL, Errno::EOPNOTSUPP);
    let none = DmaUnmapFlags::empty();
    let twice = Write {
        offset: 0,
        region: 0,
        count: 9,
        data: [0; 8],
    };
    let event = || {
        let flags = rustix::event::EventfdFlags::NONBLOCK;
        rustix::event::eventfd(0, flags).unwrap()
    };
    let dma = |map: DmaMap| bytes(&Command::DmaMap(map));
    let page = 4096;
    let rows: Vec<(&str, Vec<u8>, Vec<OwnedFd>, Errno)> = vec![
        ("command 0", raw(0, 0, b""), vec![], nosup),
        ("command 14", raw(14, 0, b""), vec![], nosup),
        ("command 65535", raw(u16::MAX, 0, b""), vec![], nosup),
        ("a type that is none", raw(13, 2, b""), vec![], inval),
        (
            "a command of the server's",
            raw(11, 0, &[0; 16]),
            vec![],
            inval,
        ),
        (
            "another version",
            bytes(&Command::Version(Version::default())),
            vec![],
            inval,
        ),
        (
            "a feature",
            raw(16, 0, &[8, 0, 0, 0, 1, 0, 5, 0]),
            vec![],
            nosup,
        ),
        ("half a structure", raw(4, 0, &[0; 15]), vec![], inval),
        ("argsz 0", raw(4, 0, &[0; 16]), vec![], inval),
        (
            "no such region",
            bytes(&Command::GetRegionInfo {
                argsz: 32,
                index: 9,
            }),
            vec![],
            inval,
        ),
        (
            "no region ever",
            bytes(&Command::GetRegionInfo {
                argsz: 32,
                index: u32::MAX,
            }),
            vec![],
            inval,
        ),
        (
            "no such interrupt",
            bytes(&Command::GetIrqInfo {
                argsz: 16,
                index: 5,
            }),
            vec![],
            inval,
        ),
        ("a read of no region", read(9, 0, 4), vec![], inval),
        ("a read of an empty one", read(1, 0, 4), vec![], inval),
        ("a read past the end", read(0, 0x3ffd, 4), vec![], inval),
        ("a read that wraps", read(0, u64::MAX - 1, 4), vec![], inval),
        (
            "a read of more than can be",
            read(0, 0, (1 << 20) + 1),
            vec![],
            Errno::E2BIG,
        ),
        (
            "a read of 4 GiB",
            read(0, 0, u32::MAX),
            vec![],
            Errno::E2BIG,
        ),
        (
            "a write that says more",
            raw(10, 0, &[0xff; 20]),
            vec![],
            inval,
        ),
        (
            "a write of 9 bytes of 8",
            bytes(&Command::RegionWriteMulti(Writes::new(&[twice]))),
            vec![],
            inval,
        ),
        (
            "more writes than there are",
            raw(15, 0, &[0xff; 32]),
            vec![],
            inval,
        ),
        (
            "a descriptor for a read",
            read(0, 0, 4),
            vec![null()],
            inval,
        ),
        ("memory of no size", dma(map(0, 0)), vec![], inval),
        ("memory that wraps", dma(map(u64::MAX, 2)), vec![], inval),
        (
            "memory of two files",
            dma(map(0, page)),
            vec![memory(page), memory(page)],
            inval,
        ),
        ("memory of a device", dma(map(0, page)), vec![null()], inval),
        ("memory of a pipe", dma(map(0, page)), vec![pipe], inval),
        (
            "memory past the file",
            dma(map(0, 2 * page)),
            vec![memory(page)],
            inval,
        ),
        (
            "memory at no offset",
            dma(DmaMap {
                offset: u64::MAX,
                ..map(0, page)
            }),
            vec![memory(page)],
            inval,
        ),
        (
            "what was not mapped",
            unmap(none, 0, page),
            vec![],
            Errno::ENOENT,
        ),
        (
            "all of something",
            unmap(DmaUnmapFlags::ALL, 0, page),
            vec![],
            inval,
        ),
        (
            "a bitmap",
            unmap(DmaUnmapFlags::GET_DIRTY_BITMAP, 0, page),
            vec![],
            nosup,
        ),
        (
            "interrupts of no index",
            irqs(0x24, 9, 0, 1, &[]),
            vec![event()],
            inval,
        ),
        (
            "interrupts that are not there",
            irqs(0x24, 2, 65, 1, &[]),
            vec![event()],
            inval,
        ),
        (
            "interrupts past the last",
            irqs(0x24, 2, 0, u32::MAX, &[]),
            vec![],
            inval,
        ),
        (
            "two actions",
            irqs(0x34, 2, 0, 1, &[]),
            vec![event()],
            inval,
        ),
        ("no kind of data", irqs(0x20, 2, 0, 1, &[]), vec![], inval),
        (
            "bools that are not there",
            irqs(0x22, 2, 0, 8, &[1]),
            vec![],
            inval,
        ),
        (
            "fewer events than said",
            irqs(0x24, 2, 0, 3, &[]),
            vec![event(), event()],
            inval,
        ),
        (
            "more events than said",
            irqs(0x24, 2, 0, 1, &[]),
            vec![event(), event()],
            inval,
        ),
        (
            "events for nothing",
            irqs(0x21, 2, 0, 1, &[]),
            vec![event()],
            inval,
        ),
        (
            "an event that is none",
            irqs(0x24, 2, 0, 1, &[]),
            vec![null()],
            inval,
        ),
        (
            "more descriptors than can be",
            read(0, 0, 4),
            (0..60).map(|_| null()).collect(),
            inval,
        ),
    ];
    for (what, message, fds, errno) in rows {
        assert_eq!(client.ask(&message, fds), Err(Some(errno)), "{what}");
        assert_eq!(client.ask(&read(0, 0, 4), vec![]), Ok(()), "after {what}");
    }
    drop(client);
    next_is_served(&serving, "all of them");
    assert!(
        serving
            .stop()
            .iter()
            .all(|client| client.ended == Ended::Left)
    );
    assert_eq!(files(), before + 1);
    drop(end);
}

#[test]
fn mappings_are_exact_and_bounded() {
    let _alone = alone();
    let before = files();
    let serving = Serving::with_room(model::nvme(), 4);
    let client = Client::versioned(&serving);
    let dma = |address| bytes(&Command::DmaMap(map(address, 8192)));
    let ask = |message: Vec<u8>| client.ask(&message, vec![]);
    let refused = |errno| Err(Some(errno));
    assert_eq!(client.ask(&dma(0x1_0000), vec![memory(8192)]), Ok(()));
    for overlap in [0xf000, 0x1_0000, 0x1_1fff] {
        assert_eq!(ask(dma(overlap)), refused(Errno::EEXIST), "{overlap:#x}");
    }
    for n in 2..5 {
        assert_eq!(ask(dma(0x1_0000 * n)), Ok(()));
    }
    assert_eq!(ask(dma(0x9_0000)), refused(Errno::ENOSPC));
    let none = DmaUnmapFlags::empty();
    for (address, size) in [(0x1_0000, 4096), (0x1_1000, 4096), (0x1_0000, 1 << 20)] {
        assert_eq!(ask(unmap(none, address, size)), refused(Errno::ENOENT));
    }
    assert_eq!(ask(unmap(none, 0x1_0000, 8192)), Ok(()));
    for flags in [DmaUnmapFlags::ALL, DmaUnmapFlags::ALL_OTHERWISE] {
        assert_eq!(ask(unmap(flags, 0, 0)), Ok(()));
        assert_eq!(ask(dma(0x1_0000)), Ok(()));
    }
    drop(client);
    drop(serving.stop());
    assert_eq!(files(), before);
}

#[test]
fn who_never_reads_is_hung_up_on() {
    let _alone = alone();
    let serving = Serving::new(model::nvme());
    let mut client = Client::versioned(&serving);
    let message = read(0, 0, 0x4000);
    let begun = Instant::now();
    while client.0.write_all(&message).is_ok() {
        assert!(begun.elapsed() < SOON);
    }
    drop(client);
    next_is_served(&serving, "it");
    let ended = serving.stop()[0].ended;
    assert_eq!(ended, Ended::Channel(ChannelError::Late));
}

#[test]
fn a_thousand_connections_take_nothing_from_the_one_that_is_served() {
    let _alone = alone();
    let before = files();
    let serving = Serving::new(model::nvme());
    let client = Client::versioned(&serving);
    for n in 0..1000 {
        let mut other = Client::connect(&serving);
        if n % 100 == 0 {
            assert!(other.is_left_alone());
            assert_eq!(client.ask(&read(0, 0, 4), vec![]), Ok(()));
        }
    }
    assert_eq!(client.ask(&read(0, 0, 4), vec![]), Ok(()));
    drop(client);
    next_is_served(&serving, "them");
    drop(serving.stop());
    assert_eq!(files(), before);
}

/// Has edu copy 16 bytes from `address` into its buffer.
fn copy(client: &Client, address: u64) {
    let write = |region, offset, data: &[u8]| {
        let access = RegionAccess {
            offset,
            region,
            count: 0,
        };
        assert_eq!(
            client.ask(&bytes(&Command::RegionWrite { access, data }), vec![]),
            Ok(())
        );
    };
    write(7, 4, &[6, 0]);
    for (at, value) in [(0x80, address), (0x88, 0x4_0000), (0x90, 16)] {
        write(0, at, &u64::to_le_bytes(value));
    }
    // The last is not answered before the device has what it asks for.
    let access = RegionAccess {
        offset: 0x98,
        region: 0,
        count: 0,
    };
    let run = Command::RegionWrite {
        access,
        data: &1_u64.to_le_bytes(),
    };
    send(&client.0, &bytes(&run), &[]);
}

#[test]
fn a_file_that_is_cut_short_faults_and_nothing_else() {
    let _alone = alone();
    let serving = Serving::new(model::edu());
    let client = Client::versioned(&serving);
    let file = memory(8192);
    let again = file.try_clone().unwrap();
    let message = bytes(&Command::DmaMap(map(0x1_0000, 8192)));
    assert_eq!(client.ask(&message, vec![file]), Ok(()));
    ftruncate(&again, 4096).unwrap();
    copy(&client, 0x1_1000);
    assert!(receive(&client.0).is_some());
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        assert_eq!(client.ask(&read(0, 0x98, 8), vec![]), Ok(()));
    }
    drop(client);
    next_is_served_edu(&serving);
    let faults: Vec<_> = serving.stop().iter().map(|client| client.faults).collect();
    assert_eq!(faults, [1, 0]);
}

fn next_is_served_edu(serving: &Serving) {
    let sys = sys();
    let session = crate::open(&sys, &serving.path()).unwrap();
    assert!(vfio_exercise::edu::run(sys, session).unwrap().passed());
}

/// How a client answers `DMA_READ`.
type Answer = fn(&Client, Passing);

#[test]
fn who_does_not_answer_as_it_should_is_hung_up_on() {
    let _alone = alone();
    let before = files();
    let serving = Serving::new(model::edu());
    let rows: [(&str, Answer, bool); 7] = [
        (
            "as it should",
            |client, asked| answer(client, asked, |_| ()),
            true,
        ),
        (
            "with an error",
            |client, asked| answer(client, asked, |bytes| bytes[8] = 0x21),
            true,
        ),
        ("not at all", |_, _| (), false),
        (
            "with another id",
            |client, asked| answer(client, asked, |bytes| bytes[0] ^= 1),
            false,
        ),
        (
            "to another command",
            |client, asked| answer(client, asked, |bytes| bytes[2] = 12),
            false,
        ),
        (
            "with another count",
            |client, asked| answer(client, asked, |bytes| bytes[24] = 15),
            false,
        ),
        (
            "after a flood of commands",
            |client, _| {
                for _ in 0..1000 {
                    send(&client.0, &read(0, 0, 4), &[]);
                }
            },
            false,
        ),
    ];
    for (what, respond, is_kept) in rows {
        let mut client = Client::versioned(&serving);
        let message = bytes(&Command::DmaMap(map(0x1_0000, 8192)));
        assert_eq!(client.ask(&message, vec![]), Ok(()));
        copy(&client, 0x1_0000);
        // The reply to the write, and the question, in either order.
        let mut asked = None;
        for _ in 0..2 {
            let heard = receive(&client.0).unwrap();
            let header = Message::read(&heard.bytes).unwrap().header;
            if header.command == CommandId::DMA_READ {
                asked = Some(heard);
            }
        }
        respond(&client, asked.unwrap());
        if is_kept {
            assert_eq!(client.ask(&read(0, 0, 4), vec![]), Ok(()), "{what}");
        } else {
            let begun = Instant::now();
            while receive(&client.0).is_some() {
                assert!(begun.elapsed() < SOON, "{what}");
            }
            assert!(client.is_left_alone(), "{what}");
        }
        drop(client);
        next_is_served_edu(&serving);
    }
    drop(serving.stop());
    assert_eq!(files(), before);
}

/// Answers with 16 bytes, changed.
fn answer(client: &Client, asked: Passing, change: fn(&mut Vec<u8>)) {
    let mut bytes = asked.bytes;
    bytes.extend([7; 16]);
    bytes[4] = 48;
    bytes[8] = 1;
    change(&mut bytes);
    send(&client.0, &bytes, &[]);
}
