//! The proof: a program in which a panic can be reached does not link.

/// Makes the linker refuse a program in which a panic can be reached.
#[macro_export]
macro_rules! link_without_panic {
    () => {
        #[cfg(panic = "abort")]
        unsafe extern "C" {
            /// Exists nowhere. The linker names it where the compiler could not rule every panic out.
            fn panic_is_reachable() -> !;
        }

        #[cfg(panic = "abort")]
        #[panic_handler]
        fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
            // SAFETY: no program that contains this call can be linked, so none makes it.
            unsafe { panic_is_reachable() }
        }
    };
}
