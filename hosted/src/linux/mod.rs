//! The system-call shim on Linux, on rustix; without the feature `std` it needs no libc.
//!
//! # Interrupted calls
//!
//! `open(2)`, `pread(2)` and `pwrite(2)` are made again when a signal interrupts them: they can
//! wait (for the VGA arbiter, say), and nothing was transferred when they return `EINTR`. No ioctl
//! of the shim waits for anything that a signal interrupts; what it returns is handed on as it is.

mod request;

use core::ffi::CStr;

use rustix::fd::{FromRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::retry_on_intr;
use rustix::ioctl::ioctl;
use vfio_core::sys::{Errno, FdRequest, InfoRequest, NameRequest, Sys, ValueRequest, put_argsz};

use request::{Info, Name, PassFd, Value};

/// The kernel that the program runs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Linux;

impl Sys for Linux {
    type Fd = OwnedFd;

    fn open(&self, path: &CStr) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty())).map_err(errno)
    }

    fn ioctl_info(
        &self,
        fd: &OwnedFd,
        request: InfoRequest,
        reply: &mut [u8],
    ) -> Result<(), Errno> {
        put_argsz(reply)?;
        // The kernel reads a structure whole before it looks at argsz: one that is cut short is
        // passed in memory that has all of it.
        let mut whole = [0; Info::LONGEST];
        match whole.get_mut(..Info::read_by_kernel(request)) {
            Some(whole) if reply.len() < whole.len() => {
                whole
                    .iter_mut()
                    .zip(&*reply)
                    .for_each(|(to, from)| *to = *from);
                let answer = info(fd, request, whole);
                reply
                    .iter_mut()
                    .zip(&*whole)
                    .for_each(|(to, from)| *to = *from);
                answer
            }
            _ => info(fd, request, reply),
        }
    }

    fn ioctl_value(&self, fd: &OwnedFd, request: ValueRequest, value: u32) -> Result<u32, Errno> {
        // SAFETY: the requests of `ValueRequest` take their argument by value or not at all, on
        // every kind of VFIO file: the kernel touches no memory of the process. Their numbers
        // are set aside for VFIO (ioctl-number.rst); a file of another kind refuses them.
        let answer = unsafe { ioctl(fd, Value::new(request, value)) }.map_err(errno)?;
        u32::try_from(answer).map_err(|_| Errno::EOVERFLOW)
    }

    fn ioctl_fd(&self, fd: &OwnedFd, request: FdRequest, argument: &OwnedFd) -> Result<(), Errno> {
        // SAFETY: the requests of `FdRequest` read one `i32` and write nothing; `PassFd` points
        // at one. Their numbers are set aside for VFIO (ioctl-number.rst).
        unsafe { ioctl(fd, PassFd::new(request, argument)) }.map_err(errno)
    }

    fn ioctl_name(
        &self,
        fd: &OwnedFd,
        request: NameRequest,
        name: &CStr,
    ) -> Result<OwnedFd, Errno> {
        // SAFETY: the requests of `NameRequest` read a C string up to its NUL and write nothing;
        // `Name` points at one. Their numbers are set aside for VFIO (ioctl-number.rst).
        let number = unsafe { ioctl(fd, Name::new(request, name)) }.map_err(errno)?;
        // SAFETY: the requests of `NameRequest` return the number of a file that they opened for
        // the caller: nobody else knows it, and it is not -1.
        Ok(unsafe { OwnedFd::from_raw_fd(number) })
    }

    fn pread(&self, fd: &OwnedFd, buf: &mut [u8], offset: u64) -> Result<usize, Errno> {
        retry_on_intr(|| rustix::io::pread(fd, &mut *buf, offset)).map_err(errno)
    }

    fn pwrite(&self, fd: &OwnedFd, buf: &[u8], offset: u64) -> Result<usize, Errno> {
        retry_on_intr(|| rustix::io::pwrite(fd, buf, offset)).map_err(errno)
    }
}

/// Makes an INFO request; `reply` holds its length in its first four bytes.
fn info(fd: &OwnedFd, request: InfoRequest, reply: &mut [u8]) -> Result<(), Errno> {
    // SAFETY: the requests of `InfoRequest` read one structure, on every kind of VFIO file no
    // longer than `Info::read_by_kernel` says, which `reply` has. They write no further than the
    // argsz at its start, and the caller made that no more than its length. The numbers are set
    // aside for VFIO (ioctl-number.rst); a file of another kind refuses them.
    unsafe { ioctl(fd, Info::new(request, reply)) }.map_err(errno)
}

/// The error number of an error.
fn errno(error: rustix::io::Errno) -> Errno {
    Errno(error.raw_os_error())
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use rustix::fd::AsRawFd;
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;
    use std::vec::Vec;

    fn c_path(path: &std::path::Path) -> CString {
        CString::new(path.as_os_str().as_bytes()).unwrap()
    }

    const INFOS: [InfoRequest; 6] = [
        InfoRequest::GroupStatus,
        InfoRequest::Iommu,
        InfoRequest::Device,
        InfoRequest::Region,
        InfoRequest::Irq,
        InfoRequest::PciHotReset,
    ];

    #[test]
    fn errors_of_open_come_through() {
        let missing = tempfile::tempdir().unwrap().path().join("vfio");
        assert_eq!(Linux.open(&c_path(&missing)).err(), Some(Errno::ENOENT));
        assert!(Linux.open(c"/dev/null").is_ok());
    }

    #[test]
    fn other_files_refuse_vfio_requests() {
        let null = Linux.open(c"/dev/null").unwrap();
        for request in INFOS {
            for len in 4..40 {
                let mut reply = std::vec![0xa5; len];
                let answer = Linux.ioctl_info(&null, request, &mut reply);
                assert_eq!(answer, Err(Errno::ENOTTY));
                let (argsz, rest) = reply.split_at(4);
                assert_eq!(argsz, u32::try_from(len).unwrap().to_ne_bytes());
                assert!(rest.iter().all(|byte| *byte == 0xa5));
            }
        }
        let value = Linux.ioctl_value(&null, ValueRequest::GetApiVersion, 0);
        assert_eq!(value, Err(Errno::ENOTTY));
        let set = Linux.ioctl_fd(&null, FdRequest::SetContainer, &null);
        assert_eq!(set, Err(Errno::ENOTTY));
        let device = Linux.ioctl_name(&null, NameRequest::GetDeviceFd, c"0000:00:05.0");
        assert_eq!(device.err(), Some(Errno::ENOTTY));
    }

    #[test]
    fn a_reply_without_room_for_argsz_is_refused() {
        let null = Linux.open(c"/dev/null").unwrap();
        for len in 0..4 {
            let mut reply = std::vec![0; len];
            let answer = Linux.ioctl_info(&null, InfoRequest::Device, &mut reply);
            assert_eq!(answer, Err(Errno::EINVAL));
        }
    }

    #[test]
    fn bytes_are_read_and_written_at_their_offset() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let fd = Linux.open(&c_path(file.path())).unwrap();
        assert_eq!(Linux.pwrite(&fd, b"vfio", 6), Ok(4));
        let mut buf = [0xa5; 8];
        assert_eq!(Linux.pread(&fd, &mut buf, 5), Ok(5));
        assert_eq!(&buf, b"\0vfio\xa5\xa5\xa5");
        assert_eq!(Linux.pread(&fd, &mut buf, u64::MAX), Err(Errno::EINVAL));
    }

    #[test]
    fn a_dropped_file_is_closed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        // Other tests open files meanwhile, so that the number may be taken again at once: look
        // for the file, not for the number.
        let is_open = || {
            let open: Vec<_> = std::fs::read_dir("/proc/self/fd")
                .unwrap()
                .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
                .filter(|target| target == file.path())
                .collect();
            open.len()
        };
        let before = is_open();
        let fd = Linux.open(&c_path(file.path())).unwrap();
        assert!(fd.as_raw_fd() >= 0);
        assert_eq!(is_open(), before + 1);
        drop(fd);
        assert_eq!(is_open(), before);
    }
}
