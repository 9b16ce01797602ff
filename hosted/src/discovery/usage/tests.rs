use super::*;
use vfio_conformance::fake_tree::FakeTree;

const DEVICE: &str = "0000:00:06.0";
const VIRTUAL: &str = "0000:00:06.1";

/// A kernel that says of these nodes that they are in use, and can't be asked about these.
#[derive(Default)]
struct Answers {
    used: &'static [&'static str],
    denied: &'static [(&'static str, Errno)],
}

impl Ask for Answers {
    fn is_claimed(&self, node: &Node) -> Result<bool, Errno> {
        match self.denied.iter().find(|(name, _)| node.name == *name) {
            Some((_, errno)) => Err(*errno),
            None => Ok(self.used.contains(&node.name.as_str())),
        }
    }

    fn is_group_open(&self, node: &Node) -> Result<bool, Errno> {
        self.is_claimed(node)
    }
}

fn usages(tree: &FakeTree) -> Vec<String> {
    asking(tree, &Answers::default())
}

fn asking(tree: &FakeTree, ask: &Answers) -> Vec<String> {
    let system = System::below(tree.root());
    let device = system.device(DEVICE.parse().unwrap()).unwrap();
    let usages = system.usages_asking(&device, ask);
    usages.iter().map(ToString::to_string).collect()
}

fn class(tree: &FakeTree, class: &str, name: &str, place: &str) {
    tree.write(&format!("sys/devices/{place}/{name}/uevent"), "");
    tree.write(&format!("sys/class/{class}/.keep"), "");
    tree.link(
        &format!("sys/class/{class}/{name}"),
        &format!("sys/devices/{place}/{name}"),
    );
}

/// Adds a block device that can be opened.
fn block(tree: &FakeTree, name: &str, place: &str, number: &str) {
    class(tree, "block", name, place);
    tree.write(
        &format!("sys/devices/{place}/{name}/dev"),
        format!("{number}\n"),
    );
}

fn partition(tree: &FakeTree, name: &str, place: &str, number: &str) {
    block(tree, name, place, number);
    tree.write(&format!("sys/devices/{place}/{name}/partition"), "1\n");
}

/// Adds a character device, whose node is called `node`.
fn character(tree: &FakeTree, node: &str, place: &str, number: &str) {
    let name = node.rsplit('/').next().unwrap();
    let place = format!("sys/devices/{place}/{name}");
    tree.write(
        &format!("{place}/uevent"),
        format!("MAJOR=1\nMINOR=2\nDEVNAME={node}\n"),
    );
    tree.write("sys/dev/char/.keep", "");
    tree.link(&format!("sys/dev/char/{number}"), &place);
}

/// Adds a process that has these files open.
fn process(tree: &FakeTree, id: u32, name: &str, files: &[&str]) {
    tree.write(&format!("proc/{id}/comm"), format!("{name}\n"));
    tree.write(&format!("proc/{id}/fd/.keep"), "");
    tree.write(&format!("proc/{id}/ns/.keep"), "");
    for (number, file) in files.iter().enumerate() {
        tree.link(&format!("proc/{id}/fd/{number}"), file);
    }
}

fn tree() -> FakeTree {
    let tree = FakeTree::new();
    tree.device(DEVICE, 1, 2, 0x010802);
    tree
}

/// Returns the same with a second controller in its NVMe subsystem, where the disk has a partition.
fn multipath() -> FakeTree {
    let tree = tree();
    class(&tree, "nvme", "nvme1", "pci/0000:00:06.0/nvme");
    class(&tree, "block", "nvme0c1n1", "pci/0000:00:06.0/nvme/nvme1");
    let wwid = "sys/devices/pci/0000:00:06.0/nvme/nvme1/nvme0c1n1/wwid";
    tree.write(wwid, "eui.1\n");
    class(&tree, "nvme-subsystem", "nvme-subsys0", "virtual");
    let subsystem = "virtual/nvme-subsys0";
    for (namespace, number) in [("nvme0n1", "259:1"), ("nvme0n2", "259:2")] {
        block(&tree, namespace, subsystem, number);
        let wwid = format!("sys/devices/{subsystem}/{namespace}/wwid");
        tree.write(
            &wwid,
            format!("eui.{}\n", namespace.trim_start_matches("nvme0n")),
        );
    }
    let disk = format!("{subsystem}/nvme0n1");
    partition(&tree, "nvme0n1p1", &disk, "259:3");
    tree.link(
        "sys/devices/virtual/nvme-subsys0/nvme1",
        "sys/devices/pci/0000:00:06.0/nvme/nvme1",
    );
    tree
}

#[test]
fn an_idle_device_is_unused() {
    let tree = tree();
    block(&tree, "nvme0n1", "pci/0000:00:06.0/nvme/nvme0", "259:0");
    character(&tree, "nvme0", "pci/0000:00:06.0/nvme", "241:0");
    class(&tree, "net", "eth0", "pci/0000:00:07.0/net");
    tree.write("sys/devices/pci/0000:00:07.0/net/eth0/flags", "0x1003\n");
    tree.write("sys/devices/pci/0000:00:06.0/boot_vga", "0\n");
    process(&tree, 9, "sh", &["dev/null"]);
    assert_eq!(usages(&tree), [""; 0]);
}

#[test]
fn mounted_swapped_and_held_disks_are_found() {
    let tree = tree();
    let disk = "pci/0000:00:06.0/nvme/nvme0/nvme0n1";
    for number in 1..=5 {
        partition(
            &tree,
            &format!("nvme0n1p{number}"),
            disk,
            &format!("259:{number}"),
        );
    }
    tree.write(&format!("sys/devices/{disk}/nvme0n1p4/holders/dm-0"), "");
    class(&tree, "block", "loop7", "virtual/block");
    tree.write(
        "sys/devices/virtual/block/loop7/loop/backing_file",
        "/dev/nvme0n1p5\n",
    );
    tree.write(
        "proc/self/mountinfo",
        "22 1 259:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n\
         23 1 0:31 /home /home rw shared:2 master:1 - btrfs /dev/nvme0n1p2 rw\n",
    );
    tree.write(
        "proc/swaps",
        "Filename Type Size Used Priority\n/dev/nvme0n1p3 partition 1 0 -2\n",
    );
    assert_eq!(
        usages(&tree),
        [
            "nvme0n1p1 is mounted on /",
            "nvme0n1p2 is mounted on /home",
            "the system swaps to nvme0n1p3",
            "nvme0n1p4 is part of dm-0",
            "nvme0n1p5 is part of loop7",
        ]
    );
}

#[test]
fn every_disk_of_a_file_system_on_several_is_found() {
    let tree = tree();
    for (name, number) in [("sda", "8:0"), ("sdb", "8:16"), ("sdc", "8:32")] {
        block(&tree, name, "pci/0000:00:06.0/host0", number);
    }
    tree.write("sys/fs/btrfs/features/raid1c34", "0\n");
    for (uuid, name) in [("5a1e", "sda"), ("5a1e", "sdb"), ("77aa", "sdc")] {
        tree.write(&format!("sys/fs/btrfs/{uuid}/devices/{name}/uevent"), "");
    }
    tree.write(
        "proc/self/mountinfo",
        "23 1 0:31 / /srv rw - btrfs /dev/sda rw\n",
    );
    assert_eq!(
        usages(&tree),
        [
            "sda is mounted on /srv",
            "sdb is mounted on /srv",
            "sdc is part of the Btrfs file system 77aa",
        ]
    );
    // Bcachefs names them all.
    tree.write(
        "proc/self/mountinfo",
        "23 1 0:31 / /srv rw - bcachefs /dev/vda:/dev/sdb rw\n",
    );
    assert!(usages(&tree).contains(&"sdb is mounted on /srv".into()));
}

#[test]
fn what_no_table_tells_the_kernel_does() {
    let tree = tree();
    let place = "pci/0000:00:06.0/nvme/nvme0";
    block(&tree, "nvme0n1", place, "259:0");
    partition(&tree, "nvme0n1p1", &format!("{place}/nvme0n1"), "259:1");
    partition(&tree, "nvme0n1p2", &format!("{place}/nvme0n1"), "259:2");
    let said = "is in use, as the kernel says, though no table tells by whom";
    let of = |used| {
        asking(
            &tree,
            &Answers {
                used,
                ..Answers::default()
            },
        )
    };
    // A disk is in use while a partition of it is, which need not be told twice.
    assert_eq!(of(&["nvme0n1", "nvme0n1p2"]), [format!("nvme0n1p2 {said}")]);
    assert_eq!(of(&["nvme0n1"]), [format!("nvme0n1 {said}")]);
    tree.write(
        "proc/self/mountinfo",
        "22 1 259:1 / / rw - ext4 /dev/root rw\n",
    );
    assert_eq!(of(&["nvme0n1", "nvme0n1p1"]), ["nvme0n1p1 is mounted on /"]);
}

#[test]
fn a_disk_that_can_not_be_asked_about_is_not_taken_for_unused() {
    let tree = tree();
    for (name, number) in [("sda", "8:0"), ("sdb", "8:16")] {
        block(&tree, name, "pci/0000:00:06.0/host0", number);
    }
    let answers = Answers {
        denied: &[("sda", Errno::ENOENT), ("sdb", Errno::EACCES)],
        ..Answers::default()
    };
    assert_eq!(
        asking(&tree, &answers),
        [
            "the kernel can't be asked whether sda is in use: it has no node in /dev",
            "the kernel can't be asked whether sdb is in use: permission denied (EACCES)",
        ]
    );
}

/// Asks the system about a node that is no block device, since no test has one.
#[test]
fn only_the_node_of_the_block_device_is_opened() {
    let tree = tree();
    block(&tree, "sda", "pci/0000:00:06.0/host0", "8:0");
    let system = System::below(tree.root());
    let device = system.device(DEVICE.parse().unwrap()).unwrap();
    let unasked = [Usage::Unasked {
        block: "sda".into(),
        errno: Errno::ENOENT,
    }];
    assert_eq!(system.usages(&device), unasked);
    // A pipe would not even open.
    rustix::fs::mknodat(
        rustix::fs::CWD,
        tree.root().join("dev/sda"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    assert_eq!(system.usages(&device), unasked);
    tree.remove("dev/sda");
    // A node of something else.
    std::os::unix::fs::symlink("/dev/null", tree.root().join("dev/sda")).unwrap();
    assert_eq!(system.usages(&device), unasked);
}

#[test]
fn a_disk_with_several_paths_is_found_by_its_subsystem() {
    let tree = multipath();
    tree.write(
        "proc/self/mountinfo",
        "22 1 0:99 / /srv rw - xfs /dev/nvme0n1 rw\n",
    );
    assert_eq!(usages(&tree), ["nvme0n1 is mounted on /srv"]);
    tree.write("proc/self/mountinfo", "");
    tree.write(
        "proc/swaps",
        "Filename Type Size Used Priority\n/dev/nvme0n1p1 partition 1 0 -2\n",
    );
    assert_eq!(usages(&tree), ["the system swaps to nvme0n1p1"]);
    tree.write("proc/swaps", "");
    let answers = Answers {
        used: &["nvme0n1p1", "nvme0n1"],
        ..Answers::default()
    };
    assert_eq!(
        asking(&tree, &answers),
        ["nvme0n1p1 is in use, as the kernel says, though no table tells by whom"]
    );
}

#[test]
fn a_namespace_of_another_controller_is_not_the_devices() {
    let tree = multipath();
    let answers = Answers {
        used: &["nvme0n2"],
        ..Answers::default()
    };
    assert_eq!(asking(&tree, &answers), [""; 0]);
    // Where it can't be told apart, it is.
    tree.remove("sys/devices/virtual/nvme-subsys0/nvme0n2/wwid");
    assert_eq!(asking(&tree, &answers).len(), 1);
}

#[test]
fn a_mount_in_another_namespace_is_named() {
    let tree = tree();
    block(&tree, "vda", "pci/0000:00:06.0/virtio0/block", "254:0");
    tree.write("proc/self/mountinfo", "");
    tree.write("proc/self/ns/.keep", "");
    for (id, name, namespace) in [(1, "init", "own"), (31, "pod", "pod"), (32, "sh", "pod")] {
        process(&tree, id, name, &[]);
        tree.link(&format!("proc/{id}/ns/mnt"), namespace);
    }
    tree.link("proc/self/ns/mnt", "own");
    let line = "22 1 254:0 / /data rw - ext4 /dev/vda rw\n";
    tree.write("proc/31/mountinfo", line);
    tree.write("proc/32/mountinfo", line);
    assert_eq!(
        usages(&tree),
        ["vda is mounted on /data in another mount namespace, that of process 31 (pod)"]
    );
}

#[test]
fn processes_that_have_a_node_open_are_named() {
    let tree = tree();
    character(&tree, "nvme0", "pci/0000:00:06.0/nvme", "241:0");
    character(&tree, "snd/controlC0", "pci/0000:00:06.0/sound", "116:2");
    character(&tree, "ttyS4", "pci/0000:00:06.0/tty", "4:68");
    character(&tree, "nvme1", "pci/0000:00:07.0/nvme", "241:1");
    block(&tree, "nvme0n1", "pci/0000:00:06.0/nvme/nvme0", "259:0");
    process(&tree, 7, "fio", &["dev/nvme1", "dev/nvme0n1"]);
    process(&tree, 12, "smartd", &["dev/nvme0", "dev/null", "dev/nvme0"]);
    process(&tree, 13, "pulseaudio", &["dev/snd/controlC0"]);
    process(&tree, 14, "pipewire", &["dev/snd/controlC0"]);
    tree.write("proc/consoles", "ttyS4 -W- (EC p a) 4:68\n");
    assert_eq!(
        usages(&tree),
        [
            "/dev/nvme0n1 is open in process 7 (fio)",
            "/dev/snd/controlC0 is open in process 13 (pulseaudio) and process 14 (pipewire)",
            "/dev/nvme0 is open in process 12 (smartd)",
            "the kernel writes its log to /dev/ttyS4",
        ]
    );
}

#[test]
fn a_node_under_another_name_is_known_by_its_number() {
    let tree = tree();
    // Its own /dev has null as something else.
    character(&tree, "something", "pci/0000:00:06.0/misc", "1:3");
    let file = std::fs::File::open("/dev/null").unwrap();
    let id = std::process::id();
    tree.write(&format!("proc/{id}/comm"), "test\n");
    std::os::unix::fs::symlink("/proc/self/fd", tree.root().join(format!("proc/{id}/fd"))).unwrap();
    assert_eq!(
        usages(&tree),
        [format!("/dev/something is open in process {id} (test)")]
    );
    drop(file);
}

#[test]
fn interfaces_that_are_up_or_held_and_the_boot_display_are_found() {
    let tree = tree();
    let place = "pci/0000:00:06.0/virtio0/net";
    class(&tree, "net", "eth0", place);
    class(&tree, "net", "eth1", place);
    tree.write(&format!("sys/devices/{place}/eth0/flags"), "0x1003\n");
    tree.write(&format!("sys/devices/{place}/eth1/flags"), "0x1002\n");
    tree.link(&format!("sys/devices/{place}/eth1/upper_bond0"), "bond0");
    tree.write("sys/devices/pci/0000:00:06.0/boot_vga", "1\n");
    assert_eq!(
        usages(&tree),
        [
            "it is the display that the system booted with",
            "the network interface eth0 is up",
            "the network interface eth1 is part of bond0",
        ]
    );
}

#[test]
fn an_interface_in_another_network_namespace_is_noticed() {
    for place in ["net", "virtio0/net"] {
        let tree = tree();
        let directory = format!("sys/devices/pci/0000:00:06.0/{place}");
        tree.write(&format!("{directory}/eth0/uevent"), "");
        assert_eq!(usages(&tree), [""; 0]);
        std::fs::remove_dir_all(tree.root().join(format!("{directory}/eth0"))).unwrap();
        assert_eq!(
            usages(&tree),
            ["a network interface of it is in another network namespace"]
        );
    }
}

/// Returns the device with a virtual function that vfio-pci has.
fn with_virtual_function() -> FakeTree {
    let tree = tree();
    tree.device(VIRTUAL, 1, 2, 0x020000);
    tree.group(VIRTUAL, 7);
    tree.bind(VIRTUAL, "vfio-pci");
    tree.link(
        "sys/devices/pci/0000:00:06.0/virtfn0",
        "sys/devices/pci/0000:00:06.1",
    );
    tree.node("vfio/7", 0o600);
    tree
}

#[test]
fn a_virtual_function_in_use_is_named_with_who_uses_it() {
    let tree = with_virtual_function();
    assert_eq!(usages(&tree), [""; 0]);
    // It may be open where its process can't be seen.
    let answers = Answers {
        used: &["vfio/7"],
        ..Answers::default()
    };
    assert_eq!(
        asking(&tree, &answers),
        [
            "0000:00:06.1, which would go with it: /dev/vfio/7 is open in a process that can't be \
          told"
        ]
    );
    process(&tree, 31, "qemu", &["dev/vfio/7"]);
    assert_eq!(
        asking(&tree, &answers),
        ["0000:00:06.1, which would go with it: /dev/vfio/7 is open in process 31 (qemu)"]
    );
}

#[test]
fn a_process_that_has_only_the_device_open_is_named_where_the_kernel_tells() {
    let tree = with_virtual_function();
    process(&tree, 31, "cloud-hypervisor", &[]);
    process(&tree, 32, "sh", &[]);
    for id in [31, 32] {
        let file = tree.root().join(format!("proc/{id}/fd/9"));
        std::os::unix::fs::symlink("anon_inode:[vfio-device]", file).unwrap();
    }
    let info = |id, address| {
        let path = format!("proc/{id}/fdinfo/9");
        let text = format!("pos:\t0\nvfio-device-syspath: /sys/devices/pci/{address}\n");
        tree.write(&path, text);
    };
    info(32, "0000:00:07.0");
    assert_eq!(usages(&tree), [""; 0]);
    info(31, VIRTUAL);
    assert_eq!(
        usages(&tree),
        [
            "0000:00:06.1, which would go with it: /dev/vfio/7 is open in process 31 (cloud-hypervisor)"
        ]
    );
}

#[test]
fn what_the_system_uses_a_virtual_function_for_counts() {
    let tree = with_virtual_function();
    class(&tree, "net", "eth7", "pci/0000:00:06.1/net");
    tree.write("sys/devices/pci/0000:00:06.1/net/eth7/flags", "0x1003\n");
    assert_eq!(
        usages(&tree),
        ["0000:00:06.1, which would go with it: the network interface eth7 is up"]
    );
}

#[test]
fn only_consumers_that_the_kernel_minds_go_with_a_device() {
    let tree = with_virtual_function();
    tree.remove("sys/devices/pci/0000:00:06.0/virtfn0");
    let link = "sys/devices/pci/0000:00:06.0/consumer:pci:0000:00:06.1/status";
    process(&tree, 31, "qemu", &["dev/vfio/7"]);
    tree.write(link, "not tracked\n");
    assert_eq!(usages(&tree), [""; 0]);
    tree.write(link, "active\n");
    assert_eq!(usages(&tree).len(), 1);
    // Links may go round in circles.
    tree.write(
        "sys/devices/pci/0000:00:06.1/consumer:pci:0000:00:06.0/status",
        "active\n",
    );
    assert_eq!(usages(&tree).len(), 1);
}

#[test]
fn mediated_devices_and_those_of_a_domain_below_are_found_open() {
    let tree = tree();
    for (bus, name, driver, group) in [
        ("mdev", "5f6b0d1e", "vfio_mdev", 9),
        ("pci", "10000:e1:00.0", "vfio-pci", 11),
    ] {
        let place = format!("sys/devices/pci/0000:00:06.0/{name}");
        tree.write(&format!("{place}/uevent"), "");
        tree.write(&format!("sys/bus/{bus}/devices/.keep"), "");
        tree.link(&format!("sys/bus/{bus}/devices/{name}"), &place);
        tree.link(
            &format!("{place}/driver"),
            &format!("sys/bus/{bus}/drivers/{driver}"),
        );
        let group = format!("sys/kernel/iommu_groups/{group}");
        tree.link(&format!("{place}/iommu_group"), &group);
    }
    process(&tree, 31, "qemu", &["dev/vfio/9"]);
    let answers = Answers {
        used: &["vfio/11"],
        ..Answers::default()
    };
    assert_eq!(
        asking(&tree, &answers),
        [
            "/dev/vfio/11 is open in a process that can't be told",
            "/dev/vfio/9 is open in process 31 (qemu)",
        ]
    );
}
