//! Messages of vfio-user.

use core::hint::black_box;

use vfio_core::wire::Errno;
use vfio_core::wire::vfio_user::{
    self, Command, CommandId, DmaAccess, DmaUnmap, DmaWritten, Frames, Header, IoeventfdType,
    Message, MessageError, RegionAccess, Version, VersionError, Write, Writes,
};
use vfio_freestanding::opaque::{any, used};

pub(crate) fn all(bytes: &mut [u8]) {
    let (bytes, output) = bytes.split_at_mut_checked(any()).unwrap_or_default();
    frames(bytes, output);
    used(vfio_user::message_len(any()));
    used(CommandId::name(any()));
    used(IoeventfdType::name(any()));
    match Version::parse(bytes) {
        Ok(version) => used(Version::emit(&version, output)),
        Err(error) => failed(error),
    }
    if let Some(message) = Message::read(bytes) {
        header(&message.header, output);
        command(&message, output);
        answer(&message);
    }
}

/// Reads a stream in pieces of any length, in any order of calls.
fn frames(bytes: &mut [u8], output: &mut [u8]) {
    let mut frames = Frames::new(black_box(bytes));
    while black_box(true) {
        let space = Frames::space(&mut frames);
        space.iter_mut().for_each(|byte| *byte = any());
        Frames::fill(&mut frames, any());
        used((Frames::missing(&frames), Frames::is_amid(&frames)));
        if let Ok(Some(message)) = Frames::next(&mut frames) {
            command(&message, output);
            answer(&message);
        }
    }
}

fn header(header: &Header, output: &mut [u8]) {
    used(Header::message_type(header));
    used(Header::wants_reply(header));
    used(Header::failure(header));
    let (a, b) = black_box(([1; 3], [2; 40]));
    used(Header::emit(*header, output, black_box(&[&a, &b])));
    used(vfio_user::reply(output, header, black_box(&[&a, &b])));
    used(vfio_user::error_reply(header, Errno(any())));
}

fn command(message: &Message<'_>, output: &mut [u8]) {
    match Command::parse(message) {
        Ok(command) => {
            used(Command::id(&command));
            used(Command::emit(&command, output, any()));
            used(Command::post(&command, output, any()));
            if let Command::RegionWriteMulti(writes) = command {
                used((Writes::len(&writes), Writes::is_empty(&writes)));
                Writes::iter(&writes).for_each(used);
            }
        }
        Err(error) => failed(error),
    }
    let writes: [Write; 3] = any();
    let writes = Command::RegionWriteMulti(Writes::new(black_box(&writes)));
    used(Command::emit(&writes, output, any()));
}

fn answer(message: &Message<'_>) {
    if let Ok(body) = Message::answer(message, any(), any()) {
        used(body);
    }
    let (region, dma): (RegionAccess, DmaAccess) = any();
    used(RegionAccess::data(&region, message.body));
    used(RegionAccess::check_written(&region, message.body));
    used(DmaAccess::data(&dma, message.body));
    used(DmaUnmap::parse_reply(message.body));
    match DmaWritten::parse(message.body) {
        Ok(written) => used(DmaWritten::check(&written, &dma)),
        Err(error) => failed(error),
    }
}

fn failed(error: MessageError) {
    used((MessageError::offset(&error), MessageError::errno(&error)));
    if let MessageError::Version(error) = error {
        used(VersionError::offset(&error));
    }
}
