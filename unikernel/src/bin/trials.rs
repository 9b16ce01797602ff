//! What goes wrong, made to go wrong: the word `trial=NAME` on the command line says what. Each
//! must end in an error frame and a failing status, but for those that try what must work.
#![no_std]
#![no_main]

use core::time::Duration;

use vfio_core::device::irq::IrqError;
use vfio_core::open::{Mode, Session, SessionError};
use vfio_core::pci::{BringUpError, Command, Config, DeviceConfig};
use vfio_core::sys::{Errno, NoIommu, Pages, Sys};
use vfio_core::wire::abi::{pci_irq, pci_region};
use vfio_drivers::edu::{Edu, EduError};
use vfio_unikernel::GuestPci;
use vfio_unikernel::acpi::Segment;
use vfio_unikernel::boot::Boot;
use vfio_unikernel::clock::{self, ClockError};
use vfio_unikernel::pci::{Address, Registers, Space, SpaceError};
use vfio_unikernel::shim::DiscoverError;

vfio_unikernel::entry!(main);

/// How a trial failed.
#[derive(defmt::Format)]
enum Error {
    Discover(DiscoverError),
    Space(SpaceError),
    NoDevice,
    Open(SessionError),
    BringUp(BringUpError),
    Command,
    Edu(EduError<vfio_unikernel::pci::NoError>),
    Irq(IrqError),
    Errno(Errno),
    Clock(ClockError),
    /// What was written does not come back.
    Lost,
    /// It did not come, as it should be.
    NoInterrupt,
    /// There is no such trial, or it did not go wrong.
    Unknown,
}

type Opened = Session<GuestPci>;

fn main(boot: &Boot) -> Result<(), Error> {
    let word = boot
        .command_line
        .split(|byte| *byte == b' ')
        .find_map(|word| word.strip_prefix(b"trial="));
    match word.unwrap_or_default() {
        b"panic" => panics(boot.command_line),
        b"page-fault" => page_fault(),
        b"write-code" => write_code(),
        b"execute-data" => execute_data(),
        b"stack-overflow" => defmt::info!("{}", overflow(1)),
        b"invalid-opcode" => invalid_opcode(),
        b"fault-in-frame" => defmt::info!("{}", Faulty),
        b"arena" => return arena(),
        b"no-event" => return no_event(),
        b"no-interrupt" => return no_interrupt(boot),
        b"silent" => return silent(boot),
        b"cycle" => return cycle(boot),
        b"high" => return high(boot),
        b"msix" => return msix(boot),
        b"reset" => return reset(boot),
        b"registers" => return registers(),
        b"clock" => return speed(),
        b"unplaced" => return unplaced(boot),
        b"too-large" => return too_large(boot),
        _ => (),
    }
    Err(Error::Unknown)
}

/// Panics, whatever the command line.
fn panics(line: &[u8]) {
    let nothing = line.first().filter(|byte| **byte == 0);
    if nothing.is_none() {
        panic!("deliberate");
    }
}

/// Reads where nothing is mapped.
fn page_fault() {
    let nowhere: *const u64 = core::ptr::without_provenance(0x40_0000_0000);
    // SAFETY: it is not sound: the page fault is what is tried, and ends the image.
    let value = unsafe { nowhere.read_volatile() };
    defmt::info!("{}", value);
}

/// Writes to code.
fn write_code() {
    let code = core::ptr::with_exposed_provenance_mut::<u8>(0x10_0000);
    // SAFETY: it is not sound: the page fault is what is tried, and ends the image.
    unsafe { code.write_volatile(0xcc) };
}

/// Executes data.
fn execute_data() {
    static DATA: [u8; 16] = [0xc3; 16];
    // SAFETY: it is not sound: the page fault is what is tried, and ends the image.
    let function: extern "C" fn() = unsafe { core::mem::transmute(&raw const DATA) };
    function();
}

/// Uses up the stack.
#[inline(never)]
fn overflow(depth: u64) -> u64 {
    let mut room = [depth; 64];
    core::hint::black_box(&mut room);
    match depth.checked_add(1) {
        Some(depth) => overflow(depth).wrapping_add(room.iter().sum::<u64>()),
        None => 0,
    }
}

/// Executes what is no instruction.
fn invalid_opcode() {
    // SAFETY: the exception is what is tried, and ends the image.
    unsafe { core::arch::asm!("ud2") };
}

/// Faults while it is being logged.
struct Faulty;

impl defmt::Format for Faulty {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "half");
        page_fault();
    }
}

/// Returns the machine.
fn machine() -> GuestPci {
    // SAFETY: no trial gives a device memory.
    GuestPci::new(unsafe { NoIommu::acknowledge() })
}

/// Checks that there is no more memory than there is.
fn arena() -> Result<(), Error> {
    let machine = machine();
    let all = machine
        .memory(1 << 20, Pages::Ordinary)
        .map_err(Error::Errno)?;
    drop(all);
    machine
        .memory((1 << 20) + 1, Pages::Ordinary)
        .map(drop)
        .map_err(Error::Errno)
}

/// Waits for an event that nobody signals, after one of two that somebody does.
fn no_event() -> Result<(), Error> {
    let machine = machine();
    let event = machine.event().map_err(Error::Errno)?;
    let other = machine.event().map_err(Error::Errno)?;
    machine.event_signal(&other).map_err(Error::Errno)?;
    let any = machine.events_wait(&[&event, &other], Duration::MAX);
    if any != Ok(true) || machine.event_take(&other) != Ok(1) {
        return Err(Error::Unknown);
    }
    match machine.events_wait(&[&event], Duration::from_millis(200)) {
        Ok(true) => Err(Error::Unknown),
        Ok(false) => Err(Error::NoInterrupt),
        Err(errno) => Err(Error::Errno(errno)),
    }
}

/// Opens the first device with these ids.
fn open(boot: &Boot, vendor: u16, device: u16) -> Result<Opened, Error> {
    let machine = machine();
    machine.discover(boot).map_err(Error::Discover)?;
    let (group, _) = machine.find(vendor, device).ok_or(Error::NoDevice)?;
    let mut name = [0; 13];
    let place = machine.place(group, &mut name).ok_or(Error::NoDevice)?;
    Session::open_in(Mode::NoIommu, &machine, &place).map_err(Error::Open)
}

/// Turns off what a command register has on.
fn turn_off(session: &Opened, off: Command) -> Result<(), Error> {
    let config = DeviceConfig::ask(&session.device, &mut [0; 64]).map_err(|_| Error::Command)?;
    let mut config = Config::new(config);
    let command = config.command().map_err(|_| Error::Command)?;
    config
        .set_command(command & !off)
        .map_err(|_| Error::Command)
}

/// Interrupts of a device that may not write memory never come.
fn no_interrupt(boot: &Boot) -> Result<(), Error> {
    let session = open(boot, 0x1234, 0x11e8)?;
    let bar0 = session
        .device
        .bring_up(pci_region::BAR0)
        .map_err(Error::BringUp)?;
    let mut edu = Edu::new(bar0).map_err(Error::Edu)?;
    let vectors = session
        .device
        .vectors::<1>(pci_irq::MSI)
        .map_err(Error::Irq)?;
    turn_off(&session, Command::MASTER)?;
    edu.raise(1, &vectors).map_err(Error::Edu)
}

/// Opens a device whose registers do not answer.
fn silent(boot: &Boot) -> Result<(), Error> {
    let session = open(boot, 0x1234, 0x11e8)?;
    let bar0 = session
        .device
        .bring_up(pci_region::BAR0)
        .map_err(Error::BringUp)?;
    turn_off(&session, Command::MEMORY)?;
    Edu::new(bar0).map(drop).map_err(Error::Edu)
}

/// Reads a device whose capabilities lead to each other, in a configuration space made up in
/// memory.
fn cycle(boot: &Boot) -> Result<(), Error> {
    let segment = Segment {
        last_bus: 0,
        ..Segment::all(0x200_0000)
    };
    let space = Space::mapped(segment).map_err(Error::Space)?;
    for device in 0..32 {
        Registers::new(space, Address::new(0, device, 0)).set_word(0, 0xffff);
    }
    let made_up = Registers::new(space, Address::new(0, 5, 0));
    for (at, value) in [
        (0x00, 0x11e8_1234),
        (0x04, 0x0010_0000),
        (0x34, 0x40),
        (0x40, 0x4809),
        (0x48, 0x4009),
    ] {
        made_up.set_long(at, value);
    }
    let machine = machine();
    machine.discover_in(space, boot).map_err(Error::Discover)?;
    let (group, _) = machine.find(0x1234, 0x11e8).ok_or(Error::NoDevice)?;
    let mut name = [0; 13];
    let place = machine.place(group, &mut name).ok_or(Error::NoDevice)?;
    Session::open_in(Mode::NoIommu, &machine, &place)
        .map(drop)
        .map_err(Error::Open)
}

/// Checks that memory behind a BAR above 4 GiB keeps what is written to it.
fn high(boot: &Boot) -> Result<(), Error> {
    let session = open(boot, 0x1af4, 0x1110)?;
    let mut bar = session
        .device
        .bring_up(pci_region::BAR2)
        .map_err(Error::BringUp)?;
    let config = DeviceConfig::ask(&session.device, &mut [0; 64]).map_err(|_| Error::Command)?;
    let mut config = Config::new(config);
    let above = config.read_u32(0x1c).map_err(|_| Error::Command)?;
    // Sized, as a driver would: registers of 256 bytes, and memory. The device keeps its place.
    let size = u64::try_from(bar.len()).map_err(|_| Error::Lost)?;
    let upper = u32::try_from(size.wrapping_neg() >> 32).map_err(|_| Error::Lost)?;
    for (register, mask) in [(0x10, 0xffff_ff00), (0x18, 0xc), (0x1c, upper)] {
        let before = config.read_u32(register).map_err(|_| Error::Command)?;
        config
            .write_u32(register, u32::MAX)
            .map_err(|_| Error::Command)?;
        let sized = config.read_u32(register).map_err(|_| Error::Command)?;
        config
            .write_u32(register, before)
            .map_err(|_| Error::Command)?;
        if sized != mask || config.read_u32(register).ok() != Some(before) {
            return Err(Error::Lost);
        }
    }
    let last = bar.len().saturating_sub(8);
    for (at, value) in [(0, 0x0123_4567_89ab_cdef), (last, u64::MAX), (0x10_0000, 7)] {
        bar.write::<u64>(at, value).map_err(|_| Error::Lost)?;
        if bar.read::<u64>(at).ok() != Some(value) {
            return Err(Error::Lost);
        }
    }
    defmt::info!("{=u64} bytes at {=u32} times 4 GiB", size, above);
    if above == 0 {
        Err(Error::NoDevice)
    } else {
        Ok(())
    }
}

/// Checks that a BAR with too few page tables for it is refused. One that is small can be mapped
/// afterwards.
fn too_large(boot: &Boot) -> Result<(), Error> {
    let session = open(boot, 0x1b36, 0x0005)?;
    let large = session.device.bring_up(pci_region::BAR2);
    let small = session.device.bring_up(pci_region::BAR0);
    small.map(drop).map_err(Error::BringUp)?;
    large.map(drop).map_err(Error::BringUp)
}

/// Checks the speed of the time stamp counter, in MHz, and that time passes by the APIC's timer as
/// by that.
fn speed() -> Result<(), Error> {
    const SLEPT: Duration = Duration::from_millis(100);
    let start = clock::now().map_err(Error::Clock)?;
    let stamp = clock::stamp();
    clock::sleep(SLEPT).map_err(Error::Clock)?;
    let passed = clock::now().map_err(Error::Clock)?.saturating_sub(start);
    let micros = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX);
    let mhz = clock::stamp().saturating_sub(stamp).checked_div(micros);
    defmt::info!("{=u64} MHz, slept {=u64} us", mhz.unwrap_or(0), micros);
    if passed < SLEPT * 9 / 10 {
        return Err(Error::Lost);
    }
    Ok(())
}

/// Checks that a BAR of a network card (8086:10d3) that the firmware left without a place is no
/// region. Where it would be is memory.
fn unplaced(boot: &Boot) -> Result<(), Error> {
    let machine = machine();
    machine.discover(boot).map_err(Error::Discover)?;
    let (group, function) = machine.find(0x8086, 0x10d3).ok_or(Error::NoDevice)?;
    // As a firmware leaves it that has no room.
    let registers = Registers::new(Space, function.address);
    registers.set_word(0x04, 0);
    registers.set_long(0x10, 0);
    machine.discover(boot).map_err(Error::Discover)?;
    let mut name = [0; 13];
    let place = machine.place(group, &mut name).ok_or(Error::NoDevice)?;
    let session = Session::open_in(Mode::NoIommu, &machine, &place).map_err(Error::Open)?;
    let mut buffer = [0; 256];
    let [bar0, bar1] = [pci_region::BAR0, pci_region::BAR1].map(|index| {
        let region = session.device.region(index, &mut buffer);
        region.map_or((u64::MAX, 0), |region| (region.size, region.offset))
    });
    defmt::info!("BAR 0: {=u64} bytes, BAR 1: {=u64} bytes", bar0.0, bar1.0);
    let write = session.device.write(bar0.1, 0x8000, &[0xef; 4]);
    let map = session.device.bring_up(pci_region::BAR0);
    if bar0.0 == 0 && bar1.0 == 0x2_0000 && write.is_err() && map.is_err() {
        Ok(())
    } else {
        Err(Error::Lost)
    }
}

/// Has a network card (8086:10d3) send MSI-X messages on two vectors, by its register that sets causes.
fn msix(boot: &Boot) -> Result<(), Error> {
    /// Interrupt cause set, interrupt mask set, interrupt vector allocation (82574 data sheet).
    const ICS: usize = 0xc8;
    const IMS: usize = 0xd0;
    const IVAR: usize = 0xe4;
    /// The causes of the first receive queue and of everything else.
    const CAUSES: [u32; 2] = [1 << 20, 1 << 24];
    let session = open(boot, 0x8086, 0x10d3)?;
    let bar0 = session.device.bring_up(pci_region::BAR0);
    let mut bar0 = bar0.map_err(Error::BringUp)?;
    let vectors = session.device.vectors::<2>(pci_irq::MSIX);
    let vectors = vectors.map_err(Error::Irq)?;
    let mut write = |at, value: u32| bar0.write(at, value).map_err(|_| Error::Lost);
    // Valid, vector 0; valid, vector 1.
    write(IVAR, 0x8 | 0x9 << 16)?;
    write(IMS, CAUSES[0] | CAUSES[1])?;
    for (vector, cause) in CAUSES.into_iter().enumerate() {
        write(ICS, cause)?;
        let came = vectors.wait(vector, Duration::from_secs(2));
        let others = vectors.take(1 - vector).map_err(Error::Errno)?;
        match came.map_err(Error::Errno)? {
            0 => return Err(Error::NoInterrupt),
            _ if others != 0 => return Err(Error::Unknown),
            count => defmt::info!("vector {}: {=u64}", vector, count),
        }
    }
    // The card keeps interrupts apart by a timer of 128 us, and QEMU's model ends QEMU where MSI-X goes before that is over.
    // Waiting takes a timer as well, which the same clock ends later.
    vectors
        .wait(0, Duration::from_millis(1))
        .map_err(Error::Errno)?;
    drop(vectors);
    if session.device.vectors::<1>(pci_irq::INTX).is_ok() {
        return Err(Error::Unknown);
    }
    Ok(())
}

/// Checks that an interrupt, wherever it comes, leaves every register as it was.
fn registers() -> Result<(), Error> {
    // That starts the local APIC.
    machine().now().map_err(Error::Errno)?;
    let changed: u64;
    // SAFETY: the first vector of devices interrupts as if a device had sent a message that
    // nobody waits for. All that is used is either told or put back.
    unsafe {
        core::arch::asm!(
            "push rbx",
            "push rbp",
            "mov rax, 0x1001",
            "mov rbx, 0x1112",
            "mov rcx, 0x1223",
            "mov rdx, 0x1334",
            "mov rsi, 0x1445",
            "mov rdi, 0x1556",
            "mov rbp, 0x1667",
            "mov r8, 0x1778",
            "mov r9, 0x1889",
            "mov r10, 0x199a",
            "mov r11, 0x1aab",
            "mov r12, 0x1bbc",
            "mov r13, 0x1ccd",
            "mov r14, 0x1dde",
            "mov r15, 0x1eef",
            "movq xmm0, rdi",
            "movq xmm15, rsi",
            "int 0x20",
            "sub rax, 0x1001",
            "sub rbx, 0x1112",
            "sub rcx, 0x1223",
            "sub rdx, 0x1334",
            "sub rsi, 0x1445",
            "sub rdi, 0x1556",
            "sub rbp, 0x1667",
            "sub r8, 0x1778",
            "sub r9, 0x1889",
            "sub r10, 0x199a",
            "sub r11, 0x1aab",
            "sub r12, 0x1bbc",
            "sub r13, 0x1ccd",
            "sub r14, 0x1dde",
            "sub r15, 0x1eef",
            "or rax, rbx",
            "or rax, rcx",
            "or rax, rdx",
            "or rax, rsi",
            "or rax, rdi",
            "or rax, rbp",
            "or rax, r8",
            "or rax, r9",
            "or rax, r10",
            "or rax, r11",
            "or rax, r12",
            "or rax, r13",
            "or rax, r14",
            "or rax, r15",
            "movq rcx, xmm0",
            "sub rcx, 0x1556",
            "or rax, rcx",
            "movq rcx, xmm15",
            "sub rcx, 0x1445",
            "or rax, rcx",
            "pop rbp",
            "pop rbx",
            out("rax") changed,
            out("rcx") _, out("rdx") _, out("rsi") _, out("rdi") _,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            out("r12") _, out("r13") _, out("r14") _, out("r15") _,
            out("xmm0") _, out("xmm15") _,
        );
    }
    defmt::info!("registers: {=u64:#x}", changed);
    if changed == 0 {
        Ok(())
    } else {
        Err(Error::Lost)
    }
}

/// Checks that a controller is the same after it was reset.
fn reset(boot: &Boot) -> Result<(), Error> {
    /// Controller capabilities, and configuration (NVM Express base specification, section 3.1).
    const CAP: usize = 0x0;
    const CC: usize = 0x14;
    let session = open(boot, 0x1b36, 0x0010)?;
    let bar0 = session.device.bring_up(pci_region::BAR0);
    let mut bar0 = bar0.map_err(Error::BringUp)?;
    let before: u64 = bar0.read(CAP).map_err(|_| Error::Lost)?;
    bar0.write::<u32>(CC, 0x0046_0000)
        .map_err(|_| Error::Lost)?;
    session.device.reset().map_err(Error::Errno)?;
    let after: u64 = bar0.read(CAP).map_err(|_| Error::Lost)?;
    let configuration: u32 = bar0.read(CC).map_err(|_| Error::Lost)?;
    defmt::info!(
        "capabilities {=u64:#x}, configuration {=u32:#x}",
        after,
        configuration
    );
    if before == after && configuration == 0 {
        Ok(())
    } else {
        Err(Error::Lost)
    }
}
