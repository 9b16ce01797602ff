//! The path of an IOMMU group.

use core::ffi::CStr;

use super::NoIommu;

/// Bytes of the longest path, its NUL among them: a group number has at most ten digits.
const LEN: usize = 32;

/// The path of a group, made without formatting: a program without `core::fmt` stays small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct GroupPath {
    bytes: [u8; LEN],
    /// Where it starts: it ends with the buffer.
    start: usize,
}

impl GroupPath {
    /// Names `/dev/vfio/GROUP`, or `/dev/vfio/noiommu-GROUP`.
    #[must_use]
    pub fn new(group: u32, noiommu: Option<NoIommu>) -> Self {
        // There is always room.
        Self::made(group, noiommu.is_some()).unwrap_or(Self {
            bytes: [0; LEN],
            start: LEN,
        })
    }

    fn made(group: u32, is_noiommu: bool) -> Option<Self> {
        let mut bytes = [0; LEN];
        let mut slots = bytes.iter_mut().rev();
        // The NUL.
        slots.next()?;
        let mut rest = group;
        loop {
            let digit = u8::try_from(rest % 10).ok()?;
            *slots.next()? = digit.checked_add(b'0')?;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        let prefix: &[u8] = if is_noiommu {
            b"/dev/vfio/noiommu-"
        } else {
            b"/dev/vfio/"
        };
        for byte in prefix.iter().rev() {
            *slots.next()? = *byte;
        }
        let start = slots.len();
        Some(Self { bytes, start })
    }

    /// Returns the path.
    #[must_use]
    pub fn as_c_str(&self) -> &CStr {
        let path = self.bytes.get(self.start..).unwrap_or_default();
        CStr::from_bytes_until_nul(path).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_its_number() {
        for (group, is_noiommu, path) in [
            (0, false, c"/dev/vfio/0"),
            (10, false, c"/dev/vfio/10"),
            (u32::MAX, false, c"/dev/vfio/4294967295"),
            (u32::MAX, true, c"/dev/vfio/noiommu-4294967295"),
        ] {
            let made = GroupPath::made(group, is_noiommu).unwrap();
            assert_eq!(made.as_c_str(), path);
        }
    }
}
