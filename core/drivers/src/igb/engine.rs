//! The start and the end of the card (82576 datasheet, 4.2).

use vfio_core::dma::DmaHandle;
use vfio_core::mmio::Access;

use super::registers::{
    ANY_MULTICAST, ANY_UNICAST, BROADCAST, DRIVER_LOADED, FORCE_DUPLEX, FORCE_SPEED, FULL_DUPLEX,
    GIGABIT, LINK_MODE, LINK_UP, MAC_LOOPBACK, MDI_ERROR, MDI_PHY, MDI_READY, MDI_REGISTER,
    MDI_WRITE, MSIX, PAD, PHY_CONTROL, PHY_FULL_DUPLEX, PHY_GIGABIT, PHY_LOOPBACK, PHY_NEGOTIATE,
    PHY_RESTART, QUEUE_ENABLED, READ_AGAIN, RECEIVE, RECEIVE_FORMAT, RESET, Registers, SPEED,
    STRIP_CHECKSUM, TRANSMIT,
};
use super::ring::Descriptors;
use super::{Igb, IgbError, PATIENCE, Ring, VECTOR};

/// How often a register is read after a reset before anything is believed: a millisecond
/// (datasheet, 4.2.1.6.1).
const RESET_READS: u32 = 2_000;

impl<A: Access, M: DmaHandle, const R: usize> Igb<A, M, R> {
    /// Resets the device: all queues are off, and all interrupts are held back.
    pub(super) fn reset(&mut self) -> Result<(), IgbError<A::Error>> {
        let control = self.registers.get(Registers::control)?;
        self.registers.write(Registers::control, control | RESET)?;
        for read in 0..PATIENCE {
            let control = self.registers.get(Registers::control)?;
            if read >= RESET_READS && control & RESET == 0 {
                return self.hold_interrupts();
            }
            core::hint::spin_loop();
        }
        Err(IgbError::Reset)
    }

    fn hold_interrupts(&mut self) -> Result<(), IgbError<A::Error>> {
        self.registers.write(Registers::mask_clear, u32::MAX)?;
        self.registers
            .write(Registers::vector_mask_clear, u32::MAX)?;
        // A read acknowledges what was raised.
        let _ = self.registers.read(Registers::vector_cause)?;
        Ok(())
    }

    /// Closes the loop in the PHY (datasheet, 3.5.6.3.1), and in the MAC for QEMU.
    pub(super) fn loop_back(&mut self) -> Result<(), IgbError<A::Error>> {
        let extended = self.registers.get(Registers::extended_control)?;
        let extended = extended & !LINK_MODE | DRIVER_LOADED;
        self.registers
            .write(Registers::extended_control, extended)?;
        // QEMU's link comes up when it was negotiated; the card's by being forced.
        self.write_phy(PHY_NEGOTIATE | PHY_RESTART)?;
        self.write_phy(PHY_LOOPBACK | PHY_GIGABIT | PHY_FULL_DUPLEX)?;
        let control = self.registers.get(Registers::control)? & !SPEED;
        let forced = FORCE_SPEED | GIGABIT | FORCE_DUPLEX | FULL_DUPLEX | LINK_UP;
        self.registers.write(Registers::control, control | forced)?;
        // A read that the IOMMU refuses is over, and not made again for ever.
        let pcie = self.registers.get(Registers::pcie_control)?;
        self.registers
            .write(Registers::pcie_control, pcie & !READ_AGAIN)?;
        Ok(())
    }

    /// Writes the PHY's control register.
    fn write_phy(&mut self, value: u32) -> Result<(), IgbError<A::Error>> {
        let command = MDI_WRITE | MDI_PHY | PHY_CONTROL << MDI_REGISTER | value;
        self.registers.write(Registers::mdi_control, command)?;
        for _ in 0..PATIENCE {
            let answer = self.registers.get(Registers::mdi_control)?;
            if answer & MDI_ERROR != 0 {
                return Err(IgbError::Phy);
            }
            if answer & MDI_READY != 0 {
                return Ok(());
            }
            core::hint::spin_loop();
        }
        Err(IgbError::Phy)
    }

    /// Lets the one interrupt through. No queue has a vector: only [`Igb::raise`] raises it.
    pub(super) fn enable_interrupt(&mut self) -> Result<(), IgbError<A::Error>> {
        self.registers.write(Registers::interrupt_mode, MSIX)?;
        self.registers.write(Registers::vector_of_queue, 0)?;
        self.registers.write(Registers::vector_auto_clear, VECTOR)?;
        self.registers.write(Registers::vector_mask_set, VECTOR)?;
        Ok(())
    }

    /// Starts both queues from the starts of their rings.
    pub(super) fn start(&mut self) -> Result<(), IgbError<A::Error>> {
        let len = Descriptors::<M, R>::len();
        let memory = self.memory.as_ref().ok_or(IgbError::Memory)?;
        self.knows_memory = true;
        let registers = &mut self.registers;
        let (base, high) = memory.receive.base();
        registers.write(Registers::receive_base, base)?;
        registers.write(Registers::receive_base_high, high)?;
        registers.write(Registers::receive_len, len)?;
        registers.write(Registers::receive_format, RECEIVE_FORMAT)?;
        registers.write(Registers::receive_head, 0)?;
        registers.write(Registers::receive_tail, 0)?;
        let (base, high) = memory.transmit.base();
        registers.write(Registers::transmit_base, base)?;
        registers.write(Registers::transmit_base_high, high)?;
        registers.write(Registers::transmit_len, len)?;
        registers.write(Registers::transmit_head, 0)?;
        registers.write(Registers::transmit_tail, 0)?;
        self.next = 0;

        // Damaged packets within a frame are nothing to us.
        registers.write(Registers::checksum_control, 0)?;
        let anybody = ANY_UNICAST | ANY_MULTICAST | BROADCAST;
        let receive = RECEIVE | anybody | MAC_LOOPBACK | STRIP_CHECKSUM;
        // A queue is enabled only once its engine is.
        registers.write(Registers::receive_control, receive)?;
        registers.write(Registers::transmit_control, TRANSMIT | PAD)?;
        registers.write(Registers::receive_queue, QUEUE_ENABLED)?;
        registers.write(Registers::transmit_queue, QUEUE_ENABLED)?;
        self.until_queues_are(QUEUE_ENABLED)
    }

    /// Stops both queues: the device reaches no memory any more.
    fn stop_queues(&mut self) -> Result<(), IgbError<A::Error>> {
        let registers = &mut self.registers;
        registers.write(Registers::transmit_queue, 0)?;
        registers.write(Registers::receive_queue, 0)?;
        self.until_queues_are(0)?;
        self.registers.write(Registers::transmit_control, 0)?;
        self.registers.write(Registers::receive_control, 0)?;
        Ok(())
    }

    fn until_queues_are(&self, enabled: u32) -> Result<(), IgbError<A::Error>> {
        let mut waited_for = Ring::Receive;
        for _ in 0..PATIENCE {
            let receive = self.registers.get(Registers::receive_queue)?;
            let transmit = self.registers.get(Registers::transmit_queue)?;
            if receive & QUEUE_ENABLED != enabled {
                waited_for = Ring::Receive;
            } else if transmit & QUEUE_ENABLED != enabled {
                waited_for = Ring::Transmit;
            } else {
                return Ok(());
            }
            core::hint::spin_loop();
        }
        Err(IgbError::Queue(waited_for))
    }

    /// Takes back what the device was told to copy, and has it start anew.
    pub(super) fn restart(&mut self) -> Result<(), IgbError<A::Error>> {
        self.stop_queues()?;
        self.start()
    }

    /// Stops the device, once.
    pub(super) fn stop(&mut self) -> Result<(), IgbError<A::Error>> {
        if core::mem::replace(&mut self.is_stopped, true) {
            return Ok(());
        }
        // A reset stops the queues as well, where they do not stop by themselves.
        let stopped = self.hold_interrupts().and_then(|()| self.stop_queues());
        let reset = self.reset();
        if reset.is_err() && self.knows_memory {
            // Nothing tells that the device has stopped: it may still write its memory.
            core::mem::forget(self.memory.take());
        }
        reset.and(stopped)
    }
}
