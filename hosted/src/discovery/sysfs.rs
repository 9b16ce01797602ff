//! Reading the small files and links of sysfs, distrusting what they hold.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::DiscoveryError;

/// The kernel gives an attribute at most one page.
const ATTRIBUTE_BYTES: usize = 4096;

/// Returns the first `limit` bytes of a file, or all of a shorter one.
pub(super) fn bytes(path: &Path, limit: usize) -> Result<Vec<u8>, DiscoveryError> {
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|source| DiscoveryError::Read {
            path: path.to_owned(),
            source,
        })?;
    Ok(bytes)
}

/// Returns an attribute as text, trimmed.
pub(super) fn text(path: &Path) -> Result<String, DiscoveryError> {
    Ok(printable(bytes(path, ATTRIBUTE_BYTES)?.trim_ascii()))
}

/// Returns the lines of an attribute. None where it can't be read.
pub(super) fn lines(path: &Path) -> Vec<String> {
    let bytes = bytes(path, ATTRIBUTE_BYTES).unwrap_or_default();
    let lines = bytes.split(|byte| *byte == b'\n');
    lines.map(printable).collect()
}

/// Returns an attribute that holds a hexadecimal number such as `0x8086`.
pub(super) fn hex(path: &Path) -> Result<u32, DiscoveryError> {
    let found = text(path)?;
    found
        .strip_prefix("0x")
        .filter(|digits| !digits.starts_with('+'))
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .ok_or_else(|| malformed(path, &found, "a hexadecimal number such as 0x8086"))
}

/// Returns the same, of at most 16 bits.
pub(super) fn hex16(path: &Path) -> Result<u16, DiscoveryError> {
    let value = hex(path)?;
    u16::try_from(value).map_err(|_| malformed(path, &format!("{value:#x}"), "a number of 16 bits"))
}

/// Returns the last part of a link's target, as `driver` and `iommu_group` name theirs. `None` without a link.
pub(super) fn link_name(path: &Path) -> Result<Option<String>, DiscoveryError> {
    let target = match fs::read_link(path) {
        Ok(target) => target,
        Err(error) if gone(&error) => return Ok(None),
        Err(source) => {
            return Err(DiscoveryError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    let name = target.file_name().ok_or_else(|| {
        malformed(
            path,
            &target.to_string_lossy(),
            "a link to a directory with a name",
        )
    })?;
    Ok(Some(printable(name.as_encoded_bytes())))
}

/// Returns the entries of a directory, sorted by name. None where there is no such directory.
pub(super) fn entries(path: &Path) -> Result<Vec<(String, PathBuf)>, DiscoveryError> {
    let failed = |source| DiscoveryError::Read {
        path: path.to_owned(),
        source,
    };
    let directory = match fs::read_dir(path) {
        Ok(directory) => directory,
        Err(error) if gone(&error) => return Ok(Vec::new()),
        Err(source) => return Err(failed(source)),
    };
    let mut entries = Vec::new();
    for entry in directory {
        match entry {
            Ok(entry) => entries.push((
                printable(entry.file_name().as_encoded_bytes()),
                entry.path(),
            )),
            Err(error) if gone(&error) => {}
            Err(source) => return Err(failed(source)),
        }
    }
    entries.sort();
    Ok(entries)
}

/// Tells whether an error says that what was to be read is not, or no longer, there.
///
/// The attributes of a device that is being removed answer ENODEV.
pub(super) fn gone(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOENT | Errno::NODEV)
    )
}

pub(super) fn malformed(path: &Path, found: &str, expected: &'static str) -> DiscoveryError {
    DiscoveryError::Malformed {
        path: path.to_owned(),
        found: found.chars().take(64).collect(),
        expected,
    }
}

/// Bytes as text that is safe to print on a terminal.
pub(super) fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .map(|c| {
            if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}
