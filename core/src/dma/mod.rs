//! Memory that a device reads and writes.
//!
//! A [`Dma`] is an I/O address space with its free addresses; a [`Buffer`] is memory mapped in
//! it. A buffer is unmapped before its memory is freed. Memory that the kernel does not unmap is
//! never freed, and its addresses are not given out again: a device can't write what is Rust's
//! to use.
//!
//! Without an IOMMU nothing holds a device back: a buffer's address is the physical one, and
//! nothing is mapped or unmapped. There the driver alone sees to it that the device is done with
//! a buffer before it is dropped, as whoever opened the device promised
//! ([`NoIommu`](crate::sys::NoIommu)).
//!
//! # Who owns what
//!
//! A buffer holds a [handle](DmaHandle) to its `Dma`. [`Dma::buffer`] borrows it; with
//! [`Buffer::new`] and an `Arc<Dma<S>>` a driver owns both.

#[expect(unsafe_code, reason = "the trait is unsafe to implement")]
mod access;
mod attach;
#[expect(unsafe_code, reason = "memory is freed only when it is unmapped")]
mod buffer;
mod error;
mod handle;
pub mod iova;
mod options;
#[expect(unsafe_code, reason = "the traits are unsafe to implement")]
mod part;
#[expect(unsafe_code, reason = "the traits are unsafe to implement")]
mod pool;
#[expect(unsafe_code, reason = "the trait is unsafe to implement")]
mod reachable;
mod session;

#[doc(no_inline)]
pub use crate::open::space::Direction;
pub use attach::AttachError;
pub use buffer::Buffer;
pub use error::DmaError;
pub use handle::DmaHandle;
pub use options::BufferOptions;
pub use part::{BufferHandle, BufferPart};
pub use pool::{Chunk, Pool, PoolError, PoolHandle};
pub use reachable::Reachable;

use heapless::Vec;
use spin::Mutex;

use crate::dma::iova::{IovaAllocator, IovaError, IovaRangesError};
use crate::open::AddressSpace;
use crate::sys::{Errno, Sys};
use crate::wire::abi::{IommuIovaRange, IovaRange};

/// An I/O address space, with room for `N` buffers and usable ranges of addresses together: see
/// [`IovaAllocator`].
///
/// ```
/// use vfio_core::dma::{BufferOptions, Direction, Dma, DmaError};
/// use vfio_core::sys::Sys;
///
/// fn rings<S: Sys>(dma: &Dma<S>) -> Result<(), DmaError> {
///     let ring = dma.buffer(4096, Direction::Both)?;
///     // A device that has 32 address lines, and wants it at 64 KiB.
///     let options = BufferOptions::new(Direction::FromDevice);
///     let options = options.up_to(u32::MAX.into()).aligned(64 << 10);
///     let frames = dma.buffer(1 << 20, options)?;
///     println!("the device finds them at {:#x} and {:#x}", ring.iova(), frames.iova());
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Dma<S: Sys, const N: usize = 64> {
    sys: S,
    space: AddressSpace<S>,
    /// None without an IOMMU, where memory has the addresses that it has.
    iovas: Option<Mutex<IovaAllocator<N>>>,
}

impl<S: Sys, const N: usize> Dma<S, N> {
    /// Asks `space` for its ranges, page sizes and limit.
    ///
    /// A type1 container of before Linux 5.4 does not tell its ranges: then all addresses of 39
    /// bits but the x86 window of message-signalled interrupts are taken to be usable, and the
    /// kernel refuses what is not.
    ///
    /// # Errors
    /// [`DmaError::Query`], [`DmaError::Ranges`], [`DmaError::Ask`]: `ENOTTY` in a world that can't
    /// map memory.
    pub fn new(sys: S, space: AddressSpace<S>) -> Result<Self, DmaError> {
        let iovas = match Told::by(&space, sys.page_size())? {
            Some(told) => {
                let Told {
                    ranges,
                    sizes,
                    avail,
                } = told;
                let iovas = IovaAllocator::new(ranges.iter().copied(), sizes, avail);
                Some(Mutex::new(iovas.map_err(DmaError::Ranges)?))
            }
            None => None,
        };
        Ok(Self { sys, space, iovas })
    }

    /// Asks the address space again which addresses are usable: another device may have narrowed
    /// them.
    ///
    /// # Errors
    /// As [`Dma::new`]; [`DmaError::Ranges`] where a buffer lies at others.
    pub fn narrow(&self) -> Result<(), DmaError> {
        let told = Told::by(&self.space, self.sys.page_size())?;
        if let (Some(told), Some(iovas)) = (told, &self.iovas) {
            let narrowed = iovas.lock().narrow(told.ranges.iter().copied());
            narrowed.map_err(DmaError::Ranges)?;
        }
        Ok(())
    }

    /// Keeps back `size` bytes at the IOVA `start`: no buffer is put there from now on, not even
    /// one that is asked for at that address.
    ///
    /// # Errors
    /// [`IovaError`]: where a buffer lies there, or there is no room for another range.
    pub fn keep_back(&self, start: u64, size: u64) -> Result<(), IovaError> {
        match &self.iovas {
            Some(iovas) => iovas.lock().keep_back(start, size),
            None => Ok(()),
        }
    }

    /// Makes zeroed memory of at least `len` bytes that devices reach: anywhere with a
    /// [`Direction`], and as [`BufferOptions`] ask for it.
    ///
    /// # Errors
    /// [`DmaError`]; nothing is left mapped or taken.
    pub fn buffer(
        &self,
        len: usize,
        options: impl Into<BufferOptions>,
    ) -> Result<Buffer<&Self>, DmaError> {
        Buffer::new(self, len, options)
    }

    /// Returns the address space below.
    #[must_use]
    pub const fn space(&self) -> &AddressSpace<S> {
        &self.space
    }
}

/// What a kernel tells of an address space.
struct Told {
    ranges: Vec<IovaRange, RANGES>,
    /// Page sizes, as bits.
    sizes: u64,
    /// How many mappings can be made, where there is a limit.
    avail: Option<u32>,
}

/// How many ranges of addresses are told at most: kernels leave out the holes of messages and of
/// what firmware uses, a handful.
const RANGES: usize = 32;

impl Told {
    /// Asks an address space; none without an IOMMU.
    fn by<S: Sys>(space: &AddressSpace<S>, page: usize) -> Result<Option<Self>, DmaError> {
        match space {
            AddressSpace::NoIommu(_) => Ok(None),
            AddressSpace::Container(_) | AddressSpace::Ioas(_) if !S::MAPS => {
                Err(DmaError::Ask(Errno::ENOTTY))
            }
            AddressSpace::Container(container) => {
                let mut buffer = [0; 1024];
                let info = container.iommu_info(&mut buffer).map_err(DmaError::Query)?;
                let (sizes, avail) = (info.iova_pgsizes, info.dma_avail());
                let ranges = match info.iova_ranges() {
                    Some(ranges) => listed(ranges),
                    None => listed(UNTOLD),
                }?;
                Ok(Some(Self {
                    ranges,
                    sizes,
                    avail,
                }))
            }
            AddressSpace::Ioas(ioas) => {
                let mut ranges = [IommuIovaRange::default(); RANGES];
                let (count, alignment) = ioas.iova_ranges(&mut ranges).map_err(DmaError::Ask)?;
                // Before a device is attached the alignment can be a byte.
                let page = u64::try_from(page).unwrap_or(4096);
                let told = ranges.iter().take(count).map(|range| IovaRange {
                    start: range.start,
                    end: range.last,
                });
                Ok(Some(Self {
                    ranges: listed(told)?,
                    sizes: alignment.max(page),
                    avail: None,
                }))
            }
        }
    }
}

/// Keeps ranges, which must be no more than can be told.
fn listed(ranges: impl IntoIterator<Item = IovaRange>) -> Result<Vec<IovaRange, RANGES>, DmaError> {
    let mut list = Vec::new();
    for range in ranges {
        let error = IovaRangesError::TooMany { capacity: RANGES };
        list.push(range).map_err(|_| DmaError::Ranges(error))?;
    }
    Ok(list)
}

/// What is taken to be usable where a kernel does not tell.
const UNTOLD: [IovaRange; 2] = [
    IovaRange {
        start: 0,
        end: 0xfedf_ffff,
    },
    IovaRange {
        start: 0xfef0_0000,
        end: 0x7f_ffff_ffff,
    },
];

#[cfg(feature = "defmt")]
impl<S: Sys, const N: usize> defmt::Format for Dma<S, N> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Dma");
    }
}
