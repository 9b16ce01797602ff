//! What a namespace holds: a partition table, a file system, or something else that somebody may miss.

use vfio_drivers::nvme::{ControllerHandle, ErrorOf, Namespace, NvmeError, QueuePair};

use super::drive::DEPTH;

/// Bytes that are looked at, from the start and up to the end, and in one go where blocks are to be written.
pub(crate) const LOOKED_AT: usize = 1 << 20;

/// How many times as much is looked at of the blocks that are to be written.
const WINDOWS: u64 = 64;

/// Bytes at a place that tell what is there.
struct Mark {
    name: &'static str,
    at: usize,
    bytes: &'static [u8],
}

/// As the file systems' own documentation and libblkid have them.
const MARKS: [Mark; 39] = [
    mark("a LUKS volume", 0, b"LUKS\xba\xbe"),
    mark("an XFS file system", 0, b"XFSB"),
    mark("a SquashFS file system", 0, b"hsqs"),
    mark("a Ceph BlueStore", 0, b"bluestore block device"),
    mark("a VDO volume", 0, b"dmvdo001"),
    mark("a dm-verity volume", 0, b"verity\0\0"),
    mark("a dm-integrity volume", 0, b"integrt\0"),
    mark("a BitLocker volume", 3, b"-FVE-FS-"),
    mark("an NTFS file system", 3, b"NTFS    "),
    mark("an exFAT file system", 3, b"EXFAT   "),
    mark("a ReFS file system", 3, b"ReFS\0\0\0\0"),
    mark("an APFS container", 32, b"NXSB"),
    mark("an Oracle ASM disk", 32, b"ORCLDISK"),
    mark("a FAT file system", 54, b"FAT"),
    mark("a FAT file system", 82, b"FAT32"),
    mark("an LVM physical volume", 0, LVM),
    mark("an LVM physical volume", 512, LVM),
    mark("an LVM physical volume", 1024, LVM),
    mark("an LVM physical volume", 1536, LVM),
    mark("a Stratis pool member", 516, b"!Stra0tis"),
    mark("an HFS+ file system", 1024, b"H+\0\x04"),
    mark("an HFS+ file system", 1024, b"HX\0\x05"),
    mark("an ext file system", 1080, b"\x53\xef"),
    mark("an F2FS file system", 1024, b"\x10\x20\xf5\xf2"),
    mark("an EROFS file system", 1024, b"\xe2\xe1\xf5\xe0"),
    mark("a bcache device", 4120, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca"),
    mark(
        "a bcachefs file system",
        4120,
        b"\xc6\x85\x73\xf6\x66\xce\x90\xa9",
    ),
    mark("a RAID member", 4096, RAID),
    mark("a RAID member", 0, RAID),
    mark("swap space", 4086, b"SWAPSPACE2"),
    mark("swap space", 65526, b"SWAPSPACE2"),
    mark("the image of a suspended system", 4086, b"S1SUSPEND"),
    mark("an OCFS2 file system", 0x2000, b"OCFSV2"),
    mark("a JFS file system", 0x8000, b"JFS1"),
    mark("an ISO 9660 file system", 0x8001, b"CD001"),
    mark("a UDF file system", 0x8001, b"BEA01"),
    mark("a GFS2 file system", 0x10000, b"\x01\x16\x19\x70"),
    mark("a ReiserFS file system", 0x10034, b"ReIsEr"),
    mark("a Btrfs file system", 0x10040, b"_BHRfS_M"),
];

/// The label of an LVM physical volume, in any of the first four sectors.
const LVM: &[u8] = b"LABELONE";
/// The superblock of Linux's software RAID.
const RAID: &[u8] = b"\xfc\x4e\x2b\xa9";
/// An uberblock of ZFS, 0x00bab10c in 64 bits of either order.
const ZFS: [&[u8]; 2] = [b"\x0c\xb1\xba\0\0\0\0\0", b"\0\0\0\0\0\xba\xb1\x0c"];

/// What may begin at any sector of the first MiB or the last.
///
/// ZFS has two labels of 256 KiB at either end, the latter half of each made of uberblocks, of which the first ones may
/// be empty. RAID superblocks of the versions 0.90 and 1.0 are within the last 128 KiB, and those of firmware within the
/// last KiB.
const ANYWHERE: [(&str, &[u8]); 5] = [
    ("a ZFS pool member", ZFS[0]),
    ("a ZFS pool member", ZFS[1]),
    ("a RAID member", RAID),
    (
        "a RAID member of Intel's firmware",
        b"Intel Raid ISM Cfg Sig. ",
    ),
    ("a RAID member of a firmware", b"\xde\x11\xde\x11"),
];

const fn mark(name: &'static str, at: usize, bytes: &'static [u8]) -> Mark {
    Mark { name, at, bytes }
}

/// Returns what a namespace holds that somebody may miss. None where its first MiB and its last are
/// zeros.
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
    Ok(held_between(&head, &tail, block))
}

/// Returns what a disk with blocks of `block` bytes holds that somebody may miss, by its first bytes and its last.
/// None where these are zeros.
pub(crate) fn held_between(head: &[u8], tail: &[u8], block: usize) -> Option<&'static str> {
    let is_known_empty = is_empty(head) && is_empty(tail);
    found(head, tail, block).or((!is_known_empty).then_some(UNKNOWN))
}

/// Returns what would be lost where `blocks` blocks are written from `lba` on. That is what the namespace
/// [holds](held), or whatever is in these blocks. Of many blocks, 64 MiB are looked at, spread evenly from the first to
/// the last.
pub(crate) fn lost<C: ControllerHandle>(
    pair: &mut QueuePair<C, DEPTH>,
    namespace: &Namespace,
    lba: u64,
    blocks: u64,
) -> Result<Option<&'static str>, NvmeError<ErrorOf<C>>> {
    if let Some(what) = held(pair, namespace)? {
        return Ok(Some(what));
    }
    let size = u64::from(namespace.block_size()).max(1);
    let most = (u64::try_from(LOOKED_AT).unwrap_or(u64::MAX) / size).max(1);
    let len = most.min(blocks);
    let mut buffer = vec![0; usize::try_from(len.saturating_mul(size)).unwrap_or(0)];
    for start in windows(blocks, len) {
        pair.read_blocks(namespace, lba.saturating_add(start), &mut buffer)?;
        if !is_empty(&buffer) {
            return Ok(Some(IN_THE_WAY));
        }
    }
    Ok(None)
}

/// Returns the starts of windows of `len` blocks, spread over `blocks` blocks from the first to the last. There are as
/// many as it takes to see them all, or else [`WINDOWS`].
fn windows(blocks: u64, len: u64) -> impl Iterator<Item = u64> {
    let count = blocks.div_ceil(len.max(1)).min(WINDOWS);
    let room = u128::from(blocks.saturating_sub(len));
    let gaps = u128::from(count.saturating_sub(1).max(1));
    // A start is at most `room`.
    (0..count).map(move |i| u64::try_from(room * u128::from(i) / gaps).unwrap_or(u64::MAX))
}

fn is_empty(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// What is not zero, and no mark tells.
const UNKNOWN: &str = "data of an unknown kind";
/// What is not zero in the blocks that are to be written.
const IN_THE_WAY: &str = "data in the blocks to be written";

/// Recognises the contents of a namespace by its first bytes and its last. `block` is the size of a block in bytes;
/// none where nothing is known there.
fn found(head: &[u8], tail: &[u8], block: usize) -> Option<&'static str> {
    let last = tail.rchunks(block).next().unwrap_or_default();
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
    let sectors = || head.chunks(512).chain(tail.chunks(512));
    let anywhere = ANYWHERE
        .iter()
        .find(|(_, bytes)| sectors().any(|sector| sector.starts_with(bytes)));
    if let Some((name, _)) = anywhere {
        return Some(name);
    }
    has(head, 510, b"\x55\xaa").then_some("a partition table of the MBR kind, or a boot sector")
}

#[cfg(test)]
mod tests {
    use super::*;

    use vfio_core::dma::Dma;
    use vfio_core::open::Session;
    use vfio_core::wire::abi::pci_region;
    use vfio_drivers::nvme::{Controller, Options, QueueOptions};
    use vfio_hosted::model::{self, Nvme, NvmeNamespace};
    use vfio_hosted::sim::Kernel;

    /// Bytes from the start that marks are in.
    const HEAD: usize = 128 << 10;

    /// Returns what is found on a namespace: `held`, or what a write of those blocks would destroy.
    fn on(namespace: NvmeNamespace, written: Option<(u64, u64)>) -> Option<&'static str> {
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
        match written {
            None => held(&mut pair, &namespace).unwrap(),
            Some((lba, blocks)) => lost(&mut pair, &namespace, lba, blocks).unwrap(),
        }
    }

    #[test]
    fn whatever_is_near_either_end_is_seen() {
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
            assert_eq!(on(namespace, None), found, "{lba}");
        }
    }

    #[test]
    fn whatever_would_be_written_over_is_seen() {
        // 8 MiB, with a byte in the middle.
        let namespace = || NvmeNamespace::of_512(16384).with_block(9000, b"?");
        for (lba, blocks, found) in [
            (0, 9000, None),
            (0, 9001, Some(IN_THE_WAY)),
            (9000, 1, Some(IN_THE_WAY)),
            (9001, 7383, None),
            (0, 16384, Some(IN_THE_WAY)),
            (8999, 0, None),
        ] {
            assert_eq!(
                on(namespace(), Some((lba, blocks))),
                found,
                "{lba} {blocks}"
            );
        }
        let with_mark = NvmeNamespace::of_512(16384).with_block(0, b"XFSB");
        assert_eq!(on(with_mark, Some((9000, 1))), Some("an XFS file system"));
    }

    #[test]
    fn windows_reach_from_the_first_block_to_the_last() {
        let of = |blocks, len| windows(blocks, len).collect::<Vec<_>>();
        assert_eq!(of(0, 0), [0; 0]);
        assert_eq!(of(8, 8), [0]);
        assert_eq!(of(9, 8), [0, 1]);
        assert_eq!(of(24, 8), [0, 8, 16]);
        for (blocks, len) in [(500, 8), (512, 8), (511, 8), (u64::MAX, 2048)] {
            let starts = of(blocks, len);
            assert_eq!(
                starts.len(),
                usize::try_from(blocks.div_ceil(len)).unwrap().min(64)
            );
            assert_eq!(starts[0], 0);
            assert_eq!(starts[starts.len() - 1], blocks - len);
            let gap = starts.windows(2).map(|two| two[1] - two[0]).max();
            assert!(blocks > 512 || gap <= Some(len), "{starts:?}");
        }
    }

    #[test]
    fn a_member_of_a_pool_is_known_at_either_end() {
        // The first uberblocks of a label may be empty. The last labels end where 256 KiB do.
        for uberblock in ZFS {
            let mut end = vec![0; LOOKED_AT];
            for at in [0x20000, 0x2fc00, 0x60000] {
                end[at..at + 8].copy_from_slice(uberblock);
                assert_eq!(found(&end, &[], 512), Some("a ZFS pool member"));
                assert_eq!(found(&[], &end, 4096), Some("a ZFS pool member"));
                end[at..at + 8].fill(0);
            }
        }
        for (name, bytes) in ANYWHERE {
            let mut end = vec![0; LOOKED_AT];
            end[LOOKED_AT - 1024..][..bytes.len()].copy_from_slice(bytes);
            assert_eq!(found(&[0; HEAD], &end, 512), Some(name));
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
