//! What Identify and the log pages answer (NVM Express Base Specification 1.4, 5.14.1 and 5.15.2;
//! of the protection information: NVM Command Set Specification 1.0, 4.1.5.3).

use super::features::TEMPERATURE;
use super::namespace::{FORMATS, NvmeNamespace};
use super::queue::Entry;
use super::{Nvme, prp, status};
use crate::model::Bus;

/// What is asked of Identify (CNS).
mod cns {
    pub(super) const NAMESPACE: u32 = 0x00;
    pub(super) const CONTROLLER: u32 = 0x01;
    pub(super) const ACTIVE_LIST: u32 = 0x02;
    pub(super) const DESCRIPTORS: u32 = 0x03;
    pub(super) const NAMESPACE_OF_SET: u32 = 0x05;
    pub(super) const CONTROLLER_OF_SET: u32 = 0x06;
}

/// Log pages.
mod log {
    pub(super) const ERRORS: u32 = 0x01;
    pub(super) const HEALTH: u32 = 0x02;
    pub(super) const FIRMWARE: u32 = 0x03;
    pub(super) const CHANGED: u32 = 0x04;
}

/// Types of the identifiers of a namespace, in its descriptors.
mod descriptor {
    pub(super) const EUI64: u8 = 1;
    pub(super) const GUID: u8 = 2;
    pub(super) const UUID: u8 = 3;
}

/// The highest number that a namespace can have.
const NAMESPACES: u32 = 1024;
/// How many requests for events it takes, and entries its error log has.
pub(super) const EVENT_REQUESTS: usize = 4;
pub(super) const ERRORS: usize = 16;

/// The versions from which on it answers as those before did not.
const WITH_LIST: u32 = 0x0001_0100;
const WITH_VERSION: u32 = 0x0001_0200;
const WITH_DESCRIPTORS: u32 = 0x0001_0300;

/// The event that namespaces changed, among those that are optional (OAES).
pub(super) const NAMESPACE_EVENT_BIT: u32 = 1 << 8;
/// Formats of more than 16 bits of guard, in the attributes (CTRATT).
const EXTENDED_FORMATS: u32 = 1 << 15;
/// Above which temperatures it warns, and warns of damage, in Kelvin.
const WARNING_TEMPERATURE: u16 = super::features::WARNING_TEMPERATURE;
const CRITICAL_TEMPERATURE: u16 = 373;
/// How long it takes to be ready after power came, and for power to go, in microseconds.
const POWER_TIME: u32 = 1_000_000;
const FIRMWARE: &[u8] = b"1.0     ";

/// Puts bytes at a place of a page.
pub(super) fn put(page: &mut [u8], at: usize, bytes: &[u8]) {
    let places = page.iter_mut().skip(at);
    places.zip(bytes).for_each(|(to, from)| *to = *from);
}

const fn invalid_namespace<T>() -> Result<T, u16> {
    Err(status::INVALID_NAMESPACE | status::DO_NOT_RETRY)
}

const fn invalid_field<T>() -> Result<T, u16> {
    Err(status::INVALID_FIELD | status::DO_NOT_RETRY)
}

impl Nvme {
    pub(super) fn identify(&mut self, entry: &Entry, bus: &mut Bus<'_>) -> Result<u32, u16> {
        let mut page = [0; 4096];
        let (kind, id) = (entry.dwords[0] & 0xff, entry.namespace);
        let version = self.options.version;
        // One bit was all that there was of it before version 1.1.
        let kind = if version < WITH_LIST { kind & 1 } else { kind };
        // The only command set is the NVM command set, which is number 0.
        let is_nvm = entry.dwords[1] >> 24 == 0;
        match kind {
            cns::NAMESPACE => self.identify_namespace(id, &mut page)?,
            cns::CONTROLLER => self.identify_controller(&mut page),
            cns::ACTIVE_LIST => self.list_namespaces(id, &mut page)?,
            cns::DESCRIPTORS if version >= WITH_DESCRIPTORS => self.describe(id, &mut page)?,
            cns::NAMESPACE_OF_SET if is_nvm => self.identify_formats(id, &mut page)?,
            // It has no limits of single commands.
            cns::CONTROLLER_OF_SET if is_nvm => (),
            _ => return invalid_field(),
        }
        prp::put(entry, &page, bus).map(|()| 0)
    }

    fn identify_controller(&self, page: &mut [u8]) {
        let serial = self.options.serial.as_bytes();
        let less_one = |count: usize| u8::try_from(count - 1).unwrap_or(0);
        put(page, 0, &0x1b36_u16.to_le_bytes());
        put(page, 2, &0x1af4_u16.to_le_bytes());
        put(page, 4, &[b' '; 20]);
        put(page, 4, serial.get(..20).unwrap_or(serial));
        put(page, 24, b"Simulated NVMe Controller               ");
        put(page, 64, FIRMWARE);
        put(page, 77, &[self.options.transfer_shift]);
        if self.options.version >= WITH_VERSION {
            put(page, 80, &self.options.version.to_le_bytes());
        }
        put(page, 84, &POWER_TIME.to_le_bytes());
        put(page, 88, &POWER_TIME.to_le_bytes());
        // Events of changed namespaces.
        put(page, 92, &NAMESPACE_EVENT_BIT.to_le_bytes());
        put(page, 96, &EXTENDED_FORMATS.to_le_bytes());
        // Of the kind that has commands to namespaces, or that has none.
        put(page, 111, &[if self.has_commands() { 1 } else { 3 }]);
        let shadow = u16::from(self.options.shadow_doorbells) << 8;
        put(page, 256, &shadow.to_le_bytes());
        put(page, 258, &[3, less_one(EVENT_REQUESTS)]);
        // One slot of firmware, which can't be written.
        put(page, 260, &[1 << 1 | 1]);
        put(page, 262, &[less_one(ERRORS)]);
        put(page, 266, &WARNING_TEMPERATURE.to_le_bytes());
        put(page, 268, &CRITICAL_TEMPERATURE.to_le_bytes());
        put(page, 512, &[0x66, 0x44]);
        put(page, 516, &NAMESPACES.to_le_bytes());
        // Dataset management and write zeroes.
        put(page, 520, &0x000c_u16.to_le_bytes());
        // A write cache, and a flush of all namespaces at once.
        put(page, 525, &[3 << 1 | 1]);
        put(page, 768, self.qualified_name().as_bytes());
        put(page, self.options.said.0, &self.options.said.1);
    }

    /// Returns the name of the subsystem (SUBNQN), in the form that names it by a UUID.
    fn qualified_name(&self) -> std::string::String {
        let hex = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|byte| std::format!("{byte:02x}"))
                .collect()
        };
        let uuid = self.uuid(0);
        let (parts, mut rest) = ([4, 2, 2, 2, 6], &uuid[..]);
        let parts = parts.map(|len| {
            let (part, left) = rest.split_at_checked(len).unwrap_or((rest, &[]));
            rest = left;
            hex(part)
        });
        let parts: [std::string::String; 5] = parts;
        std::format!("nqn.2014-08.org.nvmexpress:uuid:{}", parts.join("-"))
    }

    /// Returns a number that no other namespace of this controller has, and none of a controller
    /// with another serial number. It is FNV-1a; its lower half comes after more rounds.
    fn number(&self, id: u32, round: u8) -> u64 {
        let id = id.to_be_bytes();
        let bytes = self.options.serial.bytes().chain(id).chain([round]);
        let mixed = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
            (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        mixed ^ mixed >> 32
    }

    /// Returns the IEEE's identifier of a namespace (EUI-64), of those that anybody may give.
    fn eui64(&self, id: u32) -> [u8; 8] {
        let mut bytes = self.number(id, 0).to_be_bytes();
        bytes[0] = bytes[0] & 0xfc | 2;
        bytes
    }

    /// Returns the globally unique identifier of a namespace (NGUID), which ends in its EUI-64.
    fn guid(&self, id: u32) -> [u8; 16] {
        let mut bytes = [0; 16];
        put(&mut bytes, 0, &self.number(id, 1).to_be_bytes());
        put(&mut bytes, 8, &self.eui64(id));
        bytes
    }

    /// Returns the UUID of a namespace, or of the subsystem, which is number 0: of version 8, whose
    /// bits are its maker's own (RFC 9562, 5.8).
    fn uuid(&self, id: u32) -> [u8; 16] {
        let mut bytes = [0; 16];
        put(&mut bytes, 0, &self.number(id, 2).to_be_bytes());
        put(&mut bytes, 8, &self.number(id, 3).to_be_bytes());
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        bytes
    }

    /// Tells whether a number is one that a namespace can have.
    const fn is_number(id: u32) -> bool {
        id > 0 && id <= NAMESPACES
    }

    fn identify_namespace(&self, id: u32, page: &mut [u8]) -> Result<(), u16> {
        if !Self::is_number(id) {
            return invalid_namespace();
        }
        let shared = self.shared();
        // One that could be and is not is all zeros.
        let Some(namespace) = shared.namespaces.get(&id) else {
            return Ok(());
        };
        for at in [0, 8, 16] {
            put(page, at, &namespace.blocks.to_le_bytes());
        }
        let extended = u8::from(namespace.is_extended) << 4;
        put(page, 25, &[u8::try_from(FORMATS.len() - 1).unwrap_or(0)]);
        put(page, 26, &[namespace.format() | extended]);
        // Metadata behind blocks, and apart from them.
        put(page, 27, &[3]);
        // Every type, at the beginning of metadata.
        put(page, 28, &[0x0f]);
        let kind = namespace.protection.map_or(0, |protection| protection.kind);
        put(page, 29, &[kind | 1 << 3]);
        // Deallocated blocks read as zeros.
        put(page, 33, &[1]);
        if self.options.version >= WITH_VERSION {
            put(page, 104, &self.guid(id));
        }
        put(page, 120, &self.eui64(id));
        for (index, (shift, metadata)) in FORMATS.iter().enumerate() {
            put(page, 128 + index * 4, &metadata.to_le_bytes());
            put(page, 130 + index * 4, &[*shift]);
        }
        for (at, bytes) in &namespace.said {
            put(page, *at, bytes);
        }
        Ok(())
    }

    fn list_namespaces(&self, after: u32, page: &mut [u8]) -> Result<(), u16> {
        if after >= 0xffff_fffe {
            return invalid_namespace();
        }
        let shared = self.shared();
        let after = if self.options.repeats_list { 0 } else { after };
        let ids = shared.namespaces.keys().filter(|id| **id > after);
        for (index, id) in ids.take(1024).enumerate() {
            put(page, index * 4, &id.to_le_bytes());
        }
        Ok(())
    }

    /// Writes the descriptors of a namespace's identifiers.
    fn describe(&self, id: u32, page: &mut [u8]) -> Result<(), u16> {
        if !Self::is_number(id) {
            return invalid_namespace();
        }
        if !self.shared().namespaces.contains_key(&id) {
            return invalid_field();
        }
        let mut at = 0;
        for (kind, identifier) in [
            (descriptor::EUI64, &self.eui64(id)[..]),
            (descriptor::GUID, &self.guid(id)),
            (descriptor::UUID, &self.uuid(id)),
        ] {
            let len = u8::try_from(identifier.len()).unwrap_or(0);
            put(page, at, &[kind, len]);
            put(page, at + 4, identifier);
            at += 4 + identifier.len();
        }
        Ok(())
    }

    /// Writes the guards of more than 16 bits and the storage tags of formats.
    fn identify_formats(&self, id: u32, page: &mut [u8]) -> Result<(), u16> {
        if !Self::is_number(id) {
            return invalid_namespace();
        }
        let shared = self.shared();
        let protected = shared.namespaces.get(&id).and_then(|namespace| {
            let protection = namespace.protection?;
            Some((namespace.format(), protection))
        });
        if let Some((format, protection)) = protected {
            let at = 12 + usize::from(format) * 4;
            put(page, at, &protection.elbaf().to_le_bytes());
        }
        Ok(())
    }

    /// Tells whether blocks of a namespace can be reached: where their format is an extended one,
    /// the host has to say first that it knows those.
    pub(super) fn is_enabled(&self, namespace: &NvmeNamespace) -> bool {
        let is_extended = |protection: super::NvmeProtection| protection.elbaf() != 0;
        self.features.knows_extended_formats || !namespace.protection.is_some_and(is_extended)
    }

    pub(super) fn log_page(&mut self, entry: &Entry, bus: &mut Bus<'_>) -> Result<u32, u16> {
        let dwords = u64::from(entry.dwords[0] >> 16) + 1;
        let len = usize::try_from(dwords).unwrap_or(0).min(1024) * 4;
        let mut page = std::vec![0; len.max(4096)];
        let kind = self.write_log(entry.dwords[0] & 0xff, &mut page)?;
        page.truncate(len);
        prp::put(entry, &page, bus)?;
        // Unless the event is to be kept (RAE).
        if let Some(kind) = kind.filter(|_| entry.dwords[0] & 1 << 15 == 0) {
            self.masked_kinds &= !(1 << kind);
            self.tell_events(bus);
        }
        Ok(0)
    }

    /// Writes a log page; returns the kind of the events that its reading lets come again.
    fn write_log(&self, id: u32, page: &mut [u8]) -> Result<Option<u8>, u16> {
        Ok(match id {
            log::ERRORS => {
                for (index, error) in self.errors.iter().enumerate() {
                    put(page, index * 64, error);
                }
                Some(0)
            }
            log::HEALTH => {
                let is_hot = TEMPERATURE >= self.features.temperature_threshold;
                put(page, 0, &[u8::from(is_hot) << 1]);
                put(page, 1, &TEMPERATURE.to_le_bytes());
                put(page, 3, &[100, 10]);
                put(page, 176, &self.error_count.to_le_bytes());
                Some(1)
            }
            log::FIRMWARE => {
                // The first slot is the one that runs.
                put(page, 0, &[1]);
                put(page, 8, FIRMWARE);
                None
            }
            log::CHANGED => {
                let changed = core::mem::take(&mut self.shared().changed);
                for (index, id) in changed.iter().take(1024).enumerate() {
                    put(page, index * 4, &id.to_le_bytes());
                }
                Some(2)
            }
            _ => return Err(status::INVALID_LOG_PAGE | status::DO_NOT_RETRY),
        })
    }
}
