//! Device serial number (PCI Express base specification, section 7.9.3).

use core::fmt;

use super::{Body, TypedCapability};
use crate::pci::{CapabilityId, ConfigAccess, ConfigError, ExtendedId};

/// The serial number of a device, the same in all of its functions that have one: an EUI-64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SerialNumber {
    /// Where the capability starts, in bytes.
    pub offset: u16,
    /// The number.
    pub number: u64,
}

impl TypedCapability for SerialNumber {
    const ID: CapabilityId = CapabilityId::Extended(ExtendedId::DSN);

    fn decode<A: ConfigAccess>(body: &Body<'_, A>) -> Result<Self, ConfigError<A::Error>> {
        let low = u64::from(body.read_u32(4)?);
        let high = u64::from(body.read_u32(8)?);
        Ok(Self {
            offset: body.offset(),
            number: (high << 32) | low,
        })
    }
}

impl fmt::Display for SerialNumber {
    /// Writes it as `lspci -v` does: `52-54-00-ff-ff-12-34-56`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for byte in self.number.to_be_bytes() {
            write!(f, "{separator}{byte:02x}")?;
            separator = "-";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;
    use crate::pci::sample::extended;

    #[test]
    fn the_number_is_read() {
        let bytes = [
            0x03, 0, 1, 0, 0x56, 0x34, 0x12, 0xff, 0xff, 0x00, 0x54, 0x52,
        ];
        let serial: SerialNumber = extended(&bytes).unwrap();
        assert_eq!(serial.to_string(), "52-54-00-ff-ff-12-34-56");
    }
}
