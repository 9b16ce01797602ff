//! Nothing outlives its device.
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
