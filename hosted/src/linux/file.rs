//! Open files, and whose they are.
//!
//! What an ioctl does is the affair of the file's driver. A driver that is not VFIO's may answer
//! with any number, which would then be closed as a descriptor, and one that a program serves
//! (CUSE, with `CUSE_UNRESTRICTED_IOCTL`) may even have the kernel write anywhere in the caller's
//! memory. So only VFIO's and iommufd's own files are opened: character devices by whose number
//! sysfs finds one of theirs. The number is that of the driver which has the file, whatever the
//! path was by which it was opened.
//!
//! What `/sys/dev/char/MAJOR:MINOR` links to, as seen on Linux 7.3, and for a group on 6.1 as well:
//!
//! | file | link, from `../../devices/` on |
//! |---|---|
//! | `/dev/vfio/vfio` | `virtual/misc/vfio`; known by its number, 10:196 |
//! | `/dev/iommu` | `virtual/misc/iommu` |
//! | `/dev/vfio/5` | `virtual/vfio/5` |
//! | `/dev/vfio/noiommu-0` | `virtual/vfio/noiommu-0` |
//! | `/dev/vfio/devices/vfio0` | `pci0000:00/0000:00:05.0/vfio-dev/vfio0` |
//! | `/dev/vfio/devices/noiommu-vfio0` | `pci0000:00/0000:00:05.0/vfio-dev/noiommu-vfio0` |
//!
//! A device that CUSE serves is in `virtual/cuse`, by whatever name. sysfs is taken to be what
//! is mounted on `/sys`: who may mount something else there may also write to `/proc/self/mem`.

use core::ffi::CStr;
use core::mem::MaybeUninit;

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::fs::{CWD, FileType, fstat, major, minor, readlinkat_raw};
use vfio_core::sys::{Errno, NoIommu};

use super::errno;

/// An open file of VFIO's or iommufd's; closed on drop.
///
/// One that another process has opened and passed on is taken where it is one of these:
///
/// ```
/// use std::fs::File;
/// use std::os::fd::OwnedFd;
/// use vfio_core::sys::{Errno, NoIommu};
/// use vfio_hosted::linux::Fd;
///
/// let null: OwnedFd = File::open("/dev/null")?.into();
/// assert_eq!(Fd::try_from(null).err(), Some(Errno::ENODEV));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Fd {
    fd: OwnedFd,
    kind: Kind,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `/dev/vfio/vfio` or `/dev/iommu`.
    Container,
    /// `/dev/vfio/GROUP`.
    Group,
    /// `/dev/vfio/devices/vfioN`, or what a group has opened.
    Device,
    /// What a device has opened: the data of a migration, or a dma-buf.
    Opened,
    /// One for which whoever made it vouches.
    Vouched,
}

/// The number of `/dev/vfio/vfio`: of a `misc` device, `VFIO_MINOR` (linux/miscdevice.h), whether
/// it is vfio's or iommufd's.
const CONTAINER: (u32, u32) = (10, 196);

/// Bytes of the longest path of a link, its NUL among them: both numbers have at most ten digits.
const PATH: usize = b"/sys/dev/char/4294967295:4294967295\0".len();

/// Bytes of the longest link: `PATH_MAX` (linux/limits.h), which sysfs keeps to.
const LINK: usize = 4096;

impl Fd {
    /// Takes a file for one of VFIO's.
    ///
    /// # Safety
    /// It is one, or refuses the requests of VFIO and iommufd, as an ordinary file does. It is no
    /// container on powerpc, whose sPAPR IOMMU takes requests of devices for others, with longer
    /// structures.
    #[must_use]
    pub const unsafe fn new_unchecked(fd: OwnedFd) -> Self {
        Self {
            fd,
            kind: Kind::Vouched,
        }
    }

    /// Takes a file that is VFIO's or iommufd's, without an IOMMU only with the word for it.
    pub(super) fn checked(fd: OwnedFd, noiommu: Option<NoIommu>) -> Result<Self, Errno> {
        let (kind, is_noiommu) = kind(&fd)?;
        if is_noiommu && noiommu.is_none() {
            return Err(Errno::EPERM);
        }
        Ok(Self { fd, kind })
    }

    /// Takes what a request on a checked file has opened.
    ///
    /// # Safety
    /// The number is that of an open file, which nobody else owns.
    pub(super) unsafe fn opened(number: RawFd, kind: Kind) -> Self {
        // SAFETY: the caller's promise is passed on.
        let fd = unsafe { OwnedFd::from_raw_fd(number) };
        Self { fd, kind }
    }

    /// Tells whether the file takes the requests of a device, or refuses them as such. A container
    /// takes some of their numbers for its own, and with powerpc's sPAPR IOMMU reads more of them
    /// than a device does: 40 bytes for `VFIO_IOMMU_SPAPR_TCE_CREATE`, which is
    /// `VFIO_DEVICE_ATTACH_IOMMUFD_PT` (linux/vfio.h).
    pub(super) const fn may_be_device(&self) -> bool {
        !matches!(self.kind, Kind::Container)
    }

    /// Tells whether the file is a group, whose answers are descriptors of devices.
    pub(super) const fn opens_devices(&self) -> bool {
        match self.kind {
            Kind::Group | Kind::Vouched => true,
            Kind::Container | Kind::Device | Kind::Opened => false,
        }
    }

    /// Tells whether the file is a device, whose answers are descriptors of what belongs to it.
    pub(super) const fn opens_files(&self) -> bool {
        match self.kind {
            Kind::Device | Kind::Vouched => true,
            Kind::Container | Kind::Group | Kind::Opened => false,
        }
    }
}

impl TryFrom<OwnedFd> for Fd {
    type Error = Errno;

    /// Takes a file that is VFIO's or iommufd's; `ENODEV` for another one, and where `/sys` is
    /// not mounted, `EPERM` for one without an IOMMU. Another one is closed.
    fn try_from(fd: OwnedFd) -> Result<Self, Errno> {
        Self::checked(fd, None)
    }
}

impl AsFd for Fd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Returns the kind of a file, and whether no IOMMU confines it.
///
/// # Errors
/// `ENODEV` where it is not VFIO's.
fn kind(fd: &OwnedFd) -> Result<(Kind, bool), Errno> {
    let stat = fstat(fd).map_err(errno)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice {
        return Err(Errno::ENODEV);
    }
    let number = (major(stat.st_rdev), minor(stat.st_rdev));
    if number == CONTAINER {
        return Ok((Kind::Container, false));
    }
    let path = LinkPath::new(number);
    let path = path.as_ref().and_then(LinkPath::as_c_str);
    let mut link = [const { MaybeUninit::<u8>::uninit() }; LINK];
    let read = readlinkat_raw(CWD, path.ok_or(Errno::ENODEV)?, &mut link[..]);
    let (link, _) = read.map_err(|_| Errno::ENODEV)?;
    kind_of(link).ok_or(Errno::ENODEV)
}

/// Returns the kind of a file by its link in sysfs, and whether no IOMMU confines it. The name
/// tells, which `vfio_group_create` and `vfio_init_device` of Linux give.
fn kind_of(link: &[u8]) -> Option<(Kind, bool)> {
    let device = link.strip_prefix(b"../../devices/")?;
    if matches!(device, b"virtual/misc/vfio" | b"virtual/misc/iommu") {
        return Some((Kind::Container, false));
    }
    let mut names = device.rsplitn(3, |byte| *byte == b'/');
    let (name, class, parent) = (names.next()?, names.next()?, names.next()?);
    let is_noiommu = name.starts_with(b"noiommu-");
    match class {
        b"vfio" if parent == b"virtual" => Some((Kind::Group, is_noiommu)),
        b"vfio-dev" => Some((Kind::Device, is_noiommu)),
        _ => None,
    }
}

/// The path of a device's link, made without formatting: a program without `core::fmt` stays
/// small.
struct LinkPath {
    bytes: [u8; PATH],
    /// Where it starts: it ends with the buffer.
    start: usize,
}

impl LinkPath {
    /// Names `/sys/dev/char/MAJOR:MINOR`. There is always room.
    fn new((major, minor): (u32, u32)) -> Option<Self> {
        let mut bytes = [0; PATH];
        let mut places = bytes.iter_mut().rev();
        // The NUL.
        places.next()?;
        for (number, before) in [(minor, &b":"[..]), (major, b"/sys/dev/char/")] {
            let mut rest = number;
            loop {
                let digit = u8::try_from(rest % 10).ok()?;
                *places.next()? = digit.checked_add(b'0')?;
                rest /= 10;
                if rest == 0 {
                    break;
                }
            }
            for byte in before.iter().rev() {
                *places.next()? = *byte;
            }
        }
        let start = places.len();
        Some(Self { bytes, start })
    }

    fn as_c_str(&self) -> Option<&CStr> {
        CStr::from_bytes_until_nul(self.bytes.get(self.start..)?).ok()
    }
}

#[cfg(all(test, feature = "std"))]
impl Fd {
    /// Creates a file as if it were of a kind, to see what it is asked.
    pub(super) fn as_if(fd: impl Into<OwnedFd>, kind: Kind) -> Self {
        let fd = fd.into();
        Self { fd, kind }
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn a_file_is_known_by_its_link() {
        for (link, kind) in [
            ("../../devices/virtual/misc/vfio", Some(Kind::Container)),
            ("../../devices/virtual/misc/iommu", Some(Kind::Container)),
            ("../../devices/virtual/vfio/26", Some(Kind::Group)),
            ("../../devices/virtual/vfio/noiommu-0", Some(Kind::Group)),
            (
                "../../devices/pci0000:00/0000:00:05.0/vfio-dev/vfio0",
                Some(Kind::Device),
            ),
            (
                "../../devices/pci0000:00/0000:00:05.0/vfio-dev/noiommu-vfio0",
                Some(Kind::Device),
            ),
            (
                "../../devices/virtual/mtty/mtty/83b8f4f2-509f-382f-3c1e-e6bfe0fa1001/vfio-dev/vfio1",
                Some(Kind::Device),
            ),
            (
                "../../devices/pci0000:00/0000:00:05.0/vfio-dev/noiommu-vfio0",
                Some(Kind::Device),
            ),
            ("../../devices/virtual/mem/null", None),
            ("../../devices/virtual/misc/fuse", None),
            ("../../devices/virtual/misc/vfio-pci", None),
            // Whoever serves a device by CUSE chooses its name.
            ("../../devices/virtual/cuse/vfio", None),
            ("../../devices/virtual/cuse/vfio0", None),
            ("../../devices/virtual/vfio", None),
            ("../../devices/vfio-dev/vfio0", None),
            ("../../block/vfio-dev/vfio0", None),
            ("/devices/virtual/vfio/26", None),
            ("", None),
        ] {
            let is_noiommu = link.contains("noiommu-");
            let kind = kind.map(|kind| (kind, is_noiommu));
            assert_eq!(kind_of(link.as_bytes()), kind, "{link}");
        }
    }

    #[test]
    fn the_path_of_a_link_has_both_numbers() {
        for (number, path) in [
            ((0, 0), c"/sys/dev/char/0:0"),
            ((511, 10), c"/sys/dev/char/511:10"),
            ((u32::MAX, u32::MAX), c"/sys/dev/char/4294967295:4294967295"),
        ] {
            assert_eq!(LinkPath::new(number).unwrap().as_c_str(), Some(path));
        }
    }

    #[test]
    fn sysfs_links_as_expected() {
        // What every machine has.
        let null = std::fs::read_link("/sys/dev/char/1:3").unwrap();
        assert_eq!(null.to_str(), Some("../../devices/virtual/mem/null"));
    }

    #[test]
    fn what_is_passed_on_is_looked_at() {
        let null = File::open("/dev/null").unwrap();
        assert_eq!(kind(&null.into()), Err(Errno::ENODEV));
        let (read, _write) = std::io::pipe().unwrap();
        assert_eq!(kind(&read.into()), Err(Errno::ENODEV));
    }
}
