//! Two threads, one writing the memory that the other reads, for ThreadSanitizer to
//! watch: `races shared` has it as memory that threads may share, and `races volatile` as a
//! device's, which memory in an allocation is not. In that a race must be found, or it would be
//! found in neither.
//!
//! The threads are pthreads: what those of the standard library agree by is not seen by the
//! sanitizer, unless the library is built with it, and would be taken for races.

use core::ffi::{c_int, c_void};
use core::hint::black_box;
use core::ptr::{NonNull, null, null_mut};

use anyhow::{Result, anyhow, bail, ensure};
use vfio_core::mmio::{Access, Mapped, Protection, SharedMemory, Window};

/// How often each thread reaches the memory.
const TIMES: u64 = 10_000;

/// Words of the memory.
const WORDS: usize = 512;

unsafe extern "C" {
    fn pthread_create(
        thread: *mut usize,
        attributes: *const c_void,
        run: extern "C" fn(*mut c_void) -> *mut c_void,
        argument: *mut c_void,
    ) -> c_int;
    fn pthread_join(thread: usize, result: *mut *mut c_void) -> c_int;
}

fn main() -> Result<()> {
    let memory = NonNull::from(Box::leak(Box::new([0_u64; WORDS]))).cast();
    let len = WORDS * 8;
    match std::env::args().nth(1).as_deref() {
        Some("shared") => {
            // SAFETY: the memory is leaked, and reached in no other way.
            race(&Window::new(unsafe { SharedMemory::new(memory, len) }))
        }
        Some("volatile") => {
            // SAFETY: none: it is an allocation, which the race below is about.
            let mapped = unsafe { Mapped::new(memory, len, Protection::BOTH) };
            race(&Window::with_permission(mapped)?)
        }
        _ => bail!("say `shared` or `volatile`"),
    }
}

/// Reads what another thread writes meanwhile.
fn race<A: Access + Sync>(window: &Window<A>) -> Result<()> {
    let mut thread = 0;
    let argument: *const Window<A> = window;
    let argument = argument.cast_mut().cast();
    // SAFETY: the function takes a window that may be shared, which is kept until it has returned.
    let created = unsafe { pthread_create(&raw mut thread, null(), write::<A>, argument) };
    ensure!(created == 0, "no thread: error {created}");
    let mut window = window.share();
    let read = (0..TIMES).try_for_each(|_| window.read(0).map(|word: u64| _ = black_box(word)));
    // SAFETY: the thread was created and is not joined yet.
    let joined = unsafe { pthread_join(thread, null_mut()) };
    ensure!(
        joined == 0,
        "the thread can't be waited for: error {joined}"
    );
    read.map_err(|error| anyhow!("the memory can't be read: {error}"))
}

extern "C" fn write<A: Access + Sync>(window: *mut c_void) -> *mut c_void {
    // SAFETY: the argument of `pthread_create`, which waits for this function.
    let window = unsafe { window.cast::<Window<A>>().as_ref() };
    let mut window = window.map(Window::share);
    if let Some(window) = &mut window {
        // The offset is one of the memory's.
        (0..TIMES).for_each(|word| _ = window.write(0, word));
    }
    null_mut()
}
