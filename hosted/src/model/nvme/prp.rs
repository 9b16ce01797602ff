//! Where the data of a command are (NVM Express Base Specification 1.4, 4.3).

use std::vec::Vec;

use super::queue::Entry;
use super::status;
use crate::model::Bus;

/// Bytes of a page.
const PAGE: u64 = 4096;

/// Returns the stretches of memory of `len` bytes of data: address and length of each.
pub(super) fn stretches(
    entry: &Entry,
    len: usize,
    bus: &mut Bus<'_>,
) -> Result<Vec<(u64, usize)>, u16> {
    let len = u64::try_from(len).map_err(|_| status::INVALID_FIELD)?;
    if entry.first & 3 != 0 {
        return Err(status::INVALID_PRP_OFFSET);
    }
    let in_first = len.min(PAGE.wrapping_sub(entry.first % PAGE));
    let mut found = std::vec![stretch(entry.first, in_first)];
    let left = len.wrapping_sub(in_first);
    if left == 0 {
        return Ok(found);
    }
    if left <= PAGE {
        if !entry.second.is_multiple_of(PAGE) {
            return Err(status::INVALID_PRP_OFFSET);
        }
        found.push(stretch(entry.second, left));
    } else {
        follow(entry.second, left, &mut found, bus)?;
    }
    Ok(found)
}

fn stretch(address: u64, len: u64) -> (u64, usize) {
    (address, usize::try_from(len).unwrap_or(0))
}

/// Adds the stretches of the PRP list at `list`, for `left` bytes.
fn follow(
    mut list: u64,
    mut left: u64,
    found: &mut Vec<(u64, usize)>,
    bus: &mut Bus<'_>,
) -> Result<(), u16> {
    if list & 7 != 0 {
        return Err(status::INVALID_PRP_OFFSET);
    }
    while left > 0 {
        let mut data = [0; 8];
        bus.dma_read(list, &mut data)
            .map_err(|_| status::DATA_TRANSFER_ERROR)?;
        let address = u64::from_le_bytes(data);
        if !address.is_multiple_of(PAGE) {
            return Err(status::INVALID_PRP_OFFSET);
        }
        let is_last_of_page = list % PAGE == PAGE.wrapping_sub(8);
        if is_last_of_page && left > PAGE {
            list = address;
        } else {
            let len = left.min(PAGE);
            left = left.wrapping_sub(len);
            found.push(stretch(address, len));
            list = list.wrapping_add(8);
        }
    }
    Ok(())
}

/// Writes data to the memory of a command.
pub(super) fn put(entry: &Entry, data: &[u8], bus: &mut Bus<'_>) -> Result<(), u16> {
    let mut rest = data;
    for (address, len) in stretches(entry, data.len(), bus)? {
        let (part, left) = rest.split_at_checked(len).unwrap_or((rest, &[]));
        bus.dma_write(address, part)
            .map_err(|_| status::DATA_TRANSFER_ERROR)?;
        rest = left;
    }
    Ok(())
}

/// Reads `len` bytes of data from the memory of a command.
pub(super) fn get(entry: &Entry, len: usize, bus: &mut Bus<'_>) -> Result<Vec<u8>, u16> {
    let mut data = Vec::with_capacity(len);
    for (address, len) in stretches(entry, len, bus)? {
        let mut part = std::vec![0; len];
        bus.dma_read(address, &mut part)
            .map_err(|_| status::DATA_TRANSFER_ERROR)?;
        data.append(&mut part);
    }
    Ok(data)
}
