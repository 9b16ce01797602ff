//! How much stack a function takes.

use core::arch::asm;
use core::ffi::c_void;

use crate::open::{Buffer, Question};
use crate::replies::BUFFER;

/// The bytes of the painted stack.
const SIZE: usize = 64 * 1024;

/// What nothing is expected to write, all over the stack.
const PAINT: u8 = 0xa5;

/// A stack is aligned to 16 bytes.
#[repr(C, align(16))]
struct Stack([u8; SIZE]);

/// Runs `question` on a stack of its own, and returns how many bytes of it were written, return addresses included.
pub(crate) fn depth(question: Question) -> usize {
    let mut stack = Box::new(Stack([PAINT; SIZE]));
    let mut buffer: Buffer = [0; BUFFER];
    // Once outside: nothing is to be set up any more.
    question(&mut buffer);
    let top = stack.0.as_mut_ptr_range().end.cast::<c_void>();
    // SAFETY: the function runs on the new stack, which has room for far more frames than it has, and returns with the
    // old one in place.
    unsafe {
        asm!(
            "mov r12, rsp",
            "mov rsp, {top}",
            "call {question}",
            "mov rsp, r12",
            top = in(reg) top,
            question = in(reg) question,
            in("rdi") &raw mut buffer,
            out("r12") _,
            clobber_abi("C"),
        );
    }
    let untouched = stack.0.iter().take_while(|byte| **byte == PAINT).count();
    SIZE - untouched
}
