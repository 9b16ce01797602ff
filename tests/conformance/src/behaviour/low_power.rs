//! A device falls asleep while nothing is asked of it, and a system call wakes it.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use vfio_core::device::Device;
use vfio_core::device::feature::FeatureError;
use vfio_core::mmio::{Access, CanReadWrite, Window};
use vfio_core::sys::{Errno, Sys};
use vfio_core::wire::abi::{FeatureId, pci_region};

/// The longest that a device may take to wake.
const PATIENCE: Duration = Duration::from_secs(5);

/// Registers in BAR 0 that keep small numbers: of edu where its DMA begins, of NVMe the lengths of the admin queues.
pub const EDU: usize = 0x80;
/// See [`EDU`].
pub const NVME: usize = 0x24;

/// Checks that a device sleeps until low power ends, and is awake only for as long as a call lasts. With a wakeup event it
/// sleeps until the first call, which ends low power. `sleeps` waits until the device does.
///
/// # Errors
/// What a call returns, and what does not hold.
pub fn config<S: Sys>(
    sys: &S,
    opened: &Device<S>,
    sleeps: impl Fn() -> Result<()>,
) -> Result<String> {
    let mut buffer = [0; 64];
    let config = opened.region(pci_region::CONFIG, &mut buffer)?.offset;
    let id = || -> Result<[u8; 4]> {
        let mut id = [0; 4];
        opened.read(config, 0, &mut id)?;
        Ok(id)
    };
    let asked = || {
        let mut buffer = [0; 64];
        opened
            .region(pci_region::CONFIG, &mut buffer)
            .map(drop)
            .context("asked about a region")
    };
    let awake = id()?;

    opened.enter_low_power()?;
    let again = opened.enter_low_power();
    let refused = FeatureError::Refused {
        feature: FeatureId::LOW_POWER_ENTRY,
        errno: Errno::EINVAL,
    };
    ensure!(again == Err(refused), "entered twice: {again:?}");
    sleeps()?;
    ensure!(id()? == awake, "another device");
    sleeps()?;
    asked()?;
    sleeps()?;
    opened.exit_low_power()?;
    opened.exit_low_power()?;

    let (read, answered) = (sys.event()?, sys.event()?);
    opened.enter_low_power_with_wakeup(&read)?;
    sleeps()?;
    ensure!(sys.event_take(&read)? == 0, "it woke too soon");
    ensure!(id()? == awake, "another device");
    ensure!(
        sys.events_wait(&[&read], PATIENCE)?,
        "no event when it woke"
    );
    ensure!(sys.event_take(&read)? == 1, "more than one event");
    // That was its end, so that it can begin anew; then a question is what wakes the device.
    opened.enter_low_power_with_wakeup(&answered)?;
    sleeps()?;
    asked()?;
    ensure!(
        sys.events_wait(&[&answered], PATIENCE)?,
        "no event when it was asked"
    );
    ensure!(sys.event_take(&read)? == 0, "an event of the last time");
    opened.exit_low_power()?;
    Ok("slept five times".into())
}

/// Checks that a trapped access to the register at `offset` in BAR 0 wakes the device. A mapped one works again when low
/// power is over.
///
/// # Errors
/// What a call returns, and what does not hold.
pub fn registers<S: Sys>(
    sys: &S,
    opened: &Device<S>,
    offset: usize,
    sleeps: impl Fn() -> Result<()>,
) -> Result<String> {
    let mut buffer = [0; 256];
    let region = opened.region(pci_region::BAR0, &mut buffer)?;
    let mut trapped = opened.trap::<CanReadWrite>(&region)?;
    let mut mapped = opened.bring_up(pci_region::BAR0)?;
    mapped
        .write(offset, 1_u32)
        .map_err(|error| anyhow!("{error}"))?;

    opened.enter_low_power()?;
    sleeps()?;
    holds(&mut trapped, offset, 1).context("trapped, asleep")?;
    trapped.write(offset, 2_u32)?;
    sleeps()?;
    opened.exit_low_power()?;
    holds(&mut mapped, offset, 2).context("mapped, after the exit")?;

    let wakeup = sys.event()?;
    opened.enter_low_power_with_wakeup(&wakeup)?;
    sleeps()?;
    trapped.write(offset, 3_u32)?;
    ensure!(
        sys.events_wait(&[&wakeup], PATIENCE)?,
        "no event when it woke"
    );
    holds(&mut mapped, offset, 3).context("mapped, after it woke")?;
    Ok("kept, trapped and mapped".into())
}

fn holds<A: Access>(
    window: &mut Window<A, CanReadWrite>,
    offset: usize,
    expected: u32,
) -> Result<()> {
    let value: u32 = window.read(offset).map_err(|error| anyhow!("{error}"))?;
    ensure!(value == expected, "{value:#x}, not {expected:#x}");
    Ok(())
}
