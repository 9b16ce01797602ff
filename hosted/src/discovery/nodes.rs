//! The nodes in `/dev` through which a device is opened, and whether this process may use them.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::{Obstacle, SysfsDevice};

/// Returns the obstacle to opening the nodes of a device that is bound to a VFIO driver.
///
/// There are two ways, through the group and through the device's own character device; one that is open suffices.
pub(super) fn obstacle(device: &SysfsDevice, dev: &Path) -> Option<Obstacle> {
    let vfio = dev.join("vfio");
    let group = device.group.as_ref().map(|group| {
        let node = if group.noiommu {
            format!("noiommu-{}", group.number)
        } else {
            group.number.to_string()
        };
        [vfio.join("vfio"), vfio.join(node)]
    });
    let cdev = device
        .cdev
        .as_ref()
        .map(|cdev| [dev.join("iommu"), vfio.join("devices").join(cdev)]);

    let mut first = None;
    for way in [group, cdev].into_iter().flatten() {
        match blocked(&way) {
            None => return None,
            // Permission can be given; a node that is missing may not even be in this kernel.
            Some(denied @ Obstacle::NoPermission { .. })
                if !matches!(first, Some(Obstacle::NoPermission { .. })) =>
            {
                first = Some(denied);
            }
            Some(other) => first = first.or(Some(other)),
        }
    }
    first
}

fn blocked(way: &[PathBuf]) -> Option<Obstacle> {
    let mut denied = Vec::new();
    for path in way {
        match access(path, Access::READ_OK | Access::WRITE_OK) {
            Ok(()) => {}
            Err(Errno::NOENT | Errno::NOTDIR) => {
                return Some(Obstacle::NodeMissing { path: path.clone() });
            }
            Err(_) => denied.push(path.clone()),
        }
    }
    if denied.is_empty() {
        None
    } else {
        Some(Obstacle::NoPermission { paths: denied })
    }
}
