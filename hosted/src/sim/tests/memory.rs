//! Whose memory is a device's, and for how long.
#![expect(
    unsafe_code,
    reason = "memory is mapped by hand, and is the test's own"
)]

use core::ptr::NonNull;
use std::boxed::Box;
use std::sync::atomic::{AtomicU64, Ordering};

use vfio_core::device::Device;
use vfio_core::device::region::MappedRegion;
use vfio_core::dma::{BufferOptions, Direction, Dma, DmaError};
use vfio_core::mmio::{CanReadWrite, Window};
use vfio_core::open::{Mode, Place, Session, SessionError};
use vfio_core::wire::abi::pci_region;

use super::*;
use crate::failing::{Call, Failing, Fault};
use crate::model::{self, FaultReason};
use crate::sim::memory::HUGE_PAGE;

/// What edu reaches.
const HIGHEST: u64 = (1 << 28) - 1;

/// Bytes of a page.
const PAGE: usize = 4096;

/// Returns the options of memory that edu reaches.
const fn reached() -> BufferOptions {
    BufferOptions::new(Direction::Both).up_to(HIGHEST)
}

fn open_edu<S: Sys + Clone>(sys: &S, kernel: &Kernel, mode: Mode) -> Session<S> {
    let place = kernel.place(NAME).unwrap();
    let place = Place {
        noiommu: Some(acknowledged()),
        ..place.as_place()
    };
    Session::open_in(mode, sys, &place).unwrap()
}

/// Has edu copy 8 bytes from its own memory to `iova`, or the other way.
fn copy<S: Sys>(
    bar: &mut Window<MappedRegion<&Device<S>>, CanReadWrite>,
    iova: u64,
    to_memory: bool,
) {
    const OWN: u64 = 0x4_0000;
    let (from, to) = if to_memory { (OWN, iova) } else { (iova, OWN) };
    let mut put = |at, value: u64| bar.write(at, value).ok().unwrap();
    put(0x80, from);
    put(0x88, to);
    put(0x90, 8);
    put(0x98, 1 | u64::from(to_memory) << 1);
    while bar.read::<u64>(0x98).ok().unwrap() & 1 != 0 {}
}

#[test]
fn without_the_word_a_device_without_an_iommu_is_not_opened() {
    let kernel = Kernel::new().with_noiommu_device(NAME, model::edu(), GROUP);
    let place = kernel.place(NAME).unwrap();
    assert!(place.is_noiommu);
    let place = place.as_place();
    let error = Some(SessionError::NoIommu);
    assert_eq!(Session::open(&kernel, &place).err(), error);
    assert_eq!(
        Session::open_in(Mode::NoIommu, &kernel, &place).err(),
        error
    );
    assert_eq!(kernel.calls().open, 0);
    // Nor in any other way.
    for mode in Mode::PREFERRED {
        assert!(Session::open_in(mode, &kernel, &place).is_err(), "{mode}");
    }
    let path = std::ffi::CString::new(format!("/dev/vfio/noiommu-{GROUP}")).unwrap();
    assert_eq!(kernel.open(&path).err(), Some(Errno::EPERM));
    assert_eq!(kernel.open_group(GROUP, None).err(), Some(Errno::ENOENT));
    let container = kernel.open(CONTAINER_PATH).unwrap();
    let none = Extension::NOIOMMU_IOMMU.0;
    let set = kernel.ioctl_value(&container, ValueRequest::SetIommu, none);
    assert_eq!(set, Err(Errno::EPERM));

    let session = open_edu(&kernel, &kernel, Mode::NoIommu);
    assert_eq!(session.mode, Mode::NoIommu);
}

/// Returns the number of the call by which a buffer is unmapped.
fn unmapping(kernel: &Kernel, mode: Mode) -> (u64, Call) {
    let sys = Failing::new(kernel.clone());
    let session = open_edu(&sys, kernel, mode);
    let dma = Dma::<_, 16>::new(sys.clone(), session.space).unwrap();
    let buffer = dma.buffer(PAGE, Direction::Both).unwrap();
    let n = sys.calls();
    buffer.unmap().unwrap();
    assert_eq!((sys.calls(), kernel.live_memory()), (n + 1, 0));
    drop(dma);
    drop(session.device);
    let sys = Failing::new(kernel.clone()).at(n, Fault::Errno(Errno::EIO));
    let session = open_edu(&sys, kernel, mode);
    let dma = Dma::<_, 16>::new(sys.clone(), session.space).unwrap();
    drop(dma.buffer(PAGE, Direction::Both).unwrap());
    let call = sys.failed().unwrap();
    (n, call)
}

#[test]
fn memory_that_can_not_be_unmapped_is_never_freed_nor_given_out_again() {
    for mode in Mode::PREFERRED {
        if mode == Mode::NoIommu {
            continue;
        }
        let (n, call) = unmapping(&Kernel::new().with_device(NAME, model::edu(), GROUP), mode);
        assert!(
            matches!(
                call,
                Call::Exchange(ExchangeRequest::UnmapDma | ExchangeRequest::IoasUnmap)
            ),
            "{mode}: {call:?}"
        );
        for is_told in [true, false] {
            let kernel = Kernel::new().with_device(NAME, model::edu(), GROUP);
            let sys = Failing::new(kernel.clone()).at(n, Fault::Errno(Errno::EIO));
            let session = open_edu(&sys, &kernel, mode);
            let dma = Dma::<_, 16>::new(sys, session.space).unwrap();
            let lost = dma.buffer(PAGE, reached()).unwrap();
            let iova = lost.iova();
            if is_told {
                let errno = Errno::EIO;
                assert_eq!(lost.unmap(), Err(DmaError::Unmap { iova, errno }));
            } else {
                drop(lost);
            }
            assert_eq!((kernel.live_memory(), kernel.live_dma_mappings()), (1, 1));

            // The device still reaches it, and no buffer that comes later.
            let mut bar = session.device.bring_up(pci_region::BAR0).unwrap();
            let mut next = dma.buffer(PAGE, reached()).unwrap();
            assert_ne!(next.iova(), iova);
            next.window().write(0, 7_u64).unwrap();
            copy(&mut bar, iova, true);
            assert_eq!(kernel.faults(), []);
            assert_eq!(next.window().read::<u64>(0), Ok(7));
            next.unmap().unwrap();
            drop(bar);
            drop((dma, session.device));
            assert_eq!((kernel.live_memory(), kernel.open_files()), (1, 0));
        }
    }
}

#[test]
fn memory_that_was_unmapped_behind_its_back_is_never_freed() {
    for mode in Mode::PREFERRED {
        if mode == Mode::NoIommu {
            continue;
        }
        let kernel = Kernel::new().with_device(NAME, model::edu(), GROUP);
        let session = open_edu(&kernel, &kernel, mode);
        let dma = Dma::<_, 16>::new(kernel.clone(), session.space).unwrap();
        let one = dma.buffer(PAGE, reached()).unwrap();
        let other = dma.buffer(PAGE, reached()).unwrap();
        let iova = one.iova();
        assert_eq!(dma.space().unmap(iova, PAGE as u64), Ok(PAGE as u64));
        let told = one.unmap();
        assert!(matches!(told, Err(DmaError::Unmap { .. })), "{told:?}");
        assert_eq!(kernel.live_memory(), 2);
        // Its addresses are nobody's any more.
        let third = dma.buffer(PAGE, reached()).unwrap();
        assert_ne!(third.iova(), iova);
        let mut bar = session.device.bring_up(pci_region::BAR0).unwrap();
        copy(&mut bar, iova, true);
        assert_eq!(kernel.faults()[0].reason, FaultReason::Unmapped);
        drop((other, third));
        assert_eq!((kernel.live_memory(), kernel.live_dma_mappings()), (1, 0));
    }
}

#[test]
fn huge_pages_are_taken_by_who_asks_for_them_alone() {
    let kernel = Kernel::new()
        .with_device(NAME, model::edu(), GROUP)
        .with_huge_pages(3);
    let session = open_edu(&kernel, &kernel, Mode::Type1v2);
    let dma = Dma::<_, 16>::new(kernel.clone(), session.space).unwrap();
    let ordinary = dma.buffer(HUGE_PAGE, Direction::Both).unwrap();
    assert_eq!(kernel.free_huge_pages(), 3);
    let huge = |len| dma.buffer(len, BufferOptions::new(Direction::Both).huge(HUGE_PAGE));
    let one = huge(1).unwrap();
    assert_eq!((one.len(), kernel.free_huge_pages()), (HUGE_PAGE, 2));
    let size = HUGE_PAGE;
    let errno = Errno::ENOMEM;
    let refused = huge(3 * HUGE_PAGE).err();
    assert_eq!(refused, Some(DmaError::Huge { size, errno }));
    let two = huge(HUGE_PAGE + 1).unwrap();
    assert_eq!((two.len(), kernel.free_huge_pages()), (2 * HUGE_PAGE, 0));
    drop((ordinary, one, two));
    assert_eq!((kernel.free_huge_pages(), kernel.live_memory()), (3, 0));
    let size = HUGE_PAGE / 2;
    let errno = Errno::EINVAL;
    let other = dma.buffer(1, BufferOptions::new(Direction::Both).huge(size));
    assert_eq!(other.err(), Some(DmaError::Huge { size, errno }));
}

/// A page of the test's own.
#[repr(C, align(4096))]
struct Own([AtomicU64; 2 * PAGE / 8]);

#[test]
fn a_device_reaches_memory_that_the_caller_has() {
    for mode in Mode::PREFERRED {
        if mode == Mode::NoIommu {
            continue;
        }
        let own = Box::new(Own([const { AtomicU64::new(0) }; 2 * PAGE / 8]));
        let base = NonNull::from(&*own).cast::<u8>();
        let kernel = Kernel::new().with_device(NAME, model::edu(), GROUP);
        let session = open_edu(&kernel, &kernel, mode);
        // SAFETY: the box is declared before the session, and outlives it and all that is mapped
        // in it; it is reached by atomics alone.
        let memory = unsafe { kernel.foreign_memory(base, 2 * PAGE) }.unwrap();
        let second = PAGE..2 * PAGE;
        // SAFETY: the memory is the box's, which outlives the session.
        let mapped = unsafe {
            session
                .space
                .map(&memory, second, 0x10_0000, Direction::Both)
        };
        mapped.unwrap();
        let word = &own.0[PAGE / 8];
        word.store(u64::from_le_bytes(*b"ours, ok"), Ordering::Release);
        let mut bar = session.device.bring_up(pci_region::BAR0).unwrap();
        copy(&mut bar, 0x10_0000, false);
        word.store(0, Ordering::Release);
        copy(&mut bar, 0x10_0000, true);
        assert_eq!(word.load(Ordering::Acquire).to_le_bytes(), *b"ours, ok");
        // The driver sees the same.
        let mut window = Window::new(&memory);
        let mut bytes = [0; 8];
        window.read_bytes(PAGE, &mut bytes).unwrap();
        assert_eq!(bytes, *b"ours, ok");
        window.write::<u8>(1, 0xa5).unwrap();
        assert_eq!(own.0[0].load(Ordering::Acquire).to_le_bytes()[1], 0xa5);
        assert_eq!((kernel.faults(), kernel.live_memory()), (vec![], 0));
        let size = session.space.unmap(0x10_0000, PAGE as u64);
        assert_eq!(size, Ok(PAGE as u64));
    }
}

#[test]
fn memory_that_the_caller_has_is_whole_pages() {
    let own = Box::new(Own([const { AtomicU64::new(0) }; 2 * PAGE / 8]));
    let base = NonNull::from(&*own).cast::<u8>();
    let kernel = Kernel::new();
    for (base, len) in [
        (base, 0),
        (base, PAGE + 8),
        (base.map_addr(|at| at | 8), PAGE),
    ] {
        // SAFETY: it lies in the box, which outlives it.
        let refused = unsafe { kernel.foreign_memory(base, len) };
        assert_eq!(refused.err(), Some(Errno::EINVAL));
    }
}
