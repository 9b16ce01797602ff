//! Names out of the system's pci.ids.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use super::sysfs::printable;
use super::{Names, SysfsDevice};

/// The database has about 1.5 MB; what goes on beyond this is none.
const FILE_BYTES: u64 = 64 << 20;

/// What an entry names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Vendor(u16),
    Device(u16, u16),
    BaseClass(u8),
    Subclass(u8, u8),
}

/// Gives the devices the names that a database has for them.
pub(super) fn name(devices: &mut [SysfsDevice], database: File) {
    let wanted = devices.iter().flat_map(keys).collect();
    let names = find(BufReader::new(database.take(FILE_BYTES)), &wanted);
    for device in devices {
        let [vendor, id, base, sub] = keys(device).map(|key| names.get(&key).cloned());
        device.names = Names {
            vendor,
            device: id,
            class: sub.or(base),
        };
    }
}

fn keys(device: &SysfsDevice) -> [Key; 4] {
    let [_, base, sub, _] = device.class.to_be_bytes();
    [
        Key::Vendor(device.vendor_id),
        Key::Device(device.vendor_id, device.device_id),
        Key::BaseClass(base),
        Key::Subclass(base, sub),
    ]
}

/// Reads the database once and keeps what is wanted. A read error ends it there.
fn find(mut database: impl BufRead, wanted: &BTreeSet<Key>) -> BTreeMap<Key, String> {
    let mut names = BTreeMap::new();
    let mut line = Vec::new();
    // The entry without indentation that the lines below belong to.
    let mut above = None;
    loop {
        line.clear();
        if !matches!(database.read_until(b'\n', &mut line), Ok(1..)) {
            return names;
        }
        let Some((key, name)) = entry(line.trim_ascii_end(), above) else {
            continue;
        };
        if let Some(Key::Vendor(_) | Key::BaseClass(_)) = key {
            above = key;
        } else if key.is_none() && !line.starts_with(b"\t") {
            above = None;
        }
        if let Some(key) = key.filter(|key| wanted.contains(key)) {
            names.entry(key).or_insert_with(|| printable(name));
        }
    }
}

/// Returns one line: the key, if it is of a kind that is looked up, and the name. `None` for an empty line or a
/// comment.
fn entry(line: &[u8], above: Option<Key>) -> Option<(Option<Key>, &[u8])> {
    if line.is_empty() || line.starts_with(b"#") {
        return None;
    }
    let key_and_name = match line.strip_prefix(b"\t") {
        // A subsystem, or a programming interface.
        Some(line) if line.starts_with(b"\t") => None,
        Some(line) => match above {
            Some(Key::Vendor(vendor)) => {
                id(line, 4).map(|(device, name)| (Key::Device(vendor, device), name))
            }
            Some(Key::BaseClass(base)) => id(line, 2)
                .and_then(|(sub, name)| Some((Key::Subclass(base, u8::try_from(sub).ok()?), name))),
            _ => None,
        },
        None => match line.strip_prefix(b"C ") {
            Some(line) => id(line, 2)
                .and_then(|(base, name)| Some((Key::BaseClass(u8::try_from(base).ok()?), name))),
            None => id(line, 4).map(|(vendor, name)| (Key::Vendor(vendor), name)),
        },
    };
    Some(match key_and_name {
        Some((key, name)) => (Some(key), name),
        None => (None, line),
    })
}

/// Returns an id of `digits` hexadecimal digits, two spaces, and a name.
fn id(line: &[u8], digits: usize) -> Option<(u16, &[u8])> {
    let (id, name) = line.split_at_checked(digits)?;
    let id = str::from_utf8(id).ok().filter(|id| !id.starts_with('+'))?;
    let name = name.strip_prefix(b"  ")?;
    Some((u16::from_str_radix(id, 16).ok()?, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATABASE: &[u8] = b"# comment\n\
        1234  Technical Corp.\n\
        \t11e8  QEMU educational device\n\
        \t\t1af4 1100  A subsystem\n\
        8086  Intel Corporation\n\
        \t11e8  Something else\n\
        \n\
        # classes\n\
        C 00  Unclassified device\n\
        \tff  Unassigned class [\x1b[31mred\xff]\n\
        C 01  Mass storage controller\n\
        \t08  Non-Volatile memory controller\n\
        \t\t02  NVM Express\n";

    fn look_up(key: Key) -> Option<String> {
        find(DATABASE, &BTreeSet::from([key])).remove(&key)
    }

    #[test]
    fn vendors_devices_and_classes_are_found() {
        assert_eq!(look_up(Key::Vendor(0x8086)).unwrap(), "Intel Corporation");
        assert_eq!(
            look_up(Key::Device(0x1234, 0x11e8)).unwrap(),
            "QEMU educational device"
        );
        assert_eq!(
            look_up(Key::Device(0x8086, 0x11e8)).unwrap(),
            "Something else"
        );
        assert_eq!(
            look_up(Key::BaseClass(1)).unwrap(),
            "Mass storage controller"
        );
        assert_eq!(
            look_up(Key::Subclass(1, 8)).unwrap(),
            "Non-Volatile memory controller"
        );
    }

    #[test]
    fn what_is_not_listed_has_no_name() {
        assert_eq!(look_up(Key::Vendor(0x1af4)), None);
        assert_eq!(look_up(Key::Device(0x8086, 0x0002)), None);
        assert_eq!(look_up(Key::Subclass(1, 2)), None);
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        assert_eq!(
            look_up(Key::Subclass(0, 0xff)).unwrap(),
            "Unassigned class [\u{fffd}[31mred\u{fffd}]"
        );
    }

    #[test]
    fn entries_below_a_malformed_one_belong_to_nobody() {
        let database = b"8086  Intel Corporation\nnonsense\n\t1237  440FX\n";
        let key = Key::Device(0x8086, 0x1237);
        assert_eq!(find(&database[..], &BTreeSet::from([key])), BTreeMap::new());
    }
}
