//! What a namespace holds: a partition table, a file system, or something else that somebody may miss.

use vfio_drivers::nvme::{ControllerHandle, ErrorOf, Namespace, NvmeError, QueuePair};

use super::drive::DEPTH;

/// Bytes that are looked at, from the start and up to the end.
const LOOKED_AT: usize = 1 << 20;

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

/// What a namespace holds that somebody may miss; none where its first MiB and its last are zeros.
pub(crate) fn held<C: ControllerHandle>(
    pair: &mut QueuePair<C, DEPTH>,
    namespace: &Namespace,
) -> Result<Option<&'static str>, NvmeError<ErrorOf<C>>> {
    let block = usize::try_from(namespace.block_size()).unwrap_or(usize::MAX);
    let whole = usize::try_from(namespace.size()).unwrap_or(usize::MAX);
    let len = LOOKED_AT.min(whole);
    let (mut head, mut tail) = (vec![0; len], vec![0; len]);
    pair.read_blocks(namespace, 0, &mut head)?;
    let blocks = u64::try_from(len / block).unwrap_or(u64::MAX);
    let lba = namespace.blocks().saturating_sub(blocks);
    pair.read_blocks(namespace, lba, &mut tail)?;
    let last = tail.rchunks(block).next().unwrap_or_default();
    let is_empty = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    let known = found(&head, last, block);
    Ok(known.or((!is_empty(&head) || !is_empty(&tail)).then_some(UNKNOWN)))
}

/// What is not zero, and no mark tells.
const UNKNOWN: &str = "data of an unknown kind";

/// What a namespace with blocks of `block` bytes holds, by its first bytes and its last block; none where nothing is
/// known there.
fn found(head: &[u8], last: &[u8], block: usize) -> Option<&'static str> {
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

    /// Bytes from the start that marks are in.
    const HEAD: usize = 128 << 10;

    #[test]
    fn whatever_is_near_either_end_is_seen() {
        use vfio_core::abi::pci_region;
        use vfio_core::dma::Dma;
        use vfio_core::session::Session;
        use vfio_drivers::nvme::{Controller, Options, QueueOptions};
        use vfio_hosted::sim::{Kernel, Nvme, NvmeNamespace, model};

        // 4 MiB.
        for (lba, bytes, found) in [
            (0, &b"\0"[..], None),
            (0, b"XFSB", Some("an XFS file system")),
            (8191, b"EFI PART", Some("a GUID partition table")),
            (2047, b"?", Some(UNKNOWN)),
            (2048, b"?", None),
            (6143, b"?", None),
            (6144, b"?", Some(UNKNOWN)),
        ] {
            let namespace = NvmeNamespace::of_512(8192).with_block(lba, bytes);
            let nvme = model::nvme_with(Nvme::new().with_namespace(namespace));
            let kernel = Kernel::new().with_device("0000:00:05.0", nvme, 1);
            let place = kernel.place("0000:00:05.0").unwrap();
            let Session { device, space, .. } = Session::open(&kernel, &place.as_place()).unwrap();
            let dma = Dma::<_, 16>::new(kernel.clone(), space).unwrap();
            let bar0 = device.bring_up(pci_region::BAR0).unwrap();
            let controller = Controller::start(&device, bar0, &dma, Options::default()).unwrap();
            let namespace = controller.namespace(1).unwrap();
            let options = QueueOptions {
                slot: 128 << 10,
                ..Default::default()
            };
            let mut pair = controller.queue_pair(options).unwrap();
            assert_eq!(held(&mut pair, &namespace), Ok(found), "{lba}");
        }
    }

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
