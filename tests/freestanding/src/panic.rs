//! The proof: a program in which a panic can be reached does not link.

use core::panic::PanicInfo;

unsafe extern "C" {
    /// Exists nowhere. The linker names it where the compiler could not rule every panic out.
    fn panic_is_reachable() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // SAFETY: no program that contains this call can be linked, so none makes it.
    unsafe { panic_is_reachable() }
}
