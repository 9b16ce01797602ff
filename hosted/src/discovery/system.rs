//! The system whose devices are discovered.

use std::fs::File;
use std::path::{Path, PathBuf};

use vfio_core::open::Mode;

use super::sysfs;
use super::{Address, DiscoveryError, SysfsDevice, pci_ids};
use crate::place::OwnedPlace;

/// Where distributions keep pci.ids: Debian and its kin, then Fedora, Arch, Alpine and theirs.
const PCI_IDS: [&str; 2] = ["usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids"];

/// Where the system describes its devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    /// Where sysfs is mounted.
    pub sysfs: PathBuf,
    /// Where the device nodes are.
    pub dev: PathBuf,
    /// Where procfs is mounted.
    pub proc: PathBuf,
    /// Where the database of names may be; the first that can be read counts.
    pub pci_ids: Vec<PathBuf>,
}

impl System {
    /// Creates the running system.
    #[must_use]
    pub fn host() -> Self {
        Self::below(Path::new("/"))
    }

    /// Creates the system below `root`, such as a copy of another one's sysfs: `root/sys`, `root/dev`, `root/proc`, and
    /// pci.ids in its usual places.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        Self {
            sysfs: root.join("sys"),
            dev: root.join("dev"),
            proc: root.join("proc"),
            pci_ids: PCI_IDS.iter().map(|place| root.join(place)).collect(),
        }
    }

    /// Returns all PCI devices, sorted by address. None if the system has no PCI.
    ///
    /// # Errors
    /// [`DiscoveryError::Read`] and [`DiscoveryError::Malformed`] with the file. A device that goes away meanwhile is
    /// left out.
    pub fn devices(&self) -> Result<Vec<SysfsDevice>, DiscoveryError> {
        let mut devices = Vec::new();
        for (name, path) in sysfs::entries(&self.sysfs.join("bus/pci/devices"))? {
            let address = name
                .parse()
                .map_err(|_| sysfs::malformed(&path, &name, "the address of a PCI device"))?;
            devices.extend(read_if_there(address, &path)?);
        }
        devices.sort_by_key(|device| device.address);
        self.name(&mut devices);
        Ok(devices)
    }

    /// Returns the PCI device at an address.
    ///
    /// # Errors
    /// [`DiscoveryError::NoSuchDevice`], or as [`devices`](Self::devices).
    pub fn device(&self, address: Address) -> Result<SysfsDevice, DiscoveryError> {
        let mut device = read_if_there(address, &self.device_directory(address))?
            .ok_or(DiscoveryError::NoSuchDevice(address))?;
        self.name(core::slice::from_mut(&mut device));
        Ok(device)
    }

    /// Returns where the PCI device at an address is opened, once a VFIO driver is bound: as [`SysfsDevice::place`], of which
    /// no more is read than it takes.
    ///
    /// # Errors
    /// As [`device`](Self::device).
    pub fn place(&self, address: Address) -> Result<OwnedPlace, DiscoveryError> {
        self.place_of(address, None)
    }

    /// Works as [`place`](Self::place), of which no more is read than opening the device in `mode` takes: what other
    /// modes take is missing.
    ///
    /// # Errors
    /// As [`device`](Self::device).
    pub fn place_in(&self, address: Address, mode: Mode) -> Result<OwnedPlace, DiscoveryError> {
        self.place_of(address, Some(mode))
    }

    fn place_of(&self, address: Address, mode: Option<Mode>) -> Result<OwnedPlace, DiscoveryError> {
        let path = self.device_directory(address);
        let place = OwnedPlace::read(address, &path, mode)?;
        if place.group.is_none() && place.cdev.is_none() && !path.exists() {
            return Err(DiscoveryError::NoSuchDevice(address));
        }
        Ok(place)
    }

    /// Tells whether there is a database of names.
    #[must_use]
    pub fn has_names(&self) -> bool {
        self.pci_ids.iter().any(|path| path.is_file())
    }

    /// Returns where sysfs describes a device.
    pub(super) fn device_directory(&self, address: Address) -> PathBuf {
        self.sysfs.join("bus/pci/devices").join(address.to_string())
    }

    /// Tells whether the driver vfio-pci is there to be bound.
    pub(super) fn has_vfio_pci(&self) -> bool {
        self.sysfs.join("bus/pci/drivers/vfio-pci").exists()
    }

    fn name(&self, devices: &mut [SysfsDevice]) {
        let mut databases = self.pci_ids.iter();
        if let Some(database) = databases.find_map(|path| File::open(path).ok()) {
            pci_ids::name(devices, database);
        }
    }
}

fn read_if_there(address: Address, path: &Path) -> Result<Option<SysfsDevice>, DiscoveryError> {
    match SysfsDevice::read(address, path) {
        Ok(device) => Ok(Some(device)),
        // The device went away; an attribute missing from one that is there is an error.
        Err(DiscoveryError::Read { source, .. }) if sysfs::gone(&source) && !path.exists() => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Member, Names, SysfsGroup};
    use super::*;
    use vfio_conformance::fake_tree::FakeTree;

    const EDU: &str = "0000:00:05.0";
    const NIC: &str = "0000:00:06.0";

    fn read(tree: &FakeTree, address: &str) -> SysfsDevice {
        System::below(tree.root())
            .device(address.parse().unwrap())
            .unwrap()
    }

    #[test]
    fn a_device_is_read_whole() {
        let tree = FakeTree::with_ready_device(EDU);
        tree.device(NIC, 0x8086, 0x10d3, 0x020000);
        tree.group(NIC, 7);
        tree.bind(NIC, "e1000e");
        tree.write("sys/bus/pci/devices/0000:00:05.0/revision", "0x10\n");
        tree.write(
            "sys/bus/pci/devices/0000:00:05.0/vfio-dev/vfio3/dev",
            "510:3\n",
        );
        tree.write(
            "usr/share/misc/pci.ids",
            "1234  Technical Corp.\n\t11e8  QEMU educational device\nC 00  Unclassified device\n",
        );
        assert_eq!(
            read(&tree, EDU),
            SysfsDevice {
                address: EDU.parse().unwrap(),
                vendor_id: 0x1234,
                device_id: 0x11e8,
                class: 0x00ff00,
                revision: Some(0x10),
                driver: Some("vfio-pci".into()),
                group: Some(SysfsGroup {
                    number: 7,
                    noiommu: false,
                    members: vec![
                        Member {
                            name: EDU.into(),
                            driver: Some("vfio-pci".into())
                        },
                        Member {
                            name: NIC.into(),
                            driver: Some("e1000e".into())
                        },
                    ],
                }),
                cdev: Some("vfio3".into()),
                bridge: false,
                names: Names {
                    vendor: Some("Technical Corp.".into()),
                    device: Some("QEMU educational device".into()),
                    class: Some("Unclassified device".into()),
                },
            }
        );
    }

    #[test]
    fn a_place_is_that_of_the_device() {
        let tree = FakeTree::with_ready_device(EDU);
        let system = System::below(tree.root());
        let same = |tree: &FakeTree| {
            let place = system.place(EDU.parse().unwrap()).unwrap();
            assert_eq!(place, read(tree, EDU).place());
            place
        };
        assert_eq!((same(&tree).group, same(&tree).cdev), (Some(7), None));
        tree.write(
            "sys/bus/pci/devices/0000:00:05.0/vfio-dev/vfio3/dev",
            "510:3\n",
        );
        assert!(same(&tree).cdev.is_some());
        tree.write(
            "sys/bus/pci/devices/0000:00:05.0/iommu_group/name",
            "vfio-noiommu\n",
        );
        let whole = same(&tree);
        assert!(whole.is_noiommu);
        let place = |mode| system.place_in(EDU.parse().unwrap(), mode).unwrap();
        let of_group = OwnedPlace {
            cdev: None,
            ..whole.clone()
        };
        assert_eq!(place(Mode::Type1v2), of_group);
        assert_eq!(place(Mode::NoIommu), of_group);
        let of_cdev = place(Mode::Iommufd);
        assert_eq!((of_cdev.group, of_cdev.cdev), (None, whole.cdev));
        let error = system.place("00:07.0".parse().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "there is no PCI device 0000:00:07.0");
    }

    #[test]
    fn devices_are_sorted_by_address() {
        let tree = FakeTree::new();
        for address in ["10000:00:00.0", "0000:01:00.0", "0000:00:1f.0"] {
            tree.device(address, 1, 2, 3);
        }
        let devices = System::below(tree.root()).devices().unwrap();
        let addresses: Vec<String> = devices
            .iter()
            .map(|device| device.address.to_string())
            .collect();
        assert_eq!(addresses, ["0000:00:1f.0", "0000:01:00.0", "10000:00:00.0"]);
    }

    #[test]
    fn a_system_without_pci_has_no_devices() {
        let nothing = tempfile::tempdir().unwrap();
        assert_eq!(System::below(nothing.path()).devices().unwrap(), []);
    }

    #[test]
    fn a_device_that_went_away_is_left_out() {
        let tree = FakeTree::with_ready_device(EDU);
        tree.link(
            "sys/bus/pci/devices/0000:00:07.0",
            "sys/devices/removed/0000:00:07.0",
        );
        assert_eq!(System::below(tree.root()).devices().unwrap().len(), 1);
        let error = System::below(tree.root())
            .device("00:07.0".parse().unwrap())
            .unwrap_err();
        assert_eq!(error.to_string(), "there is no PCI device 0000:00:07.0");
    }

    #[test]
    fn a_malformed_attribute_is_an_error_that_names_its_file() {
        for (file, content) in [
            ("vendor", "8086\n"),
            ("vendor", "0x12345\n"),
            ("device", "0x\n"),
            ("class", ""),
            ("class", "0x+1\n"),
            ("revision", "0x100\n"),
            ("vendor", "\u{1b}[31m"),
        ] {
            let tree = FakeTree::with_ready_device(EDU);
            tree.write(&format!("sys/bus/pci/devices/{EDU}/{file}"), content);
            let error = System::below(tree.root()).devices().unwrap_err();
            assert!(
                matches!(&error, DiscoveryError::Malformed { path, .. } if path.ends_with(file)),
                "{error}"
            );
            assert!(!error.to_string().contains('\u{1b}'));
        }
    }

    #[test]
    fn a_missing_attribute_of_a_device_that_is_there_is_an_error() {
        let tree = FakeTree::with_ready_device(EDU);
        tree.remove(&format!("sys/bus/pci/devices/{EDU}/vendor"));
        let error = System::below(tree.root()).devices().unwrap_err();
        assert!(
            matches!(&error, DiscoveryError::Read { path, .. } if path.ends_with("vendor")),
            "{error}"
        );
    }

    #[test]
    fn an_entry_that_is_no_address_is_an_error() {
        let tree = FakeTree::new();
        tree.device("not-an-address", 1, 2, 3);
        assert!(matches!(
            System::below(tree.root()).devices(),
            Err(DiscoveryError::Malformed { .. })
        ));
    }
}
