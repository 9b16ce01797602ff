//! Doorbells in memory (NVM Express Base Specification 1.4, 7.13).

use std::vec::Vec;

use super::Nvme;
use crate::model::Bus;

/// Steps for which it looks at doorbells in memory after the last command.
const LOOKS: u32 = 8;

impl Nvme {
    /// Looks at the doorbells in memory, for some time after the last command.
    pub(super) fn look_at_shadow(&mut self, bus: &mut Bus<'_>) {
        if self.shadow.is_none() || self.looking == 0 {
            return;
        }
        self.looking = self.looking.wrapping_sub(1);
        if self.looking == 0 {
            // From now on registers are to be written; what came before that is looked for once
            // more.
            self.ask_for_doorbells(0, bus);
        }
        self.read_shadow(bus);
        self.take(bus);
    }

    /// Reads the doorbells of all queues from memory.
    pub(super) fn read_shadow(&mut self, bus: &mut Bus<'_>) {
        let Some((values, _)) = self.shadow else {
            return;
        };
        let ids: Vec<_> = self.submissions.keys().copied().collect();
        for id in ids.into_iter().filter(|id| *id != 0) {
            let at = values.wrapping_add(u64::from(id).wrapping_mul(2).wrapping_mul(self.stride()));
            let mut tail = [0; 4];
            let mut head = [0; 4];
            if bus.dma_read(at, &mut tail).is_err()
                || bus
                    .dma_read(at.wrapping_add(self.stride()), &mut head)
                    .is_err()
            {
                self.die();
                return;
            }
            let number = |bytes| u16::try_from(u32::from_le_bytes(bytes)).unwrap_or(u16::MAX);
            self.set_tail(id, number(tail));
            self.set_head(id, number(head));
        }
    }

    /// Goes on to look for some time, after commands were taken.
    pub(super) fn look_for_more(&mut self, bus: &mut Bus<'_>) {
        if self.shadow.is_some() {
            self.looking = LOOKS;
            self.ask_for_doorbells(1, bus);
        }
    }

    /// Writes when registers are to be written: `behind` values before those that it knows.
    fn ask_for_doorbells(&mut self, behind: u16, bus: &mut Bus<'_>) {
        let Some((_, events)) = self.shadow else {
            return;
        };
        let mut is_written = true;
        for (id, queue) in self.submissions.iter().filter(|(id, _)| **id != 0) {
            let at = u64::from(*id).wrapping_mul(2).wrapping_mul(self.stride());
            let event = queue.tail.wrapping_sub(behind);
            let bytes = u32::from(event).to_le_bytes();
            is_written &= bus.dma_write(events.wrapping_add(at), &bytes).is_ok();
        }
        for (id, queue) in self.completions.iter().filter(|(id, _)| **id != 0) {
            let at = u64::from(*id).wrapping_mul(2).wrapping_add(1);
            let at = at.wrapping_mul(self.stride());
            let event = queue.head.wrapping_sub(behind);
            let bytes = u32::from(event).to_le_bytes();
            is_written &= bus.dma_write(events.wrapping_add(at), &bytes).is_ok();
        }
        if !is_written {
            self.die();
        }
    }
}
