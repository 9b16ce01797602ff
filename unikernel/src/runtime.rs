//! The functions that the compiler calls on its own, 8 bytes at a time. In Rust, a loop that copies may be compiled into a call of itself.
//!
//! They have the types and the duties that C gives them. The direction flag is clear on entry, as the ABI has it.

use core::arch::naked_asm;
use core::ffi::{c_int, c_void};

/// Copies `n` bytes between ranges that don't overlap.
///
/// # Safety
///
/// As for the C function.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut c_void, from: *const c_void, n: usize) -> *mut c_void {
    naked_asm!(
        "mov rax, rdi",
        "mov rcx, rdx",
        "shr rcx, 3",
        "rep movsq",
        "mov ecx, edx",
        "and ecx, 7",
        "rep movsb",
        "ret",
    )
}

/// Copies `n` bytes between ranges that may overlap.
///
/// # Safety
///
/// As for the C function.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut c_void, from: *const c_void, n: usize) -> *mut c_void {
    naked_asm!(
        "mov rax, rdi",
        "mov rcx, rdx",
        // Forwards, unless the destination starts within the source.
        "sub rdi, rsi",
        "cmp rdi, rdx",
        "mov rdi, rax",
        "jb 2f",
        "rep movsb",
        "ret",
        "2:",
        "lea rdi, [rdi + rdx - 1]",
        "lea rsi, [rsi + rdx - 1]",
        "std",
        "rep movsb",
        "cld",
        "ret",
    )
}

/// Sets `n` bytes to the low byte of `value`.
///
/// # Safety
///
/// As for the C function.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut c_void, value: c_int, n: usize) -> *mut c_void {
    naked_asm!(
        "mov r8, rdi",
        "movzx eax, sil",
        "mov r9, 0x0101010101010101",
        "imul rax, r9",
        "mov rcx, rdx",
        "shr rcx, 3",
        "rep stosq",
        "mov ecx, edx",
        "and ecx, 7",
        "rep stosb",
        "mov rax, r8",
        "ret",
    )
}

/// Compares `n` bytes: negative, zero or positive, as the first that differ do.
///
/// # Safety
///
/// As for the C function.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const c_void, b: *const c_void, n: usize) -> c_int {
    naked_asm!(
        "xor eax, eax",
        "mov rcx, rdx",
        // With no bytes to compare, rep leaves the flags alone: zero is set by this.
        "test ecx, 0",
        "repe cmpsb",
        "je 2f",
        "movzx eax, byte ptr [rdi - 1]",
        "movzx ecx, byte ptr [rsi - 1]",
        "sub eax, ecx",
        "2:",
        "ret",
    )
}

/// Works as [`memcmp`], of which only zero means something.
///
/// # Safety
///
/// As for the C function.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const c_void, b: *const c_void, n: usize) -> c_int {
    naked_asm!("jmp {memcmp}", memcmp = sym memcmp)
}
