//! The region that a command is about, and the registers in it.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use serde::Serialize;
use vfio_core::device::Device;
use vfio_core::device::region::TrappedRegion;
use vfio_core::mmio::{OffsetError, RegisterError, TrapError, Window};
use vfio_core::pci::{Command, Config, DeviceConfig};
use vfio_core::sys::Sys;
use vfio_core::wire::abi::{RegionFlags, pci_region};
use vfio_hosted::report::{self, RegionReport};

use crate::access_error::AccessError;
use crate::failure::Failure;
use crate::target::Opened;

/// How the user names a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selector {
    /// By its index.
    Index(u32),
    /// By its name: `bar0`, `rom`, `config`, `vga`, or its type.
    Name(String),
}

/// What is about to be done with a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    /// Reading it, if that changes nothing.
    Look,
    /// Reading it, whatever that does.
    Read,
    /// Writing it.
    Write,
}

/// The width of a register, in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Width {
    /// One byte.
    #[value(name = "8")]
    Bits8,
    /// Two bytes.
    #[value(name = "16")]
    Bits16,
    /// Four bytes.
    #[value(name = "32")]
    Bits32,
    /// Eight bytes.
    #[value(name = "64")]
    Bits64,
}

/// What a region is called in JSON.
#[derive(Serialize)]
pub(crate) struct Named<'r> {
    index: u32,
    name: &'r str,
}

impl Intent {
    /// Allows reading where that changes nothing, or by force.
    pub(crate) const fn look(force: bool) -> Self {
        if force { Self::Read } else { Self::Look }
    }
}

impl Width {
    /// Returns bytes.
    pub(crate) const fn bytes(self) -> u8 {
        match self {
            Self::Bits8 => 1,
            Self::Bits16 => 2,
            Self::Bits32 => 4,
            Self::Bits64 => 8,
        }
    }

    /// Returns bits.
    pub(crate) const fn bits(self) -> u8 {
        self.bytes() * 8
    }

    /// Tells whether a register of this width can hold `value`.
    pub(crate) const fn holds(self, value: u64) -> bool {
        match self {
            Self::Bits64 => true,
            _ => value >> self.bits() == 0,
        }
    }

    /// Returns the value with all digits that its width has.
    pub(crate) fn hex(self, value: u64) -> String {
        format!(
            "{value:#0digits$x}",
            digits = usize::from(self.bytes()) * 2 + 2
        )
    }

    /// Checks that a register of this width is at `offset`, in bytes from the start of the window.
    pub(crate) fn check<S: Sys>(
        self,
        window: &Window<TrappedRegion<&Device<S>>>,
        offset: u64,
    ) -> Result<(), OffsetError> {
        let at = place(offset);
        match self {
            Self::Bits8 => window.check::<u8>(at),
            Self::Bits16 => window.check::<u16>(at),
            Self::Bits32 => window.check::<u32>(at),
            Self::Bits64 => window.check::<u64>(at),
        }
    }

    /// Reads the register at `offset`, in bytes from the start of the window.
    pub(crate) fn read<S: Sys>(
        self,
        window: &mut Window<TrappedRegion<&Device<S>>>,
        offset: u64,
    ) -> Result<u64, RegisterError<TrapError>> {
        let at = place(offset);
        match self {
            Self::Bits8 => window.read::<u8>(at).map(u64::from),
            Self::Bits16 => window.read::<u16>(at).map(u64::from),
            Self::Bits32 => window.read::<u32>(at).map(u64::from),
            Self::Bits64 => window.read::<u64>(at),
        }
    }

    /// Writes the low bits of `value` to the register at `offset`, in bytes from the start of the window.
    pub(crate) fn write<S: Sys>(
        self,
        window: &mut Window<TrappedRegion<&Device<S>>>,
        offset: u64,
        value: u64,
    ) -> Result<(), RegisterError<TrapError>> {
        use vfio_core::mmio::Width as _;
        let at = place(offset);
        match self {
            Self::Bits8 => window.write(at, u8::truncate(value)),
            Self::Bits16 => window.write(at, u16::truncate(value)),
            Self::Bits32 => window.write(at, u32::truncate(value)),
            Self::Bits64 => window.write(at, value),
        }
    }
}

/// Returns an offset past what can be addressed lies in no window either.
fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

impl<S: Sys + Clone> Opened<S> {
    /// Returns the region that is meant, if it permits what is intended.
    pub(crate) fn region(
        &self,
        selector: &Selector,
        intent: Intent,
    ) -> Result<RegionReport, Failure> {
        let (regions, troubles) = report::regions(&self.session.device, self.page);
        let regions: Vec<RegionReport> = regions
            .into_iter()
            .filter(|region| region.size > 0)
            .collect();
        let Some(region) = regions.iter().find(|region| selector.means(region)) else {
            return Err(match troubles.into_iter().next() {
                Some(trouble) => Failure::Trouble {
                    name: self.name.clone(),
                    trouble,
                },
                None => AccessError::NoRegion {
                    device: self.name.clone(),
                    selector: selector.clone(),
                    there: regions.iter().map(|region| region.name.clone()).collect(),
                }
                .into(),
            });
        };
        let flags = RegionFlags::from_bits_retain(region.flags_raw);
        let needed = match intent {
            Intent::Look | Intent::Read => RegionFlags::READ,
            Intent::Write => RegionFlags::WRITE,
        };
        if !flags.contains(needed) {
            return Err(AccessError::NotPermitted {
                region: region.name.clone(),
                intent,
            }
            .into());
        }
        if intent == Intent::Look && !is_harmless(region) {
            return Err(AccessError::SideEffects {
                region: region.name.clone(),
            }
            .into());
        }
        Ok(region.clone())
    }

    /// Returns all of a region, through system calls.
    pub(crate) fn window(&self, region: &RegionReport) -> Window<TrappedRegion<&Device<S>>> {
        let len = usize::try_from(region.size).unwrap_or(usize::MAX);
        Window::new(TrappedRegion::new(&self.session.device, region.offset, len))
    }

    /// Has the device answer on the memory of its BARs, for as long as it is open.
    pub(crate) fn enable_memory(&self) -> Result<(), Failure> {
        let enable = || -> Result<(), String> {
            let config = DeviceConfig::ask(&self.session.device, &mut [0; 64][..])
                .map_err(|error| error.to_string())?;
            let mut config = Config::new(config);
            let command = config.command().map_err(|error| error.to_string())?;
            config
                .set_command(command | Command::MEMORY)
                .map_err(|error| error.to_string())
        };
        enable().map_err(|message| {
            AccessError::Enable {
                device: self.name.clone(),
                message,
            }
            .into()
        })
    }
}

/// Tells whether looking at a region changes nothing: configuration space and the ROM.
const fn is_harmless(region: &RegionReport) -> bool {
    matches!(region.index, pci_region::CONFIG | pci_region::ROM)
}

impl<'r> From<&'r RegionReport> for Named<'r> {
    fn from(region: &'r RegionReport) -> Self {
        Self {
            index: region.index,
            name: &region.name,
        }
    }
}

impl Selector {
    fn means(&self, region: &RegionReport) -> bool {
        match self {
            Self::Index(index) => region.index == *index,
            Self::Name(name) => folded(&region.name) == *name,
        }
    }
}

/// Returns a name without what is easily mistyped.
fn folded(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a region has an index or a name, such as bar0 or config".into());
        }
        Ok(match crate::number::parse(text) {
            Ok(index) => {
                Self::Index(u32::try_from(index).map_err(|_| "an index has at most 32 bits")?)
            }
            Err(_) => Self::Name(folded(text)),
        })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => index.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_width_holds_what_has_no_more_bits() {
        assert!(Width::Bits8.holds(0xff) && !Width::Bits8.holds(0x100));
        assert!(Width::Bits32.holds(u32::MAX.into()) && !Width::Bits32.holds(1 << 32));
        assert!(Width::Bits64.holds(u64::MAX));
        assert_eq!(Width::Bits16.hex(0xed), "0x00ed");
    }
}
