//! The system-call shim on Linux, on rustix; without the feature `std` it needs no libc.
//!
//! # Interrupted calls
//!
//! `open(2)`, `read(2)`, `write(2)`, `pread(2)` and `pwrite(2)` are made again when a signal
//! interrupts them: they can wait (for the VGA arbiter, say), and nothing was transferred when
//! they return `EINTR`. No ioctl
//! of the shim waits for anything that a signal interrupts; what it returns is handed on as it is.

mod mapping;
mod memory;
mod pages;
mod physical;
mod request;

use core::ffi::CStr;
use core::ops::Range;
use core::ptr::NonNull;
use core::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::{AsRawFd, FromRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::retry_on_intr;
use rustix::ioctl::ioctl;
use vfio_core::mmio::Access as _;
use vfio_core::sys::{
    Descriptor, Errno, Exchange, FdRequest, InfoRequest, NameRequest, Parts, Protection, Span, Sys,
    ValueRequest, put_argsz,
};

pub use mapping::Mapping;
pub use memory::Memory;

use request::{Info, Name, PassFd, Structure, Value};

/// The kernel that the program runs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Linux;

impl Sys for Linux {
    type Fd = OwnedFd;
    type Mapping = Mapping;
    type Memory = Memory;
    type Event = OwnedFd;

    fn open(&self, path: &CStr) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty())).map_err(errno)
    }

    fn number(&self, fd: &OwnedFd) -> i32 {
        fd.as_raw_fd()
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

    fn exchange(&self, fd: &OwnedFd, exchange: Exchange<'_>) -> Result<u32, Errno> {
        if exchange.request().descriptor().is_some() {
            // Nobody would own what it opens.
            return Err(Errno::EINVAL);
        }
        let mut parts = exchange.into_parts();
        // Memory is mapped by `exchange_memory`, which knows that it is the shim's.
        if parts.request.length_at().is_some() {
            return Err(Errno::EINVAL);
        }
        // The list is reached through its address only until the call returns.
        if let Some(list) = &mut parts.list {
            let address = list.as_mut_ptr().expose_provenance();
            parts.point(to_u64(address), 0)?;
        }
        pass(fd, &mut parts)
    }

    fn exchange_open(
        &self,
        fd: &OwnedFd,
        exchange: Exchange<'_>,
    ) -> Result<Option<OwnedFd>, Errno> {
        let place = exchange.request().descriptor().ok_or(Errno::EINVAL)?;
        let mut parts = exchange.into_parts();
        let answer = pass(fd, &mut parts)?;
        let number = match place {
            Descriptor::Returned => i32::try_from(answer).map_err(|_| Errno::EOVERFLOW)?,
            Descriptor::At(at) => {
                let field = parts.argument.get(at..).and_then(|rest| rest.first_chunk());
                i32::from_ne_bytes(*field.ok_or(Errno::EINVAL)?)
            }
        };
        if number < 0 {
            return Ok(None);
        }
        // SAFETY: the request succeeded, and is one that opens a file for the caller: nobody else
        // knows its number. Where it is a field of the structure, the exchange was made with -1
        // there, so that the kernel wrote it.
        Ok(Some(unsafe { OwnedFd::from_raw_fd(number) }))
    }

    fn read(&self, fd: &OwnedFd, buf: &mut [u8]) -> Result<usize, Errno> {
        retry_on_intr(|| rustix::io::read(fd, &mut *buf)).map_err(errno)
    }

    fn write(&self, fd: &OwnedFd, buf: &[u8]) -> Result<usize, Errno> {
        retry_on_intr(|| rustix::io::write(fd, buf)).map_err(errno)
    }

    fn exchange_memory(
        &self,
        fd: &OwnedFd,
        memory: &Memory,
        exchange: Exchange<'_>,
    ) -> Result<u32, Errno> {
        pass_memory(fd, memory.base(), memory.len(), exchange)
    }

    fn exchange_mapping(
        &self,
        fd: &OwnedFd,
        mapping: &Mapping,
        exchange: Exchange<'_>,
    ) -> Result<u32, Errno> {
        pass_memory(fd, mapping.base(), mapping.len(), exchange)
    }

    fn map(&self, fd: &OwnedFd, span: Span, protection: Protection) -> Result<Mapping, Errno> {
        Mapping::new(fd, span, protection)
    }

    fn page_size(&self) -> usize {
        rustix::param::page_size()
    }

    fn now(&self) -> Result<Duration, Errno> {
        Ok(now())
    }

    fn memory(&self, len: usize) -> Result<Memory, Errno> {
        Memory::new(len)
    }

    fn physical_memory(&self, len: usize, highest: u64) -> Result<(Memory, u64), Errno> {
        physical::memory(len, highest)
    }

    fn event(&self) -> Result<OwnedFd, Errno> {
        eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(errno)
    }

    fn event_number(&self, event: &OwnedFd) -> i32 {
        event.as_raw_fd()
    }

    fn event_take(&self, event: &OwnedFd) -> Result<u64, Errno> {
        let mut count = [0; 8];
        match retry_on_intr(|| rustix::io::read(event, &mut count)) {
            Ok(_) => Ok(u64::from_ne_bytes(count)),
            Err(rustix::io::Errno::AGAIN) => Ok(0),
            Err(error) => Err(errno(error)),
        }
    }

    fn event_wait(&self, event: &OwnedFd, timeout: Duration) -> Result<bool, Errno> {
        let deadline = now().checked_add(timeout);
        loop {
            let left = deadline.map(|deadline| deadline.saturating_sub(now()));
            // What can't be said in the kernel's terms is for ever.
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            let mut fds = [PollFd::new(event, PollFlags::IN)];
            match poll(&mut fds, left.as_ref()) {
                Err(rustix::io::Errno::INTR) => (),
                Err(error) => return Err(errno(error)),
                Ok(ready) => return Ok(ready > 0),
            }
        }
    }
}

/// Passes a request that maps a range of the `len` bytes at `base`.
fn pass_memory(
    fd: &OwnedFd,
    base: NonNull<u8>,
    len: usize,
    exchange: Exchange<'_>,
) -> Result<u32, Errno> {
    let mut parts = exchange.into_parts();
    let Range { start, end } = parts.memory;
    let length = end.checked_sub(start).ok_or(Errno::EINVAL)?;
    if end > len {
        return Err(Errno::EINVAL);
    }
    let base = base.as_ptr().expose_provenance();
    let address = base.checked_add(start).ok_or(Errno::EINVAL)?;
    parts.point(to_u64(address), to_u64(length))?;
    pass(fd, &mut parts)
}

/// Passes a request to the kernel.
fn pass(fd: &OwnedFd, parts: &mut Parts<'_>) -> Result<u32, Errno> {
    // SAFETY: an exchange can only be made of a structure of which the kernel touches no more
    // than its length, and in which a pointer is the shim's: to a list that is borrowed until
    // the call returns and is as long as the structure says, or to pages that the kernel pins.
    // The numbers are set aside for VFIO and iommufd (ioctl-number.rst); a file of another kind
    // refuses them.
    let answer = unsafe { ioctl(fd, Structure::new(parts)) }.map_err(errno)?;
    u32::try_from(answer).map_err(|_| Errno::EOVERFLOW)
}

/// The time since some moment in the past.
///
/// Not by rustix, which with a C library finds no vDSO in a static program, and makes a system
/// call of it.
#[cfg(feature = "std")]
fn now() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

/// The time since some moment in the past.
#[cfg(not(feature = "std"))]
fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::try_from(time).unwrap_or_default()
}

/// An address or a length as the ABI has them.
fn to_u64(value: usize) -> u64 {
    // A pointer has at most 64 bits on Linux.
    u64::try_from(value).unwrap_or(u64::MAX)
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
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;
    use std::vec::Vec;
    use vfio_core::abi::IommuType1DmaMap;
    use vfio_core::sys::ExchangeRequest;
    use zerocopy::IntoBytes as _;

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
    fn memory_that_is_not_the_shims_is_not_mapped() {
        let null = Linux.open(c"/dev/null").unwrap();
        let mut map = IommuType1DmaMap {
            vaddr: 0x1000,
            size: 0x1000,
            ..Default::default()
        };
        let exchange = Exchange::map(ExchangeRequest::MapDma, map.as_mut_bytes(), 0..4096).unwrap();
        assert_eq!(Linux.exchange(&null, exchange), Err(Errno::EINVAL));
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
    fn only_a_request_that_opens_a_file_is_asked_for_one() {
        let null = Linux.open(c"/dev/null").unwrap();
        let mut id = 7;
        let refused = Linux.exchange(&null, Exchange::gfx_dmabuf(&mut id));
        assert_eq!(refused, Err(Errno::EINVAL));
        let asked = Linux.exchange_open(&null, Exchange::gfx_dmabuf(&mut id));
        assert_eq!(asked.err(), Some(Errno::ENOTTY));
        let mut destroy = [0; 8];
        let exchange = Exchange::new(ExchangeRequest::Destroy, &mut destroy).unwrap();
        let refused = Linux.exchange_open(&null, exchange);
        assert_eq!(refused.err(), Some(Errno::EINVAL));
    }

    #[test]
    fn a_file_without_offsets_is_read_and_written() {
        let event = Linux.event().unwrap();
        assert_eq!(Linux.write(&event, &7_u64.to_ne_bytes()), Ok(8));
        let mut count = [0; 8];
        assert_eq!(Linux.read(&event, &mut count), Ok(8));
        assert_eq!(u64::from_ne_bytes(count), 7);
        assert_eq!(Linux.read(&event, &mut count), Err(Errno::EAGAIN));
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
