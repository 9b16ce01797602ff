//! The local APIC (Intel SDM, volume 3, chapter 11): x2APIC where there is one, else xAPIC.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use vfio_core::mmio::{Mapped, Protection, Window};
use x86_64::registers::model_specific::Msr;

use crate::interrupts::{SPURIOUS, TIMER};
use crate::paging::{self, Kind, MapError};
use crate::port;

/// A register, by its offset in bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Register {
    Id = 0x20,
    TaskPriority = 0x80,
    EndOfInterrupt = 0xb0,
    Spurious = 0xf0,
    TimerVector = 0x320,
    Lint0 = 0x350,
    Lint1 = 0x360,
    TimerInitial = 0x380,
    TimerCurrent = 0x390,
    TimerDivide = 0x3e0,
}

/// Why interrupts can't be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ApicError {
    /// The processor has no APIC.
    Missing,
    /// Its registers can't be mapped.
    Map(MapError),
}

/// `IA32_APIC_BASE`, and there: enabled, and as x2APIC.
const BASE: u32 = 0x1b;
const ENABLED: u64 = 1 << 11;
const AS_X2APIC: u64 = 1 << 10;

/// The registers of the x2APIC, a register each.
const X2APIC: u32 = 0x800;

/// Where the registers are: 0 before [`start`], [`IN_MSRS`] for the x2APIC.
static REGISTERS: AtomicU64 = AtomicU64::new(0);
const IN_MSRS: u64 = 1;

/// In a vector register: nothing comes.
const MASKED: u32 = 1 << 16;
/// In the spurious vector register: the APIC is on.
const ON: u32 = 1 << 8;
/// In the divide register: the timer counts every 16th tick.
const BY_16: u32 = 0x3;

/// Turns the APIC on, once; interrupts come from then on.
///
/// # Errors
/// [`ApicError`]
pub(crate) fn start() -> Result<(), ApicError> {
    if REGISTERS.load(Ordering::Relaxed) != 0 {
        return Ok(());
    }
    let features = core::arch::x86_64::__cpuid(1);
    if features.edx & (1 << 9) == 0 {
        return Err(ApicError::Missing);
    }
    let mut base = Msr::new(BASE);
    // SAFETY: the processor has an APIC, and so the register.
    let value = unsafe { base.read() };
    if features.ecx & (1 << 21) != 0 {
        // SAFETY: the processor has an x2APIC; from either state this turns it on.
        unsafe { base.write(value | ENABLED | AS_X2APIC) };
        REGISTERS.store(IN_MSRS, Ordering::Relaxed);
    } else {
        // SAFETY: where it is stays as it was.
        unsafe { base.write(value | ENABLED) };
        let at = value & 0x000f_ffff_ffff_f000;
        paging::map(at..at.saturating_add(paging::PAGE), Kind::Device).map_err(ApicError::Map)?;
        REGISTERS.store(at, Ordering::Relaxed);
    }
    // The two old interrupt controllers are silent.
    port::write::<u8>(0x21, 0xff);
    port::write::<u8>(0xa1, 0xff);
    for register in &[Register::Lint0, Register::Lint1, Register::TimerVector] {
        write(*register, MASKED);
    }
    write(Register::TaskPriority, 0);
    write(Register::Spurious, ON | u32::from(SPURIOUS));
    x86_64::instructions::interrupts::enable();
    Ok(())
}

/// Returns the APIC's number, to which messages are addressed.
pub(crate) fn id() -> u32 {
    let id = read(Register::Id);
    if REGISTERS.load(Ordering::Relaxed) == IN_MSRS {
        id
    } else {
        id >> 24
    }
}

/// Tells the APIC that an interrupt was handled.
pub(crate) fn end_of_interrupt() {
    write(Register::EndOfInterrupt, 0);
}

/// Has the timer count down from `ticks`, and interrupt at the end; 0 stops it.
pub(crate) fn start_timer(ticks: u32) {
    write(Register::TimerDivide, BY_16);
    write(Register::TimerVector, TIMER.into());
    write(Register::TimerInitial, ticks);
}

/// Has the timer count down silently.
pub(crate) fn start_silent_timer() {
    write(Register::TimerDivide, BY_16);
    write(Register::TimerVector, MASKED);
    write(Register::TimerInitial, u32::MAX);
}

/// Returns how many ticks the timer has left.
pub(crate) fn timer_left() -> u32 {
    read(Register::TimerCurrent)
}

impl Register {
    #[expect(clippy::as_conversions, reason = "a number of the enumeration")]
    const fn offset(self) -> u32 {
        self as u32
    }
}

fn read(register: Register) -> u32 {
    match REGISTERS.load(Ordering::Relaxed) {
        IN_MSRS => {
            let msr = Msr::new(X2APIC.saturating_add(register.offset() >> 4));
            // SAFETY: the x2APIC is on, and has the register.
            let value = unsafe { msr.read() };
            u32::try_from(value & 0xffff_ffff).unwrap_or(0)
        }
        base => match window(base) {
            Some(mut window) => window.read(place(register)).unwrap_or(0),
            None => 0,
        },
    }
}

fn write(register: Register, value: u32) {
    match REGISTERS.load(Ordering::Relaxed) {
        IN_MSRS => {
            let mut msr = Msr::new(X2APIC.saturating_add(register.offset() >> 4));
            // SAFETY: the x2APIC is on, has the register, and none of them makes the processor
            // touch memory.
            unsafe { msr.write(value.into()) };
        }
        base => {
            if let Some(mut window) = window(base) {
                // It is in the page, and aligned.
                let _ = window.write(place(register), value);
            }
        }
    }
}

fn place(register: Register) -> usize {
    usize::try_from(register.offset()).unwrap_or(0)
}

/// Returns the page of the registers. None before [`start`].
fn window(base: u64) -> Option<Window<Mapped<'static>>> {
    let base = core::ptr::with_exposed_provenance_mut(usize::try_from(base).ok()?);
    let base = NonNull::new(base)?;
    // SAFETY: the page was mapped for ever before its address was stored, to be read and written;
    // it is the processor's own and not Rust's.
    let registers = unsafe { Mapped::new(base, 4096, Protection::BOTH) };
    Window::with_permission(registers).ok()
}
