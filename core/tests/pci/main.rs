//! Configuration spaces as devices have them, as hostile ones might, and as chance makes them.

mod devices;
mod hostile;
mod properties;
mod space;
