//! Where a program starts, and how it ends.

/// Makes `$main`, a safe function of no arguments that returns the exit status, the program.
///
/// By another profile than `freestanding`, which aborts on panics, it is a program of std's that says so.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[cfg(not(panic = "abort"))]
        const _: () = {
            extern crate std;

            let _ = &$main;

            /// Starts the program where libc does.
            #[unsafe(no_mangle)]
            extern "C" fn main() -> i32 {
                std::eprintln!("`cargo xtask proofs` builds this program, by a profile of its own");
                2
            }
        };

        /// Starts the program where the kernel does: its stack pointer is at argc, and there is nothing to
        /// return to.
        #[cfg(panic = "abort")]
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        extern "C" fn _start() -> ! {
            extern "C" fn main() -> i32 {
                $main()
            }
            core::arch::naked_asm!(
                "xor ebp, ebp",
                "and rsp, -16",
                "call {main}",
                "mov edi, eax",
                "mov eax, 231", // exit_group
                "syscall",
                "ud2",
                main = sym main,
            )
        }
    };
}
