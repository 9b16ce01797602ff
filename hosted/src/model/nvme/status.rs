//! How commands end: the type of the status in the high byte, its code in the low one.

pub(super) const SUCCESS: u16 = 0x000;
pub(super) const INVALID_OPCODE: u16 = 0x001;
pub(super) const INVALID_FIELD: u16 = 0x002;
pub(super) const DATA_TRANSFER_ERROR: u16 = 0x004;
pub(super) const ABORT_REQUESTED: u16 = 0x007;
pub(super) const INVALID_NAMESPACE: u16 = 0x00b;
pub(super) const COMMAND_SEQUENCE: u16 = 0x00c;
pub(super) const INVALID_PRP_OFFSET: u16 = 0x013;
pub(super) const LBA_OUT_OF_RANGE: u16 = 0x080;
pub(super) const INVALID_COMPLETION_QUEUE: u16 = 0x100;
pub(super) const INVALID_QUEUE_ID: u16 = 0x101;
pub(super) const INVALID_QUEUE_SIZE: u16 = 0x102;
pub(super) const EVENT_LIMIT_EXCEEDED: u16 = 0x105;
pub(super) const INVALID_INTERRUPT_VECTOR: u16 = 0x108;
pub(super) const INVALID_LOG_PAGE: u16 = 0x109;
pub(super) const INVALID_QUEUE_DELETION: u16 = 0x10c;
pub(super) const NOT_SAVEABLE: u16 = 0x10d;
pub(super) const INVALID_PROTECTION: u16 = 0x181;
pub(super) const GUARD_CHECK: u16 = 0x282;

/// The same command would fail again.
pub(super) const DO_NOT_RETRY: u16 = 1 << 14;
