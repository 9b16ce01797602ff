//! Where the structures of a device are (Virtual I/O Device Specification 1.2, section 4.1.4).

use vfio_core::pci::{
    Body, CapabilityId, Config, ConfigAccess, ConfigError, StandardId, TypedCapability,
};

/// What a structure is for (`cfg_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Structure {
    /// Registers that all devices have.
    Common,
    /// Doorbells.
    Notify,
    /// The causes of INTx.
    Isr,
    /// Registers of one type of device.
    Device,
}

/// Where a structure is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Place {
    /// The BAR, 0 to 5.
    pub bar: u8,
    /// Where it starts, in bytes from the start of the BAR.
    pub offset: u32,
    /// Its length in bytes.
    pub len: u32,
}

/// Where all structures of a device are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) struct Places {
    /// The registers that all devices have.
    pub(super) common: Option<Place>,
    /// The doorbells.
    pub(super) notify: Option<Place>,
    /// How far apart doorbells are in bytes: 0 where they are one.
    pub(super) notify_off_multiplier: u32,
    /// The causes of INTx.
    pub(super) isr: Option<Place>,
    /// The registers of this type of device.
    pub(super) device: Option<Place>,
}

/// One of the capabilities that say where a structure is.
struct VirtioCap {
    /// None for one that is not used here.
    structure: Option<Structure>,
    place: Place,
    /// Of doorbells alone.
    notify_off_multiplier: u32,
}

/// Bytes of the capability, and of the one of doorbells.
const CAP_LEN: u16 = 16;
const NOTIFY_CAP_LEN: u16 = 20;

/// The last BAR; what names a higher one is to be ignored (section 4.1.4.1).
const LAST_BAR: u8 = 5;

impl Places {
    /// Finds the structures: the first of each kind, as the device prefers it.
    ///
    /// # Errors
    /// [`ConfigError`] where the list of capabilities can't be followed.
    pub(super) fn find<A: ConfigAccess>(config: &Config<A>) -> Result<Self, ConfigError<A::Error>> {
        let mut places = Self::default();
        for entry in config.capabilities() {
            let entry = entry?;
            if entry.id != VirtioCap::ID {
                continue;
            }
            let found: VirtioCap = entry.decode_as(config)?;
            if let Some(structure) = found.structure
                && found.place.bar <= LAST_BAR
            {
                places.keep(structure, &found);
            }
        }
        Ok(places)
    }

    fn keep(&mut self, structure: Structure, found: &VirtioCap) {
        if structure == Structure::Notify && self.notify.is_none() {
            self.notify_off_multiplier = found.notify_off_multiplier;
        }
        let place = match structure {
            Structure::Common => &mut self.common,
            Structure::Notify => &mut self.notify,
            Structure::Isr => &mut self.isr,
            Structure::Device => &mut self.device,
        };
        place.get_or_insert(found.place);
    }
}

impl Structure {
    /// Returns the structure of a `cfg_type`; none for those that are not used here.
    const fn from_number(cfg_type: u8) -> Option<Self> {
        Some(match cfg_type {
            1 => Self::Common,
            2 => Self::Notify,
            3 => Self::Isr,
            4 => Self::Device,
            _ => return None,
        })
    }

    /// Returns its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Common => "common configuration",
            Self::Notify => "notification",
            Self::Isr => "ISR",
            Self::Device => "device configuration",
        }
    }
}

impl TypedCapability for VirtioCap {
    const ID: CapabilityId = CapabilityId::Standard(StandardId::VNDR);

    fn decode<A: ConfigAccess>(body: &Body<'_, A>) -> Result<Self, ConfigError<A::Error>> {
        let structure = Structure::from_number(body.read_u8(3)?);
        let mut found = Self {
            structure,
            place: Place::default(),
            notify_off_multiplier: 0,
        };
        let Some(structure) = structure else {
            return Ok(found);
        };
        let len = u16::from(body.read_u8(2)?);
        body.check_len(len, CAP_LEN)?;
        found.place = Place {
            bar: body.read_u8(4)?,
            offset: body.read_u32(8)?,
            len: body.read_u32(12)?,
        };
        if structure == Structure::Notify {
            body.check_len(len, NOTIFY_CAP_LEN)?;
            found.notify_off_multiplier = body.read_u32(16)?;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vfio_core::pci::Snapshot;

    /// Returns a capability of a virtio device, with the offset of the next one.
    fn capability(next: u8, len: u8, cfg_type: u8, bar: u8, at: u32, size: u32) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&[9, next, len, cfg_type, bar, 0, 0, 0]);
        bytes[8..12].copy_from_slice(&at.to_le_bytes());
        bytes[12..16].copy_from_slice(&size.to_le_bytes());
        bytes[16..].copy_from_slice(&4_u32.to_le_bytes());
        bytes
    }

    fn config(capabilities: &[[u8; 20]]) -> Config<Snapshot<[u8; 256]>> {
        let mut bytes = [0; 256];
        bytes[6] = 0x10;
        bytes[0x34] = 0x40;
        for (index, capability) in capabilities.iter().enumerate() {
            let at = 0x40 + index * 20;
            bytes[at..at + 20].copy_from_slice(capability);
        }
        Config::new(Snapshot(bytes))
    }

    #[test]
    fn the_first_of_each_kind_counts_and_unknown_ones_are_ignored() {
        let config = config(&[
            capability(0x54, 16, 1, 6, 0, 0x38),
            capability(0x68, 16, 1, 4, 0, 0x38),
            capability(0x7c, 16, 1, 2, 0, 0x38),
            capability(0x90, 20, 2, 4, 0x3000, 0x1000),
            capability(0xa4, 16, 5, 4, 0, 0),
            // Data of the device's vendor, which need no more.
            capability(0, 8, 9, 4, 0, 0),
        ]);
        let places = Places::find(&config).unwrap();
        let common = Place {
            bar: 4,
            offset: 0,
            len: 0x38,
        };
        assert_eq!(places.common, Some(common));
        assert_eq!(places.notify.map(|place| place.offset), Some(0x3000));
        assert_eq!(places.notify_off_multiplier, 4);
        assert_eq!((places.isr, places.device), (None, None));
    }

    #[test]
    fn a_capability_that_is_too_short_is_an_error() {
        for (len, cfg_type) in [(15, 1), (16, 2), (19, 2), (3, 4)] {
            let config = config(&[capability(0, len, cfg_type, 4, 0, 64)]);
            let error = ConfigError::Length {
                id: VirtioCap::ID,
                offset: 0x40,
                len: len.into(),
            };
            assert_eq!(Places::find(&config), Err(error));
        }
    }
}
