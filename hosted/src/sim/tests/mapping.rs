//! Regions in reach of register accesses.

use vfio_core::mmio::{CanRead, CanReadWrite, RegisterError, Window};
use vfio_core::sys::{Protection, Span};
use vfio_core::wire::abi::{DeviceFlags, RegionFlags};

use super::*;
use crate::model::{self, Bar, Config, Description, RegionDescription};
use crate::sim::MappingError;

const BOTH: Protection = Protection {
    read: true,
    write: true,
};

fn span(offset: u64, len: usize) -> Span {
    Span { offset, len }
}

fn refused(opened: &Opened, offset: u64, len: usize) -> Option<Errno> {
    let mapped = opened.kernel.map(&opened.device, span(offset, len), BOTH);
    mapped.err()
}

#[test]
fn a_mapping_reaches_the_registers() {
    let opened = open(model::edu());
    let mapping = opened.kernel.map(&opened.device, span(0, 4096), BOTH);
    let mut window: Window<_> = Window::with_permission(mapping.unwrap()).unwrap();
    assert_eq!(window.read::<u32>(0), Ok(0x0100_00ed));
    window.write::<u32>(4, 0x1234_5678).unwrap();
    assert_eq!(window.read::<u32>(4), Ok(!0x1234_5678));
    window.write::<u64>(0x80, 0x1_0000_0000).unwrap();
    assert_eq!(window.read::<u64>(0x80), Ok(0x1_0000_0000));
    assert!(window.read::<u32>(4096).is_err());
}

#[test]
fn what_may_not_be_mapped_is_refused() {
    let opened = open(model::edu());
    let mib = 1 << 20;
    for (offset, len) in [
        (0, 0),
        (1, 4096),
        (2048, 4096),
        (0, mib + 1),
        (4096, mib),
        (mib as u64, 4096),
        // An empty BAR, the configuration space, and no region at all.
        (1 << 40, 4096),
        (7 << 40, 256),
        (40 << 40, 4096),
        (0, usize::MAX),
    ] {
        let errno = refused(&opened, offset, len);
        assert_eq!(errno, Some(Errno::EINVAL), "{offset:#x} {len:#x}");
    }
    assert_eq!(refused(&opened, (mib - 4096) as u64, 4096), None);
    for fd in [&opened.container, &opened.group] {
        let mapped = opened.kernel.map(fd, span(0, 4096), BOTH);
        assert_eq!(mapped.err(), Some(Errno::ENODEV));
    }
    assert_eq!(opened.kernel.live_mappings(), 0);
}

#[test]
fn only_sparse_areas_are_mapped() {
    let opened = open(model::sparse());
    let bar2 = 2 << 40;
    assert_eq!(refused(&opened, bar2, 4096), Some(Errno::EINVAL));
    assert_eq!(refused(&opened, bar2 + 0x1000, 4096), None);
    assert_eq!(refused(&opened, bar2 + 0x1000, 4097), Some(Errno::EINVAL));
    assert_eq!(refused(&opened, bar2 + 0xa000, 4096), Some(Errno::EINVAL));
    let opened = open(model::legacy_msix_full());
    assert_eq!(refused(&opened, 1 << 40, 4096), Some(Errno::EINVAL));
}

/// Returns a device with a BAR of 256 bytes with these flags.
fn small(flags: RegionFlags) -> Opened {
    let config = Config::pci(0x1af4, 0x1110, 0x05_0000, 0).with_bar(0, Bar::Memory32 { size: 256 });
    open(Model::new(Description {
        flags: DeviceFlags::PCI,
        regions: [
            Some(RegionDescription::new(0, flags, 256)),
            None,
            None,
            None,
            None,
            None,
            None,
        ]
        .into_iter()
        .chain([Some(RegionDescription::new(
            7,
            RegionFlags::READ | RegionFlags::WRITE,
            256,
        ))])
        .collect(),
        config,
        ..Default::default()
    }))
}

#[test]
fn the_page_of_a_small_bar_is_mapped_whole() {
    let all = RegionFlags::READ | RegionFlags::WRITE | RegionFlags::MMAP;
    let opened = small(all);
    assert_eq!(refused(&opened, 0, 4097), Some(Errno::EINVAL));
    let mapping = opened.kernel.map(&opened.device, span(0, 4096), BOTH);
    let mut window: Window<_> = Window::with_permission(mapping.unwrap()).unwrap();
    window.write::<u32>(252, 7).unwrap();
    assert_eq!(window.read::<u32>(252), Ok(7));
    // There is nothing behind the BAR.
    window.write::<u32>(256, 7).unwrap();
    assert_eq!(window.read::<u32>(256), Ok(u32::MAX));
}

#[test]
fn protection_is_the_region_s_and_the_mapping_s() {
    let opened = small(RegionFlags::READ | RegionFlags::MMAP);
    assert_eq!(refused(&opened, 0, 256), Some(Errno::EINVAL));
    let read = Protection {
        read: true,
        write: false,
    };
    let mapping = opened.kernel.map(&opened.device, span(0, 256), read);
    let mapping = mapping.unwrap();
    // Who reaches past the types finds what the hardware would say.
    assert_eq!(mapping.write(0, &[1]), Err(MappingError::NotWritable));
    let refused = Window::<_, CanReadWrite>::with_permission(&mapping);
    assert_eq!(refused.unwrap_err().permitted, read);
    let mut window = Window::<_, CanRead>::with_permission(mapping).unwrap();
    assert_eq!(window.read::<u8>(0), Ok(0));
}

#[test]
fn memory_that_is_not_decoded_is_out_of_reach() {
    let opened = open(model::edu());
    let Opened { kernel, device, .. } = &opened;
    let mapping = kernel.map(device, span(0, 4096), BOTH).unwrap();
    let mut window: Window<_> = Window::with_permission(mapping).unwrap();
    window.write::<u32>(4, 5).unwrap();
    set_command(kernel, device, 0);
    let gone = RegisterError::Access(MappingError::NotDecoded);
    assert_eq!(window.read::<u32>(4), Err(gone));
    assert_eq!(window.write::<u32>(4, 6), Err(gone));
    set_command(kernel, device, 2);
    assert_eq!(window.read::<u32>(4), Ok(!5));

    let device = vfio_core::device::Device::new(kernel.clone(), opened.device);
    device.enter_low_power().unwrap();
    assert_eq!(window.read::<u32>(4), Err(gone));
    device.exit_low_power().unwrap();
    assert_eq!(window.read::<u32>(4), Ok(!5));
}

#[test]
fn a_mapping_keeps_its_device_open() {
    let Opened {
        kernel,
        container,
        group,
        device,
    } = open(model::edu());
    let mapping = kernel.map(&device, span(0, 4096), BOTH).unwrap();
    drop((container, group, device));
    assert_eq!((kernel.live_mappings(), kernel.open_files()), (1, 1));
    let path = Kernel::group_path(GROUP);
    assert_eq!(kernel.open(&path).err(), Some(Errno::EBUSY));
    let mut window: Window<_> = Window::with_permission(mapping).unwrap();
    assert_eq!(window.read::<u32>(0), Ok(0x0100_00ed));
    drop(window);
    assert_eq!((kernel.live_mappings(), kernel.open_files()), (0, 0));
    assert_eq!((kernel.calls().map, kernel.calls().unmap), (1, 1));
    assert!(kernel.open(&path).is_ok());
}
