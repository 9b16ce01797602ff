//! Requests that name files or events: the shim puts their numbers in.

use core::mem::size_of;

use zerocopy::IntoBytes;

use super::exchange::fill;
use super::opening::feature;
use super::{Errno, Exchange, ExchangeRequest};
use crate::wire::abi::{
    BindFlags, DeviceBindIommufd, DeviceFeature, DeviceIoeventfd, DeviceLowPowerEntryWithWakeup,
    FeatureFlags, FeatureId, IommuIoasMapFile, IrqSet, IrqSetFlags, PciHotReset,
};

/// Bytes of a request for low power with an event.
pub const LOW_POWER_WAKEUP_LEN: usize =
    size_of::<DeviceFeature>() + size_of::<DeviceLowPowerEntryWithWakeup>();

impl<'a, F, E> Exchange<'a, F, E> {
    /// Makes the request `VFIO_DEVICE_BIND_IOMMUFD`, with a token where there is one. The token is
    /// a UUID, and the kernel reads its 16 bytes.
    pub fn bind_iommufd(
        argument: &'a mut DeviceBindIommufd,
        iommufd: &'a [&'a F; 1],
        token: Option<&'a mut [u8; 16]>,
    ) -> Self {
        argument.flags = match token {
            Some(_) => BindFlags::TOKEN,
            None => BindFlags::empty(),
        };
        argument.token_uuid_ptr = 0;
        Self {
            list: token.map(|token| &mut token[..]),
            ..Self::whole(ExchangeRequest::BindIommufd, argument).naming(iommufd, &[])
        }
    }

    /// Makes the request `IOMMU_IOAS_MAP_FILE` for a file.
    pub fn map_file(argument: &'a mut IommuIoasMapFile, file: &'a [&'a F; 1]) -> Self {
        Self::whole(ExchangeRequest::IoasMapFile, argument).naming(file, &[])
    }

    /// Makes `VFIO_DEVICE_SET_IRQS` with `events`, one for each interrupt, in `buffer`: 20 bytes,
    /// and 4 for each event. Of `head`, action, index and start count.
    ///
    /// # Errors
    /// `EINVAL` where the buffer is too short, and for more events than 32 bits count.
    pub fn irq_events(
        buffer: &'a mut [u8],
        head: IrqSet,
        events: &'a [Option<&'a E>],
    ) -> Result<Self, Errno> {
        let head = IrqSet {
            flags: head.flags & !IrqSetFlags::DATA_TYPE_MASK | IrqSetFlags::DATA_EVENTFD,
            count: u32::try_from(events.len()).map_err(|_| Errno::EINVAL)?,
            ..head
        };
        let argument = with_numbers(buffer, head.as_bytes(), events.len())?;
        Ok(Self::sized(ExchangeRequest::SetIrqEvents, argument)?.naming(&[], events))
    }

    /// Makes `VFIO_DEVICE_PCI_HOT_RESET` that shows `groups`, in `buffer`: 12 bytes, and 4 for each
    /// group.
    ///
    /// # Errors
    /// `EINVAL` where the buffer is too short, and for more groups than 32 bits count.
    pub fn hot_reset(buffer: &'a mut [u8], groups: &'a [&'a F]) -> Result<Self, Errno> {
        let head = PciHotReset {
            count: u32::try_from(groups.len()).map_err(|_| Errno::EINVAL)?,
            ..Default::default()
        };
        let argument = with_numbers(buffer, head.as_bytes(), groups.len())?;
        Ok(Self::sized(ExchangeRequest::PciHotReset, argument)?.naming(groups, &[]))
    }

    /// Makes `VFIO_DEVICE_IOEVENTFD`: a write whenever the event is signalled. Without an event,
    /// the write is taken away.
    pub fn ioeventfd(argument: &'a mut DeviceIoeventfd, event: &'a [Option<&'a E>; 1]) -> Self {
        Self::whole(ExchangeRequest::Ioeventfd, argument).naming(&[], event)
    }

    /// Makes `VFIO_DEVICE_FEATURE` that sets `LOW_POWER_ENTRY_WITH_WAKEUP`, in `buffer`. The kernel
    /// refuses it without an event.
    pub fn low_power_wakeup(
        buffer: &'a mut [u8; LOW_POWER_WAKEUP_LEN],
        wakeup: &'a [Option<&'a E>; 1],
    ) -> Self {
        let head = feature(FeatureFlags::SET, FeatureId::LOW_POWER_ENTRY_WITH_WAKEUP);
        let data = DeviceLowPowerEntryWithWakeup::default();
        fill(buffer, [head.as_bytes(), data.as_bytes()]);
        Self::whole(ExchangeRequest::LowPowerWakeup, buffer).naming(&[], wakeup)
    }
}

/// Writes `head` to the start of `buffer`, and returns it with room for `count` numbers behind.
///
/// # Errors
/// `EINVAL` where the buffer is too short.
fn with_numbers<'b>(
    buffer: &'b mut [u8],
    head: &[u8],
    count: usize,
) -> Result<&'b mut [u8], Errno> {
    let len = count.checked_mul(size_of::<i32>());
    let len = len.and_then(|len| len.checked_add(head.len()));
    let argument = buffer.get_mut(..len.ok_or(Errno::EINVAL)?);
    let argument = argument.ok_or(Errno::EINVAL)?;
    fill(argument, [head]);
    Ok(argument)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One whose files and events are their numbers.
    type Numbered<'a> = Exchange<'a, i32, i32>;

    #[test]
    fn what_names_a_descriptor_by_bytes_is_refused() {
        for request in [
            ExchangeRequest::SetIrqEvents,
            ExchangeRequest::PciHotReset,
            ExchangeRequest::Ioeventfd,
            ExchangeRequest::LowPowerWakeup,
            ExchangeRequest::BindIommufd,
            ExchangeRequest::IoasMapFile,
        ] {
            let mut bytes = [0; 64];
            let refused = Numbered::new(request, &mut bytes);
            assert_eq!(refused.unwrap_err(), Errno::EINVAL, "{request:?}");
            assert!(request.names_at().is_some(), "{request:?}");
        }
        let mut irqs = IrqSet {
            flags: IrqSetFlags::DATA_EVENTFD,
            ..Default::default()
        };
        let mut by_bytes = || Numbered::new(ExchangeRequest::SetIrqs, irqs.as_mut_bytes()).err();
        assert_eq!(by_bytes(), Some(Errno::EINVAL));
        irqs.flags = IrqSetFlags::DATA_BOOL;
        assert!(Numbered::new(ExchangeRequest::SetIrqs, irqs.as_mut_bytes()).is_ok());
    }

    #[test]
    fn only_a_token_that_is_there_is_pointed_at() {
        let mut bind = DeviceBindIommufd {
            flags: BindFlags::TOKEN,
            token_uuid_ptr: 0x1000,
            ..Default::default()
        };
        let parts = Numbered::bind_iommufd(&mut bind, &[&5], None).into_parts();
        assert!(parts.list.is_none());
        assert_eq!((bind.flags, bind.token_uuid_ptr), (BindFlags::empty(), 0));

        let mut token = [7; 16];
        let exchange = Numbered::bind_iommufd(&mut bind, &[&5], Some(&mut token));
        let mut parts = exchange.into_parts();
        assert_eq!(parts.list.as_deref(), Some(&[7; 16][..]));
        parts.point(0x2000, 0).unwrap();
        assert_eq!(
            (bind.flags, bind.token_uuid_ptr),
            (BindFlags::TOKEN, 0x2000)
        );
    }

    #[test]
    fn the_shim_puts_in_the_numbers_of_what_is_named() {
        let mut bind = DeviceBindIommufd {
            iommufd: 9,
            ..Default::default()
        };
        let mut parts = Numbered::bind_iommufd(&mut bind, &[&5], None).into_parts();
        assert_eq!(parts.argument[8..12], (-1_i32).to_ne_bytes());
        parts.name(|file| *file, |_| 0);
        assert_eq!(bind.iommufd, 5);

        let mut map = IommuIoasMapFile::default();
        let mut parts = Numbered::map_file(&mut map, &[&6]).into_parts();
        parts.name(|file| *file, |_| 0);
        assert_eq!(map.fd, 6);

        let mut write = DeviceIoeventfd::default();
        for (event, number) in [(Some(&7), 7), (None, -1)] {
            let event = [event];
            let mut parts = Numbered::ioeventfd(&mut write, &event).into_parts();
            parts.name(|_| 0, |event| *event);
            assert_eq!(write.fd, number);
        }
    }

    #[test]
    fn interrupts_have_an_event_each() {
        let events = [Some(&7), None, Some(&8)];
        let irqs = |len: usize, count: u32, flags: IrqSetFlags| {
            let head = IrqSet {
                count,
                flags,
                index: 2,
                start: 1,
                ..Default::default()
            };
            let mut bytes = std::vec![0; len];
            let mut parts = Numbered::irq_events(&mut bytes, head, &events)?.into_parts();
            assert!(parts.argument[20..].iter().all(|byte| *byte == 0xff));
            parts.name(|_| 0, |event| *event);
            let words = parts.argument.chunks(4);
            Ok(words
                .map(|word| i32::from_ne_bytes(word.try_into().unwrap()))
                .collect())
        };
        let trigger = IrqSetFlags::ACTION_TRIGGER;
        let expected = std::vec![32, 4 | 1 << 5, 2, 1, 3, 7, -1, 8];
        // Whatever was said of the data before.
        for kind in [IrqSetFlags::empty(), IrqSetFlags::DATA_BOOL] {
            assert_eq!(irqs(32, 99, kind | trigger), Ok(expected.clone()));
            assert_eq!(irqs(40, 0, kind | trigger), Ok(expected.clone()));
        }
        assert_eq!(irqs(31, 3, trigger), Err(Errno::EINVAL));
        assert_eq!(irqs(19, 3, trigger), Err(Errno::EINVAL));
    }

    #[test]
    fn a_hot_reset_names_as_many_groups_as_it_has() {
        let reset = |len: usize, groups: &[&i32]| {
            let mut bytes = std::vec![0xa5; len];
            let mut parts = Numbered::hot_reset(&mut bytes, groups)?.into_parts();
            parts.name(|group| *group, |_| 0);
            let words = parts.argument.chunks(4);
            Ok(words
                .map(|word| i32::from_ne_bytes(word.try_into().unwrap()))
                .collect())
        };
        assert_eq!(reset(12, &[]), Ok(std::vec![12, 0, 0]));
        // A container would take it for MAP_DMA, which without flags maps nothing.
        assert_eq!(reset(32, &[&5, &6]), Ok(std::vec![20, 0, 2, 5, 6]));
        assert_eq!(reset(12, &[&5]), Err(Errno::EINVAL));
    }

    #[test]
    fn low_power_names_its_event() {
        let mut buffer = [0xa5; LOW_POWER_WAKEUP_LEN];
        let exchange = Numbered::low_power_wakeup(&mut buffer, &[Some(&7)]);
        let mut parts = exchange.into_parts();
        assert_eq!(parts.argument[8..12], (-1_i32).to_ne_bytes());
        parts.name(|_| 0, |event| *event);
        assert_eq!(parts.argument[..4], 16_u32.to_ne_bytes());
        assert_eq!(parts.argument[8..12], 7_i32.to_ne_bytes());
        assert_eq!(parts.argument[12..], [0; 4]);
    }
}
