//! Regions of a world whose shim does other than it was asked.

use std::ffi::CStr;
use std::fmt;

use vfio_core::device::Device;
use vfio_core::device::region::RegionError;
use vfio_core::mmio::{Absent, Access, CanRead, CanReadWrite, Protection, Width};
use vfio_core::sys::{
    Errno, FdRequest, InfoRequest, NameRequest, Span, Sys, ValueRequest, put_argsz,
};
use vfio_core::wire::abi::{RegionFlags, RegionSparseMmapArea};
use vfio_core::wire::caps::{RegionCap, SparseMmap};
use vfio_core::wire::info::RegionInfo;
use vfio_core::wire::server::{DeviceReply, RegionReply};

/// A shim that maps less than it is asked for.
struct Less {
    /// What it permits, whatever is asked for.
    protection: Protection,
    /// What it calls a page.
    page: usize,
}

/// What it maps: nothing.
#[derive(Debug)]
struct Mapped {
    len: usize,
    protection: Protection,
}

// SAFETY: no memory is touched, and what is said of it stays as it is.
unsafe impl Access for Mapped {
    type Error = fmt::Error;
    type Origin = usize;

    fn len(&self) -> usize {
        self.len
    }

    fn protection(&self) -> Protection {
        self.protection
    }

    fn origin(&self, offset: usize) -> usize {
        offset
    }

    unsafe fn load<T: Width>(&self, _: usize, _: usize) -> Result<T, fmt::Error> {
        Err(fmt::Error)
    }

    unsafe fn store<T: Width>(&self, _: usize, _: usize, _: T) -> Result<(), fmt::Error> {
        Err(fmt::Error)
    }
}

impl Sys for Less {
    type Fd = ();
    type Mapping = Mapped;
    type Memory = Absent;
    type Event = Absent;

    fn open(&self, _: &CStr) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    fn ioctl_info(&self, (): &(), _: InfoRequest, _: &mut [u8]) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    fn ioctl_value(&self, (): &(), _: ValueRequest, _: u32) -> Result<u32, Errno> {
        Err(Errno::ENOSYS)
    }

    fn ioctl_fd(&self, (): &(), _: FdRequest, (): &()) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    fn ioctl_name(&self, (): &(), _: NameRequest, _: &CStr) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    fn pread(&self, (): &(), _: &mut [u8], _: u64) -> Result<usize, Errno> {
        Err(Errno::ENOSYS)
    }

    fn pwrite(&self, (): &(), _: &[u8], _: u64) -> Result<usize, Errno> {
        Err(Errno::ENOSYS)
    }

    fn map(&self, (): &(), span: Span, _: Protection) -> Result<Mapped, Errno> {
        Ok(Mapped {
            len: span.len,
            protection: self.protection,
        })
    }

    fn page_size(&self) -> usize {
        self.page
    }
}

const READ: Protection = Protection {
    read: true,
    write: false,
};

/// Lets `act` have a region of two pages, of which what is behind `start` can be mapped.
fn with_region<R>(start: u64, act: impl FnOnce(&RegionInfo<'_>) -> R) -> R {
    let areas = [RegionSparseMmapArea {
        offset: start,
        size: 0x2000 - start,
    }];
    let caps = [RegionCap::SparseMmap(SparseMmap::new(&areas))];
    let region = RegionReply {
        flags: RegionFlags::READ | RegionFlags::WRITE | RegionFlags::MMAP,
        size: 0x2000,
        offset: 0,
        caps: &caps,
    };
    let device = DeviceReply {
        regions: &[Some(region)],
        ..DeviceReply::default()
    };
    let mut reply = [0; 128];
    put_argsz(&mut reply).unwrap();
    device.answer(InfoRequest::Region, &mut reply).unwrap();
    act(&RegionInfo::decode(&reply).unwrap())
}

#[test]
fn a_mapping_that_permits_less_than_was_asked_for_is_refused() {
    let page = 0x1000;
    let less = Less {
        protection: READ,
        page,
    };
    let device = Device::new(less, ());
    let refused = RegionError::Map(Errno::EACCES);
    with_region(0x1000, |region| {
        assert_eq!(device.reach::<CanReadWrite>(region).err(), Some(refused));
        let bar = device.map::<CanReadWrite>(region, 0x1000);
        assert_eq!(bar.err(), Some(refused));
        assert!(device.reach::<CanRead>(region).is_ok());
        assert!(device.map::<CanRead>(region, 0x1000).is_ok());
    });
}

#[test]
fn a_page_that_no_register_is_aligned_to_is_refused() {
    let device = Device::new(
        Less {
            protection: Protection::BOTH,
            page: 4,
        },
        (),
    );
    with_region(0x1004, |region| {
        let refused = Some(RegionError::Map(Errno::EINVAL));
        assert_eq!(device.reach::<CanReadWrite>(region).err(), refused);
    });
}
