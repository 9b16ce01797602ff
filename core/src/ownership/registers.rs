//! Registers are declared, and keep their permissions.
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
