//! Finding a device's structures and reaching them.

use vfio_core::device::DeviceHandle;
use vfio_core::device::region::WholeRegion;
use vfio_core::dma::DmaHandle;
use vfio_core::mmio::{Access, Registers as _, Window};
use vfio_core::pci::{BringUpError, Config, DeviceConfig};

use super::{Notify, OpenError, PciTransport, Stretch};
use crate::virtio::capability::{Place, Places, Structure};
use crate::virtio::registers::{Common, Isr};

/// The vendor of all virtio devices.
const VENDOR: u16 = 0x1af4;
/// Device ids of those that keep to no older version: the type is what comes behind.
const MODERN: u16 = 0x1040;
/// The last of them.
const LAST: u16 = 0x107f;
/// Device ids of those that older drivers know as well, which have the type in another place.
const TRANSITIONAL: core::ops::RangeInclusive<u16> = 0x1000..=0x103f;
/// Where the subsystem id is in configuration space.
const SUBSYSTEM: u16 = 0x2e;

impl<D: DeviceHandle, M: DmaHandle> PciTransport<D, M> {
    /// Finds the structures of `device`, whose memory is that of `dma`, and switches it on.
    ///
    /// Its BARs are mapped where they can be, and trapped elsewhere.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open(device: D, dma: M) -> Result<Self, OpenError> {
        Self::open_with(device, dma, WholeRegion::bring_up)
    }
}

impl<D: DeviceHandle, M: DmaHandle, A: Access> PciTransport<D, M, A> {
    /// Opens a device as [`PciTransport::open`] does, with `bring_up` to reach a BAR.
    ///
    /// It is called once for each structure, with the number of its BAR.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open_with(
        device: D,
        dma: M,
        mut bring_up: impl FnMut(D, u32) -> Result<Window<A>, BringUpError>,
    ) -> Result<Self, OpenError> {
        let config = DeviceConfig::ask(&*device, &mut [0; 256]).map_err(OpenError::Region)?;
        let config = Config::new(config);
        let device_type = device_type(&config)?;
        let places = Places::find(&config)?;
        let mut reach = |structure, place: Option<Place>| {
            let place = place.ok_or(OpenError::NoStructure(structure))?;
            let window = bring_up(device.clone(), place.bar.into()).map_err(OpenError::BringUp)?;
            Stretch::new(window, structure, place)
        };
        let common = reach(Structure::Common, places.common)?;
        let notify = Notify {
            stretch: reach(Structure::Notify, places.notify)?,
            multiplier: places.notify_off_multiplier,
        };
        let isr = reach(Structure::Isr, places.isr)?;
        let config = match places.device {
            Some(place) => Some(reach(Structure::Device, Some(place))?),
            None => None,
        };
        Ok(Self {
            device,
            dma,
            device_type,
            common,
            notify,
            isr,
            config,
        })
    }
}

impl<A: Access> Stretch<A> {
    /// Checks that a structure lies in its BAR, and that all of its registers lie in it.
    fn new(window: Window<A>, structure: Structure, place: Place) -> Result<Self, OpenError> {
        let (least, align) = match structure {
            Structure::Common => (Common::SIZE, 4),
            Structure::Notify => (2, 2),
            Structure::Isr => (Isr::SIZE, 1),
            Structure::Device => (1, 4),
        };
        let room = window.len();
        let misplaced = OpenError::Misplaced {
            structure,
            place,
            len: room,
        };
        let number = |value: u32| usize::try_from(value).map_err(|_| misplaced);
        let (offset, len) = (number(place.offset)?, number(place.len)?);
        let is_inside = offset.checked_add(len).is_some_and(|end| end <= room);
        if !is_inside || len < least || !offset.is_multiple_of(align) {
            return Err(misplaced);
        }
        Ok(Self {
            window,
            offset,
            len,
        })
    }
}

/// Returns the type of a device (section 4.1.2).
fn device_type<D: DeviceHandle>(config: &Config<DeviceConfig<D>>) -> Result<u16, OpenError> {
    let id = config.id()?;
    match id.device {
        MODERN..=LAST if id.vendor == VENDOR => Ok(id.device.wrapping_sub(MODERN)),
        device if id.vendor == VENDOR && TRANSITIONAL.contains(&device) => {
            Ok(config.read_u16(SUBSYSTEM)?)
        }
        device => Err(OpenError::Id {
            vendor: id.vendor,
            device,
        }),
    }
}
