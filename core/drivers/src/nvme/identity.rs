//! Numbers that tell apart what looks alike: a namespace of one controller from that of another,
//! a slot of one queue pair from that of another.

use core::sync::atomic::{AtomicU32, Ordering};

/// A number that is given once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) struct Identity(u32);

/// The number that is given next.
static NEXT: AtomicU32 = AtomicU32::new(1);

impl Identity {
    /// That of nothing.
    pub(super) const NONE: Self = Self(0);

    /// Returns a number that was not given before; none once all were.
    pub(super) fn new() -> Option<Self> {
        let after = |number: u32| number.checked_add(1);
        NEXT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, after)
            .ok()
            .map(Self)
    }
}
