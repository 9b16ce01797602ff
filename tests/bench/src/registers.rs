//! Reading and writing a register of 32 bits, in each way.
//!
//! Memory stands for a mapped BAR, and a file for the trapped one. `pci-driver` opens its device itself, from sysfs and
//! `/dev/vfio/vfio`, so that only its mapped half can be driven without one; `vfio-ioctls` has no mapped half.

use core::ffi::{c_int, c_void};
use core::hint::black_box;
use std::fs::File;
use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use pci_driver::pci_struct;
use pci_driver::regions::structured::PciRegisterRw;
use pci_driver::regions::{BackedByPciSubregion as _, PciMemoryRegion, PciRegion};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use serde::Serialize;
use vfio_core::device::Device;
use vfio_core::device::region::TrappedRegion;
use vfio_core::mmio::field::ReadWrite;
use vfio_core::mmio::{Block, Window};
use vfio_core::registers;
use vfio_core::sys::{Protection, Span, Sys as _};
use vfio_hosted::linux::{Fd, Linux, Mapping};

use crate::peer::Peer;
use crate::time;

/// How long the stretch of registers is.
const LEN: usize = 0x1000;

/// Where the register lies.
const OFFSET: usize = 8;

/// What is written.
const VALUE: u32 = 0x0bad_cafe;

/// How many accesses are timed at once.
const BATCH: u32 = 50;

/// The names of the ways: what is reached, and by what.
pub(crate) const NAMES: [&str; 9] = [
    "mapped_bare",
    "mapped_core",
    "mapped_core_checked",
    "mapped_pci_driver",
    "mapped_pci_driver_region",
    "trapped_bare",
    "trapped_core",
    "trapped_core_checked",
    "trapped_vfio_ioctls",
];

/// One way.
#[derive(Serialize)]
pub(crate) struct Row {
    name: &'static str,
    /// Nanoseconds a read takes.
    read: f64,
    /// Nanoseconds a write takes.
    write: f64,
}

registers! {
    struct Registers: 0x10 {
        0x00 id: ReadWrite<u64>,
        0x08 status: ReadWrite<u32>,
    }
}

#[repr(C)]
struct Bare {
    id: u64,
    status: u32,
}

pci_struct! {
    struct PeerRegisters<'a> : 0x10 {
        status @ 0x08 : PciRegisterRw<'a, u32>,
    }
}

unsafe extern "C" {
    fn pread64(fd: c_int, buffer: *mut c_void, len: usize, offset: i64) -> isize;
    fn pwrite64(fd: c_int, buffer: *const c_void, len: usize, offset: i64) -> isize;
}

/// A driver, as far as it reaches its register.
trait Driver {
    fn read(&mut self) -> Option<u32>;
    fn write(&mut self, value: u32) -> Option<()>;
}

/// The functions of a driver are functions of its own, for valgrind to count.
macro_rules! drivers {
    ($($type:ty: $read:ident, $write:ident, |$this:ident, $value:ident| $reading:expr, $writing:expr;)*) => {
        $(
            impl Driver for $type {
                fn read(&mut self) -> Option<u32> {
                    $read(self)
                }

                fn write(&mut self, value: u32) -> Option<()> {
                    $write(self, value)
                }
            }

            #[inline(never)]
            #[unsafe(no_mangle)]
            extern "Rust" fn $read($this: &mut $type) -> Option<u32> {
                $reading
            }

            #[inline(never)]
            #[unsafe(no_mangle)]
            extern "Rust" fn $write($this: &mut $type, $value: u32) -> Option<()> {
                $writing
            }
        )*
    };
}

struct MappedBare(*mut Bare);

struct MappedCore(Block<Mapping, Registers>);

struct MappedCoreChecked(Window<Mapping>, usize);

struct MappedPciDriver(PeerRegisters<'static>);

struct MappedPciDriverRegion(&'static dyn PciRegion, u64);

struct TrappedBare(OwnedFd);

struct TrappedCore(Block<TrappedRegion<&'static Device<Linux>>, Registers>);

struct TrappedCoreChecked(Window<TrappedRegion<&'static Device<Linux>>>, usize);

struct TrappedVfioIoctls(Peer, u64);

drivers! {
    MappedBare: measured_read_mapped_bare, measured_write_mapped_bare, |this, value|
        {
            // SAFETY: the memory, which is kept, has room for the registers.
            let register = unsafe { &raw const (*this.0).status };
            // SAFETY: as above.
            Some(unsafe { register.read_volatile() })
        },
        {
            // SAFETY: the memory, which is kept, has room for the registers.
            let register = unsafe { &raw mut (*this.0).status };
            // SAFETY: as above.
            unsafe { register.write_volatile(value) };
            Some(())
        };
    MappedCore: measured_read_mapped_core, measured_write_mapped_core, |this, value|
        this.0.read(Registers::status).ok(),
        this.0.write(Registers::status, value).ok();
    MappedCoreChecked: measured_read_mapped_core_checked, measured_write_mapped_core_checked, |this, value|
        this.0.read(this.1).ok(),
        this.0.write(this.1, value).ok();
    MappedPciDriver: measured_read_mapped_pci_driver, measured_write_mapped_pci_driver, |this, value|
        this.0.status().read().ok(),
        this.0.status().write(value).ok();
    MappedPciDriverRegion: measured_read_mapped_pci_driver_region, measured_write_mapped_pci_driver_region,
        |this, value|
        this.0.read_le_u32(this.1).ok(),
        this.0.write_le_u32(this.1, value).ok();
    TrappedBare: measured_read_trapped_bare, measured_write_trapped_bare, |this, value|
        {
            let mut raw = [0; 4];
            // SAFETY: the buffer has as many bytes as are read.
            let done = unsafe { pread64(this.0.as_raw_fd(), raw.as_mut_ptr().cast(), 4, OFFSET as i64) };
            (done == 4).then_some(u32::from_le_bytes(raw))
        },
        {
            let raw = value.to_le_bytes();
            // SAFETY: the buffer has as many bytes as are written.
            let done = unsafe { pwrite64(this.0.as_raw_fd(), raw.as_ptr().cast(), 4, OFFSET as i64) };
            (done == 4).then_some(())
        };
    TrappedCore: measured_read_trapped_core, measured_write_trapped_core, |this, value|
        this.0.read(Registers::status).ok(),
        this.0.write(Registers::status, value).ok();
    TrappedCoreChecked: measured_read_trapped_core_checked, measured_write_trapped_core_checked, |this, value|
        this.0.read(this.1).ok(),
        this.0.write(this.1, value).ok();
    TrappedVfioIoctls: measured_read_trapped_vfio_ioctls, measured_write_trapped_vfio_ioctls, |this, value|
        {
            let mut raw = [0; 4];
            this.0.device().ok()?.region_read(0, &mut raw, this.1);
            Some(u32::from_le_bytes(raw))
        },
        {
            this.0.device().ok()?.region_write(0, &value.to_le_bytes(), this.1);
            Some(())
        };
}

/// Measures each way.
///
/// # Errors
///
/// A way can't be made, or reads something else than was written.
pub(crate) fn rows() -> Result<Vec<Row>> {
    NAMES
        .into_iter()
        .map(|name| {
            let mut driver = driver(name)?;
            check(&mut *driver).context(name)?;
            let batch = |run: fn(&mut dyn Driver)| {
                move |driver: &mut Box<dyn Driver>| (0..BATCH).for_each(|_| run(&mut **driver))
            };
            let read = batch(|driver| {
                let _ = black_box(driver.read());
            });
            let write = batch(|driver| {
                let _ = black_box(driver.write(VALUE));
            });
            Ok(Row {
                name,
                read: time::median(&mut driver, read, |_| ()) / f64::from(BATCH),
                write: time::median(&mut driver, write, |_| ()) / f64::from(BATCH),
            })
        })
        .collect()
}

/// Writes and reads once, for valgrind to count.
///
/// # Errors
///
/// As for [`rows`].
pub(crate) fn once(name: &str) -> Result<()> {
    check(&mut *driver(name)?).with_context(|| name.to_owned())
}

fn check(driver: &mut dyn Driver) -> Result<()> {
    driver.write(VALUE).context("cannot write")?;
    ensure!(driver.read() == Some(VALUE), "what is read was not written");
    Ok(())
}

fn driver(name: &str) -> Result<Box<dyn Driver>> {
    let file = file()?;
    Ok(match name {
        "mapped_bare" => Box::new(MappedBare(memory().as_mut_ptr().cast())),
        "mapped_core" => Box::new(MappedCore(mapping(file)?.into_block(0)?)),
        "mapped_core_checked" => Box::new(MappedCoreChecked(mapping(file)?, OFFSET)),
        "mapped_pci_driver" => Box::new(MappedPciDriver(PeerRegisters::backed_by(region()))),
        "mapped_pci_driver_region" => Box::new(MappedPciDriverRegion(region(), OFFSET as u64)),
        "trapped_bare" => Box::new(TrappedBare(file)),
        "trapped_core" => Box::new(TrappedCore(trapped(file).into_block(0)?)),
        "trapped_core_checked" => Box::new(TrappedCoreChecked(trapped(file), OFFSET)),
        "trapped_vfio_ioctls" => {
            let mut peer = Peer::with_file(File::from(file))?;
            peer.open();
            Box::new(TrappedVfioIoctls(peer, OFFSET as u64))
        }
        _ => bail!("there is nothing called {name}"),
    })
}

/// Returns a file in memory.
fn file() -> Result<OwnedFd> {
    let file = memfd_create("registers", MemfdFlags::CLOEXEC).context("cannot make a file")?;
    ftruncate(&file, LEN as u64).context("cannot make a file longer")?;
    Ok(file)
}

/// Returns the file as a mapped BAR.
fn mapping(file: OwnedFd) -> Result<Window<Mapping>> {
    let span = Span {
        offset: 0,
        len: LEN,
    };
    let mapping = Linux.map(&fd(file), span, Protection::BOTH);
    let mapping = mapping.map_err(|errno| anyhow!("cannot map: {errno}"))?;
    Ok(Window::with_permission(mapping)?)
}

/// Returns the file in the place of a device's.
fn fd(file: OwnedFd) -> Fd {
    // SAFETY: a file in memory refuses the requests of VFIO.
    unsafe { Fd::new_unchecked(file) }
}

/// Returns the file as a trapped BAR. There are few, and they are kept.
fn trapped(file: OwnedFd) -> Window<TrappedRegion<&'static Device<Linux>>> {
    let device = Box::leak(Box::new(Device::new(Linux, fd(file))));
    Window::new(TrappedRegion::new(device, 0, LEN))
}

/// Returns memory that is kept.
fn memory() -> &'static mut [u64] {
    vec![0; LEN / 8].leak()
}

/// Returns memory as a region of `pci-driver`.
fn region() -> &'static PciMemoryRegion<'static> {
    Box::leak(Box::new(PciMemoryRegion::new_mut(vec![0; LEN].leak())))
}
