//! Capability lists, followed once more by hand.

use std::collections::HashSet;

use vfio_core::pci::{CapabilityId, Entry, ExtendedId, ListError, StandardId};

/// Where a list ends: at its last entry, in an error of the list, or where the header can't be read or is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// At its last entry.
    Last,
    /// In a link that leads nowhere.
    List(ListError),
    /// Before it starts.
    Unreadable,
}

/// Returns the standard list of a space.
#[must_use]
pub fn standard(space: &[u8]) -> (Vec<Entry>, End) {
    let Some(status) = half(space, 6) else {
        return (Vec::new(), End::Unreadable);
    };
    if status & 0x10 == 0 {
        return (Vec::new(), End::Last);
    }
    let pointer_at = match space.get(0xe).map(|layout| layout & 0x7f) {
        Some(0 | 1) => 0x34,
        Some(2) => 0x14,
        _ => return (Vec::new(), End::Unreadable),
    };
    let Some(pointer) = space.get(usize::from(pointer_at)) else {
        return (Vec::new(), End::Unreadable);
    };
    let size = space.len().min(0x100);
    let (mut offset, mut next) = (pointer_at, u16::from(pointer & 0xfc));
    let mut walk = Walk::new(0x40, size);
    while next != 0 {
        if let Err(end) = walk.check(offset, next) {
            return (walk.entries, end);
        }
        let header = half(space, next.into()).expect("it was checked");
        let [id, pointer] = header.to_le_bytes();
        if header == u16::MAX {
            return (walk.entries, End::List(ListError::AllOnes { offset: next }));
        }
        let entry = Entry {
            id: CapabilityId::Standard(StandardId(id)),
            version: 0,
            offset: next,
            next: u16::from(pointer & 0xfc),
        };
        walk.entries.push(entry);
        (offset, next) = (next, entry.next);
    }
    (walk.entries, End::Last)
}

/// Returns the extended list of a space.
#[must_use]
pub fn extended(space: &[u8]) -> (Vec<Entry>, End) {
    let size = space.len().min(0x1000);
    if size <= 0x100 {
        return (Vec::new(), End::Last);
    }
    let Some(first) = word(space, 0x100) else {
        return (Vec::new(), End::Unreadable);
    };
    let mut walk = Walk::new(0x100, size);
    if first == 0 || first == u32::MAX {
        return (walk.entries, End::Last);
    }
    let (mut offset, mut next) = (0x100, 0x100);
    loop {
        if let Err(end) = walk.check(offset, next) {
            return (walk.entries, end);
        }
        let header = word(space, next.into()).expect("it was checked");
        if header == u32::MAX {
            return (walk.entries, End::List(ListError::AllOnes { offset: next }));
        }
        let [a, b, c, d] = header.to_le_bytes();
        let entry = Entry {
            id: CapabilityId::Extended(ExtendedId(u16::from_le_bytes([a, b]))),
            version: c & 0xf,
            offset: next,
            next: (u16::from_le_bytes([c, d]) >> 4) & !3,
        };
        walk.entries.push(entry);
        if entry.next == 0 {
            return (walk.entries, End::Last);
        }
        (offset, next) = (next, entry.next);
    }
}

/// A list on the way.
struct Walk {
    start: u16,
    size: usize,
    seen: HashSet<u16>,
    entries: Vec<Entry>,
}

impl Walk {
    fn new(start: u16, size: usize) -> Self {
        Self {
            start,
            size,
            seen: HashSet::new(),
            entries: Vec::new(),
        }
    }

    fn check(&mut self, offset: u16, next: u16) -> Result<(), End> {
        if next < self.start {
            return Err(End::List(ListError::BelowList { offset, next }));
        }
        if usize::from(next) + 4 > self.size {
            let size = u16::try_from(self.size).expect("at most 4096");
            return Err(End::List(ListError::OutOfSpace { offset, next, size }));
        }
        if self.seen.insert(next) {
            Ok(())
        } else {
            Err(End::List(ListError::Loop { offset, next }))
        }
    }
}

/// Returns the 16 bits at `at`, where they are in the space.
#[must_use]
pub fn half(space: &[u8], at: usize) -> Option<u16> {
    let bytes = space.get(at..at + 2)?;
    Some(u16::from_le_bytes(bytes.try_into().ok()?))
}

/// Returns the 32 bits at `at`, where they are in the space.
#[must_use]
pub fn word(space: &[u8], at: usize) -> Option<u32> {
    let bytes = space.get(at..at + 4)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}
