//! Which features devices have.

use anyhow::{Result, ensure};
use vfio_core::device::Device;
use vfio_core::device::feature::{FeatureError, Support};
use vfio_core::sys::Sys;
use vfio_core::wire::abi::FeatureId;

/// Checks the features of a PCI device without migration, with SR-IOV or without.
///
/// # Errors
/// What a call returns, and what does not hold.
pub fn probe<S: Sys>(opened: &Device<S>, has_sriov: bool) -> Result<String> {
    let mut seen = Vec::new();
    for id in (0..=13).chain([99, u16::MAX]).map(FeatureId) {
        let support = opened.probe_feature(id)?;
        let expected = match id {
            FeatureId::LOW_POWER_ENTRY
            | FeatureId::LOW_POWER_ENTRY_WITH_WAKEUP
            | FeatureId::LOW_POWER_EXIT => Support {
                get: false,
                set: true,
            },
            FeatureId::PCI_VF_TOKEN => Support {
                get: false,
                set: has_sriov,
            },
            // As the kernel is built.
            FeatureId::DMA_BUF => Support {
                set: false,
                ..support
            },
            _ => Support::default(),
        };
        ensure!(support == expected, "{id}: {support:?}");
        if support != Support::default() {
            seen.push(id.to_string());
        }
    }
    for (feature, answer, is_there) in [
        (FeatureId::BUS_MASTER, opened.set_bus_master(true), false),
        (
            FeatureId::PCI_VF_TOKEN,
            opened.set_vf_token([7; 16]),
            has_sriov,
        ),
    ] {
        let expected = if is_there {
            Ok(())
        } else {
            Err(FeatureError::Missing(feature))
        };
        ensure!(answer == expected, "{feature}: {answer:?}");
    }
    Ok(seen.join(", "))
}

/// Checks the features of a sample of the kernel that migrates: `mtty`.
///
/// # Errors
/// What a call returns, and what does not hold.
pub fn probe_sample<S: Sys>(opened: &Device<S>) -> Result<String> {
    for id in (0..=13).chain([99]).map(FeatureId) {
        let (get, set) = match id {
            FeatureId::MIGRATION | FeatureId::MIG_DATA_SIZE | FeatureId::DMA_LOGGING_REPORT => {
                (true, false)
            }
            FeatureId::MIG_DEVICE_STATE => (true, true),
            FeatureId::DMA_LOGGING_START | FeatureId::DMA_LOGGING_STOP => (false, true),
            // Since Linux 7.3.
            FeatureId::MIG_PRECOPY_INFO_V2 => (false, opened.probe_feature(id)?.set),
            _ => (false, false),
        };
        let support = opened.probe_feature(id)?;
        ensure!(support == Support { get, set }, "{id}: {support:?}");
    }
    let answer = opened.enter_low_power();
    ensure!(
        answer == Err(FeatureError::Missing(FeatureId::LOW_POWER_ENTRY)),
        "low power: {answer:?}"
    );
    Ok("migration and a log".into())
}
