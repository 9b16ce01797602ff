//! Is a device in use that `vfio bind` is to take? The kernel is asked, whoever uses it and however.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use vfio_guest::Device;

use super::command::good;
use super::nvme::disk;
use super::registers::refused;
use crate::mode::Mode;
use crate::report::NotRun;
use crate::world::{World, driver};
use crate::{bind, child};

/// The part that is a process in a mount namespace.
pub(crate) const STAY: &str = "stay";

/// Where a file system is mounted.
const MOUNT_POINT: &str = "/run/used";

/// What `vfio bind` says of a disk in use about which nothing else is known.
const KERNEL_SAYS: &str = "is in use, as the kernel says";

/// Stays for ever.
pub(crate) fn stay() -> ! {
    println!("here");
    loop {
        thread::park();
    }
}

/// Checks that a disk that a process has open for itself alone is not taken, whether or not the process
/// can be seen.
pub(crate) fn open(_: &World, device: &Device) -> Result<String> {
    let bind = ["bind", device.address()];
    let seen = on_own_driver(device, || {
        let file = exclusively(&disk(device)?)?;
        let named = refused(&bind, "is open in process 1 ")?;
        elsewhere(|| {
            mount("tmpfs", "/proc", "tmpfs", MountFlags::empty(), None)?;
            refused(&bind, KERNEL_SAYS)
        })?;
        drop(file);
        // The refusal disturbed nobody.
        drop(exclusively(&disk(device)?)?);
        Ok(named)
    })?;
    good(&bind)?;
    Ok(seen)
}

/// Checks that a disk is not taken while a file system on it is mounted, in another mount namespace or in
/// none.
pub(crate) fn mounted(_: &World, device: &Device) -> Result<String> {
    let known = fs::read_to_string("/proc/filesystems")?;
    if !known.lines().any(|line| line.trim() == "ext4") {
        return Err(NotRun("this kernel has no file system for disks".into()).into());
    }
    let bind = ["bind", device.address()];
    fs::create_dir_all(MOUNT_POINT)?;
    let seen = on_own_driver(device, || {
        let disk = disk(device)?;
        fs::write(&disk, file_system()).context("cannot make a file system")?;
        let mount = || {
            mount(&disk, MOUNT_POINT, "ext4", MountFlags::RDONLY, None)
                .with_context(|| format!("cannot mount {}", disk.display()))
        };
        mount()?;
        refused(&bind, "is mounted on /run/used.")?;
        // What has a file in it open keeps a file system that is mounted nowhere any more.
        let file = File::open(MOUNT_POINT)?;
        unmount(MOUNT_POINT, UnmountFlags::DETACH)?;
        refused(&bind, KERNEL_SAYS)?;
        drop(file);
        let mut child = elsewhere(|| {
            mount()?;
            stayed(device)
        })?;
        let named = refused(&bind, "in another mount namespace, that of process ");
        child.kill()?;
        child.wait()?;
        let named = named?;
        // It is empty again.
        settled(&disk)?;
        fs::write(&disk, [0; FILE_SYSTEM])?;
        Ok(named)
    })?;
    good(&bind)?;
    Ok(seen)
}

/// Checks that a partition of a disk that may have several paths counts as the device's: swapped
/// to, and open.
pub(crate) fn partition(_: &World, device: &Device) -> Result<String> {
    let bind = ["bind", device.address()];
    let seen = on_own_driver(device, || {
        let disk = disk_of("shared")?;
        fs::write(&disk, partition_table())?;
        let partition = format!("{disk}p1");
        read_partitions(&disk, &partition)?;
        let name = partition.trim_start_matches("/dev/");
        let file = exclusively(Path::new(&partition))?;
        refused(&bind, &format!("/dev/{name} is open in process 1 "))?;
        let said = elsewhere(|| {
            mount("tmpfs", "/proc", "tmpfs", MountFlags::empty(), None)?;
            refused(&bind, &format!("{name} {KERNEL_SAYS}"))
        })?;
        drop(file);
        let is_path = fs::read_dir("/sys/class/block")?
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().contains('c'));
        let swapped = swapped(&partition, || {
            refused(&bind, &format!("the system swaps to {name}"))
        });
        fs::write(&disk, [0; 512])?;
        let paths = if is_path {
            "with a path"
        } else {
            "without paths"
        };
        match swapped? {
            Some(said) => Ok(format!("{paths}: {said}")),
            None => Ok(format!("{paths}, no swap: {said}")),
        }
    })?;
    good(&bind)?;
    Ok(seen)
}

/// Gives the device to the kernel's nvme driver, and runs what must leave it there.
fn on_own_driver(device: &Device, run: impl FnOnce() -> Result<String>) -> Result<String> {
    bind::rebind(device, "nvme")?;
    let seen = run().and_then(|seen| {
        ensure!(driver(device)? == "nvme", "it was taken all the same");
        Ok(seen)
    });
    if seen.is_err() {
        // The checks that follow need it.
        bind::bind(device)?;
    }
    seen
}

/// Opens a block device for this process alone.
fn exclusively(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_EXCL)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))
}

/// Runs something in a mount namespace of its own, from which processes that it starts are.
fn elsewhere<T: Send>(run: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let run = || {
        unshare(CloneFlags::CLONE_NEWNS)?;
        run()
    };
    thread::scope(|scope| scope.spawn(run).join()).unwrap_or_else(|_| Err(anyhow!("it panicked")))
}

/// Starts a process that stays in the namespace of this thread.
fn stayed(device: &Device) -> Result<Child> {
    let mut child = child::start(STAY, device, Mode::Type1v2)?;
    ensure!(child::has_begun(&mut child)?, "the process does not stay");
    Ok(child)
}

/// Waits until a disk that was in use in a namespace is not any more: the kernel takes its time to end that.
fn settled(disk: &Path) -> Result<()> {
    within_ten_seconds(|| exclusively(disk).map(drop))
}

/// Checks that the disk of the NVMe controller or subsystem with this serial number, once it is
/// there.
fn disk_of(serial: &str) -> Result<String> {
    let mut found = None;
    within_ten_seconds(|| {
        let mut disks = fs::read_dir("/sys/block")?.flatten();
        let disk = disks.find(|disk| {
            let text = fs::read_to_string(disk.path().join("device/serial"));
            disk.path().join("dev").exists() && text.is_ok_and(|text| text.trim() == serial)
        });
        let disk = disk.context("there is no such disk")?;
        let disk = format!("/dev/{}", disk.file_name().to_string_lossy());
        let len = File::open(&disk)?.seek(SeekFrom::End(0))?;
        ensure!(len > 0, "{disk} is empty");
        found = Some(disk);
        Ok(())
    })?;
    found.context("there is no such disk")
}

/// Has the kernel read the partition table anew.
fn read_partitions(disk: &str, partition: &str) -> Result<()> {
    /// `BLKRRPART` of linux/fs.h.
    const REREAD: u64 = 0x125f;
    let file = File::open(disk)?;
    // SAFETY: the request takes no argument.
    let done = unsafe { libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(&file), REREAD, 0) };
    nix::errno::Errno::result(done).context("BLKRRPART")?;
    within_ten_seconds(|| Ok(File::open(partition).map(drop)?))
}

/// Runs something while the system swaps to `partition`; `None` where this kernel can't swap.
fn swapped(partition: &str, run: impl FnOnce() -> Result<String>) -> Result<Option<String>> {
    let mut file = OpenOptions::new().write(true).open(partition)?;
    let pages = PARTITION_BLOCKS * 512 / PAGE;
    // union swap_header of linux/swap.h: version and last page, behind the room for a boot sector.
    file.seek(SeekFrom::Start(1024))?;
    file.write_all(&1_u32.to_le_bytes())?;
    file.write_all(&(pages - 1).to_le_bytes())?;
    file.seek(SeekFrom::Start(u64::from(PAGE) - 10))?;
    file.write_all(b"SWAPSPACE2")?;
    file.sync_all()?;
    drop(file);
    let path = std::ffi::CString::new(partition)?;
    // SAFETY: the path ends with NUL, and outlives the call.
    let on = unsafe { libc::swapon(path.as_ptr(), 0) };
    match nix::errno::Errno::result(on) {
        Err(nix::errno::Errno::ENOSYS) => return Ok(None),
        other => other.context("swapon")?,
    };
    let seen = run();
    // SAFETY: as above.
    let off = unsafe { libc::swapoff(path.as_ptr()) };
    nix::errno::Errno::result(off).context("swapoff")?;
    seen.map(Some)
}

/// Tries until it works, for ten seconds.
fn within_ten_seconds(mut attempt: impl FnMut() -> Result<()>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match attempt() {
            Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(20)),
            done => return done,
        }
    }
}

/// The size of a page.
const PAGE: u32 = 4096;
/// The first block of the partition, and how many there are: 1 MiB from 1 MiB on.
const PARTITION_START: u32 = 2048;
const PARTITION_BLOCKS: u32 = 2048;

/// Returns a partition table of the MBR kind with one partition.
fn partition_table() -> [u8; 512] {
    let mut table = [0; 512];
    let mut entry = [0; 16];
    // Linux.
    entry[4] = 0x83;
    entry[8..12].copy_from_slice(&PARTITION_START.to_le_bytes());
    entry[12..16].copy_from_slice(&PARTITION_BLOCKS.to_le_bytes());
    table[446..462].copy_from_slice(&entry);
    table[510..].copy_from_slice(&[0x55, 0xaa]);
    table
}

/// The bytes of the smallest file system.
const FILE_SYSTEM: usize = 64 << 10;

/// Builds an ext2 file system of revision 0, with blocks of 1024 bytes and nothing in it (`fs/ext2/ext2.h`). The
/// superblock is block 1, and then there are the group's descriptor, its bitmaps, 16 inodes in two blocks, and the root
/// directory.
fn file_system() -> Vec<u8> {
    let mut image = vec![0; FILE_SYSTEM];
    let mut words = |at: usize, words: &[u32]| {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        image[at..at + bytes.len()].copy_from_slice(&bytes);
    };
    // Inodes, blocks, those reserved, those free, free inodes, the first block, sizes, what a group has.
    words(
        0x400,
        &[16, 64, 0, 56, 5, 1, 0, 0, 8192, 8192, 16, 0, 0, 0xffff_0000],
    );
    // The magic number, and that it is clean.
    words(0x438, &[0x0001_ef53, 1]);
    // The bitmaps, the inodes, what is free, and one directory.
    words(0x800, &[3, 4, 5, 5 << 16 | 56, 1]);
    // Bits past the end are set: blocks 1 to 7 are taken, and inodes 1 to 11.
    words(0xc00, &[0x7f, 0x8000_0000]);
    words(0x1000, &[0xffff_07ff]);
    // Inode 2 is a directory of one block, with two links.
    words(0x1480, &[0x41ed, 1024, 0, 0, 0, 0, 2 << 16, 2, 0, 0, 7]);
    // Its entries are itself, "." and "..".
    words(0x1c00, &[2, 1 << 16 | 12, 0x2e]);
    words(0x1c0c, &[2, 2 << 16 | 1012, 0x2e2e]);
    image
}
