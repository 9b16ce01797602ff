//! A unikernel of one's own, with a shim of one's own: what it takes to link `vfio-core`.
//!
//! Nothing of `vfio-unikernel` is used. The machine is QEMU's `pc` or `q35` with an `edu`, whose
//! registers SeaBIOS gave a place; the result goes to `isa-debug-exit`.
#![no_std]
#![no_main]

use core::convert::Infallible;
use core::ffi::CStr;
use core::ptr::NonNull;

use vfio_core::device::Device;
use vfio_core::mmio::{CanReadWrite, Mapped};
use vfio_core::sys::{
    Absent, Errno, FdRequest, InfoRequest, NameRequest, Protection, Span, Sys, ValueRequest,
    put_argsz,
};
use vfio_core::wire::abi::RegionFlags;
use vfio_core::wire::server;
use vfio_drivers::edu::{Edu, EduError};

// From 32-bit mode (PVH) to 64 bits, on tables that map 4 GiB; the last GiB is not cached.
#[cfg(panic = "abort")]
core::arch::global_asm!(
    ".pushsection .note.Xen, \"a\", @note; .long 4, 8, 18; .asciz \"Xen\"; .quad pvh_start; .popsection",
    ".pushsection .bss; .balign 4096; tables: .skip 6 * 4096; .popsection",
    ".pushsection .data; gdt: .quad 0, 0xaf9b000000ffff, 0xcf93000000ffff",
    "pointer: .short 23; .long gdt; .popsection",
    ".pushsection .text.boot, \"ax\"; .code32; .global pvh_start",
    "pvh_start: mov esp, offset __stack_top",
    "mov dword ptr [tables], offset tables + 0x1003",
    "mov eax, offset tables + 0x2003; mov edi, offset tables + 0x1000; mov ecx, 4",
    "2: mov [edi], eax; add eax, 0x1000; add edi, 8; loop 2b",
    "mov eax, 0x83; mov edi, offset tables + 0x2000; mov ecx, 2048",
    "2: mov [edi], eax; cmp ecx, 512; ja 3f; or dword ptr [edi], 0x18",
    "3: add eax, 0x200000; add edi, 8; loop 2b",
    "mov eax, offset tables; mov cr3, eax; mov eax, 0x620; mov cr4, eax",
    "mov ecx, 0xc0000080; rdmsr; or eax, 0x100; wrmsr; mov eax, 0x80010033; mov cr0, eax",
    "lgdt [pointer]; push 8; mov eax, offset long_mode; push eax; retf",
    ".code64; long_mode: mov eax, 0x10; mov ss, eax; call {main}; ud2; .popsection",
    // A register of configuration space; QEMU's end; what compilers call for arrays.
    ".text; config: mov eax, edi; mov dx, 0xcf8; out dx, eax; mov dx, 0xcfc; in eax, dx; ret",
    "end: mov eax, edi; out 0xf4, eax; 2: hlt; jmp 2b",
    ".global memset; memset: mov r8, rdi; mov eax, esi; mov rcx, rdx; rep stosb; mov rax, r8; ret",
    main = sym start,
);

unsafe extern "C" {
    safe fn config(register: u32) -> u32;
    safe fn end(status: u32) -> !;
}

/// Where the registers of `edu` are: all that this world knows.
#[derive(Clone, Copy)]
struct Shim {
    bar0: u64,
}

/// Bytes of the registers.
const SIZE: u64 = 1 << 20;

impl Sys for Shim {
    type Fd = ();
    type Mapping = Mapped<'static>;
    type Memory = Absent;
    type Event = Absent;

    /// Answers the device's questions as the kernel would.
    fn ioctl_info(&self, (): &(), request: InfoRequest, reply: &mut [u8]) -> Result<(), Errno> {
        put_argsz(reply)?;
        let bar0 = server::RegionReply {
            flags: RegionFlags::READ | RegionFlags::WRITE | RegionFlags::MMAP,
            size: SIZE,
            ..Default::default()
        };
        let regions = [Some(bar0)];
        let device = server::DeviceReply {
            regions: &regions,
            ..Default::default()
        };
        device.answer(request, reply)
    }

    fn map(&self, (): &(), span: Span, prot: Protection) -> Result<Self::Mapping, Errno> {
        let len = u64::try_from(span.len).map_err(|_| Errno::EINVAL)?;
        if span.offset.checked_add(len).is_none_or(|end| end > SIZE) {
            return Err(Errno::EINVAL);
        }
        let start = usize::try_from(self.bar0 + span.offset).map_err(|_| Errno::EINVAL)?;
        let base = core::ptr::with_exposed_provenance_mut(start);
        let base = NonNull::new(base).ok_or(Errno::EINVAL)?;
        // SAFETY: the registers of `edu` are mapped by the entry, at a page boundary.
        Ok(unsafe { Mapped::new(base, span.len, prot) })
    }

    fn page_size(&self) -> usize {
        4096
    }

    // There are no files here but the device.
    fn open(&self, _: &CStr) -> Result<(), Errno> {
        Err(Errno::ENOENT)
    }
    fn ioctl_value(&self, (): &(), _: ValueRequest, _: u32) -> Result<u32, Errno> {
        Err(Errno::ENOTTY)
    }
    fn ioctl_fd(&self, (): &(), _: FdRequest, (): &()) -> Result<(), Errno> {
        Err(Errno::ENOTTY)
    }
    fn ioctl_name(&self, (): &(), _: NameRequest, _: &CStr) -> Result<(), Errno> {
        Err(Errno::ENOTTY)
    }
    fn pread(&self, (): &(), _: &mut [u8], _: u64) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }
    fn pwrite(&self, (): &(), _: &[u8], _: u64) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }
}

/// Runs the driver that runs on Linux.
fn factorial(shim: Shim) -> Result<u32, EduError<Infallible>> {
    let (device, mut buffer) = (Device::new(shim, ()), [0; 32]);
    let region = device.region(0, &mut buffer).map_err(|_| EduError::Stuck)?;
    let bar0 = device
        .map::<CanReadWrite>(&region, 0)
        .map_err(|_| EduError::Stuck)?;
    Edu::new(bar0)?.factorial(5)
}

extern "C" fn start() -> ! {
    // The functions of bus 0.
    let edu = (0..256)
        .map(|devfn| 1 << 31 | devfn << 8)
        .find(|at| config(*at) == 0x11e8_1234);
    let bar0 = edu.map(|at| u64::from(config(at | 0x10) & !0xf));
    let result = bar0.map(|bar0| factorial(Shim { bar0 }));
    end(if matches!(result, Some(Ok(120))) {
        0x10
    } else {
        0x11
    })
}

#[cfg(panic = "abort")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    end(0x11)
}

// Built by another profile than that of images, it is a program of the host, with std's handler.
#[cfg(not(panic = "abort"))]
extern crate std;
#[cfg(not(panic = "abort"))]
#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    let _ = &start;
    std::eprintln!("this is an image: `cargo xtask unikernel --worlds` builds and boots it");
    2
}
