//! Features of a device (drivers/vfio/vfio_main.c and drivers/vfio/pci/vfio_pci_core.c of Linux).

use core::mem::size_of;

use vfio_core::sys::Errno;
use vfio_core::wire::abi::{
    DeviceFeatureDmaLoggingControl, DeviceFeatureDmaLoggingReport, DeviceFeatureMigDataSize,
    DeviceFeatureMigState, DeviceFeatureMigration, DeviceLowPowerEntryWithWakeup, FeatureFlags,
    FeatureId, MigrationFlags,
};

use super::Device;
use crate::model::Description;
use crate::sim::structure::{get, put};

/// What can be done with a feature.
pub(in crate::sim) struct Support {
    /// What of reading and writing.
    acts: FeatureFlags,
    /// Bytes of data that it takes.
    len: usize,
}

impl Device {
    /// Returns what can be done with a feature. `ENOTTY` where the device does not have it.
    pub(in crate::sim) fn supports(&self, id: FeatureId) -> Result<Support, Errno> {
        support(self.description(), id)
    }

    /// Reads or writes a feature that names no event and opens no file.
    pub(in crate::sim) fn feature(
        &mut self,
        id: FeatureId,
        data: &mut [u8],
        list: &mut [u8],
    ) -> Result<(), Errno> {
        match id {
            FeatureId::LOW_POWER_ENTRY => self.enter_low_power(None),
            FeatureId::LOW_POWER_EXIT => {
                self.exit_low_power();
                Ok(())
            }
            FeatureId::MIGRATION => {
                let flags = self.description().migration;
                put(data, &DeviceFeatureMigration { flags })
            }
            FeatureId::MIG_DEVICE_STATE => put(
                data,
                &DeviceFeatureMigState {
                    device_state: self.migration_state().0,
                    data_fd: -1,
                },
            ),
            FeatureId::MIG_DATA_SIZE => {
                let stop_copy_length = self.migration_len();
                put(data, &DeviceFeatureMigDataSize { stop_copy_length })
            }
            FeatureId::MIG_PRECOPY_INFO_V2 => {
                self.write_precopy_flags();
                Ok(())
            }
            FeatureId::DMA_LOGGING_START => {
                let control = get::<DeviceFeatureDmaLoggingControl>(data)?;
                self.start_dma_log(&control, list)?;
                put(data, &control)
            }
            FeatureId::DMA_LOGGING_STOP => {
                self.stop_dma_log();
                Ok(())
            }
            FeatureId::DMA_LOGGING_REPORT => {
                let report = get::<DeviceFeatureDmaLoggingReport>(data)?;
                self.report_dma_log(&report, list)
            }
            _ => Err(Errno::ENOTTY),
        }
    }
}

impl Support {
    /// Tells whether there is more to do than to say that it could be done, with `len` bytes of
    /// data.
    pub(in crate::sim) fn is_to_be_done(
        &self,
        flags: FeatureFlags,
        len: usize,
    ) -> Result<bool, Errno> {
        let both = FeatureFlags::GET | FeatureFlags::SET;
        if (flags & both).intersects(!self.acts) {
            return Err(Errno::EINVAL);
        }
        if flags.contains(FeatureFlags::PROBE) {
            return Ok(false);
        }
        if !flags.intersects(both) || len < self.len {
            return Err(Errno::EINVAL);
        }
        Ok(true)
    }
}

/// Returns what can be done with a feature. `ENOTTY` where the device does not have it.
fn support(description: &Description, id: FeatureId) -> Result<Support, Errno> {
    let allow = |acts, len| Ok(Support { acts, len });
    let (get, set) = (FeatureFlags::GET, FeatureFlags::SET);
    let is_sample = !description.dialect.knows_hot_reset;
    let migrates = !description.migration.is_empty();
    match id {
        FeatureId::MIG_PRECOPY_INFO_V2 => {
            if description.migration.contains(MigrationFlags::PRE_COPY) {
                allow(set, 0)
            } else {
                Err(Errno::EINVAL)
            }
        }
        FeatureId::MIGRATION if migrates => allow(get, size_of::<DeviceFeatureMigration>()),
        FeatureId::MIG_DEVICE_STATE if migrates => {
            allow(get | set, size_of::<DeviceFeatureMigState>())
        }
        FeatureId::MIG_DATA_SIZE if migrates => allow(get, size_of::<DeviceFeatureMigDataSize>()),
        FeatureId::DMA_LOGGING_START if description.logs_dma => {
            allow(set, size_of::<DeviceFeatureDmaLoggingControl>())
        }
        FeatureId::DMA_LOGGING_STOP if description.logs_dma => allow(set, 0),
        FeatureId::DMA_LOGGING_REPORT if description.logs_dma => {
            allow(get, size_of::<DeviceFeatureDmaLoggingReport>())
        }
        FeatureId::LOW_POWER_ENTRY | FeatureId::LOW_POWER_EXIT if !is_sample => allow(set, 0),
        FeatureId::LOW_POWER_ENTRY_WITH_WAKEUP if !is_sample => {
            allow(set, size_of::<DeviceLowPowerEntryWithWakeup>())
        }
        _ => Err(Errno::ENOTTY),
    }
}
