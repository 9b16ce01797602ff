//! Memory in a file that two processes have.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, fstatfs, ftruncate,
    memfd_create,
};
use vfio_core::sys::{Errno, Span};

use crate::linux::{Memory, errno};

/// File systems (linux/magic.h) whose files no other process can make wait: not FUSE and the network's.
const PLAIN: [u64; 6] = [
    TMPFS,
    0xef53,      // ext2 to ext4
    0x5846_5342, // XFS
    0x9123_683e, // Btrfs
    0x794c_7630, // overlayfs
    0x8584_58f6, // ramfs
];

/// tmpfs, and with it memfd.
const TMPFS: u64 = 0x0102_1994;

/// hugetlbfs, and with it memfd of huge pages: they can't be written as a file is, and a page that was taken out of the
/// file may be missing when it is reached, whatever the seals say.
const HUGETLBFS: u64 = 0x9584_58f6;

/// How memory behind a descriptor of somebody else's may be reached.
pub(super) enum Reach {
    /// It stays as long as it is: it can be mapped.
    Mapped(Memory),
    /// It can be cut short at any time: it is read and written.
    File(OwnedFd),
    /// Only its owner reaches it without harm.
    Owner,
}

/// Makes a file of `len` zeroed bytes that stays as long as it is.
pub(super) fn sealed(len: usize) -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = memfd_create("vfio-user", flags).map_err(errno)?;
    let len = u64::try_from(len).map_err(|_| Errno::ENOMEM)?;
    ftruncate(&file, len).map_err(errno)?;
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    fcntl_add_seals(&file, seals).map_err(errno)?;
    Ok(file)
}

/// Takes `len` bytes at `offset` of a file that somebody else has.
///
/// # Errors
/// `EINVAL` for a file that is no ordinary one, could make who reads it wait, or is too short.
pub(super) fn reach(file: OwnedFd, offset: u64, len: u64) -> Result<Reach, Errno> {
    let about = fstat(&file).map_err(errno)?;
    let kind = rustix::fs::FileType::from_raw_mode(about.st_mode);
    let system = system(&file)?;
    if system == HUGETLBFS {
        return Ok(Reach::Owner);
    }
    let is_plain = PLAIN.contains(&system);
    let end = offset.checked_add(len).ok_or(Errno::EINVAL)?;
    let size = u64::try_from(about.st_size).unwrap_or(0);
    // What lies past the largest offset can be neither read nor written.
    if kind != rustix::fs::FileType::RegularFile || !is_plain || end > size {
        return Err(Errno::EINVAL);
    }
    if !is_sealed(&file) {
        return Ok(Reach::File(file));
    }
    let len = usize::try_from(len).map_err(|_| Errno::EINVAL)?;
    match Memory::of_file(&file, Span { offset, len }) {
        Ok(memory) => Ok(Reach::Mapped(memory)),
        // At no page boundary, or not open for both.
        Err(_) => Ok(Reach::File(file)),
    }
}

/// Tells whether a file can't be cut short.
pub(super) fn is_sealed(file: &impl AsFd) -> bool {
    system(file) == Ok(TMPFS)
        && fcntl_get_seals(file).is_ok_and(|seals| seals.contains(SealFlags::SHRINK))
}

/// Returns the kind of file system that a file is in.
fn system(file: &impl AsFd) -> Result<u64, Errno> {
    let system = fstatfs(file).map_err(errno)?.f_type;
    u64::try_from(system).map_err(|_| Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_not_be_cut_short_is_mapped() {
        let file = sealed(8192).unwrap();
        assert!(ftruncate(&file, 4096).is_err());
        let again = |offset, len| reach(file.try_clone().unwrap(), offset, len);
        assert!(matches!(again(4096, 4096), Ok(Reach::Mapped(_))));
        assert!(matches!(again(8, 8), Ok(Reach::File(_))));
        for (offset, len) in [(4096, 4097), (8192, 1), (u64::MAX, 1), (0, u64::MAX)] {
            assert_eq!(again(offset, len).err(), Some(Errno::EINVAL));
        }
        let open = memfd_create("open", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&open, 4096).unwrap();
        assert!(matches!(reach(open, 0, 4096), Ok(Reach::File(_))));
    }

    #[test]
    fn what_is_no_plain_file_is_refused() {
        let null = std::fs::File::open("/dev/zero").unwrap();
        assert_eq!(reach(null.into(), 0, 0).err(), Some(Errno::EINVAL));
        let proc = std::fs::File::open("/proc/self/maps").unwrap();
        assert_eq!(reach(proc.into(), 0, 0).err(), Some(Errno::EINVAL));
        let (read, _write) = rustix::pipe::pipe().unwrap();
        assert_eq!(reach(read, 0, 0).err(), Some(Errno::EINVAL));
    }
}
