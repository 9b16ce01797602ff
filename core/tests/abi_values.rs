//! What a user of the ABI's values relies on: nothing that the kernel says gets lost.

use vfio_core::wire::abi::{
    DeviceInfo, FeatureFlags, FeatureId, InfoCapHeader, RegionCapId, RegionFlags, RegionInfo,
    RegionSubtype, RegionType,
};
use zerocopy::{FromBytes, IntoBytes};

#[test]
fn bits_without_a_name_survive() {
    let mut bytes = [0; 32];
    bytes[4..8].copy_from_slice(&0x8000_0005_u32.to_ne_bytes());

    let info = RegionInfo::read_from_bytes(&bytes).unwrap();
    assert!(info.flags.contains(RegionFlags::READ | RegionFlags::MMAP));
    assert!(!info.flags.contains(RegionFlags::CAPS));
    assert_eq!(info.flags.to_string(), "READ | MMAP | 0x80000000");
    assert_eq!(
        format!("{:?}", info.flags),
        "RegionFlags(READ | MMAP | 0x80000000)"
    );
    assert_eq!(info.as_bytes(), bytes);
    assert_eq!((info.flags - RegionFlags::READ).bits(), 0x8000_0004);
}

#[test]
fn no_flag_is_printed_as_zero() {
    assert_eq!(RegionFlags::empty().to_string(), "0x0");
}

#[test]
fn ids_without_a_name_are_printed_as_numbers() {
    assert_eq!(
        format!("{:?}", RegionCapId::SPARSE_MMAP),
        "RegionCapId(SPARSE_MMAP)"
    );
    assert_eq!(format!("{:?}", RegionCapId(0xffff)), "RegionCapId(0xffff)");
    assert_eq!(RegionCapId(0xffff).name(), None);
}

#[test]
fn any_bytes_are_a_struct_and_the_struct_gives_them_back() {
    let bytes: [u8; 24] = std::array::from_fn(|i| 0xf0 | i as u8);
    assert_eq!(
        DeviceInfo::read_from_bytes(&bytes).unwrap().as_bytes(),
        bytes
    );
    assert!(DeviceInfo::read_from_bytes(&bytes[..23]).is_err());
}

#[test]
fn a_capability_head_is_read_where_it_is_not_aligned() {
    let bytes = [0xee, 2, 0, 1, 0, 0x44, 0, 0, 0, 0xee];
    let (head, rest) = InfoCapHeader::read_from_prefix(&bytes[1..]).unwrap();
    assert_eq!(head.id, u16::from_ne_bytes([2, 0]));
    assert_eq!(head.next, u32::from_ne_bytes([0x44, 0, 0, 0]));
    assert_eq!(rest, [0xee]);
}

#[test]
fn a_region_type_tells_the_pci_vendor() {
    assert_eq!(RegionType::pci_vendor(0x8086).0, 0x8000_8086);
    assert_eq!(RegionType::INTEL.vendor(), Some(0x8086));
    assert_eq!(RegionType::GFX.vendor(), None);
    // Bits that have no meaning yet: not for us to call it Intel's.
    assert_eq!(RegionType(0x8001_8086).vendor(), None);
    assert_eq!(RegionType::INTEL.to_string(), "0x80008086");
    assert_eq!(RegionSubtype::INTEL_IGD_OPREGION, RegionSubtype(1));
}

#[test]
fn feature_flags_carry_the_feature() {
    let flags = (FeatureFlags::PROBE | FeatureFlags::GET).with_feature(FeatureId::DMA_BUF);
    assert_eq!(flags.bits(), 0x5_000b);
    assert_eq!(flags.feature(), FeatureId::DMA_BUF);
    assert_eq!(flags.with_feature(FeatureId::MIGRATION).bits(), 0x5_0001);
}
