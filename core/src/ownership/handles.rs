//! Handles are implemented by this crate alone.
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
//! # use vfio_core::{dma::DmaHandle, open::AddressSpace, sys::Sys};
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
