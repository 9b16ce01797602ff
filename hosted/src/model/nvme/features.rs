//! Features: what a host sets, and reads back (NVM Express Base Specification 1.4, 5.21.1).

use super::identify::NAMESPACE_EVENT_BIT;
use super::queue::Entry;
use super::{Nvme, VECTORS, prp, status};
use crate::model::Bus;

/// Identifiers of features.
mod feature {
    pub(super) const ARBITRATION: u8 = 0x01;
    pub(super) const POWER: u8 = 0x02;
    pub(super) const TEMPERATURE_THRESHOLD: u8 = 0x04;
    pub(super) const ERROR_RECOVERY: u8 = 0x05;
    pub(super) const WRITE_CACHE: u8 = 0x06;
    pub(super) const QUEUES: u8 = 0x07;
    pub(super) const COALESCING: u8 = 0x08;
    pub(super) const VECTOR: u8 = 0x09;
    pub(super) const ATOMICITY: u8 = 0x0a;
    pub(super) const EVENTS: u8 = 0x0b;
    pub(super) const HOST_BEHAVIOR: u8 = 0x16;
}

/// Above which temperature it warns, in Kelvin, and which it has.
pub(super) const WARNING_TEMPERATURE: u16 = 343;
pub(super) const TEMPERATURE: u16 = 323;

/// The event of a temperature above the threshold, in the feature and as it is told.
const TEMPERATURE_EVENT_BIT: u32 = 1 << 1;
const TEMPERATURE_EVENT: u32 = 0x0002_0101;
/// The event that namespaces changed, as it is told.
const NAMESPACE_EVENT: u32 = 0x0004_0002;

/// What the host has set since the controller was reset.
#[derive(Clone, Copy, Debug)]
pub(super) struct Features {
    pub(super) temperature_threshold: u16,
    pub(super) event_mask: u32,
    /// Whether writes go to the cache.
    pub(super) has_write_cache: bool,
    /// Whether the host knows formats of more than 16 bits of guard (LBAFEE).
    pub(super) knows_extended_formats: bool,
    arbitration: u32,
    error_recovery: u32,
    coalescing: u32,
    atomicity: u32,
}

impl Default for Features {
    fn default() -> Self {
        Self {
            temperature_threshold: WARNING_TEMPERATURE,
            event_mask: 0,
            has_write_cache: true,
            knows_extended_formats: false,
            arbitration: 0,
            error_recovery: 0,
            coalescing: 0,
            atomicity: 0,
        }
    }
}

/// Returns the feature that a command is about.
fn identifier(entry: &Entry) -> u8 {
    let [identifier, ..] = entry.dwords[0].to_le_bytes();
    identifier
}

const fn invalid_field<T>() -> Result<T, u16> {
    Err(status::INVALID_FIELD | status::DO_NOT_RETRY)
}

impl Nvme {
    pub(super) fn set_feature(&mut self, entry: &Entry, bus: &mut Bus<'_>) -> Result<u32, u16> {
        let value = entry.dwords[1];
        // None can be saved.
        if entry.dwords[0] >> 31 != 0 {
            return Err(status::NOT_SAVEABLE | status::DO_NOT_RETRY);
        }
        match identifier(entry) {
            feature::ARBITRATION => self.features.arbitration = value,
            // There is one state of power.
            feature::POWER if value & 0x1f == 0 => (),
            feature::TEMPERATURE_THRESHOLD => {
                self.features.temperature_threshold = u16::try_from(value & 0xffff).unwrap_or(0);
                let is_hot = TEMPERATURE >= self.features.temperature_threshold;
                if is_hot && self.features.event_mask & TEMPERATURE_EVENT_BIT != 0 {
                    self.raise_event(TEMPERATURE_EVENT, bus);
                }
            }
            feature::ERROR_RECOVERY => self.features.error_recovery = value,
            feature::WRITE_CACHE => {
                self.features.has_write_cache = value & 1 != 0;
                if value & 1 == 0 {
                    self.shared().flush_all();
                }
            }
            feature::QUEUES => return self.give_queues(value),
            feature::COALESCING => self.features.coalescing = value & 0xffff,
            feature::VECTOR if value & 0xffff < u32::from(VECTORS) => (),
            feature::ATOMICITY => self.features.atomicity = value & 1,
            feature::EVENTS => self.features.event_mask = value,
            feature::HOST_BEHAVIOR => {
                let told = prp::get(entry, 512, bus)?;
                self.features.knows_extended_formats = told.get(2) == Some(&1);
            }
            _ => return invalid_field(),
        }
        Ok(0)
    }

    /// Returns as many queue pairs as there are, less one: whatever is asked for.
    fn give_queues(&self, asked: u32) -> Result<u32, u16> {
        if !self.has_commands() || asked & 0xffff == 0xffff || asked >> 16 == 0xffff {
            return invalid_field();
        }
        if self.completions.len() > 1 {
            return Err(status::COMMAND_SEQUENCE | status::DO_NOT_RETRY);
        }
        Ok(self.queues_less_one())
    }

    fn queues_less_one(&self) -> u32 {
        let last = u32::from(self.options.queues.saturating_sub(1));
        last | last << 16
    }

    pub(super) fn feature(&self, entry: &Entry) -> Result<u32, u16> {
        let features = &self.features;
        let vector = entry.dwords[1] & 0xffff;
        Ok(match identifier(entry) {
            feature::ARBITRATION => features.arbitration,
            feature::POWER => 0,
            feature::TEMPERATURE_THRESHOLD => features.temperature_threshold.into(),
            feature::ERROR_RECOVERY => features.error_recovery,
            feature::WRITE_CACHE => features.has_write_cache.into(),
            feature::QUEUES if self.has_commands() => self.queues_less_one(),
            feature::COALESCING => features.coalescing,
            feature::VECTOR if vector < u32::from(VECTORS) => vector,
            feature::ATOMICITY => features.atomicity,
            feature::EVENTS => features.event_mask,
            _ => return invalid_field(),
        })
    }

    /// Tells that namespaces changed, where they did.
    pub(super) fn notice(&mut self, bus: &mut Bus<'_>) {
        let has_changed = core::mem::take(&mut self.shared().has_changed);
        if has_changed && self.features.event_mask & NAMESPACE_EVENT_BIT != 0 {
            self.raise_event(NAMESPACE_EVENT, bus);
        }
    }
}
