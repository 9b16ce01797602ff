//! Nothing is shared between threads that may not be.
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
