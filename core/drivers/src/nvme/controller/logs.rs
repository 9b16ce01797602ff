//! What a controller keeps and tells of errors and of its health (NVM Express Base Specification
//! 1.4, 5.14 and 5.2).

use vfio_core::device::DeviceHandle;
use vfio_core::dma::DmaHandle;
use vfio_core::mmio::Access;

use super::Controller;
use super::features::feature;
use crate::nvme::admin::{Admin, opcode};
use crate::nvme::error::NvmeError;
use crate::nvme::identify::Page;
use crate::nvme::log::{ErrorEntry, Event, Health};
use crate::nvme::submission::Command;

/// Log pages.
mod log {
    pub(super) const ERRORS: u32 = 0x01;
    pub(super) const HEALTH: u32 = 0x02;
}

/// Events of health that every controller has, as bits of the feature: those of the warnings that
/// every version of the specification knows.
const HEALTH_EVENTS: u32 = 0x1f;

/// All namespaces.
const ALL: u32 = u32::MAX;

impl<D: DeviceHandle, M: DmaHandle, A: Access> Controller<D, M, A> {
    /// Puts entries of the error log into `entries`, the newest first, and returns how many.
    ///
    /// They are at most 64.
    ///
    /// # Errors
    /// [`NvmeError`]
    pub fn error_log(&self, entries: &mut [ErrorEntry]) -> Result<usize, NvmeError<A::Error>> {
        let most = Page::LEN / ErrorEntry::LEN;
        let there = usize::from(self.info.error_log).min(most);
        let len = there.saturating_mul(ErrorEntry::LEN);
        let mut page = Page::zeroed();
        self.log_page(&mut page, log::ERRORS, len)?;
        let places = (0..there).map(|index| index.saturating_mul(ErrorEntry::LEN));
        let mut count = 0_usize;
        let found = places.map_while(|at| ErrorEntry::parse(&page, at));
        for (slot, entry) in entries.iter_mut().zip(found) {
            *slot = entry;
            count = count.saturating_add(1);
        }
        Ok(count)
    }

    /// Returns the state of health.
    ///
    /// # Errors
    /// [`NvmeError`]
    pub fn health(&self) -> Result<Health, NvmeError<A::Error>> {
        let mut page = Page::zeroed();
        self.log_page(&mut page, log::HEALTH, 512)?;
        Ok(Health::parse(&page))
    }

    /// Has the controller tell of events from now on ([`Controller::next_event`]).
    ///
    /// These are the events of health, and all that it supports besides.
    ///
    /// # Errors
    /// [`NvmeError`]
    pub fn enable_events(&self) -> Result<(), NvmeError<A::Error>> {
        self.set_feature(feature::EVENTS, HEALTH_EVENTS | self.info.events)?;
        self.with_admin(Admin::want_events)
    }

    /// Returns the next event that the controller told of; none where there is none now.
    ///
    /// No further event of the kind comes before the log page that it names was read
    /// ([`Controller::error_log`], [`Controller::health`]).
    ///
    /// # Errors
    /// [`NvmeError`]
    pub fn next_event(&self) -> Result<Option<Event>, NvmeError<A::Error>> {
        self.with_admin(Admin::next_event)
    }

    /// Fills `page` with the first `len` bytes of the log page `log`, a multiple of 4.
    fn log_page(&self, page: &mut Page, log: u32, len: usize) -> Result<(), NvmeError<A::Error>> {
        let dwords_less_one = u32::try_from(len / 4).unwrap_or(1024).saturating_sub(1);
        let command = Command {
            opcode: opcode::GET_LOG_PAGE,
            nsid: ALL,
            cdw10: log | dwords_less_one << 16,
            ..Command::default()
        };
        self.fill(page, &command)
    }
}
