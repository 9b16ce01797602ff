//! What an init does before and after its work: file systems, modules, drivers, power.

use core::ffi::CStr;
use core::mem::MaybeUninit;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountFlags;
use rustix::system::RebootCommand;
use vfio_freestanding::checks::MODULES;

use crate::failure::Failure;
use crate::{EDU, text::Text};

/// Mounts what VFIO and the results need.
pub(crate) fn mount_all() -> Result<(), Failure> {
    for (kind, target) in [
        (c"proc", c"/proc"),
        (c"sysfs", c"/sys"),
        (c"devtmpfs", c"/dev"),
    ] {
        match rustix::fs::mkdir(target, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => (),
            Err(errno) => return Err(failed("mkdir", errno)),
        }
        match rustix::mount::mount(kind, target, kind, MountFlags::empty(), None) {
            // The kernel may have mounted /dev itself.
            Ok(()) | Err(Errno::BUSY) => (),
            Err(errno) => return Err(failed("mount", errno)),
        }
    }
    Ok(())
}

/// Loads the modules, gives the device to vfio-pci, and returns the device's IOMMU group.
pub(crate) fn set_up() -> Result<u32, Failure> {
    load_modules()?;
    bind()?;
    group()
}

/// Loads the modules whose paths are in a file, one to a line.
fn load_modules() -> Result<(), Failure> {
    // The line's NUL comes from the next byte that is replaced, so that no path need be copied.
    let mut list = [0_u8; 4096];
    let path = Text::new().and(MODULES).and_bytes(&[0]);
    let path = c_str(path.as_bytes())?;
    let file = open(path, OFlags::RDONLY)?;
    let len = rustix::io::read(&file, &mut list).map_err(|errno| failed("modules", errno))?;
    let list = list.get_mut(..len).unwrap_or_default();
    for line in list.split_inclusive_mut(|byte| *byte == b'\n') {
        if let Some(end) = line.last_mut() {
            *end = 0;
        }
        let module = open(c_str(line)?, OFlags::RDONLY)?;
        match rustix::system::finit_module(&module, c"", 0) {
            Ok(()) | Err(Errno::EXIST) => (),
            Err(errno) => return Err(failed("finit_module", errno)),
        }
    }
    Ok(())
}

/// Takes the device from its driver, where it has one, and gives it to vfio-pci.
fn bind() -> Result<(), Failure> {
    put(
        c"/sys/bus/pci/devices/0000:00:05.0/driver_override",
        c"vfio-pci",
    )?;
    match put(c"/sys/bus/pci/devices/0000:00:05.0/driver/unbind", EDU) {
        Ok(()) => (),
        Err(Failure::Call(_, errno)) if errno == Errno::NOENT.raw_os_error() => (),
        Err(failure) => return Err(failure),
    }
    put(c"/sys/bus/pci/drivers_probe", EDU)
}

/// Returns the device's group: the last component of a link.
fn group() -> Result<u32, Failure> {
    let mut buffer = [MaybeUninit::<u8>::uninit(); 128];
    let link = c"/sys/bus/pci/devices/0000:00:05.0/iommu_group";
    let (target, _) = rustix::fs::readlinkat_raw(CWD, link, &mut buffer)
        .map_err(|errno| failed("iommu_group", errno))?;
    let digits = target.rsplit(|byte| *byte == b'/').next();
    digits
        .filter(|digits| !digits.is_empty())
        .and_then(|digits| {
            digits.iter().try_fold(0_u32, |number, digit| {
                let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
                number.checked_mul(10)?.checked_add(digit.into())
            })
        })
        .ok_or(Failure::Other("the group is no number"))
}

/// Writes `text` to the file at `path`.
fn put(path: &CStr, text: &CStr) -> Result<(), Failure> {
    write_all(open(path, OFlags::WRONLY)?, text.to_bytes())
}

fn open(path: &CStr, flags: OFlags) -> Result<OwnedFd, Failure> {
    rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| failed("open", errno))
}

/// Writes all of `bytes`.
pub(crate) fn write_all(file: impl AsFd, mut bytes: &[u8]) -> Result<(), Failure> {
    while !bytes.is_empty() {
        let written = rustix::io::write(&file, bytes).map_err(|errno| failed("write", errno))?;
        bytes = bytes.get(written..).unwrap_or(&[]);
    }
    Ok(())
}

/// Says something on the console, where there is one.
#[cfg_attr(
    not(panic = "abort"),
    expect(unused_unsafe, reason = "with rustix's std, it is a safe function")
)]
pub(crate) fn say(text: &CStr) {
    // SAFETY: nothing here closes the standard files that the kernel opened for its init; where it opened none, the
    // call is refused.
    let console = unsafe { rustix::stdio::stderr() };
    let _ = write_all(console, text.to_bytes());
}

/// Ends the machine.
pub(crate) fn power_off() -> ! {
    rustix::fs::sync();
    // A kernel that cannot power off halts instead, for ever; a restart ends a QEMU that runs with -no-reboot.
    let acpi = rustix::fs::stat(c"/sys/firmware/acpi/tables").is_ok();
    if acpi {
        let _ = rustix::system::reboot(RebootCommand::PowerOff);
    }
    let _ = rustix::system::reboot(RebootCommand::Restart);
    loop {
        core::hint::spin_loop();
    }
}

/// Returns the failure of a system call.
pub(crate) fn failed(what: &'static str, errno: Errno) -> Failure {
    Failure::Call(what, errno.raw_os_error())
}

fn c_str(bytes: &[u8]) -> Result<&CStr, Failure> {
    CStr::from_bytes_with_nul(bytes).map_err(|_| Failure::Other("a path with a NUL in it"))
}
