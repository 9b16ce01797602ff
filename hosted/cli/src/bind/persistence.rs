//! Rules with which udev gives devices to vfio-pci at each start (udev(7)).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use vfio_hosted::discovery::Address;

use crate::failure::Failure;

/// Returns the file of a device's rule. It comes before the rules that load the kernel's own drivers
/// (80-drivers.rules of systemd).
pub(super) fn path(root: &Path, address: Address) -> PathBuf {
    root.join(format!("etc/udev/rules.d/20-vfio-{address}.rules"))
}

/// Returns the rule of a device.
pub(super) fn rule(address: Address) -> String {
    format!(
        "# Made by `vfio bind --persist`; `vfio unbind` removes it.\n\
         ACTION==\"add\", SUBSYSTEM==\"pci\", KERNEL==\"{address}\", ATTR{{driver_override}}=\"vfio-pci\", \
         RUN{{builtin}}+=\"kmod load vfio-pci\"\n"
    )
}

/// Writes a file of rules.
pub(super) fn write(path: &Path, rule: &str) -> Result<(), Failure> {
    let directory = path.parent().map_or(Ok(()), fs::create_dir_all);
    directory
        .and_then(|()| fs::write(path, rule))
        .map_err(|source| unwritable(path, source))
}

/// Removes a file of rules, where there is one.
pub(super) fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(unwritable(path, source)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn unwritable(path: &Path, source: io::Error) -> Failure {
    Failure::Unwritable {
        path: path.to_owned(),
        source,
    }
}
