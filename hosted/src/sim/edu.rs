//! The registers of QEMU's educational device (QEMU's documentation, specs/edu).

use super::Registers;

/// The educational device: identification, liveness check, factorial and the interrupt status,
/// all in region 0. It computes at once, and has no DMA.
///
/// The registers here are accessed with 4 bytes; other accesses read as ones and write nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edu {
    liveness: u32,
    factorial: u32,
    status: u32,
    interrupt_status: u32,
}

/// Offsets of the registers, in bytes.
mod offset {
    /// Version and 0xed; read only.
    pub(super) const IDENTIFICATION: u64 = 0x00;
    /// Reads as the complement of what was written.
    pub(super) const LIVENESS: u64 = 0x04;
    /// Reads as the factorial of what was written.
    pub(super) const FACTORIAL: u64 = 0x08;
    /// Bit 0: computing; bit 7: raise an interrupt when the factorial is there.
    pub(super) const STATUS: u64 = 0x20;
    /// Why an interrupt was raised; read only.
    pub(super) const INTERRUPT_STATUS: u64 = 0x24;
    /// Bits written here are set in the interrupt status; write only.
    pub(super) const INTERRUPT_RAISE: u64 = 0x60;
    /// Bits written here are cleared in the interrupt status; write only.
    pub(super) const INTERRUPT_ACKNOWLEDGE: u64 = 0x64;
}

/// Version 1.0.
const IDENTIFICATION: u32 = 0x0100_00ed;
/// The bit of the status that software may change.
const STATUS_RAISES: u32 = 1 << 7;
/// The cause of an interrupt after a factorial.
const CAUSE_FACTORIAL: u32 = 1;

impl Edu {
    /// The device after power-on.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            liveness: 0,
            factorial: 0,
            status: 0,
            interrupt_status: 0,
        }
    }

    const fn register(&self, at: u64) -> u32 {
        match at {
            offset::IDENTIFICATION => IDENTIFICATION,
            offset::LIVENESS => self.liveness,
            offset::FACTORIAL => self.factorial,
            offset::STATUS => self.status,
            offset::INTERRUPT_STATUS => self.interrupt_status,
            _ => u32::MAX,
        }
    }

    fn set_register(&mut self, at: u64, value: u32) {
        match at {
            offset::LIVENESS => self.liveness = !value,
            offset::FACTORIAL => {
                self.factorial = factorial(value);
                if self.status & STATUS_RAISES != 0 {
                    self.interrupt_status |= CAUSE_FACTORIAL;
                }
            }
            offset::STATUS => self.status = value & STATUS_RAISES,
            offset::INTERRUPT_RAISE => self.interrupt_status |= value,
            offset::INTERRUPT_ACKNOWLEDGE => self.interrupt_status &= !value,
            _ => (),
        }
    }
}

/// The factorial modulo 2^32; from 34 on it is 0.
fn factorial(n: u32) -> u32 {
    (1..=n.min(34)).fold(1, u32::wrapping_mul)
}

impl Registers for Edu {
    fn read(&mut self, region: u32, offset: u64, data: &mut [u8]) {
        match (region, <&mut [u8; 4]>::try_from(&mut *data)) {
            (0, Ok(data)) => *data = self.register(offset).to_le_bytes(),
            _ => data.fill(0xff),
        }
    }

    fn write(&mut self, region: u32, offset: u64, data: &[u8]) {
        if let (0, Ok(data)) = (region, data.try_into()) {
            self.set_register(offset, u32::from_le_bytes(data));
        }
    }

    fn reset(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(edu: &mut Edu, at: u64) -> u32 {
        let mut data = [0; 4];
        edu.read(0, at, &mut data);
        u32::from_le_bytes(data)
    }

    #[test]
    fn it_inverts_and_multiplies() {
        let mut edu = Edu::new();
        assert_eq!(read(&mut edu, 0), 0x0100_00ed);
        edu.write(0, 4, &0x1234_5678_u32.to_le_bytes());
        assert_eq!(read(&mut edu, 4), !0x1234_5678);
        for (n, result) in [(0, 1), (5, 120), (12, 479_001_600), (13, 1_932_053_504)] {
            edu.write(0, 8, &u32::to_le_bytes(n));
            assert_eq!(read(&mut edu, 8), result);
        }
        for n in [34, u32::MAX] {
            edu.write(0, 8, &n.to_le_bytes());
            assert_eq!(read(&mut edu, 8), 0);
        }
    }

    #[test]
    fn interrupt_causes_are_raised_and_acknowledged() {
        let mut edu = Edu::new();
        edu.write(0, 8, &3_u32.to_le_bytes());
        assert_eq!(read(&mut edu, 0x24), 0);
        edu.write(0, 0x20, &0x80_u32.to_le_bytes());
        edu.write(0, 8, &3_u32.to_le_bytes());
        edu.write(0, 0x60, &0x10_u32.to_le_bytes());
        assert_eq!(read(&mut edu, 0x24), 0x11);
        edu.write(0, 0x64, &0x01_u32.to_le_bytes());
        assert_eq!(read(&mut edu, 0x24), 0x10);
    }
}
