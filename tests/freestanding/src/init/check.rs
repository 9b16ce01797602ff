//! The checks: what the kernel says of `edu`, against what is known of it.

use vfio_core::device::Device;
use vfio_core::open::AddressSpace;
use vfio_core::open::Session;
use vfio_core::open::container::Container;
use vfio_core::query::QueryError;
use vfio_core::sys::Errno;
use vfio_core::wire::abi::{DeviceFlags, IrqFlags, RegionFlags, pci_irq, pci_region};
use vfio_core::wire::info::Mappable;
use vfio_exercise::{Outcome, RunError, edu};
use vfio_freestanding::checks::Check;
use vfio_hosted::linux::Linux;

use crate::failure::Failure;
use crate::text::Text;

/// The size of BAR0 in bytes.
const BAR0: u64 = 1 << 20;

/// The vendor and the device, as they stand at the start of config space.
const IDS: u32 = 0x11e8_1234;

/// What the register at 0 of BAR0 reads: the version, and `ed`.
const IDENTIFICATION: u32 = 0x0100_00ed;

/// What a check returns: what it saw.
type Verdict = Result<Text, Failure>;

/// Makes a check.
pub(crate) fn run(check: Check, session: &Session<Linux>) -> Verdict {
    let device = &session.device;
    match check {
        // They led here, and the last leads on.
        Check::Setup | Check::Open | Check::Driver => Ok(Text::new()),
        Check::Device => info(device),
        Check::Regions => regions(device),
        Check::Interrupts => interrupts(device),
        Check::Indexes => indexes(device),
        Check::Iommu => match &session.space {
            AddressSpace::Container(container) => iommu(container),
            _ => Err(Failure::Other("there is no container")),
        },
        Check::HotReset => hot_reset(device),
        Check::Registers => registers(device),
    }
}

/// Runs the reference driver.
pub(crate) fn driver(session: Session<Linux>) -> Verdict {
    let report = match edu::run(Linux, session) {
        Ok(report) => report,
        Err(RunError::BringUp(_)) => return Err(Failure::Other("BAR0 can't be reached")),
        Err(RunError::Dma(_)) => return Err(Failure::Other("there is no DMA")),
    };
    for (step, outcome) in &report.steps {
        holds(matches!(outcome, Outcome::Passed), step.name())?;
    }
    Ok(Text::new()
        .decimal(length(report.steps.len()))
        .and(" steps"))
}

fn info(device: &Device<Linux>) -> Verdict {
    let mut buffer = [0; 64];
    let info = device.info(&mut buffer)?;
    holds(info.flags.contains(DeviceFlags::PCI), "it is no PCI device")?;
    same("the number of regions", info.num_regions, pci_region::NUM)?;
    same("the number of interrupts", info.num_irqs, pci_irq::NUM)?;
    Ok(Text::new()
        .and("flags ")
        .hexadecimal(info.flags.bits().into()))
}

fn regions(device: &Device<Linux>) -> Verdict {
    let mut buffer = [0; 256];
    let bar = device.region(pci_region::BAR0, &mut buffer)?;
    same("the size of BAR0", bar.size, BAR0)?;
    let expected = RegionFlags::READ | RegionFlags::WRITE | RegionFlags::MMAP;
    holds(
        bar.flags.contains(expected),
        "BAR0 can't be read, written and mapped",
    )?;
    holds(
        bar.mappable() == Mappable::Everything,
        "BAR0 can't be mapped as a whole",
    )?;
    let config = device.region(pci_region::CONFIG, &mut buffer)?;
    same("the size of config space", config.size, 256_u64)?;
    holds(
        config.mappable() == Mappable::Nothing,
        "config space can be mapped",
    )?;
    match device.region(pci_region::VGA, &mut buffer) {
        Err(QueryError::Errno(Errno::EINVAL)) => Ok(Text::new().and("BAR0, config space")),
        Err(error) => Err(error.into()),
        Ok(_) => Err(Failure::Other("there is a VGA region")),
    }
}

fn interrupts(device: &Device<Linux>) -> Verdict {
    let msi = device.irq(pci_irq::MSI)?;
    same("the count of MSI", msi.count, 1_u32)?;
    holds(msi.flags.contains(IrqFlags::EVENTFD), "MSI has no eventfd")?;
    same("the count of INTx", device.irq(pci_irq::INTX)?.count, 1_u32)?;
    same(
        "the count of MSI-X",
        device.irq(pci_irq::MSIX)?.count,
        0_u32,
    )?;
    Ok(Text::new().and("INTx, MSI"))
}

fn indexes(device: &Device<Linux>) -> Verdict {
    let mut buffer = [0; 256];
    let info = device.info(&mut buffer)?;
    let (num_regions, num_irqs) = (info.num_regions, info.num_irqs);
    let mut regions = 0_u64;
    for index in 0..num_regions {
        match device.region(index, &mut buffer) {
            Ok(_) => regions = regions.saturating_add(1),
            Err(QueryError::Errno(Errno::EINVAL)) => (),
            Err(error) => return Err(error.into()),
        }
    }
    // All but VGA.
    same("the number of regions", regions, 8_u64)?;
    // INTx, MSI, and the request to give the device back; kernels disagree about the errors of PCI Express, which edu
    // does not have.
    let mut total = 0_u64;
    for index in 0..num_irqs {
        match device.irq(index) {
            Ok(irq) => total = total.saturating_add(irq.count.into()),
            Err(QueryError::Errno(Errno::EINVAL)) => (),
            Err(error) => return Err(error.into()),
        }
    }
    holds(
        (3..=4).contains(&total),
        "the interrupts are not three or four",
    )?;
    Ok(Text::new().decimal(total).and(" interrupts"))
}

fn iommu(container: &Container<Linux>) -> Verdict {
    let mut buffer = [0; 256];
    let info = container.iommu_info(&mut buffer)?;
    holds(
        info.iova_pgsizes & 0x1000 != 0,
        "pages of 4 KiB can't be mapped",
    )?;
    let ranges = info
        .iova_ranges()
        .ok_or(Failure::Other("there are no IOVA ranges"))?;
    holds(!ranges.is_empty(), "no IOVA can be mapped")?;
    let text = Text::new().decimal(length(ranges.len()));
    Ok(text
        .and(" ranges, page sizes ")
        .hexadecimal(info.iova_pgsizes))
}

fn hot_reset(device: &Device<Linux>) -> Verdict {
    match device.hot_reset_info(&mut [0; 64]) {
        // The slots of the root bus can't be reset.
        Err(QueryError::Errno(Errno::ENODEV)) => Ok(Text::new().and("ENODEV")),
        Err(error) => Err(error.into()),
        Ok(_) => Err(Failure::Other("there is a hot reset on the root bus")),
    }
}

fn registers(device: &Device<Linux>) -> Verdict {
    for (index, must_be, what) in [
        (pci_region::CONFIG, IDS, "the start of config space"),
        (pci_region::BAR0, IDENTIFICATION, "the register at 0"),
    ] {
        let region = device
            .region(index, &mut [0; 256])
            .map(|info| info.offset)?;
        let mut word = [0; 4];
        let read = device
            .read(region, 0, &mut word)
            .map_err(|errno| Failure::Call(what, errno.0))?;
        same("the length of a read", length(read), 4_u64)?;
        same(what, u32::from_le_bytes(word), must_be)?;
    }
    Ok(Text::new().hexadecimal(IDENTIFICATION.into()))
}

fn same<N: Into<u64>>(what: &'static str, is: N, must_be: N) -> Result<(), Failure> {
    let (is, must_be) = (is.into(), must_be.into());
    if is == must_be {
        Ok(())
    } else {
        Err(Failure::Differs { what, is, must_be })
    }
}

fn holds(condition: bool, otherwise: &'static str) -> Result<(), Failure> {
    if condition {
        Ok(())
    } else {
        Err(Failure::Other(otherwise))
    }
}

fn length(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
