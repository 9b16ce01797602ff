//! The configuration space of a PCI function.

use std::vec;
use std::vec::Vec;

/// A configuration space with a header of type 0 (PCI Local Bus Specification 3.0, 6.1), as
/// vfio-pci shows it: what the standard lets software write in the header can be written, and
/// the rest only read. Numbers are little-endian.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    bytes: Vec<u8>,
    /// A bit that is set can be written.
    writable: Vec<u8>,
    /// Where the link to the next capability goes.
    last_link: usize,
}

/// A base address register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bar {
    /// Memory at a 32-bit address.
    Memory32 {
        /// Bytes, a power of two and 16 at least.
        size: u32,
    },
    /// Prefetchable memory at a 32-bit address.
    Prefetchable32 {
        /// Bytes, a power of two and 16 at least.
        size: u32,
    },
    /// Memory at a 64-bit address; it takes the next register, too.
    Memory64 {
        /// Bytes, a power of two and 16 at least.
        size: u64,
    },
    /// I/O ports.
    Io {
        /// Bytes, a power of two and 4 at least.
        size: u32,
    },
}

const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const CACHE_LINE_SIZE: usize = 0x0c;
const LATENCY_TIMER: usize = 0x0d;
const BAR0: usize = 0x10;
const ROM: usize = 0x30;
const CAPABILITIES: usize = 0x34;
const INTERRUPT_LINE: usize = 0x3c;
const INTERRUPT_PIN: usize = 0x3d;

/// Capability ids (PCI Local Bus Specification 3.0, appendix H).
const MSI: u8 = 0x05;
const MSIX: u8 = 0x11;
/// MSI control: addresses have 64 bits.
const MSI_64: u8 = 1 << 7;

/// Command: I/O, memory, bus master, parity, SERR, INTx off.
const COMMAND_WRITABLE: u16 = 0x0547;
/// Command: memory decoding.
const COMMAND_MEMORY: u8 = 1 << 1;
/// Command: the function may master the bus.
const COMMAND_MASTER: u8 = 1 << 2;
/// Command, its high byte: INTx is off.
const COMMAND_INTX_OFF: u8 = 1 << 2;
/// Status: INTx is asserted.
const STATUS_INTX: u8 = 1 << 3;
/// Status: there is a list of capabilities.
const STATUS_CAPABILITIES: u8 = 1 << 4;

impl Config {
    /// Creates the 256 bytes of a conventional PCI function. `class` is the class, the subclass and
    /// the programming interface, 8 bits each. Memory decoding is on, as vfio-pci enables it when a
    /// device is opened.
    #[must_use]
    pub fn pci(vendor: u16, device: u16, class: u32, revision: u8) -> Self {
        Self::with_len(256, vendor, device, class, revision)
    }

    /// Creates the 4096 bytes of a PCI Express function. Otherwise like [`Config::pci`].
    #[must_use]
    pub fn pcie(vendor: u16, device: u16, class: u32, revision: u8) -> Self {
        Self::with_len(4096, vendor, device, class, revision)
    }

    fn with_len(len: usize, vendor: u16, device: u16, class: u32, revision: u8) -> Self {
        let mut config = Self {
            bytes: vec![0; len],
            writable: vec![0; len],
            last_link: CAPABILITIES,
        };
        config.put(0x00, &vendor.to_le_bytes());
        config.put(0x02, &device.to_le_bytes());
        config.put(COMMAND, &[COMMAND_MEMORY]);
        config.put(0x08, &(class << 8 | u32::from(revision)).to_le_bytes());
        config.allow(COMMAND, &COMMAND_WRITABLE.to_le_bytes());
        config.allow(CACHE_LINE_SIZE, &[0xff]);
        config.allow(LATENCY_TIMER, &[0xff]);
        config.allow(INTERRUPT_LINE, &[0xff]);
        config
    }

    /// Gives the function a base address register; `index` is 0 to 5.
    #[must_use]
    pub fn with_bar(mut self, index: usize, bar: Bar) -> Self {
        let at = BAR0.saturating_add(index.saturating_mul(4));
        match bar {
            Bar::Memory32 { size } => self.bar32(at, 0x0, !size.wrapping_sub(1) & !0xf),
            Bar::Prefetchable32 { size } => self.bar32(at, 0x8, !size.wrapping_sub(1) & !0xf),
            Bar::Io { size } => self.bar32(at, 0x1, !size.wrapping_sub(1) & !0x3),
            Bar::Memory64 { size } => {
                self.put(at, &[0x4]);
                self.allow(at, &(!size.wrapping_sub(1) & !0xf).to_le_bytes());
            }
        }
        self
    }

    fn bar32(&mut self, at: usize, kind: u8, writable: u32) {
        self.put(at, &[kind]);
        self.allow(at, &writable.to_le_bytes());
    }

    /// Gives the function an expansion ROM of `size` bytes, a power of two and 2048 at least.
    #[must_use]
    pub fn with_rom(mut self, size: u32) -> Self {
        let enable = 1;
        self.allow(
            ROM,
            &(!size.wrapping_sub(1) & !0x7ff | enable).to_le_bytes(),
        );
        self
    }

    /// Connects the function to an interrupt pin: 1 for INTA to 4 for INTD.
    #[must_use]
    pub fn with_interrupt_pin(mut self, pin: u8) -> Self {
        self.put(INTERRUPT_PIN, &[pin]);
        self
    }

    /// Appends a capability at `at`, a multiple of 4 from 0x40 on; `body` is what follows its id
    /// and its link.
    #[must_use]
    pub fn with_capability(mut self, at: u8, id: u8, body: &[u8]) -> Self {
        let start = usize::from(at);
        if let Some(status) = self.bytes.get_mut(STATUS) {
            *status |= STATUS_CAPABILITIES;
        }
        self.put(self.last_link, &[at]);
        self.put(start, &[id, 0]);
        self.put(start.saturating_add(2), body);
        self.last_link = start.saturating_add(1);
        self
    }

    /// Returns the bytes: none where there is no configuration space.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Writes at `at` what can be written.
    pub fn write(&mut self, at: usize, data: &[u8]) {
        let cells = self.bytes.iter_mut().zip(&self.writable).skip(at);
        for ((byte, writable), new) in cells.zip(data) {
            *byte = *byte & !writable | new & writable;
        }
    }

    /// Lets software write what enables and masks messages, as the function itself does: vfio-pci
    /// keeps it to itself.
    #[must_use]
    pub(crate) fn with_messages(mut self) -> Self {
        if let Some(at) = self.capability(MSI) {
            let is_wide = self.bytes.get(at.saturating_add(2)).copied().unwrap_or(0) & MSI_64 != 0;
            // The control's enable bit and its count; the address and the data.
            self.allow(at.saturating_add(2), &[0x71]);
            self.allow(at.saturating_add(4), &[0xfc, 0xff, 0xff, 0xff]);
            let data = if is_wide { 12 } else { 8 };
            if is_wide {
                self.allow(at.saturating_add(8), &[0xff; 4]);
            }
            self.allow(at.saturating_add(data), &[0xff; 2]);
        }
        if let Some(at) = self.capability(MSIX) {
            // The enable bit, and the mask of the whole function.
            self.allow(at.saturating_add(3), &[0xc0]);
        }
        self
    }

    /// Tells whether MSI is enabled.
    pub(crate) fn has_msi_on(&self) -> bool {
        self.control(MSI, 2) & 1 != 0
    }

    /// Tells whether MSI-X is enabled, and whether all of its vectors are masked.
    pub(crate) fn msix_state(&self) -> (bool, bool) {
        let control = self.control(MSIX, 3);
        (control & 0x80 != 0, control & 0x40 != 0)
    }

    /// Finds where the MSI-X table or its pending bits are: the region, and bytes from its start.
    pub(crate) fn msix_place(&self, is_pending: bool) -> Option<(u32, u64)> {
        let at = self.capability(MSIX)?;
        let at = at.checked_add(if is_pending { 8 } else { 4 })?;
        let word = u32::from_le_bytes(*self.bytes.get(at..)?.first_chunk()?);
        Some((word & 7, u64::from(word & !7)))
    }

    fn control(&self, id: u8, byte: usize) -> u8 {
        let at = self.capability(id).and_then(|at| at.checked_add(byte));
        at.and_then(|at| self.bytes.get(at)).copied().unwrap_or(0)
    }

    /// Finds where the first capability of an id is.
    fn capability(&self, id: u8) -> Option<usize> {
        let mut at = usize::from(*self.bytes.get(CAPABILITIES)?);
        // No list has more: each takes four bytes of the 192 behind the header.
        for _ in 0..48 {
            match self.bytes.get(at..)? {
                _ if at < 0x40 => return None,
                [found, ..] if *found == id => return Some(at),
                [_, next, ..] => at = usize::from(*next),
                _ => return None,
            }
        }
        None
    }

    /// Tells whether the function answers on the memory of its BARs.
    pub(crate) fn decodes_memory(&self) -> bool {
        let command = self.bytes.get(COMMAND);
        command.is_none_or(|command| command & COMMAND_MEMORY != 0)
    }

    /// Tells whether the function may read and write memory. One without a configuration space may.
    pub(crate) fn masters_bus(&self) -> bool {
        let command = self.bytes.get(COMMAND);
        command.is_none_or(|command| command & COMMAND_MASTER != 0)
    }

    /// Tells whether the command register turns INTx off.
    pub(crate) fn is_intx_off(&self) -> bool {
        let command = self.bytes.get(COMMAND.saturating_add(1));
        command.is_some_and(|command| command & COMMAND_INTX_OFF != 0)
    }

    /// Forbids the function to read and write memory.
    pub(crate) fn stop_mastering(&mut self) {
        if let Some(command) = self.bytes.get_mut(COMMAND) {
            *command &= !COMMAND_MASTER;
        }
    }

    /// Shows in the status whether INTx is asserted.
    pub(crate) fn show_intx(&mut self, is_asserted: bool) {
        if let Some(status) = self.bytes.get_mut(STATUS) {
            *status &= !STATUS_INTX;
            if is_asserted {
                *status |= STATUS_INTX;
            }
        }
    }

    /// Tells whether the BAR at `index` is one of memory. The ROM, index 6, is.
    pub(crate) fn is_memory_bar(&self, index: u32) -> bool {
        let low = usize::try_from(index)
            .ok()
            .and_then(|index| self.bytes.get(BAR0.checked_add(index.checked_mul(4)?)?));
        match index {
            0..=5 => low.is_some_and(|low| low & 1 == 0),
            6 => true,
            _ => false,
        }
    }

    fn put(&mut self, at: usize, data: &[u8]) {
        let cells = self.bytes.iter_mut().skip(at);
        cells.zip(data).for_each(|(to, from)| *to = *from);
    }

    fn allow(&mut self, at: usize, bits: &[u8]) {
        let cells = self.writable.iter_mut().skip(at);
        cells.zip(bits).for_each(|(to, from)| *to |= from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dword(config: &Config, at: usize) -> u32 {
        u32::from_le_bytes(config.bytes()[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn bars_tell_their_size() {
        let mut config = Config::pci(0x1234, 0x11e8, 0x00_ff00, 0x10)
            .with_bar(0, Bar::Memory32 { size: 1 << 20 })
            .with_bar(1, Bar::Io { size: 32 })
            .with_bar(2, Bar::Memory64 { size: 1 << 33 })
            .with_rom(1 << 17);
        for at in [0x10, 0x14, 0x18, 0x1c, 0x20, 0x30] {
            config.write(at, &[0xff; 4]);
        }
        assert_eq!(dword(&config, 0x10), 0xfff0_0000);
        assert_eq!(dword(&config, 0x14), 0xffff_ffe1);
        assert_eq!(dword(&config, 0x18), 0x4);
        assert_eq!(dword(&config, 0x1c), 0xffff_fffe);
        assert_eq!(dword(&config, 0x20), 0);
        assert_eq!(dword(&config, 0x30), 0xfffe_0001);
    }

    #[test]
    fn ids_and_capabilities_are_read_only() {
        let mut config = Config::pcie(0x1b36, 0x0010, 0x01_0802, 2)
            .with_capability(0x40, 0x11, &[64, 0])
            .with_capability(0x80, 0x10, &[2, 0]);
        let before = config.clone();
        config.write(0, &[0xff; 4]);
        config.write(8, &[0xff; 4]);
        config.write(0x40, &[0xff; 0x80]);
        assert_eq!(config, before);
        assert_eq!(config.bytes()[0x34], 0x40);
        assert_eq!(config.bytes()[0x40..0x44], [0x11, 0x80, 64, 0]);
        assert_eq!(config.bytes()[0x80..0x84], [0x10, 0x00, 2, 0]);
        assert_eq!(config.bytes()[0x06] & 0x10, 0x10);
    }

    #[test]
    fn memory_decoding_follows_the_command() {
        let mut config = Config::pci(0x1234, 0x11e8, 0x00_ff00, 0x10);
        assert!(config.decodes_memory());
        config.write(0x04, &[0]);
        assert!(!config.decodes_memory());
    }

    #[test]
    fn what_enables_messages_is_written_where_nobody_else_does() {
        let with = |id, body: &[u8]| {
            let config = Config::pci(0x1234, 0x11e8, 0, 0).with_capability(0x40, id, body);
            config.with_messages()
        };
        let mut msi = with(MSI, &[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert!(!msi.has_msi_on());
        msi.write(0x42, &[0xff; 12]);
        assert!(msi.has_msi_on());
        assert_eq!(dword(&msi, 0x40), 0x00f1_0005);
        assert_eq!(dword(&msi, 0x44), 0xffff_fffc);
        assert_eq!(dword(&msi, 0x4c), 0x0000_ffff);
        let mut msix = with(MSIX, &[64, 0, 0x00, 0x20, 0, 0, 0x04, 0x30, 0, 0]);
        assert_eq!(msix.msix_place(false), Some((0, 0x2000)));
        assert_eq!(msix.msix_place(true), Some((4, 0x3000)));
        msix.write(0x42, &[0xff, 0x80]);
        assert_eq!(msix.msix_state(), (true, false));
        msix.write(0x43, &[0xc0]);
        assert_eq!(msix.msix_state(), (true, true));
    }
}
