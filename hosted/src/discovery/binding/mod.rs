//! Binding devices to vfio-pci, and giving them back.
//!
//! The steps are those of `Documentation/ABI/testing/sysfs-bus-pci`: `driver_override` names the one driver that may
//! take the device, the driver that has it is unbound, and the bus is asked to look for a driver again. Where a step
//! fails, those before it are undone.

mod error;
#[cfg(test)]
mod fake_kernel;

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

pub use error::{BindError, StepError};

use super::sysfs;
use super::{Address, DiscoveryError, SysfsDevice, System, Usage};

/// The driver that devices are given to.
const VFIO_PCI: &str = "vfio-pci";
/// What takes the name out of `driver_override`: an empty write would not reach the kernel.
const NO_OVERRIDE: &str = "\n";

/// A device that a VFIO driver has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The VFIO driver.
    pub driver: String,
    /// The driver that had the device before.
    pub previous: Option<String>,
    /// Whether anything had to be done: a device that a VFIO driver has already is left alone.
    pub changed: bool,
}

/// A device that was given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unbound {
    /// The VFIO driver that had the device before.
    pub previous: String,
    /// The driver that the kernel found for it; `None` where it has none.
    pub driver: Option<String>,
}

impl System {
    /// Gives a device to vfio-pci. One that a VFIO driver has already is left alone.
    ///
    /// A device that the system uses, for a mounted file system say, is given away only if `force` says so; the same
    /// goes for one with virtual functions that are in use, which would be lost with it.
    ///
    /// With `force`, the kernel may wait until every process has closed the device or a function that goes with it;
    /// [`bind_through`](Self::bind_through) need not.
    ///
    /// # Errors
    /// [`BindError`]; the device then has the driver that it had.
    pub fn bind(&self, address: Address, force: bool) -> Result<Bound, BindError> {
        self.bind_through(address, force, write_attribute)
    }

    /// Works as [`bind`](Self::bind). Attributes are written by `write`, which does what [`write_attribute`]
    /// does.
    ///
    /// Where the kernel takes too long, `write` gives up and returns [`io::ErrorKind::TimedOut`]. Such a write can't be
    /// called off, not even by ending the process that makes it: give it to a process of its own.
    ///
    /// # Errors
    /// [`BindError`]; the device then has the driver that it had, but for [`BindError::Unfinished`].
    pub fn bind_through(
        &self,
        address: Address,
        force: bool,
        write: impl Fn(&Path, &str) -> io::Result<()>,
    ) -> Result<Bound, BindError> {
        Binding::new(self, address, write).bind(force)
    }

    /// Takes a device from its VFIO driver, and lets the kernel bind the driver that it has for it.
    ///
    /// One that a process has open, or with virtual functions that are in use, is taken only if `force` says so, and
    /// the kernel then waits, as with [`bind`](Self::bind).
    ///
    /// # Errors
    /// [`BindError`]; the device then has the driver that it had.
    pub fn unbind(&self, address: Address, force: bool) -> Result<Unbound, BindError> {
        self.unbind_through(address, force, write_attribute)
    }

    /// Works as [`unbind`](Self::unbind). Attributes are written by `write`, as with
    /// [`bind_through`](Self::bind_through).
    ///
    /// # Errors
    /// As [`bind_through`](Self::bind_through).
    pub fn unbind_through(
        &self,
        address: Address,
        force: bool,
        write: impl Fn(&Path, &str) -> io::Result<()>,
    ) -> Result<Unbound, BindError> {
        Binding::new(self, address, write).unbind(force)
    }
}

/// One device whose driver is changed. `W` writes an attribute.
struct Binding<'s, W> {
    system: &'s System,
    address: Address,
    directory: PathBuf,
    write: W,
}

impl<'s, W: Fn(&Path, &str) -> io::Result<()>> Binding<'s, W> {
    fn new(system: &'s System, address: Address, write: W) -> Self {
        let directory = system.device_directory(address);
        Self {
            system,
            address,
            directory,
            write,
        }
    }

    fn bind(&self, force: bool) -> Result<Bound, BindError> {
        let device = self.system.device(self.address)?;
        if device.bridge {
            return Err(BindError::Bridge(self.address));
        }
        if device.has_vfio_driver() {
            return Ok(Bound {
                driver: device.driver.clone().unwrap_or_default(),
                previous: device.driver,
                changed: false,
            });
        }
        if !self.system.has_vfio_pci() {
            return Err(BindError::ModuleMissing);
        }
        if !force {
            self.refuse_used(self.system.usages(&device))?;
        }
        match self.rebind(&device, VFIO_PCI, |driver| driver == Some(VFIO_PCI))? {
            Some(driver) => Ok(Bound {
                driver,
                previous: device.driver,
                changed: true,
            }),
            // It was checked that there is one.
            None => Err(self.wrong_driver(None, Vec::new())),
        }
    }

    fn unbind(&self, force: bool) -> Result<Unbound, BindError> {
        let device = self.system.device(self.address)?;
        let Some(previous) = device.driver.clone().filter(|_| device.has_vfio_driver()) else {
            return Err(BindError::NotBound {
                address: self.address,
                driver: device.driver,
            });
        };
        if !force {
            self.refuse_open(&device)?;
        }
        // A driver that was told to take all devices with such ids would take it again.
        let is_other = |driver: Option<&str>| driver != Some(previous.as_str());
        let driver = self.rebind(&device, NO_OVERRIDE, is_other)?;
        Ok(Unbound { previous, driver })
    }

    fn refuse_used(&self, usages: Vec<Usage>) -> Result<(), BindError> {
        if usages.is_empty() {
            return Ok(());
        }
        Err(BindError::InUse {
            address: self.address,
            usages,
        })
    }

    /// Refuses to take a device from its VFIO driver that would wait until it is closed.
    fn refuse_open(&self, device: &SysfsDevice) -> Result<(), BindError> {
        let processes = self.system.processes_with(device);
        if !processes.is_empty() {
            return Err(BindError::Open {
                address: self.address,
                processes,
            });
        }
        let mut usages = self.system.usages(device);
        // The display is VFIO's already.
        usages.retain(|usage| *usage != Usage::BootDisplay);
        self.refuse_used(usages)
    }

    /// Has the kernel look for a driver anew, with this override, and returns the one that it bound. What was done is
    /// undone where a step fails and where the driver is not `wanted`.
    fn rebind(
        &self,
        device: &SysfsDevice,
        name: &str,
        wanted: impl Fn(Option<&str>) -> bool,
    ) -> Result<Option<String>, BindError> {
        let before = self.driver_override();
        let undo = || self.give_back(&before, device.driver.as_deref());
        self.set_override(name)
            .map_err(|step| self.failed(step, Vec::new))?;
        let steps = || {
            if device.driver.is_some() {
                self.release()?;
            }
            self.probe()
        };
        steps().map_err(|step| self.failed(step, undo))?;
        let driver = self.driver().map_err(|error| BindError::Verify {
            error,
            left: undo(),
        })?;
        if wanted(driver.as_deref()) {
            Ok(driver)
        } else {
            let left = undo();
            Err(self.wrong_driver(driver, left))
        }
    }

    /// Makes the error of a failed step. What was done is undone, unless the kernel is still at it and holds the
    /// device.
    fn failed(&self, step: StepError, undo: impl FnOnce() -> Vec<StepError>) -> BindError {
        let address = self.address;
        if step.is_unfinished() {
            return BindError::Unfinished { address, step };
        }
        let left = undo();
        BindError::Step { step, left }
    }

    /// Puts the override and the driver back; tells what did not work.
    fn give_back(&self, name: &str, driver: Option<&str>) -> Vec<StepError> {
        let mut left = Vec::new();
        left.extend(self.set_override(name).err());
        let now = self.driver().ok().flatten();
        if now.as_deref() == driver {
            return left;
        }
        // Whatever is written while the kernel is at a step waits for it.
        let is_held = |left: &[StepError]| left.iter().any(StepError::is_unfinished);
        if now.is_some() && !is_held(&left) {
            left.extend(self.release().err());
        }
        if let Some(driver) = driver.filter(|_| !is_held(&left)) {
            left.extend(self.give_to(driver).err());
        }
        left
    }

    const fn wrong_driver(&self, driver: Option<String>, left: Vec<StepError>) -> BindError {
        BindError::WrongDriver {
            address: self.address,
            driver,
            left,
        }
    }

    /// Returns the driver that the device has.
    fn driver(&self) -> Result<Option<String>, DiscoveryError> {
        sysfs::link_name(&self.directory.join("driver"))
    }

    /// Returns the value that sets `driver_override` to what it is now.
    fn driver_override(&self) -> String {
        match sysfs::text(&self.directory.join("driver_override")) {
            Ok(name) if !name.is_empty() && name != "(null)" => name,
            _ => NO_OVERRIDE.into(),
        }
    }

    fn set_override(&self, name: &str) -> Result<(), StepError> {
        self.set(self.directory.join("driver_override"), name)
    }

    fn release(&self) -> Result<(), StepError> {
        self.set(
            self.directory.join("driver/unbind"),
            &self.address.to_string(),
        )
    }

    /// Has the kernel look for a driver.
    fn probe(&self) -> Result<(), StepError> {
        let path = self.system.sysfs.join("bus/pci/drivers_probe");
        self.set(path, &self.address.to_string())
    }

    fn give_to(&self, driver: &str) -> Result<(), StepError> {
        let drivers = self.system.sysfs.join("bus/pci/drivers");
        self.set(drivers.join(driver).join("bind"), &self.address.to_string())
    }

    fn set(&self, path: PathBuf, value: &str) -> Result<(), StepError> {
        (self.write)(&path, value).map_err(|source| StepError {
            path,
            value: value.to_owned(),
            source,
        })
    }
}

/// Writes an attribute of sysfs, in one call, as the kernel wants it. One that is missing is not made.
///
/// # Errors
/// Why it could not be written.
pub fn write_attribute(path: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(path)?
        .write_all(value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::fake_kernel::FakeKernel;
    use super::*;
    use vfio_conformance::fake_tree::FakeTree;

    const NVME: &str = "0000:00:06.0";

    /// Returns a disk that nvme has, on a system with vfio-pci.
    fn tree() -> FakeTree {
        let tree = FakeTree::new();
        tree.device(NVME, 0x1b36, 0x0010, 0x010802);
        tree.bind(NVME, "nvme");
        tree.driver("vfio-pci");
        tree
    }

    fn bind(kernel: &FakeKernel<'_>, force: bool) -> Result<Bound, BindError> {
        let system = System::below(kernel.tree.root());
        Binding::new(&system, address(), |path: &Path, value: &str| {
            kernel.write(path, value)
        })
        .bind(force)
    }

    fn unbind(kernel: &FakeKernel<'_>) -> Result<Unbound, BindError> {
        unbind_by(kernel, false)
    }

    fn unbind_by(kernel: &FakeKernel<'_>, force: bool) -> Result<Unbound, BindError> {
        let system = System::below(kernel.tree.root());
        Binding::new(&system, address(), |path: &Path, value: &str| {
            kernel.write(path, value)
        })
        .unbind(force)
    }

    fn address() -> Address {
        NVME.parse().unwrap()
    }

    fn driver(tree: &FakeTree) -> Option<String> {
        let system = System::below(tree.root());
        system.device(address()).unwrap().driver
    }

    #[test]
    fn the_old_driver_is_given_back() {
        let tree = tree();
        let kernel = FakeKernel::new(&tree, NVME, "nvme");
        assert_eq!(
            bind(&kernel, false).unwrap(),
            Bound {
                driver: "vfio-pci".into(),
                previous: Some("nvme".into()),
                changed: true
            }
        );
        assert_eq!(driver(&tree).as_deref(), Some("vfio-pci"));
        assert_eq!(kernel.driver_override(), "vfio-pci");

        let again = bind(&kernel, false).unwrap();
        assert!(!again.changed);

        assert_eq!(
            unbind(&kernel).unwrap(),
            Unbound {
                previous: "vfio-pci".into(),
                driver: Some("nvme".into())
            }
        );
        assert_eq!(driver(&tree).as_deref(), Some("nvme"));
        assert_eq!(kernel.driver_override(), "(null)");
        assert!(matches!(
            unbind(&kernel),
            Err(BindError::NotBound { driver: Some(driver), .. }) if driver == "nvme"
        ));
    }

    #[test]
    fn a_device_without_a_driver_is_bound_and_given_back_to_none() {
        let tree = tree();
        tree.remove("sys/devices/pci/0000:00:06.0/driver");
        let kernel = FakeKernel::new(&tree, NVME, "");
        assert_eq!(bind(&kernel, false).unwrap().previous, None);
        assert_eq!(unbind(&kernel).unwrap().driver, None);
        assert_eq!(driver(&tree), None);
    }

    #[test]
    fn whichever_step_fails_the_device_is_as_it_was() {
        for step in 0..3 {
            let tree = tree();
            let kernel = FakeKernel::new(&tree, NVME, "nvme");
            kernel.fail_at(step..step + 1);
            let error = bind(&kernel, false).unwrap_err();
            assert!(
                matches!(&error, BindError::Step { left, .. } if left.is_empty()),
                "{error}"
            );
            assert_eq!(driver(&tree).as_deref(), Some("nvme"), "{error}");
            assert_eq!(kernel.driver_override(), "(null)", "{error}");
        }
        for step in 0..3 {
            let tree = tree();
            let kernel = FakeKernel::new(&tree, NVME, "nvme");
            bind(&kernel, false).unwrap();
            kernel.fail_at(step..step + 1);
            let error = unbind(&kernel).unwrap_err();
            assert!(error.left().is_empty(), "{error}");
            assert_eq!(driver(&tree).as_deref(), Some("vfio-pci"), "{error}");
            assert_eq!(kernel.driver_override(), "vfio-pci", "{error}");
        }
    }

    #[test]
    fn what_could_not_be_undone_is_told() {
        let tree = tree();
        let kernel = FakeKernel::new(&tree, NVME, "nvme");
        kernel.fail_at(2..100);
        let error = bind(&kernel, false).unwrap_err();
        let files: Vec<_> = error
            .left()
            .iter()
            .map(|step| step.path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(files, ["driver_override", "bind"], "{error}");
        assert!(error.to_string().contains("undoing failed"), "{error}");
    }

    #[test]
    fn a_device_that_vfio_pci_does_not_take_keeps_its_driver() {
        let tree = tree();
        let kernel = FakeKernel::new(&tree, NVME, "nvme");
        kernel.refuse("vfio-pci");
        let error = bind(&kernel, false).unwrap_err();
        assert_eq!(error.to_string(), "vfio-pci does not take 0000:00:06.0");
        assert_eq!(driver(&tree).as_deref(), Some("nvme"));
        assert_eq!(kernel.driver_override(), "(null)");
    }

    #[test]
    fn a_device_that_vfio_pci_takes_again_stays_as_it_was() {
        let tree = tree();
        // As with the module's parameter `ids`.
        let kernel = FakeKernel::new(&tree, NVME, "vfio-pci");
        bind(&kernel, false).unwrap();
        let error = unbind(&kernel).unwrap_err();
        assert!(matches!(error, BindError::WrongDriver { .. }), "{error}");
        assert_eq!(driver(&tree).as_deref(), Some("vfio-pci"));
        assert_eq!(kernel.driver_override(), "vfio-pci");
    }

    #[test]
    fn an_override_that_was_there_is_put_back_when_binding_fails() {
        let tree = tree();
        tree.write("sys/devices/pci/0000:00:06.0/driver_override", "nvme\n");
        let kernel = FakeKernel::new(&tree, NVME, "nvme");
        kernel.refuse("vfio-pci");
        bind(&kernel, false).unwrap_err();
        assert_eq!(kernel.driver_override(), "nvme");
    }

    #[test]
    fn what_cannot_be_bound_is_not_touched() {
        let tree = tree();
        let kernel = FakeKernel::new(&tree, NVME, "nvme");
        tree.write("sys/devices/pci/0000:00:06.0/boot_vga", "1\n");
        assert!(matches!(
            bind(&kernel, false),
            Err(BindError::InUse { usages, .. }) if usages == [crate::discovery::Usage::BootDisplay]
        ));
        let mut header = [0; 64];
        header[14] = 1;
        tree.write("sys/devices/pci/0000:00:06.0/config", header);
        assert!(matches!(bind(&kernel, true), Err(BindError::Bridge(_))));
        tree.remove("sys/devices/pci/0000:00:06.0/config");
        std::fs::remove_dir(tree.root().join("sys/bus/pci/drivers/vfio-pci")).unwrap();
        assert!(matches!(bind(&kernel, true), Err(BindError::ModuleMissing)));
        assert_eq!(kernel.writes(), 0);
    }

    #[test]
    fn a_device_that_a_process_has_open_is_not_taken_away() {
        let tree = tree();
        tree.group(NVME, 7);
        let kernel = FakeKernel::new(&tree, NVME, "nvme");
        bind(&kernel, false).unwrap();
        tree.write("proc/31/comm", "qemu\n");
        tree.write("proc/31/fd/.keep", "");
        tree.link("proc/31/fd/4", "dev/vfio/7");
        let error = unbind(&kernel).unwrap_err();
        assert_eq!(
            error.to_string(),
            "0000:00:06.0 is open in process 31 (qemu)"
        );
        tree.remove("proc/31/fd/4");
        unbind(&kernel).unwrap();
    }

    /// Builds a virtual function of the disk that a process has open.
    fn open_virtual_function(tree: &FakeTree) {
        let address = "0000:00:06.1";
        tree.device(address, 1, 2, 0x010802);
        tree.group(address, 8);
        tree.bind(address, "vfio-pci");
        tree.link(
            "sys/devices/pci/0000:00:06.0/virtfn0",
            "sys/devices/pci/0000:00:06.1",
        );
        tree.write("proc/31/comm", "qemu\n");
        tree.write("proc/31/fd/.keep", "");
        tree.link("proc/31/fd/4", "dev/vfio/8");
    }

    #[test]
    fn a_device_with_a_virtual_function_in_use_is_taken_by_force_only() {
        let tree = tree();
        open_virtual_function(&tree);
        let kernel = FakeKernel::new(&tree, NVME, "nvme");
        let expected = "0000:00:06.0 is in use: 0000:00:06.1, which would go with it: /dev/vfio/8 is open in \
                        process 31 (qemu)";
        assert_eq!(bind(&kernel, false).unwrap_err().to_string(), expected);
        assert_eq!(kernel.writes(), 0);
        bind(&kernel, true).unwrap();
        assert_eq!(unbind(&kernel).unwrap_err().to_string(), expected);
        assert_eq!(driver(&tree).as_deref(), Some("vfio-pci"));
        unbind_by(&kernel, true).unwrap();
        assert_eq!(driver(&tree).as_deref(), Some("nvme"));
    }

    #[test]
    fn what_the_kernel_does_not_finish_is_left_to_it() {
        for step in 0..3 {
            let tree = tree();
            let kernel = FakeKernel::new(&tree, NVME, "nvme");
            kernel.wait_at(step..100);
            let error = bind(&kernel, true).unwrap_err();
            assert!(matches!(error, BindError::Unfinished { .. }), "{error}");
            // To undo something would wait as well.
            assert_eq!(kernel.writes(), step + 1);
        }
        // Nor is it waited for twice where something else went wrong.
        let tree = tree();
        let kernel = FakeKernel::new(&tree, NVME, "nvme");
        kernel.fail_at(2..3);
        kernel.wait_at(3..100);
        let error = bind(&kernel, true).unwrap_err();
        assert_eq!(error.left().len(), 1, "{error}");
        assert_eq!(kernel.writes(), 4);
    }

    #[test]
    fn a_missing_attribute_is_not_made() {
        let tree = tree();
        let path = tree
            .root()
            .join("sys/devices/pci/0000:00:06.0/driver_override");
        let error = System::below(tree.root()).bind(address(), false);
        assert!(
            matches!(&error, Err(BindError::Step { step, .. })
                if step.source.kind() == io::ErrorKind::NotFound && step.path.ends_with("driver_override")),
            "{error:?}"
        );
        assert!(!path.exists());
    }
}
