//! How an image ends.

use crate::acpi::Power;
use crate::shim::Mapping;
use crate::{boot, physical, port};

/// How an image ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// As it should.
    Success,
    /// Otherwise.
    Failure,
}

/// The port of QEMU's `isa-debug-exit`: it ends with the status `value * 2 + 1`.
const DEBUG_EXIT: u16 = 0xf4;

impl Status {
    /// Returns the value that is written to the port.
    const fn value(self) -> u32 {
        match self {
            Self::Success => 0x10,
            Self::Failure => 0x11,
        }
    }
}

/// Ends the machine: through `isa-debug-exit`, without that device by ACPI, and without that by
/// halting.
pub fn exit(status: Status) -> ! {
    x86_64::instructions::interrupts::disable();
    port::write(DEBUG_EXIT, status.value());
    match Power::find(&physical::Machine, boot::rsdp()) {
        Some(Power::Registers(registers)) => {
            for (port, value) in registers.into_iter().filter(|(port, _)| *port != 0) {
                port::write(port, value);
            }
        }
        Some(Power::Control {
            address,
            is_port,
            value,
        }) => match u16::try_from(address) {
            Ok(port) if is_port => port::write(port, value),
            _ => {
                // Where it can't be reached, halting is left.
                let _ = Mapping::transfer(address, 1, Some(value.into()));
            }
        },
        None => (),
    }
    loop {
        x86_64::instructions::hlt();
    }
}
