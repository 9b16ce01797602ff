//! What tests see of a simulated kernel, and what they do to it.

use std::vec::Vec;

use super::Kernel;
use crate::lock::lock;
use crate::model::Fault;
use crate::sim::device::Device;
use crate::sim::ledger::Calls;

impl Kernel {
    /// Returns how many system calls were made.
    #[must_use]
    pub fn calls(&self) -> Calls {
        self.0.ledger.calls()
    }

    /// Returns how many files are open. One whose descriptor was closed is open still while a
    /// region of it is mapped, or a device is bound to it.
    #[must_use]
    pub fn open_files(&self) -> usize {
        self.files().len()
    }

    /// Returns how many events are open.
    #[must_use]
    pub fn open_events(&self) -> usize {
        self.0.ledger.events()
    }

    /// Returns how many containers are alive: one lives on in the groups that are in it.
    #[must_use]
    pub fn live_containers(&self) -> usize {
        self.files().live_containers()
    }

    /// Returns how many stretches of regions are mapped.
    #[must_use]
    pub fn live_mappings(&self) -> usize {
        self.0.ledger.mappings()
    }

    /// Returns how many stretches of memory are mapped for devices, in all containers and iommufds.
    #[must_use]
    pub fn live_dma_mappings(&self) -> usize {
        self.files().dma_mappings()
    }

    /// Returns how many pieces of memory are given out ([`Sys::memory`]).
    ///
    /// [`Sys::memory`]: vfio_core::sys::Sys::memory
    #[must_use]
    pub fn live_memory(&self) -> usize {
        self.0.supply.live()
    }

    /// Returns how many huge pages nobody has.
    #[must_use]
    pub fn free_huge_pages(&self) -> usize {
        self.0.supply.free_huge_pages()
    }

    /// Returns how many pieces of physical memory are given out ([`Sys::physical_memory`]).
    ///
    /// [`Sys::physical_memory`]: vfio_core::sys::Sys::physical_memory
    #[must_use]
    pub fn live_physical_memory(&self) -> usize {
        lock(self.files().physical()).len()
    }

    /// Returns the DMA of all devices that was refused, in order.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        self.0.faults.all()
    }

    /// Lets a device fail so that it can't recover, and tells whether the error interrupt of
    /// anybody was signalled.
    pub fn raise_error(&self, name: &str) -> bool {
        self.with_named(name, |device| device.interrupts().signal_error())
    }

    /// Asks whoever has a device to give it back, and tells whether the request interrupt of
    /// anybody was signalled.
    pub fn request_back(&self, name: &str) -> bool {
        self.with_named(name, |device| device.interrupts().signal_request())
    }

    /// Tells whether a device is in a state of low power.
    #[must_use]
    pub fn is_asleep(&self, name: &str) -> bool {
        self.with_named(name, |device| device.is_asleep())
    }

    fn with_named(&self, name: &str, act: impl FnOnce(&mut Device) -> bool) -> bool {
        let files = self.files();
        let device = files.place(name).map(|place| files.device(place));
        drop(files);
        device.is_some_and(|device| device.is_ok_and(|device| act(&mut lock(&device))))
    }
}
