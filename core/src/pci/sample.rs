//! Config spaces of one capability, for tests.

use super::{Config, ConfigError, PastEnd, Snapshot, TypedCapability};

/// Reads the only standard capability, at 0x40, from a space of 256 bytes.
pub(super) fn standard<C: TypedCapability>(bytes: &[u8]) -> Result<C, ConfigError<PastEnd>> {
    standard_at(0x40, bytes)
}

/// Reads the only standard capability, at `offset`, from a space of 4096 bytes. Bytes from the
/// 256th on are no part of it.
pub(super) fn standard_at<C: TypedCapability>(
    offset: u8,
    bytes: &[u8],
) -> Result<C, ConfigError<PastEnd>> {
    let mut space = [0; 4096];
    space[6] = 0x10;
    space[0x34] = offset;
    let start = usize::from(offset);
    space[start..start + bytes.len()].copy_from_slice(bytes);
    Config::new(Snapshot(&space)).find().transpose().unwrap()
}

/// Reads the only extended capability.
pub(super) fn extended<C: TypedCapability>(bytes: &[u8]) -> Result<C, ConfigError<PastEnd>> {
    let mut space = [0; 4096];
    space[0x100..0x100 + bytes.len()].copy_from_slice(bytes);
    Config::new(Snapshot(&space)).find().transpose().unwrap()
}
