//! Capabilities with a type.

mod acs;
mod aer;
mod af;
mod ari;
mod ats;
mod express;
mod msi;
mod msix;
mod pasid;
mod power;
mod serial;
mod sriov;
mod vendor;

pub use acs::{AccessControl, AcsFlags};
pub use aer::{AerControl, CorrectableErrors, ErrorReporting, UncorrectableErrors};
pub use af::{AdvancedFeatures, AfCapabilities};
pub use ari::{AlternativeRouting, AriFlags};
pub use ats::{AddressTranslation, AtsControl};
pub use express::{
    DeviceCapabilities, DeviceCapabilities2, DeviceControl, DeviceControl2, DeviceStatus, Express2,
    Link, LinkSpeed, PciExpress, PortType,
};
pub use msi::{Msi, MsiControl};
pub use msix::{Msix, MsixControl};
pub use pasid::{Pasid, PasidFlags};
pub use power::{PowerCapabilities, PowerManagement, PowerState};
pub use serial::SerialNumber;
pub use sriov::{SrIov, SrIovControl};
pub use vendor::{DesignatedVendor, ExtendedVendor, VendorSpecific};

use crate::pci::{Bars, CapabilityId, Config, ConfigAccess, ConfigError, Entry};

/// A capability that can be read from its registers.
///
/// What a vendor defined is decoded by a type of the driver's own; the entries of the list tell
/// which capability it is read from ([`Entry::decode_as`]).
pub trait TypedCapability: Sized {
    /// What it is.
    const ID: CapabilityId;

    /// Reads it. Each register is one access.
    ///
    /// # Errors
    /// [`ConfigError`]; [`ConfigError::Truncated`] where it does not fit into the space.
    fn decode<A: ConfigAccess>(body: &Body<'_, A>) -> Result<Self, ConfigError<A::Error>>;
}

/// The registers of a capability. Offsets are bytes from its header.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Body<'c, A> {
    config: &'c Config<A>,
    entry: Entry,
}

/// A capability of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Capability {
    /// Power management.
    PowerManagement(PowerManagement),
    /// Message-signalled interrupts.
    Msi(Msi),
    /// MSI-X.
    Msix(Msix),
    /// PCI Express.
    PciExpress(PciExpress),
    /// Vendor specific, in the standard list.
    VendorSpecific(VendorSpecific),
    /// Advanced features of conventional PCI.
    AdvancedFeatures(AdvancedFeatures),
    /// Advanced error reporting.
    ErrorReporting(ErrorReporting),
    /// Device serial number.
    SerialNumber(SerialNumber),
    /// Vendor specific, in the extended list.
    ExtendedVendor(ExtendedVendor),
    /// Designated vendor specific.
    DesignatedVendor(DesignatedVendor),
    /// Access control services.
    AccessControl(AccessControl),
    /// Alternative routing-id interpretation.
    AlternativeRouting(AlternativeRouting),
    /// Address translation services.
    AddressTranslation(AddressTranslation),
    /// Single root I/O virtualization.
    SrIov(SrIov),
    /// Process address space ids.
    Pasid(Pasid),
    /// Any other.
    Other(Entry),
}

impl Capability {
    pub(super) fn decode<A: ConfigAccess>(
        body: &Body<'_, A>,
    ) -> Result<Self, ConfigError<A::Error>> {
        match body.entry.id {
            PowerManagement::ID => PowerManagement::decode(body).map(Self::PowerManagement),
            Msi::ID => Msi::decode(body).map(Self::Msi),
            Msix::ID => Msix::decode(body).map(Self::Msix),
            PciExpress::ID => PciExpress::decode(body).map(Self::PciExpress),
            VendorSpecific::ID => VendorSpecific::decode(body).map(Self::VendorSpecific),
            AdvancedFeatures::ID => AdvancedFeatures::decode(body).map(Self::AdvancedFeatures),
            ErrorReporting::ID => ErrorReporting::decode(body).map(Self::ErrorReporting),
            SerialNumber::ID => SerialNumber::decode(body).map(Self::SerialNumber),
            ExtendedVendor::ID => ExtendedVendor::decode(body).map(Self::ExtendedVendor),
            DesignatedVendor::ID => DesignatedVendor::decode(body).map(Self::DesignatedVendor),
            AccessControl::ID => AccessControl::decode(body).map(Self::AccessControl),
            AlternativeRouting::ID => {
                AlternativeRouting::decode(body).map(Self::AlternativeRouting)
            }
            AddressTranslation::ID => {
                AddressTranslation::decode(body).map(Self::AddressTranslation)
            }
            SrIov::ID => SrIov::decode(body).map(Self::SrIov),
            Pasid::ID => Pasid::decode(body).map(Self::Pasid),
            _ => Ok(Self::Other(body.entry)),
        }
    }
}

impl<'c, A> Body<'c, A> {
    pub(super) const fn new(config: &'c Config<A>, entry: Entry) -> Self {
        Self { config, entry }
    }

    /// Returns the capability's place in its list.
    #[must_use]
    pub const fn entry(&self) -> Entry {
        self.entry
    }

    /// Returns where the capability starts, in bytes from the start of the configuration space.
    #[must_use]
    pub const fn offset(&self) -> u16 {
        self.entry.offset
    }
}

impl<A: ConfigAccess> Body<'_, A> {
    /// Reads a byte at `at`.
    ///
    /// # Errors
    /// [`ConfigError::Truncated`], [`ConfigError::Access`]
    pub fn read_u8(&self, at: u16) -> Result<u8, ConfigError<A::Error>> {
        self.config.read_u8(self.locate(at, 1)?)
    }

    /// Reads a 16-bit register at `at`.
    ///
    /// # Errors
    /// [`ConfigError::Truncated`], [`ConfigError::Misaligned`], [`ConfigError::Access`]
    pub fn read_u16(&self, at: u16) -> Result<u16, ConfigError<A::Error>> {
        self.config.read_u16(self.locate(at, 2)?)
    }

    /// Reads a 32-bit register at `at`.
    ///
    /// # Errors
    /// [`ConfigError::Truncated`], [`ConfigError::Misaligned`], [`ConfigError::Access`]
    pub fn read_u32(&self, at: u16) -> Result<u32, ConfigError<A::Error>> {
        self.config.read_u32(self.locate(at, 4)?)
    }

    /// Reads `buf.len()` bytes at `at`, in aligned accesses.
    ///
    /// # Errors
    /// [`ConfigError::Truncated`], [`ConfigError::Access`]
    pub fn read_bytes(&self, at: u16, buf: &mut [u8]) -> Result<(), ConfigError<A::Error>> {
        let len = u16::try_from(buf.len()).unwrap_or(u16::MAX);
        self.config.read_bytes(self.locate(at, len)?, buf)
    }

    /// Reads six base address registers, the first at `at`.
    pub(super) fn read_bars(&self, at: u16) -> Result<Bars, ConfigError<A::Error>> {
        let offset = self.locate(at, 24)?;
        Bars::read::<6, _, _>(offset, |offset| self.config.read_u32(offset))
    }

    /// Checks that a capability of `len` bytes has at least `min` bytes and lies in the space.
    ///
    /// # Errors
    /// [`ConfigError::Length`], [`ConfigError::Truncated`]
    pub fn check_len(&self, len: u16, min: u16) -> Result<(), ConfigError<A::Error>> {
        if len < min {
            return Err(ConfigError::Length {
                id: self.entry.id,
                offset: self.entry.offset,
                len,
            });
        }
        self.locate(0, len).map(drop)
    }

    /// Returns where `len` bytes at `at` lie in the space. A standard capability ends within the
    /// first 256 bytes.
    fn locate(&self, at: u16, len: u16) -> Result<u16, ConfigError<A::Error>> {
        let size = match self.entry.id {
            CapabilityId::Standard(_) => self.config.size().min(crate::pci::CONVENTIONAL_SIZE),
            CapabilityId::Extended(_) => self.config.size(),
        };
        self.entry
            .offset
            .checked_add(at)
            .filter(|start| start.checked_add(len).is_some_and(|end| end <= size))
            .ok_or(ConfigError::Truncated {
                id: self.entry.id,
                offset: self.entry.offset,
                size,
            })
    }
}
