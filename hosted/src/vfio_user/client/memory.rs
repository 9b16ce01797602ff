//! Memory that a device in another process reaches.
#![expect(unsafe_code, reason = "the traits are unsafe to implement")]

use core::convert::Infallible;
use core::ptr::NonNull;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use vfio_core::mmio::{Addressable, Forward, Unrestricted};
use vfio_core::sys::{Errno, Span};

use crate::linux;
use crate::vfio_user::memory_file::sealed;

/// Memory for a device in another process: a file of its own, which that process is given, or memory of
/// the caller's, which it has to ask for.
#[derive(Debug)]
pub struct Memory(Shared);

/// The memory itself, which stays for as long as it is mapped for a device.
pub(super) type Shared = Arc<Bytes>;

#[derive(Debug)]
pub(super) struct Bytes {
    pub(super) memory: linux::Memory,
    /// What another process can have of it.
    pub(super) file: Option<OwnedFd>,
}

impl Memory {
    /// Makes zeroed memory of whole pages, in a file that stays as long as it is.
    pub(super) fn new(len: usize) -> Result<Self, Errno> {
        let page = rustix::param::page_size();
        let len = len.checked_next_multiple_of(page).filter(|len| *len > 0);
        let len = len.ok_or(Errno::EINVAL)?;
        let file = sealed(len)?;
        let memory = linux::Memory::of_file(&file, Span { offset: 0, len })?;
        let file = Some(file);
        Ok(Self(Arc::new(Bytes { memory, file })))
    }

    /// Takes memory of the caller's.
    pub(super) fn foreign(memory: linux::Memory) -> Self {
        Self(Arc::new(Bytes { memory, file: None }))
    }

    pub(super) fn shared(&self) -> Shared {
        Arc::clone(&self.0)
    }
}

// SAFETY: what reaches the memory is never changed for another.
unsafe impl Forward for Memory {
    type Target = linux::Memory;
    type Error = Infallible;

    #[inline]
    fn target(&self) -> &linux::Memory {
        &self.0.memory
    }
}

// SAFETY: every access is one of memory of which that holds.
unsafe impl Unrestricted for Memory {}

// SAFETY: the address is that of the memory, which stays until the value is dropped.
unsafe impl Addressable for Memory {
    fn as_ptr(&self) -> NonNull<u8> {
        self.0.memory.as_ptr()
    }
}
