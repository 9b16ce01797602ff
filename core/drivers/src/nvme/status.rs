//! How a command ended (NVM Express Base Specification 1.4, 4.6.1).

use core::fmt;

/// The status of a command that failed: the 15 bits of the status field above the phase.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Status(u16);

/// The type and the code of a status: what a [`Status`] is but for its flags.
///
/// Codes without a name here are kept and shown as they are.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct StatusCode(u16);

/// Which table a code is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum StatusType {
    /// Every command can end so.
    Generic,
    /// What it means depends on the command.
    CommandSpecific,
    /// The medium failed, or what is on it is not what it should be.
    Media,
    /// The way to the namespace.
    Path,
    /// The vendor's own.
    Vendor,
    /// A type that the specification sets aside, 4 to 6.
    Reserved(u8),
}

macro_rules! codes {
    ($($name:ident = $kind:literal, $code:literal, $text:literal;)*) => {
        impl StatusCode {
            $(#[doc = $text] pub const $name: Self = Self($kind << 8 | $code);)*

            /// Every code that has a name here.
            pub const NAMED: &'static [Self] = &[$(Self::$name,)*];

            /// Returns a name in capitals, where the code has one.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some(stringify!($name)),)*
                    _ => None,
                }
            }

            /// Says in words what the code means.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    _ => "a status of no known meaning",
                }
            }
        }
    };
}

codes! {
    INVALID_OPCODE = 0, 0x01, "invalid command opcode";
    INVALID_FIELD = 0, 0x02, "invalid field in the command";
    COMMAND_ID_CONFLICT = 0, 0x03, "command identifier conflict";
    DATA_TRANSFER_ERROR = 0, 0x04, "data transfer error";
    POWER_LOSS = 0, 0x05, "aborted because power is lost";
    INTERNAL_ERROR = 0, 0x06, "internal error";
    ABORT_REQUESTED = 0, 0x07, "aborted as requested";
    ABORTED_QUEUE_DELETED = 0, 0x08, "aborted because its queue is deleted";
    ABORTED_FUSED_FAILED = 0, 0x09, "aborted because the other of two fused commands failed";
    ABORTED_FUSED_MISSING = 0, 0x0a, "aborted because the other of two fused commands is missing";
    INVALID_NAMESPACE = 0, 0x0b, "invalid namespace or format";
    COMMAND_SEQUENCE_ERROR = 0, 0x0c, "command sequence error";
    INVALID_SGL_SEGMENT = 0, 0x0d, "invalid SGL segment descriptor";
    INVALID_SGL_COUNT = 0, 0x0e, "invalid number of SGL descriptors";
    INVALID_DATA_SGL_LENGTH = 0, 0x0f, "invalid length of a data SGL";
    INVALID_METADATA_SGL_LENGTH = 0, 0x10, "invalid length of a metadata SGL";
    INVALID_SGL_TYPE = 0, 0x11, "invalid type of an SGL descriptor";
    INVALID_CMB_USE = 0, 0x12, "invalid use of the controller memory buffer";
    INVALID_PRP_OFFSET = 0, 0x13, "invalid PRP offset";
    ATOMIC_WRITE_UNIT_EXCEEDED = 0, 0x14, "atomic write unit exceeded";
    OPERATION_DENIED = 0, 0x15, "operation denied";
    INVALID_SGL_OFFSET = 0, 0x16, "invalid SGL offset";
    HOST_ID_FORMAT = 0, 0x18, "inconsistent format of the host identifier";
    KEEP_ALIVE_EXPIRED = 0, 0x19, "keep-alive timer expired";
    INVALID_KEEP_ALIVE = 0, 0x1a, "invalid keep-alive time";
    ABORTED_PREEMPTED = 0, 0x1b, "aborted because of preempt and abort";
    SANITIZE_FAILED = 0, 0x1c, "sanitize failed";
    SANITIZE_IN_PROGRESS = 0, 0x1d, "sanitize in progress";
    INVALID_SGL_GRANULARITY = 0, 0x1e, "invalid granularity of an SGL data block";
    COMMAND_NOT_SUPPORTED_IN_CMB = 0, 0x1f, "command not supported for a queue in the controller memory buffer";
    NAMESPACE_WRITE_PROTECTED = 0, 0x20, "namespace is write protected";
    COMMAND_INTERRUPTED = 0, 0x21, "command interrupted";
    TRANSIENT_TRANSPORT_ERROR = 0, 0x22, "transient transport error";
    PROHIBITED_BY_LOCKDOWN = 0, 0x23, "command prohibited by lockdown";
    ADMIN_MEDIA_NOT_READY = 0, 0x24, "the medium of an admin command is not ready";
    LBA_OUT_OF_RANGE = 0, 0x80, "LBA out of range";
    CAPACITY_EXCEEDED = 0, 0x81, "capacity exceeded";
    NAMESPACE_NOT_READY = 0, 0x82, "namespace not ready";
    RESERVATION_CONFLICT = 0, 0x83, "reservation conflict";
    FORMAT_IN_PROGRESS = 0, 0x84, "format in progress";
    INVALID_VALUE_SIZE = 0, 0x85, "invalid size of a value";
    INVALID_KEY_SIZE = 0, 0x86, "invalid size of a key";
    KEY_MISSING = 0, 0x87, "no such key";
    UNRECOVERED = 0, 0x88, "unrecovered error";
    KEY_EXISTS = 0, 0x89, "key exists";

    INVALID_COMPLETION_QUEUE = 1, 0x00, "invalid completion queue";
    INVALID_QUEUE_ID = 1, 0x01, "invalid queue identifier";
    INVALID_QUEUE_SIZE = 1, 0x02, "invalid queue size";
    ABORT_LIMIT_EXCEEDED = 1, 0x03, "abort command limit exceeded";
    EVENT_LIMIT_EXCEEDED = 1, 0x05, "asynchronous event request limit exceeded";
    INVALID_FIRMWARE_SLOT = 1, 0x06, "invalid firmware slot";
    INVALID_FIRMWARE_IMAGE = 1, 0x07, "invalid firmware image";
    INVALID_INTERRUPT_VECTOR = 1, 0x08, "invalid interrupt vector";
    INVALID_LOG_PAGE = 1, 0x09, "invalid log page";
    INVALID_FORMAT = 1, 0x0a, "invalid format";
    FIRMWARE_NEEDS_RESET = 1, 0x0b, "firmware activation needs a conventional reset";
    INVALID_QUEUE_DELETION = 1, 0x0c, "invalid queue deletion";
    FEATURE_NOT_SAVEABLE = 1, 0x0d, "feature is not saveable";
    FEATURE_NOT_CHANGEABLE = 1, 0x0e, "feature is not changeable";
    FEATURE_NOT_NAMESPACE_SPECIFIC = 1, 0x0f, "feature is not namespace specific";
    FIRMWARE_NEEDS_SUBSYSTEM_RESET = 1, 0x10, "firmware activation needs a subsystem reset";
    FIRMWARE_NEEDS_CONTROLLER_RESET = 1, 0x11, "firmware activation needs a controller reset";
    FIRMWARE_NEEDS_TIME = 1, 0x12, "firmware activation violates the maximum time";
    FIRMWARE_ACTIVATION_PROHIBITED = 1, 0x13, "firmware activation prohibited";
    OVERLAPPING_RANGE = 1, 0x14, "overlapping range";
    NAMESPACE_INSUFFICIENT_CAPACITY = 1, 0x15, "insufficient capacity for the namespace";
    NAMESPACE_ID_UNAVAILABLE = 1, 0x16, "no namespace identifier is available";
    NAMESPACE_ALREADY_ATTACHED = 1, 0x18, "namespace is already attached";
    NAMESPACE_IS_PRIVATE = 1, 0x19, "namespace is private";
    NAMESPACE_NOT_ATTACHED = 1, 0x1a, "namespace is not attached";
    THIN_PROVISIONING_UNSUPPORTED = 1, 0x1b, "thin provisioning is not supported";
    INVALID_CONTROLLER_LIST = 1, 0x1c, "invalid controller list";
    SELF_TEST_IN_PROGRESS = 1, 0x1d, "device self-test in progress";
    BOOT_PARTITION_WRITE_PROHIBITED = 1, 0x1e, "boot partition write prohibited";
    INVALID_CONTROLLER_ID = 1, 0x1f, "invalid controller identifier";
    INVALID_SECONDARY_STATE = 1, 0x20, "invalid state of a secondary controller";
    INVALID_RESOURCE_COUNT = 1, 0x21, "invalid number of controller resources";
    INVALID_RESOURCE_ID = 1, 0x22, "invalid resource identifier";
    SANITIZE_PROHIBITED = 1, 0x23, "sanitize prohibited while persistent memory is enabled";
    INVALID_ANA_GROUP = 1, 0x24, "invalid ANA group identifier";
    ANA_ATTACH_FAILED = 1, 0x25, "ANA attach failed";
    CONFLICTING_ATTRIBUTES = 1, 0x80, "conflicting attributes";
    INVALID_PROTECTION_INFORMATION = 1, 0x81, "invalid protection information";
    READ_ONLY_RANGE = 1, 0x82, "attempted write to a read-only range";

    WRITE_FAULT = 2, 0x80, "write fault";
    UNRECOVERED_READ_ERROR = 2, 0x81, "unrecovered read error";
    GUARD_CHECK_ERROR = 2, 0x82, "end-to-end guard check error";
    APPLICATION_TAG_CHECK_ERROR = 2, 0x83, "end-to-end application tag check error";
    REFERENCE_TAG_CHECK_ERROR = 2, 0x84, "end-to-end reference tag check error";
    COMPARE_FAILURE = 2, 0x85, "compare failure";
    ACCESS_DENIED = 2, 0x86, "access denied";
    UNWRITTEN_BLOCK = 2, 0x87, "deallocated or unwritten block";
    STORAGE_TAG_CHECK_ERROR = 2, 0x88, "end-to-end storage tag check error";

    INTERNAL_PATH_ERROR = 3, 0x00, "internal path error";
    ACCESS_PERSISTENT_LOSS = 3, 0x01, "asymmetric access persistent loss";
    ACCESS_INACCESSIBLE = 3, 0x02, "asymmetric access inaccessible";
    ACCESS_TRANSITION = 3, 0x03, "asymmetric access transition";
    CONTROLLER_PATHING_ERROR = 3, 0x60, "controller pathing error";
    HOST_PATHING_ERROR = 3, 0x70, "host pathing error";
    ABORTED_BY_HOST = 3, 0x71, "aborted by the host";
}

impl Status {
    /// Reads a status from the last 16 bits of a completion; none for success.
    #[inline]
    #[must_use]
    pub const fn from_bits(bits: u16) -> Option<Self> {
        let field = bits >> 1;
        if field == 0 { None } else { Some(Self(field)) }
    }

    /// Returns the type and the code.
    #[must_use]
    pub const fn code(self) -> StatusCode {
        StatusCode(self.0 & 0x7ff)
    }

    /// Tells whether the same command would fail again.
    #[must_use]
    pub const fn do_not_retry(self) -> bool {
        self.0 & 1 << 14 != 0
    }

    /// Tells whether the error log has more about it.
    #[must_use]
    pub const fn has_more(self) -> bool {
        self.0 & 1 << 13 != 0
    }

    /// Returns after which of its delays the controller wants to see the command again.
    ///
    /// These are 1 to 3; 0 for none.
    #[must_use]
    pub const fn retry_delay(self) -> u16 {
        self.0 >> 11 & 3
    }
}

impl StatusCode {
    /// Makes a code of a type.
    #[must_use]
    pub const fn new(kind: u8, code: u8) -> Self {
        Self(u16::from_le_bytes([code, kind & 7]))
    }

    /// Returns the type.
    #[must_use]
    pub const fn kind(self) -> StatusType {
        let [_, kind] = self.0.to_le_bytes();
        match kind {
            0 => StatusType::Generic,
            1 => StatusType::CommandSpecific,
            2 => StatusType::Media,
            3 => StatusType::Path,
            7 => StatusType::Vendor,
            other => StatusType::Reserved(other),
        }
    }

    /// Returns the code in its type.
    #[must_use]
    pub const fn code(self) -> u8 {
        let [code, _] = self.0.to_le_bytes();
        code
    }

    /// Returns the bits of a completion that ends so; the phase is 0.
    #[must_use]
    pub const fn to_bits(self) -> u16 {
        self.0 << 1
    }
}

impl fmt::Display for StatusType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Generic => f.write_str("generic"),
            Self::CommandSpecific => f.write_str("command specific"),
            Self::Media => f.write_str("media"),
            Self::Path => f.write_str("path"),
            Self::Vendor => f.write_str("vendor"),
            Self::Reserved(kind) => write!(f, "type {kind}"),
        }
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} {:#04x})", self.text(), self.kind(), self.code())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.code().fmt(f)?;
        if self.do_not_retry() {
            f.write_str(", not to be retried")?;
        }
        Ok(())
    }
}

impl fmt::Debug for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "StatusCode({:?}, {:#04x})", self.kind(), self.code()),
        }
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Status")
            .field("code", &self.code())
            .field("do_not_retry", &self.do_not_retry())
            .field("has_more", &self.has_more())
            .field("retry_delay", &self.retry_delay())
            .finish()
    }
}

impl core::error::Error for Status {}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;
    use std::collections::BTreeSet;
    use std::format;
    use std::string::ToString;

    #[test]
    fn a_status_is_taken_apart() {
        assert_eq!(Status::from_bits(0), None);
        assert_eq!(Status::from_bits(1), None);
        // Do not retry, more, the second delay; media, 0x81; the phase is set.
        let status = Status::from_bits(0xe503).unwrap();
        assert_eq!(status.code(), StatusCode::UNRECOVERED_READ_ERROR);
        assert_eq!(status.code().kind(), StatusType::Media);
        assert!(status.do_not_retry() && status.has_more());
        assert_eq!(status.retry_delay(), 2);
        assert_eq!(
            status.to_string(),
            "unrecovered read error (media 0x81), not to be retried"
        );
    }

    #[test]
    fn every_code_is_told_from_the_others() {
        let codes: BTreeSet<_> = StatusCode::NAMED.iter().map(|code| code.0).collect();
        assert_eq!(codes.len(), StatusCode::NAMED.len());
        for code in StatusCode::NAMED {
            let status = Status::from_bits(code.to_bits() | 1).unwrap();
            assert_eq!(status.code(), *code);
            assert!(code.name().is_some());
        }
    }

    #[test]
    fn unknown_codes_are_kept() {
        let code = StatusCode::new(7, 0xc1);
        assert_eq!((code.kind(), code.code()), (StatusType::Vendor, 0xc1));
        assert_eq!(format!("{code:?}"), "StatusCode(Vendor, 0xc1)");
        assert_eq!(StatusCode::new(5, 0).kind(), StatusType::Reserved(5));
    }
}
