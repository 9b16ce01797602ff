//! What is written is read, whatever the sizes, the places and the depths.

use proptest::prelude::*;

use super::*;

/// A command of a history.
#[derive(Clone, Debug)]
enum Step {
    Write { lba: u64, blocks: usize, seed: u64 },
    Read { lba: u64, blocks: usize },
    Zero { lba: u64, blocks: u32 },
    Deallocate { lba: u64, blocks: u64 },
    Flush,
    CutPower,
}

/// Blocks of the namespaces.
const BLOCKS: u64 = 600;

fn step() -> impl Strategy<Value = Step> {
    let range = (0..BLOCKS).prop_flat_map(|lba| (Just(lba), 1..=BLOCKS - lba));
    let usize_of = |blocks| usize::try_from(blocks).unwrap();
    prop_oneof![
        4 => (range.clone(), any::<u64>()).prop_map(move |((lba, blocks), seed)| {
            let blocks = usize_of(blocks);
            Step::Write { lba, blocks, seed }
        }),
        3 => range.clone().prop_map(move |(lba, blocks)| {
            let blocks = usize_of(blocks);
            Step::Read { lba, blocks }
        }),
        1 => range.clone().prop_map(|(lba, blocks)| {
            let blocks = u32::try_from(blocks).unwrap();
            Step::Zero { lba, blocks }
        }),
        1 => range.prop_map(|(lba, blocks)| Step::Deallocate { lba, blocks }),
        1 => Just(Step::Flush),
        1 => Just(Step::CutPower),
    ]
}

/// A controller of some kind.
#[derive(Clone, Debug)]
struct Kind {
    namespace: u8,
    latency: u32,
    shadow: bool,
    /// Pages of a slot.
    pages: usize,
}

fn kind() -> impl Strategy<Value = Kind> {
    let pages = prop_oneof![Just(1), Just(2), Just(3), 4..40_usize];
    (0..12_u8, 0..5_u32, any::<bool>(), pages).prop_map(|(namespace, latency, shadow, pages)| {
        Kind {
            namespace,
            latency,
            shadow,
            pages,
        }
    })
}

impl Kind {
    fn nvme(&self) -> Nvme {
        let namespace = match self.namespace {
            0 => NvmeNamespace::of_512(BLOCKS),
            1 => NvmeNamespace::of_4096(BLOCKS),
            2 => NvmeNamespace::of_512(BLOCKS).with_metadata(false),
            3 => NvmeNamespace::of_512(BLOCKS).with_metadata(true),
            4 => NvmeNamespace::of_4096(BLOCKS).with_metadata(false),
            5 => NvmeNamespace::of_4096(BLOCKS).with_metadata(true),
            other => {
                let protection = NvmeProtection {
                    kind: other / 2 % 3 + 1,
                    format: other % 3,
                    storage_tag: if other % 3 == 1 { 16 } else { 0 },
                };
                NvmeNamespace::of_4096(BLOCKS).with_protection(protection, other % 2 == 0)
            }
        };
        let nvme = Nvme::new()
            .with_namespace(namespace)
            .with_latency(self.latency);
        if self.shadow {
            nvme.with_shadow_doorbells()
        } else {
            nvme
        }
    }

    fn options(&self) -> QueueOptions {
        QueueOptions {
            // A block with its metadata is longer than a page.
            slot: (self.pages + 1) * 4096,
            metadata: 1024,
            vector: None,
        }
    }
}

/// Runs a history on a queue pair, and compares with what should be there.
fn run<const DEPTH: usize>(kind: &Kind, steps: &[Step]) {
    let opened = Opened::new(kind.nvme());
    let controller = opened.start().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let size = usize::try_from(namespace.block_size()).unwrap();
    let mut pair = controller.queue_pair::<DEPTH>(kind.options()).unwrap();
    let len = size * usize::try_from(BLOCKS).unwrap();
    let mut expected = vec![0; len];
    // What a power cut leaves.
    let mut durable = expected.clone();
    let part = |lba: u64, blocks: usize| {
        let start = usize::try_from(lba).unwrap() * size;
        start..start + blocks * size
    };
    for step in steps {
        match *step {
            Step::Write { lba, blocks, seed } => {
                let data = pattern(seed, blocks * size);
                pair.write_blocks(&namespace, lba, &data).unwrap();
                expected[part(lba, blocks)].copy_from_slice(&data);
            }
            Step::Read { lba, blocks } => {
                let mut data = vec![0xee; blocks * size];
                pair.read_blocks(&namespace, lba, &mut data).unwrap();
                assert!(data == expected[part(lba, blocks)]);
            }
            Step::Zero { lba, blocks } => {
                let slot = pair.slot().unwrap();
                pair.write_zeroes(slot, &namespace, lba, blocks, false)
                    .unwrap();
                let ended = pair.wait().unwrap().unwrap();
                assert_eq!(ended.result, Ok(()));
                pair.release(ended.slot).unwrap();
                expected[part(lba, usize::try_from(blocks).unwrap())].fill(0);
            }
            Step::Deallocate { lba, blocks } => {
                let slot = pair.slot().unwrap();
                let middle = lba + blocks / 2;
                let ranges = [lba..middle, middle..lba + blocks];
                let ranges = if blocks == 1 { &ranges[1..] } else { &ranges };
                pair.deallocate(slot, &namespace, ranges).unwrap();
                let ended = pair.wait().unwrap().unwrap();
                assert_eq!(ended.result, Ok(()));
                pair.release(ended.slot).unwrap();
                expected[part(lba, usize::try_from(blocks).unwrap())].fill(0);
            }
            Step::Flush => {
                pair.flush_blocks(&namespace).unwrap();
                durable.clone_from(&expected);
                assert!(opened.control.medium(1).unwrap() == durable);
            }
            Step::CutPower => {
                opened.control.cut_power();
                expected.clone_from(&durable);
            }
        }
    }
    drop(pair);
    drop(controller);
    opened.assert_clean();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn histories_of_commands(kind in kind(), steps in prop::collection::vec(step(), 1..24), depth in 0..6_u8) {
        match depth {
            0 => run::<1>(&kind, &steps),
            1 => run::<2>(&kind, &steps),
            2 => run::<3>(&kind, &steps),
            3 => run::<8>(&kind, &steps),
            4 => run::<32>(&kind, &steps),
            _ => run::<255>(&kind, &steps),
        }
    }
}

#[test]
fn slots_are_as_long_as_the_controller_transfers() {
    // No limit: lists of several pages, of every length at which their last page is full.
    let nvme = Nvme::new()
        .with_transfer_shift(0)
        .with_namespace(NvmeNamespace::of_4096(4096));
    let opened = Opened::new(nvme);
    let controller = opened.start().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let most = 1600;
    let mut pair = controller.queue_pair::<2>(slots(most * 4096)).unwrap();
    let data = pattern(11, most * 4096);
    pair.write_blocks(&namespace, 0, &data).unwrap();
    let lens = [
        1, 2, 3, 511, 512, 513, 514, 515, 1023, 1024, 1025, 1534, 1535, 1536, 1537, 1600, 514, 513,
    ];
    for pages in lens {
        let mut back = vec![0; pages * 4096];
        pair.read_blocks(&namespace, 0, &mut back).unwrap();
        assert!(back == data[..back.len()], "{pages}");
        let fresh = pattern(u64::try_from(pages).unwrap(), back.len());
        pair.write_blocks(&namespace, 2000, &fresh).unwrap();
        pair.read_blocks(&namespace, 2000, &mut back).unwrap();
        assert!(back == fresh, "{pages}");
    }
    drop(pair);
    drop(controller);
    opened.assert_clean();
}

#[test]
fn metadata_that_do_not_fit_are_refused() {
    let nvme = Nvme::new().with_namespace(NvmeNamespace::of_512(64).with_metadata(false));
    let opened = Opened::new(nvme);
    let controller = opened.start().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut pair = controller.queue_pair::<2>(QueueOptions::default()).unwrap();
    let refused = pair.read_blocks(&namespace, 0, &mut [0; 512]);
    assert!(matches!(
        refused,
        Err(NvmeError::Request(vfio_drivers::nvme::Refusal::Metadata {
            most: 0
        }))
    ));
}

/// Checks what a write leaves in the metadata of blocks after a read of others brought something
/// else.
#[test]
fn a_write_does_not_send_the_metadata_that_a_read_brought() {
    let nvme = Nvme::new().with_namespace(NvmeNamespace::of_512(64).with_metadata(false));
    let opened = Opened::new(nvme);
    let controller = opened.start().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let options = QueueOptions {
        metadata: 60,
        ..Default::default()
    };
    let mut pair = controller.queue_pair::<1>(options).unwrap();
    let metadata = |lba| opened.control.metadata(1, lba).unwrap();
    // Metadata of the caller's.
    let slot = pair.slot().unwrap();
    let given: Vec<u8> = (1..=16).collect();
    let mut window = pair.metadata(&slot).unwrap();
    assert_eq!(window.len(), 64);
    window.write_bytes(0, &given).unwrap();
    pair.write_with_metadata(slot, &namespace, 8, 2).unwrap();
    let slot = pair.wait().unwrap().unwrap().slot;
    assert_eq!([metadata(8), metadata(9)].concat(), given);
    // The same slot reads them, and writes other blocks.
    let mut window = pair.metadata(&slot).unwrap();
    window.write_bytes(0, &[0xee; 64]).unwrap();
    pair.read(slot, &namespace, 8, 2).unwrap();
    let slot = pair.wait().unwrap().unwrap().slot;
    let mut brought = vec![0; 16];
    let mut window = pair.metadata(&slot).unwrap();
    window.read_bytes(0, &mut brought).unwrap();
    assert_eq!(brought, given);
    pair.write(slot, &namespace, 20, 2).unwrap();
    let ended = pair.wait().unwrap().unwrap();
    assert_eq!(ended.result, Ok(()));
    pair.release(ended.slot).unwrap();
    assert_eq!([metadata(20), metadata(21)].concat(), [0; 16]);
    // So do whole stretches.
    pair.read_blocks(&namespace, 8, &mut [0; 1024]).unwrap();
    pair.write_blocks(&namespace, 30, &[7; 1024]).unwrap();
    assert_eq!([metadata(30), metadata(31)].concat(), [0; 16]);
}

#[test]
fn a_slot_without_memory_for_metadata_has_none() {
    let opened = Opened::new(two_namespaces());
    let controller = opened.start().unwrap();
    let mut pair = controller.queue_pair::<2>(slots(16384)).unwrap();
    let slot = pair.slot().unwrap();
    let refusal = vfio_drivers::nvme::Refusal::Metadata { most: 0 };
    assert_eq!(pair.metadata(&slot).err(), Some(refusal));
}

#[test]
fn protection_information_is_told_by_its_own_format() {
    let of = |format, storage_tag| NvmeProtection {
        kind: 1,
        format,
        storage_tag,
    };
    for (protection, is_extended) in [
        (of(0, 0), false),
        (of(0, 8), true),
        (of(1, 16), false),
        (of(2, 0), false),
        (of(2, 0), true),
        (of(2, 48), false),
    ] {
        let namespace = NvmeNamespace::of_4096(64).with_protection(protection, is_extended);
        let opened = Opened::new(Nvme::new().with_namespace(namespace));
        let controller = opened.start().unwrap();
        let namespace = controller.namespace(1).unwrap();
        assert_eq!(namespace.protection(), 1);
        assert_eq!(namespace.stride(), 4096);
        assert!(!namespace.has_separate_metadata());
        let mut pair = controller.queue_pair::<4>(slots(16384)).unwrap();
        let data = pattern(5, 64 * 4096);
        pair.write_blocks(&namespace, 0, &data).unwrap();
        let mut back = vec![0; data.len()];
        pair.read_blocks(&namespace, 0, &mut back).unwrap();
        assert!(back == data, "{protection:?}");
        pair.flush_blocks(&namespace).unwrap();
        assert!(opened.control.medium(1).unwrap() == data, "{protection:?}");
        // Zeros that are not sent have nothing that could be checked.
        let slot = pair.slot().unwrap();
        pair.write_zeroes(slot, &namespace, 9, 2, false).unwrap();
        let ended = pair.wait().unwrap().unwrap();
        assert_eq!(ended.result, Ok(()), "{protection:?}");
        pair.release(ended.slot).unwrap();
        pair.read_blocks(&namespace, 8, &mut back[..4 * 4096])
            .unwrap();
        assert!(back[..4096] == data[8 * 4096..9 * 4096]);
        assert!(back[4096..3 * 4096].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn protection_information_that_is_not_known_is_refused_by_name() {
    let protection = NvmeProtection {
        kind: 1,
        format: 3,
        storage_tag: 9,
    };
    let namespace = NvmeNamespace::of_4096(64).with_protection(protection, false);
    let opened = Opened::new(Nvme::new().with_namespace(namespace));
    let controller = opened.start().unwrap();
    let refused = NvmeError::Protection {
        id: 1,
        format: Some(3),
        storage_tag: 9,
    };
    assert_eq!(controller.namespace(1).err(), Some(refused));
    // The controller says that it has such formats, and does not say which.
    opened.control.inject(0, 1, NvmeFault::Status(0x4002));
    let refused = NvmeError::Protection {
        id: 1,
        format: None,
        storage_tag: 0,
    };
    assert_eq!(controller.namespace(1).err(), Some(refused));
    // Larger than the tags that the driver gives.
    let namespace = NvmeNamespace::of_4096((1 << 32) + 1).with_protection(
        NvmeProtection {
            kind: 1,
            format: 2,
            storage_tag: 0,
        },
        false,
    );
    opened.control.replace_namespace(1, namespace);
    assert!(matches!(
        controller.namespace(1),
        Err(NvmeError::Protection {
            format: Some(2),
            ..
        })
    ));
}
