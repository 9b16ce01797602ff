//! The drivers of virtio devices.

use std::net::Ipv4Addr;
use std::process::ExitCode;

use vfio_core::dma::Dma;
use vfio_core::open::Session;
use vfio_core::sys::Sys;
use vfio_drivers::virtio::blk::{self, SECTOR};
use vfio_drivers::virtio::{PciTransport, Transport};
use vfio_exercise::virtio_blk::{self, KEPT, NotRestored};
use vfio_exercise::{Outcome, virtio_net};
use vfio_hosted::discovery;

use super::{NOTICE, Record, save, split, status, told};
use crate::failure::Failure;
use crate::interrupt::{INTERRUPTED, Interrupt};
use crate::nvme::contents::{LOOKED_AT, held_between};
use crate::nvme::drive::RANGES;
use crate::target::{Opened, Task};

/// A network card.
pub(super) struct Net {
    peer: virtio_net::Peer,
}

/// A disk.
pub(super) struct Blk {
    /// It may hold something.
    pub(super) yes: bool,
}

/// The vendor of all virtio devices.
const VENDOR: u16 = 0x1af4;
/// The device ids of network cards: of those that older drivers know, and of the others.
const NET: [u16; 2] = [0x1000, 0x1041];
/// Those of disks.
const BLK: [u16; 2] = [0x1001, 0x1042];

impl Net {
    /// Asks who has `peer`, for `address`.
    pub(super) fn asking(peer: Ipv4Addr, address: Ipv4Addr) -> Self {
        Self {
            peer: virtio_net::Peer {
                address: address.octets(),
                peer: peer.octets(),
            },
        }
    }
}

impl Task for Net {
    /// What was done, and the exit status.
    type Output = (Record, ExitCode);

    fn suits(&self, device: &discovery::SysfsDevice) -> Result<(), Failure> {
        is_one_of(device, NET, "a virtio network card")
    }

    fn run<S: Sys + Clone>(self, opened: Opened<S>) -> Result<Self::Output, Failure> {
        let interrupt = Interrupt::catch(None)?;
        let (sys, session, about) = split(opened);
        let report = virtio_net::run(sys, session, self.peer);
        let report = report.map_err(|error| about.failed(&error))?;
        let steps = told(&report, virtio_net::Step::name, |_| None);
        let record = about.record("virtio-net", report.passed(), steps);
        Ok(ended(record, interrupt))
    }
}

impl Task for Blk {
    /// What was done, and the exit status.
    type Output = (Record, ExitCode);

    fn suits(&self, device: &discovery::SysfsDevice) -> Result<(), Failure> {
        is_one_of(device, BLK, "a virtio disk")
    }

    fn run<S: Sys + Clone>(self, opened: Opened<S>) -> Result<Self::Output, Failure> {
        let (sys, Session { device, space, .. }, about) = split(opened);
        let dma = Dma::<_, RANGES>::new(sys, space).map_err(|error| about.failed(&error))?;
        let open = || PciTransport::open(&device, &dma).map_err(|error| about.failed(&error));
        if !self.yes
            && !about.simulated
            && let Some(what) = held(open()?)
        {
            let name = about.device;
            return Err(Failure::Borrows { name, what });
        }
        // Without a handler, a signal ends the program, and what was there is lost.
        let interrupt = Interrupt::catch(Some(NOTICE))?;
        let mut kept = vec![0; KEPT];
        let report = virtio_blk::exercise(open()?, &mut kept);
        let steps = told(&report, virtio_blk::Step::name, |outcome| match outcome {
            Outcome::Lost(NotRestored { len, .. }) => {
                Some(save("virtio-blk", kept.get(..*len).unwrap_or(&kept)))
            }
            _ => None,
        });
        let record = about.record("virtio-blk", report.passed(), steps);
        Ok(ended(record, interrupt))
    }
}

/// Returns what was done, and what the program exits with: that it was interrupted only where nothing else
/// went wrong.
fn ended(record: Record, interrupt: &Interrupt) -> (Record, ExitCode) {
    let status = match record.passed {
        true if interrupt.is_asked() => ExitCode::from(INTERRUPTED),
        passed => status(passed),
    };
    (record, status)
}

/// Tells whether a device has one of the ids.
fn is_one_of(
    device: &discovery::SysfsDevice,
    ids: [u16; 2],
    wanted: &'static str,
) -> Result<(), Failure> {
    let (vendor, id) = (device.vendor_id, device.device_id);
    if vendor == VENDOR && ids.contains(&id) {
        return Ok(());
    }
    Err(Failure::Unsuitable {
        address: device.address,
        wanted,
        found: format!("it is {vendor:04x}:{id:04x}"),
    })
}

/// Returns what a disk holds. None where it is empty, or where trying the driver ends before it writes
/// anything.
fn held<T: Transport>(transport: T) -> Option<&'static str> {
    let mut disk = blk::Blk::<_, 64>::start(transport, blk::Options::default()).ok()?;
    let capacity = disk.info().capacity;
    let sectors = u64::try_from(LOOKED_AT / SECTOR)
        .unwrap_or(u64::MAX)
        .min(capacity);
    let len = usize::try_from(sectors).unwrap_or(0).saturating_mul(SECTOR);
    let (mut head, mut tail) = (vec![0; len], vec![0; len]);
    let read = disk.read(0, &mut head);
    let read = read.and_then(|()| disk.read(capacity.saturating_sub(sectors), &mut tail));
    if read.is_err() {
        return Some("sectors that can't be read");
    }
    held_between(&head, &tail, SECTOR)
}

#[cfg(test)]
mod tests {
    use vfio_hosted::model::{self, VirtioBlk};
    use vfio_hosted::sim::Kernel;

    use super::*;
    use crate::target::simulate;

    #[test]
    fn nothing_is_written_to_a_disk_that_holds_something_unless_told_to() {
        for (sector, bytes) in [(0, &b"XFSB"[..]), (2047, b"?"), (6143, b"?")] {
            let disk = VirtioBlk::new(8192).with_sector(sector, bytes);
            let control = disk.control();
            let before = control.medium();
            let opened: Opened<Kernel> =
                simulate::<Blk>(model::virtio_blk_with(disk), None).unwrap_or_else(|_| panic!());
            let tried = Blk { yes: false }
                .run(opened)
                .map(|(record, _)| record.passed);
            let is_near_an_end = sector != 6143;
            match tried {
                Err(Failure::Borrows { .. }) => assert!(is_near_an_end, "{sector}"),
                tried => assert!(
                    !is_near_an_end && tried.is_ok_and(|passed| passed),
                    "{sector}"
                ),
            }
            assert!(control.medium() == before);
        }
    }
}
