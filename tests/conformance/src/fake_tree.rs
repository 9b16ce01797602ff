//! A made-up `/sys` and `/dev` in a temporary directory, for tests.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use tempfile::TempDir;

/// A system that is a directory, which goes with it.
///
/// Its methods panic where the directory can't be changed.
pub struct FakeTree {
    root: TempDir,
}

impl Default for FakeTree {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeTree {
    /// Creates a system with a PCI bus and nothing on it.
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        // Another user has to get in, where permissions are tested as root.
        fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
        let tree = Self { root };
        for directory in [
            "sys/bus/pci/devices",
            "sys/bus/pci/drivers",
            "sys/devices/pci",
            "dev",
        ] {
            fs::create_dir_all(tree.root().join(directory)).unwrap();
        }
        tree
    }

    /// Creates a system with one device in group 7, bound to vfio-pci, with its nodes.
    pub fn with_ready_device(address: &str) -> Self {
        let tree = Self::new();
        tree.device(address, 0x1234, 0x11e8, 0x00ff00);
        tree.group(address, 7);
        tree.bind(address, "vfio-pci");
        tree.node("vfio/vfio", 0o666);
        tree.node("vfio/7", 0o666);
        tree
    }

    /// Returns the directory that stands for `/`.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Writes a file, with the directories above it.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Removes a file or an empty directory.
    pub fn remove(&self, path: &str) {
        fs::remove_file(self.root().join(path)).unwrap();
    }

    /// Makes a symbolic link.
    pub fn link(&self, path: &str, target: &str) {
        symlink(self.root().join(target), self.root().join(path)).unwrap();
    }

    /// Adds a device without a driver and without a group.
    pub fn device(&self, address: &str, vendor: u16, device: u16, class: u32) {
        let directory = format!("sys/devices/pci/{address}");
        self.write(&format!("{directory}/vendor"), format!("{vendor:#06x}\n"));
        self.write(&format!("{directory}/device"), format!("{device:#06x}\n"));
        self.write(&format!("{directory}/class"), format!("{class:#08x}\n"));
        self.link(&format!("sys/bus/pci/devices/{address}"), &directory);
    }

    /// Adds a driver that is loaded.
    pub fn driver(&self, driver: &str) {
        fs::create_dir_all(self.root().join("sys/bus/pci/drivers").join(driver)).unwrap();
    }

    /// Binds a device to a driver.
    pub fn bind(&self, address: &str, driver: &str) {
        self.driver(driver);
        self.link(
            &format!("sys/devices/pci/{address}/driver"),
            &format!("sys/bus/pci/drivers/{driver}"),
        );
    }

    /// Puts a device into an IOMMU group.
    pub fn group(&self, address: &str, number: u32) {
        let group = format!("sys/kernel/iommu_groups/{number}");
        fs::create_dir_all(self.root().join(&group).join("devices")).unwrap();
        self.link(
            &format!("{group}/devices/{address}"),
            &format!("sys/devices/pci/{address}"),
        );
        self.link(&format!("sys/devices/pci/{address}/iommu_group"), &group);
    }

    /// Adds a device node, as a file, with this mode.
    pub fn node(&self, path: &str, mode: u32) {
        let path = format!("dev/{path}");
        if !self.root().join(&path).exists() {
            self.write(&path, "");
        }
        fs::set_permissions(self.root().join(path), Permissions::from_mode(mode)).unwrap();
    }
}
