//! Device nodes, and asking the kernel through them whether somebody has a device.

use core::str::FromStr;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, fstat, major, minor, open, stat};
use vfio_core::sys::Errno;

use super::System;
use super::sysfs;

/// The two kinds of device nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of a block device.
    Block,
    /// Of a character device.
    Char,
}

/// The major and the minor number of a device node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number {
    /// Which driver.
    pub(super) major: u32,
    /// Which of its devices.
    pub(super) minor: u32,
}

/// A device node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// Its name below `/dev`.
    pub(super) name: String,
    /// Where it is.
    pub(super) path: PathBuf,
    /// What it is a node of; `None` where only its name is known.
    pub(super) device: Option<(Kind, Number)>,
    /// The VFIO devices that are had through it, by their names in sysfs: a process that has one of them need not have
    /// the node open any more.
    pub(super) devices: Vec<String>,
}

impl Kind {
    /// Creates the kind of a file with this mode. `None` where it is no device node.
    const fn of(mode: u32) -> Option<Self> {
        match FileType::from_raw_mode(mode) {
            FileType::BlockDevice => Some(Self::Block),
            FileType::CharacterDevice => Some(Self::Char),
            _ => None,
        }
    }
}

impl Number {
    /// Creates the number as `stat` gives it.
    fn of(device: u64) -> Self {
        Self {
            major: major(device),
            minor: minor(device),
        }
    }
}

impl FromStr for Number {
    type Err = ();

    /// Parses `259:1`, as attributes called `dev` have it.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (major, minor) = text.split_once(':').ok_or(())?;
        let number = |text: &str| text.parse().map_err(|_| ());
        Ok(Self {
            major: number(major)?,
            minor: number(minor)?,
        })
    }
}

impl Node {
    /// Tells whether a file with this mode and device number is a node of the same device.
    pub(super) fn is_same(&self, mode: u32, number: u64) -> bool {
        let kind = Kind::of(mode);
        kind.is_some_and(|kind| self.device == Some((kind, Number::of(number))))
    }
}

impl System {
    /// Returns the node with this name below `/dev`, through which VFIO gives out `devices`. Its number is looked
    /// up there.
    pub(super) fn vfio_node(&self, name: String, devices: Vec<String>) -> Node {
        let path = self.dev.join(&name);
        let device = stat(&path).ok().and_then(|stat| {
            let kind = Kind::of(stat.st_mode)?;
            Some((kind, Number::of(stat.st_rdev)))
        });
        Node {
            name,
            path,
            device,
            devices,
        }
    }

    /// Returns the node of the device that `directory` describes. Its name, where the kernel tells no other, is
    /// `name`.
    pub(super) fn node(&self, kind: Kind, number: Number, directory: &Path, name: &str) -> Node {
        let uevent = sysfs::lines(&directory.join("uevent"));
        let told = uevent.iter().find_map(|line| line.strip_prefix("DEVNAME="));
        // A slash in a name is an exclamation mark in sysfs.
        let name = told.map_or_else(|| name.replace('!', "/"), str::to_owned);
        let node = Node {
            path: self.dev.join(&name),
            name,
            device: Some((kind, number)),
            devices: Vec::new(),
        };
        let is_there =
            |path: &Path| stat(path).is_ok_and(|stat| node.is_same(stat.st_mode, stat.st_rdev));
        if kind == Kind::Block && !is_there(&node.path) {
            // udev links to the nodes by number, whatever they are called.
            let linked = format!("block/{}:{}", number.major, number.minor);
            let path = self.dev.join(linked);
            if is_there(&path) {
                return Node { path, ..node };
            }
        }
        node
    }
}

/// What the kernel is asked about nodes. Both questions open a node for a moment and close it, which changes nothing:
/// nothing is read or written, no medium is moved, and udev looks only at what was open for writing. Meanwhile, the
/// same question of another process is answered with "in use".
pub(super) trait Ask {
    /// Tells whether a block device is claimed: mounted, swapped to, a member of an array, a volume or a file
    /// system, or open for one process alone. A disk is claimed while a partition of it is (`bd_may_claim` of
    /// `block/bdev.c`).
    ///
    /// # Errors
    /// Why that can't be told: [`Errno::ENOENT`] where there is no node of it.
    fn is_claimed(&self, node: &Node) -> Result<bool, Errno>;

    /// Tells whether a VFIO group, or a device in it, is open (`vfio_group_fops_open`).
    ///
    /// # Errors
    /// Why that can't be told.
    fn is_group_open(&self, node: &Node) -> Result<bool, Errno>;
}

/// The running kernel.
pub(super) struct Kernel;

impl Ask for Kernel {
    fn is_claimed(&self, node: &Node) -> Result<bool, Errno> {
        let is_it = |mode, number: u64| {
            if node.is_same(mode, number) {
                Ok(())
            } else {
                Err(Errno::ENOENT)
            }
        };
        // Whatever else is there under this name, a pipe say, is not even opened.
        let before = stat(&node.path).map_err(errno)?;
        is_it(before.st_mode, before.st_rdev)?;
        // Without waiting for a medium, and without pulling it in.
        let flags =
            OFlags::RDONLY | OFlags::EXCL | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        match open(&node.path, flags, Mode::empty()).map_err(errno) {
            Ok(file) => {
                let after = fstat(file).map_err(errno)?;
                is_it(after.st_mode, after.st_rdev)?;
                Ok(false)
            }
            Err(Errno::EBUSY) => Ok(true),
            // It is gone, or it is a drive without a medium (ENOMEDIUM): nobody uses that.
            Err(Errno::ENXIO | Errno::ENODEV | Errno(123)) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    fn is_group_open(&self, node: &Node) -> Result<bool, Errno> {
        let before = stat(&node.path).map_err(errno)?;
        if Kind::of(before.st_mode) != Some(Kind::Char) {
            return Err(Errno::ENOENT);
        }
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match open(&node.path, flags, Mode::empty()).map_err(errno) {
            Ok(_) => Ok(false),
            Err(Errno::EBUSY) => Ok(true),
            Err(errno) => Err(errno),
        }
    }
}

fn errno(errno: rustix::io::Errno) -> Errno {
    Errno(errno.raw_os_error())
}
