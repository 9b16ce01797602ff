//! What must not compile, each beside what does. Nothing is here but in doc tests.
//!
//! # Nothing outlives its device
//!
//! A mapped window:
//! ```
//! # use vfio_core::{device::Device, wire::info::RegionInfo, mmio::CanReadWrite, sys::Sys};
//! fn keep<S: Sys>(device: Device<S>, region: &RegionInfo<'_>) {
//!     let mut window = device.map::<CanReadWrite>(region, 0).ok().unwrap();
//!     let _ = window.read::<u32>(0);
//!     drop(device);
//! }
//! ```
//! ```compile_fail,E0505
//! # use vfio_core::{device::Device, wire::info::RegionInfo, mmio::CanReadWrite, sys::Sys};
//! fn keep<S: Sys>(device: Device<S>, region: &RegionInfo<'_>) {
//!     let mut window = device.map::<CanReadWrite>(region, 0).ok().unwrap();
//!     drop(device);
//!     let _ = window.read::<u32>(0);
//! }
//! ```
//! A block of registers, made of one:
//! ```compile_fail,E0515
//! # use vfio_core::mmio::{Block, CanReadWrite, Registers};
//! # use vfio_core::device::region::MappedRegion;
//! # use vfio_core::{device::Device, wire::info::RegionInfo, sys::Sys};
//! fn keep<'d, S: Sys, R: Registers>(
//!     device: Device<S>,
//!     region: &RegionInfo<'_>,
//! ) -> Block<MappedRegion<&'d Device<S>>, R> {
//!     let window = device.map::<CanReadWrite>(region, 0).ok().unwrap();
//!     window.into_block(0).unwrap()
//! }
//! ```
//! A trapped window:
//! ```compile_fail,E0505
//! # use vfio_core::{device::Device, wire::info::RegionInfo, mmio::CanReadWrite, sys::Sys};
//! fn keep<S: Sys>(device: Device<S>, region: &RegionInfo<'_>) {
//!     let mut window = device.trap::<CanReadWrite>(region).unwrap();
//!     drop(device);
//!     let _ = window.read::<u32>(0);
//! }
//! ```
//! Interrupts:
//! ```
//! # use vfio_core::{device::Device, sys::Sys};
//! fn keep<S: Sys>(device: Device<S>) {
//!     let vectors = device.vectors::<1>(1).ok().unwrap();
//!     let _ = vectors.take(0);
//!     drop(vectors);
//!     drop(device);
//! }
//! ```
//! ```compile_fail,E0505
//! # use vfio_core::{device::Device, sys::Sys};
//! fn keep<S: Sys>(device: Device<S>) {
//!     let vectors = device.vectors::<1>(1).ok().unwrap();
//!     drop(device);
//!     let _ = vectors.take(0);
//! }
//! ```
//! A write that the kernel makes:
//! ```compile_fail,E0505
//! # use vfio_core::{device::Device, wire::info::RegionInfo, sys::Sys};
//! fn keep<S: Sys>(device: Device<S>, region: &RegionInfo<'_>, event: &S::Event) {
//!     let write = device.ioeventfd(region, 0, 1_u32, event).ok().unwrap();
//!     drop(device);
//!     let _ = write.remove();
//! }
//! ```
//! The config space, and an EDID:
//! ```compile_fail,E0505
//! # use vfio_core::{device::Device, pci::{Config, DeviceConfig}, sys::Sys};
//! fn keep<S: Sys>(device: Device<S>) {
//!     let config = Config::new(DeviceConfig::new(&device, 0, 256));
//!     drop(device);
//!     let _ = config.command();
//! }
//! ```
//! ```compile_fail,E0505
//! # use vfio_core::{device::Device, wire::info::RegionInfo, sys::Sys};
//! fn keep<S: Sys>(device: Device<S>, region: &RegionInfo<'_>) {
//!     let edid = device.edid(region).unwrap();
//!     drop(device);
//!     let _ = edid.head();
//! }
//! ```
//! Memory, its address space:
//! ```
//! # use vfio_core::{dma::{Direction, Dma}, sys::Sys};
//! fn keep<S: Sys>(dma: Dma<S, 4>) {
//!     let mut buffer = dma.buffer(4096, Direction::Both).ok().unwrap();
//!     let _ = buffer.window().read::<u32>(0);
//!     drop(buffer);
//!     drop(dma);
//! }
//! ```
//! ```compile_fail,E0505
//! # use vfio_core::{dma::{Direction, Dma}, sys::Sys};
//! fn keep<S: Sys>(dma: Dma<S, 4>) {
//!     let mut buffer = dma.buffer(4096, Direction::Both).ok().unwrap();
//!     drop(dma);
//!     let _ = buffer.window().read::<u32>(0);
//! }
//! ```
//! Whichever way it is made, where the space is borrowed:
//! ```compile_fail,E0597
//! # use vfio_core::{dma::{Buffer, Direction, Dma, Pool}, sys::Sys};
//! fn keep<S: Sys>(dma: Dma<S>) {
//!     let pool;
//!     {
//!         let dma = dma;
//!         pool = Pool::new(&dma, 4, 64, Direction::Both).ok().unwrap();
//!     }
//!     let _ = pool.take();
//! }
//! ```
//! ```compile_fail,E0515
//! # use vfio_core::{dma::{Buffer, Direction, Dma, DmaError}, sys::Sys};
//! fn ring<'d, S: Sys>(dma: Dma<S>) -> Result<Buffer<&'d Dma<S>>, DmaError> {
//!     Buffer::new(&dma, 4096, Direction::Both)
//! }
//! ```
//! A part of a buffer and a chunk of a pool keep what they are of:
//! ```compile_fail,E0505
//! # use vfio_core::{dma::{Buffer, Dma}, sys::Sys};
//! fn keep<S: Sys>(buffer: Buffer<&Dma<S>>) {
//!     let mut part = buffer.part(0, 64).unwrap();
//!     let _ = buffer.unmap();
//!     let _ = part.window().read::<u32>(0);
//! }
//! ```
//! ```compile_fail,E0505
//! # use vfio_core::{dma::{Dma, Pool}, sys::Sys};
//! fn keep<S: Sys>(pool: Pool<&Dma<S>>) {
//!     let chunk = pool.take().unwrap();
//!     drop(pool);
//!     let _ = chunk.iova();
//! }
//! ```
//! And a window over memory, the memory:
//! ```compile_fail,E0505
//! # use vfio_core::{dma::{Buffer, Dma}, sys::Sys};
//! fn keep<S: Sys>(mut buffer: Buffer<&Dma<S, 4>>) {
//!     let mut window = buffer.window();
//!     let _ = buffer.unmap();
//!     let _ = window.read::<u32>(0);
//! }
//! ```
//!
//! # What becomes a device's
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
//! # use vfio_core::{dma::{AddressSpace, Direction}, sys::Sys};
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
//! # use vfio_core::{device::Device, dma::{AddressSpace, Direction}};
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
//!
//! # Registers
//!
//! A read that may change the device can't be had through a shared reference:
//! ```
//! # use vfio_core::{mmio::{Access, Block, field::ReadOnly}, registers};
//! registers! {
//!     struct Registers: 4 {
//!         0x00 cause: ReadOnly<u32>,
//!     }
//! }
//! fn clear<A: Access>(block: &mut Block<A, Registers>) {
//!     let _ = block.read(Registers::cause);
//! }
//! ```
//! ```compile_fail,E0596
//! # use vfio_core::{mmio::{Access, Block, field::ReadOnly}, registers};
//! # registers! { struct Registers: 4 { 0x00 cause: ReadOnly<u32> } }
//! fn clear<A: Access>(block: &Block<A, Registers>) {
//!     let _ = block.read(Registers::cause);
//! }
//! ```
//! ```compile_fail,E0277
//! # use vfio_core::{mmio::{Access, Block, field::ReadOnly}, registers};
//! # registers! { struct Registers: 4 { 0x00 cause: ReadOnly<u32> } }
//! fn clear<A: Access>(block: &Block<A, Registers>) {
//!     let _ = block.get(Registers::cause);
//! }
//! ```
//! What is not writable is not written, and what is not readable not read:
//! ```compile_fail,E0277
//! # use vfio_core::{mmio::{Access, Block, field::ReadOnly}, registers};
//! # registers! { struct Registers: 4 { 0x00 cause: ReadOnly<u32> } }
//! fn clear<A: Access>(block: &mut Block<A, Registers>) {
//!     let _ = block.write(Registers::cause, 0);
//! }
//! ```
//! ```compile_fail,E0277
//! # use vfio_core::{mmio::{Access, Block, field::WriteOnly}, registers};
//! # registers! { struct Registers: 4 { 0x00 reset: WriteOnly<u32> } }
//! fn reset<A: Access>(block: &mut Block<A, Registers>) {
//!     let _ = block.read(Registers::reset);
//! }
//! ```
//! The declaration is checked. These registers lie in their block, in order:
//! ```
//! # use vfio_core::{mmio::field::{ReadOnly, ReadPure, WriteOnly}, registers};
//! registers! {
//!     struct Registers: 0x10 {
//!         0x00 received: ReadOnly<u8>,
//!         0x00 send: WriteOnly<u8>,
//!         0x04 status: ReadPure<u32>,
//!         0x08 time: ReadPure<u64>,
//!     }
//! }
//! ```
//! One that is not at a multiple of its width:
//! ```compile_fail,E0080
//! # use vfio_core::{mmio::field::ReadPure, registers};
//! registers! {
//!     struct Registers: 0x10 {
//!         0x02 status: ReadPure<u32>,
//!     }
//! }
//! ```
//! One that reaches out of its block:
//! ```compile_fail,E0080
//! # use vfio_core::{mmio::field::ReadPure, registers};
//! registers! {
//!     struct Registers: 0x10 {
//!         0x08 time: [ReadPure<u64>; 2],
//!     }
//! }
//! ```
//! One on another, one before another, and two that read at one offset:
//! ```compile_fail,E0080
//! # use vfio_core::{mmio::field::{ReadPure, WriteOnly}, registers};
//! registers! {
//!     struct Registers: 0x10 {
//!         0x00 time: ReadPure<u64>,
//!         0x04 set: WriteOnly<u32>,
//!     }
//! }
//! ```
//! ```compile_fail,E0080
//! # use vfio_core::{mmio::field::ReadPure, registers};
//! registers! {
//!     struct Registers: 0x10 {
//!         0x04 time: ReadPure<u32>,
//!         0x00 status: ReadPure<u32>,
//!     }
//! }
//! ```
//! ```compile_fail,E0080
//! # use vfio_core::{mmio::field::{ReadPure, ReadPureWrite}, registers};
//! registers! {
//!     struct Registers: 0x10 {
//!         0x00 status: ReadPure<u32>,
//!         0x00 state: ReadPureWrite<u32>,
//!     }
//! }
//! ```
//! A kind of register of one's own, which could say that it holds more than it has room for:
//! ```compile_fail,E0277
//! # use vfio_core::registers;
//! struct Nothing;
//! registers! {
//!     struct Registers: 0x10 {
//!         0x10 nothing: Nothing,
//!     }
//! }
//! ```
//! ```compile_fail,E0277
//! # use vfio_core::mmio::field::Register;
//! struct Nothing;
//! impl Register for Nothing {
//!     type Value = u64;
//! }
//! ```
//! ```compile_fail,E0277
//! # use vfio_core::mmio::field::Layout;
//! struct Nothing;
//! impl Layout for Nothing {
//!     const WIDTH: usize = 0;
//!     const SIZE: usize = 0;
//!     const IS_READ: bool = true;
//!     const IS_WRITTEN: bool = true;
//! }
//! ```
//! A structure is no block of registers, whatever its layout:
//! ```compile_fail,E0277
//! # use vfio_core::mmio::{Access, Window, field::ReadPure};
//! struct Registers {
//!     id: ReadPure<u32>,
//! }
//! fn block<A: Access>(window: Window<A>) {
//!     let _ = window.into_block::<Registers>(0);
//! }
//! ```
//! Whoever declares a layout by hand is checked as well: a register that the block has no room
//! for, or that the block's alignment does not align, has no place.
//! ```
//! # use vfio_core::mmio::{Field, FieldError, Registers, field::ReadPure};
//! struct Short;
//! impl Registers for Short {
//!     const SIZE: usize = 4;
//!     const ALIGN: usize = 1;
//! }
//! let wide = Field::<Short, ReadPure<u32>>::at(0);
//! assert_eq!(wide.err(), Some(FieldError::TooWide));
//! let behind = Field::<Short, ReadPure<u8>>::at(4);
//! assert_eq!(behind.err(), Some(FieldError::Outside));
//! ```
//! Nor are blocks put in a row that their alignment does not let be:
//! ```compile_fail,E0080
//! # use vfio_core::mmio::{Mapped, Registers, Window};
//! struct Odd;
//! impl Registers for Odd {
//!     const SIZE: usize = 12;
//!     const ALIGN: usize = 8;
//! }
//! fn main() {
//!     let row: fn(Window<Mapped<'static>>) = |window| drop(window.into_array::<Odd>(0, 2));
//!     let _ = row;
//! }
//! ```
//! And what a region does not permit can't be asked for:
//! ```compile_fail,E0277
//! # use vfio_core::{device::Device, wire::info::RegionInfo, mmio::CanRead, sys::Sys};
//! fn write<S: Sys>(device: &Device<S>, region: &RegionInfo<'_>) {
//!     let mut window = device.trap::<CanRead>(region).unwrap();
//!     let _ = window.write(0, 1_u32);
//! }
//! ```
//! nor had by another way. What permits all that it can do makes a window of its own:
//! ```
//! # use vfio_core::{dma::{Buffer, Dma}, mmio::Window, sys::Sys};
//! fn write<S: Sys>(buffer: &Buffer<&Dma<S, 4>>) {
//!     let _ = Window::new(buffer).write(0, 1_u32);
//! }
//! ```
//! A mapping of a device is asked what it permits, and a window that only reads does not give
//! what it is over:
//! ```compile_fail,E0277
//! # use vfio_core::{mmio::Window, sys::Sys};
//! fn write<S: Sys>(mapping: &S::Mapping) {
//!     let _ = Window::new(mapping).write(0, 1_u32);
//! }
//! ```
//! ```compile_fail,E0277
//! # use vfio_core::{mmio::{Access, Window}, sys::Sys};
//! fn write<A: Access>(access: A) {
//!     let _ = Window::new(access).write(0, 1_u32);
//! }
//! ```
//! ```compile_fail,E0599
//! # use vfio_core::mmio::{Access, Array, CanRead};
//! fn launder<A: Access, R>(array: &Array<A, R, CanRead>) -> &A {
//!     array.access()
//! }
//! ```
//! A permission of one's own is none:
//! ```compile_fail,E0277
//! # use vfio_core::mmio::{Permission, Protection};
//! struct Anything;
//! impl Permission for Anything {
//!     const PROTECTION: Protection = Protection { read: true, write: false };
//! }
//! ```
//! Nor does a forged access reach anything: to make one is for unsafe code, and so is to use one
//! without the checks of a window.
//! ```compile_fail,E0200
//! # use std::convert::Infallible;
//! # use vfio_core::mmio::{Access, Protection, Width};
//! struct Endless;
//! impl Access for Endless {
//!     type Error = Infallible;
//!     type Origin = usize;
//!     fn len(&self) -> usize {
//!         usize::MAX
//!     }
//!     fn protection(&self) -> Protection {
//!         Protection::BOTH
//!     }
//!     fn origin(&self, offset: usize) -> usize {
//!         offset
//!     }
//!     unsafe fn load<T: Width>(&self, _: usize, _: usize) -> Result<T, Infallible> {
//!         Ok(T::truncate(0))
//!     }
//!     unsafe fn store<T: Width>(&self, _: usize, _: usize, _: T) -> Result<(), Infallible> {
//!         Ok(())
//!     }
//! }
//! ```
//! ```compile_fail,E0133
//! # use vfio_core::mmio::Access;
//! fn read<A: Access>(access: &A) -> Result<u32, A::Error> {
//!     access.load(access.origin(usize::MAX), 3)
//! }
//! ```
//! ```compile_fail,E0277
//! # use vfio_core::mmio::Origin;
//! #[derive(Clone, Copy, Debug)]
//! struct Elsewhere;
//! impl Origin for Elsewhere {
//!     fn behind(self, _: usize) -> Self {
//!         self
//!     }
//! }
//! ```
//! ```compile_fail,E0200
//! # use std::convert::Infallible;
//! # use vfio_core::mmio::Forward;
//! struct Elsewhere<A>(A, A);
//! impl<A: Forward> Forward for Elsewhere<A> {
//!     type Target = A;
//!     type Error = A::Error;
//!     fn target(&self) -> &A {
//!         &self.1
//!     }
//! }
//! ```
//!
//! # Interrupts
//!
//! [`Vectors`](crate::device::irq::Vectors) are at most 64:
//! ```
//! # use std::ffi::CStr;
//! # use vfio_core::{device::Device, device::irq::Vectors, sys::*};
//! # struct Nobody;
//! # impl Sys for Nobody {
//! #     type Fd = ();
//! #     type Mapping = Absent;
//! #     type Memory = Absent;
//! #     type Event = Absent;
//! #     fn open(&self, _: &CStr) -> Result<(), Errno> { Err(Errno::ENOENT) }
//! #     fn ioctl_info(&self, _: &(), _: InfoRequest, _: &mut [u8]) -> Result<(), Errno> { Err(Errno::ENOTTY) }
//! #     fn ioctl_value(&self, _: &(), _: ValueRequest, _: u32) -> Result<u32, Errno> { Err(Errno::ENOTTY) }
//! #     fn ioctl_fd(&self, _: &(), _: FdRequest, _: &()) -> Result<(), Errno> { Err(Errno::ENOTTY) }
//! #     fn ioctl_name(&self, _: &(), _: NameRequest, _: &CStr) -> Result<(), Errno> { Err(Errno::ENOTTY) }
//! #     fn pread(&self, _: &(), _: &mut [u8], _: u64) -> Result<usize, Errno> { Err(Errno::EIO) }
//! #     fn pwrite(&self, _: &(), _: &[u8], _: u64) -> Result<usize, Errno> { Err(Errno::EIO) }
//! #     fn page_size(&self) -> usize { 4096 }
//! # }
//! let device = Device::new(Nobody, ());
//! let _ = device.vectors::<64>(2);
//! ```
//! ```compile_fail,E0080
//! # use std::ffi::CStr;
//! # use vfio_core::{device::Device, device::irq::Vectors, sys::*};
//! # struct Nobody;
//! # impl Sys for Nobody {
//! #     type Fd = ();
//! #     type Mapping = Absent;
//! #     type Memory = Absent;
//! #     type Event = Absent;
//! #     fn open(&self, _: &CStr) -> Result<(), Errno> { Err(Errno::ENOENT) }
//! #     fn ioctl_info(&self, _: &(), _: InfoRequest, _: &mut [u8]) -> Result<(), Errno> { Err(Errno::ENOTTY) }
//! #     fn ioctl_value(&self, _: &(), _: ValueRequest, _: u32) -> Result<u32, Errno> { Err(Errno::ENOTTY) }
//! #     fn ioctl_fd(&self, _: &(), _: FdRequest, _: &()) -> Result<(), Errno> { Err(Errno::ENOTTY) }
//! #     fn ioctl_name(&self, _: &(), _: NameRequest, _: &CStr) -> Result<(), Errno> { Err(Errno::ENOTTY) }
//! #     fn pread(&self, _: &(), _: &mut [u8], _: u64) -> Result<usize, Errno> { Err(Errno::EIO) }
//! #     fn pwrite(&self, _: &(), _: &[u8], _: u64) -> Result<usize, Errno> { Err(Errno::EIO) }
//! #     fn page_size(&self) -> usize { 4096 }
//! # }
//! let device = Device::new(Nobody, ());
//! let _ = device.vectors::<65>(2);
//! ```
//!
//! # Handles
//!
//! What a handle is, and where a device finds memory, is for unsafe code to say. A pointer of one's
//! own is no handle to an address space:
//! ```compile_fail,E0277
//! # use std::ops::Deref;
//! # use vfio_core::{dma::{Buffer, Direction, Dma}, sys::Sys};
//! #[derive(Clone)]
//! struct Mine<S: Sys + 'static>(&'static Dma<S>, &'static Dma<S>);
//! impl<S: Sys> Deref for Mine<S> {
//!     type Target = Dma<S>;
//!     fn deref(&self) -> &Dma<S> {
//!         if std::process::id() % 2 == 0 { self.0 } else { self.1 }
//!     }
//! }
//! fn make<S: Sys + Clone>(mine: Mine<S>) {
//!     let _ = Buffer::new(mine, 4096, Direction::Both);
//! }
//! ```
//! ```compile_fail,E0200
//! # use std::ops::Deref;
//! # use vfio_core::handle::Handle;
//! #[derive(Clone)]
//! struct Mine(Box<u32>);
//! impl Deref for Mine {
//!     type Target = u32;
//!     fn deref(&self) -> &u32 {
//!         &self.0
//!     }
//! }
//! impl Handle for Mine {}
//! ```
//! The traits of handles are those of all handles and of nothing else:
//! ```compile_fail,E0277
//! # use vfio_core::{dma::{AddressSpace, DmaHandle}, sys::Sys};
//! struct Mine<S: Sys>(AddressSpace<S>);
//! impl<S: Sys> DmaHandle for Mine<S> {
//!     type Sys = S;
//!     fn space(&self) -> &AddressSpace<S> {
//!         &self.0
//!     }
//! }
//! ```
//! An address of one's own is none that memory lies at:
//! ```compile_fail,E0200
//! # use vfio_core::dma::{BufferHandle, BufferPart, Reachable};
//! struct Elsewhere<B: BufferHandle>(BufferPart<B>);
//! impl<B: BufferHandle> Reachable for Elsewhere<B> {
//!     fn iova(&self) -> u64 {
//!         0x1000
//!     }
//! }
//! ```
//!
//! # Threads
//!
//! What is made of a shim can be sent and shared where everything of the shim can be:
//! ```
//! use vfio_core::open::container::{Container, Group};
//! use vfio_core::device::Device;
//! use vfio_core::dma::{Buffer, Dma};
//! use vfio_core::open::iommufd::Ioas;
//! use vfio_core::device::irq::Vectors;
//! use vfio_core::device::migration::MigrationData;
//! use vfio_core::mmio::{Block, Registers, Window};
//! use vfio_core::device::region::{MappedRegion, TrappedRegion};
//! use vfio_core::open::Session;
//! use vfio_core::sys::Sys;
//!
//! fn shared<T: Send + Sync>() {}
//!
//! fn all<'d, S, R>()
//! where
//!     R: Registers,
//!     S: Sys + Send + Sync + 'd,
//!     S::Fd: Send + Sync,
//!     S::Mapping: Send + Sync,
//!     S::Memory: Send + Sync,
//!     S::Event: Send + Sync,
//! {
//!     shared::<(Container<S>, Group<S>, Ioas<S>, Session<S>, Device<S>)>();
//!     shared::<(Window<MappedRegion<&'d Device<S>>>, Window<TrappedRegion<&'d Device<S>>>)>();
//!     shared::<(Block<MappedRegion<&'d Device<S>>, R>, Vectors<&'d Device<S>, 2>)>();
//!     shared::<(Dma<S, 4>, Buffer<&'d Dma<S, 4>>, MigrationData<S>)>();
//! }
//! ```
//! and not otherwise: here nothing is known of the shim's files, mappings, events and memory.
//! ```compile_fail,E0277
//! # use vfio_core::{device::Device, sys::Sys};
//! # fn sent<T: Send>() {}
//! fn device<S: Sys + Send + Sync>() {
//!     sent::<Device<S>>();
//! }
//! ```
//! ```compile_fail,E0277
//! # use vfio_core::{device::Device, mmio::Window, device::region::MappedRegion, sys::Sys};
//! # fn sent<T: Send>() {}
//! fn window<'d, S: Sys<Fd = ()> + Send + Sync + 'd>() {
//!     sent::<Window<MappedRegion<&'d Device<S>>>>();
//! }
//! ```
//! ```compile_fail,E0277
//! # use vfio_core::{device::Device, device::irq::Vectors, sys::Sys};
//! # fn shared<T: Sync>() {}
//! fn vectors<'d, S: Sys<Fd = ()> + Send + Sync + 'd>() {
//!     shared::<Vectors<&'d Device<S>, 1>>();
//! }
//! ```
//! ```compile_fail,E0277
//! # use vfio_core::{dma::{Buffer, Dma}, sys::Sys};
//! # fn sent<T: Send>() {}
//! fn buffer<'d, S: Sys<Fd = ()> + Send + Sync + 'd>() {
//!     sent::<Buffer<&'d Dma<S, 4>>>();
//! }
//! ```
//! A window over registers that only one thread may touch stays with it:
//! ```compile_fail,E0277
//! # use vfio_core::mmio::{Access, Window};
//! # fn shared<T: Sync>() {}
//! fn window<A: Access + Send>() {
//!     shared::<Window<A>>();
//! }
//! ```
//!
//! # A request names what is open
//!
//! An event is named by itself, and stays open until the request was made:
//! ```
//! # use vfio_core::{wire::abi::DeviceIoeventfd, sys::{Errno, Exchange, Sys}};
//! fn named<S: Sys>(sys: &S, fd: &S::Fd, event: S::Event) -> Result<u32, Errno> {
//!     let mut request = DeviceIoeventfd::default();
//!     let events = [Some(&event)];
//!     let exchange = Exchange::ioeventfd(&mut request, &events);
//!     let done = sys.exchange(fd, exchange);
//!     drop(event);
//!     done
//! }
//! ```
//! ```compile_fail,E0505
//! # use vfio_core::{wire::abi::DeviceIoeventfd, sys::{Errno, Exchange, Sys}};
//! fn named<S: Sys>(sys: &S, fd: &S::Fd, event: S::Event) -> Result<u32, Errno> {
//!     let mut request = DeviceIoeventfd::default();
//!     let events = [Some(&event)];
//!     let exchange = Exchange::ioeventfd(&mut request, &events);
//!     drop(event);
//!     sys.exchange(fd, exchange)
//! }
//! ```
//! A number is none, whatever it is that of:
//! ```compile_fail,E0308
//! # use vfio_core::{wire::abi::DeviceIoeventfd, sys::{Errno, Exchange, Sys}};
//! fn named<S: Sys>(sys: &S, fd: &S::Fd, number: i32) -> Result<u32, Errno> {
//!     let mut request = DeviceIoeventfd::default();
//!     let events = [Some(&number)];
//!     let exchange = Exchange::ioeventfd(&mut request, &events);
//!     sys.exchange(fd, exchange)
//! }
//! ```
//!
//! # A handle to a part is to a part of what it holds
//!
//! What selects it has nothing else to select from, whatever lifetimes the parts have:
//! ```
//! # use core::marker::PhantomData;
//! # use vfio_core::handle::Projection;
//! # type Part<T> = Projection<&'static PhantomData<&'static ()>, T>;
//! static TEXT: &str = "it stays";
//! fn select<'b>(whole: Part<PhantomData<&'b ()>>) -> Part<str> {
//!     whole.map(|_| TEXT)
//! }
//! ```
//! ```compile_fail,E0521
//! # use core::marker::PhantomData;
//! # use vfio_core::handle::Projection;
//! # type Part<T> = Projection<&'static PhantomData<&'static ()>, T>;
//! fn select<'b>(whole: Part<PhantomData<&'b ()>>, text: &'b str) -> Part<str> {
//!     whole.map(move |_| text)
//! }
//! ```
//! ```compile_fail,E0521
//! # use core::marker::PhantomData;
//! # use vfio_core::handle::{Handle, Projection};
//! # struct Key<'b>(PhantomData<fn(&'b ())>);
//! fn select<'b, H: Handle<Target = Key<'b>>>(key: H, text: &'b str) -> Projection<H, str> {
//!     Projection::new(key, move |_| text)
//! }
//! ```
//! Nor does a window through a handle go on with another one:
//! ```compile_fail,E0521
//! # use core::marker::PhantomData;
//! # use vfio_core::handle::{Handle, Projection};
//! # use vfio_core::mmio::{Mapped, Through, Window};
//! # struct Key<'b>(PhantomData<fn(&'b ())>);
//! fn through<'b, H: Handle<Target = Key<'b>>>(
//!     key: H,
//!     window: &'b Window<Mapped<'static>>,
//! ) -> Window<Through<Projection<H, Mapped<'static>>>> {
//!     Window::through(key, move |_| window)
//! }
//! ```
