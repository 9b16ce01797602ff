//! The kernel, replaced: `ioctl` answers with what was prepared.
//!
//! A PCI device with ten regions (one with a sparse mmap of nine areas, one with MSI-X mappable, one with a type) and
//! five interrupts, laid out as Linux 6.6 does.

use core::arch::asm;
use core::ffi::{c_int, c_ulong, c_void};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, anyhow};
use vfio_core::sys::{InfoRequest, put_argsz};
use vfio_core::wire::abi::{
    DeviceFlags, IovaRange, IrqFlags, PciDependentDevice, RegionFlags, RegionSparseMmapArea,
    ioctl as request,
};
use vfio_core::wire::caps::{Array, IommuCap, RegionCap, RegionKind, SparseMmap};
use vfio_core::wire::server::{
    DeviceReply, Dialect, HotReset, IommuDriver, IommuReply, IrqReply, RegionReply,
};

/// The regions of the device.
pub(crate) const REGIONS: usize = 10;

/// Its interrupt indexes.
pub(crate) const IRQS: usize = 5;

/// Its sparse areas.
pub(crate) const AREAS: usize = 9;

/// The most that a reply may need in bytes.
pub(crate) const BUFFER: usize = 256;

/// What one request is answered with.
struct Reply {
    /// The whole reply. `len` bytes of it are written.
    whole: [u8; BUFFER],
    len: usize,
    /// What a caller without room for all of it gets.
    short: [u8; BUFFER],
    short_len: usize,
}

/// The replies of the device.
struct Replies {
    device: Reply,
    regions: [Reply; REGIONS],
    irqs: [Reply; IRQS],
    iommu: Reply,
    hot_reset: Reply,
}

static REPLIES: OnceLock<Replies> = OnceLock::new();

static CALLS: AtomicUsize = AtomicUsize::new(0);

/// Returns how many times `ioctl` was called so far.
pub(crate) fn calls() -> usize {
    CALLS.load(Ordering::Relaxed)
}

/// Prepares the replies.
///
/// # Errors
///
/// The server refuses the device.
pub(crate) fn prepare() -> Result<()> {
    const AREA: RegionSparseMmapArea = RegionSparseMmapArea { offset: 0, size: 0 };
    let mut areas = [AREA; AREAS];
    for (n, area) in (0..).zip(&mut areas) {
        *area = RegionSparseMmapArea {
            offset: n * 0x2000,
            size: 0x1000,
        };
    }
    let sparse = [RegionCap::SparseMmap(SparseMmap::new(&areas))];
    let type_ = [RegionCap::Type(RegionKind::INTEL_IGD_OPREGION)];
    let mapped = RegionFlags::READ | RegionFlags::WRITE | RegionFlags::MMAP;
    let region = |n: u64, size, caps| {
        Some(RegionReply {
            flags: mapped,
            size,
            offset: n << 40,
            caps,
        })
    };
    let plain: &[RegionCap<'_>] = &[];
    let regions: [Option<RegionReply<'_>>; REGIONS] = [
        region(0, 0x2_0000, &sparse),
        region(1, 0x1000, plain),
        region(2, 0x4000, &[RegionCap::MsixMappable]),
        region(3, 0x100, plain),
        region(4, 0x100, plain),
        region(5, 0, plain),
        region(6, 0x1_0000, plain),
        region(7, 0x1000, plain),
        region(8, 0xc_0000, plain),
        region(9, 0x2000, &type_),
    ];
    let irq = |count| {
        Some(IrqReply {
            flags: IrqFlags::EVENTFD | IrqFlags::NORESIZE,
            count,
        })
    };
    let irqs = [irq(1), irq(1), irq(32), irq(1), irq(1)];
    let dependent = [PciDependentDevice::default(); 2];
    let device = DeviceReply {
        flags: DeviceFlags::PCI | DeviceFlags::RESET,
        caps: &[],
        regions: &regions,
        irqs: &irqs,
        hot_reset: Some(HotReset {
            flags: Default::default(),
            devices: &dependent,
        }),
        dialect: Dialect::LINUX_6_6,
    };
    let ranges = [
        IovaRange {
            start: 0,
            end: 0xfedf_ffff,
        },
        IovaRange {
            start: 0xfef0_0000,
            end: (1 << 39) - 1,
        },
    ];
    let iommu_caps = [
        IommuCap::Migration {
            flags: 0,
            pgsize_bitmap: 0x1000,
            max_dirty_bitmap_size: 1 << 28,
        },
        IommuCap::DmaAvail { avail: 65535 },
        IommuCap::IovaRange(Array::new(&ranges)),
    ];
    let iommu = IommuReply {
        driver: IommuDriver::Type1,
        iova_pgsizes: 0x4020_1000,
        caps: &iommu_caps,
        dialect: Dialect::LINUX_6_6,
    };

    let ask = |what: InfoRequest, min: usize, index: u32| {
        let answer = |len: usize| {
            let mut reply = [0; BUFFER];
            let bytes = &mut reply[..len];
            bytes[8..12].copy_from_slice(&index.to_ne_bytes());
            put_argsz(bytes)
                .and_then(|()| match what {
                    InfoRequest::Iommu => iommu.answer(what, bytes),
                    _ => device.answer(what, bytes),
                })
                .map_err(|errno| anyhow!("{what:?} of {len} bytes: {errno}"))?;
            Ok::<_, anyhow::Error>(reply)
        };
        let whole = answer(BUFFER)?;
        let (short, len) = match what {
            // Nothing of it says how long it is.
            InfoRequest::PciHotReset => (whole, min + 8 * dependent.len()),
            _ => {
                let short = answer(min)?;
                let needed = u32::from_ne_bytes([short[0], short[1], short[2], short[3]]);
                (short, usize::try_from(needed)?)
            }
        };
        Ok::<_, anyhow::Error>(Reply {
            whole,
            len,
            short,
            short_len: min,
        })
    };
    let each = |what, min| {
        move |index: usize| {
            u32::try_from(index)
                .map_err(Into::into)
                .and_then(|index| ask(what, min, index))
        }
    };
    let replies = Replies {
        device: ask(InfoRequest::Device, 24, 0)?,
        regions: collect(each(InfoRequest::Region, 32))?,
        irqs: collect(each(InfoRequest::Irq, 16))?,
        iommu: ask(InfoRequest::Iommu, 24, 0)?,
        hot_reset: ask(InfoRequest::PciHotReset, 12, 0)?,
    };
    let _ = REPLIES.set(replies);
    Ok(())
}

fn collect<const N: usize>(reply: impl Fn(usize) -> Result<Reply>) -> Result<[Reply; N]> {
    let replies: Vec<Reply> = (0..N).map(reply).collect::<Result<_>>()?;
    replies.try_into().map_err(|_| anyhow!("not {N} replies"))
}

/// Takes the place of libc's `ioctl`, which all that is measured here calls.
///
/// Its instructions are left out of the count, and it takes hardly any stack: it calls nothing and copies by one
/// instruction.
///
/// # Safety
///
/// `argument` is as `ioctl(2)` has it for `number`, VFIO's and iommufd's numbers.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn ioctl(_: c_int, number: c_ulong, argument: *mut c_void) -> c_int {
    CALLS.fetch_add(1, Ordering::Relaxed);
    let Some(replies) = REPLIES.get() else {
        return -1;
    };
    let argument = argument.cast::<u32>();
    // SAFETY: every argument of the requests below starts with argsz.
    let argsz = unsafe { argument.read_unaligned() };
    // SAFETY: what has an index has it at offset 8; the others have something else there.
    let index = || unsafe { argument.wrapping_add(2).read_unaligned() };
    let reply = match u32::try_from(number) {
        Ok(request::device::GET_INFO) => Some(&replies.device),
        Ok(request::device::GET_REGION_INFO) => replies.regions.get(index() as usize),
        Ok(request::device::GET_IRQ_INFO) => replies.irqs.get(index() as usize),
        // The same number, by a container and by a device: only the former has room for this much.
        Ok(request::container::IOMMU_GET_INFO) if argsz as usize >= replies.iommu.len => {
            Some(&replies.iommu)
        }
        Ok(request::device::GET_PCI_HOT_RESET_INFO) => Some(&replies.hot_reset),
        // iommufd's requests, outside of what is measured.
        _ => return 0,
    };
    let Some(reply) = reply else { return -1 };
    let (from, len) = if argsz as usize >= reply.len {
        (&reply.whole, reply.len)
    } else {
        (&reply.short, reply.short_len)
    };
    if argsz as usize >= reply.len {
        // argsz stays as it is.
        // SAFETY: the caller has room for argsz bytes, of which these are the first.
        unsafe {
            copy(
                from.as_ptr().wrapping_add(4),
                argument.wrapping_add(1).cast(),
                len - 4,
            )
        };
    } else {
        // SAFETY: the caller has room for the fixed structure at least.
        unsafe { copy(from.as_ptr(), argument.cast(), len) };
    }
    0
}

/// Copies by one instruction, without a call.
///
/// # Safety
///
/// As for [`core::ptr::copy_nonoverlapping`].
#[inline(always)]
unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "rep movsb",
            inout("rcx") len => _,
            inout("rsi") from => _,
            inout("rdi") to => _,
            options(nostack, preserves_flags),
        );
    }
}
