//! What C has for text, which the compiler calls on its own.

use core::arch::naked_asm;
use core::ffi::c_char;

/// Returns how many bytes are before the NUL.
///
/// # Safety
///
/// As for the C function.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const c_char) -> usize {
    naked_asm!(
        "xor eax, eax",
        "2:",
        "cmp byte ptr [rdi + rax], 0",
        "je 3f",
        "inc rax",
        "jmp 2b",
        "3:",
        "ret",
    )
}
