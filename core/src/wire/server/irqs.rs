//! `VFIO_DEVICE_SET_IRQS`: what a driver asks for, checked as the kernel checks it before it looks
//! at what is enabled (`vfio_set_irqs_validate_and_prepare` of drivers/vfio/vfio_main.c).

use zerocopy::FromBytes;

use super::IrqReply;
use crate::wire::abi::{IrqFlags, IrqSet, IrqSetFlags, pci_irq};
use crate::wire::errno::Errno;

/// A request that concerns interrupts which are there.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct IrqRequest<'a> {
    /// The index.
    pub index: u32,
    /// The first interrupt.
    pub start: usize,
    /// How many.
    pub count: usize,
    /// What is to happen: one of the actions.
    pub action: IrqSetFlags,
    /// To which of them, or with what.
    pub data: IrqData<'a>,
    /// How many interrupts the index has.
    pub available: usize,
    /// Whether more can be enabled later.
    pub grows: bool,
}

/// To which interrupts of a request it happens.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum IrqData<'a> {
    /// To all.
    None,
    /// To those whose byte is not 0.
    Bools(&'a [u8]),
    /// When events of these numbers are signalled, or by signalling them, one for each; a
    /// negative number stands for none.
    Events(&'a [[u8; 4]]),
    /// As [`IrqData::Events`], with descriptors that came beside the request, one for each; or
    /// with none for any of them.
    Beside {
        /// How many came.
        descriptors: usize,
    },
}

impl<'a> IrqRequest<'a> {
    /// Reads the argument of the ioctl on a device with the interrupts `irqs`.
    ///
    /// # Errors
    /// `EINVAL` for interrupts that are not there, for flags that are not known, and for data that
    /// is cut short.
    pub fn parse(argument: &'a [u8], irqs: &[Option<IrqReply>]) -> Result<Self, Errno> {
        Self::parse_with(argument, irqs, |data, count| {
            let (numbers, _) = data.as_chunks::<4>();
            let numbers = numbers.get(..count).ok_or(Errno::EINVAL)?;
            Ok(IrqData::Events(numbers))
        })
    }

    /// Reads the request of a vfio-user client, whose events are not numbers in it but so many
    /// descriptors beside it.
    ///
    /// # Errors
    /// As [`IrqRequest::parse`]; `EINVAL` for another number of descriptors than of interrupts,
    /// unless there are none.
    pub fn parse_beside(
        argument: &'a [u8],
        irqs: &[Option<IrqReply>],
        descriptors: usize,
    ) -> Result<Self, Errno> {
        let request = Self::parse_with(argument, irqs, |_, count| {
            if descriptors == 0 || descriptors == count {
                Ok(IrqData::Beside { descriptors })
            } else {
                Err(Errno::EINVAL)
            }
        })?;
        match request.data {
            IrqData::None | IrqData::Bools(_) if descriptors > 0 => Err(Errno::EINVAL),
            _ => Ok(request),
        }
    }

    /// Reads a request whose events are found by `events`.
    fn parse_with(
        argument: &'a [u8],
        irqs: &[Option<IrqReply>],
        events: impl FnOnce(&'a [u8], usize) -> Result<IrqData<'a>, Errno>,
    ) -> Result<Self, Errno> {
        let (head, data) = IrqSet::read_from_prefix(argument).map_err(|_| Errno::EINVAL)?;
        let known = IrqSetFlags::DATA_TYPE_MASK | IrqSetFlags::ACTION_TYPE_MASK;
        let is_refused = head.index >= pci_irq::NUM
            || head.count >= u32::MAX.saturating_sub(head.start)
            || head.flags.intersects(!known);
        if is_refused {
            return Err(Errno::EINVAL);
        }
        let to_usize = |number| usize::try_from(number).map_err(|_| Errno::EINVAL);
        let irq = irqs.get(to_usize(head.index)?).copied().flatten();
        let irq = irq.ok_or(Errno::EINVAL)?;
        let end = head.start.saturating_add(head.count);
        if head.start >= irq.count || end > irq.count {
            return Err(Errno::EINVAL);
        }
        let count = to_usize(head.count)?;
        let kind = head.flags & IrqSetFlags::DATA_TYPE_MASK;
        let data = if kind == IrqSetFlags::DATA_NONE {
            IrqData::None
        } else if kind == IrqSetFlags::DATA_BOOL {
            IrqData::Bools(data.get(..count).ok_or(Errno::EINVAL)?)
        } else if kind == IrqSetFlags::DATA_EVENTFD {
            events(data, count)?
        } else {
            return Err(Errno::EINVAL);
        };
        Ok(Self {
            index: head.index,
            start: to_usize(head.start)?,
            count,
            action: head.flags & IrqSetFlags::ACTION_TYPE_MASK,
            data,
            available: to_usize(irq.count)?,
            grows: !irq.flags.contains(IrqFlags::NORESIZE),
        })
    }

    /// Tells whether it happens to interrupt `nth` of the request's.
    #[must_use]
    pub fn concerns(&self, nth: usize) -> bool {
        match self.data {
            IrqData::None => true,
            IrqData::Bools(bools) => bools.get(nth).is_some_and(|byte| *byte != 0),
            IrqData::Events(_) | IrqData::Beside { .. } => false,
        }
    }

    /// Tells whether it takes all interrupts of its index away.
    #[must_use]
    pub const fn disables(&self) -> bool {
        self.count == 0 && matches!(self.data, IrqData::None)
    }
}

impl<'a> IrqData<'a> {
    /// Returns the numbers of the events, in their order. None for a negative one.
    pub fn events(self) -> impl Iterator<Item = Option<i32>> + use<'a> {
        let numbers = match self {
            Self::Events(numbers) => numbers,
            Self::None | Self::Bools(_) | Self::Beside { .. } => &[],
        };
        let number = |bytes: &[u8; 4]| i32::from_ne_bytes(*bytes);
        let of_event = |number: &i32| *number >= 0;
        numbers
            .iter()
            .map(move |bytes| Some(number(bytes)).filter(of_event))
    }
}
