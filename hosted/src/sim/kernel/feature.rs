//! `VFIO_DEVICE_FEATURE` (drivers/vfio/vfio_main.c of Linux).

use core::mem::size_of;

use vfio_core::sys::{Errno, Parts};
use vfio_core::wire::abi::{
    DeviceFeature, DeviceFeatureMigState, FeatureFlags, FeatureId, MigState,
};

use super::Kernel;
use crate::lock::lock;
use crate::sim::answer::Answer;
use crate::sim::files::sriov;
use crate::sim::handle::{Event, Fd};
use crate::sim::structure::get;

/// Bytes of a request before its data.
const HEAD: usize = size_of::<DeviceFeature>();

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
            let mut files = self.files();
            let token = files.token(place).ok_or(Errno::ENOTTY)?;
            return token.feature(flags, argument).map(|()| Answer::Done);
        }
        let (_, data) = argument.split_at_mut_checked(HEAD).ok_or(Errno::EINVAL)?;
        let id = flags.feature();
        let device = self.files().device(place)?;
        let support = lock(&device).supports(id)?;
        if !support.is_to_be_done(flags, data.len())? {
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
                return self.set_migration(place, data);
            }
            _ => lock(&device).feature(id, data, list)?,
        }
        Ok(Answer::Done)
    }

    /// Brings a device into a state of its migration, and opens the data of that.
    fn set_migration(&self, place: usize, data: &[u8]) -> Result<Answer, Errno> {
        let state = get::<DeviceFeatureMigState>(data)?.device_state;
        let device = self.files().device(place)?;
        // The data descriptor is handed out by itself: it has no number.
        let opened = lock(&device).set_migration_state(MigState(state))?;
        Ok(match opened {
            Some(data) => Answer::Opened(self.files().open_migration(place, data)),
            None => Answer::Done,
        })
    }
}

/// Checks that what is asked for is known, and one thing only.
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
