//! The program `vfio` on terminals, whose width it keeps to.

use std::fs::File;
use std::io::Read as _;
use std::process::{Command, Output, Stdio};

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use vfio_conformance::fake_tree::FakeTree;

/// Returns many devices with names that take room.
fn system() -> FakeTree {
    let tree = FakeTree::new();
    for (address, driver, group) in [
        ("0000:00:06.0", "snd_hda_intel", 8),
        ("0000:00:07.0", "e1000e", 9),
    ] {
        tree.device(address, 0x8086, 0x2668, 0x040300);
        tree.bind(address, driver);
        tree.group(address, group);
    }
    tree.node("vfio/vfio", 0o666);
    tree.write(
        "usr/share/misc/pci.ids",
        "8086  A vendor of some renown\n\t2668  A device with a name of many words\nC 04  Multimedia controller\n\t03  Audio device\n",
    );
    tree
}

fn command(tree: &FakeTree, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vfio"));
    command.env("NO_COLOR", "1").arg("--root").arg(tree.root());
    command.args(arguments);
    command
}

/// Returns the output on a terminal of `columns` columns.
fn shown(tree: &FakeTree, columns: u16, arguments: &[&str]) -> String {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    let size = Winsize {
        ws_row: 0,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&slave, size).unwrap();
    let mut child = command(tree, arguments)
        .stdout(Stdio::from(slave))
        .spawn()
        .unwrap();
    let mut bytes = Vec::new();
    // A terminal that nobody writes to any more ends with an error.
    let _ = File::from(master).read_to_end(&mut bytes);
    assert!(child.wait().unwrap().success());
    String::from_utf8(bytes).unwrap().replace("\r\n", "\n")
}

fn piped(tree: &FakeTree, arguments: &[&str]) -> String {
    let Output { status, stdout, .. } = command(tree, arguments).output().unwrap();
    assert!(status.success());
    String::from_utf8(stdout).unwrap()
}

#[test]
fn a_terminal_that_does_not_know_its_width_is_not_narrow() {
    let tree = system();
    for arguments in [&["list"][..], &["inspect", "sim:igd"], &["map", "sim:msix"]] {
        let expected = piped(&tree, arguments);
        for columns in [0, 1, 20] {
            assert_eq!(
                shown(&tree, columns, arguments),
                expected,
                "{arguments:?}, {columns}"
            );
        }
    }
}

#[test]
fn tables_keep_to_the_width_of_a_terminal() {
    let tree = system();
    let widest = |text: &str| {
        let table = text.lines().take_while(|line| !line.is_empty());
        table.map(|line| line.chars().count()).max()
    };
    assert!(widest(&piped(&tree, &["list"])) > Some(80));
    assert!(widest(&shown(&tree, 80, &["list"])) <= Some(80));
}
