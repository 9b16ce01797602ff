//! `vfio read`, `write`, `dump`, `watch` and `reset` on simulated devices.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vfio"));
    command.args(arguments);
    command
}

fn vfio(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

/// Returns the output, after checking that the program worked and complained of nothing.
fn printed(arguments: &[&str]) -> String {
    let output = vfio(arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Its complaint, having printed nothing and ended with `status`.
fn complaint(arguments: &[&str], status: i32) -> String {
    let output = vfio(arguments);
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("error: "), "{text}");
    text
}

#[test]
fn a_register_is_read_in_its_width() {
    for (arguments, value) in [
        (["sim:edu", "bar0", "0"].as_slice(), "0x010000ed\n"),
        (&["sim:edu", "BAR0", "0x0"], "0x010000ed\n"),
        (&["sim:edu", "0", "0"], "0x010000ed\n"),
        (&["sim:edu", "config", "0", "--width", "16"], "0x1234\n"),
        (&["sim:edu", "7", "3", "--width", "8"], "0x11\n"),
        // "IntelGra", little-endian.
        (
            &["sim:igd", "intel-igd-opregion", "0", "--width", "64"],
            "0x6172476c65746e49\n",
        ),
    ] {
        let text = printed(&[&["read"], arguments].concat());
        assert_eq!(text, value, "{arguments:?}");
    }
    let record: Value =
        serde_json::from_str(&printed(&["read", "sim:edu", "bar0", "0", "--json"])).unwrap();
    assert_eq!(
        record,
        json!({
            "schema": 1, "device": "sim:edu", "region": {"index": 0, "name": "BAR0"}, "offset": 0,
            "width": 32, "value": 0x0100_00ed, "hex": "0x010000ed",
        })
    );
}

#[test]
fn what_names_no_register_is_a_wrong_usage_with_a_way_out() {
    let wrong = |arguments: &[&str], word: &str| {
        let text = complaint(arguments, 2);
        assert!(text.contains(word), "{text}");
    };
    wrong(&["read", "sim:edu", "bar0", "2"], "--width");
    wrong(&["read", "sim:edu", "bar0", "0x100000"], "`vfio inspect`");
    wrong(
        &["read", "sim:edu", "bar0", "0xfffffffffffffffc"],
        "`vfio inspect`",
    );
    wrong(&["read", "sim:edu", "bar4", "0"], "It has BAR0, CONFIG.");
    wrong(&["read", "sim:edu", "bar0", "zero"], "0x");
    wrong(
        &["read", "sim:edu", "bar0", "0", "--width", "24"],
        "[possible values: 8, 16, 32, 64]",
    );
    wrong(
        &["write", "sim:edu", "bar0", "4", "0x100", "--width", "8"],
        "--width",
    );
    wrong(&["read", "sim:nothing", "bar0", "0"], "sim:edu");
}

#[test]
fn writes_end_in_silence_or_with_the_reason() {
    assert_eq!(
        printed(&["write", "sim:edu", "bar0", "4", "0xffffffff"]),
        ""
    );
    let text = complaint(&["write", "sim:igd", "intel-igd-opregion", "0", "1"], 1);
    assert!(text.contains("can't be written"), "{text}");
}

#[test]
fn configuration_space_is_dumped_as_hexdump_does() {
    let text = printed(&["dump", "sim:edu", "config"]);
    let expected = "\
00000000  34 12 e8 11 02 00 10 00  10 00 ff 00 00 00 00 00  |4...............|
00000010  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
*
00000030  00 00 00 00 40 00 00 00  00 00 00 00 00 01 00 00  |....@...........|
00000040  05 00 80 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
00000050  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
*
00000100
";
    assert_eq!(text, expected);
}

#[test]
fn ranges_and_widths_are_kept() {
    let record: Value = serde_json::from_str(&printed(&[
        "dump", "sim:edu", "config", "--range", "1..4", "--range", "0x40+2", "--json",
    ]))
    .unwrap();
    assert_eq!(
        record["ranges"],
        json!([
            {"offset": 1, "size": 3, "bytes": "12e811"},
            {"offset": 0x40, "size": 2, "bytes": "0500"},
        ])
    );
    // The registers of edu answer to 32 bits only.
    let bar = |width: &[&str]| {
        let arguments = [
            &["dump", "sim:edu", "bar0", "--range", "0+4", "--force"],
            width,
        ];
        printed(&arguments.concat())
    };
    assert!(bar(&[]).contains("ed 00 00 01"), "{}", bar(&[]));
    assert!(bar(&["--width", "16"]).contains("00 00 00 00"));
    for range in ["0..0", "5..4", "0..257", "256.."] {
        complaint(&["dump", "sim:edu", "config", "--range", range], 2);
    }
    let odd = [
        "dump", "sim:edu", "config", "--range", "1..5", "--width", "32",
    ];
    assert!(complaint(&odd, 2).contains("multiples of 4"));
}

#[test]
fn registers_with_side_effects_are_left_alone_unless_forced() {
    for command in ["dump", "watch"] {
        let offset = (command == "watch").then_some("0");
        let arguments: Vec<_> = [command, "sim:edu", "bar0"]
            .into_iter()
            .chain(offset)
            .collect();
        assert!(complaint(&arguments, 1).contains("--force"));
    }
    printed(&["dump", "sim:igd", "rom", "--range", "0+16"]);
}

#[test]
fn a_register_that_stays_is_shown_once() {
    let text = printed(&[
        "watch",
        "sim:edu",
        "config",
        "0",
        "--count",
        "3",
        "--interval",
        "1",
    ]);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("0x11e81234"), "{text}");
    let text = printed(&[
        "watch",
        "sim:edu",
        "config",
        "0",
        "--count",
        "2",
        "--interval",
        "1",
        "--json",
    ]);
    let change: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(change["value"], 0x11e8_1234);
    assert_eq!(change["changes"], 0);
}

#[test]
fn watching_ends_well_on_interrupt() {
    let mut child = command(&["watch", "sim:edu", "config", "0", "--interval", "60000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    out.read_line(&mut first).unwrap();
    assert!(first.contains("0x11e81234"), "{first}");
    let id = Pid::from_child(&child);
    kill_process(id, Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut complaint = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut complaint)
        .unwrap();
    assert_eq!(complaint, "");
}

#[test]
fn only_a_device_with_a_reset_of_its_own_is_reset() {
    assert_eq!(printed(&["reset", "sim:msix"]), "sim:msix was reset.\n");
    let text = complaint(&["reset", "sim:edu"], 1);
    assert!(
        text.contains("EINVAL") && text.contains("`vfio inspect`"),
        "{text}"
    );
}
