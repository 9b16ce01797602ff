//! Message-signalled interrupts: which vectors a device has, and what counts when they come.

use core::ops::Range;

use heapless::Vec;
use vfio_core::mmio::Window;
use vfio_core::pci::{Command, MsiControl, MsixControl, MsixEntry, VectorControl};
use vfio_core::sys::{Errno, Protection};
use vfio_core::wire::abi::pci_irq;
use vfio_core::wire::server::{IrqData, IrqRequest};

use super::describe::{Description, MsiPlace, MsixPlace};
use super::guest_pci::Event;
use super::mapping::Mapping;
use crate::apic;
use crate::interrupts::{self, LINES, Lines};
use crate::pci::{RegionKind, Registers, Spaces};

/// `ERANGE`: no vectors at all were asked for.
const ERANGE: Errno = Errno(34);

/// What of a device's messages is enabled.
#[derive(Debug, Default)]
pub(super) enum Messages {
    /// Nothing.
    #[default]
    Off,
    /// MSI: vectors that lie together, and how many of them are in use.
    Msi { lines: Lines, count: usize },
    /// MSI-X: each vector by itself.
    Msix { vectors: Vec<(u16, Lines), LINES> },
}

/// The device that messages come from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a, S> {
    pub(super) description: &'a Description,
    pub(super) registers: Registers<S>,
}

impl Messages {
    /// Returns the index of what is enabled.
    const fn index(&self) -> Option<u32> {
        match self {
            Self::Off => None,
            Self::Msi { .. } => Some(pci_irq::MSI),
            Self::Msix { .. } => Some(pci_irq::MSIX),
        }
    }

    /// Serves `VFIO_DEVICE_SET_IRQS` with the action to trigger, for MSI and MSI-X.
    pub(super) fn trigger<S: Spaces>(
        &mut self,
        source: Source<'_, S>,
        request: &IrqRequest<'_>,
        events: &[Option<&Event>],
    ) -> Result<(), Errno> {
        let is_same = self.index() == Some(request.index);
        if is_same && request.disables() {
            self.disable(source);
            return Ok(());
        }
        if !is_same && self.index().is_some() {
            return Err(Errno::EINVAL);
        }
        if !matches!(request.data, IrqData::Events(_)) {
            return if is_same {
                self.signal(request);
                Ok(())
            } else {
                Err(Errno::EINVAL)
            };
        }
        if !is_same {
            self.enable(source, request)?;
        }
        let done = self.aim(source, request.start, events);
        if done.is_err() && !is_same {
            self.disable(source);
        }
        done
    }

    /// Takes everything away.
    pub(super) fn disable<S: Spaces>(&mut self, source: Source<'_, S>) {
        let before = core::mem::take(self);
        match (before, source.description.msi, source.description.msix) {
            (Self::Msi { .. }, Some(msi), _) => source.set_msi(msi, None),
            (Self::Msix { .. }, _, Some(msix)) => source.set_msix(msix, MsixControl::empty()),
            _ => (),
        }
    }

    /// Tells the device again, after a reset.
    pub(super) fn restore<S: Spaces>(&self, source: Source<'_, S>) -> Result<(), Errno> {
        match self {
            Self::Off => Ok(()),
            Self::Msi { lines, count } => {
                let msi = source.description.msi.ok_or(Errno::EIO)?;
                source.set_msi(msi, Some((lines, *count)));
                Ok(())
            }
            Self::Msix { vectors } => {
                let msix = source.description.msix.ok_or(Errno::EIO)?;
                source.start_msix(msix)?;
                let mut table = source.table(msix)?;
                for (vector, lines) in vectors {
                    table.set(*vector, lines)?;
                }
                source.set_msix(msix, MsixControl::ENABLE);
                Ok(())
            }
        }
    }

    /// Enables as many vectors as a request names, with nothing to count in yet.
    fn enable<S: Spaces>(
        &mut self,
        source: Source<'_, S>,
        request: &IrqRequest<'_>,
    ) -> Result<(), Errno> {
        let count = request.start.saturating_add(request.count);
        if count == 0 {
            return Err(ERANGE);
        }
        apic::start().map_err(|_| Errno::EIO)?;
        if request.index == pci_irq::MSI {
            let msi = source.description.msi.ok_or(Errno::EINVAL)?;
            let lines = Lines::take(count).ok_or(Errno::ENOSPC)?;
            source.set_msi(msi, Some((&lines, count)));
            *self = Self::Msi { lines, count };
        } else {
            let msix = source.description.msix.ok_or(Errno::EINVAL)?;
            source.start_msix(msix)?;
            source.set_msix(msix, MsixControl::ENABLE);
            *self = Self::Msix {
                vectors: Vec::new(),
            };
        }
        Ok(())
    }

    /// Gives vectors from `start` on their events; after one that can't have its own, none of
    /// them has any.
    fn aim<S: Spaces>(
        &mut self,
        source: Source<'_, S>,
        start: usize,
        events: &[Option<&Event>],
    ) -> Result<(), Errno> {
        let mut end = start;
        let mut done = Ok(());
        for event in events {
            done = self.aim_one(source, end, event.map(Event::place));
            end = end.saturating_add(1);
            if done.is_err() {
                for vector in start..end {
                    // Taking away needs nothing that could be missing.
                    let _ = self.aim_one(source, vector, None);
                }
                break;
            }
        }
        done
    }

    /// Has a vector count in an event, or in none.
    fn aim_one<S: Spaces>(
        &mut self,
        source: Source<'_, S>,
        vector: usize,
        event: Option<u8>,
    ) -> Result<(), Errno> {
        match self {
            Self::Off => Err(Errno::EINVAL),
            Self::Msi { count, .. } if vector >= *count && event.is_some() => Err(Errno::EINVAL),
            Self::Msi { lines, .. } => {
                lines.aim(vector, event);
                Ok(())
            }
            Self::Msix { vectors } => {
                let number = u16::try_from(vector).map_err(|_| Errno::EINVAL)?;
                let mut table = source.table(source.description.msix.ok_or(Errno::EINVAL)?)?;
                let place = vectors.iter().position(|(vector, _)| *vector == number);
                if let Some((_, lines)) = place.and_then(|place| vectors.get(place)) {
                    lines.aim(0, event);
                } else if event.is_some() {
                    let lines = Lines::take(1).ok_or(Errno::ENOSPC)?;
                    lines.aim(0, event);
                    table.set(number, &lines)?;
                    // There are as many places as there are lines.
                    let _ = vectors.push((number, lines));
                }
                if let (Some(place), None) = (place, event) {
                    table.mask(number)?;
                    vectors.swap_remove(place);
                }
                Ok(())
            }
        }
    }

    /// Signals the events of vectors, as if the device had.
    fn signal(&self, request: &IrqRequest<'_>) {
        for (nth, vector) in (0..request.count).zip(request.start..) {
            let target = match self {
                Self::Off => None,
                Self::Msi { lines, count } if vector < *count => lines.target(vector),
                Self::Msi { .. } => None,
                Self::Msix { vectors } => {
                    let is_it = |entry: &&(u16, Lines)| usize::from(entry.0) == vector;
                    vectors
                        .iter()
                        .find(is_it)
                        .and_then(|(_, lines)| lines.target(0))
                }
            };
            if let Some(event) = target.filter(|_| request.concerns(nth)) {
                interrupts::signal(event);
            }
        }
    }
}

/// Returns the address and the data of a message that this processor takes (Intel SDM, volume 3,
/// section 11.11).
fn message(lines: &Lines) -> (u32, u8) {
    (0xfee0_0000 | (apic::id() & 0xff) << 12, lines.vector())
}

impl<S: Spaces> Source<'_, S> {
    /// Tells the device where its messages go, or turns them off.
    fn set_msi(&self, msi: MsiPlace, lines: Option<(&Lines, usize)>) {
        let at = |place: u16| msi.offset.saturating_add(place);
        let kept = msi.control.bits() & !(MsiControl::ENABLE.bits() | 0x70);
        let Some((lines, count)) = lines else {
            return self.registers.set_word(at(2), kept);
        };
        let (address, data) = message(lines);
        self.registers.set_long(at(4), address);
        let data_at = if msi.control.contains(MsiControl::ADDRESS_64) {
            self.registers.set_long(at(8), 0);
            at(12)
        } else {
            at(8)
        };
        self.registers.set_word(data_at, data.into());
        let power = count.next_power_of_two().trailing_zeros();
        let several = u16::try_from(power << 4 & 0x70).unwrap_or(0);
        let control = kept | several | MsiControl::ENABLE.bits();
        self.registers.set_word(at(2), control);
    }

    fn set_msix(&self, msix: MsixPlace, flags: MsixControl) {
        let control = msix.offset.saturating_add(2);
        self.registers.set_word(control, flags.bits());
    }

    /// Turns MSI-X on with all vectors masked. It stays off where its table can't be reached.
    fn start_msix(&self, msix: MsixPlace) -> Result<(), Errno> {
        let mut table = self.table(msix)?;
        let flags = MsixControl::ENABLE | MsixControl::MASKALL;
        self.set_msix(msix, flags);
        (0..msix.table.vectors()).try_for_each(|vector| table.mask(vector))
    }

    /// Returns the table, in its BAR. Without decoding it is not to be reached.
    fn table(&self, msix: MsixPlace) -> Result<Table, Errno> {
        let bar = self
            .description
            .bar(msix.table.bar())
            .ok_or(Errno::EINVAL)?;
        let command = self.registers.command();
        if !command.contains(Command::MEMORY) || bar.kind == RegionKind::Io {
            return Err(Errno::EIO);
        }
        let Range { start, end } = msix.table.range();
        let range = bar.address.saturating_add(start)..bar.address.saturating_add(end);
        let mapping = Mapping::new(range, Protection::BOTH)?;
        let window = Window::with_permission(mapping);
        window.map(Table).map_err(|_| Errno::EACCES)
    }
}

/// The table of MSI-X.
struct Table(Window<Mapping>);

impl Table {
    /// Has a vector send its message.
    fn set(&mut self, vector: u16, lines: &Lines) -> Result<(), Errno> {
        let (address, data) = message(lines);
        self.put(vector, 0, address)?;
        self.put(vector, 4, 0)?;
        self.put(vector, 8, data.into())?;
        self.put(vector, 12, 0)
    }

    /// Holds the messages of a vector back.
    fn mask(&mut self, vector: u16) -> Result<(), Errno> {
        self.put(vector, 12, VectorControl::MASKED.bits())
    }

    #[inline(never)]
    fn put(&mut self, vector: u16, at: usize, value: u32) -> Result<(), Errno> {
        let entry = usize::try_from(MsixEntry::LEN).unwrap_or(16);
        let at = usize::from(vector).saturating_mul(entry).saturating_add(at);
        self.0.write(at, value).map_err(|_| Errno::EINVAL)
    }
}
