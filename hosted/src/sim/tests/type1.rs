//! Mappings of a type1 container, and what a device does with them.

use std::vec::Vec;

use vfio_core::mmio::Window;
use vfio_core::query;
use vfio_core::wire::abi::{IrqSetFlags, pci_irq};

use super::interrupts::{Data, set_irqs};
use super::*;
use crate::model::{self, DmaAccess, FaultReason, Iommu, IommuCap};

const PAGE: u64 = 4096;

/// Returns edu in a container of a version, its bus mastering on.
fn opened(iommu: Extension) -> Opened {
    let kernel = Kernel::new().with_device(NAME, model::edu(), GROUP);
    let container = kernel.open(CONTAINER_PATH).unwrap();
    let group = kernel.open(&Kernel::group_path(GROUP)).unwrap();
    attach(&kernel, &group, &container).unwrap();
    kernel
        .ioctl_value(&container, ValueRequest::SetIommu, iommu.0)
        .unwrap();
    let device = open_device(&kernel, &group).unwrap();
    set_command(&kernel, &device, 6);
    Opened {
        kernel,
        container,
        group,
        device,
    }
}

/// Lets edu copy 8 bytes, and waits.
fn copy(opened: &Opened, source: u64, destination: u64, command: u64) {
    let Opened { kernel, device, .. } = opened;
    let values = [source, destination, 8, command];
    for (at, value) in (0x80..).step_by(8).zip(values) {
        poke(kernel, device, at, &value.to_le_bytes());
    }
    let mut command = [1, 0, 0, 0, 0, 0, 0, 0];
    while command[0] & 1 != 0 {
        assert_eq!(kernel.pread(device, &mut command, 0x98), Ok(8));
    }
}

const TO_DEVICE: u64 = 1;
const TO_MEMORY: u64 = 3;
const BUFFER: u64 = 0x4_0000;

fn dma_avail(opened: &Opened) -> Option<u32> {
    let mut reply = [0; 256];
    let info = query::iommu(&opened.kernel, &opened.container, &mut reply);
    info.unwrap().dma_avail()
}

#[test]
fn a_device_reads_and_writes_what_is_mapped() {
    let opened = opened(Extension::TYPE1V2_IOMMU);
    let Opened {
        kernel, container, ..
    } = &opened;
    let memory = kernel.memory(8192, Pages::Ordinary).unwrap();
    let mut window = Window::new(&memory);
    // The bytes lie across a page, and so across two mappings.
    window.write::<u32>(4092, 0x0403_0201).unwrap();
    window.write::<u32>(4096, 0x0807_0605).unwrap();
    map(kernel, container, &memory, 0..4096, 0x10_0000, READ_WRITE).unwrap();
    map(
        kernel,
        container,
        &memory,
        4096..8192,
        0x10_1000,
        READ_WRITE,
    )
    .unwrap();
    copy(&opened, 0x10_0ffc, BUFFER, TO_DEVICE);
    copy(&opened, BUFFER, 0x10_0010, TO_MEMORY);
    assert_eq!(window.read::<u64>(0x10), Ok(0x0807_0605_0403_0201));
    assert_eq!(kernel.faults(), []);
    assert_eq!(dma_avail(&opened), Some(65_533));
    assert_eq!(kernel.live_dma_mappings(), 2);
}

#[test]
fn a_transfer_that_faults_moves_nothing() {
    let opened = opened(Extension::TYPE1V2_IOMMU);
    let Opened {
        kernel, container, ..
    } = &opened;
    let memory = kernel.memory(4096, Pages::Ordinary).unwrap();
    let mut window = Window::new(&memory);
    window.write::<u32>(4092, 7).unwrap();
    map(kernel, container, &memory, 0..4096, 0x10_0000, READ_WRITE).unwrap();
    // Its second half is past the page.
    copy(&opened, BUFFER, 0x10_0ffc, TO_MEMORY);
    assert_eq!(window.read::<u32>(4092), Ok(7));
    unmap(kernel, container, 0x10_0000, PAGE, DmaUnmapFlags::empty()).unwrap();
    copy(&opened, 0x10_0000, BUFFER, TO_DEVICE);
    let faults: Vec<_> = kernel
        .faults()
        .into_iter()
        .map(|fault| (fault.iova, fault.access, fault.reason))
        .collect();
    assert_eq!(
        faults,
        [
            (0x10_1000, DmaAccess::Write, FaultReason::Unmapped),
            (0x10_0000, DmaAccess::Read, FaultReason::Unmapped),
        ]
    );
    assert_eq!(
        kernel.faults()[0].to_string(),
        "0000:01:00.0 writes 0x101000: nothing is mapped there"
    );
}

#[test]
fn mapped_memory_outlives_the_driver_s_share() {
    let opened = opened(Extension::TYPE1V2_IOMMU);
    let Opened {
        kernel, container, ..
    } = &opened;
    let memory = kernel.memory(4096, Pages::Ordinary).unwrap();
    Window::new(&memory).write::<u64>(0, 77).unwrap();
    map(kernel, container, &memory, 0..4096, 0, READ_WRITE).unwrap();
    drop(memory);
    let target = kernel.memory(4096, Pages::Ordinary).unwrap();
    map(kernel, container, &target, 0..4096, PAGE, READ_WRITE).unwrap();
    copy(&opened, 0, BUFFER, TO_DEVICE);
    copy(&opened, BUFFER, PAGE, TO_MEMORY);
    assert_eq!(Window::new(&target).read::<u64>(0), Ok(77));
    assert_eq!(kernel.faults(), []);
}

#[test]
fn what_can_t_be_mapped_is_refused() {
    let opened = opened(Extension::TYPE1V2_IOMMU);
    let Opened {
        kernel, container, ..
    } = &opened;
    let memory = kernel.memory(8192, Pages::Ordinary).unwrap();
    let try_map = |range, iova, flags| map(kernel, container, &memory, range, iova, flags);
    let none = DmaMapFlags::empty();
    let cases = [
        (0..4096, 0, none, Errno::EINVAL),
        (0..4096, 0, READ_WRITE | DmaMapFlags::VADDR, Errno::EINVAL),
        (0..4096, 0, DmaMapFlags::VADDR, Errno::ENOENT),
        (0..4096, 0, DmaMapFlags::READ | !READ_WRITE, Errno::EINVAL),
        (0..0, 0, READ_WRITE, Errno::EINVAL),
        (0..4095, 0, READ_WRITE, Errno::EINVAL),
        (1..4097, 0, READ_WRITE, Errno::EINVAL),
        (0..4096, 1, READ_WRITE, Errno::EINVAL),
        (0..12288, 0, READ_WRITE, Errno::EINVAL),
        (0..8192, u64::MAX - 4095, READ_WRITE, Errno::EOVERFLOW),
        // The window of interrupt messages, from its last page before to its first after.
        (0..4096, 0xfee0_0000, READ_WRITE, Errno::EINVAL),
        (0..8192, 0xfedf_f000, READ_WRITE, Errno::EINVAL),
        (0..8192, 0xfeef_f000, READ_WRITE, Errno::EINVAL),
        (0..4096, 1 << 48, READ_WRITE, Errno::EINVAL),
        (0..4096, u64::MAX - 4095, READ_WRITE, Errno::EINVAL),
    ];
    for (range, iova, flags, errno) in cases {
        let case = std::format!("{range:?} at {iova:#x}, {flags}");
        assert_eq!(try_map(range, iova, flags), Err(errno), "{case}");
    }
    assert_eq!(kernel.live_dma_mappings(), 0);
    assert_eq!(try_map(0..4096, (1 << 48) - PAGE, READ_WRITE), Ok(()));
    assert_eq!(try_map(0..4096, 0xfedf_f000, READ_WRITE), Ok(()));

    assert_eq!(try_map(0..8192, 0x4000, READ_WRITE), Ok(()));
    for (range, iova) in [(0..4096, 0x4000), (0..4096, 0x5000), (0..8192, 0x3000)] {
        assert_eq!(try_map(range, iova, READ_WRITE), Err(Errno::EEXIST));
    }
    assert_eq!(
        try_map(0..4096, 0x4000, DmaMapFlags::VADDR),
        Err(Errno::EINVAL)
    );
    assert_eq!(try_map(0..4096, 0x3000, READ_WRITE), Ok(()));
}

#[test]
fn mappings_run_out() {
    let mut description = model::edu().description().clone();
    description.iommu = Iommu {
        caps: [IommuCap::DmaAvail { avail: 2 }].into(),
        ..Iommu::default()
    };
    let opened = open(Model::new(description));
    let Opened {
        kernel, container, ..
    } = &opened;
    let memory = kernel.memory(4096, Pages::Ordinary).unwrap();
    let try_map = |iova| map(kernel, container, &memory, 0..4096, iova, READ_WRITE);
    // Without ranges of its own every address will do, the last page included.
    assert_eq!(try_map(0), Ok(()));
    assert_eq!(try_map(u64::MAX - 4095), Ok(()));
    assert_eq!(dma_avail(&opened), Some(0));
    assert_eq!(try_map(PAGE), Err(Errno::ENOSPC));
    let all = unmap(kernel, container, 0, 0, DmaUnmapFlags::ALL);
    assert_eq!(all, Ok(2 * PAGE));
    assert_eq!(dma_avail(&opened), Some(2));
    assert_eq!(try_map(PAGE), Ok(()));
}

#[test]
fn unmapping_tells_how_much() {
    let opened = opened(Extension::TYPE1V2_IOMMU);
    let Opened {
        kernel, container, ..
    } = &opened;
    let memory = kernel.memory(0x4000, Pages::Ordinary).unwrap();
    let none = DmaUnmapFlags::empty();
    let unmap = |iova, size, flags| unmap(kernel, container, iova, size, flags);
    map(kernel, container, &memory, 0..0x2000, 0x1_0000, READ_WRITE).unwrap();
    map(kernel, container, &memory, 0..0x1000, 0x2_0000, READ_WRITE).unwrap();

    assert_eq!(unmap(0x1_0001, 0x1000, none), Err(Errno::EINVAL));
    assert_eq!(unmap(0x1_0000, 0, none), Err(Errno::EINVAL));
    assert_eq!(unmap(0x1_0000, 0xfff, none), Err(Errno::EINVAL));
    assert_eq!(unmap(0x1_0000, 0, DmaUnmapFlags::ALL), Err(Errno::EINVAL));
    let last = u64::MAX - 4095;
    assert_eq!(unmap(last, 0x2000, none), Err(Errno::EOVERFLOW));
    assert_eq!(unmap(last, 0x1000, none), Ok(0));
    // Version 2 unmaps mappings whole.
    assert_eq!(unmap(0x1_0000, 0x1000, none), Err(Errno::EINVAL));
    assert_eq!(unmap(0x1_1000, 0x1000, none), Err(Errno::EINVAL));
    assert_eq!(unmap(0x1_0000, 0x2_0000, none), Ok(0x3000));
    assert_eq!(unmap(0, 0, DmaUnmapFlags::ALL), Ok(0));
}

#[test]
fn version_1_unmaps_more_than_is_asked_for() {
    let opened = opened(Extension::TYPE1_IOMMU);
    let Opened {
        kernel, container, ..
    } = &opened;
    let memory = kernel.memory(0x4000, Pages::Ordinary).unwrap();
    let unmap = |iova, size| unmap(kernel, container, iova, size, DmaUnmapFlags::empty());
    map(kernel, container, &memory, 0..0x4000, 0x1_0000, READ_WRITE).unwrap();
    assert_eq!(unmap(0x1_1000, 0x1000), Ok(0));
    assert_eq!(kernel.live_dma_mappings(), 1);
    assert_eq!(unmap(0x1_0000, 0x1000), Ok(0x4000));
    assert_eq!(kernel.live_dma_mappings(), 0);
}

#[test]
fn old_kernels_call_the_end_of_addresses_invalid() {
    let opened = open(model::legacy_msix());
    let Opened {
        kernel, container, ..
    } = &opened;
    let memory = kernel.memory(0x2000, Pages::Ordinary).unwrap();
    let last = u64::MAX - 4095;
    let mapped = map(kernel, container, &memory, 0..0x2000, last, READ_WRITE);
    assert_eq!(mapped, Err(Errno::EINVAL));
    let unmapped = unmap(kernel, container, last, 0x2000, DmaUnmapFlags::empty());
    assert_eq!(unmapped, Err(Errno::EINVAL));
}

#[test]
fn mappings_need_an_iommu_and_go_with_it() {
    let kernel = Kernel::new().with_device(NAME, model::edu(), GROUP);
    let container = kernel.open(CONTAINER_PATH).unwrap();
    let memory = kernel.memory(4096, Pages::Ordinary).unwrap();
    let try_map = || map(&kernel, &container, &memory, 0..4096, 0, READ_WRITE);
    assert_eq!(try_map(), Err(Errno::EINVAL));
    let group = kernel.open(&Kernel::group_path(GROUP)).unwrap();
    attach(&kernel, &group, &container).unwrap();
    set_iommu(&kernel, &container).unwrap();
    assert_eq!(try_map(), Ok(()));
    detach(&kernel, &group).unwrap();
    assert_eq!(kernel.live_dma_mappings(), 0);
    attach(&kernel, &group, &container).unwrap();
    set_iommu(&kernel, &container).unwrap();
    assert_eq!(try_map(), Ok(()));
    let wrong = map(&kernel, &group, &memory, 0..4096, 0, READ_WRITE);
    assert_eq!(wrong, Err(Errno::ENOTTY));
    drop((container, group));
    assert_eq!(kernel.live_dma_mappings(), 0);
}

#[test]
fn a_closed_device_reaches_nothing() {
    let opened = opened(Extension::TYPE1V2_IOMMU);
    let event = opened.kernel.event().unwrap();
    let trigger = IrqSetFlags::ACTION_TRIGGER;
    let events = [Some(&event)];
    let events = Data::Events(&events);
    set_irqs(&opened, pci_irq::MSI, 0, trigger, &events).unwrap();
    let Opened {
        kernel,
        container,
        group,
        device,
    } = opened;
    let memory = kernel.memory(4096, Pages::Ordinary).unwrap();
    map(&kernel, &container, &memory, 0..4096, 0, READ_WRITE).unwrap();
    // A copy is under way, with an interrupt at its end.
    for (at, value) in [(0x80, BUFFER), (0x88, 0), (0x90, 8), (0x98, 7)] {
        poke(&kernel, &device, at, &value.to_le_bytes());
    }
    drop(device);
    // A machine may be slow.
    for _ in 0..1000 {
        let wait = kernel.events_wait(&[&event], std::time::Duration::from_millis(5));
        assert_eq!(wait, Ok(false));
        if !kernel.faults().is_empty() {
            break;
        }
    }
    let reasons: Vec<_> = kernel.faults().iter().map(|fault| fault.reason).collect();
    assert_eq!(reasons, [FaultReason::BusMasterOff]);
    // Opened again it may not master the bus before it is told to.
    let device = open_device(&kernel, &group).unwrap();
    let mut command = [0; 2];
    kernel.pread(&device, &mut command, (7 << 40) + 4).unwrap();
    assert_eq!(command, [2, 0]);
}
