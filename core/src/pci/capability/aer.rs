//! Advanced error reporting (PCI Express base specification, section 7.8.4).

use super::{Body, TypedCapability};
use crate::pci::{CapabilityId, ConfigAccess, ConfigError, ExtendedId};

flags! {
    /// Errors that lose a transaction: `PCI_ERR_UNC_*` (linux/pci_regs.h).
    pub struct UncorrectableErrors: u32 {
        /// Data link protocol.
        DLP = 1 << 4;
        /// Surprise down.
        SURPDN = 1 << 5;
        /// Poisoned TLP received.
        POISON_TLP = 1 << 12;
        /// Flow control protocol.
        FCP = 1 << 13;
        /// Completion timeout.
        COMP_TIME = 1 << 14;
        /// Completer abort.
        COMP_ABORT = 1 << 15;
        /// Unexpected completion.
        UNX_COMP = 1 << 16;
        /// Receiver overflow.
        RX_OVER = 1 << 17;
        /// Malformed TLP.
        MALF_TLP = 1 << 18;
        /// ECRC.
        ECRC = 1 << 19;
        /// Unsupported request.
        UNSUP = 1 << 20;
        /// Access control violation.
        ACSV = 1 << 21;
        /// Internal error.
        INTN = 1 << 22;
        /// Multicast TLP blocked.
        MCBTLP = 1 << 23;
        /// Atomic operation not let out.
        ATOMEG = 1 << 24;
        /// TLP prefix blocked.
        TLPPRE = 1 << 25;
    }
}

flags! {
    /// Errors that hardware made good: `PCI_ERR_COR_*` (linux/pci_regs.h).
    pub struct CorrectableErrors: u32 {
        /// Receiver.
        RCVR = 1 << 0;
        /// Bad TLP.
        BAD_TLP = 1 << 6;
        /// Bad DLLP.
        BAD_DLLP = 1 << 7;
        /// Replay number rolled over.
        REP_ROLL = 1 << 8;
        /// Replay timer ran out.
        REP_TIMER = 1 << 12;
        /// Advisory non-fatal.
        ADV_NFAT = 1 << 13;
        /// Corrected internal error.
        INTERNAL = 1 << 14;
        /// Header log overflow.
        LOG_OVER = 1 << 15;
    }
}

flags! {
    /// The capabilities and control register: `PCI_ERR_CAP_*` (linux/pci_regs.h). Bits 4:0 are
    /// the first error.
    pub struct AerControl: u32 {
        /// ECRC can be made.
        ECRC_GENC = 1 << 5;
        /// ECRC is made.
        ECRC_GENE = 1 << 6;
        /// ECRC can be checked.
        ECRC_CHKC = 1 << 7;
        /// ECRC is checked.
        ECRC_CHKE = 1 << 8;
    }
}

/// The AER capability, as far as every function has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ErrorReporting {
    /// Where it starts, in bytes.
    pub offset: u16,
    /// Uncorrectable errors that happened.
    pub uncorrectable: UncorrectableErrors,
    /// Uncorrectable errors that are not reported.
    pub uncorrectable_mask: UncorrectableErrors,
    /// Uncorrectable errors that are fatal.
    pub uncorrectable_severity: UncorrectableErrors,
    /// Correctable errors that happened.
    pub correctable: CorrectableErrors,
    /// Correctable errors that are not reported.
    pub correctable_mask: CorrectableErrors,
    /// ECRC, and which error was the first.
    pub control: AerControl,
    /// The header of the TLP that caused the first error.
    pub header_log: [u32; 4],
}

impl ErrorReporting {
    /// Returns the bit of the first uncorrectable error. It means something while that bit of
    /// [`ErrorReporting::uncorrectable`] is set.
    #[must_use]
    pub const fn first_error(&self) -> u32 {
        self.control.0 & 0x1f
    }
}

impl TypedCapability for ErrorReporting {
    const ID: CapabilityId = CapabilityId::Extended(ExtendedId::ERR);

    fn decode<A: ConfigAccess>(body: &Body<'_, A>) -> Result<Self, ConfigError<A::Error>> {
        let uncorrectable = |at| body.read_u32(at).map(UncorrectableErrors::from_bits_retain);
        let correctable = |at| body.read_u32(at).map(CorrectableErrors::from_bits_retain);
        Ok(Self {
            offset: body.offset(),
            uncorrectable: uncorrectable(0x04)?,
            uncorrectable_mask: uncorrectable(0x08)?,
            uncorrectable_severity: uncorrectable(0x0c)?,
            correctable: correctable(0x10)?,
            correctable_mask: correctable(0x14)?,
            control: AerControl::from_bits_retain(body.read_u32(0x18)?),
            header_log: [
                body.read_u32(0x1c)?,
                body.read_u32(0x20)?,
                body.read_u32(0x24)?,
                body.read_u32(0x28)?,
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::sample::extended;

    #[test]
    fn errors_and_the_header_log_are_read() {
        let mut bytes = [0; 0x2c];
        bytes[0] = 0x01;
        bytes[2] = 0x02;
        bytes[0x06] = 0x10;
        bytes[0x0c..0x10].copy_from_slice(&[0x30, 0x20, 0x46, 0]);
        bytes[0x11] = 0x20;
        bytes[0x15] = 0x20;
        bytes[0x18] = 0xb4;
        bytes[0x1c] = 0x11;
        bytes[0x28] = 0x44;
        let aer: ErrorReporting = extended(&bytes).unwrap();
        assert_eq!(aer.uncorrectable, UncorrectableErrors::UNSUP);
        assert!(aer.uncorrectable_mask.is_empty());
        assert!(
            aer.uncorrectable_severity
                .contains(UncorrectableErrors::MALF_TLP)
        );
        assert_eq!(aer.correctable, CorrectableErrors::ADV_NFAT);
        assert_eq!(aer.correctable_mask, CorrectableErrors::ADV_NFAT);
        assert_eq!(aer.first_error(), 20);
        assert!(
            aer.control
                .contains(AerControl::ECRC_GENC | AerControl::ECRC_CHKC)
        );
        assert_eq!(aer.header_log, [0x11, 0, 0, 0x44]);
    }
}
