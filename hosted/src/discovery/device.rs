//! A PCI device as sysfs describes it.

use std::ffi::CString;
use std::path::Path;

use vfio_core::open::Mode;

use super::group::is_vfio_driver;
use super::sysfs;
use super::{Address, DiscoveryError, Member, SysfsGroup};
use crate::place::OwnedPlace;

/// PCI class codes of the bridges that a driver cannot be given: PCI to PCI, and CardBus.
const BRIDGE_CLASSES: [u32; 2] = [0x06_04, 0x06_07];
/// Where the type of the header stands in configuration space (PCI Local Bus 3.0, 6.1).
const HEADER_TYPE_OFFSET: usize = 0x0e;

/// A PCI device, as `/sys/bus/pci/devices` describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SysfsDevice {
    /// Where it is.
    pub address: Address,
    /// The vendor's id.
    pub vendor_id: u16,
    /// The vendor's id of the device.
    pub device_id: u16,
    /// The class code, 24 bits: base class, subclass, programming interface.
    pub class: u32,
    /// The revision; `None` on a kernel before 4.10, which does not tell.
    pub revision: Option<u8>,
    /// The driver bound to it.
    pub driver: Option<String>,
    /// Its IOMMU group.
    pub group: Option<SysfsGroup>,
    /// The name of its VFIO character device in `/dev/vfio/devices`, such as `vfio0`.
    ///
    /// There is one while a VFIO driver is bound, if the kernel has `CONFIG_VFIO_DEVICE_CDEV` (6.6).
    pub cdev: Option<String>,
    /// It is a bridge, which vfio-pci does not take.
    pub bridge: bool,
    /// Its names, where the system's pci.ids has them.
    pub names: Names,
}

/// Names out of pci.ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Of the vendor.
    pub vendor: Option<String>,
    /// Of the device.
    pub device: Option<String>,
    /// Of the subclass, or else of the base class.
    pub class: Option<String>,
}

impl SysfsDevice {
    /// Tells whether vfio-pci or one of its variants is bound.
    #[must_use]
    pub fn has_vfio_driver(&self) -> bool {
        self.driver.as_deref().is_some_and(is_vfio_driver)
    }

    /// Tells whether VFIO gives it out without an IOMMU: its DMA takes physical addresses and is not
    /// confined.
    #[must_use]
    pub fn is_noiommu(&self) -> bool {
        self.place().is_noiommu
    }

    /// Returns where it is opened, once a VFIO driver is bound.
    #[must_use]
    pub fn place(&self) -> OwnedPlace {
        let group = self.group.as_ref();
        let group = group.map(|group| (group.number, group.noiommu));
        place(self.address, group, self.cdev.as_deref())
    }

    /// Reads the device at `path`, all but the names.
    pub(super) fn read(address: Address, path: &Path) -> Result<Self, DiscoveryError> {
        let class = sysfs::hex(&path.join("class"))?;
        Ok(Self {
            address,
            vendor_id: sysfs::hex16(&path.join("vendor"))?,
            device_id: sysfs::hex16(&path.join("device"))?,
            class,
            revision: revision(path)?,
            driver: sysfs::link_name(&path.join("driver"))?,
            group: group(path)?,
            cdev: cdev(path)?,
            bridge: is_bridge(path, class),
            names: Names::default(),
        })
    }
}

impl OwnedPlace {
    /// Reads where the device at `path` is opened: in `mode`, or in any.
    pub(super) fn read(
        address: Address,
        path: &Path,
        mode: Option<Mode>,
    ) -> Result<Self, DiscoveryError> {
        let group = match mode {
            Some(Mode::Iommufd) => None,
            _ => group_number(path)?,
        };
        let cdev = match mode {
            None | Some(Mode::Iommufd) => cdev(path)?,
            Some(_) => None,
        };
        Ok(place(address, group, cdev.as_deref()))
    }
}

/// Returns the place of a device in a group, perhaps without an IOMMU, and with a character device.
fn place(address: Address, group: Option<(u32, bool)>, cdev: Option<&str>) -> OwnedPlace {
    // There is no NUL in an address, nor in the name of a file.
    let c_string = |text: String| CString::new(text).unwrap_or_default();
    OwnedPlace {
        name: c_string(address.to_string()),
        group: group.map(|(number, _)| number),
        is_noiommu: group.is_some_and(|(_, noiommu)| noiommu)
            || cdev.is_some_and(|cdev| cdev.starts_with("noiommu-")),
        noiommu: None,
        cdev: cdev.map(|cdev| c_string(format!("/dev/vfio/devices/{cdev}"))),
        socket: None,
        token: None,
    }
}

fn revision(path: &Path) -> Result<Option<u8>, DiscoveryError> {
    let path = path.join("revision");
    match sysfs::hex(&path) {
        Ok(value) => u8::try_from(value)
            .map(Some)
            .map_err(|_| sysfs::malformed(&path, &format!("{value:#x}"), "a number of 8 bits")),
        Err(DiscoveryError::Read { source, .. }) if sysfs::gone(&source) => Ok(None),
        Err(error) => Err(error),
    }
}

fn group(path: &Path) -> Result<Option<SysfsGroup>, DiscoveryError> {
    let Some((number, noiommu)) = group_number(path)? else {
        return Ok(None);
    };
    let path = path.join("iommu_group");
    let mut members = Vec::new();
    for (name, path) in sysfs::entries(&path.join("devices"))? {
        members.push(Member {
            name,
            driver: sysfs::link_name(&path.join("driver"))?,
        });
    }
    Ok(Some(SysfsGroup {
        number,
        noiommu,
        members,
    }))
}

/// Returns the number of a device's group, and whether it has no IOMMU.
fn group_number(path: &Path) -> Result<Option<(u32, bool)>, DiscoveryError> {
    let path = path.join("iommu_group");
    let Some(name) = sysfs::link_name(&path)? else {
        return Ok(None);
    };
    let number = name
        .parse()
        .map_err(|_| sysfs::malformed(&path, &name, "a link to the number of a group"))?;
    let noiommu = match sysfs::text(&path.join("name")) {
        Ok(name) => name == "vfio-noiommu",
        // Only a group that was given a name has the file.
        Err(DiscoveryError::Read { source, .. }) if sysfs::gone(&source) => false,
        Err(error) => return Err(error),
    };
    Ok(Some((number, noiommu)))
}

fn cdev(path: &Path) -> Result<Option<String>, DiscoveryError> {
    // The class device is there on every kernel since 6.0; `dev` is, if it has a character device.
    let entries = sysfs::entries(&path.join("vfio-dev"))?;
    Ok(entries
        .into_iter()
        .find(|(name, path)| is_cdev_name(name) && path.join("dev").exists())
        .map(|(name, _)| name))
}

/// Tells whether a name is `vfioN` or `noiommu-vfioN`.
fn is_cdev_name(name: &str) -> bool {
    name.strip_prefix("noiommu-")
        .unwrap_or(name)
        .strip_prefix("vfio")
        .is_some_and(|number| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        })
}

fn is_bridge(path: &Path, class: u32) -> bool {
    // The kernel decides by the type of the header; the class says it too, where configuration space is hidden.
    match sysfs::bytes(&path.join("config"), HEADER_TYPE_OFFSET.saturating_add(1)) {
        Ok(config) => match config.get(HEADER_TYPE_OFFSET) {
            Some(header_type) => header_type & 0x7f != 0,
            None => BRIDGE_CLASSES.contains(&(class >> 8)),
        },
        Err(_) => BRIDGE_CLASSES.contains(&(class >> 8)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_vfio_gives_are_those_of_a_character_device() {
        for name in ["vfio0", "vfio12", "noiommu-vfio3"] {
            assert!(is_cdev_name(name), "{name}");
        }
        for name in [
            "",
            "vfio",
            "vfio0;reboot",
            "noiommu-",
            "mdev0",
            "noiommu-noiommu-vfio0",
        ] {
            assert!(!is_cdev_name(name), "{name}");
        }
    }
}
