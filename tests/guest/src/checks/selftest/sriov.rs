//! SR-IOV functions and the token between them (`vfio_pci_sriov_uapi_test`).

use std::ffi::CString;
use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, ensure};
use vfio_core::device::Device as Opened;
use vfio_core::open::AddressSpace;
use vfio_core::open::container::OpenError;
use vfio_core::open::iommufd::{Ioas, IommufdError};
use vfio_core::sys::Errno;
use vfio_guest::{Device, Kind};
use vfio_hosted::linux::Linux;

use super::super::command::good;
use super::super::registers::refused;
use super::setup::initialised;
use crate::bind;
use crate::mode::{InGuest as _, Mode, bound};
use crate::report::NotRun;
use crate::world::{World, driver, group, version};

/// A token, a UUID.
type Token = [u8; 16];

/// What the physical function is opened with.
const FIRST: Token = *b"\x52\xac\x9b\xff\x3a\x88\x4f\xbd\x90\x1a\x0d\x76\x7c\x3b\x6c\x97";
/// Another one.
const SECOND: Token = *b"\x88\x59\x4e\xd6\x1e\xc1\x46\x4a\xb1\xb0\x1a\x34\xc9\x4d\x3e\x2f";

/// What the virtual function is opened with.
const GIVEN: [Option<Token>; 3] = [Some(FIRST), Some(SECOND), None];

/// The parameter of vfio-pci that lets virtual functions be made.
const ENABLE: &str = "/sys/module/vfio_pci/parameters/enable_sriov";

/// How opening a device ended: `Err` is what the call that takes the token returned.
type Answer = Result<Opened<Linux>, Errno>;

/// Checks that a virtual function is made, and is vfio-pci's at once.
pub(crate) fn make(_: &World, device: &Device) -> Result<String> {
    may_have_virtual_functions()?;
    fs::write(ENABLE, "Y").with_context(|| format!("cannot write {ENABLE}"))?;
    let most = number(device, "sriov_totalvfs")?;
    ensure!(most > 0, "there can be none");
    let before = number(device, "sriov_numvfs")?;
    ensure!(before == 0, "there are {before} already");
    set_number(device, 1)?;
    let made = virtual_function(device)?;
    // vfio-pci claims the virtual functions of the devices that it has.
    let driver = driver(&made)?;
    ensure!(driver == "vfio-pci", "its driver is {driver}");
    Ok(format!("{}, of at most {most}", made.address()))
}

/// Takes the virtual function away.
pub(crate) fn take_away(_: &World, device: &Device) -> Result<String> {
    may_have_virtual_functions()?;
    let made = virtual_function(device)?;
    set_number(device, 0)?;
    ensure!(!Path::new(&made.sysfs()).exists(), "it is still there");
    Ok("gone".into())
}

/// Checks that a function whose virtual function is open is not taken from its driver, which would wait until it is
/// closed. Where it is taken by force, the program says what it waits for, and does not wait for ever.
pub(crate) fn taken_with_it(_: &World, device: &Device) -> Result<String> {
    may_have_virtual_functions()?;
    set_number(device, 1)?;
    let address = device.address();
    let case = Case::new(device, Mode::Type1v2, Some(FIRST))?;
    drop(case.physical()?);
    let opened = case.open(&case.virtual_one, Some(FIRST))?;
    let opened = opened.map_err(|errno| anyhow!("the virtual function: {errno}"))?;
    let name = case.virtual_one.address();
    let said = refused(
        &["unbind", address],
        &format!("{name}, which would go with it: /dev/vfio/"),
    )?;
    // Only the device is open, and no longer its group: newer kernels tell by whom.
    let by = if version()? >= (6, 18) {
        "process 1 "
    } else {
        "a process that can't be told"
    };
    ensure!(said.contains(by), "{said}");
    let said = refused(
        &["unbind", "--force", "--wait", "3", address],
        "the kernel still works on",
    )?;
    ensure!(
        said.starts_with("waiting for the kernel") && said.contains(name) && said.contains(by),
        "{said}"
    );
    ensure!(
        Path::new(&case.virtual_one.sysfs()).exists(),
        "it was lost while it was open"
    );
    drop((opened, case));
    // The driver goes on, and so does the program.
    good(&["unbind", "--force", address]).or_else(|error| {
        // The kernel may have been faster.
        refused(&["unbind", address], "not to vfio-pci")
            .or_else(|_| refused(&["unbind", address], "bound to no driver"))
            .map_err(|_| error)
    })?;
    good(&["bind", "--force", address])?;
    ensure!(number(device, "sriov_numvfs")? == 0, "it is there again");
    if device.name == "nvme-sriov" {
        kept_with_it(device)?;
    }
    Ok(said)
}

/// Checks that a function of its own driver is not given to vfio-pci while its virtual function is
/// open.
fn kept_with_it(device: &Device) -> Result<()> {
    let address = device.address();
    let autoprobe = format!("{}/sriov_drivers_autoprobe", device.sysfs());
    bind::rebind(device, "nvme")?;
    fs::write(&autoprobe, "0")?;
    set_number(device, 1)?;
    let made = virtual_function(device)?;
    bind::bind(&made)?;
    let file = File::open(format!("/dev/vfio/{}", group(&made)?)).context("the group")?;
    let expected = format!("{}, which would go with it: /dev/vfio/", made.address());
    let said = refused(&["bind", address], &expected)?;
    ensure!(said.contains("is open in process 1 "), "{said}");
    // vfio-pci takes no function that has virtual ones: it stays with its driver.
    refused(&["bind", "--force", address], "vfio-pci does not take")?;
    let seen = driver(device)?;
    ensure!(seen == "nvme", "its driver is {seen}");
    drop(file);
    set_number(device, 0)?;
    fs::write(&autoprobe, "1")?;
    good(&["bind", address])?;
    Ok(())
}

/// Checks that whether vfio-pci can make virtual functions.
fn may_have_virtual_functions() -> Result<()> {
    if Path::new(ENABLE).exists() {
        Ok(())
    } else {
        Err(NotRun("this kernel's vfio-pci makes no virtual functions".into()).into())
    }
}

/// Opens the virtual function with the token that the physical one was opened with.
pub(crate) fn init_token_match(_: &World, device: &Device, mode: Mode) -> Result<String> {
    with_each(device, mode, |case| {
        let _physical = case.physical()?;
        case.opens_with(FIRST)
    })
}

/// Checks that the token outlives the file that it was set through.
pub(crate) fn early_close(_: &World, device: &Device, mode: Mode) -> Result<String> {
    with_each(device, mode, |case| {
        drop(case.physical()?);
        case.opens_with(FIRST)
    })
}

/// Checks that a token that was set takes the place of the one before.
pub(crate) fn override_token(_: &World, device: &Device, mode: Mode) -> Result<String> {
    with_each(device, mode, |case| {
        let physical = case.physical()?;
        physical.set_vf_token(SECOND)?;
        case.opens_with(SECOND)
    })
}

/// Checks that while the virtual function is open the physical one is not opened without the token.
pub(crate) fn token_in_use(_: &World, device: &Device, mode: Mode) -> Result<String> {
    let case = Case::new(device, mode, Some(FIRST))?;
    drop(case.physical()?);
    let used = case.open(&case.virtual_one, Some(FIRST))?;
    let _used = used.map_err(|errno| anyhow!("the virtual function: {errno}"))?;
    for (given, expected) in [(None, false), (Some(SECOND), false), (Some(FIRST), true)] {
        let answer = case.open(device, given)?;
        expect(&answer, expected).with_context(|| shown(given))?;
    }
    Ok("refused without it".into())
}

/// Runs `test` with each token.
fn with_each(
    device: &Device,
    mode: Mode,
    test: impl Fn(&Case<'_>) -> Result<()>,
) -> Result<String> {
    for given in GIVEN {
        test(&Case::new(device, mode, given)?).with_context(|| shown(given))?;
    }
    Ok("the token decides".into())
}

fn shown(given: Option<Token>) -> &'static str {
    match given {
        Some(FIRST) => "with the first token",
        Some(_) => "with the second token",
        None => "without a token",
    }
}

/// Says how many virtual functions there are to be. The kernel takes a second to take one away: all checks share it.
fn set_number(physical: &Device, number: u32) -> Result<()> {
    let path = format!("{}/sriov_numvfs", physical.sysfs());
    fs::write(&path, number.to_string()).with_context(|| format!("cannot write {path}"))
}

/// Reads a number from a file of the physical function's in sysfs.
fn number(physical: &Device, name: &str) -> Result<u32> {
    let path = format!("{}/{name}", physical.sysfs());
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    Ok(text.trim().parse()?)
}

/// Returns the virtual function.
fn virtual_function(physical: &Device) -> Result<Device> {
    let link = format!("{}/virtfn0", physical.sysfs());
    let target = fs::read_link(&link).context("there is no virtual function")?;
    let bdf = target.file_name().context("virtfn0 points nowhere")?;
    Ok(Device {
        name: format!("a virtual function of {}", physical.name),
        // It reads its IDs as ones.
        kind: Kind::Pci {
            bdf: bdf.to_string_lossy().into_owned(),
            vendor: 0xffff,
            device: 0xffff,
        },
        missing: None,
    })
}

/// A physical function and a virtual one, the address space that both are opened in, and what the virtual one is opened with.
struct Case<'d> {
    physical: &'d Device,
    virtual_one: Device,
    mode: Mode,
    space: AddressSpace<Linux>,
    given: Option<Token>,
}

impl<'d> Case<'d> {
    fn new(physical: &'d Device, mode: Mode, given: Option<Token>) -> Result<Self> {
        may_have_virtual_functions()?;
        Ok(Self {
            physical,
            virtual_one: virtual_function(physical)?,
            mode,
            space: mode.space()?,
            given,
        })
    }

    /// Returns the physical function, opened with the first token.
    fn physical(&self) -> Result<Opened<Linux>> {
        let opened = self.open(self.physical, Some(FIRST))?;
        opened.map_err(|errno| anyhow!("the physical function: {errno}"))
    }

    /// Checks that the virtual function opens if what it is opened with is `token`.
    fn opens_with(&self, token: Token) -> Result<()> {
        let answer = self.open(&self.virtual_one, self.given)?;
        expect(&answer, self.given == Some(token))?;
        if let Ok(opened) = &answer {
            initialised(opened)?;
        }
        Ok(())
    }

    /// Opens a function in the address space.
    fn open(&self, device: &Device, given: Option<Token>) -> Result<Answer> {
        match &self.space {
            AddressSpace::Container(container) | AddressSpace::NoIommu(container) => {
                let group = container.attach(group(device)?)?;
                match container.set_iommu(self.mode.iommu()) {
                    // It has one already, from the other function.
                    Ok(())
                    | Err(OpenError::SetIommu {
                        errno: Errno::EINVAL,
                        ..
                    }) => (),
                    Err(error) => return Err(error.into()),
                }
                let name = CString::new(device.address())?;
                let opened = match given {
                    Some(token) => group.device_with_token(&name, token),
                    None => group.device(&name),
                };
                match opened {
                    Err(OpenError::Device(errno)) => Ok(Err(errno)),
                    other => Ok(Ok(other?)),
                }
            }
            AddressSpace::Ioas(ioas) => {
                let opened = match given {
                    Some(token) => {
                        bound(ioas, device, |ioas, path| ioas.bind_with_token(path, token))
                    }
                    None => bound(ioas, device, Ioas::bind),
                };
                match opened {
                    Ok(opened) => {
                        ioas.attach_device(&opened).context("attach")?;
                        Ok(Ok(opened))
                    }
                    Err(error) => match error.downcast_ref::<IommufdError>() {
                        Some(IommufdError::Bind(errno)) => Ok(Err(*errno)),
                        _ => Err(error),
                    },
                }
            }
        }
    }
}

/// Checks that a function is opened, or refused for its token.
fn expect(answer: &Answer, is_opened: bool) -> Result<()> {
    match answer {
        Ok(_) => ensure!(is_opened, "it was opened"),
        Err(errno) => ensure!(
            !is_opened && *errno == Errno::EACCES,
            "it was refused: {errno}"
        ),
    }
    Ok(())
}
