//! Where a function is.

use core::ffi::CStr;
use core::fmt;

/// The address of a function: segment, bus, device, function.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(u32);

impl Address {
    /// Creates the address of a function in segment 0. Of `device` and `function` no more than 5
    /// and 3 bits count.
    #[must_use]
    pub const fn new(bus: u8, device: u8, function: u8) -> Self {
        Self(u32::from_be_bytes([
            0,
            0,
            bus,
            (device & 0x1f) << 3 | function & 7,
        ]))
    }

    /// Returns the same in another segment.
    #[must_use]
    pub const fn in_segment(self, segment: u16) -> Self {
        let ([s1, s0], [_, _, bus, devfn]) = (segment.to_be_bytes(), self.0.to_be_bytes());
        Self(u32::from_be_bytes([s1, s0, bus, devfn]))
    }

    /// Returns the segment.
    #[must_use]
    pub const fn segment(self) -> u16 {
        let [s1, s0, ..] = self.0.to_be_bytes();
        u16::from_be_bytes([s1, s0])
    }

    /// Returns segment and bus in one number.
    #[must_use]
    pub const fn segment_bus(self) -> u32 {
        self.0 >> 8
    }

    /// Returns the bus.
    #[must_use]
    pub const fn bus(self) -> u8 {
        self.0.to_be_bytes()[2]
    }

    /// Returns device and function in one number.
    #[must_use]
    pub const fn devfn(self) -> u8 {
        self.0.to_be_bytes()[3]
    }

    /// Returns the device.
    #[must_use]
    pub const fn device(self) -> u8 {
        self.devfn() >> 3
    }

    /// Returns the function.
    #[must_use]
    pub const fn function(self) -> u8 {
        self.devfn() & 7
    }

    /// Returns the name that VFIO knows the function by: `0000:00:05.0`.
    #[must_use]
    pub fn name(self) -> [u8; 13] {
        let digit = |value: u8| match value & 0xf {
            low @ 0..10 => b'0'.saturating_add(low),
            high => b'a'.saturating_add(high).saturating_sub(10),
        };
        let pair = |value: u8| [digit(value >> 4), digit(value)];
        let [high, low, bus, _] = self.0.to_be_bytes();
        let ([s3, s2], [s1, s0]) = (pair(high), pair(low));
        let ([b1, b0], [d1, d0]) = (pair(bus), pair(self.device()));
        let f = digit(self.function());
        [s3, s2, s1, s0, b':', b1, b0, b':', d1, d0, b'.', f, 0]
    }

    /// Tells whether `name` is the function's.
    #[must_use]
    pub fn is_named(self, name: &CStr) -> bool {
        name.to_bytes_with_nul() == self.name()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:04x}:{:02x}:{:02x}.{}",
            self.segment(),
            self.bus(),
            self.device(),
            self.function()
        )
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Address {
    fn format(&self, f: defmt::Formatter<'_>) {
        let (segment, bus) = (self.segment(), self.bus());
        let (device, function) = (self.device(), self.function());
        defmt::write!(
            f,
            "{=u16:04x}:{=u8:02x}:{=u8:02x}.{=u8}",
            segment,
            bus,
            device,
            function
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn the_name_is_the_one_that_linux_gives() {
        let address = Address::new(0xab, 0x1f, 7);
        assert_eq!(address.name(), *b"0000:ab:1f.7\0");
        assert_eq!(address.to_string(), "0000:ab:1f.7");
        assert!(address.is_named(c"0000:ab:1f.7"));
        assert!(!address.is_named(c"0000:ab:1f.6"));
        assert!(!address.is_named(c"0000:ab:1f.7 "));
        let address = address.in_segment(0x10f);
        assert_eq!(address.name(), *b"010f:ab:1f.7\0");
        assert_eq!(address.to_string(), "010f:ab:1f.7");
        assert_eq!(
            (address.segment(), address.bus(), address.devfn()),
            (0x10f, 0xab, 0xff)
        );
    }
}
