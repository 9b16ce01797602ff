//! What a device reaches: memory through its address space, and the processor by interrupts.

use std::sync::MutexGuard;
use std::vec::Vec;

use super::dma_log::DmaLog;
use super::faults::FaultLog;
use super::interrupts::Interrupts;
use crate::lock::lock;
use crate::model::{Fault, FaultReason, Refusal, RootComplex};
use crate::sim::memory::{Piece, SharedSpace, Space};

/// The other end of a device's bus.
pub(super) struct Root<'a> {
    pub(super) space: Option<&'a SharedSpace>,
    pub(super) interrupts: &'a mut Interrupts,
    pub(super) faults: &'a FaultLog,
    /// What the device writes, where that is logged.
    pub(super) log: Option<&'a mut DmaLog>,
}

impl<'a> Root<'a> {
    /// Finds memory, all of it or none. Nothing is unmapped as long as the space is held: memory
    /// is the program's again when it was.
    fn pieces(
        &self,
        iova: u64,
        len: usize,
        is_write: bool,
    ) -> Result<(MutexGuard<'a, Space>, Vec<Piece>), Refusal> {
        let reason = FaultReason::Unattached;
        let space = self.space.ok_or(Refusal { iova, reason })?;
        let space = lock(space);
        let pieces = space.translate(iova, len, is_write)?;
        Ok((space, pieces))
    }
}

impl RootComplex for Root<'_> {
    fn dma_read(&mut self, iova: u64, data: &mut [u8]) -> Result<(), Refusal> {
        let mut rest = data;
        let (_space, pieces) = self.pieces(iova, rest.len(), false)?;
        for piece in pieces {
            let (part, left) = std::mem::take(&mut rest).split_at_mut(piece.len);
            piece.memory.read(piece.offset, part);
            rest = left;
        }
        Ok(())
    }

    fn dma_write(&mut self, iova: u64, data: &[u8]) -> Result<(), Refusal> {
        let mut rest = data;
        let (_space, pieces) = self.pieces(iova, rest.len(), true)?;
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

    fn uses_messages(&self) -> bool {
        self.interrupts.uses_messages()
    }

    fn send_message(&mut self, vector: u32) {
        self.interrupts.message(vector);
    }

    fn set_intx(&mut self, is_asserted: bool) {
        self.interrupts.set_level(is_asserted);
    }

    fn report(&mut self, fault: &Fault) {
        self.faults.push(fault.clone());
    }
}
