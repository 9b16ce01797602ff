//! The tokens of SR-IOV functions (drivers/vfio/pci/vfio_pci_core.c of Linux).

use vfio_core::sys::Errno;
use vfio_core::wire::abi::{DeviceFeature, FeatureFlags, FeatureId};

use super::OpenFiles;

/// A token, a UUID.
pub(super) type Uuid = [u8; 16];

/// What a function has to do with SR-IOV.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Function {
    /// Nothing.
    #[default]
    Plain,
    /// It is a physical one.
    Physical(Token),
    /// It is a virtual one of the device at this place.
    Virtual(usize),
}

/// The token that the virtual functions of a physical one are opened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) struct Token {
    /// Nobody knows it before it is set.
    uuid: Option<Uuid>,
    /// How many virtual functions are open.
    users: usize,
}

impl Token {
    const UNKNOWN: Self = Self {
        uuid: None,
        users: 0,
    };

    /// Lets a virtual function be opened with `given`.
    fn admit(&self, given: Option<Uuid>) -> Result<(), Errno> {
        if given.is_some() && given == self.uuid {
            Ok(())
        } else {
            Err(Errno::EACCES)
        }
    }

    /// Lets the physical function itself be opened with `given`, which is set unless one is in use.
    fn accept(&mut self, given: Option<Uuid>) -> Result<(), Errno> {
        if self.users != 0 {
            return self.admit(given);
        }
        if given.is_some() {
            self.uuid = given;
        }
        Ok(())
    }

    /// Serves `VFIO_DEVICE_FEATURE` of `PCI_VF_TOKEN`, which can be set and not be read.
    pub(in crate::sim) fn feature(
        &mut self,
        flags: FeatureFlags,
        argument: &[u8],
    ) -> Result<(), Errno> {
        if flags.contains(FeatureFlags::GET) {
            return Err(Errno::EINVAL);
        }
        if flags.contains(FeatureFlags::PROBE) {
            return Ok(());
        }
        let data = argument.get(size_of::<DeviceFeature>()..);
        let uuid = data.and_then(|data| data.first_chunk());
        self.uuid = Some(*uuid.ok_or(Errno::EINVAL)?);
        Ok(())
    }
}

impl OpenFiles {
    /// Makes the device `name` a virtual function of `physical`.
    pub(in crate::sim) fn make_virtual(&mut self, name: &str, physical: &str) -> Result<(), Errno> {
        let place = self.place(name).ok_or(Errno::ENODEV)?;
        let of = self.place(physical).ok_or(Errno::ENODEV)?;
        let slot = self.devices.get_mut(of).ok_or(Errno::ENODEV)?;
        if slot.function == Function::Plain {
            slot.function = Function::Physical(Token::UNKNOWN);
        }
        let slot = self.devices.get_mut(place).ok_or(Errno::ENODEV)?;
        slot.function = Function::Virtual(of);
        Ok(())
    }

    /// Returns the token of a physical function.
    pub(in crate::sim) fn token(&mut self, place: usize) -> Option<&mut Token> {
        match &mut self.devices.get_mut(place)?.function {
            Function::Physical(token) => Some(token),
            _ => None,
        }
    }

    /// Tells whether a device may be opened with the token that was given.
    pub(super) fn match_token(&mut self, place: usize, given: Option<Uuid>) -> Result<(), Errno> {
        match self.slot(place)?.function {
            Function::Plain if given.is_some() => Err(Errno::EINVAL),
            Function::Plain => Ok(()),
            Function::Physical(_) => self.token(place).ok_or(Errno::EINVAL)?.accept(given),
            Function::Virtual(of) => self.token(of).ok_or(Errno::EINVAL)?.admit(given),
        }
    }

    /// Counts those who use the token of a device's physical function.
    pub(super) fn use_token(&mut self, place: usize, count: impl FnOnce(usize) -> usize) {
        let function = self.devices.get(place).map(|slot| slot.function);
        if let Some(Function::Virtual(of)) = function
            && let Some(token) = self.token(of)
        {
            token.users = count(token.users);
        }
    }
}

/// Tells whether a request is for the feature that is the token.
pub(in crate::sim) fn is_token(flags: FeatureFlags) -> bool {
    flags.feature() == FeatureId::PCI_VF_TOKEN
}

/// Parses what `GET_DEVICE_FD` is asked for, where that is the PCI device `address`. Returns the
/// token behind the address, where there is one. `None` for another device.
///
/// # Errors
/// `EINVAL` for an option that vfio-pci does not know, or a token that is no UUID.
pub(super) fn options(name: &str, address: &str) -> Result<Option<Option<Uuid>>, Errno> {
    let Some(mut rest) = name.strip_prefix(address) else {
        return Ok(None);
    };
    if !rest.is_empty() && !rest.starts_with(' ') {
        return Ok(None);
    }
    let mut token = None;
    loop {
        rest = rest.trim_start_matches(' ');
        if rest.is_empty() {
            return Ok(Some(token));
        }
        let text = rest.strip_prefix("vf_token=").ok_or(Errno::EINVAL)?;
        let (text, behind) = text.split_at_checked(36).ok_or(Errno::EINVAL)?;
        if token.replace(uuid(text).ok_or(Errno::EINVAL)?).is_some() {
            return Err(Errno::EINVAL);
        }
        rest = behind;
    }
}

/// Returns a UUID in its 36 characters.
fn uuid(text: &str) -> Option<Uuid> {
    let mut value = 0_u128;
    for (place, character) in text.chars().enumerate() {
        if !matches!(place, 8 | 13 | 18 | 23) {
            value = value << 4 | u128::from(character.to_digit(16)?);
        } else if character != '-' {
            return None;
        }
    }
    Some(value.to_be_bytes())
}
