//! Handles to an address space.

use super::Dma;
use crate::dma::iova::IovaError;
use crate::handle::Handle;
use crate::open::AddressSpace;
use crate::sys::Sys;

/// A handle to a [`Dma`]: `&Dma<S, N>`, `Arc<Dma<S, N>>` and the like.
///
/// It hides how many buffers the address space has room for.
pub trait DmaHandle: Handle + sealed::Allocator<Shim = <Self as DmaHandle>::Sys> {
    /// The shim below.
    type Sys: Sys;

    /// Returns the address space.
    fn space(&self) -> &AddressSpace<Self::Sys>;
}

impl<S: Sys, const N: usize, H: Handle<Target = Dma<S, N>>> DmaHandle for H {
    type Sys = S;

    fn space(&self) -> &AddressSpace<S> {
        Dma::space(self)
    }
}

pub(super) mod sealed {
    use super::{Dma, Handle, IovaError, Sys};

    /// Where a mapping is to lie.
    #[derive(Clone, Copy, Debug)]
    pub struct Site {
        /// Bytes, a multiple of the page size.
        pub size: u64,
        /// A power of two.
        pub align: u64,
        /// The highest address that a byte may have.
        pub highest: u64,
        /// The first address, where the caller chooses it.
        pub iova: Option<u64>,
    }

    /// The addresses of an address space.
    pub trait Allocator {
        /// The shim below.
        type Shim: Sys;

        /// Returns the shim.
        fn sys(&self) -> &Self::Shim;

        /// Tells whether memory is mapped. Otherwise it is reached at its physical address.
        fn maps(&self) -> bool;

        /// Takes addresses.
        fn allocate(&self, site: Site) -> Result<u64, IovaError>;

        /// Gives addresses back.
        fn free(&self, iova: u64, size: u64);
    }

    impl<S: Sys, const N: usize, H: Handle<Target = Dma<S, N>>> Allocator for H {
        type Shim = S;

        fn sys(&self) -> &S {
            &self.sys
        }

        fn maps(&self) -> bool {
            S::MAPS && self.iovas.is_some()
        }

        fn allocate(&self, site: Site) -> Result<u64, IovaError> {
            let Some(iovas) = self.iovas.as_ref().filter(|_| S::MAPS) else {
                return Err(IovaError::Empty);
            };
            let mut iovas = iovas.lock();
            match site.iova {
                Some(iova) => iovas.reserve(iova, site.size).map(|()| iova),
                None => iovas.allocate_up_to(site.size, site.align, site.highest),
            }
        }

        fn free(&self, iova: u64, size: u64) {
            if let Some(iovas) = self.iovas.as_ref().filter(|_| S::MAPS) {
                let _ = iovas.lock().free(iova, size);
            }
        }
    }
}
