//! What the tests of several crates and worlds share: replies, behaviours, hostile inputs.
//!
//! `tests/README.md` says where a new test goes.

pub mod behaviour;
pub mod capability;
pub mod described;
pub mod everything;
#[cfg(feature = "fake-tree")]
pub mod fake_tree;
pub mod fixture;
pub mod hostile;
pub mod outcome;
pub mod reply;
pub mod scripted;
pub mod session;
