//! The address of a PCI function, as sysfs and lspci write it.

use core::fmt;
use core::str::FromStr;

/// The address of a PCI function: `segment:bus:device.function`, all in hexadecimal.
///
/// The order is that of the fields, which is the order of lspci.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    segment: u32,
    bus: u8,
    device: u8,
    function: u8,
}

/// Why a text is no [`Address`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseAddressError {
    /// Not of the form `[segment:]bus:device.function`.
    Form,
    /// The segment is not a hexadecimal number of 1 to 8 digits.
    Segment,
    /// The bus is not a hexadecimal number of 1 or 2 digits.
    Bus,
    /// The device is not a hexadecimal number up to 1f.
    Device,
    /// The function is not a number up to 7.
    Function,
}

impl Address {
    /// Creates the address of these numbers. `None` if `device` is above 0x1f or `function` above
    /// 7.
    ///
    /// A segment is 16 bits wide in ACPI, but Linux numbers the domains behind Intel VMD from 0x10000 on.
    #[must_use]
    pub const fn new(segment: u32, bus: u8, device: u8, function: u8) -> Option<Self> {
        if device > 0x1f || function > 7 {
            return None;
        }
        Some(Self {
            segment,
            bus,
            device,
            function,
        })
    }

    /// Returns the segment, which Linux calls the domain.
    #[must_use]
    pub const fn segment(self) -> u32 {
        self.segment
    }

    /// Returns the bus.
    #[must_use]
    pub const fn bus(self) -> u8 {
        self.bus
    }

    /// Returns the device on its bus, at most 0x1f.
    #[must_use]
    pub const fn device(self) -> u8 {
        self.device
    }

    /// Returns the function of its device, at most 7.
    #[must_use]
    pub const fn function(self) -> u8 {
        self.function
    }
}

impl FromStr for Address {
    type Err = ParseAddressError;

    /// Parses `0000:00:05.0`, or `00:05.0` for segment 0.
    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        let (rest, function) = text.rsplit_once('.').ok_or(ParseAddressError::Form)?;
        let (rest, device) = rest.rsplit_once(':').ok_or(ParseAddressError::Form)?;
        let (segment, bus) = rest.rsplit_once(':').unwrap_or(("0", rest));

        let segment = hex(segment, 8).ok_or(ParseAddressError::Segment)?;
        let bus = hex(bus, 2)
            .and_then(|bus| u8::try_from(bus).ok())
            .ok_or(ParseAddressError::Bus)?;
        let device = hex(device, 2)
            .and_then(|device| u8::try_from(device).ok())
            .ok_or(ParseAddressError::Device)?;
        let function = hex(function, 1)
            .and_then(|function| u8::try_from(function).ok())
            .ok_or(ParseAddressError::Function)?;
        if device > 0x1f {
            return Err(ParseAddressError::Device);
        }
        Self::new(segment, bus, device, function).ok_or(ParseAddressError::Function)
    }
}

/// Returns a number of 1 to `digits` hexadecimal digits. Unlike `from_str_radix`, no sign.
fn hex(text: &str, digits: usize) -> Option<u32> {
    if text.len() > digits || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(text, 16).ok()
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:04x}:{:02x}:{:02x}.{:x}",
            self.segment, self.bus, self.device, self.function
        )
    }
}

impl fmt::Display for ParseAddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "a PCI address has the form 0000:00:05.0 or 00:05.0",
            Self::Segment => {
                "the segment of a PCI address is a hexadecimal number of 1 to 8 digits"
            }
            Self::Bus => "the bus of a PCI address is a hexadecimal number from 0 to ff",
            Self::Device => "the device of a PCI address is a hexadecimal number from 0 to 1f",
            Self::Function => "the function of a PCI address is a number from 0 to 7",
        })
    }
}

impl core::error::Error for ParseAddressError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_short_forms_are_the_same_address() {
        let address: Address = "0000:00:05.0".parse().unwrap();
        assert_eq!(address, "00:05.0".parse().unwrap());
        assert_eq!(address.to_string(), "0000:00:05.0");
    }

    #[test]
    fn a_segment_behind_vmd_is_wider_than_16_bits() {
        let address: Address = "10000:E1:1f.7".parse().unwrap();
        assert_eq!(
            (
                address.segment(),
                address.bus(),
                address.device(),
                address.function()
            ),
            (0x10000, 0xe1, 0x1f, 7)
        );
        assert_eq!(address.to_string(), "10000:e1:1f.7");
    }

    #[test]
    fn each_part_is_checked() {
        for (text, error) in [
            ("", ParseAddressError::Form),
            ("05.0", ParseAddressError::Form),
            ("00:05", ParseAddressError::Form),
            ("123456789:00:05.0", ParseAddressError::Segment),
            ("0:0:00:05.0", ParseAddressError::Segment),
            (":00:05.0", ParseAddressError::Segment),
            ("100:05.0", ParseAddressError::Bus),
            ("+1:05.0", ParseAddressError::Bus),
            ("00:20.0", ParseAddressError::Device),
            ("00:.0", ParseAddressError::Device),
            ("00:05.8", ParseAddressError::Function),
            ("00:05.", ParseAddressError::Function),
            ("00:05.00", ParseAddressError::Function),
        ] {
            assert_eq!(text.parse::<Address>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn the_order_is_by_segment_bus_device_function() {
        let mut addresses: Vec<Address> = ["10000:00:00.0", "01:00.1", "01:00.0", "00:1f.3"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        addresses.sort();
        let sorted: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        assert_eq!(
            sorted,
            [
                "0000:00:1f.3",
                "0000:01:00.0",
                "0000:01:00.1",
                "10000:00:00.0"
            ]
        );
    }
}
