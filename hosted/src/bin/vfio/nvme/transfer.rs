//! `vfio nvme read` and `vfio nvme write`: blocks to a file, and from a file.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use vfio_core::device::DeviceHandle;
use vfio_core::dma::DmaHandle;
use vfio_core::mmio::Access;
use vfio_drivers::nvme::{Controller, Namespace};

use super::contents;
use super::drive::{About, DEPTH, Job, drive, queue};
use crate::failure::Failure;
use crate::number;
use crate::output;
use crate::target::{Target, World};

/// Read blocks into a file.
#[derive(clap::Args)]
pub(super) struct ReadArgs {
    /// The PCI address (0000:00:06.0 or 00:06.0), or sim:nvme for the simulated device.
    device: Target,

    /// The file, or - for standard output.
    output: PathBuf,

    #[command(flatten)]
    place: Place,

    /// How many blocks; without it, all up to the end.
    #[arg(long, value_name = "NUMBER", value_parser = number::parse)]
    blocks: Option<u64>,

    /// Write JSON about it, if the blocks go to a file.
    #[arg(long)]
    json: bool,
}

/// Write blocks from a file, and flush.
///
/// Nothing is written to a namespace whose first MiB or last holds anything, nor over blocks that hold anything, unless
/// --yes is given. Of more than 64 MiB of blocks, 64 MiB are looked at.
#[derive(clap::Args)]
pub(super) struct WriteArgs {
    /// The PCI address (0000:00:06.0 or 00:06.0), or sim:nvme for the simulated device.
    device: Target,

    /// The file, or - for standard input. What it lacks to a whole block is written as zeros.
    input: PathBuf,

    #[command(flatten)]
    place: Place,

    /// Write even if the namespace, or what is written over, holds something.
    #[arg(long)]
    yes: bool,

    /// Write JSON.
    #[arg(long)]
    json: bool,
}

/// Where blocks are.
#[derive(clap::Args)]
struct Place {
    /// The namespace; without it, the first.
    #[arg(long, value_name = "NUMBER")]
    namespace: Option<u32>,

    /// The first block.
    #[arg(long, value_name = "NUMBER", default_value = "0", value_parser = number::parse)]
    lba: u64,
}

/// What was done, as JSON.
#[derive(Serialize)]
struct Record {
    device: String,
    simulated: bool,
    mode: &'static str,
    namespace: u32,
    lba: u64,
    blocks: u64,
    bytes: u64,
    seconds: f64,
}

/// Bytes between two looks at the progress bar.
const STEP: usize = 4 << 20;

pub(super) fn read(args: &ReadArgs, world: &World) -> Result<ExitCode, Failure> {
    let record = drive(args.device, world, ReadJob(args))?;
    if args.json && args.output != Path::new("-") {
        output::json(&record)?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn write(args: &WriteArgs, world: &World) -> Result<ExitCode, Failure> {
    // The whole of it is there before anything is written.
    let mut data = Vec::new();
    let read = if args.input == Path::new("-") {
        io::stdin().lock().read_to_end(&mut data)
    } else {
        File::open(&args.input).and_then(|mut file| file.read_to_end(&mut data))
    };
    read.map_err(|source| Failure::Input {
        path: args.input.clone(),
        source,
    })?;
    let record = drive(args.device, world, WriteJob(args, data))?;
    if args.json {
        output::json(&record)?;
    } else {
        output::text(&format!(
            "{} blocks written to namespace {} of {} from block {} on, and flushed",
            record.blocks, record.namespace, record.device, record.lba
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

struct ReadJob<'a>(&'a ReadArgs);

struct WriteJob<'a>(&'a WriteArgs, Vec<u8>);

impl Job for ReadJob<'_> {
    type Output = Record;

    fn run<D: DeviceHandle, M: DmaHandle, A: Access>(
        self,
        controller: &Controller<D, M, A>,
        about: &About,
    ) -> Result<Record, Failure> {
        let ReadArgs {
            output,
            place,
            blocks,
            ..
        } = self.0;
        let failed = |error| about.failed(&error);
        let namespace = about.namespace(controller, place.namespace)?;
        let left = namespace.blocks().saturating_sub(place.lba);
        let blocks = blocks.unwrap_or(left);
        if blocks > left {
            return Err(beyond(about, &namespace, place.lba, blocks));
        }
        let unwritable = |source| Failure::Unwritable {
            path: output.clone(),
            source,
        };
        let mut out: Box<dyn Write> = if output == Path::new("-") {
            Box::new(io::stdout().lock())
        } else {
            Box::new(File::create(output).map_err(unwritable)?)
        };
        let mut pair = controller
            .queue_pair::<DEPTH>(queue(controller, &namespace))
            .map_err(failed)?;
        let record = Record::new(about, &namespace, place.lba, blocks);
        let bar = progress(record.bytes);
        let mut buffer = vec![0; STEP];
        let (mut lba, mut left) = (place.lba, record.bytes);
        while left > 0 {
            let len = usize::try_from(left).unwrap_or(STEP).min(STEP);
            let part = buffer.get_mut(..len).unwrap_or_default();
            pair.read_blocks(&namespace, lba, part).map_err(failed)?;
            out.write_all(part).map_err(unwritable)?;
            let done = u64::try_from(len).unwrap_or(left);
            left -= done;
            lba += done / u64::from(namespace.block_size());
            bar.inc(done);
        }
        out.flush().map_err(unwritable)?;
        Ok(record.finish(&bar))
    }
}

impl Job for WriteJob<'_> {
    type Output = Record;

    fn run<D: DeviceHandle, M: DmaHandle, A: Access>(
        self,
        controller: &Controller<D, M, A>,
        about: &About,
    ) -> Result<Record, Failure> {
        let Self(WriteArgs { place, yes, .. }, mut data) = self;
        let failed = |error| about.failed(&error);
        let namespace = about.namespace(controller, place.namespace)?;
        let size = usize::try_from(namespace.block_size()).unwrap_or(usize::MAX);
        data.resize(data.len().next_multiple_of(size), 0);
        let blocks = u64::try_from(data.len() / size).unwrap_or(u64::MAX);
        if blocks > namespace.blocks().saturating_sub(place.lba) {
            return Err(beyond(about, &namespace, place.lba, blocks));
        }
        let mut pair = controller
            .queue_pair::<DEPTH>(queue(controller, &namespace))
            .map_err(failed)?;
        let lost = |pair: &mut _| contents::lost(pair, &namespace, place.lba, blocks);
        if !yes && let Some(what) = lost(&mut pair).map_err(failed)? {
            return Err(Failure::Holds {
                name: about.device.clone(),
                namespace: namespace.id(),
                what,
            });
        }
        let record = Record::new(about, &namespace, place.lba, blocks);
        let bar = progress(record.bytes);
        let mut lba = place.lba;
        for part in data.chunks(STEP) {
            pair.write_blocks(&namespace, lba, part).map_err(failed)?;
            lba += u64::try_from(part.len() / size).unwrap_or(0);
            bar.inc(u64::try_from(part.len()).unwrap_or(0));
        }
        pair.flush_blocks(&namespace).map_err(failed)?;
        Ok(record.finish(&bar))
    }
}

fn beyond(about: &About, namespace: &Namespace, lba: u64, blocks: u64) -> Failure {
    about.failed(&format_args!(
        "{blocks} blocks from {lba} on are more than namespace {} has, which are {}",
        namespace.id(),
        namespace.blocks()
    ))
}

/// A bar on standard error, where somebody sees it.
pub(super) fn progress(bytes: u64) -> ProgressBar {
    let template = "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

impl Record {
    fn new(about: &About, namespace: &Namespace, lba: u64, blocks: u64) -> Self {
        Self {
            device: about.device.clone(),
            simulated: about.simulated,
            mode: about.mode,
            namespace: namespace.id(),
            lba,
            blocks,
            bytes: blocks.saturating_mul(namespace.block_size().into()),
            seconds: 0.0,
        }
    }

    fn finish(self, bar: &ProgressBar) -> Self {
        let seconds = bar.elapsed().as_secs_f64();
        bar.finish_and_clear();
        Self { seconds, ..self }
    }
}
