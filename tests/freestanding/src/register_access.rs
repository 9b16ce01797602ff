//! Register accesses as drivers make them, each beside the bare volatile access that it stands for: the machine code of
//! the two is compared.
//!
//! This program is not run. Its functions are called `WAY_ACCESS_WIDTH`:
//! - `mapped`, `bare`: of a register of a block at an address.
//! - `held`, `held_bare`: as a driver does that holds its block, or the address of its registers.
//! - `checked`, `checked_bare`: at an offset known at run time.
//! - `detour`, `checked_detour`: one step too many, which the comparison must see.
#![no_std]
#![no_main]

use core::convert::Infallible;
use core::hint::black_box;
use core::ptr::NonNull;

use vfio_core::device::Device;
use vfio_core::device::region::MappedRegion;
use vfio_core::mmio::field::ReadWrite;
use vfio_core::mmio::{Block, Mapped, Protection, RegisterError, Window};
use vfio_core::registers;
use vfio_freestanding::opaque::used;
use vfio_hosted::linux::Linux;

vfio_freestanding::entry!(run);
vfio_freestanding::link_without_panic!();

/// How long the device's memory is.
const LEN: usize = 0x1000;

/// Where the block lies in it.
const BASE: usize = 0x100;

registers! {
    /// Some registers.
    struct Registers: 0x10 {
        0x00 u64: ReadWrite<u64>,
        0x08 u32: ReadWrite<u32>,
        0x0c u16: ReadWrite<u16>,
        0x0e u8: ReadWrite<u8>,
    }
}

/// The same, bare.
#[repr(C)]
struct Bare {
    u64: u64,
    u32: u32,
    u16: u16,
    u8: u8,
}

/// A driver that holds its registers, behind something else that it needs.
struct Driver<R> {
    _queue: u64,
    registers: R,
}

/// The registers of a driver on Linux.
type Held = Driver<Block<MappedRegion<&'static Device<Linux>>, Registers>>;

type Checked = Window<MappedRegion<&'static Device<Linux>>>;

/// A bare window.
struct CheckedBare {
    base: *mut u8,
}

fn block(base: NonNull<u8>) -> Option<Block<Mapped<'static>, Registers>> {
    // SAFETY: whoever calls the functions below vouches for the memory.
    let mapped = unsafe { Mapped::new(base, LEN, Protection::BOTH) };
    let window: Window<_> = Window::with_permission(mapped).ok()?;
    window.into_block(BASE).ok()
}

/// Returns the value of a result that can't fail.
fn sure<T>(result: Result<T, Infallible>) -> T {
    match result {
        Ok(value) => value,
        Err(never) => match never {},
    }
}

/// Returns what fails where an offset is no register's, as a number that no register holds.
fn found<T>(result: Result<T, RegisterError<Infallible>>) -> Option<T> {
    result.ok()
}

macro_rules! accesses {
    ($($width:ident: $($name:ident)*;)*) => {
        $(accesses!(@ $width $($name)*);)*

        fn run() -> i32 {
            // Looked at by nobody, so that the linker keeps them.
            $($(used(black_box($name as *const ()));)*)*
            0
        }
    };
    (@ $width:ident
        $mapped_read:ident $bare_read:ident $mapped_write:ident $bare_write:ident
        $held_read:ident $held_bare_read:ident $held_write:ident $held_bare_write:ident
        $checked_read:ident $checked_bare_read:ident $checked_write:ident $checked_bare_write:ident
        $detour_read:ident $detour_write:ident $checked_detour_read:ident $checked_detour_write:ident
    ) => {
        #[unsafe(no_mangle)]
        extern "C" fn $mapped_read(base: NonNull<u8>) -> $width {
            block(base).map_or(0, |mut block| sure(block.read(Registers::$width)))
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn $bare_read(base: NonNull<u8>) -> $width {
            let registers = base.as_ptr().wrapping_add(BASE).cast::<Bare>();
            // SAFETY: whoever calls it vouches for the memory.
            let register = unsafe { &raw const (*registers).$width };
            // SAFETY: as above.
            unsafe { register.read_volatile() }
        }

        #[unsafe(no_mangle)]
        extern "C" fn $mapped_write(base: NonNull<u8>, value: $width) {
            if let Some(mut block) = block(base) {
                sure(block.write(Registers::$width, value));
            }
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn $bare_write(base: NonNull<u8>, value: $width) {
            let registers = base.as_ptr().wrapping_add(BASE).cast::<Bare>();
            // SAFETY: whoever calls it vouches for the memory.
            let register = unsafe { &raw mut (*registers).$width };
            // SAFETY: as above.
            unsafe { register.write_volatile(value) }
        }

        #[unsafe(no_mangle)]
        extern "C" fn $held_read(driver: &mut Held) -> $width {
            sure(driver.registers.read(Registers::$width))
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn $held_bare_read(driver: &mut Driver<*mut Bare>) -> $width {
            // SAFETY: whoever calls it vouches for the memory.
            let register = unsafe { &raw const (*driver.registers).$width };
            // SAFETY: as above.
            unsafe { register.read_volatile() }
        }

        #[unsafe(no_mangle)]
        extern "C" fn $held_write(driver: &mut Held, value: $width) {
            sure(driver.registers.write(Registers::$width, value));
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn $held_bare_write(driver: &mut Driver<*mut Bare>, value: $width) {
            // SAFETY: whoever calls it vouches for the memory.
            let register = unsafe { &raw mut (*driver.registers).$width };
            // SAFETY: as above.
            unsafe { register.write_volatile(value) }
        }

        #[unsafe(no_mangle)]
        extern "C" fn $checked_read(window: &mut Checked, offset: usize) -> $width {
            found(window.read(offset)).unwrap_or($width::MAX)
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn $checked_bare_read(window: &mut CheckedBare, offset: usize) -> $width {
            let register = window.base.wrapping_add(offset).cast::<$width>();
            // SAFETY: whoever calls it vouches for the offset.
            unsafe { register.read_volatile() }
        }

        #[unsafe(no_mangle)]
        extern "C" fn $checked_write(window: &mut Checked, offset: usize, value: $width) -> bool {
            found(window.write(offset, value)).is_some()
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn $checked_bare_write(
            window: &mut CheckedBare,
            offset: usize,
            value: $width,
        ) -> bool {
            let register = window.base.wrapping_add(offset).cast::<$width>();
            // SAFETY: whoever calls it vouches for the offset.
            unsafe { register.write_volatile(value) };
            true
        }

        #[unsafe(no_mangle)]
        extern "C" fn $detour_read(base: NonNull<u8>) -> $width {
            block(base).map_or(0, |mut block| {
                let _ = sure(block.read(Registers::u8));
                sure(block.read(Registers::$width))
            })
        }

        #[unsafe(no_mangle)]
        extern "C" fn $detour_write(base: NonNull<u8>, value: $width) {
            if let Some(mut block) = block(base) {
                sure(block.write(Registers::$width, value.wrapping_add(1)));
            }
        }

        #[unsafe(no_mangle)]
        extern "C" fn $checked_detour_read(
            window: &mut Checked,
            offset: usize,
            limits: &[usize; 2],
        ) -> $width {
            if offset > limits[0] || offset == limits[1] {
                return $width::MAX;
            }
            found(window.read(offset)).unwrap_or($width::MAX)
        }

        #[unsafe(no_mangle)]
        extern "C" fn $checked_detour_write(
            window: &mut Checked,
            offset: usize,
            value: $width,
            limits: &[usize; 2],
        ) -> bool {
            if offset > limits[0] || offset == limits[1] {
                return false;
            }
            found(window.write(offset, value)).is_some()
        }
    };
}

accesses! {
    u8: mapped_read_u8 bare_read_u8 mapped_write_u8 bare_write_u8
        held_read_u8 held_bare_read_u8 held_write_u8 held_bare_write_u8
        checked_read_u8 checked_bare_read_u8 checked_write_u8 checked_bare_write_u8
        detour_read_u8 detour_write_u8 checked_detour_read_u8 checked_detour_write_u8;
    u16: mapped_read_u16 bare_read_u16 mapped_write_u16 bare_write_u16
        held_read_u16 held_bare_read_u16 held_write_u16 held_bare_write_u16
        checked_read_u16 checked_bare_read_u16 checked_write_u16 checked_bare_write_u16
        detour_read_u16 detour_write_u16 checked_detour_read_u16 checked_detour_write_u16;
    u32: mapped_read_u32 bare_read_u32 mapped_write_u32 bare_write_u32
        held_read_u32 held_bare_read_u32 held_write_u32 held_bare_write_u32
        checked_read_u32 checked_bare_read_u32 checked_write_u32 checked_bare_write_u32
        detour_read_u32 detour_write_u32 checked_detour_read_u32 checked_detour_write_u32;
    u64: mapped_read_u64 bare_read_u64 mapped_write_u64 bare_write_u64
        held_read_u64 held_bare_read_u64 held_write_u64 held_bare_write_u64
        checked_read_u64 checked_bare_read_u64 checked_write_u64 checked_bare_write_u64
        detour_read_u64 detour_write_u64 checked_detour_read_u64 checked_detour_write_u64;
}
