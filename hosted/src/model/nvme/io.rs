//! Commands to namespaces.

use std::vec::Vec;

use super::control::Control;
use super::namespace::{NvmeNamespace, NvmeProtection};
use super::queue::Entry;
use super::{Nvme, prp, status};
use crate::model::Bus;

mod opcode {
    pub(super) const FLUSH: u8 = 0x00;
    pub(super) const WRITE: u8 = 0x01;
    pub(super) const READ: u8 = 0x02;
    pub(super) const WRITE_ZEROES: u8 = 0x08;
    pub(super) const DATASET_MANAGEMENT: u8 = 0x09;
}

/// In dword 11 of dataset management: the ranges are deallocated.
const DEALLOCATE: u32 = 1 << 2;
/// In dword 12: the controller makes protection information and takes it off (PRACT), and checks
/// its guard (PRCHK).
const PROTECT: u32 = 1 << 29;
const CHECK_GUARD: u32 = 1 << 28;
/// In dword 12: all that the controller is to check (PRCHK).
const CHECKS: u32 = 7 << 26;
/// In dword 12: past the write cache (FUA).
const PAST_CACHE: u32 = 1 << 30;

impl Nvme {
    /// Returns the most bytes of a transfer.
    fn longest(&self) -> usize {
        match self.options.transfer_shift {
            0 => usize::MAX,
            shift => 1_usize
                .checked_shl(shift.into())
                .and_then(|pages| pages.checked_mul(4096))
                .unwrap_or(usize::MAX),
        }
    }

    /// Makes a command of a queue pair.
    pub(super) fn io(&mut self, entry: &Entry, bus: &mut Bus<'_>) -> Result<(), u16> {
        let most = self.longest();
        let is_cached = self.features.has_write_cache;
        let mut shared = self.shared();
        if entry.opcode == opcode::FLUSH && entry.namespace == u32::MAX {
            shared.flush_all();
            return Ok(());
        }
        let Control {
            namespaces, counts, ..
        } = &mut *shared;
        let namespace = namespaces
            .get_mut(&entry.namespace)
            .filter(|namespace| self.is_enabled(namespace))
            .ok_or(status::INVALID_NAMESPACE | status::DO_NOT_RETRY)?;
        match entry.opcode {
            opcode::FLUSH => {
                namespace.flush();
                Ok(())
            }
            opcode::READ => read(namespace, entry, most, bus),
            opcode::WRITE => {
                write(namespace, entry, most, bus)?;
                settle(namespace, entry, is_cached)
            }
            opcode::WRITE_ZEROES => {
                // There is nothing that could be checked.
                if entry.dwords[2] & CHECKS != 0 {
                    return Err(status::INVALID_PROTECTION | status::DO_NOT_RETRY);
                }
                let (lba, count) = blocks(namespace, entry)?;
                (lba..lba.wrapping_add(count)).for_each(|lba| namespace.zero(lba));
                settle(namespace, entry, is_cached)
            }
            opcode::DATASET_MANAGEMENT => {
                counts.deallocated += manage(namespace, entry, bus)?;
                Ok(())
            }
            _ => Err(status::INVALID_OPCODE | status::DO_NOT_RETRY),
        }
    }
}

/// Brings the blocks that a command wrote to the medium, where they may not stay in the cache.
fn settle(namespace: &mut NvmeNamespace, entry: &Entry, is_cached: bool) -> Result<(), u16> {
    if !is_cached || entry.dwords[2] & PAST_CACHE != 0 {
        let (lba, count) = blocks(namespace, entry)?;
        (lba..lba.wrapping_add(count)).for_each(|lba| namespace.flush_block(lba));
    }
    Ok(())
}

/// Returns the first block of a command, and how many.
fn blocks(namespace: &NvmeNamespace, entry: &Entry) -> Result<(u64, u64), u16> {
    let (lba, count) = (entry.lba(), u64::from(entry.dwords[2] & 0xffff) + 1);
    if namespace.has(lba, count) {
        Ok((lba, count))
    } else {
        Err(status::LBA_OUT_OF_RANGE | status::DO_NOT_RETRY)
    }
}

/// Returns the protection information that the controller makes or takes off, where it is to.
fn protection(namespace: &NvmeNamespace, entry: &Entry) -> Result<Option<NvmeProtection>, u16> {
    let asked = entry.dwords[2] & PROTECT != 0;
    let Some(protection) = namespace.protection.filter(|_| asked) else {
        return Ok(None);
    };
    // What type 1 has is told by the block.
    if protection.kind == 1 && entry.dwords[4] != protection.reference(entry.lba()) {
        return Err(status::INVALID_PROTECTION | status::DO_NOT_RETRY);
    }
    Ok(Some(protection))
}

/// Returns the blocks of a transfer, and how many bytes of data it has.
fn transfer(
    namespace: &NvmeNamespace,
    entry: &Entry,
    most: usize,
) -> Result<(u64, u64, usize), u16> {
    let (lba, count) = blocks(namespace, entry)?;
    let is_taken_off = protection(namespace, entry)?.is_some();
    let inside = if namespace.is_extended && !is_taken_off {
        usize::from(namespace.metadata)
    } else {
        0
    };
    let each = namespace.size().saturating_add(inside);
    let len = usize::try_from(count).unwrap_or(0).saturating_mul(each);
    if len > most {
        return Err(status::INVALID_FIELD | status::DO_NOT_RETRY);
    }
    Ok((lba, count, len))
}

fn read(
    namespace: &NvmeNamespace,
    entry: &Entry,
    most: usize,
    bus: &mut Bus<'_>,
) -> Result<(), u16> {
    let (lba, count, len) = transfer(namespace, entry, most)?;
    let mut data = Vec::with_capacity(len);
    let mut apart = Vec::new();
    let protection = protection(namespace, entry)?;
    for lba in lba..lba.wrapping_add(count) {
        let mut block = namespace.read(lba);
        if let Some(protection) = protection {
            let there = block.split_off(namespace.size());
            let made = protection.made(&block, protection.reference(lba));
            // What was never written is not checked.
            let is_wrong = there != made && there.iter().any(|byte| *byte != 0);
            if is_wrong && entry.dwords[2] & CHECK_GUARD != 0 {
                return Err(status::GUARD_CHECK);
            }
        } else if !namespace.is_extended {
            apart.append(&mut block.split_off(namespace.size()));
        }
        data.append(&mut block);
    }
    prp::put(entry, &data, bus)?;
    if !apart.is_empty() {
        bus.dma_write(entry.metadata, &apart)
            .map_err(|_| status::DATA_TRANSFER_ERROR)?;
    }
    Ok(())
}

fn write(
    namespace: &mut NvmeNamespace,
    entry: &Entry,
    most: usize,
    bus: &mut Bus<'_>,
) -> Result<(), u16> {
    let (lba, count, len) = transfer(namespace, entry, most)?;
    let data = prp::get(entry, len, bus)?;
    let each = len / usize::try_from(count).unwrap_or(1).max(1);
    let metadata = usize::from(namespace.metadata);
    let protection = protection(namespace, entry)?;
    let mut apart = Vec::new();
    if metadata > 0 && !namespace.is_extended && protection.is_none() {
        apart = std::vec![0; metadata * usize::try_from(count).unwrap_or(0)];
        bus.dma_read(entry.metadata, &mut apart)
            .map_err(|_| status::DATA_TRANSFER_ERROR)?;
    }
    let mut apart = apart.chunks(metadata.max(1));
    for (lba, block) in (lba..).zip(data.chunks(each.max(1))) {
        let mut block = block.to_vec();
        match protection {
            Some(protection) => {
                let reference = protection.reference(lba);
                block.extend(protection.made(&block, reference));
            }
            None => block.extend_from_slice(apart.next().unwrap_or_default()),
        }
        namespace.write(lba, block);
    }
    Ok(())
}

/// Deallocates ranges, and returns how many blocks.
fn manage(namespace: &mut NvmeNamespace, entry: &Entry, bus: &mut Bus<'_>) -> Result<u64, u16> {
    let count = usize::try_from(entry.dwords[0] & 0xff).unwrap_or(0) + 1;
    let data = prp::get(entry, count * 16, bus)?;
    let (ranges, _) = data.as_chunks::<16>();
    let mut found = Vec::new();
    for range in ranges {
        let word = |at: usize| {
            let bytes = range.get(at..).and_then(|rest| rest.first_chunk());
            u64::from_le_bytes(bytes.copied().unwrap_or_default())
        };
        let (blocks, lba) = (word(0) >> 32, word(8));
        if !namespace.has(lba, blocks) {
            return Err(status::LBA_OUT_OF_RANGE | status::DO_NOT_RETRY);
        }
        found.push((lba, blocks));
    }
    if entry.dwords[1] & DEALLOCATE == 0 {
        return Ok(0);
    }
    let mut deallocated = 0;
    for (lba, blocks) in found {
        (lba..lba.wrapping_add(blocks)).for_each(|lba| namespace.zero(lba));
        deallocated += blocks;
    }
    Ok(deallocated)
}
