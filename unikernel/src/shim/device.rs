//! An open device.

use core::time::Duration;

use vfio_core::abi::{IrqSetFlags, pci_irq, pci_region};
use vfio_core::pci::Command;
use vfio_core::server::IrqRequest;
use vfio_core::sys::{Errno, InfoRequest, Protection, Span};

use super::config::{self, Places};
use super::describe::{DescribeError, Description, ResetPlace};
use super::mapping::Mapping;
use super::message::{Messages, Source};
use crate::pci::{Address, Region, RegionKind, Registers, Space, Width};
use crate::{clock, port};

/// An open device.
#[derive(Debug)]
pub(super) struct Device {
    address: Address,
    description: Description,
    /// The places of its BARs: its own, and what a driver sees.
    own: Places,
    seen: Places,
    messages: Messages,
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
    /// What vfio-pci does before the first file of a device is open: its registers answer, and it
    /// does not reach memory.
    pub(super) fn open(registers: Registers<'_, Space>) -> Result<Self, DescribeError> {
        let command = registers.command();
        registers.set_command(command & !Command::MASTER);
        let description = Description::read(registers)?;
        let places = Places::read(registers);
        let mut command = command & !Command::MASTER | Command::INTX_DISABLE;
        for region in description.bars.iter().flatten() {
            command |= match region.kind {
                RegionKind::Io => Command::IO,
                _ => Command::MEMORY,
            };
        }
        registers.set_command(command);
        Ok(Self {
            address: registers.address(),
            description,
            own: places,
            seen: places,
            messages: Messages::Off,
        })
    }

    /// What vfio-pci does after the last file of a device was closed.
    pub(super) fn close(&mut self, space: &Space) {
        let registers = self.registers(space);
        let source = Source {
            description: &self.description,
            registers,
        };
        self.messages.disable(source);
        registers.set_command(registers.command() & !Command::MASTER);
    }

    fn registers<'s>(&self, space: &'s Space) -> Registers<'s, Space> {
        Registers::new(space, self.address)
    }

    /// Answers an INFO ioctl.
    pub(super) fn info(&self, request: InfoRequest, reply: &mut [u8]) -> Result<(), Errno> {
        self.description.answer(request, reply)
    }

    /// `VFIO_DEVICE_SET_IRQS`.
    pub(super) fn set_irqs(&mut self, space: &Space, argument: &[u8]) -> Result<(), Errno> {
        let irqs = self.description.irqs();
        let request = IrqRequest::parse(argument, &irqs)?;
        if request.action != IrqSetFlags::ACTION_TRIGGER {
            return Err(Errno::ENOTTY);
        }
        match request.index {
            pci_irq::MSI | pci_irq::MSIX => {
                let source = Source {
                    registers: self.registers(space),
                    description: &self.description,
                };
                self.messages.trigger(source, &request)
            }
            // Its count is 0: `parse` refused it.
            _ => Err(Errno::EINVAL),
        }
    }

    /// Resets the function.
    pub(super) fn reset(&mut self, space: &Space) -> Result<(), Errno> {
        let reset = self.description.reset.ok_or(Errno::EINVAL)?;
        let registers = self.registers(space);
        let command = registers.command();
        // Nothing is under way when it starts.
        registers.set_command(command & !(Command::MASTER | Command::MEMORY | Command::IO));
        match reset {
            ResetPlace::Express { register } => {
                registers.set_word(register, registers.word(register) | START_EXPRESS);
            }
            ResetPlace::Advanced { register } => registers.set_byte(register, START_ADVANCED),
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

    /// Reads at an offset of the device's file.
    pub(super) fn read(
        &mut self,
        space: &Space,
        buf: &mut [u8],
        offset: u64,
    ) -> Result<usize, Errno> {
        let place = self.place(space, buf.len(), offset)?;
        let mut done = 0_usize;
        while done < place.len {
            let mut bytes = [0; 8];
            let len = self.step(space, &place, done, &mut bytes, false)?;
            let to = buf.iter_mut().skip(done).take(len);
            to.zip(bytes).for_each(|(to, from)| *to = from);
            done = done.saturating_add(len);
        }
        Ok(done)
    }

    /// Writes at an offset of the device's file.
    pub(super) fn write(&mut self, space: &Space, buf: &[u8], offset: u64) -> Result<usize, Errno> {
        let place = self.place(space, buf.len(), offset)?;
        let mut done = 0_usize;
        while done < place.len {
            let mut bytes = [0; 8];
            let from = buf.iter().skip(done);
            bytes
                .iter_mut()
                .zip(from)
                .for_each(|(to, from)| *to = *from);
            let len = self.step(space, &place, done, &mut bytes, true)?;
            done = done.saturating_add(len);
        }
        Ok(done)
    }

    /// Makes the widest access at `done` bytes from the start of a place; how wide it was.
    #[inline(never)]
    fn step(
        &mut self,
        space: &Space,
        place: &Place,
        done: usize,
        bytes: &mut [u8; 8],
        writes: bool,
    ) -> Result<usize, Errno> {
        let at = place.position.saturating_add(crate::wide(done));
        let most = match place.bar {
            Some((_, bar)) if bar.kind != RegionKind::Io => 8,
            _ => 4,
        };
        let left = place.len.saturating_sub(done).min(most);
        let fits = |width: &usize| *width <= left && at.is_multiple_of(crate::wide(*width));
        let width = [8, 4, 2].into_iter().find(fits).unwrap_or(1);
        let value = writes.then_some(u64::from_le_bytes(*bytes));
        let Some((index, bar)) = place.bar else {
            let at = u16::try_from(at).map_err(|_| Errno::EFAULT)?;
            let [low, ..] = bytes.as_chunks_mut::<4>().0 else {
                return Err(Errno::EFAULT);
            };
            self.config(space, at, width, low, writes);
            return Ok(width);
        };
        if !self.description.touches_table(index, at, width) {
            *bytes = transfer(&bar, at, width, value)?.to_le_bytes();
        } else if !writes {
            *bytes = [0xff; 8];
        }
        Ok(width)
    }

    /// Reads or writes a register of configuration space; what is the shim's own is not written.
    fn config(&mut self, space: &Space, at: u16, width: usize, bytes: &mut [u8; 4], writes: bool) {
        let registers = self.registers(space);
        let whole = match width {
            1 => Width::Byte,
            2 => Width::Word,
            _ => Width::Long,
        };
        if !writes {
            *bytes = registers.get(at, whole).to_le_bytes();
            return self.seen.show(at, bytes);
        }
        let mut ours = (at..).take(width);
        if !ours.any(|at| Places::cover(at) || config::is_own(&self.description, at)) {
            return registers.set(at, whole, u32::from_le_bytes(*bytes));
        }
        for (at, byte) in (at..).zip(*bytes).take(width) {
            let is_place = self.seen.take(&self.description, at, byte);
            if !is_place && !config::is_own(&self.description, at) {
                registers.set_byte(at, byte);
            }
        }
    }

    /// Finds what an access is of.
    fn place(&self, space: &Space, len: usize, offset: u64) -> Result<Place, Errno> {
        if len == 0 {
            return Ok(Place {
                bar: None,
                position: 0,
                len,
            });
        }
        let (index, position) = Description::locate(offset);
        let index = u32::try_from(index).map_err(|_| Errno::EINVAL)?;
        if index == pci_region::CONFIG {
            let size = u64::from(self.description.config_size);
            let end = position.checked_add(crate::wide(len));
            // Past the end vfio-pci transfers nothing at all.
            return match end {
                _ if position >= size => Err(Errno::EINVAL),
                Some(end) if end <= size => Ok(Place {
                    bar: None,
                    position,
                    len,
                }),
                _ => Err(Errno::EFAULT),
            };
        }
        let bar = self
            .description
            .bar(index)
            .filter(|bar| position < bar.size);
        let bar = bar.ok_or(Errno::EINVAL)?;
        let command = self.registers(space).command();
        if bar.kind != RegionKind::Io && !command.contains(Command::MEMORY) {
            return Err(Errno::EIO);
        }
        let left = usize::try_from(bar.size.saturating_sub(position)).unwrap_or(usize::MAX);
        Ok(Place {
            bar: Some((index, bar)),
            position,
            len: len.min(left),
        })
    }
}

/// What an access is of.
struct Place {
    /// A BAR, or else configuration space.
    bar: Option<(u32, Region)>,
    /// Bytes from its start.
    position: u64,
    /// Bytes.
    len: usize,
}

/// Reads, or writes `value`, in one access of 1, 2, 4 or 8 bytes; what was read.
fn transfer(bar: &Region, at: u64, width: usize, value: Option<u64>) -> Result<u64, Errno> {
    let address = bar.address.checked_add(at).ok_or(Errno::EFAULT)?;
    if bar.kind != RegionKind::Io {
        return Mapping::transfer(address, width, value);
    }
    let port = u16::try_from(address).map_err(|_| Errno::EFAULT)?;
    let value = value.map(u64::to_le_bytes);
    Ok(match (width, value) {
        (1, None) => port::read::<u8>(port).into(),
        (2, None) => port::read::<u16>(port).into(),
        (_, None) => port::read::<u32>(port).into(),
        (1, Some([a, ..])) => {
            port::write(port, a);
            0
        }
        (2, Some([a, b, ..])) => {
            port::write(port, u16::from_le_bytes([a, b]));
            0
        }
        (_, Some([a, b, c, d, ..])) => {
            port::write(port, u32::from_le_bytes([a, b, c, d]));
            0
        }
    })
}
