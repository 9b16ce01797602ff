//! `vfio bind` and `vfio unbind` where they refuse: nothing is changed, and the user is told why.
//!
//! That they work is checked on real kernels.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use vfio_conformance::fake_tree::FakeTree;

const NVME: &str = "0000:00:06.0";

/// Returns a disk that nvme has.
fn system() -> FakeTree {
    let tree = FakeTree::new();
    tree.device(NVME, 0x1b36, 0x0010, 0x010802);
    tree.bind(NVME, "nvme");
    tree.driver("vfio-pci");
    tree.write(&attribute("driver_override"), "(null)\n");
    tree
}

fn attribute(name: &str) -> String {
    format!("sys/devices/pci/{NVME}/{name}")
}

fn vfio(tree: &FakeTree, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vfio"))
        .arg("--root")
        .arg(tree.root())
        .args(arguments)
        .output()
        .unwrap()
}

/// Its complaint; the device must be as it was.
fn refused(tree: &FakeTree, arguments: &[&str]) -> String {
    let output = vfio(tree, arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let name = fs::read_to_string(tree.root().join(attribute("driver_override"))).unwrap();
    // An override is taken away by an empty line.
    assert!(name == "(null)\n" || name == "\n", "{name:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_disk_that_is_mounted_is_not_taken() {
    let tree = system();
    tree.write(&attribute("nvme/nvme0/nvme0n1/dev"), "259:0\n");
    tree.write("sys/class/block/.keep", "");
    tree.link("sys/class/block/nvme0n1", &attribute("nvme/nvme0/nvme0n1"));
    tree.write(
        "proc/self/mountinfo",
        "22 1 259:0 / /home rw,relatime shared:1 - ext4 /dev/nvme0n1 rw\n",
    );
    assert_eq!(
        refused(&tree, &["bind", NVME]),
        "error: 0000:00:06.0 is in use: nvme0n1 is mounted on /home. \
         Stop using it first, or add --force to take it all the same.\n"
    );
}

#[test]
fn a_disk_without_a_node_is_not_taken_for_unused() {
    let tree = system();
    tree.write(&attribute("nvme/nvme0/nvme0n1/dev"), "259:0\n");
    tree.write("sys/class/block/.keep", "");
    tree.link("sys/class/block/nvme0n1", &attribute("nvme/nvme0/nvme0n1"));
    let text = refused(&tree, &["bind", NVME]);
    assert!(
        text.contains("can't be asked whether nvme0n1 is in use: it has no node in /dev"),
        "{text}"
    );
}

#[test]
fn a_virtual_function_that_a_process_has_open_keeps_the_device() {
    let tree = system();
    let function = "0000:00:06.1";
    tree.device(function, 0x1b36, 0x0010, 0x010802);
    tree.group(function, 7);
    tree.bind(function, "vfio-pci");
    tree.link(
        &attribute("virtfn0"),
        &format!("sys/devices/pci/{function}"),
    );
    tree.write("proc/31/comm", "qemu\n");
    tree.write("proc/31/fd/.keep", "");
    tree.link("proc/31/fd/4", "dev/vfio/7");
    assert_eq!(
        refused(&tree, &["bind", NVME]),
        "error: 0000:00:06.0 is in use: 0000:00:06.1, which would go with it: /dev/vfio/7 is open \
         in process 31 (qemu). Stop using it first, or add --force to take it all the same.\n"
    );
    // By force, it comes as far as the step that the tree does not have.
    let text = refused(&tree, &["bind", "--force", NVME]);
    assert!(text.contains("driver/unbind"), "{text}");
}

/// Holds back whoever opens a pipe to write, since nobody reads it.
#[test]
fn a_step_that_does_not_end_is_told_and_left_behind() {
    let tree = system();
    let pipe = tree.root().join("sys/bus/pci/drivers/nvme/unbind");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let start = Instant::now();
    let output = vfio(&tree, &["bind", "--wait", "2", NVME]);
    let took = start.elapsed();
    // Whoever waits there is let go.
    let mut written = String::new();
    File::open(&pipe)
        .unwrap()
        .read_to_string(&mut written)
        .unwrap();
    assert_eq!(written, NVME);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        (Duration::from_secs(2)..Duration::from_secs(20)).contains(&took),
        "{took:?}"
    );
    let text = String::from_utf8(output.stderr).unwrap();
    let (told, failed) = text.split_once('\n').unwrap();
    assert!(
        told.starts_with("waiting for the kernel") && told.contains("driver/unbind"),
        "{text}"
    );
    assert!(
        failed.starts_with("error: the kernel still works on 0000:00:06.0"),
        "{text}"
    );
    // Nothing was undone: that would have waited, too.
    let name = fs::read_to_string(tree.root().join(attribute("driver_override"))).unwrap();
    assert_eq!(name, "vfio-pci");
}

#[test]
fn ctrl_c_ends_the_waiting() {
    let tree = system();
    let pipe = tree.root().join("sys/bus/pci/drivers/nvme/unbind");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let mut child = Command::new(env!("CARGO_BIN_EXE_vfio"))
        .arg("--root")
        .arg(tree.root())
        .args(["bind", NVME])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut told = String::new();
    stderr.read_line(&mut told).unwrap();
    assert!(told.contains("Ctrl-C, or 60 s"), "{told}");
    let start = Instant::now();
    let id = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    kill_process(id, Signal::INT).unwrap();
    let status = child.wait().unwrap();
    let took = start.elapsed();
    // Whoever waits there is let go.
    File::open(&pipe).unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(took < Duration::from_secs(20), "{took:?}");
    let mut failed = String::new();
    stderr.read_to_string(&mut failed).unwrap();
    assert!(failed.contains("the kernel still works on"), "{failed}");
}

#[test]
fn without_vfio_pci_the_command_that_loads_it_is_told() {
    let tree = system();
    fs::remove_dir(tree.root().join("sys/bus/pci/drivers/vfio-pci")).unwrap();
    let text = refused(&tree, &["bind", NVME]);
    assert!(text.contains("`sudo modprobe vfio-pci`"), "{text}");
}

#[test]
fn a_bridge_is_not_taken_even_by_force() {
    let tree = system();
    let mut header = [0; 64];
    header[14] = 1;
    tree.write(&attribute("config"), header);
    let text = refused(&tree, &["bind", "--force", NVME]);
    assert!(text.contains("is a bridge"), "{text}");
}

#[test]
fn a_step_that_fails_names_its_file() {
    // The tree has no drivers_probe, and no unbind.
    let tree = system();
    let text = refused(&tree, &["bind", NVME]);
    assert!(text.contains("driver/unbind"), "{text}");
    assert!(text.contains("`sudo dmesg`"), "{text}");
}

#[test]
fn only_what_vfio_pci_has_is_given_back() {
    let tree = system();
    let text = refused(&tree, &["unbind", NVME]);
    assert!(
        text.contains("bound to nvme, not to vfio-pci") && text.contains("`vfio list`"),
        "{text}"
    );
    let text = refused(&tree, &["unbind", "00:1f.0"]);
    assert!(text.contains("there is no PCI device"), "{text}");
}

#[test]
fn a_device_that_is_bound_stays_so() {
    let tree = FakeTree::with_ready_device(NVME);
    let output = vfio(&tree, &["bind", NVME]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with("0000:00:06.0 was bound to vfio-pci already."),
        "{text}"
    );
}

/// Returns what a dry run says, after checking that it changed nothing.
fn rehearsed(tree: &FakeTree, arguments: &[&str]) -> String {
    let output = vfio(tree, &[&["bind", "--dry-run"], arguments].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let name = fs::read_to_string(tree.root().join(attribute("driver_override"))).unwrap();
    assert_eq!(name, "(null)\n");
    assert!(!tree.root().join("etc").exists());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_dry_run_says_what_would_be_written_and_changes_nothing() {
    let tree = system();
    let said = rehearsed(&tree, &["--persist", NVME]);
    let lines: Vec<_> = said.lines().map(str::trim).collect();
    let root = tree.root().display();
    assert_eq!(
        lines[0],
        "0000:00:06.0, now with nvme, would be changed by:"
    );
    assert_eq!(
        lines[1],
        format!("vfio-pci > {root}/sys/bus/pci/devices/{NVME}/driver_override")
    );
    assert!(lines[2].starts_with("0000:00:06.0 > ") && lines[2].ends_with("/driver/unbind"));
    assert_eq!(
        lines[3],
        format!("0000:00:06.0 > {root}/sys/bus/pci/drivers_probe")
    );
    assert!(lines[4].ends_with(&format!("{root}/etc/udev/rules.d/20-vfio-{NVME}.rules")));
    assert_eq!(lines.len(), 5, "{said}");
    // What is refused is refused.
    tree.write("sys/devices/pci/0000:00:06.0/boot_vga", "1\n");
    let output = vfio(&tree, &["bind", "--dry-run", NVME]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn devices_are_named_by_what_is_behind_them_and_by_their_group() {
    let tree = system();
    let other = "0000:00:07.0";
    let bridge = "0000:00:08.0";
    for (address, class) in [(other, 0x020000), (bridge, 0x060400)] {
        tree.device(address, 0x8086, 0x10d3, class);
    }
    for address in [NVME, other, bridge] {
        tree.group(address, 7);
    }
    tree.write(&attribute("nvme/nvme0/nvme0n1/size"), "8\n");
    tree.write("sys/class/block/.keep", "");
    tree.write("sys/class/net/.keep", "");
    tree.link("sys/class/block/nvme0n1", &attribute("nvme/nvme0/nvme0n1"));
    tree.write("sys/devices/pci/0000:00:07.0/net/eth1/flags", "0x1002\n");
    tree.link(
        "sys/class/net/eth1",
        "sys/devices/pci/0000:00:07.0/net/eth1",
    );
    let addresses = |said: String| {
        let heads = said.lines().filter(|line| line.ends_with("changed by:"));
        heads.map(|line| line[..12].to_owned()).collect::<Vec<_>>()
    };
    let forced = |names: &[&str]| addresses(rehearsed(&tree, &[&["--force"], names].concat()));
    assert_eq!(forced(&["nvme0n1"]), [NVME]);
    assert_eq!(forced(&["eth1", "00:06.0", "eth1"]), [other, NVME]);
    assert_eq!(forced(&["eth1", "--group"]), [other, NVME]);
    let unknown = refused(&tree, &["bind", "eth9"]);
    assert_eq!(
        unknown,
        "error: no PCI device is behind the name \"eth9\". Name a PCI address, a network interface or a disk; \
         `vfio list` shows them.\n"
    );
}

#[test]
fn what_was_done_before_a_failure_is_told_as_json_too() {
    let tree = system();
    let output = vfio(&tree, &["bind", "--dry-run", "--json", NVME, "00:1f.0"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let record: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let devices = record["devices"].as_array().unwrap();
    assert_eq!(devices.len(), 1, "{record}");
    assert_eq!(devices[0]["device"], NVME);
    assert_eq!(devices[0]["writes"].as_array().unwrap().len(), 3);
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["kind"], "bind");
}
