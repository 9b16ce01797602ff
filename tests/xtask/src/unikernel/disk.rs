//! Disks of machines, and what the image `nvme-integrity` leaves on them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::machine::Boot;
use crate::paths;

/// Bytes of a disk that is made.
const LEN: u64 = 32 << 20;

/// Returns QEMU's options for a disk whose image is `path`, for a device that says `drive=disk`.
pub(crate) fn drive(path: &Path) -> Vec<String> {
    // A comma is special to QEMU's options.
    let file = path.display().to_string().replace(',', ",,");
    vec![
        "-drive".into(),
        format!("if=none,id=disk,format=raw,file={file}"),
    ]
}

/// Makes the empty image of a disk.
///
/// # Errors
///
/// It can't be made.
pub(crate) fn make(name: &str) -> Result<PathBuf> {
    let directory = paths::target().join("unikernel");
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let path = directory.join(name);
    File::create(&path)
        .and_then(|file| file.set_len(LEN))
        .with_context(|| format!("cannot create {}", path.display()))?;
    Ok(path)
}

/// Checks that the disk at `path` has what the image says that it wrote. Its blocks have `size` bytes, and behind all of them
/// are the `metadata` bytes of each.
///
/// # Errors
///
/// It has not, or the image says nothing of it.
pub(crate) fn has_what_was_written(
    path: &Path,
    size: usize,
    metadata: usize,
    boot: &Boot,
) -> Result<()> {
    let said = boot.lines.iter().find_map(|line| said(&line.text));
    let (sum, first) = said.context("the image says no checksum")?;
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let end = bytes.len() / (size + metadata) * size;
    let written = bytes.get(first * size..end).unwrap_or_default();
    ensure!(!written.is_empty(), "block {first} is not on the disk");
    let words = written.chunks_exact(8).map(|word| {
        let bytes = word.iter().rev();
        bytes.fold(0_u64, |value, byte| value << 8 | u64::from(*byte))
    });
    let seen = words.fold(0xcbf2_9ce4_8422_2325_u64, |sum, word| {
        (sum ^ word).wrapping_mul(0x100_0000_01b3)
    });
    ensure!(
        seen == sum,
        "the checksum of the disk is {seen:#x}, and that of what was written {sum:#x}"
    );
    println!("the disk has what was written, from block {first} on");
    Ok(())
}

/// Returns the checksum of a line of the log, and the block that it begins with.
fn said(text: &str) -> Option<(u64, usize)> {
    let (_, rest) = text.split_once("checksum 0x")?;
    let (sum, rest) = rest.split_once(" from block ")?;
    let first = rest.split_whitespace().next()?;
    Some((u64::from_str_radix(sum, 16).ok()?, first.parse().ok()?))
}
