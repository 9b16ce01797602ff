//! The JSON that `vfio list --json` writes. Its names are promised to stay.

use serde::Serialize;
use vfio_hosted::discovery::{Member, Obstacle};

use super::Entry;

/// One device.
#[derive(Serialize)]
pub(super) struct Record<'a> {
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
    ready: bool,
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

#[derive(Serialize)]
struct Stated {
    kind: &'static str,
    message: String,
    advice: Option<&'static str>,
    commands: Vec<String>,
}

impl<'a> From<&'a Entry> for Record<'a> {
    fn from(Entry { device, obstacles }: &'a Entry) -> Self {
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
            ready: obstacles.is_empty(),
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

impl From<&Obstacle> for Stated {
    fn from(obstacle: &Obstacle) -> Self {
        let remedy = obstacle.remedy();
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
