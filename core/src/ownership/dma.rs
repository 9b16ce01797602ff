//! Memory and addresses that become a device's.
//!
//! Memory is mapped by who owns it until it was unmapped: buffers do. By hand it is a promise, as
//! the memory may be dropped, and others given out at its addresses, before a device is attached
//! and the kernel pins what is there:
//! ```
//! # use vfio_core::{wire::abi::IoasMapFlags, open::iommufd::Ioas, sys::Sys};
//! fn map<S: Sys>(ioas: &Ioas<S>, memory: S::Memory) {
//!     let flags = IoasMapFlags::READABLE | IoasMapFlags::WRITEABLE;
//!     // SAFETY: the memory is never freed.
//!     let _ = unsafe { ioas.map(&memory, 0..4096, 0x10_0000, flags) };
//!     core::mem::forget(memory);
//! }
//! ```
//! ```compile_fail,E0133
//! # use vfio_core::{wire::abi::IoasMapFlags, open::iommufd::Ioas, sys::Sys};
//! fn map<S: Sys>(ioas: &Ioas<S>, memory: S::Memory) {
//!     let flags = IoasMapFlags::READABLE | IoasMapFlags::WRITEABLE;
//!     let _ = ioas.map(&memory, 0..4096, 0x10_0000, flags);
//!     drop(memory);
//! }
//! ```
//! ```compile_fail,E0133
//! # use vfio_core::{wire::abi::DmaMapFlags, open::container::Container, sys::Sys};
//! fn map<S: Sys>(container: &Container<S>, memory: S::Memory) {
//!     let _ = container.map(&memory, 0..4096, 0x10_0000, DmaMapFlags::WRITE);
//! }
//! ```
//! ```compile_fail,E0133
//! # use vfio_core::{dma::Direction, open::AddressSpace, sys::Sys};
//! fn map<S: Sys>(space: &AddressSpace<S>, memory: S::Memory) {
//!     let _ = space.map(&memory, 0..4096, 0x10_0000, Direction::Both);
//! }
//! ```
//! ```compile_fail,E0133
//! # use vfio_core::sys::{Exchange, Sys};
//! fn map<S: Sys>(sys: &S, iommufd: &S::Fd, memory: &S::Memory, exchange: Exchange<'_>) {
//!     let _ = sys.exchange_memory(iommufd, memory, exchange);
//! }
//! ```
//! The same holds for the BAR of a device:
//! ```compile_fail,E0133
//! # use vfio_core::{device::Device, dma::Direction, open::AddressSpace};
//! # use vfio_core::{mmio::Window, device::region::MappedRegion, sys::Sys};
//! fn map<S: Sys>(space: &AddressSpace<S>, bar: Window<MappedRegion<&Device<S>>>) {
//!     let _ = space.map_bar(&bar, 0..4096, 0x10_0000, Direction::Both);
//! }
//! ```
//! and for memory that is somebody's already:
//! ```compile_fail,E0133
//! # use core::ptr::NonNull;
//! # use vfio_core::sys::Sys;
//! fn lend<S: Sys>(sys: &S, bytes: &mut [u8]) {
//!     let _ = sys.foreign_memory(NonNull::from(bytes).cast(), 4096);
//! }
//! ```
//! What safe code can do to an address space besides takes memory from devices, and gives them
//! none that is not a buffer's:
//! - What is unmapped by hand, in part or whole, for its dirty pages or not, is the device's no
//!   more. A buffer finds less to unmap than it mapped, and its memory is never freed.
//! - A device that is detached, or whose group leaves its container, reaches nothing. Where it is
//!   attached to another address space it reaches what buffers have mapped there, which is alive.
//! - An address space that is destroyed or closed has no mappings. Devices that are open keep it,
//!   and a buffer keeps its `Dma` from being dropped; one that is forgotten keeps its memory.
//! - A device that is unplugged stays attached until it is closed.
//! - Of files, iommufd maps those that a device has opened for its own memory (`DmaBuf`).
//! - An exchange that maps memory is refused by `Sys::exchange`, and one that fills a list or
//!   names files by `Sys::exchange_memory`: the shim puts in a pointer to what was checked.
//!
//! A device that no IOMMU confines is opened by who gives the word for it,
//! ```
//! # use vfio_core::{open::{Place, Session}, sys::{NoIommu, Sys}};
//! fn open<S: Sys + Clone>(sys: &S, place: Place<'_>) {
//!     // SAFETY: the device is given no memory.
//!     let noiommu = Some(unsafe { NoIommu::acknowledge() });
//!     let _ = Session::open(sys, &Place { noiommu, ..place });
//! }
//! ```
//! which nobody does without a promise,
//! ```compile_fail,E0133
//! # use vfio_core::{open::{Place, Session}, sys::{NoIommu, Sys}};
//! fn open<S: Sys + Clone>(sys: &S, place: Place<'_>) {
//!     let noiommu = Some(NoIommu::acknowledge());
//!     let _ = Session::open(sys, &Place { noiommu, ..place });
//! }
//! ```
//! ```compile_fail,E0423
//! # use vfio_core::sys::NoIommu;
//! let word = NoIommu(());
//! ```
//! and there is no other way to it.
//! ```compile_fail,E0061
//! # use vfio_core::{open::container::Container, sys::Sys};
//! fn open<S: Sys + Clone>(container: &Container<S>) {
//!     let _ = container.attach_noiommu(3);
//! }
//! ```
//! ```compile_fail,E0308
//! # use vfio_core::sys::Sys;
//! fn open<S: Sys>(sys: &S) {
//!     let _ = sys.open_group(3, true);
//! }
//! ```
