//! Where a program starts, and how it ends.

/// Makes `$main`, a safe function of no arguments that returns the exit status, the program.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        /// Where the kernel starts the program: its stack pointer is at argc, and there is nothing to return to.
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
