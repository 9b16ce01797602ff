//! The two lists of capabilities.

use super::field::{high_half, low_byte, low_half};
use super::{
    Body, CONVENTIONAL_SIZE, Capability, CapabilityId, Config, ConfigAccess, ConfigError,
    EXTENDED_SIZE, ExtendedId, ListError, StandardId, TypedCapability,
};

/// The first byte past the header of a configuration space.
const STANDARD_START: u16 = 0x40;
/// Where the first extended capability lies.
const EXTENDED_START: u16 = CONVENTIONAL_SIZE;

/// A capability's place in its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Entry {
    /// What it is.
    pub id: CapabilityId,
    /// The version of its layout; 0 in the standard list, which has none. Later versions of an
    /// extended capability only add to it (PCI Express base specification, section 7.6).
    pub version: u8,
    /// Where its header starts, in bytes; a multiple of 4, and in bounds with its header.
    pub offset: u16,
    /// Where the next one is said to be, with reserved bits masked; 0 in the last. It is checked
    /// when the list is followed further.
    pub next: u16,
}

/// The standard capabilities, in the order of their list; at most 48. Ends after an error.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Capabilities<'c, A> {
    config: &'c Config<A>,
    at: Position,
    seen: Seen<1>,
}

/// The extended capabilities, in the order of their list; at most 960. Ends after an error.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ExtendedCapabilities<'c, A> {
    config: &'c Config<A>,
    at: Position,
    seen: Seen<16>,
}

/// How far a list was followed.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum Position {
    Start,
    /// What stands at `offset` names `next`.
    Link {
        offset: u16,
        next: u16,
    },
    End,
}

/// One bit for each 4 bytes of the space: whether a capability was there.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Seen<const WORDS: usize>([u64; WORDS]);

impl Entry {
    /// Reads the capability.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn decode<A: ConfigAccess>(
        &self,
        config: &Config<A>,
    ) -> Result<Capability, ConfigError<A::Error>> {
        Capability::decode(&self.body(config))
    }

    /// Reads the capability as a `C`, whatever its id.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn decode_as<C: TypedCapability, A: ConfigAccess>(
        &self,
        config: &Config<A>,
    ) -> Result<C, ConfigError<A::Error>> {
        C::decode(&self.body(config))
    }

    /// Returns the capability's registers.
    #[must_use]
    pub const fn body<'c, A>(&self, config: &'c Config<A>) -> Body<'c, A> {
        Body::new(config, *self)
    }
}

impl<A: ConfigAccess> Config<A> {
    /// Returns the standard capabilities (PCI Local Bus specification 3.0, section 6.7). None where
    /// the status register says that there is no list.
    #[must_use]
    pub const fn capabilities(&self) -> Capabilities<'_, A> {
        Capabilities {
            config: self,
            at: Position::Start,
            seen: Seen([0; 1]),
        }
    }

    /// Returns the extended capabilities (PCI Express base specification, section 7.6). None in a
    /// space of 256 bytes, nor where the first header is all zeros or all ones.
    #[must_use]
    pub const fn extended_capabilities(&self) -> ExtendedCapabilities<'_, A> {
        ExtendedCapabilities {
            config: self,
            at: Position::Start,
            seen: Seen([0; 16]),
        }
    }

    /// Returns the first capability of type `C`. The whole list is followed, so that neither an
    /// answer nor its absence rests on a malformed list.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn find<C: TypedCapability>(&self) -> Result<Option<C>, ConfigError<A::Error>> {
        self.find_entry(C::ID)?
            .map(|entry| entry.decode_as(self))
            .transpose()
    }

    /// Returns the place of the first capability with this id. The whole list is followed, as by
    /// [`Config::find`].
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn find_entry(&self, id: CapabilityId) -> Result<Option<Entry>, ConfigError<A::Error>> {
        match id {
            CapabilityId::Standard(_) => first(self.capabilities(), id),
            CapabilityId::Extended(_) => first(self.extended_capabilities(), id),
        }
    }
}

/// Returns the first entry with this id of a list without an error.
fn first<E>(
    list: impl Iterator<Item = Result<Entry, E>>,
    id: CapabilityId,
) -> Result<Option<Entry>, E> {
    let mut found = None;
    for entry in list {
        let entry = entry?;
        if found.is_none() && entry.id == id {
            found = Some(entry);
        }
    }
    Ok(found)
}

impl<A: ConfigAccess> Capabilities<'_, A> {
    fn advance(&mut self) -> Result<Option<Entry>, ConfigError<A::Error>> {
        let (offset, next) = match self.at {
            Position::Start => match self.config.capabilities_pointer()? {
                None => return Ok(None),
                // The low two bits are reserved, and software has to mask them.
                Some((offset, pointer)) => (offset, u16::from(pointer & 0xfc)),
            },
            Position::Link { offset, next } => (offset, next),
            Position::End => return Ok(None),
        };
        if next == 0 {
            return Ok(None);
        }
        let size = self.config.size().min(CONVENTIONAL_SIZE);
        self.seen.enter(STANDARD_START, size, offset, next)?;
        let header = self.config.read_u16(next)?;
        if header == u16::MAX {
            return Err(ListError::AllOnes { offset: next }.into());
        }
        let [id, pointer] = header.to_le_bytes();
        let entry = Entry {
            id: CapabilityId::Standard(StandardId(id)),
            version: 0,
            offset: next,
            next: u16::from(pointer & 0xfc),
        };
        Ok(Some(entry))
    }
}

impl<A: ConfigAccess> ExtendedCapabilities<'_, A> {
    fn advance(&mut self) -> Result<Option<Entry>, ConfigError<A::Error>> {
        let size = self.config.size().min(EXTENDED_SIZE);
        let (header, at) = match self.at {
            Position::Start => {
                if size <= EXTENDED_START {
                    return Ok(None);
                }
                let header = self.config.read_u32(EXTENDED_START)?;
                if header == 0 || header == u32::MAX {
                    return Ok(None);
                }
                self.seen.insert(EXTENDED_START);
                (header, EXTENDED_START)
            }
            Position::Link { next: 0, .. } | Position::End => return Ok(None),
            Position::Link { offset, next } => {
                self.seen.enter(EXTENDED_START, size, offset, next)?;
                let header = self.config.read_u32(next)?;
                if header == u32::MAX {
                    return Err(ListError::AllOnes { offset: next }.into());
                }
                (header, next)
            }
        };
        let entry = Entry {
            id: CapabilityId::Extended(ExtendedId(low_half(header))),
            version: low_byte(header >> 16) & 0xf,
            offset: at,
            // Bits 31:20, of which the low two are reserved, and software has to mask them.
            next: (high_half(header) >> 4) & 0xffc,
        };
        Ok(Some(entry))
    }
}

impl Position {
    /// Returns where a list stands after a step: past an entry, or at its end.
    fn after<E>(step: &Result<Option<Entry>, E>) -> Self {
        match step {
            Ok(Some(Entry { offset, next, .. })) => Self::Link {
                offset: *offset,
                next: *next,
            },
            Ok(None) | Err(_) => Self::End,
        }
    }
}

impl<const WORDS: usize> Seen<WORDS> {
    /// Checks a pointer to `next`, which stands at `offset`, and remembers it.
    fn enter(&mut self, start: u16, size: u16, offset: u16, next: u16) -> Result<(), ListError> {
        if next < start {
            return Err(ListError::BelowList { offset, next });
        }
        // Capabilities are aligned to 4 bytes and at least as long.
        if next.checked_add(4).is_none_or(|end| end > size) {
            return Err(ListError::OutOfSpace { offset, next, size });
        }
        if self.insert(next) {
            Ok(())
        } else {
            Err(ListError::Loop { offset, next })
        }
    }

    /// Remembers the capability at `offset`; `false` if it was there already.
    fn insert(&mut self, offset: u16) -> bool {
        let slot = offset >> 2;
        let word = self.0.get_mut(usize::from(slot >> 6));
        let bit = 1_u64.checked_shl(u32::from(slot & 63));
        match (word, bit) {
            (Some(word), Some(bit)) if *word & bit == 0 => {
                *word |= bit;
                true
            }
            _ => false,
        }
    }
}

impl<A: ConfigAccess> Iterator for Capabilities<'_, A> {
    type Item = Result<Entry, ConfigError<A::Error>>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.advance();
        self.at = Position::after(&step);
        step.transpose()
    }
}

impl<A: ConfigAccess> Iterator for ExtendedCapabilities<'_, A> {
    type Item = Result<Entry, ConfigError<A::Error>>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.advance();
        self.at = Position::after(&step);
        step.transpose()
    }
}

impl<A: ConfigAccess> core::iter::FusedIterator for Capabilities<'_, A> {}

impl<A: ConfigAccess> core::iter::FusedIterator for ExtendedCapabilities<'_, A> {}
