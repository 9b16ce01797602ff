//! Any stream as messages of vfio-user: however it is cut, the same messages, each a command or a
//! reply that is written again as it was, or an error that says where.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vfio_core::wire::vfio_user::{
    Capabilities, Command, CommandId, DmaAccess, DmaUnmap, DmaWritten, FrameError, Frames,
    HEADER_LEN, Message, MessageError, RegionAccess, Version,
};

/// The longest message.
const LONGEST: usize = 512;

fuzz_target!(|input: &[u8]| {
    let [step, stream @ ..] = input else {
        return;
    };
    let whole = cut(stream, usize::MAX);
    assert_eq!(cut(stream, usize::from(*step).max(1)), whole);
    assert_eq!(exactly(stream), whole);
    let (messages, _) = whole;
    for bytes in &messages {
        let message = Message::read(bytes).unwrap();
        assert_eq!(message.header.size as usize, bytes.len());
        command(&message);
        answer(&message);
    }
    version(stream);
});

/// Returns the messages of a stream that arrives in pieces of up to `step` bytes, and how it ended.
fn cut(stream: &[u8], step: usize) -> (Vec<Vec<u8>>, Option<FrameError>) {
    let mut frames = Frames::new([0; LONGEST]);
    let (mut rest, mut heard) = (stream, vec![]);
    loop {
        loop {
            match frames.next() {
                Ok(Some(message)) => heard.push(bytes_of(&message)),
                Ok(None) => break,
                Err(error) => return (heard, Some(error)),
            }
        }
        if rest.is_empty() {
            return (heard, None);
        }
        let space = frames.space();
        let (piece, left) = rest.split_at(step.min(space.len()).min(rest.len()));
        assert!(!piece.is_empty(), "no room, and no message");
        space[..piece.len()].copy_from_slice(piece);
        frames.fill(piece.len());
        rest = left;
    }
}

/// Returns the same, where no byte is read before it is known to belong to the message.
fn exactly(stream: &[u8]) -> (Vec<Vec<u8>>, Option<FrameError>) {
    let mut frames = Frames::new([0; LONGEST]);
    let (mut rest, mut heard) = (stream, vec![]);
    loop {
        let missing = match frames.missing() {
            Ok(missing) => missing,
            Err(error) => return (heard, Some(error)),
        };
        let (piece, left) = rest.split_at(missing.min(rest.len()));
        frames.space()[..piece.len()].copy_from_slice(piece);
        frames.fill(piece.len());
        rest = left;
        match frames.next() {
            Ok(Some(message)) => {
                heard.push(bytes_of(&message));
                assert!(!frames.is_amid());
            }
            Ok(None) if piece.is_empty() => return (heard, None),
            Ok(None) => (),
            Err(error) => return (heard, Some(error)),
        }
    }
}

fn bytes_of(message: &Message<'_>) -> Vec<u8> {
    let mut out = vec![0; HEADER_LEN + message.body.len()];
    message.header.emit(&mut out, &[message.body]).unwrap();
    out
}

/// Returns what was read of a command is what is written of it.
fn command(message: &Message<'_>) {
    match Command::parse(message) {
        Ok(command) => {
            assert_eq!(command.id(), message.header.command);
            let mut out = vec![0xa5; 2 * LONGEST];
            let len = command.emit(&mut out, message.header.id).unwrap();
            let again = Message::read(&out[..len]).unwrap();
            assert_eq!(again.header.size as usize, len);
            if message.header.command != CommandId::VERSION {
                assert_eq!(Command::parse(&again), Ok(command));
            }
            for short in [0, HEADER_LEN, len - 1] {
                let text = message.header.command == CommandId::VERSION;
                assert!(text || command.emit(&mut out[..short.min(len - 1)], 0).is_err());
            }
        }
        Err(error) => failed(&error, message),
    }
}

/// Returns what is read of a reply is within it.
fn answer(message: &Message<'_>) {
    let _ = message.answer(message.header.id, message.header.command);
    let body = message.body;
    let word = |at: usize| {
        let bytes = body.get(at..at + 8)?;
        Some(u64::from_ne_bytes(bytes.try_into().ok()?))
    };
    let access = DmaAccess {
        address: word(0).unwrap_or(0),
        count: word(8).unwrap_or(0),
    };
    match access.data(body) {
        Ok(data) => assert_eq!(data.len() as u64, access.count),
        Err(error) => failed(&error, message),
    }
    let count = body.len().saturating_sub(16) as u32;
    let region = RegionAccess {
        count,
        ..RegionAccess::default()
    };
    match region.data(body) {
        Ok(data) => assert_eq!(data, &body[16..]),
        Err(error) => failed(&error, message),
    }
    if let Err(error) = region.check_written(body) {
        failed(&error, message);
    }
    if let Err(error) = DmaUnmap::parse_reply(body) {
        failed(&error, message);
    }
    match DmaWritten::parse(body) {
        Ok(written) => assert_eq!(Some(written.address), word(0)),
        Err(error) => failed(&error, message),
    }
}

/// A version that was read is written in as much room as there is.
fn version(body: &[u8]) {
    let Ok(version) = Version::parse(body) else {
        return;
    };
    let numbers = |capabilities: Capabilities| {
        let Capabilities {
            max_msg_fds,
            max_data_xfer_size,
            max_dma_maps,
            pgsizes,
            ..
        } = capabilities;
        [max_msg_fds, max_data_xfer_size, max_dma_maps, pgsizes]
    };
    let mut out = [0; 256];
    let len = version.emit(&mut out);
    let again = Version::parse(&out[..len]).unwrap();
    assert_eq!(numbers(again.capabilities), numbers(version.capabilities));
    let room = body.len().min(len);
    let len = version.emit(&mut out[..room]);
    assert!(len <= room);
    assert!(len == 0 || Version::parse(&out[..len]).is_ok());
}

fn failed(error: &MessageError, message: &Message<'_>) {
    assert!(!error.to_string().is_empty());
    let len = HEADER_LEN + message.body.len();
    assert!(error.offset() as usize <= len.max(32), "{error:?} in {len}");
}
