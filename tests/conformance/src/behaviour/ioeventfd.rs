//! Writes that the kernel makes when an event is signalled.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use vfio_core::device::Device;
use vfio_core::device::ioeventfd::IoeventfdError;
use vfio_core::mmio::{Access, CanReadWrite, Width, Window};
use vfio_core::sys::{Errno, Sys};
use vfio_core::wire::abi::pci_region;

use super::hot_reset;

/// The longest that the kernel may take to make a write.
const PATIENCE: Duration = Duration::from_secs(5);

/// Writes of every width into the memory of BAR 0 from `free` (bytes) on, which nobody else uses.
///
/// # Errors
/// What a call returns, and what does not hold.
pub fn every_width<S: Sys + core::fmt::Debug>(
    sys: &S,
    opened: &Device<S>,
    free: usize,
) -> Result<String> {
    hot_reset::enable(opened)?;
    let mut buffer = [0; 256];
    let region = opened.region(pci_region::BAR0, &mut buffer)?;
    let mut memory = opened.map::<CanReadWrite>(&region, 0)?;
    let io = (sys, opened);
    write_on_event(io, &mut memory, free + 0x10, 0xa5_u8)?;
    write_on_event(io, &mut memory, free + 0x20, 0xa5a6_u16)?;
    write_on_event(io, &mut memory, free + 0x30, 0xa5a6_a7a8_u32)?;
    write_on_event(io, &mut memory, free + 0x40, 0xa5a6_a7a8_a9aa_abac_u64)?;

    let event = sys.event()?;
    let past = opened.ioeventfd(&region, region.size - 1, 0_u16, &event);
    ensure!(
        matches!(past, Err(IoeventfdError::OutOfBounds { .. })),
        "past the end: {past:?}"
    );
    let odd = opened.ioeventfd(&region, 2, 0_u32, &event);
    ensure!(
        matches!(odd, Err(IoeventfdError::Misaligned { .. })),
        "off its width: {odd:?}"
    );
    let _first = opened.ioeventfd(&region, 0, 1_u32, &event)?;
    let second = opened.ioeventfd(&region, 0, 1_u32, &event);
    ensure!(
        matches!(second, Err(IoeventfdError::Errno(Errno::EEXIST))),
        "a second time: {second:?}"
    );
    let mut other = [0; 64];
    let config = opened.region(pci_region::CONFIG, &mut other)?;
    let outside = opened.ioeventfd(&config, 0x3c, 0_u8, &event);
    ensure!(
        matches!(outside, Err(IoeventfdError::Errno(Errno::EINVAL))),
        "config space: {outside:?}"
    );
    Ok("8, 16, 32 and 64 bits".into())
}

/// Checks that `value` is written at `at` when an event is signalled, and no more once the write
/// was taken away.
fn write_on_event<S: Sys + core::fmt::Debug, A: Access, T: Width + PartialEq + core::fmt::Debug>(
    (sys, device): (&S, &Device<S>),
    memory: &mut Window<A>,
    at: usize,
    value: T,
) -> Result<()> {
    let event = sys.event()?;
    let mut buffer = [0; 256];
    let region = device.region(pci_region::BAR0, &mut buffer)?;
    let bits = 8 << T::SHIFT;
    let write = device
        .ioeventfd(&region, u64::try_from(at)?, value, &event)
        .with_context(|| format!("{bits} bits"))?;
    clear(memory, at)?;
    sys.event_signal(&event)?;
    let start = Instant::now();
    while get::<T, A>(memory, at)? != value {
        ensure!(start.elapsed() < PATIENCE, "{bits} bits were not written");
    }
    // No more than the register was written.
    ensure!(
        get::<u64, A>(memory, at)? == value.widen(),
        "{bits} bits: more was written"
    );
    write.remove()?;
    clear(memory, at)?;
    sys.event_signal(&event)?;
    std::thread::sleep(Duration::from_millis(20));
    ensure!(
        get::<u64, A>(memory, at)? == 0,
        "{bits} bits were written after all"
    );
    Ok(())
}

fn clear<A: Access>(memory: &mut Window<A>, at: usize) -> Result<()> {
    memory
        .write(at, 0_u64)
        .map_err(|error| anyhow!("{error}"))?;
    ensure!(get::<u64, A>(memory, at)? == 0, "no memory at {at:#x}");
    Ok(())
}

fn get<T: Width, A: Access>(memory: &mut Window<A>, at: usize) -> Result<T> {
    memory.read(at).map_err(|error| anyhow!("{error}"))
}
