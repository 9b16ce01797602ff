//! A device that is open for driving, in whichever way the system has.
//!
//! Linux has several ways to a device and to the memory that it reaches ([`Mode`]). A [`Session`]
//! is opened in the best that there is, or in one that the caller asks for, and is the same to a
//! driver in all of them.

#![forbid(unsafe_code)]

use super::container::Container;
use super::iommufd::Ioas;
use super::{AddressSpace, Mode, Place, SessionError, attach};
use crate::device::Device;
use crate::sys::Sys;

/// An open device, and where memory is mapped for it. Dropping it closes both.
///
/// ```
/// use vfio_core::open::{Place, Session, SessionError};
/// use vfio_core::sys::Sys;
///
/// fn open<S: Sys + Clone>(sys: &S) -> Result<Session<S>, SessionError> {
///     let place = Place {
///         name: c"0000:00:05.0",
///         group: Some(7),
///         cdev: Some(c"/dev/vfio/devices/vfio0"),
///         ..Place::default()
///     };
///     let session = Session::open(sys, &place)?;
///     println!("it is open in the mode {}", session.mode);
///     Ok(session)
/// }
/// ```
///
/// A driver takes it apart by [`Session::split`].
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Session<S: Sys> {
    /// The way in which it was opened.
    pub mode: Mode,
    /// The device.
    pub device: Device<S>,
    /// The address space that the device is attached to.
    pub space: AddressSpace<S>,
}

impl<S: Sys + Clone> Session<S> {
    /// Opens the device in the first of [`Mode::PREFERRED`] that the system has: without an
    /// IOMMU only where its group has none, and its user gave the word ([`Place::noiommu`]).
    ///
    /// The system does not have a mode whose files are not there or not the caller's to open;
    /// any other failure is final.
    ///
    /// # Errors
    /// [`SessionError`] of the first mode that the system has; where it has none, of the one
    /// that is nearest: whose files are there. [`SessionError::NoIommu`] where the device has no
    /// IOMMU and nobody gave the word.
    pub fn open(sys: &S, place: &Place<'_>) -> Result<Self, SessionError> {
        Self::open_first(&Mode::PREFERRED, sys, place)
    }

    /// Opens as [`Session::open`] does, in the first of `modes` that works.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub fn open_first(modes: &[Mode], sys: &S, place: &Place<'_>) -> Result<Self, SessionError> {
        let mut nearest = SessionError::Nowhere;
        for &mode in modes {
            if (mode == Mode::NoIommu) != place.is_noiommu {
                continue;
            }
            match Self::open_in(mode, sys, place) {
                Err(error) if error.is_absence() => nearest = nearest.nearer(error),
                result => return result,
            }
        }
        Err(nearest)
    }

    /// Opens the device in `mode`.
    ///
    /// # Errors
    /// [`SessionError`]
    pub fn open_in(mode: Mode, sys: &S, place: &Place<'_>) -> Result<Self, SessionError> {
        let (space, device) = if mode == Mode::Iommufd {
            place.cdev.ok_or(SessionError::NoCdev)?;
            let ioas = Ioas::open(sys.clone())?;
            let device = attach::through_cdev(&ioas, place)?;
            (AddressSpace::Ioas(ioas), device)
        } else if mode == Mode::VfioUser {
            let socket = place.socket.ok_or(SessionError::NoSocket)?;
            let container = Container::connect(sys.clone(), socket)?;
            let device = container.served(place.name)?;
            (AddressSpace::Container(container), device)
        } else {
            let noiommu = match mode {
                Mode::NoIommu => Some(place.noiommu.ok_or(SessionError::NoIommu)?),
                _ => None,
            };
            place.group.ok_or(SessionError::NoGroup)?;
            let container = Container::open_at(sys.clone(), mode.container_path())?;
            let device = attach::in_mode(mode, &container, place, noiommu)?;
            let space = match mode {
                Mode::NoIommu => AddressSpace::NoIommu(container),
                _ => AddressSpace::Container(container),
            };
            (space, device)
        };
        debug!("the device is open in the mode {}", mode.name());
        Ok(Self {
            mode,
            device,
            space,
        })
    }
}
