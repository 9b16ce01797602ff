//! The log: defmt frames over the first serial port, decoded by the host.

use core::sync::atomic::{AtomicBool, Ordering};

use spin::Mutex;

use crate::port;

/// The first serial port, a 16550.
const COM1: u16 = 0x3f8;
/// Its line status register, and there: a byte can be written.
const LINE_STATUS: u16 = COM1 + 5;
const WRITABLE: u8 = 1 << 5;

/// How often the port is asked whether it takes a byte, before the byte is dropped: without a
/// port, or with one that stands still, an image goes on.
const PATIENCE: u32 = 1 << 20;

/// Makes frames of what is logged.
static ENCODER: Mutex<defmt::Encoder> = Mutex::new(defmt::Encoder::new());
/// Whether a frame is being written.
static IN_FRAME: AtomicBool = AtomicBool::new(false);

#[defmt::global_logger]
struct Logger;

// SAFETY: the image has one thread, and no handler logs but one that ends the image, which
// abandons the frame that it interrupted. A frame is thus written without another in it.
unsafe impl defmt::Logger for Logger {
    fn acquire() {
        IN_FRAME.store(true, Ordering::Relaxed);
        if let Some(mut encoder) = ENCODER.try_lock() {
            encoder.start_frame(put);
        }
    }

    unsafe fn flush() {}

    unsafe fn release() {
        if let Some(mut encoder) = ENCODER.try_lock() {
            encoder.end_frame(put);
        }
        IN_FRAME.store(false, Ordering::Relaxed);
    }

    unsafe fn write(bytes: &[u8]) {
        if let Some(mut encoder) = ENCODER.try_lock() {
            encoder.write(bytes, put);
        }
    }
}

/// Sets the port up: 115200 baud, 8 bits, no parity, one stop bit, queues on, no interrupts.
pub(crate) fn init() {
    for (register, value) in &[
        (1, 0),
        (3, 0x80),
        (0, 1),
        (1, 0),
        (3, 0x03),
        (2, 0x07),
        (4, 0x03),
    ] {
        port::write::<u8>(COM1.wrapping_add(*register), *value);
    }
}

/// Ends the frame that an exception interrupted; the host can't decode it, and sees the next.
pub(crate) fn abandon() {
    if IN_FRAME.load(Ordering::Relaxed) {
        // SAFETY: whoever had it was interrupted, and never runs again.
        unsafe { ENCODER.force_unlock() };
        *ENCODER.lock() = defmt::Encoder::new();
        put(&[0]);
    }
}

/// Writes bytes.
#[inline(never)]
fn put(bytes: &[u8]) {
    for byte in bytes {
        let can_write = |_| port::read::<u8>(LINE_STATUS) & WRITABLE != 0;
        if (0..PATIENCE).any(can_write) {
            port::write(COM1, *byte);
        }
    }
}
