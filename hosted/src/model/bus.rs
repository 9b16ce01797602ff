//! What a device does of its own accord: DMA and interrupts.

use std::fmt;
use std::string::ToString;

use super::{Config, DmaAccess, Fault, FaultReason, Refusal};

/// The way from a device to memory and to the processor, lent to its
/// [`Registers`](super::Registers) while they act.
///
/// ```
/// use vfio_hosted::model::{Bus, Config, Edu, Fault, Refusal, Registers, RootComplex};
///
/// /// Memory from address 0 on, and the vectors that were signalled.
/// struct Machine {
///     memory: Vec<u8>,
///     vectors: Vec<u32>,
/// }
///
/// impl RootComplex for Machine {
///     fn dma_read(&mut self, iova: u64, data: &mut [u8]) -> Result<(), Refusal> {
///         let start = usize::try_from(iova).unwrap();
///         data.copy_from_slice(&self.memory[start..start + data.len()]);
///         Ok(())
///     }
///
///     fn dma_write(&mut self, iova: u64, data: &[u8]) -> Result<(), Refusal> {
///         let start = usize::try_from(iova).unwrap();
///         self.memory[start..start + data.len()].copy_from_slice(data);
///         Ok(())
///     }
///
///     fn uses_messages(&self) -> bool {
///         true
///     }
///
///     fn send_message(&mut self, vector: u32) {
///         self.vectors.push(vector);
///     }
///
///     fn set_intx(&mut self, _: bool) {}
///
///     fn report(&mut self, fault: &Fault) {
///         panic!("{fault}");
///     }
/// }
///
/// let mut machine = Machine { memory: b"from memory to the device and back".to_vec(), vectors: vec![] };
/// let mut config = Config::pci(0x1234, 0x11e8, 0x00_ff00, 0x10);
/// // Memory decoding and bus mastering.
/// config.write(0x04, &[0x06]);
/// let mut bus = Bus::new("edu", &config, &mut machine);
/// let mut edu = Edu::new();
/// // 11 bytes from address 0 into the device's buffer, and back to address 23, with an interrupt.
/// for [source, destination, command] in [[0, 0x4_0000, 1], [0x4_0000, 23, 7]] {
///     for (at, value) in [(0x80, source), (0x88, destination), (0x90, 11), (0x98, command)] {
///         edu.write(0, at, &u64::to_le_bytes(value), &mut bus);
///     }
///     while edu.advance(&mut bus) {}
/// }
/// assert_eq!(machine.memory, b"from memory to the devifrom memory");
/// assert_eq!(machine.vectors, [0]);
/// ```
pub struct Bus<'a> {
    name: &'a str,
    config: &'a Config,
    root: &'a mut dyn RootComplex,
}

/// What is at the other end of a [`Bus`]: memory and the processor, for one device.
///
/// The name is that of the PCI Express Base Specification. The bus has looked whether the device
/// may master it before it passes a transfer or a message on.
pub trait RootComplex {
    /// Reads memory at `iova`: all of it or nothing.
    ///
    /// # Errors
    /// [`Refusal`]: `data` is as it was.
    fn dma_read(&mut self, iova: u64, data: &mut [u8]) -> Result<(), Refusal>;

    /// Writes memory at `iova`: all of it or nothing.
    ///
    /// # Errors
    /// [`Refusal`]: nothing was written.
    fn dma_write(&mut self, iova: u64, data: &[u8]) -> Result<(), Refusal>;

    /// Tells whether MSI or MSI-X is enabled.
    fn uses_messages(&self) -> bool;

    /// Delivers the message of an MSI or MSI-X vector, where either is enabled.
    fn send_message(&mut self, vector: u32);

    /// Takes the level of INTx, which stays until it is changed again.
    fn set_intx(&mut self, is_asserted: bool);

    /// Hears of a transfer or a message that was refused, here or by the bus.
    fn report(&mut self, fault: &Fault);
}

/// Where messages go that are interrupts on x86.
const MESSAGES: u64 = 0xfee0_0000;

impl<'a> Bus<'a> {
    /// Makes the bus of the device `name`, which may master it as its configuration space says.
    #[must_use]
    pub fn new(name: &'a str, config: &'a Config, root: &'a mut dyn RootComplex) -> Self {
        Self { name, config, root }
    }

    /// Reads memory at `iova` by DMA.
    ///
    /// # Errors
    /// [`Fault`]: nothing was read. The other end of the bus has heard of it.
    pub fn dma_read(&mut self, iova: u64, data: &mut [u8]) -> Result<(), Fault> {
        self.master(iova, DmaAccess::Read)?;
        let done = self.root.dma_read(iova, data);
        done.map_err(|refusal| self.fault(refusal, DmaAccess::Read))
    }

    /// Writes memory at `iova` by DMA.
    ///
    /// # Errors
    /// [`Fault`]: nothing was written. The other end of the bus has heard of it.
    pub fn dma_write(&mut self, iova: u64, data: &[u8]) -> Result<(), Fault> {
        self.master(iova, DmaAccess::Write)?;
        let done = self.root.dma_write(iova, data);
        done.map_err(|refusal| self.fault(refusal, DmaAccess::Write))
    }

    /// Tells whether MSI or MSI-X is enabled: then INTx is not to be used.
    #[must_use]
    pub fn uses_messages(&self) -> bool {
        self.root.uses_messages()
    }

    /// Sends the message of an MSI or MSI-X vector; without effect where neither is enabled.
    ///
    /// # Errors
    /// [`Fault`] where the device may not master the bus: a message is a write to memory.
    pub fn send_message(&mut self, vector: u32) -> Result<(), Fault> {
        self.master(MESSAGES, DmaAccess::Message)?;
        self.root.send_message(vector);
        Ok(())
    }

    /// Asserts INTx, or deasserts it. It stays as it is until it is changed again.
    pub fn set_intx(&mut self, is_asserted: bool) {
        self.root.set_intx(is_asserted);
    }

    /// Checks that the device may master the bus.
    fn master(&mut self, iova: u64, access: DmaAccess) -> Result<(), Fault> {
        if self.config.masters_bus() {
            return Ok(());
        }
        let reason = FaultReason::BusMasterOff;
        Err(self.fault(Refusal { iova, reason }, access))
    }

    fn fault(&mut self, refusal: Refusal, access: DmaAccess) -> Fault {
        let fault = Fault {
            device: self.name.to_string(),
            iova: refusal.iova,
            access,
            reason: refusal.reason,
        };
        self.root.report(&fault);
        fault
    }
}

impl fmt::Debug for Bus<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus")
            .field("device", &self.name)
            .field("masters_bus", &self.config.masters_bus())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::{Cell, RefCell};
    use std::vec::Vec;

    use super::*;

    /// A root complex without memory and messages, which keeps what it hears.
    #[derive(Default)]
    pub(in crate::model) struct Bare {
        pub(in crate::model) intx: Cell<bool>,
        pub(in crate::model) faults: RefCell<Vec<Fault>>,
    }

    impl RootComplex for &Bare {
        fn dma_read(&mut self, iova: u64, _: &mut [u8]) -> Result<(), Refusal> {
            let reason = FaultReason::Unattached;
            Err(Refusal { iova, reason })
        }

        fn dma_write(&mut self, iova: u64, _: &[u8]) -> Result<(), Refusal> {
            let reason = FaultReason::Unattached;
            Err(Refusal { iova, reason })
        }

        fn uses_messages(&self) -> bool {
            false
        }

        fn send_message(&mut self, _: u32) {}

        fn set_intx(&mut self, is_asserted: bool) {
            self.intx.set(is_asserted);
        }

        fn report(&mut self, fault: &Fault) {
            self.faults.borrow_mut().push(fault.clone());
        }
    }

    /// Lends the bus of a device that may master it, and its other end.
    pub(in crate::model) fn with_bus<R>(act: impl FnOnce(&mut Bus<'_>, &Bare) -> R) -> R {
        let mut config = Config::pci(0x1234, 0x11e8, 0, 0);
        config.write(4, &[4, 0]);
        let bare = Bare::default();
        act(&mut Bus::new("0000:00:05.0", &config, &mut &bare), &bare)
    }
}
