//! The emulated machine: which devices it has, and where.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use vfio_guest::{Device, Kind, Plan};

use super::kernel::{Choice, Kernel};
use super::qemu::Qemu;

/// A PCI device of the machine.
struct Emulated {
    name: &'static str,
    bdf: &'static str,
    ids: (u16, u16),
    /// The value of QEMU's option `-device`.
    qemu: &'static str,
}

impl Emulated {
    /// Returns the name by which QEMU knows the device.
    fn model(&self) -> &'static str {
        self.qemu.split(',').next().unwrap_or_default()
    }
}

/// A mediated device, of a sample driver in the kernel.
struct Sample {
    name: &'static str,
    uuid: &'static str,
    parent: &'static str,
    mdev_type: &'static str,
}

/// Root ports, of the buses 1 to 5. vfio-pci can reset a slot behind a port, but not one on the root bus. After a reset Linux
/// waits for the link of a port of more than 5 GT/s, which QEMU does not bring up again.
const PORTS: [&str; 5] = [
    "pcie-root-port,id=port1,chassis=1,addr=10.0,x-speed=5,hotplug=off",
    "pcie-root-port,id=port2,chassis=2,addr=11.0,x-speed=5,hotplug=off",
    "pcie-root-port,id=port3,chassis=3,addr=12.0,x-speed=5,hotplug=off",
    "pcie-root-port,id=port4,chassis=4,addr=13.0,x-speed=5,hotplug=off",
    // What is behind it can be unplugged.
    "pcie-root-port,id=port5,chassis=5,addr=14.0,x-speed=5",
];

/// What an NVMe controller and its virtual functions are controllers of.
const SUBSYSTEM: &str = "nvme-subsys,id=subsystem";

/// The processor. QEMU emulates `rep stosb` byte by byte: without its flags Linux clears pages by words, which is
/// several times faster.
const PROCESSOR: &str = "max,-erms,-fsrm";

/// What the NVMe controller `nvme-shared` is a controller of, and its namespace: others could have it as well.
const SHARED_SUBSYSTEM: &str = "nvme-subsys,id=shared-subsystem";
const SHARED_NAMESPACE: &str = "nvme-ns,drive=disk3,bus=shared,nsid=1,shared=on";

/// The memory that `ivshmem-plain` shares with nobody, as QEMU's option `-object` takes it.
const SHARED: &str = "memory-backend-ram,id=shared,size=4M,share=on";

/// What the kernel is told. The huge pages are for DMA: a large one takes the guest's memory past
/// 4 GiB whole. A busy host starves the timer that Linux tries out at boot; it works all the same.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 no_timer_check intel_iommu=on iommu=nopt \
                            default_hugepagesz=2M hugepagesz=1G hugepages=1 hugepagesz=2M hugepages=16";

/// What the kernel of a machine without an IOMMU is told. Each piece of memory for DMA is a huge
/// page there.
const NOIOMMU_COMMAND_LINE: &str =
    "console=ttyS0 quiet panic=-1 no_timer_check default_hugepagesz=2M hugepagesz=2M hugepages=32";

/// The devices that are tested without an IOMMU.
pub(crate) const NOIOMMU_DEVICES: [&str; 5] = ["edu", "nvme", "xhci", "virtio-net", "virtio-blk"];

/// The namespace of the NVMe controller `nvme-guard`: its metadata are protection information alone, with a
/// guard of 64 bits, behind each block.
const GUARDED_NAMESPACE: &str = "nvme-ns,drive=disk2,bus=guarded,logical_block_size=4096,physical_block_size=4096,ms=16,mset=1,pi=1,pif=2";

/// The network of `virtio-net`: QEMU itself answers there, and leads nowhere else.
const NETWORK: &str = "user,id=net0,restrict=on";

/// The disks of the NVMe controllers and of `virtio-blk`, as their `drive` property names them.
const DISKS: [&str; 5] = ["disk0", "disk1", "disk2", "disk3", "disk4"];

/// Returns the disk of the NVMe controller called `device`, if it has one.
pub(crate) fn disk(device: &str) -> Option<&'static str> {
    match device {
        "nvme" => Some("disk0"),
        "nvme-port" => Some("disk1"),
        _ => None,
    }
}

/// The disk that takes and gives nothing where something is measured, and its size in bytes.
const NULL_DISK: &str = "disk0";
const NULL_SIZE: u64 = 1 << 30;

/// The size of each disk in bytes.
const DISK_SIZE: u64 = 16 << 20;

const PCI: [Emulated; 19] = [
    Emulated {
        name: "edu",
        bdf: "0000:00:05.0",
        ids: (0x1234, 0x11e8),
        qemu: "edu,addr=05.0",
    },
    Emulated {
        name: "nvme",
        bdf: "0000:00:06.0",
        ids: (0x1b36, 0x0010),
        qemu: "nvme,serial=disk0,drive=disk0,addr=06.0",
    },
    // Two functions of one slot share an IOMMU group.
    Emulated {
        name: "pci-testdev",
        bdf: "0000:00:07.0",
        ids: (0x1b36, 0x0005),
        qemu: "pci-testdev,addr=07.0,multifunction=on,membar=1M",
    },
    Emulated {
        name: "pci-testdev-1",
        bdf: "0000:00:07.1",
        ids: (0x1b36, 0x0005),
        qemu: "pci-testdev,addr=07.1",
    },
    Emulated {
        name: "virtio-net-pci",
        bdf: "0000:00:08.0",
        ids: (0x1af4, 0x1000),
        qemu: "virtio-net-pci,addr=08.0",
    },
    Emulated {
        name: "vga",
        bdf: "0000:00:09.0",
        ids: (0x1234, 0x1111),
        qemu: "VGA,addr=09.0",
    },
    // Its first BAR has 256 bytes, and can be mapped all the same.
    Emulated {
        name: "ivshmem-plain",
        bdf: "0000:00:0a.0",
        ids: (0x1af4, 0x1110),
        qemu: "ivshmem-plain,memdev=shared,addr=0a.0",
    },
    // A BAR of 64 MiB.
    Emulated {
        name: "bochs-display",
        bdf: "0000:00:0b.0",
        ids: (0x1234, 0x1111),
        qemu: "bochs-display,vgamem=64M,addr=0b.0",
    },
    // The one that has more vectors than one for MSI.
    Emulated {
        name: "xhci",
        bdf: "0000:00:0c.0",
        ids: (0x1033, 0x0194),
        qemu: "nec-usb-xhci,addr=0c.0,msi=on,msix=off",
    },
    // To Linux, its disk is one that may have several paths.
    Emulated {
        name: "nvme-shared",
        bdf: "0000:00:0e.0",
        ids: (0x1b36, 0x0010),
        qemu: "nvme,id=shared,serial=shared,subsys=shared-subsystem,addr=0e.0",
    },
    Emulated {
        name: "nvme-guard",
        bdf: "0000:00:0d.0",
        ids: (0x1b36, 0x0010),
        qemu: "nvme,id=guarded,serial=disk2,addr=0d.0",
    },
    // It keeps to version 1 alone, and goes through the IOMMU.
    Emulated {
        name: "virtio-net",
        bdf: "0000:00:0f.0",
        ids: (0x1af4, 0x1041),
        qemu: "virtio-net-pci,netdev=net0,disable-legacy=on,iommu_platform=on,addr=0f.0",
    },
    Emulated {
        name: "virtio-blk",
        bdf: "0000:00:15.0",
        ids: (0x1af4, 0x1042),
        qemu: "virtio-blk-pci,drive=disk4,serial=disk4,disable-legacy=on,iommu_platform=on,addr=15.0",
    },
    Emulated {
        name: "nvme-port",
        bdf: "0000:01:00.0",
        ids: (0x1b36, 0x0010),
        qemu: "nvme,serial=disk1,drive=disk1,bus=port1,addr=00.0,logical_block_size=4096,physical_block_size=4096",
    },
    // A reset of this slot takes both functions.
    Emulated {
        name: "e1000e",
        bdf: "0000:02:00.0",
        ids: (0x8086, 0x10d3),
        qemu: "e1000e,bus=port2,addr=00.0,multifunction=on",
    },
    Emulated {
        name: "e1000e-1",
        bdf: "0000:02:00.1",
        ids: (0x8086, 0x10d3),
        qemu: "e1000e,bus=port2,addr=00.1",
    },
    Emulated {
        name: "igb",
        bdf: "0000:03:00.0",
        ids: (0x8086, 0x10c9),
        qemu: "igb,bus=port3,addr=00.0",
    },
    Emulated {
        name: "nvme-sriov",
        bdf: "0000:04:00.0",
        ids: (0x1b36, 0x0010),
        qemu: "nvme,serial=sriov,subsys=subsystem,bus=port4,addr=00.0,sriov_max_vfs=2,sriov_vq_flexible=4,sriov_vi_flexible=2,\
               max_ioqpairs=6,msix_qsize=5",
    },
    // It is unplugged while a program has it.
    Emulated {
        name: "edu-plug",
        bdf: "0000:05:00.0",
        ids: (0x1234, 0x11e8),
        qemu: "edu,id=edu-plug,bus=port5,addr=00.0",
    },
];

const MDEV: [Sample; 4] = [
    Sample {
        name: "mtty-1",
        uuid: "5f6b0d1e-0b3c-4c7a-9a51-000000000001",
        parent: "mtty",
        mdev_type: "mtty-1",
    },
    Sample {
        name: "mtty-2",
        uuid: "5f6b0d1e-0b3c-4c7a-9a51-000000000002",
        parent: "mtty",
        mdev_type: "mtty-2",
    },
    Sample {
        name: "mbochs-small",
        uuid: "5f6b0d1e-0b3c-4c7a-9a51-000000000003",
        parent: "mbochs",
        mdev_type: "mbochs-small",
    },
    Sample {
        name: "mdpy-vga",
        uuid: "5f6b0d1e-0b3c-4c7a-9a51-000000000004",
        parent: "mdpy",
        mdev_type: "mdpy-vga",
    },
];

impl Emulated {
    /// Returns why this QEMU does not have it.
    fn missing(&self, qemu: &Qemu) -> Option<String> {
        if self.qemu.contains("sriov") {
            // An old QEMU takes the options as well, and its virtual functions are of no use.
            qemu.age()
        } else {
            qemu.lacks(self.model())
        }
    }

    fn device(&self, qemu: &Qemu) -> Device {
        let (vendor, device) = self.ids;
        Device {
            name: self.name.into(),
            kind: Kind::Pci {
                bdf: self.bdf.into(),
                vendor,
                device,
            },
            missing: self.missing(qemu),
        }
    }
}

impl Sample {
    fn device(&self) -> Device {
        let kind = Kind::Mdev {
            uuid: self.uuid.into(),
            parent: self.parent.into(),
            mdev_type: self.mdev_type.into(),
        };
        Device {
            name: self.name.into(),
            kind,
            missing: None,
        }
    }
}

/// Returns the names of all devices.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    PCI.iter()
        .map(|device| device.name)
        .chain(MDEV.iter().map(|sample| sample.name))
}

/// Returns the plan of a guest with this kernel: the devices called `chosen`, all when none is. Modules are still to
/// be added.
pub(crate) fn plan(kernel: &Choice, qemu: &Qemu, chosen: &[String]) -> Plan {
    let pci = PCI.iter().map(|device| device.device(qemu));
    // No distribution's kernel has the samples.
    let mdev = MDEV
        .iter()
        .filter(|_| kernel.is_built_for_tests())
        .map(Sample::device);
    let wanted = |device: &Device| chosen.is_empty() || chosen.contains(&device.name);
    Plan {
        noiommu: false,
        bench: false,
        counted: false,
        power_cut: false,
        storm: 0,
        modules: Vec::new(),
        devices: pci.chain(mdev).filter(wanted).collect(),
    }
}

/// Returns the command that starts the machine of `plan`. `directory` takes its disks, its console and the results of
/// the guest.
///
/// # Errors
///
/// A disk cannot be created.
pub(crate) fn command(
    kernel: &Kernel,
    qemu: &Qemu,
    plan: &Plan,
    initrd: &Path,
    directory: &Path,
) -> Result<Command> {
    let mut command = qemu.command();
    // Everything is named by a path relative to `directory`, which may hold commas, special to QEMU's options.
    command.current_dir(directory);
    command.args([
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        "-display",
        "none",
        "-nic",
        "none",
    ]);
    command.args([
        "-machine",
        "q35,accel=tcg,kernel-irqchip=split",
        "-cpu",
        PROCESSOR,
    ]);
    if plan.counted {
        // An instruction is a tick of the time stamp counter.
        command.args(["-icount", "shift=0"]);
    }
    if plan.noiommu {
        // All of it within reach of edu's 28 address lines.
        command.args(["-m", "256M", "-append", NOIOMMU_COMMAND_LINE]);
    } else {
        command.args(["-m", "4G", "-append", COMMAND_LINE]);
        command.args([
            "-device",
            "intel-iommu,intremap=on,caching-mode=on,aw-bits=48",
        ]);
    }
    command.args(["-object", SHARED]);
    command.args(["-netdev", NETWORK]);
    // Slots are the root ports' own, as the kernel's pciehp knows them.
    command.args([
        "-global",
        "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
    ]);
    command.args(["-qmp", "stdio"]);
    command.args(["-serial", "file:console", "-serial", "file:results"]);
    command
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(initrd);
    for disk in DISKS {
        if plan.bench && disk == NULL_DISK {
            // What is measured is the driver, and no file.
            let node = format!("null-co,node-name={disk},size={NULL_SIZE},read-zeroes=off");
            command.arg("-blockdev").arg(node);
            let size = ["logical", "physical"].map(|size| format!("nvme.{size}_block_size=4096"));
            command.args(["-global", &size[0], "-global", &size[1]]);
            continue;
        }
        let path = directory.join(disk);
        File::create(&path)
            .and_then(|file| file.set_len(DISK_SIZE))
            .with_context(|| format!("cannot create {}", path.display()))?;
        command
            .arg("-drive")
            .arg(format!("if=none,id={disk},format=raw,file={disk}"));
    }
    let there = PCI.iter().filter(|device| device.missing(qemu).is_none());
    for device in PORTS
        .into_iter()
        .chain([SUBSYSTEM, SHARED_SUBSYSTEM])
        .chain(there.map(|device| device.qemu))
        .chain([GUARDED_NAMESPACE, SHARED_NAMESPACE])
    {
        command.args(["-device", device]);
    }
    Ok(command)
}
