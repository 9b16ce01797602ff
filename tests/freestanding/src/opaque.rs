//! A kernel unknown to the compiler, and values that can be anything.

use core::convert::Infallible;
use core::ffi::CStr;
use core::hint::black_box;
use core::ptr::NonNull;
use core::time::Duration;

use vfio_core::mmio::{Access, Addressable, Unrestricted, Width};
use vfio_core::sys::{
    Errno, Exchange, FdRequest, GroupPath, InfoRequest, NameRequest, NoIommu, Pages, Protection,
    Span, Sys, ValueRequest,
};

/// A kernel unknown to the compiler: it may answer anything.
#[derive(Clone, Copy, Debug)]
pub struct Opaque;

/// An open file of [`Opaque`].
#[derive(Debug)]
pub struct OpaqueFd;

/// Memory of [`Opaque`], unknown to the compiler.
#[derive(Debug)]
pub struct OpaqueMemory;

/// An event of [`Opaque`].
#[derive(Debug)]
pub struct OpaqueEvent;

// SAFETY: no memory is touched.
unsafe impl Access for OpaqueMemory {
    type Error = Infallible;
    type Origin = usize;

    fn len(&self) -> usize {
        any()
    }

    fn protection(&self) -> Protection {
        Protection::BOTH
    }

    fn origin(&self, offset: usize) -> usize {
        offset
    }

    unsafe fn load<T: Width>(&self, origin: usize, offset: usize) -> Result<T, Infallible> {
        used((origin, offset));
        Ok(T::truncate(any()))
    }

    unsafe fn store<T: Width>(
        &self,
        origin: usize,
        offset: usize,
        value: T,
    ) -> Result<(), Infallible> {
        used((origin, offset, value));
        Ok(())
    }
}

// SAFETY: as above.
unsafe impl Unrestricted for OpaqueMemory {}

// SAFETY: where it is really computed, the length is zero.
unsafe impl Addressable for OpaqueMemory {
    fn as_ptr(&self) -> NonNull<u8> {
        black_box(NonNull::dangling())
    }
}

/// Returns a value unknown to the compiler but for its type.
///
/// It is zero where it is really computed, which these programs are not made for.
#[must_use]
pub fn any<T: Copy + Default>() -> T {
    black_box(T::default())
}

/// Keeps the compiler from leaving out what computes `value`.
pub fn used<T>(value: T) {
    let _ = black_box(value);
}

/// Returns any result.
fn outcome<T>(value: T) -> Result<T, Errno> {
    let errno: i32 = any();
    if errno == 0 {
        Ok(value)
    } else {
        Err(Errno(errno))
    }
}

/// Makes a request.
fn exchanged<F, E>(exchange: Exchange<'_, F, E>) -> Result<u32, Errno> {
    used(exchange.request());
    let mut parts = exchange.into_parts();
    parts.name(|_| any(), |_| any());
    // Whatever is behind the pointers may have changed.
    used(parts);
    outcome(any())
}

impl Sys for Opaque {
    type Fd = OpaqueFd;
    type Mapping = OpaqueMemory;
    type Memory = OpaqueMemory;
    type Event = OpaqueEvent;

    fn page_size(&self) -> usize {
        any()
    }

    fn open(&self, path: &CStr) -> Result<OpaqueFd, Errno> {
        used(path);
        outcome(OpaqueFd)
    }

    fn ioctl_info(&self, _: &OpaqueFd, asked: InfoRequest, reply: &mut [u8]) -> Result<(), Errno> {
        used(asked.number());
        // Whatever is behind the pointer may have changed.
        used(reply);
        outcome(())
    }

    fn ioctl_value(&self, _: &OpaqueFd, asked: ValueRequest, value: u32) -> Result<u32, Errno> {
        used((asked.number(), asked.argument(value)));
        outcome(any())
    }

    fn ioctl_fd(&self, _: &OpaqueFd, asked: FdRequest, _: &OpaqueFd) -> Result<(), Errno> {
        used(asked.number());
        outcome(())
    }

    fn ioctl_name(&self, _: &OpaqueFd, asked: NameRequest, name: &CStr) -> Result<OpaqueFd, Errno> {
        used((asked.number(), name));
        outcome(OpaqueFd)
    }

    fn pread(&self, _: &OpaqueFd, buf: &mut [u8], offset: u64) -> Result<usize, Errno> {
        used((buf, offset));
        outcome(any())
    }

    fn pwrite(&self, _: &OpaqueFd, buf: &[u8], offset: u64) -> Result<usize, Errno> {
        used((buf, offset));
        outcome(any())
    }

    fn exchange(
        &self,
        _: &OpaqueFd,
        exchange: Exchange<'_, OpaqueFd, OpaqueEvent>,
    ) -> Result<u32, Errno> {
        exchanged(exchange)
    }

    fn exchange_open(
        &self,
        fd: &OpaqueFd,
        exchange: Exchange<'_>,
    ) -> Result<Option<OpaqueFd>, Errno> {
        used(fd);
        let answer = exchanged(exchange)?;
        outcome((answer != 0).then_some(OpaqueFd))
    }

    fn read(&self, _: &OpaqueFd, buf: &mut [u8]) -> Result<usize, Errno> {
        used(buf);
        outcome(any())
    }

    fn write(&self, _: &OpaqueFd, buf: &[u8]) -> Result<usize, Errno> {
        used(buf);
        outcome(any())
    }

    unsafe fn exchange_memory(
        &self,
        fd: &OpaqueFd,
        memory: &OpaqueMemory,
        exchange: Exchange<'_>,
    ) -> Result<u32, Errno> {
        used((fd, memory));
        exchanged(exchange)
    }

    unsafe fn exchange_mapping(
        &self,
        fd: &OpaqueFd,
        mapping: &OpaqueMemory,
        exchange: Exchange<'_>,
    ) -> Result<u32, Errno> {
        used((fd, mapping));
        exchanged(exchange)
    }

    fn map(&self, _: &OpaqueFd, span: Span, protection: Protection) -> Result<OpaqueMemory, Errno> {
        used((span, protection));
        outcome(OpaqueMemory)
    }

    fn now(&self) -> Result<Duration, Errno> {
        outcome(Duration::from_nanos(any()))
    }

    fn memory(&self, len: usize, pages: Pages) -> Result<OpaqueMemory, Errno> {
        used((len, pages));
        outcome(OpaqueMemory)
    }

    unsafe fn foreign_memory(&self, base: NonNull<u8>, len: usize) -> Result<OpaqueMemory, Errno> {
        used((base, len));
        outcome(OpaqueMemory)
    }

    fn physical_address(&self, memory: &OpaqueMemory) -> Result<u64, Errno> {
        used(memory);
        outcome(any())
    }

    fn open_group(&self, group: u32, noiommu: Option<NoIommu>) -> Result<OpaqueFd, Errno> {
        used(noiommu);
        self.open(GroupPath::new(group, noiommu).as_c_str())
    }

    fn physical_memory(&self, len: usize, highest: u64) -> Result<(OpaqueMemory, u64), Errno> {
        used((len, highest));
        outcome((OpaqueMemory, any()))
    }

    fn event(&self) -> Result<OpaqueEvent, Errno> {
        outcome(OpaqueEvent)
    }

    fn event_take(&self, _: &OpaqueEvent) -> Result<u64, Errno> {
        outcome(any())
    }

    fn event_signal(&self, _: &OpaqueEvent) -> Result<(), Errno> {
        outcome(())
    }

    fn events_wait(&self, events: &[&OpaqueEvent], timeout: Duration) -> Result<bool, Errno> {
        used((events, timeout));
        outcome(any())
    }
}
