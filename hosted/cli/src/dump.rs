//! `vfio dump`: the bytes of a region.

mod lines;
mod range;

use std::io::Write as _;
use std::process::ExitCode;

use serde::Serialize;
use vfio_core::device::Device;
use vfio_core::device::region::TrappedRegion;
use vfio_core::mmio::Window;
use vfio_core::sys::Sys;
use vfio_hosted::report::RegionReport;

use crate::access_error::AccessError;
use crate::failure::Failure;
use crate::output;
use crate::region::{Intent, Named, Selector, Width};
use crate::target::{Opened, Target, Task, World};

use lines::Lines;
use range::Stretch;

/// Show the bytes of a region.
///
/// Reading registers may change what a device does, so that only configuration space and the ROM are read without
/// --force.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The PCI address (0000:00:05.0 or 00:05.0), unix:SOCKET for a served device, or sim:MODEL for
    /// a simulated one.
    device: Target,

    /// The region, by index or name: bar0 to bar5, rom, config, vga, or the name of its type.
    region: Selector,

    /// Only these bytes: START..END, START.. or START+LENGTH. May be given more than once.
    #[arg(long = "range", value_name = "RANGE")]
    ranges: Vec<Stretch>,

    /// The width of each access in bits; else the widest of up to 32 that fits.
    #[arg(long, value_enum)]
    width: Option<Width>,

    /// Read a region whose registers may have side effects.
    #[arg(long)]
    force: bool,

    /// Have the device answer on the memory of its BARs, where it does not, while the command runs.
    #[arg(long)]
    enable_memory: bool,
}

/// What was read, as JSON.
#[derive(Serialize)]
struct Record<'r> {
    device: &'r str,
    region: Named<'r>,
    ranges: Vec<Bytes>,
}

#[derive(Serialize)]
struct Bytes {
    offset: u64,
    size: u64,
    /// Two digits for each byte.
    bytes: String,
}

struct Dump<'a>(&'a Args);

/// How many bytes a line shows.
const LINE: u64 = 16;

pub(crate) fn run(args: &Args, world: &World) -> Result<ExitCode, Failure> {
    args.device.open(world, Dump(args))?;
    Ok(ExitCode::SUCCESS)
}

impl Task for Dump<'_> {
    type Output = ();

    fn run<S: Sys + Clone>(self, opened: Opened<S>) -> Result<(), Failure> {
        let args = self.0;
        let region = opened.region(&args.region, Intent::look(args.force))?;
        let whole = [Stretch::WHOLE];
        let ranges = if args.ranges.is_empty() {
            &whole
        } else {
            args.ranges.as_slice()
        };
        let align = args.width.map_or(1, Width::bytes);
        let ranges = ranges
            .iter()
            .map(|range| range.within(&region, align))
            .collect::<Result<Vec<_>, _>>()?;
        if args.enable_memory {
            opened.enable_memory()?;
        }
        let mut reader = Reader {
            window: opened.window(&region),
            region: &region,
            width: args.width,
        };
        if opened.json {
            let ranges = ranges
                .into_iter()
                .map(|(start, end)| reader.hex(start, end))
                .collect::<Result<_, _>>()?;
            return output::json(&Record {
                device: &opened.name,
                region: Named::from(&region),
                ranges,
            });
        }
        let mut out = output::stdout();
        let mut lines = Lines::new(region.size);
        for (start, end) in ranges {
            let mut at = start;
            while at < end {
                let next = line_end(at, end);
                let bytes = reader.bytes(at, next)?;
                lines.write(&mut out, at, &bytes)?;
                at = next;
            }
            lines.finish(&mut out, end)?;
        }
        out.flush()?;
        Ok(())
    }
}

/// Returns where the line that shows `at` ends: lines begin at multiples of their length.
fn line_end(at: u64, end: u64) -> u64 {
    at.saturating_add(LINE - at % LINE).min(end)
}

struct Reader<'d, S: Sys> {
    window: Window<TrappedRegion<&'d Device<S>>>,
    region: &'d RegionReport,
    width: Option<Width>,
}

impl<S: Sys> Reader<'_, S> {
    /// Returns the bytes from `start` to before `end`.
    fn bytes(&mut self, start: u64, end: u64) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        let mut at = start;
        while at < end {
            let width = self.width.unwrap_or_else(|| widest(at, end));
            let value =
                width
                    .read(&mut self.window, at)
                    .map_err(|error| AccessError::Register {
                        region: self.region.name.clone(),
                        error,
                    })?;
            let size = usize::from(width.bytes());
            bytes.extend(value.to_le_bytes().into_iter().take(size));
            at = at.saturating_add(width.bytes().into());
        }
        Ok(bytes)
    }

    fn hex(&mut self, start: u64, end: u64) -> Result<Bytes, Failure> {
        let bytes = self.bytes(start, end)?;
        Ok(Bytes {
            offset: start,
            size: end.saturating_sub(start),
            bytes: bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }
}

/// Returns the widest access at `at` that does not reach past `end`: of at most 32 bits, as registers
/// mostly are.
fn widest(at: u64, end: u64) -> Width {
    let left = end.saturating_sub(at);
    [Width::Bits32, Width::Bits16]
        .into_iter()
        .find(|width| {
            let size = u64::from(width.bytes());
            at.is_multiple_of(size) && size <= left
        })
        .unwrap_or(Width::Bits8)
}
