//! Barriers between memory and a device.
//!
//! Each is one instruction of the processor, or none where it keeps the order by itself, across
//! which the compiler moves no access either. What an instruction orders is taken from the
//! architecture's manual, and compared with what Linux uses for `dma_rmb`, `dma_wmb`, `mb` and
//! `wmb` and between memory and registers (arch/*/include/asm/{barrier,io}.h). An architecture
//! that is not named here is not compiled for.
//!
//! - x86 (Intel SDM, volume 3, "Memory Ordering"): no load and no store passes a later store, no
//!   load a later load; only a store is passed by a later load, and writes to write-combining
//!   memory have no order.
//! - AArch64 and Arm (Architecture Reference Manual, DMB and DSB): a device observes memory in the
//!   outer shareable domain. DMB orders accesses, DSB waits for their completion.
//! - RISC-V (unprivileged ISA, FENCE): memory is read and written (`r`, `w`) apart from device
//!   registers (`i`, `o`).
//! - Power ISA (`sync`) and LoongArch (`dbar 0`): the one barrier that orders cacheable memory and
//!   device registers with each other. z/Architecture (`bcr 15, 0`): only a store is passed by a
//!   later load, and serialization makes it wait.

use core::arch::asm;

macro_rules! instruction {
    ($instruction:literal) => {{
        // SAFETY: a barrier, or nothing, touches neither memory nor registers nor the stack. That
        // it may touch memory is what the compiler believes, and why it moves no access across.
        unsafe { asm!($instruction, options(nostack, preserves_flags)) }
    }};
}

#[cfg(not(any(
    target_arch = "aarch64",
    target_arch = "arm",
    target_arch = "loongarch64",
    target_arch = "powerpc",
    target_arch = "powerpc64",
    target_arch = "riscv32",
    target_arch = "riscv64",
    target_arch = "s390x",
    target_arch = "x86",
    target_arch = "x86_64",
)))]
compile_error!("which barriers order memory and devices on this architecture is not known");

/// Orders accesses to memory before a register write, or a write to memory, that tells a device to
/// look.
///
/// What was written before is seen by the device once it sees that write, and what was read before
/// is not what the device puts there in answer.
#[inline]
pub fn before_doorbell() {
    cfg_select! {
        any(target_arch = "x86", target_arch = "x86_64") => instruction!(""),
        // Not only stores (`oshst`): a buffer that was read is given back by a doorbell, too.
        any(target_arch = "aarch64", target_arch = "arm") => instruction!("dmb osh"),
        any(target_arch = "riscv32", target_arch = "riscv64") => instruction!("fence rw, ow"),
        any(target_arch = "powerpc", target_arch = "powerpc64") => instruction!("sync"),
        target_arch = "loongarch64" => instruction!("dbar 0"),
        target_arch = "s390x" => instruction!("bcr 15, 0"),
        _ => (),
    }
}

/// Orders accesses to memory after the read, of memory or of a register, that tells that a device
/// is done.
///
/// What the device wrote before is seen by reads made after, and writes made after come after it.
#[inline]
pub fn after_status() {
    cfg_select! {
        any(target_arch = "x86", target_arch = "x86_64") => instruction!(""),
        target_arch = "aarch64" => instruction!("dmb oshld"),
        // There are no barriers for loads alone before Armv8.
        target_arch = "arm" => instruction!("dmb osh"),
        any(target_arch = "riscv32", target_arch = "riscv64") => instruction!("fence ir, iorw"),
        any(target_arch = "powerpc", target_arch = "powerpc64") => instruction!("sync"),
        target_arch = "loongarch64" => instruction!("dbar 0"),
        target_arch = "s390x" => instruction!("bcr 15, 0"),
        _ => (),
    }
}

/// Orders all accesses before with all accesses after.
///
/// What was written to memory is seen by the device before memory is read after: for a flag that
/// the device may set while it is being told, such as an event index.
#[inline]
pub fn full_barrier() {
    cfg_select! {
        // Both x86: `mfence`, or a locked instruction where the processor may have none.
        any(target_arch = "x86", target_arch = "x86_64") => {
            core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
        }
        any(target_arch = "aarch64", target_arch = "arm") => instruction!("dmb osh"),
        any(target_arch = "riscv32", target_arch = "riscv64") => instruction!("fence iorw, iorw"),
        any(target_arch = "powerpc", target_arch = "powerpc64") => instruction!("sync"),
        target_arch = "loongarch64" => instruction!("dbar 0"),
        target_arch = "s390x" => instruction!("bcr 15, 0"),
        _ => (),
    }
}

/// Sends writes that a write-combining mapping has gathered, before any later write.
#[inline]
pub fn flush_combined() {
    cfg_select! {
        target_arch = "x86_64" => instruction!("sfence"),
        // `mfence`, or a locked instruction where the processor may have none: both send them.
        target_arch = "x86" => core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst),
        // Such memory is Normal and not cacheable there: only completion means that it was sent.
        any(target_arch = "aarch64", target_arch = "arm") => instruction!("dsb st"),
        // And main memory that is not cacheable here.
        any(target_arch = "riscv32", target_arch = "riscv64") => instruction!("fence ow, ow"),
        any(target_arch = "powerpc", target_arch = "powerpc64") => instruction!("sync"),
        target_arch = "loongarch64" => instruction!("dbar 0"),
        target_arch = "s390x" => instruction!("bcr 15, 0"),
        _ => (),
    }
}
