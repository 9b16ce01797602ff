//! The registers of a device, and what writing them does (Virtual I/O Device Specification 1.2,
//! section 4.1.4).

use std::vec;
use std::vec::Vec;

use super::super::queue::{Chain, Queue};
use super::{Device, FAILED, FEATURES_OK, NEEDS_RESET, NO_VECTOR, VECTORS, VERSION_1, place};
use crate::model::{Bus, Registers};

impl Device {
    /// Returns a byte of the registers.
    fn byte(&mut self, at: u64) -> u8 {
        let said = self.control.lock().said.get(&at).copied();
        if let Some(said) = said {
            return said;
        }
        let of = |bytes: &[u8], start: u64| {
            let index = usize::try_from(at - start).unwrap_or(usize::MAX);
            bytes.get(index).copied().unwrap_or(0)
        };
        match at {
            ..place::ISR => of(&self.common(), place::COMMON),
            place::ISR => std::mem::take(&mut self.isr),
            place::DEVICE..place::NOTIFY => of(&self.kind.config(), place::DEVICE),
            _ => 0,
        }
    }

    /// Returns the common configuration, as it reads.
    fn common(&mut self) -> Vec<u8> {
        if self.control.lock().is_unsteady {
            self.generation = self.generation.wrapping_add(1);
        }
        let half = |value: u64, select: u32| {
            let value = match select {
                0 => value,
                1 => value >> 32,
                _ => 0,
            };
            value.to_le_bytes()[..4].to_vec()
        };
        let none = Queue::default();
        let queue = self.queues.get(usize::from(self.select)).unwrap_or(&none);
        [
            self.device_feature_select.to_le_bytes().to_vec(),
            half(self.offered(), self.device_feature_select),
            self.driver_feature_select.to_le_bytes().to_vec(),
            half(self.accepted, self.driver_feature_select),
            self.config_vector.to_le_bytes().to_vec(),
            self.kind.queues().to_le_bytes().to_vec(),
            vec![self.status, self.generation],
            self.select.to_le_bytes().to_vec(),
            queue.size.to_le_bytes().to_vec(),
            queue.vector.to_le_bytes().to_vec(),
            u16::from(queue.is_enabled).to_le_bytes().to_vec(),
            self.select.to_le_bytes().to_vec(),
            queue.desc.to_le_bytes().to_vec(),
            queue.driver.to_le_bytes().to_vec(),
            queue.device.to_le_bytes().to_vec(),
        ]
        .concat()
    }

    /// Writes a register of the common configuration.
    fn set_common(&mut self, at: u64, value: u32, bus: &mut Bus<'_>) {
        let [a, b, ..] = value.to_le_bytes();
        let word = u16::from_le_bytes([a, b]);
        match at {
            0x00 => self.device_feature_select = value,
            0x08 => self.driver_feature_select = value,
            0x0c => self.accept(value),
            0x10 => self.config_vector = known(word),
            0x14 => self.set_status(a, bus),
            0x16 => self.select = word,
            0x18.. => self.set_queue(at, value, word),
            _ => (),
        }
    }

    fn accept(&mut self, value: u32) {
        match self.driver_feature_select {
            0 => self.accepted = self.accepted >> 32 << 32 | u64::from(value),
            1 => self.accepted = self.accepted & 0xffff_ffff | u64::from(value) << 32,
            _ => (),
        }
    }

    fn set_queue(&mut self, at: u64, value: u32, word: u16) {
        let Some(queue) = self.queues.get_mut(usize::from(self.select)) else {
            return;
        };
        if queue.is_enabled {
            return;
        }
        let half = |old: u64| {
            let value = u64::from(value);
            if at & 4 == 0 {
                old >> 32 << 32 | value
            } else {
                old & 0xffff_ffff | value << 32
            }
        };
        match at {
            0x18 if word.is_power_of_two() && word <= self.most_entries => queue.size = word,
            0x1a => queue.vector = known(word),
            0x1c => queue.is_enabled = word == 1,
            0x20 | 0x24 => queue.desc = half(queue.desc),
            0x28 | 0x2c => queue.driver = half(queue.driver),
            0x30 | 0x34 => queue.device = half(queue.device),
            _ => (),
        }
    }

    fn set_status(&mut self, status: u8, bus: &mut Bus<'_>) {
        if status == 0 {
            if self.control.lock().never_resets {
                self.is_defiant = true;
            } else {
                self.forget();
                bus.set_intx(false);
            }
            return;
        }
        if status & FAILED != 0 && self.status & FAILED == 0 {
            self.control.lock().counts.failed += 1;
        }
        let mut status = status | self.status & NEEDS_RESET;
        let is_known = self.accepted & !self.offered() == 0 && self.accepted & VERSION_1 != 0;
        if status & FEATURES_OK != 0 && !is_known {
            status &= !FEATURES_OK;
        }
        self.status = status;
        if self.is_running() {
            self.take_all(bus);
        }
    }
}

/// Returns a vector that there is, or none.
const fn known(vector: u16) -> u16 {
    if vector < VECTORS { vector } else { NO_VECTOR }
}

impl Registers for Device {
    fn read(&mut self, region: u32, offset: u64, data: &mut [u8], bus: &mut Bus<'_>) {
        if region != 4 || self.control.lock().is_gone {
            data.fill(if region == 4 { 0xff } else { 0 });
            return;
        }
        for (at, byte) in (offset..).zip(data) {
            *byte = self.byte(at);
        }
        if offset == place::ISR && !bus.uses_messages() {
            bus.set_intx(false);
        }
    }

    fn write(&mut self, region: u32, offset: u64, data: &[u8], bus: &mut Bus<'_>) {
        if region != 4 || self.control.lock().is_gone {
            return;
        }
        let mut bytes = [0; 4];
        if data.len() > bytes.len() {
            // A driver writes halves.
            return;
        }
        bytes[..data.len()].copy_from_slice(data);
        let value = u32::from_le_bytes(bytes);
        match offset {
            ..place::ISR => self.set_common(offset, value, bus),
            place::NOTIFY.. => self.notify(offset - place::NOTIFY, bus),
            _ => (),
        }
    }

    fn advance(&mut self, bus: &mut Bus<'_>) -> bool {
        if self.control.lock().is_gone {
            return false;
        }
        if std::mem::take(&mut self.control.lock().needs_reset) {
            self.break_down(bus);
        }
        let waiting = self.waiting.iter().flatten();
        let waiting = waiting.filter(|_| self.is_defiant);
        for chain in self.hanging.iter().chain(waiting) {
            chain.scribble(bus);
        }
        if self.kind.has_changed() {
            self.change(bus);
        }
        if self.is_running() {
            for number in 0..self.kind.queues() {
                let is_waiting = |waiting: &Vec<Chain>| !waiting.is_empty();
                if self
                    .waiting
                    .get(usize::from(number))
                    .is_some_and(is_waiting)
                    && self.deliver(number, bus).is_err()
                {
                    self.break_down(bus);
                }
            }
        }
        false
    }

    fn reset(&mut self, bus: &mut Bus<'_>) {
        let is_immune = {
            let control = self.control.lock();
            control.ignores_reset || control.is_gone
        };
        if !is_immune {
            self.forget();
            bus.set_intx(false);
        }
    }
}
