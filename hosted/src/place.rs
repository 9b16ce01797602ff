//! Where a device is to be found, kept.

use std::ffi::CString;

use vfio_core::open::Place;
use vfio_core::sys::NoIommu;

/// Where a device is to be found: a [`Place`] that keeps its names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnedPlace {
    /// As [`Place::name`].
    pub name: CString,
    /// As [`Place::group`].
    pub group: Option<u32>,
    /// As [`Place::is_noiommu`].
    pub is_noiommu: bool,
    /// As [`Place::noiommu`]; the system does not give it.
    pub noiommu: Option<NoIommu>,
    /// As [`Place::cdev`].
    pub cdev: Option<CString>,
    /// As [`Place::socket`].
    pub socket: Option<CString>,
    /// As [`Place::token`]; the system does not tell it.
    pub token: Option<[u8; 16]>,
}

impl OwnedPlace {
    /// Returns the place, to open a [`Session`](vfio_core::open::Session) at.
    #[must_use]
    pub fn as_place(&self) -> Place<'_> {
        Place {
            name: &self.name,
            group: self.group,
            is_noiommu: self.is_noiommu,
            noiommu: self.noiommu,
            cdev: self.cdev.as_deref(),
            socket: self.socket.as_deref(),
            token: self.token,
        }
    }
}
