//! `VFIO_DEVICE_FEATURE` (drivers/vfio/vfio_main.c and drivers/vfio/pci/vfio_pci_core.c of Linux).

use core::mem::size_of;

use vfio_core::sys::{Errno, Parts};
use vfio_core::wire::abi::{
    DeviceFeature, DeviceFeatureDmaLoggingControl, DeviceFeatureDmaLoggingReport,
    DeviceFeatureMigDataSize, DeviceFeatureMigState, DeviceFeatureMigration,
    DeviceLowPowerEntryWithWakeup, FeatureFlags, FeatureId, MigState, MigrationFlags,
};

use super::device::Device;
use super::exchange::Answer;
use super::exchange::structure::{get, put};
use super::kernel::lock;
use super::{Description, Event, Fd, Kernel, sriov};

/// Bytes of a request before its data.
const HEAD: usize = size_of::<DeviceFeature>();

/// What can be done with a feature, and how many bytes of data that takes.
type Support = (FeatureFlags, usize);

impl Kernel {
    /// Reads or writes a feature, or tells whether that can be done.
    pub(super) fn feature(
        &self,
        place: usize,
        parts: Parts<'_, Fd, Event>,
    ) -> Result<Answer, Errno> {
        let Parts {
            argument,
            list,
            events,
            ..
        } = parts;
        let flags = get::<DeviceFeature>(argument)?.flags;
        check_acts(flags)?;
        if sriov::is_token(flags) {
            let mut session = self.0.session();
            let token = session.token(place).ok_or(Errno::ENOTTY)?;
            return token.feature(flags, argument).map(|()| Answer::Done);
        }
        let (_, data) = argument.split_at_mut_checked(HEAD).ok_or(Errno::EINVAL)?;
        let id = flags.feature();
        let device = self.0.session().device(place)?;
        let support = lock(&device).description().support(id)?;
        if !is_to_be_done(flags, support, data.len())? {
            return Ok(Answer::Done);
        }
        let list = list.unwrap_or_default();
        match id {
            FeatureId::LOW_POWER_ENTRY_WITH_WAKEUP => {
                let wakeup = events.first().copied().flatten().ok_or(Errno::EINVAL)?;
                let signal = self.signal_of(wakeup)?;
                lock(&device).enter_low_power(Some(signal.clone()))?;
            }
            FeatureId::MIG_DEVICE_STATE if flags.contains(FeatureFlags::SET) => {
                let state = get::<DeviceFeatureMigState>(data)?.device_state;
                // The data descriptor is handed out by itself: it has no number.
                let opened = lock(&device).set_migration_state(MigState(state))?;
                return Ok(match opened {
                    Some(data) => Answer::Opened(self.0.session().open_migration(place, data)),
                    None => Answer::Done,
                });
            }
            _ => lock(&device).feature(id, data, list)?,
        }
        Ok(Answer::Done)
    }
}

impl Device {
    /// Reads or writes a feature that names no event and opens no file.
    fn feature(&mut self, id: FeatureId, data: &mut [u8], list: &mut [u8]) -> Result<(), Errno> {
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
                let mut control = get::<DeviceFeatureDmaLoggingControl>(data)?;
                self.start_dma_log(&mut control, list)?;
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

impl Description {
    /// What can be done with a feature; `ENOTTY` where the device does not have it.
    fn support(&self, id: FeatureId) -> Result<Support, Errno> {
        let (get, set) = (FeatureFlags::GET, FeatureFlags::SET);
        let is_sample = !self.dialect.knows_hot_reset;
        let migrates = !self.migration.is_empty();
        match id {
            FeatureId::MIG_PRECOPY_INFO_V2 => {
                if self.migration.contains(MigrationFlags::PRE_COPY) {
                    Ok((set, 0))
                } else {
                    Err(Errno::EINVAL)
                }
            }
            FeatureId::MIGRATION if migrates => Ok((get, size_of::<DeviceFeatureMigration>())),
            FeatureId::MIG_DEVICE_STATE if migrates => {
                Ok((get | set, size_of::<DeviceFeatureMigState>()))
            }
            FeatureId::MIG_DATA_SIZE if migrates => {
                Ok((get, size_of::<DeviceFeatureMigDataSize>()))
            }
            FeatureId::DMA_LOGGING_START if self.logs_dma => {
                Ok((set, size_of::<DeviceFeatureDmaLoggingControl>()))
            }
            FeatureId::DMA_LOGGING_STOP if self.logs_dma => Ok((set, 0)),
            FeatureId::DMA_LOGGING_REPORT if self.logs_dma => {
                Ok((get, size_of::<DeviceFeatureDmaLoggingReport>()))
            }
            FeatureId::LOW_POWER_ENTRY | FeatureId::LOW_POWER_EXIT if !is_sample => Ok((set, 0)),
            FeatureId::LOW_POWER_ENTRY_WITH_WAKEUP if !is_sample => {
                Ok((set, size_of::<DeviceLowPowerEntryWithWakeup>()))
            }
            _ => Err(Errno::ENOTTY),
        }
    }
}

/// What is asked for must be known, and one thing only.
fn check_acts(flags: FeatureFlags) -> Result<(), Errno> {
    let acts = FeatureFlags::GET | FeatureFlags::SET | FeatureFlags::PROBE;
    let both = FeatureFlags::GET | FeatureFlags::SET;
    let is_known = !flags.intersects(!(FeatureFlags::MASK | acts));
    let is_one = flags.contains(FeatureFlags::PROBE) || !flags.contains(both);
    if is_known && is_one {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

/// Whether there is anything to be done but to say that it could be.
fn is_to_be_done(flags: FeatureFlags, support: Support, len: usize) -> Result<bool, Errno> {
    let (supported, needed) = support;
    let both = FeatureFlags::GET | FeatureFlags::SET;
    if (flags & both).intersects(!supported) {
        return Err(Errno::EINVAL);
    }
    if flags.contains(FeatureFlags::PROBE) {
        return Ok(false);
    }
    if !flags.intersects(both) || len < needed {
        return Err(Errno::EINVAL);
    }
    Ok(true)
}
