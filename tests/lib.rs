//! Conformance of `vfio-core` and `vfio-hosted`: the tests stand in `conformance/`, and what
//! several of them need stands here.

pub mod behaviour;
pub mod capability;
pub mod described;
pub mod fixture;
pub mod hostile;
pub mod outcome;
pub mod reply;
pub mod scripted;
pub mod session;
