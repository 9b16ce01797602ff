//! What must not compile, each beside what does. Nothing is here but in doc tests.

mod device;
mod dma;
mod handles;
mod interrupts;
mod registers;
mod threads;
