//! An open device.

use core::time::Duration;

use vfio_core::pci::Command;
use vfio_core::sys::{Errno, InfoRequest, Protection, Span};
use vfio_core::wire::abi::{IrqSetFlags, pci_irq, pci_region};
use vfio_core::wire::server::IrqRequest;

use super::config::{self, Places};
use super::describe::{DescribeError, Description, ResetPlace};
use super::guest_pci::Event;
use super::mapping::Mapping;
use super::message::{Messages, Source};
use crate::pci::{Address, RegionKind, Registers, Space, Width};
use crate::{clock, registers};

/// A device, or a place for one.
#[derive(Debug)]
pub(super) struct Device {
    /// Its group, while it is open.
    pub(super) group: Option<u8>,
    address: Address,
    description: Description,
    /// The places of its BARs: its own, and what a driver sees.
    own: Places,
    seen: Places,
    messages: Messages,
}

/// What is read to, or written from.
pub(super) enum Bytes<'a> {
    Read(&'a mut [u8]),
    Write(&'a [u8]),
}

/// How long a reset takes at most before the device answers (PCI Express base specification,
/// section 6.6.2), and how long one is waited for that does not answer then.
const RESET_TIME: Duration = Duration::from_millis(100);
const RESET_PATIENCE: u32 = 10;

/// What starts a reset, in the high byte of a device control register and in the advanced
/// features.
const START_EXPRESS: u16 = 1 << 15;
const START_ADVANCED: u8 = 1 << 0;

impl Device {
    /// None yet.
    pub(super) const CLOSED: Self = Self {
        group: None,
        address: Address::new(0, 0, 0),
        description: Description::UNKNOWN,
        own: Places::UNKNOWN,
        seen: Places::UNKNOWN,
        messages: Messages::Off,
    };

    /// Does what vfio-pci does before the first file of a device is open: its registers answer, and
    /// it does not reach memory.
    pub(super) fn open(&mut self, group: u8, address: Address) -> Result<(), DescribeError> {
        self.address = address;
        let registers = self.registers();
        let mut command = registers.command() & !Command::MASTER;
        registers.set_command(command);
        self.description.read(registers)?;
        self.own.read(registers);
        self.seen = self.own;
        command |= Command::INTX_DISABLE;
        for region in self
            .description
            .bars
            .iter()
            .filter(|region| region.has_place())
        {
            command |= match region.kind {
                RegionKind::Io => Command::IO,
                _ => Command::MEMORY,
            };
        }
        registers.set_command(command);
        self.group = Some(group);
        Ok(())
    }

    /// Does what vfio-pci does after the last file of a device was closed.
    pub(super) fn close(&mut self) {
        let registers = self.registers();
        let source = Source {
            description: &self.description,
            registers,
        };
        self.messages.disable(source);
        registers.set_command(registers.command() & !Command::MASTER);
        self.group = None;
    }

    fn registers(&self) -> Registers<Space> {
        Registers::new(Space, self.address)
    }

    /// Answers an INFO ioctl.
    pub(super) fn info(&self, request: InfoRequest, reply: &mut [u8]) -> Result<(), Errno> {
        self.description.answer(request, reply)
    }

    /// Serves `VFIO_DEVICE_SET_IRQS`.
    pub(super) fn set_irqs(
        &mut self,
        argument: &[u8],
        events: &[Option<&Event>],
    ) -> Result<(), Errno> {
        let irqs = self.description.irqs();
        let request = IrqRequest::parse(argument, &irqs)?;
        if request.action != IrqSetFlags::ACTION_TRIGGER {
            return Err(Errno::ENOTTY);
        }
        match request.index {
            pci_irq::MSI | pci_irq::MSIX => {
                let source = Source {
                    registers: self.registers(),
                    description: &self.description,
                };
                self.messages.trigger(source, &request, events)
            }
            // Its count is 0: `parse` refused it.
            _ => Err(Errno::EINVAL),
        }
    }

    /// Resets the function.
    pub(super) fn reset(&mut self) -> Result<(), Errno> {
        let reset = self.description.reset;
        if reset == ResetPlace::Missing {
            return Err(Errno::EINVAL);
        }
        let registers = self.registers();
        let command = registers.command();
        // Nothing is under way when it starts.
        registers.set_command(command & !(Command::MASTER | Command::MEMORY | Command::IO));
        match reset {
            ResetPlace::Express { register } => {
                registers.set_word(register, registers.word(register) | START_EXPRESS);
            }
            ResetPlace::Advanced { register } => registers.set_byte(register, START_ADVANCED),
            ResetPlace::Missing => (),
        }
        for _ in 0..RESET_PATIENCE {
            clock::sleep(RESET_TIME).map_err(|_| Errno::EIO)?;
            if !registers.is_gone() {
                self.own.restore(registers);
                registers.set_command(command);
                let description = &self.description;
                let source = Source {
                    description,
                    registers,
                };
                return self.messages.restore(source);
            }
        }
        Err(Errno::EIO)
    }

    /// Maps a stretch of a BAR.
    pub(super) fn map(&self, span: Span, protection: Protection) -> Result<Mapping, Errno> {
        let (index, start) = Description::locate(span.offset);
        let len = crate::wide(span.len);
        let end = start.checked_add(len).ok_or(Errno::EINVAL)?;
        let index = u32::try_from(index).map_err(|_| Errno::EINVAL)?;
        let bar = self.description.bar(index).ok_or(Errno::EINVAL)?;
        let page = crate::wide(super::PAGE);
        let can_map = bar.kind != RegionKind::Io && bar.address.is_multiple_of(page);
        if !can_map || len == 0 || !start.is_multiple_of(page) || end > bar.size {
            return Err(Errno::EINVAL);
        }
        if !self.description.may_map(index, start..end) {
            return Err(Errno::EINVAL);
        }
        let at = |offset| bar.address.checked_add(offset).ok_or(Errno::EINVAL);
        Mapping::new(at(start)?..at(end)?, protection)
    }

    /// Reads or writes at an offset of the device's file.
    pub(super) fn transfer(&mut self, mut bytes: Bytes<'_>, offset: u64) -> Result<usize, Errno> {
        let len = match &bytes {
            Bytes::Read(to) => to.len(),
            Bytes::Write(from) => from.len(),
        };
        let place = self.place(len, offset)?;
        let mut done = 0_usize;
        while done < place.len {
            let at = place.position.saturating_add(crate::wide(done));
            let width = place.width(at, done);
            let end = done.saturating_add(width);
            let mut word = [0; 8];
            if let Bytes::Write(from) = &bytes {
                let from = from.get(done..end).unwrap_or_default();
                word.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            }
            let value = matches!(bytes, Bytes::Write(_)).then_some(u64::from_le_bytes(word));
            word = self.step(place.index, at, width, value)?.to_le_bytes();
            if let Bytes::Read(to) = &mut bytes {
                let to = to.get_mut(done..end).unwrap_or_default();
                to.iter_mut().zip(&word).for_each(|(to, from)| *to = *from);
            }
            done = end;
        }
        Ok(done)
    }

    /// Makes an access of `width` bytes, that writes `value` or reads; what was read.
    #[inline(never)]
    fn step(
        &mut self,
        index: u32,
        at: u64,
        width: usize,
        value: Option<u64>,
    ) -> Result<u64, Errno> {
        let Some(bar) = self.description.bar(index) else {
            let at = u16::try_from(at).map_err(|_| Errno::EFAULT)?;
            return Ok(self.config(at, width, value));
        };
        if self.description.touches_table(index, at, width) {
            return Ok(u64::MAX);
        }
        let address = bar.address.checked_add(at).ok_or(Errno::EFAULT)?;
        if bar.kind != RegionKind::Io {
            return Mapping::transfer(address, width, value);
        }
        let port = u16::try_from(address).map_err(|_| Errno::EFAULT)?;
        Ok(registers::port(port, width, value))
    }

    /// Reads or writes a register of configuration space; what is the shim's own is not written.
    fn config(&mut self, at: u16, width: usize, value: Option<u64>) -> u64 {
        let registers = self.registers();
        let whole = match width {
            1 => Width::Byte,
            2 => Width::Word,
            _ => Width::Long,
        };
        let [a, b, c, d, ..] = match value {
            None => u64::from(registers.get(at, whole)),
            Some(value) => value,
        }
        .to_le_bytes();
        let mut bytes = [a, b, c, d];
        if value.is_none() {
            self.seen.show(at, &mut bytes);
            return u32::from_le_bytes(bytes).into();
        }
        let mut ours = (at..).take(width);
        if !ours.any(|at| Places::cover(at) || config::is_own(&self.description, at)) {
            registers.set(at, whole, u32::from_le_bytes(bytes));
            return 0;
        }
        for (at, byte) in (at..).zip(bytes).take(width) {
            let is_place = self.seen.take(&self.description, at, byte);
            if !is_place && !config::is_own(&self.description, at) {
                registers.set_byte(at, byte);
            }
        }
        0
    }

    /// Finds what an access is of.
    fn place(&self, len: usize, offset: u64) -> Result<Place, Errno> {
        let mut place = Place {
            index: pci_region::CONFIG,
            width: 4,
            position: 0,
            len,
        };
        if len == 0 {
            return Ok(place);
        }
        let (index, position) = Description::locate(offset);
        let index = u32::try_from(index).map_err(|_| Errno::EINVAL)?;
        if index == pci_region::CONFIG {
            let size = u64::from(self.description.config_size);
            let end = position.checked_add(crate::wide(len));
            // Past the end vfio-pci transfers nothing at all.
            return match end {
                _ if position >= size => Err(Errno::EINVAL),
                Some(end) if end <= size => Ok(Place { position, ..place }),
                _ => Err(Errno::EFAULT),
            };
        }
        let bar = self.description.bar(index).ok_or(Errno::EINVAL)?;
        if position >= bar.size {
            return Err(Errno::EINVAL);
        }
        if bar.kind != RegionKind::Io {
            place.width = 8;
            if !self.registers().command().contains(Command::MEMORY) {
                return Err(Errno::EIO);
            }
        }
        let left = usize::try_from(bar.size.saturating_sub(position)).unwrap_or(usize::MAX);
        Ok(Place {
            index,
            position,
            len: len.min(left),
            ..place
        })
    }
}

/// What an access is of.
#[derive(Clone, Copy)]
struct Place {
    /// The index of a BAR, or else of configuration space.
    index: u32,
    /// The widest single access in bytes.
    width: usize,
    /// Bytes from its start.
    position: u64,
    /// Bytes.
    len: usize,
}

impl Place {
    /// Returns how wide an access at `at` is, after `done` bytes: as wide as can be.
    fn width(&self, at: u64, done: usize) -> usize {
        let left = self.len.saturating_sub(done);
        let mut width = self.width;
        while width > 1 && (width > left || at & crate::wide(width).wrapping_sub(1) != 0) {
            width >>= 1;
        }
        width
    }
}
