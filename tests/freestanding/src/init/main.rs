//! The init of a guest, without libc and without std: it opens QEMU's `edu` through a container, checks what it learns
//! against what is known of that device, drives it, reports, and powers off.
#![no_std]
#![no_main]

mod check;
mod failure;
mod report;
mod system;
mod text;

use core::ffi::CStr;

use vfio_core::open::{Mode, Place, Session};
use vfio_freestanding::checks::Check;
use vfio_hosted::linux::Linux;

use failure::Failure;
use report::Report;
use text::Text;

vfio_freestanding::entry!(run);

/// Where the machine has its `edu`.
const EDU: &CStr = c"0000:00:05.0";

/// Ends the machine: rustix asserts what it was promised, so that a panic can't be ruled out. The results then lack
/// their last line.
#[cfg(panic = "abort")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    system::say(c"init: panicked\n");
    system::power_off()
}

fn run() -> i32 {
    let mounted = system::mount_all();
    match Report::open() {
        Ok(mut report) => {
            let setup = mounted.and_then(|()| system::set_up());
            if test(&mut report, setup).is_err() {
                system::say(c"init: the results cannot be written\n");
            }
        }
        Err(_) => system::say(c"init: there is no port for the results\n"),
    }
    system::power_off()
}

/// Makes every check. One without which the others can't be made fails them all.
fn test(report: &mut Report, setup: Result<u32, Failure>) -> Result<(), Failure> {
    report.verdict(
        Check::Setup,
        setup.map(|group| Text::new().and("group ").decimal(group.into())),
    )?;
    let opened = setup.and_then(open);
    report.verdict(
        Check::Open,
        opened.as_ref().map(|_| Text::new()).map_err(|error| *error),
    )?;
    for check in Check::ALL.into_iter().skip(2) {
        if check == Check::Driver {
            continue;
        }
        let verdict = match &opened {
            Ok(session) => check::run(check, session),
            Err(error) => Err(*error),
        };
        report.verdict(check, verdict)?;
    }
    report.verdict(Check::Driver, opened.and_then(check::driver))?;
    report.finish()
}

fn open(group: u32) -> Result<Session<Linux>, Failure> {
    let place = Place {
        name: EDU,
        group: Some(group),
        ..Place::default()
    };
    Ok(Session::open_in(Mode::Type1v2, &Linux, &place)?)
}
