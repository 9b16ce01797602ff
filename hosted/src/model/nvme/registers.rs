//! The registers of a controller, and what writing them does (NVM Express Base Specification 1.4,
//! 3.1).

use std::vec::Vec;

use super::features::Features;
use super::queue::{CompletionQueue, SubmissionQueue};
use super::{FATAL, Nvme, READY};
use crate::model::{Bus, Registers};

/// Offsets of the registers, in bytes.
mod offset {
    pub(super) const CAPABILITIES: u64 = 0x00;
    pub(super) const VERSION: u64 = 0x08;
    pub(super) const MASK_SET: u64 = 0x0c;
    pub(super) const MASK_CLEAR: u64 = 0x10;
    pub(super) const CONFIGURATION: u64 = 0x14;
    pub(super) const STATUS: u64 = 0x1c;
    pub(super) const ADMIN_LENGTHS: u64 = 0x24;
    pub(super) const ADMIN_SUBMISSION: u64 = 0x28;
    pub(super) const ADMIN_COMPLETION: u64 = 0x30;
    pub(super) const READY_TIMES: u64 = 0x68;
    pub(super) const DOORBELLS: u64 = 0x1000;
}

const ENABLE: u32 = 1;
const SHUTDOWN: u32 = 3 << 14;
const SHUTDOWN_COMPLETE: u32 = 2 << 2;
/// The size of pages, 0 for 4 KiB, and the command set: 0 for the NVM command set, and
/// [`ADMIN_ALONE`].
const SETTINGS_MASK: u32 = 0x7f0;
const ADMIN_ALONE: u32 = 7 << 4;

impl Nvme {
    /// Reads a register of 32 bits.
    fn register(&self, at: u64) -> u32 {
        if self.shared().is_gone {
            return u32::MAX;
        }
        let (base, is_high) = (at & !7, at & 4 != 0);
        let half = |value: u64| {
            let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
            u32::from_le_bytes(if is_high { [e, f, g, h] } else { [a, b, c, d] })
        };
        match at {
            offset::VERSION => self.options.version,
            offset::MASK_SET | offset::MASK_CLEAR => self.interrupt_mask,
            offset::CONFIGURATION => self.configuration,
            offset::STATUS => self.status,
            offset::ADMIN_LENGTHS => self.admin_lengths,
            offset::READY_TIMES => self.options.ready_times,
            _ => match base {
                offset::CAPABILITIES => half(self.options.capabilities),
                offset::ADMIN_SUBMISSION => half(self.admin_submission),
                offset::ADMIN_COMPLETION => half(self.admin_completion),
                _ => 0,
            },
        }
    }

    fn set_register(&mut self, at: u64, value: u32, bus: &mut Bus<'_>) {
        if self.shared().is_gone {
            return;
        }
        let put = |old: u64| {
            let value = u64::from(value);
            if at & 4 == 0 {
                old & !0xffff_ffff | value
            } else {
                old & 0xffff_ffff | value << 32
            }
        };
        match at {
            offset::MASK_SET => self.interrupt_mask |= value,
            offset::MASK_CLEAR => self.interrupt_mask &= !value,
            offset::CONFIGURATION => self.configure(value, bus),
            offset::ADMIN_LENGTHS => self.admin_lengths = value,
            _ if at & !7 == offset::ADMIN_SUBMISSION => {
                self.admin_submission = put(self.admin_submission);
            }
            _ if at & !7 == offset::ADMIN_COMPLETION => {
                self.admin_completion = put(self.admin_completion);
            }
            offset::DOORBELLS.. => self.doorbell(at.wrapping_sub(offset::DOORBELLS), value, bus),
            _ => (),
        }
    }

    fn configure(&mut self, value: u32, bus: &mut Bus<'_>) {
        let changed = self.configuration ^ value;
        self.configuration = value;
        if changed & ENABLE != 0 {
            if value & ENABLE == 0 {
                if self.status & (READY | FATAL) == 0 {
                    self.shared().counts.stopped_early += 1;
                }
                if !self.shared().never_stops {
                    self.forget(bus);
                    self.settling = Some(self.options.settling);
                }
            } else {
                self.settling = Some(self.options.settling);
            }
        }
        if value & changed & SHUTDOWN != 0 && self.status & FATAL == 0 {
            self.shared().flush_all();
            self.status |= SHUTDOWN_COMPLETE;
        }
    }

    /// Becomes ready, or stops.
    fn settle(&mut self) {
        if self.configuration & ENABLE == 0 {
            self.status &= FATAL;
            self.status = 0;
            return;
        }
        if self.shared().never_ready {
            return;
        }
        let [a, b, c, d] = self.admin_lengths.to_le_bytes();
        let lengths = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        let is_aligned = (self.admin_submission | self.admin_completion) & 0xfff == 0;
        let settings = if self.has_commands() { 0 } else { ADMIN_ALONE };
        if self.configuration & SETTINGS_MASK != settings
            || self.configuration >> 16 & 0xff != 0x46
            || lengths.0 == 0
            || lengths.1 == 0
            || !is_aligned
        {
            self.status |= FATAL;
            return;
        }
        let submissions =
            SubmissionQueue::new(0, self.admin_submission, lengths.0.saturating_add(1));
        let completions =
            CompletionQueue::new(self.admin_completion, lengths.1.saturating_add(1), Some(0));
        self.submissions.insert(0, submissions);
        self.completions.insert(0, completions);
        self.status |= READY;
    }

    /// Forgets queues and commands.
    fn forget(&mut self, bus: &mut Bus<'_>) {
        self.submissions.clear();
        self.completions.clear();
        self.slow.clear();
        self.hanging.clear();
        self.shadow = None;
        self.looking = 0;
        self.event_requests.clear();
        self.features = Features::default();
        self.events.clear();
        self.masked_kinds = 0;
        self.interrupt_mask = 0;
        bus.set_intx(false);
    }
}

impl Registers for Nvme {
    fn read(&mut self, region: u32, offset: u64, data: &mut [u8], _: &mut Bus<'_>) {
        let words: Vec<u8> = match (region, data.len()) {
            (0, 4) => self.register(offset).to_le_bytes().into(),
            (0, 8) => [
                self.register(offset).to_le_bytes(),
                self.register(offset.wrapping_add(4)).to_le_bytes(),
            ]
            .concat(),
            // Registers are read whole.
            _ => std::vec![0; data.len()],
        };
        data.iter_mut().zip(words).for_each(|(to, from)| *to = from);
    }

    fn write(&mut self, region: u32, offset: u64, data: &[u8], bus: &mut Bus<'_>) {
        if region != 0 {
            return;
        }
        let (words, rest) = data.as_chunks::<4>();
        if !rest.is_empty() {
            return;
        }
        for (at, word) in (offset..).step_by(4).zip(words) {
            self.set_register(at, u32::from_le_bytes(*word), bus);
        }
    }

    fn advance(&mut self, bus: &mut Bus<'_>) -> bool {
        if self.shared().is_gone {
            return false;
        }
        if core::mem::take(&mut self.shared().becomes_fatal) {
            self.die();
        }
        match self.settling {
            Some(0) => {
                self.settling = None;
                self.settle();
            }
            Some(steps) => self.settling = Some(steps.wrapping_sub(1)),
            None => (),
        }
        self.scribble(bus);
        if self.is_running() {
            self.notice(bus);
            self.look_at_shadow(bus);
            self.finish_slow(bus);
        }
        self.settling.is_some() || !self.slow.is_empty() || self.looking > 0
    }

    fn reset(&mut self, bus: &mut Bus<'_>) {
        let is_immune = {
            let shared = self.shared();
            shared.ignores_reset || shared.is_gone
        };
        if is_immune {
            return;
        }
        self.forget(bus);
        self.configuration = 0;
        self.status = 0;
        self.admin_lengths = 0;
        self.admin_submission = 0;
        self.admin_completion = 0;
        self.settling = None;
    }
}
