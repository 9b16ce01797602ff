//! The start of an image.
//!
//! [`entry!`](crate::entry) names the function that an image consists of.

#[cfg(panic = "abort")]
mod entry;

#[cfg(panic = "abort")]
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::exit::{Status, exit};
use crate::memory_map::{MemoryMap, StartError, StartInfo};
use crate::paging::{self, MapError};
use crate::{exceptions, log, physical};

/// What the hypervisor told.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Boot {
    /// The command line; empty where there is none.
    pub command_line: &'static [u8],
    /// Where memory is.
    pub memory: MemoryMap<'static>,
    /// Where the tables of ACPI start, or 0.
    pub rsdp: u64,
}

/// Why an image can't start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum BootError {
    /// What the hypervisor tells can't be read.
    Start(StartError),
    /// It can't be mapped, or the image can't.
    Map(MapError),
    /// The image has parts where the machine has no memory.
    TooSmall {
        /// Where the image ends, in bytes.
        end: u64,
    },
}

/// Where the tables of ACPI start.
static RSDP: AtomicU64 = AtomicU64::new(0);

/// The longest command line.
const COMMAND_LINE_MOST: usize = 2048;

unsafe extern "Rust" {
    /// Returns the image, made by [`entry!`](crate::entry).
    safe fn vfio_unikernel_main(boot: &Boot) -> Status;
}

/// Makes `$main` an image: a function of [`Boot`] that returns a result whose error has a
/// `defmt::Format`.
///
/// Images are built by a profile that aborts on panics. By another one the image is a program of the
/// host, which says so.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[cfg(not(panic = "abort"))]
        const _: () = {
            extern crate std;

            let _ = &$main;

            /// Returns the host's program.
            #[unsafe(no_mangle)]
            extern "C" fn main() -> i32 {
                std::eprintln!("this is an image: `cargo xtask unikernel` builds and boots it");
                2
            }
        };

        #[unsafe(no_mangle)]
        fn vfio_unikernel_main(boot: &$crate::boot::Boot) -> $crate::exit::Status {
            match $main(boot) {
                Ok(()) => $crate::exit::Status::Success,
                Err(error) => {
                    $crate::_defmt::error!("{}", error);
                    $crate::exit::Status::Failure
                }
            }
        }
    };
}

/// Returns where the tables of ACPI start, or 0.
pub(crate) fn rsdp() -> u64 {
    RSDP.load(Ordering::Relaxed)
}

/// Returns the first line of Rust.
extern "C" fn start(info: u32) -> ! {
    log::init();
    exceptions::load();
    let status = match set_up(info) {
        Ok(boot) => vfio_unikernel_main(&boot),
        Err(error) => {
            defmt::error!("the image can't start: {}", error);
            Status::Failure
        }
    };
    exit(status)
}

/// Reads what the hypervisor tells, and maps the image.
fn set_up(info: u32) -> Result<Boot, BootError> {
    paging::protect().map_err(BootError::Map)?;
    let read = |address, len| {
        let bytes = physical::bytes(address, len).map_err(BootError::Map)?;
        bytes.ok_or(BootError::Start(StartError::InTheWay { address }))
    };
    let head = read(info.into(), StartInfo::LEN)?;
    let start = StartInfo::parse(head).map_err(BootError::Start)?;
    let memory = MemoryMap::new(read(start.memory_map, start.memory_map_len())?);
    let image = paging::image();
    if !memory.has(image.clone()) {
        return Err(BootError::TooSmall { end: image.end });
    }
    let command_line = match start.command_line {
        0 => &[],
        address => {
            let longest = read(address, COMMAND_LINE_MOST)?;
            longest.split(|byte| *byte == 0).next().unwrap_or_default()
        }
    };
    RSDP.store(start.rsdp, Ordering::Relaxed);
    Ok(Boot {
        command_line,
        memory,
        rsdp: start.rsdp,
    })
}

/// Says where, and ends the image. The host's programs have a handler of std's. The message is left out: it would need `core::fmt`.
#[cfg(panic = "abort")]
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    log::abandon();
    match info.location() {
        Some(place) => defmt::error!(
            "panic at {=str}:{=u32}:{=u32}",
            place.file(),
            place.line(),
            place.column()
        ),
        None => defmt::error!("panic"),
    }
    exit(Status::Failure)
}
