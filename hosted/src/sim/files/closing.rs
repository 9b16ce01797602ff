//! What becomes of what is closed.

use super::{Context, File, OpenFiles};
use crate::lock::lock;

impl OpenFiles {
    /// Takes a share in a file.
    pub(super) fn share(&mut self, id: u64) {
        if let Some(open) = self.files.get_mut(&id) {
            open.shares = open.shares.saturating_add(1);
        }
    }

    /// Gives a share in a file back.
    pub(super) fn release(&mut self, id: u64) {
        let Some(open) = self.files.get_mut(&id) else {
            return;
        };
        open.shares = open.shares.saturating_sub(1);
        if open.shares != 0 {
            return;
        }
        let file = open.file;
        self.files.remove(&id);
        self.close(file);
    }

    /// Gives back whatever nobody has open any more.
    fn close(&mut self, file: File) {
        match file {
            File::Container(container) => {
                if let Some(container) = self.containers.get_mut(&container) {
                    container.is_open = false;
                }
                self.release_container(container);
            }
            File::Migration(id) => drop(self.migrations.remove(&id)),
            File::Iommufd(id) => drop(self.iommufds.remove(&id)),
            File::Group(number) => {
                if let Some(group) = self.groups.get_mut(&number) {
                    group.is_open = false;
                }
                self.release_group(number);
            }
            File::Device(place) => self.close_of_group(place),
            File::Cdev { place, is_bound } => {
                if is_bound
                    && let Some(number) = self.close_device(place)
                    && let Some(group) = self.groups.get_mut(&number)
                {
                    group.bound_cdevs = group.bound_cdevs.saturating_sub(1);
                }
            }
        }
    }

    /// Closes a device that was opened through its group.
    fn close_of_group(&mut self, place: usize) {
        let Some(number) = self.close_device(place) else {
            return;
        };
        if let Some(group) = self.groups.get_mut(&number) {
            group.open_devices = group.open_devices.saturating_sub(1);
        }
        self.release_group(number);
    }

    /// Closes one of the files of a device; the number of its group.
    pub(super) fn close_device(&mut self, place: usize) -> Option<u32> {
        let slot = self.devices.get_mut(place)?;
        let number = slot.group;
        slot.open_files = slot.open_files.saturating_sub(1);
        if slot.open_files == 0 {
            lock(&slot.device).disable();
            self.use_token(place, |users| users.saturating_sub(1));
            self.unbind(place);
        }
        Some(number)
    }

    /// Takes a group that is in use no more out of its container.
    pub(super) fn release_group(&mut self, number: u32) {
        let group = self.groups.get(&number);
        if group.is_some_and(|group| !group.is_in_use()) {
            self.detach_group(number);
        }
    }

    pub(super) fn detach_group(&mut self, number: u32) {
        let context = self
            .groups
            .get_mut(&number)
            .and_then(|group| group.context.take());
        match context {
            Some(Context::Container(id)) => {
                if let Some(container) = self.containers.get_mut(&id) {
                    container.groups.retain(|group| *group != number);
                    if container.groups.is_empty() {
                        // All mappings go with it.
                        container.iommu = None;
                    }
                }
                self.release_container(id);
            }
            Some(Context::Iommufd(id)) => self.release(id),
            None => (),
        }
    }

    /// Forgets a container that nobody needs any more.
    pub(super) fn release_container(&mut self, id: u64) {
        let container = self.containers.get(&id);
        if container.is_some_and(|container| !container.is_open && container.groups.is_empty()) {
            self.containers.remove(&id);
        }
    }
}
