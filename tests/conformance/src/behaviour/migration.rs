//! Migration: the sample device `mtty` to another of its kind.

use anyhow::{Context as _, Result, ensure};
use vfio_core::device::Device;
use vfio_core::device::feature::{FeatureError, Support};
use vfio_core::device::migration::{MigrationData, MigrationError};
use vfio_core::mmio::CanReadWrite;
use vfio_core::sys::{Errno, Sys};
use vfio_core::wire::abi::{FeatureId, MigState, MigrationFlags};

/// The scratch register of a UART.
const SCRATCH: usize = 7;

/// Stops a device, sends its data to another of its kind, and checks that this one is as the first
/// was.
///
/// # Errors
/// What a call returns, and what does not hold.
pub fn stop_copy<S: Sys + Clone>(source: &Device<S>, target: &Device<S>) -> Result<String> {
    let flags = source.migration()?;
    ensure!(flags.contains(MigrationFlags::STOP_COPY), "{flags}");
    ensure!(
        source.probe_feature(FeatureId::MIG_DEVICE_STATE)?
            == Support {
                get: true,
                set: true
            },
        "the state can't be read and set"
    );
    ensure!(
        source.migration_state()? == MigState::RUNNING,
        "not running"
    );
    scratch(source, Some(0x5a))?;
    ensure!(scratch(target, None)? == 0, "the twin is not new");

    let mut data = started(source, MigState::STOP_COPY)?;
    let len = source.stop_copy_len()?;
    let bytes = read_all(&mut data)?;
    ensure!(!bytes.is_empty(), "no data");
    ensure!(
        u64::try_from(bytes.len())? <= len,
        "{} bytes, of {len}",
        bytes.len()
    );
    let none = source.set_migration_state(MigState::STOP)?;
    ensure!(none.is_none(), "data of a stopped device");
    let late = data.read(&mut [0; 8]);
    ensure!(
        late == Err(Errno::ENODEV),
        "read when it was over: {late:?}"
    );

    let mut resumed = started(target, MigState::RESUMING)?;
    for part in bytes.chunks(7) {
        resumed.write_all(part)?;
    }
    drop(resumed);
    for state in [MigState::STOP, MigState::RUNNING] {
        target.set_migration_state(state)?;
        ensure!(target.migration_state()? == state, "not in {state}");
    }
    let seen = scratch(target, None)?;
    ensure!(seen == 0x5a, "the scratch register holds {seen:#x}");
    let copied = read_all(&mut started(target, MigState::STOP_COPY)?)?;
    ensure!(copied == bytes, "the data of the two differ");
    target.set_migration_state(MigState::RUNNING)?;
    source.set_migration_state(MigState::RUNNING)?;
    Ok(format!("{flags}; {} bytes, the same of both", bytes.len()))
}

/// Checks that a part of the data is read while the device still runs.
///
/// # Errors
/// What a call returns, and what does not hold.
pub fn pre_copy<S: Sys + Clone>(source: &Device<S>, target: &Device<S>) -> Result<String> {
    ensure!(
        source.migration()?.contains(MigrationFlags::PRE_COPY),
        "no PRE_COPY"
    );
    let mut data = started(source, MigState::PRE_COPY)?;
    let before = data.precopy()?;
    ensure!(before.initial_bytes > 0, "{before:?}");
    let mut initial = vec![0; usize::try_from(before.initial_bytes)?];
    let count = data.read(&mut initial)?;
    ensure!(count == initial.len(), "{count} bytes, of {before:?}");
    let after = data.precopy()?;
    ensure!(after.initial_bytes == 0, "{after:?}");
    // It still runs.
    scratch(source, Some(0x77))?;

    let fresh = source.set_migration_state(MigState::STOP_COPY)?;
    ensure!(fresh.is_none(), "the data do not go on");
    let stopped = data.precopy();
    ensure!(
        stopped.is_err(),
        "a stopped device is asked what it has while it runs: {stopped:?}"
    );
    let rest = read_all(&mut data)?;
    let mut resumed = started(target, MigState::RESUMING)?;
    resumed.write_all(&initial)?;
    resumed.write_all(&rest)?;
    drop(resumed);
    target.set_migration_state(MigState::RUNNING)?;
    let seen = scratch(target, None)?;
    ensure!(seen == 0x77, "the scratch register holds {seen:#x}");
    source.set_migration_state(MigState::RUNNING)?;
    Ok(format!(
        "{} bytes before the stop, {} after",
        initial.len(),
        rest.len()
    ))
}

/// Checks that states that are none are refused, and data of another kind of device: `other` has
/// two ports, not one.
///
/// # Errors
/// What a call returns, and what does not hold.
pub fn refused<S: Sys + Clone>(source: &Device<S>, other: &Device<S>) -> Result<String> {
    for to in [MigState::ERROR, MigState(99)] {
        let answer = source.set_migration_state(to).err();
        let expected = MigrationError::State {
            to,
            now: Some(MigState::RUNNING),
            errno: Errno::EINVAL,
        };
        ensure!(answer == Some(expected), "{to}: {answer:?}");
    }
    let bytes = read_all(&mut started(source, MigState::STOP_COPY)?)?;
    source.set_migration_state(MigState::RUNNING)?;

    let mut data = started(other, MigState::RESUMING)?;
    let written = data.write_all(&bytes);
    let answer = other.set_migration_state(MigState::STOP).err();
    ensure!(
        matches!(
            answer,
            Some(MigrationError::State {
                to: MigState::STOP,
                ..
            })
        ),
        "data of a device with one port: {written:?}, {answer:?}"
    );
    other.reset()?;
    ensure!(
        other.migration_state()? == MigState::RUNNING,
        "not running after a reset"
    );
    Ok(format!("{answer:?}"))
}

/// Checks that a device does not migrate.
///
/// # Errors
/// What does not hold.
pub fn missing<S: Sys + Clone>(opened: &Device<S>) -> Result<String> {
    let answer = opened.migration();
    ensure!(
        answer == Err(FeatureError::Missing(FeatureId::MIGRATION)),
        "{answer:?}"
    );
    let answer = opened.set_migration_state(MigState::STOP).err();
    let missing = FeatureError::Missing(FeatureId::MIG_DEVICE_STATE);
    ensure!(
        answer == Some(MigrationError::Feature(missing)),
        "{answer:?}"
    );
    Ok("no migration".into())
}

/// Brings a device into a state that has data.
fn started<S: Sys + Clone>(device: &Device<S>, state: MigState) -> Result<MigrationData<S>> {
    device
        .set_migration_state(state)?
        .with_context(|| format!("no data in {state}"))
}

/// Reads the data to their end, in small parts.
fn read_all<S: Sys>(data: &mut MigrationData<S>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut part = [0; 5];
    loop {
        match data.read(&mut part)? {
            0 => return Ok(bytes),
            count => bytes.extend_from_slice(&part[..count]),
        }
    }
}

/// Writes the scratch register, if something is to be written, and reads it.
fn scratch<S: Sys>(device: &Device<S>, value: Option<u8>) -> Result<u8> {
    let mut buffer = [0; 128];
    let region = device.region(0, &mut buffer)?;
    let mut ports = device.trap::<CanReadWrite>(&region)?;
    if let Some(value) = value {
        ports.write(SCRATCH, value)?;
    }
    Ok(ports.read(SCRATCH)?)
}
