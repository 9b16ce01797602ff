//! virtio-drivers' memory: buffers of one address space, which its functions find by their
//! addresses, since they are given nothing else.

use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::slice;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use vfio_core::dma::{Buffer, Direction, Dma};
use vfio_core::mmio::Addressable as _;
use vfio_hosted::sim::Kernel;
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};

type Memory = Buffer<Arc<Dma<Kernel>>>;

/// The address space. It never gives out the address 0, which virtio-drivers takes for none.
static SPACE: OnceLock<Arc<Dma<Kernel>>> = OnceLock::new();

/// What was given out, by its address.
static GIVEN: Mutex<BTreeMap<PhysAddr, Memory>> = Mutex::new(BTreeMap::new());

/// Memory of the address space.
pub(crate) struct DmaHal;

impl DmaHal {
    /// Takes the address space, once for the whole program.
    pub(crate) fn set_up(dma: &Arc<Dma<Kernel>>) {
        assert!(SPACE.set(Arc::clone(dma)).is_ok());
    }

    /// Returns how many buffers are given out.
    pub(crate) fn given() -> usize {
        given().len()
    }
}

fn given() -> MutexGuard<'static, BTreeMap<PhysAddr, Memory>> {
    GIVEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes memory; none where there is none.
fn memory(len: usize, direction: BufferDirection) -> Option<Memory> {
    let direction = match direction {
        BufferDirection::DriverToDevice => Direction::ToDevice,
        BufferDirection::DeviceToDriver => Direction::FromDevice,
        BufferDirection::Both => Direction::Both,
    };
    let dma = Arc::clone(SPACE.get()?);
    Buffer::new(dma, len, direction).ok()
}

/// Keeps memory until it is asked for by its address.
fn give(memory: Memory) -> PhysAddr {
    let address = memory.iova();
    given().insert(address, memory);
    address
}

// SAFETY: memory that is given out is that of a buffer, which is kept until it is taken back, and
// is of whole pages, zeroed, aligned to a page, and nobody else's: its windows are made of the
// buffer, which nobody reaches meanwhile. `mmio_phys_to_virt` gives nothing out.
unsafe impl Hal for DmaHal {
    fn dma_alloc(pages: usize, direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        match memory(pages * PAGE_SIZE, direction) {
            Some(memory) => {
                let pointer = memory.as_ptr();
                (give(memory), pointer)
            }
            None => (0, NonNull::dangling()),
        }
    }

    unsafe fn dma_dealloc(paddr: PhysAddr, _: NonNull<u8>, _: usize) -> i32 {
        let memory = given().remove(&paddr);
        memory.map_or(-1, |memory| memory.unmap().map_or(-1, |()| 0))
    }

    unsafe fn mmio_phys_to_virt(_: PhysAddr, _: usize) -> NonNull<u8> {
        // It is for virtio-drivers' own transport over PCI.
        unreachable!("registers are reached by a window")
    }

    unsafe fn share(buffer: NonNull<[u8]>, direction: BufferDirection) -> PhysAddr {
        // There is no error that it could return.
        let mut memory = memory(buffer.len(), direction).expect("there is memory for a request");
        if direction != BufferDirection::DeviceToDriver {
            // SAFETY: the caller vouches for the memory, of which nobody else makes use while
            // this is called.
            let bytes = unsafe { slice::from_raw_parts(buffer.as_ptr().cast(), buffer.len()) };
            // It fits.
            let _ = memory.window().write_bytes(0, bytes);
        }
        give(memory)
    }

    unsafe fn unshare(paddr: PhysAddr, buffer: NonNull<[u8]>, direction: BufferDirection) {
        let memory = given().remove(&paddr);
        if let Some(mut memory) = memory
            && direction != BufferDirection::DriverToDevice
        {
            let (start, len) = (buffer.as_ptr().cast(), buffer.len());
            // SAFETY: as above.
            let bytes = unsafe { slice::from_raw_parts_mut(start, len) };
            let _ = memory.window().read_bytes(0, bytes);
        }
    }
}
