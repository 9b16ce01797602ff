//! `vfio nvme bench`: reads at random, measured.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use vfio_core::device::DeviceHandle;
use vfio_core::dma::DmaHandle;
use vfio_core::mmio::Access;
use vfio_drivers::nvme::{
    Controller, ControllerHandle, ErrorOf, Namespace, NvmeError, QueueOptions, QueuePair,
};

use super::cut_short::{Cause, CutShort, Done};
use super::drive::{About, Ended, Job, drive, status};
use super::picture;
use crate::failure::Failure;
use crate::file::Output;
use crate::interrupt::Interrupt;
use crate::output;
use crate::target::{Target, World};

/// Read blocks at random places, and tell how many a second and how long each took.
///
/// Nothing is written. Ctrl-C ends it early, with the figures of the reads until then.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The PCI address (0000:00:06.0 or 00:06.0), unix:SOCKET for a served device, or sim:nvme for the
    /// simulated one, which is the default.
    #[arg(default_value = "sim:nvme")]
    device: Target,

    /// The namespace; without it, the first that can be used.
    #[arg(long, value_name = "NUMBER")]
    namespace: Option<u32>,

    /// How many reads are under way at a time.
    #[arg(long, value_name = "NUMBER", default_value = "32", value_parser = ["1", "2", "4", "8", "16", "32", "64", "128"])]
    depth: String,

    /// Bytes of each read: whole blocks.
    #[arg(long, value_name = "BYTES", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(512..=(1 << 20)))]
    size: u32,

    /// For how long.
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,

    /// Draw how long the reads took, as SVG into this file; - for standard output, where the figures go to standard
    /// error then.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// What was measured.
#[derive(Serialize)]
pub(super) struct Record {
    pub(super) device: String,
    simulated: bool,
    mode: &'static str,
    namespace: u32,
    pub(super) depth: usize,
    /// Bytes of a read.
    pub(super) size: u32,
    reads: u64,
    seconds: f64,
    pub(super) iops: f64,
    pub(super) bytes_per_second: f64,
    pub(super) latency: Latency,
    /// Whether the reads went on for as long as was asked for.
    complete: bool,
}

/// How long reads took, in microseconds.
#[derive(Serialize)]
pub(super) struct Latency {
    mean: f64,
    least: f64,
    most: f64,
    pub(super) percentiles: Vec<Percentile>,
}

#[derive(Serialize)]
pub(super) struct Percentile {
    pub(super) percent: f64,
    pub(super) microseconds: f64,
}

const PERCENTS: [f64; 8] = [1.0, 25.0, 50.0, 75.0, 90.0, 99.0, 99.9, 99.99];

/// How many reads there are between two looks at whether the time is over.
const BATCH: u32 = 64;

/// The longest time that is told from longer ones, in nanoseconds.
const LONGEST: u64 = 60_000_000_000;

pub(super) fn run(args: &Args, world: &World) -> Result<ExitCode, Failure> {
    // What can't be written is known before anything is measured.
    let svg = args.svg.as_deref().map(Output::open).transpose()?;
    let Ended { done, failure } = drive(&args.device, world, Bench(args))?;
    let (record, times) = done;
    let told = {
        let mut out = output::beside(args.svg.as_deref());
        if world.json {
            output::json_to(&mut *out, &record)
        } else {
            people(&mut *out, &record)
        }
    };
    let drawn = svg.map_or(Ok(()), |mut file| file.text(&picture::svg(&record, &times)));
    status([failure.map_or(Ok(()), Err), told, drawn])
}

fn seconds(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "this is no number".to_owned())?;
    if number > 0.0 && number <= 86400.0 {
        Ok(number)
    } else {
        Err("the time is more than 0 seconds and up to a day".into())
    }
}

struct Bench<'a>(&'a Args);

impl Job for Bench<'_> {
    type Output = (Record, Histogram<u64>);

    fn run<D: DeviceHandle, M: DmaHandle, A: Access>(
        self,
        controller: &Controller<D, M, A>,
        about: &About,
    ) -> Result<Ended<Self::Output>, Failure> {
        let args = self.0;
        let failed = |error: &dyn std::fmt::Display| about.failed(error);
        let namespace = about.namespace(controller, args.namespace)?;
        let blocks = args.size / namespace.block_size().max(1);
        if blocks == 0 || blocks * namespace.block_size() != args.size {
            return Err(failed(&format_args!(
                "reads of {} bytes are not whole blocks of {} bytes",
                args.size,
                namespace.block_size()
            )));
        }
        if u64::from(blocks) > namespace.blocks() {
            return Err(Failure::NoBlocks {
                name: about.device.clone(),
                namespace: namespace.id(),
                size: namespace.blocks(),
                lba: 0,
                blocks: blocks.into(),
            });
        }
        let bench = Reads {
            namespace,
            blocks,
            time: Duration::from_secs_f64(args.seconds),
            interrupt: about.interrupt,
        };
        // To three digits.
        let times = Histogram::new_with_bounds(1, LONGEST, 3).map_err(|error| failed(&error))?;
        let measured = match args.depth.as_str() {
            "1" => bench.measure::<_, 1>(controller, times),
            "2" => bench.measure::<_, 2>(controller, times),
            "4" => bench.measure::<_, 4>(controller, times),
            "8" => bench.measure::<_, 8>(controller, times),
            "16" => bench.measure::<_, 16>(controller, times),
            "64" => bench.measure::<_, 64>(controller, times),
            "128" => bench.measure::<_, 128>(controller, times),
            _ => bench.measure::<_, 32>(controller, times),
        };
        let Measured { times, took, cause } = measured.map_err(|error| failed(&error))?;
        let reads = times.len();
        if let (0, Some(Cause::Controller(message))) = (reads, &cause) {
            return Err(failed(message));
        }
        let iops = reads as f64 / took.as_secs_f64();
        let micros = |nanos: u64| nanos as f64 / 1000.0;
        let record = Record {
            device: about.device.clone(),
            simulated: about.simulated,
            mode: about.mode,
            namespace: namespace.id(),
            depth: args.depth.parse().unwrap_or(32),
            size: args.size,
            reads,
            seconds: took.as_secs_f64(),
            iops,
            bytes_per_second: iops * f64::from(args.size),
            latency: Latency {
                mean: times.mean() / 1000.0,
                least: micros(times.min()),
                most: micros(times.max()),
                percentiles: PERCENTS
                    .into_iter()
                    .map(|percent| Percentile {
                        percent,
                        microseconds: micros(times.value_at_percentile(percent)),
                    })
                    .collect(),
            },
            complete: cause.is_none(),
        };
        let failure = cause.map(|cause| {
            let done = Done::Reads {
                name: about.device.clone(),
                reads,
                seconds: took.as_secs_f64(),
            };
            CutShort { done, cause }.into()
        });
        Ok(Ended {
            done: (record, times),
            failure,
        })
    }
}

/// Reads at random.
struct Reads {
    namespace: Namespace,
    blocks: u32,
    time: Duration,
    interrupt: &'static Interrupt,
}

/// What reads took, and what ended them before their time.
struct Measured {
    /// Of each read, in nanoseconds.
    times: Histogram<u64>,
    /// Of all of them.
    took: Duration,
    cause: Option<Cause>,
}

impl Reads {
    /// Reads for as long as is asked for, or until the user asks to end or a read fails.
    fn measure<C: ControllerHandle, const DEPTH: usize>(
        &self,
        controller: C,
        mut times: Histogram<u64>,
    ) -> Result<Measured, NvmeError<ErrorOf<C>>> {
        let size = u64::from(self.blocks) * u64::from(self.namespace.stride());
        let page = 4096;
        let options = QueueOptions {
            slot: usize::try_from(size).unwrap_or(page).next_multiple_of(page),
            metadata: if self.namespace.has_separate_metadata() {
                usize::try_from(size).unwrap_or(page)
            } else {
                0
            },
            vector: None,
        };
        let mut pair: QueuePair<C, DEPTH> = QueuePair::new(controller, options)?;
        let mut begun = [Instant::now(); DEPTH];
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let places = (self.namespace.blocks() / u64::from(self.blocks)).max(1);
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % places) * u64::from(self.blocks)
        };
        let bar = progress(self.time);
        let start = Instant::now();
        while let Some(slot) = pair.slot() {
            if let Some(begun) = begun.get_mut(usize::from(slot.number())) {
                *begun = Instant::now();
            }
            let given = pair.read(slot, &self.namespace, next(), self.blocks);
            given.map_err(|refused| NvmeError::Request(refused.reason))?;
        }
        let mut is_over = false;
        let mut cause = None;
        let mut count = 0_u32;
        loop {
            let ended = match pair.wait() {
                Ok(Some(ended)) => ended,
                Ok(None) => break,
                // What was measured is there all the same.
                Err(error) => {
                    cause = Some(Cause::Controller(error.to_string()));
                    break;
                }
            };
            let now = Instant::now();
            if let Err(status) = ended.result {
                cause = cause.or(Some(Cause::Controller(status.to_string())));
            } else if let Some(begun) = begun.get_mut(usize::from(ended.slot.number())) {
                let took = now.duration_since(*begun).as_nanos();
                times.saturating_record(u64::try_from(took).unwrap_or(LONGEST));
                *begun = now;
            }
            count = count.wrapping_add(1);
            if count.is_multiple_of(BATCH) {
                is_over |= start.elapsed() >= self.time;
                let millis = start.elapsed().as_millis();
                bar.set_position(u64::try_from(millis).unwrap_or(u64::MAX));
            }
            if !is_over && cause.is_none() && self.interrupt.is_asked() {
                cause = Some(Cause::Interrupted);
            }
            if is_over || cause.is_some() {
                let released = pair.release(ended.slot);
                released.map_err(|refused| NvmeError::Request(refused.reason))?;
            } else {
                let given = pair.read(ended.slot, &self.namespace, next(), self.blocks);
                given.map_err(|refused| NvmeError::Request(refused.reason))?;
            }
        }
        bar.finish_and_clear();
        Ok(Measured {
            times,
            took: start.elapsed(),
            cause,
        })
    }
}

/// Returns a bar on standard error, where somebody sees it.
fn progress(time: Duration) -> ProgressBar {
    let template = "{bar:40} {elapsed} of the time";
    let style = ProgressStyle::with_template(template);
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    ProgressBar::new(millis).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn people(out: &mut dyn Write, record: &Record) -> Result<(), Failure> {
    let subject = output::SUBJECT;
    writeln!(
        out,
        "{subject}{}{subject:#}, {}: random reads of {} bytes, {} at a time, for {:.1} s",
        record.device, record.mode, record.size, record.depth, record.seconds
    )?;
    writeln!(
        out,
        "  {:.0} IOPS, {:.1} MiB/s",
        record.iops,
        record.bytes_per_second / f64::from(1 << 20)
    )?;
    let Latency {
        mean, least, most, ..
    } = record.latency;
    writeln!(
        out,
        "  latency: mean {mean:.1} µs, least {least:.1} µs, most {most:.1} µs\n"
    )?;
    let mut table = output::table(["Percent", "took at most, µs"]);
    for Percentile {
        percent,
        microseconds,
    } in &record.latency.percentiles
    {
        table.add_row([percent.to_string(), format!("{microseconds:.1}")]);
    }
    writeln!(out, "{table}")?;
    out.flush()?;
    Ok(())
}
