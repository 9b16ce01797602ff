//! The program `vfio` on made-up systems: what its user sees.

use std::process::{Command, Output};

use serde_json::{Value, json};
use vfio_conformance::fake_tree::FakeTree;

const EDU: &str = "0000:00:05.0";
const NIC: &str = "0000:00:06.0";
const SOUND: &str = "0000:00:06.1";

/// Builds a device on its own that vfio-pci holds, and a network card and a sound card in one
/// group.
fn system() -> FakeTree {
    let tree = FakeTree::new();
    for (address, vendor, device, class, driver, group) in [
        (EDU, 0x1234, 0x11e8, 0x00ff00, "vfio-pci", 7),
        (NIC, 0x8086, 0x10d3, 0x020000, "e1000e", 8),
        (SOUND, 0x8086, 0x2668, 0x040300, "snd_hda_intel", 8),
    ] {
        tree.device(address, vendor, device, class);
        tree.bind(address, driver);
        tree.group(address, group);
    }
    tree.node("vfio/vfio", 0o666);
    tree.node("vfio/7", 0o666);
    tree.write(
        "usr/share/misc/pci.ids",
        "1234  Technical Corp.\n\t11e8  QEMU educational device\nC 02  Network controller\n\t00  Ethernet controller\n",
    );
    tree
}

fn vfio(tree: &FakeTree, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vfio"))
        .arg("--root")
        .arg(tree.root())
        .args(arguments)
        .output()
        .unwrap()
}

/// Returns the output, after checking that the program worked and complained of nothing.
fn printed(output: Output) -> String {
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success() && complaint.is_empty(),
        "{}: {complaint}",
        output.status
    );
    String::from_utf8(output.stdout).unwrap()
}

fn listed(tree: &FakeTree, arguments: &[&str]) -> Value {
    serde_json::from_str(&printed(vfio(
        tree,
        &[&["list", "--json"], arguments].concat(),
    )))
    .unwrap()
}

/// Returns the row of a device, with a blank between words.
fn row(printed: &str, address: &str) -> String {
    let row = printed.lines().find(|line| line.contains(address));
    let words = row.unwrap_or_else(|| panic!("{address}: {printed}"));
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_table_tells_name_group_use_and_status() {
    let tree = system();
    tree.write(&format!("sys/devices/pci/{NIC}/net/eth7/flags"), "0x1003\n");
    tree.write("sys/class/net/.keep", "");
    tree.link(
        "sys/class/net/eth7",
        &format!("sys/devices/pci/{NIC}/net/eth7"),
    );
    let printed = printed(vfio(&tree, &["list"]));
    assert!(
        row(&printed, EDU).starts_with("0000:00:05.0 QEMU educational device vfio-pci 7 - "),
        "{printed}"
    );
    assert_eq!(
        row(&printed, NIC),
        "0000:00:06.0 8086:10d3 Ethernet control… e1000e 8 eth7 in use"
    );
    assert_eq!(
        row(&printed, SOUND),
        "0000:00:06.1 8086:2668 class 040300 snd_hda_intel 8 - not bound"
    );
    // Nothing is told of how a device is taken, unless it is asked for.
    assert!(
        !printed.contains("vfio bind") && !printed.contains("sudo"),
        "{printed}"
    );
    let widest = printed.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(100), "{printed}");
}

#[test]
fn a_device_in_use_is_never_the_one_to_bind() {
    let tree = system();
    tree.write(&format!("sys/devices/pci/{NIC}/net/eth7/flags"), "0x1003\n");
    tree.write("sys/class/net/.keep", "");
    tree.link(
        "sys/class/net/eth7",
        &format!("sys/devices/pci/{NIC}/net/eth7"),
    );
    tree.driver("vfio-pci");
    let printed = printed(vfio(&tree, &["list", "--explain"]));
    assert!(
        printed.contains("0000:00:06.0: The system uses it (eth7).\n"),
        "{printed}"
    );
    assert!(
        printed.contains("\n    sudo vfio bind 0000:00:06.1\n"),
        "{printed}"
    );
    assert!(!printed.contains("bind 0000:00:06.0"), "{printed}");
}

#[test]
fn devices_are_listed_by_group_class_driver_and_readiness() {
    let tree = system();
    let listed = |arguments: &[&str]| {
        let listed = listed(&tree, arguments);
        let devices = listed["devices"].as_array().unwrap().iter();
        devices
            .map(|device| device["address"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(listed(&[]), [EDU, NIC, SOUND]);
    for (arguments, expected) in [
        (["--class", "02"], vec![NIC]),
        (["--class", "0x0403"], vec![SOUND]),
        (["--class", "ethernet"], vec![NIC]),
        (["--driver", "vfio-pci"], vec![EDU]),
        (["--driver", "-"], vec![]),
    ] {
        assert_eq!(listed(&arguments), expected, "{arguments:?}");
    }
    assert!(!listed(&["--ready"]).contains(&NIC.to_owned()));
    let printed = printed(vfio(&tree, &["list", "--groups"]));
    assert!(
        row(&printed, EDU).starts_with("7 0000:00:05.0 "),
        "{printed}"
    );
    assert!(
        row(&printed, NIC).starts_with("8 0000:00:06.0 "),
        "{printed}"
    );
    // A group is named once.
    assert!(
        row(&printed, SOUND).starts_with("0000:00:06.1 "),
        "{printed}"
    );
}

#[test]
fn a_device_without_an_iommu_says_how_it_is_acknowledged() {
    let tree = system();
    tree.write("sys/kernel/iommu_groups/7/name", "vfio-noiommu\n");
    tree.node("vfio/noiommu-7", 0o666);
    let printed = printed(vfio(&tree, &["list", EDU]));
    // Whoever runs the test may lack the capability, which is then said first.
    if printed.contains("CAP_SYS_RAWIO") {
        return;
    }
    assert!(printed.contains("ready, no IOMMU"), "{printed}");
    assert!(
        printed.contains("it reaches all memory of this system."),
        "{printed}"
    );
    assert!(
        printed.contains("vfio inspect --mode noiommu 0000:00:05.0\n"),
        "{printed}"
    );
    // The device that nobody named is not it.
    let output = vfio(&tree, &["inspect"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("`--mode noiommu` opens it all the same."),
        "{text}"
    );
    // And where it is named, the word is asked for before anything is opened.
    let output = vfio(&tree, &["inspect", EDU]);
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(
        complaint.contains("no IOMMU confines the device"),
        "{complaint}"
    );
    assert!(
        complaint.ends_with("Say --mode noiommu to acknowledge it.\n"),
        "{complaint}"
    );
}

#[test]
fn what_is_piped_has_neither_colours_nor_trailing_blanks() {
    let printed = printed(vfio(&system(), &["list"]));
    assert!(!printed.contains('\u{1b}'));
    assert_eq!(printed.lines().find(|line| line.ends_with(' ')), None);
}

#[test]
fn one_device_is_mended_with_its_own_commands() {
    let tree = FakeTree::new();
    tree.device(NIC, 0x8086, 0x10d3, 0x020000);
    tree.bind(NIC, "e1000e");
    tree.group(NIC, 8);
    tree.driver("vfio-pci");
    let printed = printed(vfio(&tree, &["list", "00:06.0"]));
    assert!(
        printed.contains("\n    sudo vfio bind 0000:00:06.0\n"),
        "{printed}"
    );
}

#[test]
fn the_names_of_the_json_stay() {
    let found = listed(&system(), &[NIC]);
    assert_eq!(found["schema"], 1);
    let found = &found["devices"];
    let mut expected = json!([{
        "address": "0000:00:06.0",
        "vendor_id": "0x8086",
        "device_id": "0x10d3",
        "class": "0x020000",
        "revision": null,
        "vendor_name": null,
        "device_name": null,
        "class_name": "Ethernet controller",
        "driver": "e1000e",
        "group": {
            "number": 8,
            "noiommu": false,
            "members": [
                {"name": "0000:00:06.0", "driver": "e1000e"},
                {"name": "0000:00:06.1", "driver": "snd_hda_intel"},
            ],
        },
        "cdev": null,
        "status": "not_bound",
        "ready": false,
        "roles": [],
        "obstacles": [
            {
                "kind": "wrong_driver",
                "message": "The driver e1000e is bound to the device, not vfio-pci.",
                "advice": null,
                "commands": ["sudo vfio bind 0000:00:06.0"],
            },
            {
                "kind": "group_not_viable",
                "message": "IOMMU group 8 is not viable, because other drivers hold members of it: \
                    0000:00:06.1 (snd_hda_intel).",
                "advice": null,
                "commands": ["sudo vfio bind 0000:00:06.1"],
            },
        ],
    }]);
    // Whether whoever runs the test may lock memory is the one thing that is not of the tree.
    let memlock: Vec<Value> = found[0]["obstacles"]
        .as_array()
        .unwrap()
        .iter()
        .skip(2)
        .cloned()
        .collect();
    assert!(
        memlock
            .iter()
            .all(|obstacle| obstacle["kind"] == "memlock_limit")
    );
    expected[0]["obstacles"]
        .as_array_mut()
        .unwrap()
        .extend(memlock);
    assert_eq!(*found, expected);
}

#[test]
fn no_devices_are_a_sentence_and_an_empty_list() {
    let tree = FakeTree::new();
    assert!(printed(vfio(&tree, &["list"])).starts_with("This system has no PCI devices"));
    assert_eq!(listed(&tree, &[]), json!({"schema": 1, "devices": []}));
}

#[test]
fn failures_are_one_line_with_a_way_out() {
    let tree = system();
    let output = vfio(&tree, &["list", "00:1f.0"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "error: there is no PCI device 0000:00:1f.0. `vfio list` shows the devices that there are.\n"
    );

    tree.write(&format!("sys/bus/pci/devices/{EDU}/vendor"), "\u{1b}[31m\n");
    let output = vfio(&tree, &["list"]);
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(
        complaint.contains("0000:00:05.0/vendor is ") && complaint.lines().count() == 1,
        "{complaint}"
    );
    assert!(!complaint.contains('\u{1b}'));
}

#[test]
fn a_sentence_ends_in_one_full_stop() {
    let tree = system();
    for device in [EDU, NIC] {
        for arguments in [["inspect", device], ["list", device]] {
            let output = vfio(&tree, &arguments);
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8(said).unwrap();
            assert!(said.contains(device) && !said.contains(".."), "{said}");
        }
    }
    let output = vfio(&tree, &["inspect", NIC]);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(
        complaint.ends_with("not vfio-pci. Mend it:\n    sudo vfio bind 0000:00:06.0\n"),
        "{complaint}"
    );
}

#[test]
fn a_driver_is_not_tried_on_another_device() {
    let tree = system();
    for (arguments, why) in [
        (
            &["nvme", "identify", EDU][..],
            "0000:00:05.0 is no NVMe controller: its class is 00ff00, not 010802. ",
        ),
        (&["run", "nvme", EDU], "is no NVMe controller"),
        (
            &["run", "edu", NIC],
            "0000:00:06.0 is no edu: it is 8086:10d3. ",
        ),
    ] {
        // It is refused before it is opened, whose obstacles are not even looked at.
        let output = vfio(&tree, arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    let tree = FakeTree::new();
    for arguments in [
        &["list", "nonsense"][..],
        &["list", "--nonsense"],
        &["nonsense"],
        &["completions", "cmd"],
        &[],
    ] {
        let output = vfio(&tree, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            output.stdout.is_empty() && !output.stderr.is_empty(),
            "{arguments:?}"
        );
    }
}

#[test]
fn each_shell_gets_a_script_that_knows_the_commands() {
    let tree = FakeTree::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = printed(vfio(&tree, &["completions", shell]));
        assert!(
            script.contains("vfio") && script.contains("completions"),
            "{shell}"
        );
    }
}
