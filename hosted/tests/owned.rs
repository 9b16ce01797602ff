//! What drivers own: interrupts, memory in parts and chunks, and whole regions.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use vfio_core::device::Device;
use vfio_core::device::irq::{Action, Data, IrqError, Vectors, Waker};
use vfio_core::device::region::{MappedRegion, RegionError, WholeRegion};
use vfio_core::dma::{Buffer, BufferPart, Chunk, Direction, Dma, Pool, PoolError};
use vfio_core::mmio::{Access, CanRead, CanReadWrite, OffsetError, Width, Window};
use vfio_core::open::Session;
use vfio_core::sys::{Errno, Sys};
use vfio_core::wire::abi::{RegionFlags, pci_irq, pci_region};
use vfio_drivers::edu::{DmaEngine, Edu};
use vfio_hosted::failing::{Call, Failing, Fault};
use vfio_hosted::model::{self, Description, Model};
use vfio_hosted::sim::Kernel;

const NAME: &str = "0000:00:05.0";

/// How long nothing is waited for.
const SOON: Duration = Duration::from_millis(5);
/// How long something is.
const PATIENCE: Duration = Duration::from_secs(10);

type Ended = Result<(), Box<dyn Error>>;

/// A device and its address space, for any number of owners.
struct Opened<S: Sys> {
    device: Arc<Device<S>>,
    dma: Arc<Dma<S>>,
}

fn kernel(model: Model) -> Kernel {
    Kernel::new().with_device(NAME, model, 7)
}

fn open_by<S: Sys + Clone>(sys: &S, kernel: &Kernel) -> Opened<S> {
    let place = kernel.place(NAME).unwrap();
    let session = Session::open(sys, &place.as_place()).unwrap();
    let (device, dma) = session.split().unwrap();
    Opened {
        device: Arc::new(device),
        dma: Arc::new(dma),
    }
}

fn open(model: Model) -> Opened<Kernel> {
    let kernel = kernel(model);
    open_by(&kernel, &kernel)
}

/// Has the kernel trigger those MSI-X vectors that are true.
fn trigger(device: &Device<Kernel>, vectors: &[bool]) {
    let data = Data::Bools(vectors);
    device
        .set_irqs(pci_irq::MSIX, 0, Action::Trigger, &data, &mut [0; 32])
        .unwrap();
}

#[test]
fn second_vectors_of_an_index_are_refused_and_the_first_go_on() -> Ended {
    let Opened { device, .. } = open(model::edu());
    let mut edu = Edu::new(MappedRegion::bring_up(
        Arc::clone(&device),
        pci_region::BAR0,
    )?)?;
    let first = Vectors::<_, 1>::new(Arc::clone(&device), pci_irq::MSI)?;
    let claimed = IrqError::Claimed {
        index: pci_irq::MSI,
    };
    assert_eq!(device.vectors::<1>(pci_irq::MSI).err(), Some(claimed));
    edu.raise(1, &first)?;
    // Another index is another owner's.
    let others = device.vectors::<1>(pci_irq::REQ)?;
    drop(others);
    edu.raise(1, &first)?;
    Ok(())
}

#[test]
fn vectors_can_be_had_again_once_they_are_dropped() -> Ended {
    let Opened { device, .. } = open(model::edu());
    let mut edu = Edu::new(device.bring_up(pci_region::BAR0)?)?;
    for _ in 0..3 {
        let vectors = device.vectors::<1>(pci_irq::MSI)?;
        edu.raise(1, &vectors)?;
    }
    // What fails claims nothing.
    assert_eq!(
        device.vectors::<2>(pci_irq::MSI).err(),
        Some(IrqError::Errno(Errno::EINVAL))
    );
    edu.raise(1, &device.vectors::<1>(pci_irq::MSI)?)?;
    Ok(())
}

#[test]
fn any_of_several_interrupts_ends_a_wait_and_the_lowest_is_told() -> Ended {
    let Opened { device, .. } = open(model::msix());
    let vectors = device.vectors::<8>(pci_irq::MSIX)?;
    assert_eq!(vectors.wait_any(SOON)?, None);
    trigger(&device, &[false, false, true, false, false, true]);
    trigger(&device, &[false, false, false, false, false, true]);
    for (vector, count) in [(2, 1), (5, 2)] {
        // What was not taken is told again.
        for _ in 0..2 {
            let told = vectors.wait_any(PATIENCE)?;
            assert_eq!(told, Some(vector));
        }
        assert_eq!(vectors.take(vector)?, count);
    }
    assert_eq!(vectors.wait_any(SOON)?, None);
    Ok(())
}

#[test]
fn a_waker_ends_a_wait_from_another_thread() -> Ended {
    let Opened { device, .. } = open(model::msix());
    let waker = Arc::new(Waker::new(Arc::clone(&device))?);
    let vectors = Vectors::<_, 2>::new(device, pci_irq::MSIX)?;
    let waiting = {
        let waker = Arc::clone(&waker);
        thread::spawn(move || {
            let told = vectors.wait_any_or(&waker, Duration::MAX).unwrap();
            (told, waker.take().unwrap(), waker.take().unwrap())
        })
    };
    waker.wake()?;
    let ended = waiting.join().map_err(|_| "the thread failed")?;
    assert_eq!(ended, (None, true, false));
    Ok(())
}

#[test]
fn a_wake_up_before_the_wait_is_seen_and_interrupts_come_first() -> Ended {
    let Opened { device, .. } = open(model::msix());
    let waker = Waker::new(&*device)?;
    let vectors = device.vectors::<2>(pci_irq::MSIX)?;
    waker.wake()?;
    assert_eq!(vectors.wait_any_or(&waker, Duration::MAX)?, None);
    trigger(&device, &[false, true]);
    assert_eq!(vectors.wait_any_or(&waker, Duration::MAX)?, Some(1));
    assert!(waker.take()?);
    vectors.take(1)?;
    assert_eq!(vectors.wait_any_or(&waker, SOON)?, None);
    assert!(!waker.take()?);
    Ok(())
}

/// A pool that whoever has a chunk of it owns.
type Shared = Arc<Pool<Arc<Dma<Kernel>>>>;

/// Takes chunks until there is none.
fn take_all(pool: &Shared) -> Vec<Chunk<Shared>> {
    std::iter::from_fn(|| Chunk::new(Arc::clone(pool))).collect()
}

#[test]
fn a_pool_gives_out_each_chunk_once_to_whichever_thread() -> Ended {
    let Opened { dma, .. } = open(model::edu());
    // More than a word of bits, and not whole words.
    let pool = Arc::new(Pool::new(dma, 200, 64, Direction::Both)?);
    for _ in 0..4 {
        let threads = [(); 4].map(|()| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || take_all(&pool))
        });
        let taken = threads.map(|thread| thread.join().unwrap());
        let chunks = taken.iter().flatten();
        let places: BTreeSet<_> = chunks.map(|chunk| (chunk.index(), chunk.iova())).collect();
        assert_eq!((places.len(), taken.iter().flatten().count()), (200, 200));
        let first = places.first().map_or(0, |(_, iova)| *iova);
        let in_a_row = (0..200).zip((first..).step_by(64));
        assert!(places.into_iter().eq(in_a_row));
        assert!(pool.take().is_none());
    }
    assert_eq!(take_all(&pool).len(), 200);
    Ok(())
}

#[test]
fn chunks_hold_what_is_written_to_them_and_nothing_else() -> Ended {
    let Opened { dma, .. } = open(model::edu());
    let pool = dma_pool(&dma)?;
    let (mut first, mut second) = (pool.take().unwrap(), pool.take().unwrap());
    first.window().write_bytes(0, &[1; 24])?;
    second.window().write_bytes(0, &[2; 24])?;
    assert!(first.window().write_bytes(8, &[0; 24]).is_err());
    let mut bytes = [0; 24];
    first.window().read_bytes(0, &mut bytes)?;
    assert_eq!(bytes, [1; 24]);
    // The next owner finds what the last one left.
    let index = first.index();
    drop(first);
    let mut again = pool.take().unwrap();
    assert_eq!(again.index(), index);
    assert_eq!(again.window().read::<u8>(23)?, 1);
    Ok(())
}

fn dma_pool(dma: &Dma<Kernel>) -> Result<Pool<&Dma<Kernel>>, PoolError> {
    Pool::new(dma, 3, 24, Direction::Both)
}

#[test]
fn pools_of_no_chunks_and_of_odd_ones_are_refused() {
    let Opened { dma, .. } = open(model::edu());
    for count in [0, 4097] {
        let refused = Pool::new(&*dma, count, 64, Direction::Both).err();
        assert_eq!(refused, Some(PoolError::Count { count }));
    }
    for len in [0, 12, usize::MAX - 7] {
        let refused = Pool::new(&*dma, 2, len, Direction::Both).err();
        assert_eq!(refused, Some(PoolError::Chunk { len }));
    }
}

#[test]
fn a_part_lies_where_it_says_and_keeps_its_buffer() -> Ended {
    let kernel = kernel(model::edu());
    let Opened { dma, .. } = open_by(&kernel, &kernel);
    let mut buffer = Buffer::new(dma, 8192, Direction::Both)?;
    for at in (0..8192).step_by(8) {
        buffer.window().write(at, u64::try_from(at)?)?;
    }
    let buffer = Arc::new(buffer);
    for (offset, len) in [(0, 8192), (4088, 16), (8, 1), (8192, 0)] {
        let mut part = BufferPart::new(Arc::clone(&buffer), offset, len)?;
        assert_eq!(part.iova(), buffer.iova() + u64::try_from(offset)?);
        assert_eq!(part.len(), len);
        if len >= 8 {
            assert_eq!(part.window().read::<u64>(0)?, u64::try_from(offset)?);
        }
        assert!(part.window().read::<u8>(len).is_err());
    }
    let misaligned = OffsetError::Misaligned {
        offset: 12,
        align: 8,
    };
    assert_eq!(buffer.part(12, 8).err(), Some(misaligned));
    assert!(buffer.part(8192, 1).is_err());
    assert!(buffer.part(8, usize::MAX).is_err());
    let part = BufferPart::new(Arc::clone(&buffer), 4096, 8)?;
    drop(buffer);
    assert_eq!(kernel.live_dma_mappings(), 1);
    drop(part);
    assert_eq!(kernel.live_dma_mappings(), 0);
    Ok(())
}

/// Writes a register of each width at `at` in one window, and reads it back in another over the
/// same memory.
fn agree<A: Access, B: Access>(one: &mut Window<A>, other: &mut Window<B>, at: usize) {
    let value = u64::try_from(at).unwrap() | 0xf0e1_d2c3_0000_0000;
    assert_width(one, other, at, value);
    assert_width(one, other, at, u32::MAX - 3);
    assert_width(one, other, at, u16::MAX - 2);
    assert_width(one, other, at, u8::MAX - 1);
}

fn assert_width<A, B, T>(one: &mut Window<A>, other: &mut Window<B>, at: usize, value: T)
where
    A: Access,
    B: Access,
    T: Width + PartialEq + std::fmt::Debug,
{
    one.write(at, value).unwrap();
    assert_eq!(other.read::<T>(at).unwrap(), value, "at {at:#x}");
    assert_eq!(one.read::<T>(at).unwrap(), value, "at {at:#x}");
}

#[test]
fn a_sparse_region_is_reached_by_mappings_and_calls_as_by_calls_alone() -> Ended {
    let kernel = kernel(model::sparse());
    let Opened { device, .. } = open_by(&kernel, &kernel);
    let mut reply = [0; 512];
    let region = device.region(2, &mut reply)?;
    let mut whole = device.reach::<CanReadWrite>(&region)?;
    let mut trapped = device.trap::<CanReadWrite>(&region)?;
    assert_eq!((whole.len(), kernel.live_mappings()), (64 << 10, 8));
    for page in 0..16 {
        for at in [page * 4096, page * 4096 + 0x238, page * 4096 + 4088] {
            agree(&mut whole, &mut trapped, at);
            agree(&mut trapped, &mut whole, at);
        }
    }
    // Across the borders of pages, in both directions.
    let bytes: Vec<u8> = (0..12_000_u32).map(|n| (n % 251) as u8).collect();
    let mut back = vec![0; bytes.len()];
    whole.write_bytes(4093, &bytes)?;
    trapped.read_bytes(4093, &mut back)?;
    assert_eq!(back, bytes);
    trapped.write_bytes(60_001, &bytes[..4001])?;
    whole.read_bytes(60_001, &mut back[..4001])?;
    assert_eq!(back[..4001], bytes[..4001]);
    // A mapped access is no call.
    let before = kernel.calls();
    whole.read::<u32>(4096)?;
    assert_eq!(kernel.calls().pread, before.pread);
    whole.read::<u32>(0)?;
    assert_eq!(kernel.calls().pread, before.pread + 1);
    assert!(whole.read::<u64>(64 << 10).is_err());
    assert!(whole.read::<u64>(4).is_err());
    drop(whole);
    assert_eq!(kernel.live_mappings(), 0);
    Ok(())
}

/// Builds an `edu` that can't be mapped.
fn unmapped() -> Model {
    let edu = model::edu();
    let mut description: Description = edu.description().clone();
    for region in description.regions.iter_mut().flatten() {
        region.flags.remove(RegionFlags::MMAP);
    }
    Model::new(description).with_registers(vfio_hosted::model::Edu::new())
}

#[test]
fn a_region_of_which_nothing_can_be_mapped_is_reached() -> Ended {
    let kernel = kernel(unmapped());
    let Opened { device, dma } = open_by(&kernel, &kernel);
    assert!(device.bring_up(pci_region::BAR0).is_err());
    let edu = Edu::new(WholeRegion::bring_up(
        Arc::clone(&device),
        pci_region::BAR0,
    )?)?;
    assert_eq!(kernel.live_mappings(), 0);
    let mut engine = DmaEngine::new(edu, dma, Direction::Both)?;
    assert_eq!(engine.edu()?.factorial(5)?, 120);
    engine.write(b"without a mapping")?;
    let mut back = [0; 17];
    engine.read(&mut back)?;
    assert_eq!(&back, b"without a mapping");
    Ok(())
}

#[test]
fn a_world_that_maps_no_regions_reaches_them() -> Ended {
    let kernel = kernel(model::edu());
    let reach = |sys: &Failing<Kernel>| -> Result<u64, Box<dyn Error>> {
        let Opened { device, .. } = open_by(sys, &kernel);
        let mut reply = [0; 64];
        let region = device.region(pci_region::BAR0, &mut reply)?;
        let before = sys.calls();
        let mut whole = WholeRegion::reach::<CanRead>(device, &region)?;
        assert_eq!(whole.read::<u32>(0)?, 0x0100_00ed);
        Ok(before)
    };
    let calls = reach(&Failing::new(kernel.clone()))?;
    let without = Failing::new(kernel.clone()).at(calls, Fault::Errno(Errno::ENOSYS));
    reach(&without)?;
    assert_eq!(without.failed(), Some(Call::Map));
    // Another error is one.
    let refused = Failing::new(kernel.clone()).at(calls, Fault::Errno(Errno::ENOMEM));
    let error = reach(&refused).unwrap_err();
    assert_eq!(
        error.downcast_ref::<RegionError>(),
        Some(&RegionError::Map(Errno::ENOMEM))
    );
    Ok(())
}

#[test]
fn what_a_device_writes_is_read_at_odd_offsets() -> Ended {
    let Opened { device, dma } = open(model::edu());
    let edu = Edu::new(MappedRegion::bring_up(device, pci_region::BAR0)?)?;
    let mut engine = DmaEngine::new(edu, dma, Direction::Both)?;
    let written: Vec<u8> = (0..4000_u32).map(|n| (n % 253) as u8).collect();
    engine.write(&written)?;
    let zeros = [0; 4096];
    Window::new(engine.memory()?).write_bytes(0, &zeros)?;
    let mut back = vec![0; written.len()];
    engine.read(&mut back)?;
    assert_eq!(back, written);
    for offset in [0, 1, 3, 7, 8, 61, 1023] {
        for len in [0, 1, 2, 7, 8, 9, 127, 128, 129, 2048] {
            let mut bytes = vec![0; len];
            Window::new(engine.memory()?).read_bytes(offset, &mut bytes)?;
            assert_eq!(bytes, written[offset..offset + len], "{len} at {offset}");
        }
    }
    Ok(())
}
