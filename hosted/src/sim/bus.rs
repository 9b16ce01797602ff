//! What a device does of its own accord: DMA and interrupts.

use std::fmt;
use std::string::ToString;
use std::sync::{MutexGuard, PoisonError};
use std::vec::Vec;

use super::config::Config;
use super::dma_log::DmaLog;
use super::fault::{DmaAccess, Fault, FaultLog, FaultReason};
use super::interrupts::Interrupts;
use super::space::{Piece, SharedSpace, Space};

/// The way from a device to memory and to the processor, lent to its
/// [`Registers`](super::Registers) while they act.
pub struct Bus<'a> {
    pub(super) name: &'a str,
    pub(super) config: &'a Config,
    pub(super) space: Option<&'a SharedSpace>,
    pub(super) interrupts: &'a mut Interrupts,
    pub(super) faults: &'a FaultLog,
    /// What the device writes, where that is logged.
    pub(super) log: Option<&'a mut DmaLog>,
}

/// Where messages go that are interrupts on x86.
const MESSAGES: u64 = 0xfee0_0000;

impl<'a> Bus<'a> {
    /// Reads memory at `iova` by DMA.
    ///
    /// # Errors
    /// [`Fault`]: nothing was read. The kernel keeps it
    /// ([`Kernel::faults`](super::Kernel::faults)).
    pub fn dma_read(&mut self, iova: u64, data: &mut [u8]) -> Result<(), Fault> {
        let mut rest = data;
        let (_space, pieces) = self.pieces(iova, rest.len(), DmaAccess::Read)?;
        for piece in pieces {
            let (part, left) = std::mem::take(&mut rest).split_at_mut(piece.len);
            piece.memory.read(piece.offset, part);
            rest = left;
        }
        Ok(())
    }

    /// Writes memory at `iova` by DMA.
    ///
    /// # Errors
    /// [`Fault`]: nothing was written. The kernel keeps it.
    pub fn dma_write(&mut self, iova: u64, data: &[u8]) -> Result<(), Fault> {
        let mut rest = data;
        let (_space, pieces) = self.pieces(iova, rest.len(), DmaAccess::Write)?;
        for piece in pieces {
            let (part, left) = rest.split_at(piece.len);
            piece.memory.write(piece.offset, part);
            rest = left;
        }
        if let Some(log) = &mut self.log {
            log.write(iova, data.len());
        }
        Ok(())
    }

    /// Whether MSI or MSI-X is enabled: then INTx is not to be used.
    #[must_use]
    pub fn uses_messages(&self) -> bool {
        self.interrupts.uses_messages()
    }

    /// Sends the message of an MSI or MSI-X vector; without effect where neither is enabled.
    ///
    /// # Errors
    /// [`Fault`] where the device may not master the bus: a message is a write to memory.
    pub fn send_message(&mut self, vector: u32) -> Result<(), Fault> {
        self.mastering(MESSAGES, DmaAccess::Message)?;
        self.interrupts.message(vector);
        Ok(())
    }

    /// Asserts INTx, or deasserts it. It stays as it is until it is changed again.
    pub fn set_intx(&mut self, is_asserted: bool) {
        self.interrupts.set_level(is_asserted);
    }

    /// Finds memory, all of it or none. Nothing is unmapped as long as the space is held: memory
    /// is the program's again when it was.
    fn pieces(
        &self,
        iova: u64,
        len: usize,
        access: DmaAccess,
    ) -> Result<(MutexGuard<'a, Space>, Vec<Piece>), Fault> {
        self.mastering(iova, access)?;
        let refuse = |(at, reason)| self.fault(at, access, reason);
        let space = self
            .space
            .ok_or_else(|| refuse((iova, FaultReason::Unattached)))?;
        let space = space.lock().unwrap_or_else(PoisonError::into_inner);
        let pieces = space
            .translate(iova, len, access == DmaAccess::Write)
            .map_err(refuse)?;
        Ok((space, pieces))
    }

    fn mastering(&self, iova: u64, access: DmaAccess) -> Result<(), Fault> {
        if self.config.masters_bus() {
            Ok(())
        } else {
            Err(self.fault(iova, access, FaultReason::BusMasterOff))
        }
    }

    fn fault(&self, iova: u64, access: DmaAccess, reason: FaultReason) -> Fault {
        let fault = Fault {
            device: self.name.to_string(),
            iova,
            access,
            reason,
        };
        self.faults.push(fault.clone());
        fault
    }
}

impl fmt::Debug for Bus<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus")
            .field("device", &self.name)
            .field("masters_bus", &self.config.masters_bus())
            .field("is_attached", &self.space.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Lends the bus of a device that may master it and has no address space.
    pub(in crate::sim) fn with_bus<R>(act: impl FnOnce(&mut Bus<'_>) -> R) -> R {
        let mut config = Config::pci(0x1234, 0x11e8, 0, 0);
        config.write(4, &[4, 0]);
        act(&mut Bus {
            name: "0000:00:05.0",
            config: &config,
            space: None,
            interrupts: &mut Interrupts::default(),
            faults: &FaultLog::default(),
            log: None,
        })
    }
}
