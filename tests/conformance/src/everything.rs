//! All the indexes of a device, each asked about.

use core::error::Error;

use vfio_core::device::Device;
use vfio_core::query::QueryError;
use vfio_core::sys::{Errno, Sys};
use vfio_core::wire::info::IrqInfo;

/// What a device says of each of its indexes; `None` where an index has nothing.
#[derive(Clone, Debug)]
pub struct Everything {
    /// The sizes of the regions in bytes.
    pub regions: Vec<Option<u64>>,
    /// The interrupts.
    pub irqs: Vec<Option<IrqInfo>>,
}

impl Everything {
    /// Asks `device` about every region and every interrupt.
    ///
    /// # Errors
    /// What a question returns; an index with nothing is none.
    pub fn ask<S: Sys>(device: &Device<S>) -> Result<Self, Box<dyn Error>> {
        let mut buffer = [0; 1024];
        let info = device.info(&mut buffer)?;
        let (regions, irqs) = (0..info.num_regions, 0..info.num_irqs);
        let regions = regions.map(|index| there(device.region(index, &mut buffer).map(|r| r.size)));
        let regions = regions.collect::<Result<_, _>>()?;
        let irqs = irqs.map(|index| there(device.irq(index)));
        let irqs = irqs.collect::<Result<_, _>>()?;
        Ok(Self { regions, irqs })
    }

    /// Returns how many interrupts the index `index` has.
    #[must_use]
    pub fn irq_count(&self, index: u32) -> u32 {
        let irq = usize::try_from(index).ok();
        let irq = irq.and_then(|index| self.irqs.get(index)?.as_ref());
        irq.map_or(0, |irq| irq.count)
    }
}

/// Tells an index that has nothing from a question that failed.
fn there<T, H>(answer: Result<T, QueryError<H>>) -> Result<Option<T>, QueryError<H>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(QueryError::Errno(Errno::EINVAL)) => Ok(None),
        Err(error) => Err(error),
    }
}
