//! Versions on literal text.

use super::*;

/// Returns the bytes behind the header: version 0.1 with a text.
fn body(text: &str) -> std::vec::Vec<u8> {
    let head = VersionHead { major: 0, minor: 1 };
    [head.as_bytes(), text.as_bytes()].concat()
}

fn parse(text: &str) -> Result<Capabilities, MessageError> {
    Version::parse(&body(text)).map(|version| version.capabilities)
}

#[test]
fn what_qemu_proposes_is_read() {
    let text = "{\"capabilities\": {\"migration\": {\"max_bitmap_size\": 268435456, \
                \"pgsize\": 4096}, \"write_multiple\": true, \"max_data_xfer_size\": 1048576, \
                \"pgsizes\": 4096, \"max_dma_maps\": 65535, \"max_msg_fds\": 8}}\0";
    let expected = Capabilities {
        max_msg_fds: 8,
        write_multiple: true,
        migration: Some(Migration {
            pgsize: 4096,
            max_bitmap_size: Some(1 << 28),
        }),
        ..Capabilities::default()
    };
    assert_eq!(parse(text), Ok(expected));
}

#[test]
fn a_second_socket_is_found() {
    let text = "{\"capabilities\":{\"twin_socket\":{\"supported\":true,\"fd_index\":0}}}\0";
    let expected = TwinSocket {
        supported: true,
        fd_index: Some(0),
    };
    assert_eq!(parse(text).unwrap().twin_socket, expected);
}

#[test]
fn what_is_not_known_is_skipped_and_what_is_not_said_holds_by_default() {
    for text in [
        "",
        "{}\0",
        "{\"capabilities\":{}}\0",
        "{\"max_msg_fds\":9,\"x\":[{\"capabilities\":{\"max_msg_fds\":9}}]}\0",
        "{\"capabilities\":{\"x\":{\"max_msg_fds\":9},\"migrations\":{\"pgsize\":1}}}\0",
    ] {
        assert_eq!(parse(text), Ok(Capabilities::default()), "{text}");
    }
}

#[test]
fn a_text_that_is_broken_is_told_where() {
    for (text, error) in [
        ("{}", VersionError::Unterminated { offset: 22 }),
        ("{}\0 ", VersionError::Unterminated { offset: 22 }),
        ("{}\0\0", VersionError::Unterminated { offset: 22 }),
        (
            "\0",
            VersionError::Json {
                offset: 20,
                fault: JsonFault::Ended,
            },
        ),
        (
            "{\"capabilities\":{\"max_msg_fds\":8}\0",
            VersionError::Json {
                offset: 53,
                fault: JsonFault::Ended,
            },
        ),
        ("7\0", VersionError::Value { offset: 21 }),
        ("[]\0", VersionError::Value { offset: 21 }),
        ("{\"capabilities\":7}\0", VersionError::Value { offset: 37 }),
        (
            "{\"capabilities\":{\"max_msg_fds\":-1}}\0",
            VersionError::Value { offset: 53 },
        ),
        (
            "{\"capabilities\":{\"max_msg_fds\":\"8\"}}\0",
            VersionError::Value { offset: 54 },
        ),
    ] {
        assert_eq!(parse(text), Err(error.into()), "{text}");
    }
}

#[test]
fn another_protocol_and_half_a_version_are_refused() {
    let truncated = MessageError::Truncated { len: 19, min: 20 };
    assert_eq!(Version::parse(&[0; 3]), Err(truncated));
    let other = VersionHead { major: 1, minor: 0 };
    let error = VersionError::Major(1);
    assert_eq!(Version::parse(other.as_bytes()), Err(error.into()));
}

#[test]
fn what_is_written_is_read_and_is_never_longer_than_its_room() {
    let version = Version {
        major: 0,
        minor: 1,
        capabilities: Capabilities {
            max_msg_fds: 16,
            max_data_xfer_size: u64::MAX,
            max_dma_maps: 7,
            pgsizes: 0,
            ..Capabilities::default()
        },
    };
    let mut out = [0xa5; 160];
    let len = version.emit(&mut out);
    let text = b"{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":\
                 18446744073709551615,\"max_dma_maps\":7,\"pgsizes\":0}}\0";
    assert_eq!(&out[4..len], text);
    assert_eq!(Version::parse(&out[..len]), Ok(version));
    for room in 0..len {
        let len = version.emit(&mut out[..room]);
        assert!(len <= room);
        match Version::parse(&out[..len]) {
            Ok(read) => assert_eq!((read.major, read.minor), (0, 1)),
            Err(_) => assert!(room < 4 && len == 0),
        }
    }
    assert_eq!(version.emit(&mut out[..70]), 40);
}
