//! The shim, without a device.

use super::*;
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt as _;
use std::vec::Vec;

use rustix::fs::OFlags;
use vfio_core::sys::ExchangeRequest;
use vfio_core::wire::abi::IommuType1DmaMap;
use zerocopy::IntoBytes as _;

fn c_path(path: &std::path::Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

/// Returns a file that refuses all requests, as if it were of a kind.
fn null(kind: Kind) -> Fd {
    let null = File::options().read(true).write(true).open("/dev/null");
    Fd::as_if(null.unwrap(), kind)
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
}

/// Returns how many descriptors of the process are open on what has the path `path`.
///
/// Other tests open files meanwhile, so that a number may be taken again at once: look for
/// the file, not for the number.
fn open_files(path: &std::path::Path) -> usize {
    std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .filter(|target| target == path)
        .count()
}

#[test]
fn a_file_that_is_not_vfios_is_closed_and_refused() {
    let directory = tempfile::tempdir().unwrap();
    let ordinary = directory.path().join("ordinary");
    std::fs::write(&ordinary, b"vfio").unwrap();
    let fifo = directory.path().join("fifo");
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, mode).unwrap();
    for path in [&ordinary, &fifo] {
        assert_eq!(Linux.open(&c_path(path)).err(), Some(Errno::ENODEV));
        assert_eq!(open_files(path), 0, "{path:?}");
    }
    let memory = rustix::fs::memfd_create("vfio", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let memory = std::format!("/proc/self/fd/{}", memory.as_raw_fd());
    let devices = ["/dev/null", "/dev/zero", "/dev/full", &memory];
    for path in devices {
        let path = CString::new(path).unwrap();
        assert_eq!(Linux.open(&path).err(), Some(Errno::ENODEV), "{path:?}");
    }
}

#[test]
fn a_descriptor_is_taken_only_from_what_opens_files() {
    for kind in [Kind::Container, Kind::Group, Kind::Opened] {
        let mut id = 7;
        let asked = Linux.exchange_open(&null(kind), Exchange::gfx_dmabuf(&mut id));
        assert_eq!(asked.err(), Some(Errno::ENOTTY));
    }
    for kind in [Kind::Container, Kind::Device, Kind::Opened] {
        let asked = Linux.ioctl_name(&null(kind), NameRequest::GetDeviceFd, c"0000:00:05.0");
        assert_eq!(asked.err(), Some(Errno::ENOTTY));
    }
}

#[test]
fn memory_that_is_not_the_shims_is_not_mapped() {
    let null = null(Kind::Container);
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
    let null = null(Kind::Group);
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
    let null = null(Kind::Device);
    for len in 0..4 {
        let mut reply = std::vec![0; len];
        let answer = Linux.ioctl_info(&null, InfoRequest::Device, &mut reply);
        assert_eq!(answer, Err(Errno::EINVAL));
    }
}

#[test]
fn only_a_request_that_opens_a_file_is_asked_for_one() {
    let null = null(Kind::Device);
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
    let event = Fd::as_if(Linux.event().unwrap(), Kind::Opened);
    assert_eq!(Linux.write(&event, &7_u64.to_ne_bytes()), Ok(8));
    let mut count = [0; 8];
    assert_eq!(Linux.read(&event, &mut count), Ok(8));
    assert_eq!(u64::from_ne_bytes(count), 7);
    assert_eq!(Linux.read(&event, &mut count), Err(Errno::EAGAIN));
}

#[test]
fn bytes_are_read_and_written_at_their_offset() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let fd = Fd::as_if(file.reopen().unwrap(), Kind::Device);
    assert_eq!(Linux.pwrite(&fd, b"vfio", 6), Ok(4));
    let mut buf = [0xa5; 8];
    assert_eq!(Linux.pread(&fd, &mut buf, 5), Ok(5));
    assert_eq!(&buf, b"\0vfio\xa5\xa5\xa5");
    assert_eq!(Linux.pread(&fd, &mut buf, u64::MAX), Err(Errno::EINVAL));
}

#[test]
fn a_dropped_file_is_closed() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let before = open_files(file.path());
    let fd = Fd::as_if(file.reopen().unwrap(), Kind::Device);
    assert!(fd.as_raw_fd() >= 0);
    assert_eq!(open_files(file.path()), before + 1);
    drop(fd);
    assert_eq!(open_files(file.path()), before);
}

/// Returns events, and references to all of them.
fn events(count: usize) -> Vec<OwnedFd> {
    (0..count).map(|_| Linux.event().unwrap()).collect()
}

#[test]
fn any_of_several_events_ends_a_wait() {
    let soon = Duration::from_millis(5);
    let events = events(EVENTS_MOST);
    let all: Vec<_> = events.iter().collect();
    for count in [0, 1, 2, EVENTS_MOST] {
        assert_eq!(Linux.events_wait(&all[..count], soon), Ok(false), "{count}");
    }
    for (n, event) in events.iter().enumerate() {
        Linux.event_signal(event).unwrap();
        assert_eq!(Linux.events_wait(&all, Duration::MAX), Ok(true), "{n}");
        assert_eq!(Linux.events_wait(&all[n..=n], Duration::MAX), Ok(true));
        // What is in it stays there.
        assert_eq!(Linux.event_take(event), Ok(1), "{n}");
    }
    assert_eq!(Linux.events_wait(&all, Duration::ZERO), Ok(false));
}

#[test]
fn no_more_events_are_waited_for_than_there_is_room_for() {
    let events = events(EVENTS_MOST + 1);
    let all: Vec<_> = events.iter().collect();
    let refused = Linux.events_wait(&all, Duration::ZERO);
    assert_eq!(refused, Err(Errno::EINVAL));
}

#[test]
fn another_thread_ends_a_wait() {
    let events = events(2);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let all: Vec<_> = events.iter().collect();
            Linux.events_wait(&all, Duration::MAX)
        });
        Linux.event_signal(&events[1]).unwrap();
        assert_eq!(waits.join().unwrap(), Ok(true));
    });
}

#[test]
fn an_event_that_can_count_no_further_is_signalled() {
    let event = Linux.event().unwrap();
    rustix::io::write(&event, &(u64::MAX - 1).to_ne_bytes()).unwrap();
    assert_eq!(Linux.event_signal(&event), Ok(()));
    assert_eq!(Linux.event_take(&event), Ok(u64::MAX - 1));
}

#[test]
fn requests_name_their_files_and_events_by_numbers() {
    let group = null(Kind::Group);
    let (files, mut buffer) = ([&group], [0; 16]);
    let mut parts = Exchange::<_, OwnedFd>::hot_reset(&mut buffer, &files)
        .unwrap()
        .into_parts();
    parts.name(Fd::as_raw_fd, OwnedFd::as_raw_fd);
    assert_eq!(parts.argument[12..], group.as_raw_fd().to_ne_bytes());
    // And the kernel is asked.
    let device = null(Kind::Device);
    let exchange = Exchange::hot_reset(&mut buffer, &files).unwrap();
    assert_eq!(Linux.exchange(&device, exchange), Err(Errno::ENOTTY));
    assert_eq!(buffer[12..], group.as_raw_fd().to_ne_bytes());
}

#[test]
fn a_container_gets_no_requests_of_a_device() {
    let send = |kind, request, argument: &mut [u8]| {
        // The kernel answers each request on a mere path with EBADF.
        let path = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::PATH.bits().cast_signed())
            .open("/dev/null");
        let exchange = Exchange::new(request, argument)?;
        Linux.exchange(&Fd::as_if(path.unwrap(), kind), exchange)
    };
    let attach = |kind| send(kind, ExchangeRequest::AttachIommufdPt, &mut [0; 16]);
    assert_eq!(attach(Kind::Container), Err(Errno::ENOTTY));
    assert_eq!(attach(Kind::Device), Err(Errno::EBADF));
    let destroy = send(Kind::Container, ExchangeRequest::Destroy, &mut [0; 8]);
    assert_eq!(destroy, Err(Errno::EBADF));
}
