//! A device that is unplugged while a program has it.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use vfio_core::dma::{Direction, Dma};
use vfio_core::open::AddressSpace;
use vfio_core::open::container::{Container, OpenError};
use vfio_core::sys::Errno;
use vfio_core::wire::abi::{Extension, pci_irq, pci_region};
use vfio_guest::{Line, RESULTS};
use vfio_hosted::linux::Linux;

use crate::report::NotRun;
use crate::world::{World, group};

/// The device, by its name and by QEMU's id.
const DEVICE: &str = "edu-plug";

/// The longest that the kernel may take to ask for the device, and to take it away; it waits for
/// five seconds whether the button at the slot is pressed again.
const PATIENCE: Duration = Duration::from_secs(60);

/// Checks that the device is asked for, given back, and gone.
pub(crate) fn requested(world: &World) -> Result<String> {
    let device = world.named(DEVICE)?;
    if fs::read_dir("/sys/bus/pci/slots").map_or(0, Iterator::count) == 0 {
        return Err(NotRun("this kernel unplugs nothing".into()).into());
    }
    let container = Container::open(Linux)?;
    let number = group(device)?;
    let group = container.attach(number)?;
    container.set_iommu(Extension::TYPE1V2_IOMMU)?;
    let name = std::ffi::CString::new(device.address())?;
    let opened = group.device(&name)?;
    let requests = opened.vectors::<1>(pci_irq::REQ)?;
    let mut bar0 = opened.bring_up(pci_region::BAR0)?;
    let dma = Dma::<_, 16>::new(Linux, AddressSpace::Container(container))?;
    let memory = dma.buffer(4096, Direction::Both)?;
    ensure!(requests.take(0)? == 0, "it is asked for already");

    let start = Instant::now();
    ask()?;
    ensure!(requests.wait(0, PATIENCE)? > 0, "it is not asked for");
    let asked = start.elapsed();
    // It is there until it is given back.
    ensure!(bar0.read::<u32>(0)? == 0x0100_00ed, "it is gone already");
    ensure!(Path::new(&device.sysfs()).exists(), "it is gone already");
    drop((memory, bar0, requests));
    drop(opened);
    while Path::new(&device.sysfs()).exists() {
        ensure!(start.elapsed() < PATIENCE, "it is still there");
        sleep(Duration::from_millis(20));
    }
    let gone = start.elapsed();

    // What is still open has errors for it.
    let again = group.device(&name).err();
    ensure!(
        matches!(again, Some(OpenError::Device(Errno::ENODEV))),
        "opened again: {again:?}"
    );
    let mapped = dma.buffer(4096, Direction::Both).err();
    ensure!(
        mapped.is_some(),
        "memory is mapped for a device that is gone"
    );
    drop((group, dma));
    let other = Container::open(Linux)?;
    let attached = other.attach(number).err();
    ensure!(
        matches!(
            attached,
            Some(OpenError::Group {
                errno: Errno::ENOENT,
                ..
            })
        ),
        "its group: {attached:?}"
    );
    Ok(format!(
        "asked for after {asked:.0?}, gone after {gone:.0?}; {mapped:?}"
    ))
}

/// Asks the host to unplug the device.
fn ask() -> Result<()> {
    let mut port = fs::OpenOptions::new()
        .write(true)
        .open(RESULTS)
        .with_context(|| format!("cannot open {RESULTS}"))?;
    let line = serde_json::to_string(&Line::Ask {
        unplug: DEVICE.into(),
    })?;
    Ok(writeln!(port, "{line}")?)
}
