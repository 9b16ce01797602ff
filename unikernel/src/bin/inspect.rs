//! All that VFIO says of the machine's devices: each is opened, and its regions, their
//! capabilities and its interrupts are logged.
#![no_std]
#![no_main]

use vfio_core::device::Device;
use vfio_core::device::coverage::Reach;
use vfio_core::open::{Mode, Session, SessionError};
use vfio_core::pci::{
    CapabilityId, Config, ConfigError, DeviceConfig, ExtendedId, HeaderLayout, StandardId,
    TransferError,
};
use vfio_core::query::QueryError;
use vfio_core::sys::{Errno, NoIommu};
use vfio_core::wire::abi::{IrqInfo, RegionFlags, RegionInfo, pci_irq, pci_region};
use vfio_core::wire::caps::RegionCap;
use vfio_unikernel::GuestPci;
use vfio_unikernel::boot::Boot;
use vfio_unikernel::shim::DiscoverError;

vfio_unikernel::entry!(main);

/// Why not everything could be logged.
#[derive(defmt::Format)]
enum Error {
    /// The machine's devices can't be had.
    Discover(DiscoverError),
    /// There is no device but bridges.
    NoDevice,
    /// A device can't be opened.
    Open(SessionError),
    /// A region can't be asked about.
    Region(u32, QueryError<RegionInfo>),
    /// An interrupt index can't be asked about.
    Irq(u32, QueryError<IrqInfo>),
    /// Its configuration space can't be followed.
    Config(ConfigError<TransferError>),
}

fn main(boot: &Boot) -> Result<(), Error> {
    defmt::info!("ACPI at {=u64:#x}", boot.rsdp);
    for stretch in boot.memory.iter() {
        let range = stretch.range();
        defmt::info!(
            "{=u64:#x}..{=u64:#x}: {}",
            range.start,
            range.end,
            stretch.is_ram()
        );
    }
    // SAFETY: no device is given memory.
    let machine = GuestPci::new(unsafe { NoIommu::acknowledge() });
    machine.discover(boot).map_err(Error::Discover)?;
    let mut found = false;
    for (group, function) in machine.functions() {
        defmt::info!(
            "{}: {=u16:04x}:{=u16:04x}, class {=u8:02x}{=u8:02x}",
            function.address,
            function.id.vendor,
            function.id.device,
            function.class.base,
            function.class.sub
        );
        if function.layout == HeaderLayout::NORMAL {
            found = true;
            inspect(machine, group)?;
        }
    }
    if found { Ok(()) } else { Err(Error::NoDevice) }
}

/// Logs what is said of the device of a group.
fn inspect(machine: GuestPci, group: u32) -> Result<(), Error> {
    let mut name = [0; 13];
    let place = machine.place(group, &mut name).ok_or(Error::NoDevice)?;
    let session = Session::open_in(Mode::NoIommu, &machine, &place).map_err(Error::Open)?;
    for index in 0..pci_region::NUM {
        region(&session.device, index)?;
    }
    for index in 0..pci_irq::NUM {
        match session.device.irq(index) {
            Ok(irq) if irq.count != 0 => {
                defmt::info!("  IRQ {=u32}: {=u32}, {}", index, irq.count, irq.flags);
            }
            Ok(_) | Err(QueryError::Errno(Errno::EINVAL)) => (),
            Err(error) => return Err(Error::Irq(index, error)),
        }
    }
    capabilities(&session.device)
}

/// Logs a region, its capabilities, and how its bytes are reached.
fn region(device: &Device<GuestPci>, index: u32) -> Result<(), Error> {
    let mut buffer = [0; 256];
    let region = match device.region(index, &mut buffer) {
        Ok(region) if region.size != 0 => region,
        Ok(_) | Err(QueryError::Errno(Errno::EINVAL)) => return Ok(()),
        Err(error) => return Err(Error::Region(index, error)),
    };
    let says = |flag, word| {
        if region.flags.contains(flag) {
            word
        } else {
            defmt::intern!("")
        }
    };
    defmt::info!(
        "  region {=u32}: {=u64:#x} bytes{=istr}{=istr}{=istr}",
        index,
        region.size,
        says(RegionFlags::READ, defmt::intern!(", read")),
        says(RegionFlags::WRITE, defmt::intern!(", write")),
        says(RegionFlags::MMAP, defmt::intern!(", mmap")),
    );
    for cap in region.caps {
        match cap {
            RegionCap::MsixMappable => defmt::info!("    MSI-X mappable"),
            RegionCap::SparseMmap(_) => defmt::info!("    sparse mmap"),
            RegionCap::Unknown(cap) => {
                defmt::info!("    capability {=u16}, version {=u16}", cap.id, cap.version);
            }
            _ => defmt::info!("    another capability"),
        }
    }
    for span in device.coverage(&region) {
        let (start, size) = (span.offset, span.size);
        match span.reach {
            Reach::Mapped => defmt::info!("    {=u64:#x}, {=u64:#x} bytes: mapped", start, size),
            Reach::Trapped => defmt::info!("    {=u64:#x}, {=u64:#x} bytes: trapped", start, size),
        }
    }
    Ok(())
}

/// Logs the capabilities in configuration space.
fn capabilities(device: &Device<GuestPci>) -> Result<(), Error> {
    let config = DeviceConfig::ask(device, &mut [0; 64]);
    let config = config.map_err(|error| Error::Region(pci_region::CONFIG, error))?;
    let config = Config::new(config);
    for entry in config.capabilities().chain(config.extended_capabilities()) {
        let entry = entry.map_err(Error::Config)?;
        defmt::info!(
            "  {=istr} ({}) at {=u16:#x}",
            name(entry.id),
            entry.id,
            entry.offset
        );
    }
    Ok(())
}

/// Returns the name of a capability in linux/pci_regs.h, without its prefix.
fn name(id: CapabilityId) -> defmt::Str {
    match id {
        CapabilityId::Standard(id) => match id {
            StandardId::PM => defmt::intern!("PM"),
            StandardId::VPD => defmt::intern!("VPD"),
            StandardId::MSI => defmt::intern!("MSI"),
            StandardId::VNDR => defmt::intern!("VNDR"),
            StandardId::EXP => defmt::intern!("EXP"),
            StandardId::MSIX => defmt::intern!("MSIX"),
            StandardId::SATA => defmt::intern!("SATA"),
            StandardId::AF => defmt::intern!("AF"),
            _ => defmt::intern!("another"),
        },
        CapabilityId::Extended(id) => match id {
            ExtendedId::ERR => defmt::intern!("ERR"),
            ExtendedId::DSN => defmt::intern!("DSN"),
            ExtendedId::ACS => defmt::intern!("ACS"),
            ExtendedId::ARI => defmt::intern!("ARI"),
            ExtendedId::ATS => defmt::intern!("ATS"),
            ExtendedId::SRIOV => defmt::intern!("SRIOV"),
            ExtendedId::PASID => defmt::intern!("PASID"),
            _ => defmt::intern!("another"),
        },
    }
}
