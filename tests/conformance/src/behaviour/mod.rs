//! What a kernel does, whichever it is: the same assertions hold of the simulated one and, in
//! guests, of the real ones.

pub mod dirty;
pub mod feature;
pub mod hot_reset;
pub mod ioeventfd;
pub mod low_power;
pub mod migration;
