//! What it costs: system calls, maps, interrupts and register accesses, in each mode.
//!
//! A bench is a check that reports its figures, as the JSON object of a [`Figures`]. Counts are exact; times are for
//! orientation, and for ratios within one run.

pub(super) mod calls;
mod child;
mod dma;
mod interrupt;
mod nvme;
mod peers;
mod register;

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context as _, Result};
use vfio_core::open::{Mode, Session};
use vfio_guest::Device;
use vfio_hosted::linux::Linux;

use super::{Check, On};
use crate::report::NotRun;
use crate::world::{World, place};

pub(crate) use child::{COUNT, run as run_child};

/// The benches, in the order in which they run.
pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "calls",
        on: On::Modes(&["edu"], |_, device, mode| calls::figures(device, mode)),
    },
    Check {
        name: "registers",
        on: On::Modes(&["edu"], |_, device, mode| register::figures(device, mode)),
    },
    Check {
        name: "interrupts",
        on: On::Modes(&["edu"], |_, device, mode| interrupt::figures(device, mode)),
    },
    Check {
        name: "dma",
        on: On::Modes(&["edu"], dma::figures),
    },
    Check {
        name: "nvme",
        on: On::Some(&["nvme"], nvme::iops),
    },
];

/// The benches of a machine that counts instructions.
pub(super) const COUNTED_CHECKS: &[Check] = &[Check {
    name: "nvme instructions",
    on: On::Modes(&["nvme"], nvme::instructions),
}];

/// The benches of a machine without an IOMMU.
pub(super) const NOIOMMU_CHECKS: &[Check] = &[
    Check {
        name: "calls, noiommu",
        on: On::Some(&["edu"], |_, device| calls::figures(device, Mode::NoIommu)),
    },
    Check {
        name: "registers, noiommu",
        on: On::Some(&["edu"], |_, device| {
            register::figures(device, Mode::NoIommu)
        }),
    },
    Check {
        name: "interrupts, noiommu",
        on: On::Some(&["edu"], |_, device| {
            interrupt::figures(device, Mode::NoIommu)
        }),
    },
];

/// Figures, each with a name.
type Figures = BTreeMap<String, f64>;

/// Opens `device` in `mode`.
///
/// # Errors
///
/// It can't be opened; [`NotRun`] where the kernel does not have the mode.
fn open(device: &Device, mode: Mode) -> Result<Session<Linux>> {
    match Session::open_in(mode, &Linux, &place(device)?.as_place()) {
        Err(error) if error.is_absence() => {
            Err(NotRun(format!("this kernel does not have the mode {mode}")).into())
        }
        result => Ok(result?),
    }
}

/// Returns the median of the nanoseconds that `run` takes, of `runs`.
fn median(runs: usize, mut run: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut samples = (0..runs)
        .map(|_| {
            let start = Instant::now();
            run()?;
            Ok(start.elapsed().as_nanos())
        })
        .collect::<Result<Vec<_>>>()?;
    samples.sort_unstable();
    let median = samples.get(runs / 2).context("no run")?;
    Ok(*median as f64)
}
