//! The JSON that `vfio list --json` writes. Its names are promised to stay.

use serde::Serialize;
use vfio_hosted::discovery::{Member, Obstacle, Role};

use super::{Entry, Status};
use crate::remedy;

/// The list.
#[derive(Serialize)]
pub(super) struct Record<'a> {
    devices: Vec<Device<'a>>,
}

/// One device.
#[derive(Serialize)]
struct Device<'a> {
    address: String,
    /// As sysfs writes them: `0x` and 4 digits, 6 for the class, 2 for the revision.
    vendor_id: String,
    device_id: String,
    class: String,
    revision: Option<String>,
    vendor_name: Option<&'a str>,
    device_name: Option<&'a str>,
    class_name: Option<&'a str>,
    driver: Option<&'a str>,
    group: Option<Group<'a>>,
    cdev: Option<&'a str>,
    status: Status,
    ready: bool,
    roles: Vec<Stating<'a>>,
    obstacles: Vec<Stated>,
}

#[derive(Serialize)]
struct Group<'a> {
    number: u32,
    noiommu: bool,
    members: Vec<GroupMember<'a>>,
}

#[derive(Serialize)]
struct GroupMember<'a> {
    name: &'a str,
    driver: Option<&'a str>,
}

/// What the system has through the device.
#[derive(Serialize)]
struct Stating<'a> {
    kind: &'static str,
    name: &'a str,
    in_use: bool,
}

#[derive(Serialize)]
struct Stated {
    kind: &'static str,
    message: String,
    advice: Option<&'static str>,
    commands: Vec<String>,
}

impl<'a> Record<'a> {
    pub(super) fn new(entries: &'a [Entry]) -> Self {
        Self {
            devices: entries.iter().map(Device::from).collect(),
        }
    }
}

impl<'a> From<&'a Entry> for Device<'a> {
    fn from(entry: &'a Entry) -> Self {
        let Entry {
            device,
            roles,
            obstacles,
        } = entry;
        Self {
            address: device.address.to_string(),
            vendor_id: format!("{:#06x}", device.vendor_id),
            device_id: format!("{:#06x}", device.device_id),
            class: format!("{:#08x}", device.class),
            revision: device.revision.map(|revision| format!("{revision:#04x}")),
            vendor_name: device.names.vendor.as_deref(),
            device_name: device.names.device.as_deref(),
            class_name: device.names.class.as_deref(),
            driver: device.driver.as_deref(),
            group: device.group.as_ref().map(|group| Group {
                number: group.number,
                noiommu: group.noiommu,
                members: group.members.iter().map(GroupMember::from).collect(),
            }),
            cdev: device.cdev.as_deref(),
            status: entry.status(),
            ready: obstacles.is_empty(),
            roles: roles.iter().map(Stating::from).collect(),
            obstacles: obstacles.iter().map(Stated::from).collect(),
        }
    }
}

impl<'a> From<&'a Member> for GroupMember<'a> {
    fn from(member: &'a Member) -> Self {
        Self {
            name: &member.name,
            driver: member.driver.as_deref(),
        }
    }
}

impl<'a> From<&'a Role> for Stating<'a> {
    fn from(role: &'a Role) -> Self {
        let (kind, name) = match role {
            Role::Display => ("display", ""),
            Role::Mount { at } => ("mount", at.as_str()),
            Role::Swap { block } => ("swap", block.as_str()),
            Role::Part { by, .. } => ("part", by.as_str()),
            Role::Disk { block } => ("disk", block.as_str()),
            Role::Interface { name, .. } => ("interface", name.as_str()),
            _ => ("other", ""),
        };
        Self {
            kind,
            name,
            in_use: role.is_in_use(),
        }
    }
}

impl From<&Obstacle> for Stated {
    fn from(obstacle: &Obstacle) -> Self {
        let remedy = remedy::of(obstacle);
        Self {
            kind: kind(obstacle),
            message: format!("{obstacle}."),
            advice: remedy.advice,
            commands: remedy.commands,
        }
    }
}

fn kind(obstacle: &Obstacle) -> &'static str {
    match obstacle {
        Obstacle::Bridge => "bridge",
        Obstacle::NoIommu { .. } => "no_iommu",
        Obstacle::ModuleMissing => "module_missing",
        Obstacle::WrongDriver { .. } => "wrong_driver",
        Obstacle::GroupNotViable { .. } => "group_not_viable",
        Obstacle::NodeMissing { .. } => "node_missing",
        Obstacle::NoPermission { .. } => "no_permission",
        Obstacle::NoRawIo => "no_raw_io",
        Obstacle::MemlockLimit { .. } => "memlock_limit",
        _ => "other",
    }
}
