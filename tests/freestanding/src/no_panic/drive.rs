//! What drives a device: registers, DMA, interrupts, iommufd.

use core::hint::black_box;
use core::ptr::NonNull;
use core::time::Duration;

use vfio_core::device::Device;
use vfio_core::device::display::Edid;
use vfio_core::device::ioeventfd::Ioeventfd;
use vfio_core::device::irq::{Action, Data, Vectors, Waker};
use vfio_core::device::region::{MappedRegion, TrappedRegion, WholeRegion};
use vfio_core::dma::{
    Buffer, BufferOptions, BufferPart, Chunk, Direction, Dma, DmaError, DmaHandle, Pool, Reachable,
};
use vfio_core::handle::Projection;
use vfio_core::mmio::field::ReadPureWrite;
use vfio_core::mmio::{
    self, Access, Addressable, Array, Block, CanReadWrite, Declared, Field, FieldError, Forward,
    Mapped, Origin, Part, Protection, SharedMemory, Through, Width, Window,
};
use vfio_core::open::AddressSpace;
use vfio_core::open::container::Container;
use vfio_core::open::iommufd::Ioas;
use vfio_core::registers;
use vfio_core::sys::{
    Exchange, ExchangeRequest, InfoRequest, LOW_POWER_WAKEUP_LEN, NoIommu, Parts, Sys as _,
};
use vfio_core::wire::abi::{
    DeviceBindIommufd, DeviceIoeventfd, IommuIoasIovaRanges, IommuIoasMapFile, IommuIovaRange,
    IrqSet,
};
use vfio_freestanding::opaque::{Opaque, OpaqueEvent, OpaqueFd, OpaqueMemory, any, used};

registers! {
    /// Some registers.
    struct Registers: 0x18 {
        0x00 first: ReadPureWrite<u32>,
        0x08 second: ReadPureWrite<u64>,
        0x10 several: [ReadPureWrite<u16>; 4],
    }
}

pub(crate) fn all(bytes: &mut [u8]) {
    let device = Device::new(Opaque, OpaqueFd);
    used(Device::sys(&device).page_size());
    regions(&device, bytes);
    interrupts(&device, bytes);
    exchanges(bytes);
    if let Ok(ioas) = Ioas::open(Opaque) {
        iommufd(&ioas);
        memory(AddressSpace::Ioas(ioas));
    }
    if let Ok(container) = Container::open(Opaque) {
        memory(AddressSpace::Container(container));
    }
    if let Ok(container) = Container::open(Opaque) {
        // SAFETY: there is no device.
        let word = unsafe { NoIommu::acknowledge() };
        used(Container::attach_noiommu(&container, any(), word).is_ok());
        used(Container::set_noiommu(&container, word).is_ok());
        memory(AddressSpace::NoIommu(container));
    }
    mmio::before_doorbell();
    mmio::after_status();
    mmio::flush_combined();
    mmio::full_barrier();
    used(Access::is_empty(&OpaqueMemory));
    let origin = Access::origin(&OpaqueMemory, any());
    used(Origin::behind(origin, any()));
    used(Forward::target(&&OpaqueMemory));
    used((Width::widen(any::<u16>()), Width::to_device(any::<u32>())));
    let byte: u8 = Width::truncate(any());
    used(Width::from_device(byte));
}

fn regions(device: &Device<Opaque>, bytes: &mut [u8]) {
    if let Ok(region) = Device::region(device, any(), bytes) {
        used(Device::coverage(device, &region).next());
        if let Ok(window) = Device::map::<CanReadWrite>(device, &region, any()) {
            peer(&window);
            registers(window);
        }
        if let Ok(window) = Device::trap::<CanReadWrite>(device, &region) {
            registers(window);
        }
        if let Ok(window) = Device::reach::<CanReadWrite>(device, &region) {
            registers(window);
        }
        used(TrappedRegion::reach_part::<CanReadWrite>(device, &region, any(), any()).is_ok());
        used(TrappedRegion::reach::<CanReadWrite>(device, &region).is_ok());
        if let Ok(bar) = MappedRegion::map::<CanReadWrite>(device, &region, any()) {
            let bar = Window::through(&bar, |bar| bar);
            registers(bar);
        }
        if let Ok(whole) = WholeRegion::reach::<CanReadWrite>(device, &region) {
            registers(whole);
        }
        used(Edid::new(device, &region).is_ok());
        let event = &OpaqueEvent;
        used(Ioeventfd::new(device, &region, any(), any::<u32>(), event).is_ok());
        used(MappedRegion::bring_up(device, any()).is_ok());
        used(WholeRegion::bring_up(device, any()).is_ok());
    }
    registers(Window::new(TrappedRegion::new(device, any(), any())));
    let base = black_box(NonNull::<u64>::dangling()).cast();
    // SAFETY: an empty stretch of no memory.
    let mapped = unsafe { Mapped::new(base, 0, black_box(Protection::BOTH)) };
    if let Ok(window) = Window::<_>::with_permission(mapped) {
        registers(window);
    }
    // SAFETY: as above.
    let memory = Window::new(unsafe { SharedMemory::new(base, 0) });
    let mut memory = Window::restrict::<CanReadWrite>(memory);
    used(Addressable::as_ptr(&OpaqueMemory));
    // SAFETY: the memory is empty.
    used(unsafe { Window::as_mut_slice(&mut memory) });
    // SAFETY: as above.
    used(unsafe { Window::as_slice(&memory) });
    used(Protection::covers(
        black_box(Protection::BOTH),
        Protection::BOTH,
    ));
}

fn peer(bar: &Window<MappedRegion<&Device<Opaque>>>) {
    let range = any()..any();
    if let Ok(container) = Container::open(Opaque) {
        // SAFETY: the kernel maps nothing.
        used(unsafe { Container::map_bar(&container, bar, range.clone(), any(), any()) });
        let space = AddressSpace::Container(container);
        let direction = black_box(Direction::Both);
        // SAFETY: the kernel maps nothing.
        used(unsafe { AddressSpace::map_bar(&space, bar, range.clone(), any(), direction) });
    }
    if let Ok(ioas) = Ioas::open(Opaque) {
        // SAFETY: the kernel maps nothing.
        used(unsafe { Ioas::map_bar(&ioas, bar, range, any(), any()) });
    }
}

fn registers<A: Access>(mut window: Window<A>) {
    used((Window::len(&window), Window::is_empty(&window)));
    used(Window::check::<u16>(&window, any()).is_ok());
    used(Window::read::<u8>(&mut window, any()).is_ok());
    used(Window::read::<u64>(&mut window, any()).is_ok());
    used(Window::write::<u16>(&mut window, any(), any()).is_ok());
    if let Ok(mut block) = Window::block::<Registers>(&mut window, any()) {
        used(Block::get(&block, Registers::first).is_ok());
        used(Block::read(&mut block, Registers::second).is_ok());
        used(Block::write(&mut block, Registers::second, any()).is_ok());
    }
    let mut bytes = [any::<u8>(); 24];
    used(Window::read_bytes(&mut window, any(), &mut bytes).is_ok());
    used(Window::write_bytes(&mut window, any(), &bytes).is_ok());
    if let Ok(mut part) = Window::part(&mut window, any(), any()) {
        used(Window::read::<u32>(&mut part, any()).is_ok());
    }
    used(Window::into_part(Window::share(&window), any(), any()).is_ok());
    if let Ok(mut array) = Window::into_array::<Registers>(Window::share(&window), any(), any()) {
        used((Array::len(&array), Array::is_empty(&array)));
        used(Access::len(Array::access(&array)));
        if let Some(mut block) = Array::block(&mut array, any()) {
            used(Block::write(&mut block, Registers::first, any()).is_ok());
        }
    }
    used(Window::into_block::<Registers>(window, any()).is_ok());
    let field = Field::<Registers, ReadPureWrite<u32>>::at(any());
    used(field.map_err(FieldError::message).is_ok());
    used(Field::get(Registers::several, any()).is_some());
    let declared = [Declared::new::<ReadPureWrite<u8>>(any()); 3];
    used((
        Declared::widest(&declared),
        Declared::out_of_order(&declared),
    ));
    used(Field::offset(Registers::second));
}

fn interrupts(device: &Device<Opaque>, bytes: &mut [u8]) {
    let bools = [any::<bool>(); 3];
    let events = [Some(&OpaqueEvent), None];
    for data in [Data::All(any()), Data::Bools(&bools), Data::Events(&events)] {
        let action = black_box(Action::Mask);
        used(Device::set_irqs(device, any(), any(), action, &data, bytes));
    }
    used(Device::disable_irqs(device, any()));
    if let Ok(vectors) = Device::vectors::<3>(device, any()) {
        used(Vectors::wait(&vectors, any(), Duration::from_nanos(any())));
        used(Vectors::take(&vectors, any()));
        used(Vectors::event(&vectors, any()).is_some());
        used(Vectors::unmask(&vectors));
        used(Vectors::rearm(&vectors));
        used(Vectors::<_, 3>::new(device, any()).is_ok());
        if let Ok(waker) = Waker::new(device) {
            used((Waker::wake(&waker), Waker::take(&waker)));
            used(core::ptr::from_ref(Waker::event(&waker)));
            let limit = Duration::from_nanos(any());
            used(Vectors::wait_any(&vectors, limit));
            used(Vectors::wait_any_or(&vectors, &waker, limit));
        }
    }
}

/// Makes the requests of [`Opaque`].
fn exchanges(bytes: &mut [u8]) {
    let request = black_box(ExchangeRequest::SetIrqs);
    used(ExchangeRequest::number(request));
    used((
        ExchangeRequest::pointer_at(request),
        ExchangeRequest::length_at(request),
        ExchangeRequest::is_of_device(request),
    ));
    used(ExchangeRequest::names_at(request));
    if let Ok(exchange) = Exchange::<OpaqueFd, OpaqueEvent>::new(request, bytes) {
        used(Exchange::request(&exchange));
        let mut parts = Exchange::into_parts(exchange);
        used(Parts::point(&mut parts, any(), any()));
        Parts::name(&mut parts, |_| any(), |_| any());
    }
    used(Exchange::<OpaqueFd, OpaqueEvent>::map(request, bytes, any()..any()).is_ok());
    let mut argument = IommuIoasIovaRanges::default();
    let mut ranges = [IommuIovaRange::default(); 3];
    used(Exchange::<OpaqueFd, OpaqueEvent>::iova_ranges(
        black_box(&mut argument),
        &mut ranges,
    ));
    let mut bind = DeviceBindIommufd::default();
    let (file, event) = ([&OpaqueFd], [Some(&OpaqueEvent)]);
    let mut token = any();
    let token = any::<bool>().then_some(&mut token);
    used(Exchange::<_, OpaqueEvent>::bind_iommufd(
        black_box(&mut bind),
        &file,
        token,
    ));
    let mut map = IommuIoasMapFile::default();
    used(Exchange::<_, OpaqueEvent>::map_file(&mut map, &file));
    let mut write = DeviceIoeventfd::default();
    used(Exchange::<OpaqueFd, _>::ioeventfd(&mut write, &event));
    used(Exchange::<OpaqueFd, _>::irq_events(bytes, any::<IrqSet>(), black_box(&event)).is_ok());
    used(Exchange::<_, OpaqueEvent>::hot_reset(bytes, black_box(&file)).is_ok());
    let mut buffer = [0; LOW_POWER_WAKEUP_LEN];
    used(Exchange::<OpaqueFd, _>::low_power_wakeup(
        &mut buffer,
        &event,
    ));
    used((
        InfoRequest::number(black_box(InfoRequest::Irq)),
        InfoRequest::least(black_box(InfoRequest::Irq)),
    ));
}

fn iommufd(ioas: &Ioas<Opaque>) {
    let path = black_box(c"/dev/vfio/devices/vfio0");
    used(Ioas::attach(ioas, path).is_ok());
    used(Ioas::bind_with_token(ioas, path, any()).is_ok());
    if let Ok(device) = Ioas::bind(ioas, path) {
        used(Ioas::attach_device(ioas, &device));
        used(Ioas::detach_device(ioas, &device));
    }
    let mut ranges = [IommuIovaRange::default(); 4];
    used(Ioas::iova_ranges(ioas, black_box(&mut ranges)));
    // SAFETY: the kernel maps nothing.
    used(unsafe { Ioas::map(ioas, &OpaqueMemory, any()..any(), any(), any()) });
    used(Ioas::unmap(ioas, any(), any()));
}

fn memory(space: AddressSpace<Opaque>) {
    let direction = black_box(Direction::Both);
    // SAFETY: the kernel maps nothing.
    let mapped =
        unsafe { AddressSpace::map(&space, &OpaqueMemory, any()..any(), any(), direction) };
    used(mapped);
    used(AddressSpace::unmap(&space, any(), any()));
    used(AddressSpace::unmap_all(&space));
    let dma = Dma::<_, 16>::new(Opaque, space);
    if let Err(error) = &dma {
        used(DmaError::errno(error));
    }
    let Ok(dma) = dma else {
        return;
    };
    used(Dma::space(&dma));
    used(DmaHandle::space(&&dma).unmap_all());
    if let Ok(mut buffer) = Dma::buffer(&dma, any(), direction) {
        used((
            Buffer::iova(&buffer),
            Buffer::len(&buffer),
            Buffer::is_empty(&buffer),
        ));
        registers(Window::new(OpaqueMemory));
        used(Buffer::window(&mut buffer).len());
        used(Buffer::unmap(buffer));
    }
    let options = BufferOptions::new(direction);
    let options = BufferOptions::aligned(BufferOptions::up_to(options, any()), any());
    if let Ok(buffer) = Buffer::new(&dma, any(), BufferOptions::at(options, any())) {
        parts(&buffer);
    }
    let huge = BufferOptions::huge(BufferOptions::new(direction), any());
    // SAFETY: nothing is behind the opaque shim.
    let foreign = unsafe { Buffer::foreign(&dma, NonNull::dangling(), any(), huge) };
    used(foreign.is_ok());
    if let Ok(pool) = Pool::new(&dma, any(), any(), BufferOptions::from(direction)) {
        chunks(&pool);
    }
}

/// Parts of a buffer.
fn parts<M: DmaHandle>(buffer: &Buffer<M>) {
    if let Ok(mut part) = Buffer::part(buffer, any(), any()) {
        used(BufferPart::iova(&part));
        used(BufferPart::window(&mut part).len());
        used(Reachable::iova(&part));
    }
    used(BufferPart::new(buffer, any(), any()).is_ok());
    used(Part::new(buffer, any(), any()).is_ok());
    let through = Through::new(buffer);
    used(Through::handle(&through).iova());
}

/// Chunks of a pool.
fn chunks<M: DmaHandle>(pool: &Pool<M>) {
    used((Pool::count(pool), Pool::chunk_len(pool)));
    if let Some(mut chunk) = Pool::take(pool) {
        used((Chunk::iova(&chunk), Chunk::index(&chunk)));
        used(Chunk::window(&mut chunk).len());
    }
    used(Chunk::new(pool).is_some());
    let whole = Projection::new(pool, |pool: &Pool<M>| pool);
    used(Projection::whole(&whole).count());
    let same = Projection::try_new(pool, |pool: &Pool<M>| Some(pool));
    used(same.map(|pool| Projection::map(pool, |pool| pool).count()));
}
