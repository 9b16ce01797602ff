//! What a device reaches: memory of its client, and the client's events.

use vfio_core::wire::abi::pci_irq;

use super::device::Faults;
use super::interrupts::Interrupts;
use super::messages::Messages;
use super::session::Session;
use crate::model::{Config, Fault, FaultReason, Refusal, RootComplex};

/// The other end of a device's bus.
pub(super) struct Root<'a> {
    /// None where no client is there.
    pub(super) session: Option<&'a mut Session>,
    pub(super) interrupts: &'a mut Interrupts,
    pub(super) messages: &'a Messages,
    pub(super) config: &'a Config,
    pub(super) faults: &'a mut Faults,
}

impl Root<'_> {
    /// Returns the index of the messages that the device sends: MSI-X where it is enabled, or where the client has given
    /// it events and enabled neither.
    fn index(&self) -> Option<u32> {
        let (is_msix, _) = self.config.msix_state();
        if is_msix {
            return Some(pci_irq::MSIX);
        }
        if self.config.has_msi_on() {
            return Some(pci_irq::MSI);
        }
        let armed = [pci_irq::MSIX, pci_irq::MSI].into_iter();
        armed
            .into_iter()
            .find(|index| self.interrupts.is_armed(*index))
    }
}

impl RootComplex for Root<'_> {
    fn dma_read(&mut self, iova: u64, data: &mut [u8]) -> Result<(), Refusal> {
        let reason = FaultReason::Unattached;
        let session = self.session.as_mut().ok_or(Refusal { iova, reason })?;
        session.dma_read(iova, data)
    }

    fn dma_write(&mut self, iova: u64, data: &[u8]) -> Result<(), Refusal> {
        let reason = FaultReason::Unattached;
        let session = self.session.as_mut().ok_or(Refusal { iova, reason })?;
        session.dma_write(iova, data)
    }

    fn uses_messages(&self) -> bool {
        self.index().is_some()
    }

    fn send_message(&mut self, vector: u32) {
        let Some(index) = self.index() else {
            return;
        };
        let vector = usize::try_from(vector).unwrap_or(usize::MAX);
        let state = self.config.msix_state();
        let is_masked = index == pci_irq::MSIX && self.messages.is_masked(vector, state);
        self.interrupts.send(index, vector, is_masked);
    }

    fn set_intx(&mut self, is_asserted: bool) {
        self.interrupts
            .set_level(is_asserted, self.config.is_intx_off());
    }

    fn report(&mut self, fault: &Fault) {
        self.faults.count = self.faults.count.saturating_add(1);
        self.faults.last = Some(fault.clone());
    }
}
