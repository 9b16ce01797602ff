//! iommufd, devices that are opened by themselves, and iommufd as a container.

use std::vec;
use std::vec::Vec;

use vfio_core::query;
use vfio_core::sys::{InfoRequest, Protection, Span};
use vfio_core::wire::abi::{
    DeviceAttachIommufdPt, DeviceBindIommufd, DeviceDetachIommufdPt, IoasMapFlags, IommuDestroy,
    IommuIoasAlloc, IommuIoasIovaRanges, IommuIoasMap, IommuIoasUnmap, IommuIovaRange,
};
use zerocopy::Immutable;

use super::*;
use crate::model::{self, FaultReason};
use crate::sim::IOMMUFD_PATH;

const FIXED: IoasMapFlags = IoasMapFlags::FIXED_IOVA;
const RIGHTS: IoasMapFlags = IoasMapFlags::READABLE.union(IoasMapFlags::WRITEABLE);

/// A kernel with edu, its file and an iommufd, not bound yet.
struct Cdev {
    kernel: Kernel,
    iommufd: Fd,
    device: Fd,
}

fn cdev() -> Cdev {
    let kernel = Kernel::new().with_device(NAME, model::edu(), GROUP);
    let iommufd = kernel.open(IOMMUFD_PATH).unwrap();
    let device = kernel.open(&kernel.device_path(NAME).unwrap()).unwrap();
    Cdev {
        kernel,
        iommufd,
        device,
    }
}

fn send<T: IntoBytes + zerocopy::FromBytes + Immutable>(
    kernel: &Kernel,
    fd: &Fd,
    request: ExchangeRequest,
    mut argument: T,
) -> Result<T, Errno> {
    let exchange = Exchange::new(request, argument.as_mut_bytes())?;
    kernel.exchange(fd, exchange)?;
    Ok(argument)
}

/// The answer, how many ranges there are, the alignment, and the ranges.
type Ranges = (Result<u32, Errno>, u32, u64, Vec<(u64, u64)>);

impl Cdev {
    fn bind_to(&self, iommufd: &Fd) -> Result<u32, Errno> {
        let mut argument = DeviceBindIommufd::default();
        let iommufd = [iommufd];
        let exchange = Exchange::bind_iommufd(&mut argument, &iommufd, None);
        self.kernel.exchange(&self.device, exchange)?;
        Ok(argument.out_devid)
    }

    fn bind(&self) -> Result<u32, Errno> {
        self.bind_to(&self.iommufd)
    }

    fn alloc(&self) -> u32 {
        let argument = IommuIoasAlloc::default();
        let request = ExchangeRequest::IoasAlloc;
        let alloc = send(&self.kernel, &self.iommufd, request, argument);
        alloc.unwrap().out_ioas_id
    }

    fn attach(&self, pt_id: u32) -> Result<u32, Errno> {
        let argument = DeviceAttachIommufdPt {
            pt_id,
            ..Default::default()
        };
        let request = ExchangeRequest::AttachIommufdPt;
        send(&self.kernel, &self.device, request, argument).map(|attach| attach.pt_id)
    }

    fn detach(&self) -> Result<(), Errno> {
        let argument = DeviceDetachIommufdPt::default();
        let request = ExchangeRequest::DetachIommufdPt;
        send(&self.kernel, &self.device, request, argument).map(drop)
    }

    fn destroy(&self, id: u32) -> Result<(), Errno> {
        let argument = IommuDestroy {
            id,
            ..Default::default()
        };
        send(
            &self.kernel,
            &self.iommufd,
            ExchangeRequest::Destroy,
            argument,
        )
        .map(drop)
    }

    #[expect(unsafe_code, reason = "the trait's method is unsafe to call")]
    fn map(
        &self,
        ioas_id: u32,
        memory: &DmaMemory,
        range: Range<usize>,
        iova: u64,
        flags: IoasMapFlags,
    ) -> Result<u64, Errno> {
        let mut argument = IommuIoasMap {
            flags,
            ioas_id,
            iova,
            ..Default::default()
        };
        let argument_bytes = argument.as_mut_bytes();
        let exchange = Exchange::map(ExchangeRequest::IoasMap, argument_bytes, range)?;
        // SAFETY: the simulated kernel keeps what is mapped of its memory.
        unsafe { self.kernel.exchange_memory(&self.iommufd, memory, exchange) }?;
        Ok(argument.iova)
    }

    fn unmap(&self, ioas_id: u32, iova: u64, length: u64) -> Result<u64, Errno> {
        let argument = IommuIoasUnmap {
            ioas_id,
            iova,
            length,
            ..Default::default()
        };
        let request = ExchangeRequest::IoasUnmap;
        send(&self.kernel, &self.iommufd, request, argument).map(|unmap| unmap.length)
    }

    fn ranges(&self, ioas_id: u32, room: usize) -> Ranges {
        let mut argument = IommuIoasIovaRanges {
            ioas_id,
            ..Default::default()
        };
        let mut list = vec![IommuIovaRange::default(); room];
        let exchange = Exchange::iova_ranges(&mut argument, &mut list);
        let answer = self.kernel.exchange(&self.iommufd, exchange);
        let ranges = list.iter().map(|range| (range.start, range.last)).collect();
        (
            answer,
            argument.num_iovas,
            argument.out_iova_alignment,
            ranges,
        )
    }
}

#[test]
fn a_device_is_of_no_use_before_it_is_bound() {
    let cdev = cdev();
    let Cdev { kernel, device, .. } = &cdev;
    let info = || {
        let mut reply = [0; 24];
        kernel.ioctl_info(device, InfoRequest::Device, &mut reply)
    };
    assert_eq!(info(), Err(Errno::EINVAL));
    assert_eq!(kernel.pread(device, &mut [0; 4], 0), Err(Errno::EINVAL));
    let reset = kernel.ioctl_value(device, ValueRequest::Reset, 0);
    assert_eq!(reset, Err(Errno::EINVAL));
    let (read, write) = (true, true);
    let protection = Protection { read, write };
    let (offset, len) = (0, 4096);
    let mapping = kernel.map(device, Span { offset, len }, protection);
    assert_eq!(mapping.err(), Some(Errno::EINVAL));
    assert_eq!(cdev.attach(1), Err(Errno::EINVAL));

    let elsewhere = Kernel::new().open(IOMMUFD_PATH).unwrap();
    assert_eq!(cdev.bind_to(&elsewhere), Err(Errno::EBADF));
    assert_eq!(cdev.bind_to(device), Err(Errno(77)));

    assert!(cdev.bind().is_ok());
    assert_eq!(info(), Ok(()));
    assert_eq!(cdev.bind(), Err(Errno::EINVAL));
    assert_eq!(cdev.attach(u32::MAX), Err(Errno::ENOENT));
}

#[test]
fn objects_are_destroyed_when_nobody_uses_them() {
    let cdev = cdev();
    let ioas = cdev.alloc();
    let other = cdev.alloc();
    let id = cdev.bind().unwrap();
    assert_eq!((ioas, other, id), (1, 2, 3));
    assert_eq!(cdev.attach(id), Err(Errno::EINVAL));
    let table = cdev.attach(ioas).unwrap();
    for id in [ioas, id, table] {
        assert_eq!(cdev.destroy(id), Err(Errno::EBUSY));
    }
    // Attached to another it leaves the first.
    cdev.attach(other).unwrap();
    assert_eq!(cdev.destroy(ioas), Ok(()));
    assert_eq!(cdev.destroy(ioas), Err(Errno::ENOENT));
    assert_eq!(cdev.detach(), Ok(()));
    assert_eq!(cdev.detach(), Ok(()));
    assert_eq!(cdev.destroy(other), Ok(()));
    assert_eq!(cdev.destroy(id), Err(Errno::EBUSY));
}

#[test]
fn ranges_are_those_of_the_devices_that_are_attached() {
    let cdev = cdev();
    let ioas = cdev.alloc();
    let all = (Ok(0), 1, 1, vec![(0, u64::MAX)]);
    assert_eq!(cdev.ranges(ioas, 1), all);
    cdev.bind().unwrap();
    cdev.attach(ioas).unwrap();
    let first = (0, 0xfedf_ffff);
    let second = (0xfef0_0000, (1 << 48) - 1);
    let none = (Err(Errno::EMSGSIZE), 2, 4096, vec![]);
    assert_eq!(cdev.ranges(ioas, 0), none);
    let one = (Err(Errno::EMSGSIZE), 2, 4096, vec![first]);
    assert_eq!(cdev.ranges(ioas, 1), one);
    let both = (Ok(0), 2, 4096, vec![first, second, (0, 0)]);
    assert_eq!(cdev.ranges(ioas, 3), both);
    assert_eq!(cdev.ranges(ioas + 1, 3).0, Err(Errno::ENOENT));
    cdev.detach().unwrap();
    assert_eq!(cdev.ranges(ioas, 1), all);
}

#[test]
fn what_is_mapped_must_suit_a_device() {
    let cdev = cdev();
    let ioas = cdev.alloc();
    let memory = cdev.kernel.memory(8192, Pages::Ordinary).unwrap();
    cdev.bind().unwrap();
    // In the window of interrupt messages.
    cdev.map(ioas, &memory, 0..4096, 0xfee0_0000, FIXED | RIGHTS)
        .unwrap();
    assert_eq!(cdev.attach(ioas), Err(Errno(98)));
    cdev.unmap(ioas, 0xfee0_0000, 4096).unwrap();
    // Not whole pages.
    cdev.map(ioas, &memory, 0..16, 0x1000, FIXED | RIGHTS)
        .unwrap();
    assert_eq!(cdev.attach(ioas), Err(Errno(98)));
    cdev.unmap(ioas, 0x1000, 16).unwrap();
    cdev.attach(ioas).unwrap();
}

#[test]
fn mappings_have_the_rules_of_iommufd() {
    let cdev = cdev();
    let ioas = cdev.alloc();
    cdev.bind().unwrap();
    cdev.attach(ioas).unwrap();
    let memory = cdev.kernel.memory(8192, Pages::Ordinary).unwrap();
    let map = |range, iova, flags| cdev.map(ioas, &memory, range, iova, flags);
    let unknown = FIXED | RIGHTS | IoasMapFlags::from_bits_retain(8);
    let last = u64::MAX - 4095;
    for (range, iova, flags, errno) in [
        (0..4096, 0, FIXED, Errno::EINVAL),
        (0..4096, 0, unknown, Errno::EOPNOTSUPP),
        (0..4096, u64::MAX, FIXED | RIGHTS, Errno::EOVERFLOW),
        (0..8192, last, FIXED | RIGHTS, Errno::EOVERFLOW),
        (0..4096, last, FIXED | RIGHTS, Errno::EINVAL),
        (0..4096, 1, FIXED | RIGHTS, Errno::EINVAL),
        (0..4095, 0, FIXED | RIGHTS, Errno::EINVAL),
        (0..0, 0, FIXED | RIGHTS, Errno::EINVAL),
        (1..4097, 0, FIXED | RIGHTS, Errno::EINVAL),
        (0..4096, 0xfee0_0000, FIXED | RIGHTS, Errno::EINVAL),
        (0..12288, 0, FIXED | RIGHTS, Errno::EINVAL),
    ] {
        let case = std::format!("{range:?} at {iova:#x}, {flags}");
        assert_eq!(map(range, iova, flags), Err(errno), "{case}");
    }
    assert_eq!(map(0..8192, 0x4000, FIXED | RIGHTS), Ok(0x4000));
    assert_eq!(map(0..4096, 0x5000, FIXED | RIGHTS), Err(Errno::EEXIST));
    // The kernel chooses: from the first page but 0 on, aligned to the length.
    assert_eq!(map(0..8192, 0, RIGHTS), Ok(0x2000));
    assert_eq!(map(0..4096, 0, RIGHTS), Ok(0x1000));
    assert_eq!(map(0..8192, 0, RIGHTS), Ok(0x6000));

    let unmap = |iova, length| cdev.unmap(ioas, iova, length);
    assert_eq!(unmap(0x4000, 0), Err(Errno::EINVAL));
    assert_eq!(unmap(0x4000, 4096), Err(Errno::ENOENT));
    assert_eq!(unmap(0x5000, 4096), Err(Errno::ENOENT));
    assert_eq!(unmap(last, 8192), Err(Errno::EOVERFLOW));
    assert_eq!(unmap(0x8000, 4096), Err(Errno::ENOENT));
    assert_eq!(unmap(0x1000, 0x3000), Ok(0x3000));
    assert_eq!(cdev.kernel.live_dma_mappings(), 2);
    assert_eq!(unmap(0, u64::MAX), Ok(0x4000));
    assert_eq!(unmap(0, u64::MAX), Ok(0));
    assert_eq!(cdev.unmap(99, 0, u64::MAX), Err(Errno::ENOENT));
}

#[test]
fn a_detached_device_faults() {
    let cdev = cdev();
    let ioas = cdev.alloc();
    cdev.bind().unwrap();
    cdev.attach(ioas).unwrap();
    let Cdev { kernel, device, .. } = &cdev;
    let memory = kernel.memory(4096, Pages::Ordinary).unwrap();
    cdev.map(ioas, &memory, 0..4096, 0, FIXED | RIGHTS).unwrap();
    set_command(kernel, device, 6);
    let copy = || {
        for (at, value) in [(0x80, 0x4_0000_u64), (0x88, 0), (0x90, 8), (0x98, 3)] {
            poke(kernel, device, at, &value.to_le_bytes());
        }
        for _ in 0..3 {
            kernel.pread(device, &mut [0; 8], 0x98).unwrap();
        }
        kernel.faults().len()
    };
    assert_eq!(copy(), 0);
    cdev.detach().unwrap();
    assert_eq!(copy(), 1);
    assert_eq!(kernel.faults()[0].reason, FaultReason::Unattached);
    cdev.attach(ioas).unwrap();
    assert_eq!(copy(), 1);
}

#[test]
fn a_bound_device_keeps_its_iommufd() {
    let cdev = cdev();
    let ioas = cdev.alloc();
    cdev.bind().unwrap();
    cdev.attach(ioas).unwrap();
    let memory = cdev.kernel.memory(4096, Pages::Ordinary).unwrap();
    cdev.map(ioas, &memory, 0..4096, 0, FIXED | RIGHTS).unwrap();
    let Cdev {
        kernel,
        iommufd,
        device,
    } = cdev;
    drop(iommufd);
    assert_eq!((kernel.open_files(), kernel.live_dma_mappings()), (2, 1));
    drop(device);
    assert_eq!((kernel.open_files(), kernel.live_dma_mappings()), (0, 0));
}

#[test]
fn a_group_and_its_devices_exclude_each_other() {
    let cdev = cdev();
    let path = Kernel::group_path(GROUP);
    let group = cdev.kernel.open(&path).unwrap();
    assert_eq!(cdev.bind(), Err(Errno::EBUSY));
    drop(group);
    cdev.bind().unwrap();
    assert_eq!(cdev.kernel.open(&path).err(), Some(Errno::EBUSY));
    // A second file of the device can be opened, but not be bound.
    let path_of_device = cdev.kernel.device_path(NAME).unwrap();
    let second = Cdev {
        kernel: cdev.kernel.clone(),
        iommufd: cdev.kernel.open(IOMMUFD_PATH).unwrap(),
        device: cdev.kernel.open(&path_of_device).unwrap(),
    };
    assert_eq!(second.bind(), Err(Errno::EINVAL));
    drop(second);
    let Cdev { kernel, device, .. } = cdev;
    drop(device);
    assert!(kernel.open(&path).is_ok());
}

#[test]
fn the_device_of_a_group_is_not_bound_or_attached() {
    let opened = open(model::edu());
    let cdev = Cdev {
        iommufd: opened.kernel.open(IOMMUFD_PATH).unwrap(),
        kernel: opened.kernel,
        device: opened.device,
    };
    assert_eq!(cdev.bind(), Err(Errno::EINVAL));
    assert_eq!(cdev.attach(cdev.alloc()), Err(Errno::ENOTTY));
    assert_eq!(cdev.detach(), Err(Errno::ENOTTY));
}

#[test]
fn what_is_not_known_must_be_zero() {
    let Cdev {
        kernel, iommufd, ..
    } = cdev();
    let mut argument = [0; 16];
    let mut alloc = |at: usize, value| {
        argument.fill(0);
        argument[at] = value;
        let exchange = Exchange::new(ExchangeRequest::IoasAlloc, &mut argument).unwrap();
        kernel.exchange(&iommufd, exchange)
    };
    assert_eq!(alloc(15, 1), Err(Errno::E2BIG));
    assert_eq!(alloc(4, 1), Err(Errno::EOPNOTSUPP));
    assert_eq!(alloc(15, 0), Ok(0));
    let mut reply = [0; 64];
    let info = kernel.ioctl_info(&iommufd, InfoRequest::Iommu, &mut reply);
    assert_eq!(info, Err(Errno::ENODEV));
    let group = kernel.open(&Kernel::group_path(GROUP)).unwrap();
    let argument = IommuIoasAlloc::default();
    let request = ExchangeRequest::IoasAlloc;
    let refused = send(&kernel, &group, request, argument);
    assert_eq!(refused, Err(Errno::ENOTTY));
}

#[test]
fn an_iommufd_is_a_container() {
    let kernel = Kernel::new().with_device(NAME, model::edu(), GROUP);
    let iommufd = kernel.open(IOMMUFD_PATH).unwrap();
    let group = kernel.open(&Kernel::group_path(GROUP)).unwrap();
    let value = |request, value| kernel.ioctl_value(&iommufd, request, value);
    assert_eq!(value(ValueRequest::GetApiVersion, 0), Ok(0));
    let has: Vec<_> = (0..12)
        .filter(|extension| value(ValueRequest::CheckExtension, *extension) == Ok(1))
        .collect();
    assert_eq!(has, [1, 3, 9]);
    assert_eq!(value(ValueRequest::SetIommu, 3), Err(Errno::ENODEV));
    attach(&kernel, &group, &iommufd).unwrap();
    assert_eq!(value(ValueRequest::SetIommu, 3), Ok(0));
    let none = ValueRequest::SetNoIommu(acknowledged());
    assert_eq!(value(none, 0), Err(Errno::EINVAL));
    let device = open_device(&kernel, &group).unwrap();

    let mut reply = [0; 256];
    let info = query::iommu(&kernel, &iommufd, &mut reply).unwrap();
    assert_eq!(info.dma_avail(), Some(u32::MAX));
    assert_eq!(info.iova_pgsizes, 1_075_843_072);
    let ends: Vec<_> = info.iova_ranges().unwrap().iter().collect();
    assert_eq!((ends.len(), ends[0].end), (2, 0xfedf_ffff));

    let memory = kernel.memory(0x4000, Pages::Ordinary).unwrap();
    let map = |iova| map(&kernel, &iommufd, &memory, 0..0x4000, iova, READ_WRITE);
    let unmap = |iova, size| unmap(&kernel, &iommufd, iova, size, DmaUnmapFlags::empty());
    assert_eq!(map(0x1_0000), Ok(()));
    assert_eq!(map(0x1_0000), Err(Errno::EEXIST));
    assert_eq!(map(u64::MAX - 4095), Err(Errno::EOVERFLOW));
    assert_eq!(unmap(u64::MAX - 4095, 0x2000), Err(Errno::EOVERFLOW));
    assert_eq!(unmap(0x1_1000, 0x1000), Err(Errno::ENOENT));
    // As version 1 it cuts.
    assert_eq!(value(ValueRequest::SetIommu, 1), Ok(0));
    assert_eq!(unmap(0x1_1000, 0x1000), Ok(0x1000));
    assert_eq!(kernel.live_dma_mappings(), 2);
    let all = super::unmap(&kernel, &iommufd, 0, 0, DmaUnmapFlags::ALL);
    assert_eq!(all, Ok(0x3000));
    assert_eq!(unmap(0x1_0000, 0x1000), Err(Errno::ENOENT));

    drop((group, iommufd));
    assert_eq!(kernel.open_files(), 2);
    drop(device);
    assert_eq!(kernel.open_files(), 0);
}

#[test]
fn old_kernels_have_no_iommufd() {
    let kernel = Kernel::new()
        .with_device(NAME, model::edu(), GROUP)
        .without_iommufd();
    assert_eq!(kernel.open(IOMMUFD_PATH).err(), Some(Errno::ENOENT));
    let path = kernel.device_path(NAME).unwrap();
    assert_eq!(kernel.open(&path).err(), Some(Errno::ENOENT));
    assert!(kernel.open(CONTAINER_PATH).is_ok());
}
