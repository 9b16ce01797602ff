//! What a namespace holds: a partition table, a file system, or something else that somebody may miss.

/// Bytes from the start that are looked at.
pub(super) const HEAD: usize = 128 << 10;

/// Bytes at a place that tell what is there.
struct Mark {
    name: &'static str,
    at: usize,
    bytes: &'static [u8],
}

/// As the file systems' own documentation and libblkid have them.
const MARKS: [Mark; 20] = [
    mark("a LUKS volume", 0, b"LUKS\xba\xbe"),
    mark("an XFS file system", 0, b"XFSB"),
    mark("a SquashFS file system", 0, b"hsqs"),
    mark("a BitLocker volume", 3, b"-FVE-FS-"),
    mark("an NTFS file system", 3, b"NTFS    "),
    mark("an exFAT file system", 3, b"EXFAT   "),
    mark("a FAT file system", 54, b"FAT"),
    mark("a FAT file system", 82, b"FAT32"),
    mark("an LVM physical volume", 512, b"LABELONE"),
    mark("an LVM physical volume", 0, b"LABELONE"),
    mark("an ext file system", 1080, b"\x53\xef"),
    mark("an F2FS file system", 1024, b"\x10\x20\xf5\xf2"),
    mark("an EROFS file system", 1024, b"\xe2\xe1\xf5\xe0"),
    mark("a bcachefs file system", 4120, b"\xc6\x85\x73\xf6"),
    mark("a RAID member", 4096, b"\xfc\x4e\x2b\xa9"),
    mark("a RAID member", 0, b"\xfc\x4e\x2b\xa9"),
    mark("swap space", 4086, b"SWAPSPACE2"),
    mark("an ISO 9660 file system", 0x8001, b"CD001"),
    mark("a ReiserFS file system", 0x10034, b"ReIsEr"),
    mark("a Btrfs file system", 0x10040, b"_BHRfS_M"),
];

const fn mark(name: &'static str, at: usize, bytes: &'static [u8]) -> Mark {
    Mark { name, at, bytes }
}

/// What a namespace with blocks of `block` bytes holds, by its first bytes and its last block; none where nothing is
/// known there.
pub(super) fn found(head: &[u8], last: &[u8], block: usize) -> Option<&'static str> {
    let has = |bytes: &[u8], at: usize, mark: &[u8]| {
        bytes.get(at..).is_some_and(|bytes| bytes.starts_with(mark))
    };
    if has(head, block, b"EFI PART") || has(last, 0, b"EFI PART") {
        return Some("a GUID partition table");
    }
    let known = MARKS.iter().find(|mark| has(head, mark.at, mark.bytes));
    if let Some(mark) = known {
        return Some(mark.name);
    }
    has(head, 510, b"\x55\xaa").then_some("a partition table of the MBR kind, or a boot sector")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_found_in_zeros_and_noise() {
        assert_eq!(found(&[0; HEAD], &[0; 512], 512), None);
        assert_eq!(found(&[0xa5; HEAD], &[0xa5; 512], 512), None);
        assert_eq!(found(&[], &[], 4096), None);
    }

    #[test]
    fn every_mark_is_found_where_it_is() {
        for mark in &MARKS {
            let mut head = vec![0; HEAD];
            head[mark.at..mark.at + mark.bytes.len()].copy_from_slice(mark.bytes);
            assert_eq!(found(&head, &[], 512), Some(mark.name));
        }
    }

    #[test]
    fn partition_tables_are_found_at_both_ends() {
        for block in [512, 4096] {
            let mut head = vec![0; HEAD];
            head[510..512].copy_from_slice(&[0x55, 0xaa]);
            let mbr = found(&head, &[], block);
            assert!(mbr.unwrap().contains("MBR"));
            head[block..block + 8].copy_from_slice(b"EFI PART");
            assert_eq!(found(&head, &[], block), Some("a GUID partition table"));
        }
        let backup = found(&[0; HEAD], b"EFI PART\0", 512);
        assert_eq!(backup, Some("a GUID partition table"));
    }
}
