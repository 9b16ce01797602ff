//! The shim: the core's system calls, answered here.

use core::ffi::CStr;
use core::ptr::NonNull;
use core::time::Duration;

use spin::{Mutex, MutexGuard};
use vfio_core::mmio::Access as _;
use vfio_core::open::Place;
use vfio_core::pci::{HeaderLayout, Id};
use vfio_core::sys::{
    Errno, Exchange, ExchangeRequest, FdRequest, InfoRequest, NameRequest, NoIommu, Pages, Parts,
    Protection, Span, Sys, ValueRequest, put_argsz,
};
use vfio_core::wire::abi::ioctl;
use vfio_core::wire::server;

use super::device::{Bytes, Device};
use super::files::{File, Files, Released};
use super::mapping::Mapping;
use super::memory::Memory;
use crate::boot::Boot;
use crate::pci::{Function, Functions, Room, Space, SpaceError, assign, scan};
use crate::{clock, interrupts, paging, physical};

/// The machine's PCI devices, as VFIO offers them. There is one machine: every value stands for
/// the same devices and open files.
///
/// No device has an IOMMU here that the image could rely on, so that who has this value gave the
/// word for all of them ([`GuestPci::new`]): no session is opened without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestPci {
    word: NoIommu,
}

/// Nothing was looked for yet, and nothing can be opened.
static STATE: Mutex<State> = Mutex::new(State {
    functions: Functions::new(),
    files: Files::new(),
    devices: [const { Device::CLOSED }; DEVICES_MOST],
});

/// What was found, and all that is open.
#[derive(Debug)]
struct State {
    functions: Functions,
    files: Files,
    /// Open devices with the numbers of their groups.
    devices: [Device; DEVICES_MOST],
}

/// `ERANGE`: the memory lies too high.
const ERANGE: Errno = Errno(34);

/// How many devices can be open at once.
const DEVICES_MOST: usize = 4;

/// Where memory of the machine ends that registers below 4 GiB leave alone, and where the
/// registers of the processor's own devices begin.
const LOW: u64 = 0xc000_0000;
const LOW_END: u64 = 0xfec0_0000;
/// The I/O ports that no old device has.
const IO: core::ops::Range<u64> = 0xc000..0x1_0000;

/// Why the machine's devices can't be offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum DiscoverError {
    /// Configuration space can't be reached.
    Space(SpaceError),
}

/// An open file; closed on drop.
#[derive(Debug)]
pub struct Fd {
    file: File,
}

/// What interrupts are counted in; given back on drop.
#[derive(Debug)]
pub struct Event {
    event: u8,
}

impl Event {
    /// Returns which of the machine's events it is.
    pub(super) const fn place(&self) -> u8 {
        self.event
    }
}

impl State {
    /// Opens a group.
    fn open_group(&mut self, group: u8) -> Result<File, Errno> {
        let function = self.functions.get(usize::from(group));
        match function {
            Some(function) if function.layout == HeaderLayout::NORMAL => {
                self.files.open_group(group)
            }
            _ => Err(Errno::ENOENT),
        }
    }

    /// Opens the device of a group.
    fn open_device(&mut self, group: u8, name: &CStr) -> Result<File, Errno> {
        let function = self.functions.get(usize::from(group));
        let address = function.ok_or(Errno::ENODEV)?.address;
        if !address.is_named(name) {
            return Err(Errno::ENODEV);
        }
        let is_open = self.files.may_open_device(group)?;
        let file = self.files.open_device(group)?;
        if is_open {
            return Ok(file);
        }
        let slot = self
            .devices
            .iter_mut()
            .find(|device| device.group.is_none());
        let opened = match slot {
            Some(device) => device.open(group, address).map_err(|error| {
                defmt::error!("{} can't be opened: {}", address, error);
                Errno::EIO
            }),
            None => Err(Errno::EMFILE),
        };
        if opened.is_err() {
            self.files.close(file);
        }
        opened.map(|()| file)
    }

    /// Returns the open device behind a file.
    #[inline(never)]
    fn device(&mut self, file: File) -> Result<&mut Device, Errno> {
        let File::Device(group) = file else {
            return Err(Errno::EINVAL);
        };
        let mut devices = self.devices.iter_mut();
        let device = devices.find(|device| device.group == Some(group));
        device.ok_or(Errno::EBADF)
    }

    fn info(&mut self, file: File, request: InfoRequest, reply: &mut [u8]) -> Result<(), Errno> {
        match (file, request) {
            (File::Group(group), InfoRequest::GroupStatus) => {
                server::group_status(self.files.group_flags(group), reply)
            }
            // A container and a device share a number: the file decides what it means.
            (file @ File::Device(_), InfoRequest::Iommu) => {
                self.device(file)?.info(InfoRequest::PciHotReset, reply)
            }
            (file @ File::Device(_), _) => self.device(file)?.info(request, reply),
            (file, _) => Err(self.files.unknown_to(file)),
        }
    }

    fn value(&mut self, file: File, request: ValueRequest, value: u32) -> Result<u32, Errno> {
        match (file, request) {
            (File::Container(_), ValueRequest::GetApiVersion) => return Ok(ioctl::API_VERSION),
            (File::Container(_), ValueRequest::CheckExtension) => {
                return Ok(Files::check_extension(value));
            }
            (File::Container(container), ValueRequest::SetIommu | ValueRequest::SetNoIommu(_)) => {
                self.files.set_iommu(container, value)
            }
            (File::Group(group), ValueRequest::UnsetContainer) => self.files.unset_container(group),
            (file @ File::Device(_), ValueRequest::Reset) => self.device(file)?.reset(),
            (file, _) => Err(self.files.unknown_to(file)),
        }?;
        Ok(0)
    }

    fn attach(&mut self, file: File, request: FdRequest, argument: File) -> Result<(), Errno> {
        match (file, request) {
            // Whoever opened the group gave the word.
            (File::Group(group), FdRequest::SetContainer | FdRequest::SetContainerNoIommu(_)) => {
                self.files.set_container(group, argument)
            }
            (file, _) => Err(self.files.unknown_to(file)),
        }
    }

    fn name(&mut self, file: File, request: NameRequest, name: &CStr) -> Result<File, Errno> {
        match (file, request) {
            (File::Group(group), NameRequest::GetDeviceFd) => self.open_device(group, name),
            (file, _) => Err(self.files.unknown_to(file)),
        }
    }

    fn exchange(&mut self, file: File, parts: &Parts<'_, Fd, Event>) -> Result<u32, Errno> {
        match (file, parts.request) {
            (file @ File::Device(_), ExchangeRequest::SetIrqs | ExchangeRequest::SetIrqEvents) => {
                let device = self.device(file)?;
                device.set_irqs(parts.argument, parts.events)?;
                Ok(0)
            }
            (file, _) => Err(self.files.unknown_to(file)),
        }
    }

    fn map(&mut self, file: File, span: Span, protection: Protection) -> Result<Mapping, Errno> {
        self.device(file)?.map(span, protection)
    }

    fn transfer(&mut self, file: File, bytes: Bytes<'_>, offset: u64) -> Result<usize, Errno> {
        self.device(file)?.transfer(bytes, offset)
    }

    /// Closes a file.
    fn close(&mut self, file: File) {
        let Released::Device(group) = self.files.close(file) else {
            return;
        };
        if let Ok(device) = self.device(File::Device(group)) {
            device.close();
        }
    }
}

impl GuestPci {
    /// Creates the machine, for an image that keeps its devices to their own memory. It gives the
    /// word here, once:
    ///
    /// ```ignore
    /// // SAFETY: the image drives one device, by a driver that tells it the addresses of its own
    /// // buffers and no others, and that stops it before they are dropped.
    /// let machine = GuestPci::new(unsafe { NoIommu::acknowledge() });
    /// ```
    ///
    /// Memory does not move: it lies where it has its address.
    #[must_use]
    pub const fn new(word: NoIommu) -> Self {
        Self { word }
    }

    /// Finds the devices, and gives their registers a place where the firmware did not. What can't
    /// be offered is logged as an error, and the rest is.
    ///
    /// # Errors
    /// [`DiscoverError`]
    pub fn discover(&self, boot: &Boot) -> Result<(), DiscoverError> {
        let space = Space::find(&physical::Machine, boot.rsdp).map_err(DiscoverError::Space)?;
        self.discover_in(space, boot)
    }

    /// Discovers as [`GuestPci::discover`] does, the devices of a configuration space.
    ///
    /// # Errors
    /// [`DiscoverError`]
    #[inline(never)]
    pub fn discover_in(&self, space: Space, boot: &Boot) -> Result<(), DiscoverError> {
        let functions = &mut state().functions;
        functions.clear();
        let segments = (0..).map_while(|n| space.segment(n));
        scan(space, segments, functions, &mut |error| {
            defmt::error!("left out: {}", error);
        });
        assign(space, functions, &mut room(space, boot), &mut |error| {
            defmt::error!("{}", error);
        });
        Ok(())
    }

    /// Returns the function of a group, which may be a bridge. There are as many groups as
    /// functions.
    #[must_use]
    pub fn function(&self, group: u32) -> Option<Function> {
        let group = usize::try_from(group).ok()?;
        state().functions.get(group).copied()
    }

    /// Returns the functions with their groups, bridges among them.
    pub fn functions(&self) -> impl Iterator<Item = (u32, Function)> {
        (0..).map_while(|group| Some((group, self.function(group)?)))
    }

    /// Returns the first function with these ids, of vendor and device, and its group.
    #[must_use]
    pub fn find(&self, vendor: u16, device: u16) -> Option<(u32, Function)> {
        let id = Id { vendor, device };
        let state = state();
        let mut functions = (0..).zip(&state.functions);
        let (group, function) = functions.find(|(_, function)| function.id == id)?;
        Some((group, *function))
    }

    /// Returns where [`Session`](vfio_core::open::Session) finds the function of a group. `name`
    /// takes its name.
    #[must_use]
    pub fn place<'n>(&self, group: u32, name: &'n mut [u8; 13]) -> Option<Place<'n>> {
        *name = self.function(group)?.address.name();
        // SAFETY: the last byte is a NUL, and no other one is.
        let name = unsafe { CStr::from_bytes_with_nul_unchecked(name) };
        Some(Place {
            name,
            group: Some(group),
            is_noiommu: true,
            noiommu: Some(self.word),
            ..Place::default()
        })
    }

    /// Returns how many files are open.
    #[must_use]
    pub fn open_files(&self) -> usize {
        state().files.open()
    }
}

/// Reads or writes at an offset of a device's file.
#[inline(never)]
fn transfer(fd: &Fd, bytes: Bytes<'_>, offset: u64) -> Result<usize, Errno> {
    state().transfer(fd.file, bytes, offset)
}

/// Returns all that is open. It is never asked for by a handler.
#[inline(never)]
fn state() -> MutexGuard<'static, State> {
    STATE.lock()
}

/// Returns where registers can be that have no place: above the memory below 4 GiB, and in the
/// uppermost quarter of the processor's addresses, where hypervisors keep room.
fn room(space: Space, boot: &Boot) -> Room {
    let low_memory = boot.memory.iter().map(|stretch| stretch.range().end);
    let start = low_memory.filter(|end| *end <= LOW_END).fold(LOW, u64::max);
    let mut low = start..LOW_END;
    for taken in (0..)
        .map_while(|n| space.segment(n))
        .map(|segment| segment.range())
    {
        // The larger part of what it leaves.
        if taken.end <= low.start || low.end <= taken.start {
            continue;
        }
        if taken.start.saturating_sub(low.start) >= low.end.saturating_sub(taken.end) {
            low.end = taken.start;
        } else {
            low.start = taken.end;
        }
    }
    let limit = paging::limit();
    Room {
        low,
        high: (limit >> 2).saturating_mul(3)..limit,
        io: IO,
    }
}

impl Sys for GuestPci {
    const MAPS: bool = false;

    type Fd = Fd;
    type Mapping = Mapping;
    type Memory = Memory;
    type Event = Event;

    fn open(&self, path: &CStr) -> Result<Fd, Errno> {
        if path != c"/dev/vfio/vfio" {
            return Err(Errno::ENOENT);
        }
        let file = state().files.open_container()?;
        Ok(Fd { file })
    }

    fn open_group(&self, group: u32, noiommu: Option<NoIommu>) -> Result<Fd, Errno> {
        let file = match u8::try_from(group) {
            Ok(group) if noiommu.is_some() => state().open_group(group)?,
            _ => return Err(Errno::ENOENT),
        };
        Ok(Fd { file })
    }

    fn ioctl_info(&self, fd: &Fd, request: InfoRequest, reply: &mut [u8]) -> Result<(), Errno> {
        put_argsz(reply)?;
        state().info(fd.file, request, reply)
    }

    fn ioctl_value(&self, fd: &Fd, request: ValueRequest, value: u32) -> Result<u32, Errno> {
        state().value(fd.file, request, request.argument(value)?)
    }

    fn ioctl_fd(&self, fd: &Fd, request: FdRequest, argument: &Fd) -> Result<(), Errno> {
        state().attach(fd.file, request, argument.file)
    }

    fn ioctl_name(&self, fd: &Fd, request: NameRequest, name: &CStr) -> Result<Fd, Errno> {
        let file = state().name(fd.file, request, name)?;
        Ok(Fd { file })
    }

    fn pread(&self, fd: &Fd, buf: &mut [u8], offset: u64) -> Result<usize, Errno> {
        transfer(fd, Bytes::Read(buf), offset)
    }

    fn pwrite(&self, fd: &Fd, buf: &[u8], offset: u64) -> Result<usize, Errno> {
        transfer(fd, Bytes::Write(buf), offset)
    }

    fn exchange(&self, fd: &Fd, exchange: Exchange<'_, Fd, Event>) -> Result<u32, Errno> {
        let parts = exchange.into_parts();
        if parts.request.length_at().is_some() || parts.request.descriptor().is_some() {
            return Err(Errno::EINVAL);
        }
        state().exchange(fd.file, &parts)
    }

    unsafe fn exchange_memory(
        &self,
        fd: &Fd,
        _memory: &Memory,
        _exchange: Exchange<'_>,
    ) -> Result<u32, Errno> {
        Err(state().files.unknown_to(fd.file))
    }

    fn map(&self, fd: &Fd, span: Span, protection: Protection) -> Result<Mapping, Errno> {
        state().map(fd.file, span, protection)
    }

    fn page_size(&self) -> usize {
        super::PAGE
    }

    fn now(&self) -> Result<Duration, Errno> {
        clock::now().map_err(|error| {
            defmt::error!("the time can't be told: {}", error);
            Errno::EIO
        })
    }

    fn memory(&self, len: usize, pages: Pages) -> Result<Memory, Errno> {
        match pages {
            Pages::Ordinary => Memory::new(len),
            // The arena is of small pages.
            Pages::Huge(_) => Err(Errno::EINVAL),
        }
    }

    fn physical_memory(&self, len: usize, highest: u64) -> Result<(Memory, u64), Errno> {
        let memory = Memory::new(len)?;
        let start = memory.physical();
        let last = start
            .checked_add(crate::wide(memory.len()))
            .and_then(|end| end.checked_sub(1));
        match last {
            Some(last) if last <= highest => Ok((memory, start)),
            _ => Err(ERANGE),
        }
    }

    unsafe fn foreign_memory(&self, base: NonNull<u8>, len: usize) -> Result<Memory, Errno> {
        // SAFETY: the caller's promise is passed on.
        unsafe { Memory::foreign(base, len) }
    }

    fn physical_address(&self, memory: &Memory) -> Result<u64, Errno> {
        Ok(memory.physical())
    }

    fn event(&self) -> Result<Event, Errno> {
        let event = interrupts::take_event().ok_or(Errno::EMFILE)?;
        Ok(Event { event })
    }

    fn event_take(&self, event: &Event) -> Result<u64, Errno> {
        Ok(interrupts::take_count(event.event))
    }

    fn event_signal(&self, event: &Event) -> Result<(), Errno> {
        interrupts::signal(event.event);
        Ok(())
    }

    fn events_wait(&self, events: &[&Event], timeout: Duration) -> Result<bool, Errno> {
        let is_signalled = |event: &&Event| interrupts::is_signalled(event.event);
        let waited = clock::wait(timeout, || events.iter().any(is_signalled));
        waited.map_err(|error| {
            defmt::error!("an interrupt can't be waited for: {}", error);
            Errno::EIO
        })
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        state().close(self.file);
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        interrupts::give_event(self.event);
    }
}
