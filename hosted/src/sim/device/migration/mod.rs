//! Migration, version 2 of the protocol (drivers/vfio/vfio_main.c and samples/vfio-mdev/mtty.c of
//! Linux).

mod data;
mod state;

use std::vec::Vec;

use vfio_core::sys::Errno;
use vfio_core::wire::abi::{MigState, PrecopyInfo, PrecopyInfoFlags};

use super::Device;
use crate::lock::lock;

use data::Data;
pub(in crate::sim) use data::SharedData;

/// Where a device is on its way.
pub(super) struct Migration {
    state: MigState,
    /// The data that are read.
    saving: Option<SharedData>,
    /// The data that are written.
    resuming: Option<SharedData>,
    /// Whether the flags of [`PrecopyInfo`] are written.
    writes_flags: bool,
}

impl Device {
    pub(super) fn migration_state(&mut self) -> MigState {
        self.migration.state
    }

    /// Brings the device into a state, step by step; the data of that state, where it has new
    /// ones.
    pub(in crate::sim) fn set_migration_state(
        &mut self,
        to: MigState,
    ) -> Result<Option<SharedData>, Errno> {
        let flags = self.description().migration;
        let mut opened = None;
        while self.migration.state != to {
            let next = state::next(flags, self.migration.state, to)?;
            opened = self.migrate_to(next)?;
            self.migration.state = next;
        }
        Ok(opened)
    }

    fn migrate_to(&mut self, next: MigState) -> Result<Option<SharedData>, Errno> {
        match (self.migration.state, next) {
            (MigState::RESUMING, MigState::STOP) => {
                let data = self.migration.resuming.clone();
                let bytes = data.map(|data| lock(&data).bytes().to_vec());
                self.model.registers().restore(&bytes.unwrap_or_default())?;
                self.migration.end();
                Ok(None)
            }
            (_, MigState::RESUMING) => {
                let data = Data::shared(Vec::new());
                self.migration.resuming = Some(SharedData::clone(&data));
                Ok(Some(data))
            }
            (MigState::STOP_COPY, _)
            | (MigState::PRE_COPY, MigState::RUNNING)
            | (MigState::PRE_COPY_P2P, MigState::RUNNING_P2P) => {
                self.migration.end();
                Ok(None)
            }
            (
                MigState::RUNNING | MigState::RUNNING_P2P,
                MigState::PRE_COPY | MigState::PRE_COPY_P2P,
            ) => {
                let data = Data::shared(self.model.registers().initial());
                self.migration.saving = Some(SharedData::clone(&data));
                Ok(Some(data))
            }
            (_, MigState::STOP_COPY) => Ok(self.save()),
            _ => Ok(None),
        }
    }

    /// Adds the state of a stopped device to its data; the data, where they are new.
    fn save(&mut self) -> Option<SharedData> {
        let state = self.model.registers().save();
        if let Some(data) = &self.migration.saving {
            lock(data).append(&state);
            return None;
        }
        let mut bytes = self.model.registers().initial();
        bytes.extend(state);
        let data = Data::shared(bytes);
        self.migration.saving = Some(SharedData::clone(&data));
        Some(data)
    }

    /// Returns how long the data of a stopped device are, in bytes.
    pub(super) fn migration_len(&mut self) -> u64 {
        let registers = self.model.registers();
        let len = registers
            .initial()
            .len()
            .saturating_add(registers.save().len());
        u64::try_from(len).unwrap_or(u64::MAX)
    }

    pub(super) fn write_precopy_flags(&mut self) {
        self.migration.writes_flags = true;
    }

    /// Serves `VFIO_MIG_GET_PRECOPY_INFO` on `data`, which are the device's.
    pub(in crate::sim) fn precopy(
        &mut self,
        data: &SharedData,
        info: &mut PrecopyInfo,
    ) -> Result<(), Errno> {
        let migration = &self.migration;
        if migration
            .resuming
            .as_ref()
            .is_some_and(|resuming| std::sync::Arc::ptr_eq(resuming, data))
        {
            return Err(Errno::ENOTTY);
        }
        if !matches!(migration.state, MigState::PRE_COPY | MigState::PRE_COPY_P2P) {
            return Err(Errno::EINVAL);
        }
        info.initial_bytes = lock(data).left()?;
        info.dirty_bytes = 0;
        if migration.writes_flags {
            info.flags = PrecopyInfoFlags::empty();
        }
        Ok(())
    }

    /// Takes what was written to `data`.
    pub(in crate::sim) fn resume(
        &mut self,
        data: &SharedData,
        bytes: &[u8],
    ) -> Result<usize, Errno> {
        let mut data = lock(data);
        let so_far = data.with(bytes)?;
        self.model.registers().accept(&so_far)?;
        data.append(bytes);
        Ok(bytes.len())
    }
}

impl Migration {
    /// Tells whether the device does nothing of its own.
    pub(super) fn is_stopped(&self) -> bool {
        matches!(
            self.state,
            MigState::STOP | MigState::STOP_COPY | MigState::RESUMING
        )
    }

    /// Resets: the device runs.
    pub(super) fn reset(&mut self) {
        self.end();
        self.state = MigState::RUNNING;
    }

    /// Ends the data.
    pub(super) fn end(&mut self) {
        for data in self.saving.take().into_iter().chain(self.resuming.take()) {
            lock(&data).end();
        }
    }
}

impl Default for Migration {
    fn default() -> Self {
        Self {
            state: MigState::RUNNING,
            saving: None,
            resuming: None,
            writes_flags: false,
        }
    }
}
