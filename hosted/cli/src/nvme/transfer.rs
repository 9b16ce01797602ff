//! `vfio nvme read` and `vfio nvme write`: blocks to a file, and from a file.

use std::path::PathBuf;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use vfio_core::device::DeviceHandle;
use vfio_core::dma::DmaHandle;
use vfio_core::mmio::Access;
use vfio_drivers::nvme::{Controller, ControllerHandle, Namespace, QueuePair};

use super::contents;
use super::cut_short::{Cause, CutShort, Done, Way};
use super::drive::{About, DEPTH, Ended, Job, drive, queue, status};
use crate::failure::Failure;
use crate::file::{Input, Output};
use crate::interrupt::Interrupt;
use crate::number;
use crate::output;
use crate::target::{Target, World};

/// Read blocks into a file.
#[derive(clap::Args)]
pub(super) struct ReadArgs {
    /// The PCI address (0000:00:06.0 or 00:06.0), unix:SOCKET for a served device, or sim:nvme for the
    /// simulated one.
    device: Target,

    /// The file, or - for standard output.
    output: PathBuf,

    #[command(flatten)]
    place: Place,

    /// How many blocks, at least one; without it, all up to the end.
    #[arg(long, value_name = "NUMBER", value_parser = some)]
    blocks: Option<u64>,
}

/// Write blocks from a file, and flush.
///
/// Ctrl-C ends after the blocks that are under way, which are flushed as well, and the last is told.
/// Nothing is written to a namespace whose first MiB or last holds anything, nor over blocks that hold anything, unless
/// --yes is given. Of more than 64 MiB of blocks, 64 MiB are looked at.
#[derive(clap::Args)]
pub(super) struct WriteArgs {
    /// The PCI address (0000:00:06.0 or 00:06.0), unix:SOCKET for a served device, or sim:nvme for the
    /// simulated one.
    device: Target,

    /// The file, or - for standard input. What the last block lacks is written as zeros.
    ///
    /// Where its size is known before, nothing is written unless all of it fits. What a pipe has is written as it
    /// comes, up to what does not fit any more.
    input: PathBuf,

    #[command(flatten)]
    place: Place,

    /// Write even if the namespace, or what is written over, holds something.
    #[arg(long)]
    yes: bool,
}

/// Where blocks are.
#[derive(clap::Args)]
struct Place {
    /// The namespace; without it, the first that can be used.
    #[arg(long, value_name = "NUMBER")]
    namespace: Option<u32>,

    /// The first block.
    #[arg(long, value_name = "NUMBER", default_value = "0", value_parser = number::parse)]
    lba: u64,
}

fn some(text: &str) -> Result<u64, String> {
    match number::parse(text)? {
        0 => Err("that is no block at all".into()),
        blocks => Ok(blocks),
    }
}

/// What was done, as JSON.
#[derive(Serialize)]
struct Record {
    device: String,
    simulated: bool,
    mode: &'static str,
    namespace: u32,
    lba: u64,
    /// Blocks that were read or written.
    blocks: u64,
    bytes: u64,
    seconds: f64,
    /// Whether that is all that was asked for.
    complete: bool,
}

/// Bytes between two looks at the progress bar, and at whether to end.
const STEP: usize = 4 << 20;

pub(super) fn read(args: &ReadArgs, world: &World) -> Result<ExitCode, Failure> {
    let mut out = Output::open(&args.output)?;
    let job = ReadJob {
        args,
        out: &mut out,
    };
    let Ended { done, failure } = drive(&args.device, world, job)?;
    let told = if world.json {
        output::json_to(&mut *output::beside(Some(&args.output)), &done)
    } else {
        Ok(())
    };
    status([failure.map_or(Ok(()), Err), told])
}

pub(super) fn write(args: &WriteArgs, world: &World) -> Result<ExitCode, Failure> {
    let input = Input::open(&args.input)?;
    let Ended { done, failure } = drive(&args.device, world, WriteJob { args, input })?;
    let told = if world.json {
        output::json(&done)
    } else if done.blocks > 0 {
        output::text(&format!(
            "{} blocks written to namespace {} of {} from block {} on{}",
            done.blocks,
            done.namespace,
            done.device,
            done.lba,
            if done.complete { ", and flushed" } else { "" }
        ))
    } else {
        Ok(())
    };
    status([failure.map_or(Ok(()), Err), told])
}

struct ReadJob<'a> {
    args: &'a ReadArgs,
    out: &'a mut Output,
}

struct WriteJob<'a> {
    args: &'a WriteArgs,
    input: Input,
}

impl Job for ReadJob<'_> {
    type Output = Record;

    fn run<D: DeviceHandle, M: DmaHandle, A: Access>(
        self,
        controller: &Controller<D, M, A>,
        about: &About,
    ) -> Result<Ended<Record>, Failure> {
        let Self { args, out } = self;
        let namespace = about.namespace(controller, args.place.namespace)?;
        let extent = Extent::new(about, &namespace, &args.place, Way::Read)?;
        let blocks = args.blocks.unwrap_or(extent.room);
        extent.holds(blocks)?;
        let mut pair = controller
            .queue_pair::<DEPTH>(queue(controller, &namespace))
            .map_err(|error| about.failed(&error))?;
        let wanted = blocks.saturating_mul(extent.block);
        let bar = progress(Some(wanted));
        let mut buffer = vec![0; extent.step()];
        let mut cause = None;
        while cause.is_none() && out.written() < wanted {
            let left = usize::try_from(wanted - out.written()).unwrap_or(usize::MAX);
            let len = left.min(buffer.len());
            let part = buffer.get_mut(..len).unwrap_or_default();
            let lba = extent.lba + out.written() / extent.block;
            cause = match pair.read_blocks(&namespace, lba, part) {
                Err(error) => Some(Cause::Controller(error.to_string())),
                Ok(()) => match out.write_until(part, about.interrupt) {
                    Ok(true) => None,
                    Ok(false) => Some(Cause::Interrupted),
                    Err(failure) => Some(Cause::File(failure.into())),
                },
            };
            bar.set_position(out.written());
        }
        Ok(extent.ended(out.written() / extent.block, &bar, cause))
    }
}

impl Job for WriteJob<'_> {
    type Output = Record;

    fn run<D: DeviceHandle, M: DmaHandle, A: Access>(
        self,
        controller: &Controller<D, M, A>,
        about: &About,
    ) -> Result<Ended<Record>, Failure> {
        let Self { args, mut input } = self;
        let failed = |error| about.failed(&error);
        let namespace = about.namespace(controller, args.place.namespace)?;
        let extent = Extent::new(about, &namespace, &args.place, Way::Written)?;
        if let Some(size) = input.size().filter(|size| *size > 0) {
            extent.holds(size.div_ceil(extent.block))?;
        }
        let mut pair = controller
            .queue_pair::<DEPTH>(queue(controller, &namespace))
            .map_err(failed)?;
        // All that is left may be written where the input does not tell how much it is.
        let blocks = input.size().map(|size| size.div_ceil(extent.block));
        let blocks = blocks.filter(|blocks| *blocks > 0).unwrap_or(extent.room);
        let lost = |pair: &mut _| contents::lost(pair, &namespace, extent.lba, blocks);
        if !args.yes
            && let Some(what) = lost(&mut pair).map_err(failed)?
        {
            return Err(Failure::Holds {
                name: about.device.clone(),
                namespace: namespace.id(),
                what,
            });
        }
        let bar = progress(input.size());
        let mut writer = Writer {
            pair,
            namespace: &namespace,
            extent: &extent,
            buffer: vec![0; extent.step()],
            blocks: 0,
        };
        let mut cause = None;
        let mut is_over = false;
        while cause.is_none() && !is_over {
            match writer.step(&mut input, about.interrupt) {
                Ok(more) => is_over = !more,
                Err(stopped) => cause = Some(stopped),
            }
            bar.set_position(writer.blocks.saturating_mul(extent.block));
        }
        if writer.blocks == 0 && cause.is_none() {
            let path = input.path().to_owned();
            return Err(Failure::Empty { path });
        }
        // What was written before something else went wrong is as safe.
        if writer.blocks > 0
            && !matches!(cause, Some(Cause::Controller(_)))
            && let Err(error) = writer.pair.flush_blocks(&namespace)
        {
            cause = Some(Cause::Controller(error.to_string()));
        }
        Ok(extent.ended(writer.blocks, &bar, cause))
    }
}

/// Writes what comes, as it comes.
struct Writer<'a, C: ControllerHandle> {
    pair: QueuePair<C, DEPTH>,
    namespace: &'a Namespace,
    extent: &'a Extent,
    buffer: Vec<u8>,
    /// How many were written.
    blocks: u64,
}

impl<C: ControllerHandle> Writer<'_, C> {
    /// Writes as much as the buffer takes of the input; whether there may be more. Input that does not fit whole into
    /// the room that is left is not written.
    fn step(&mut self, input: &mut Input, interrupt: &Interrupt) -> Result<bool, Cause> {
        let read = input.fill(&mut self.buffer, interrupt);
        let len = match read.map_err(|failure| Cause::File(failure.into()))? {
            None => return Err(Cause::Interrupted),
            Some(0) => return Ok(false),
            Some(len) => len,
        };
        let block = usize::try_from(self.extent.block).unwrap_or(usize::MAX);
        let whole = len.next_multiple_of(block).min(self.buffer.len());
        // The rest of the last block is written as zeros.
        self.buffer.get_mut(len..whole).unwrap_or_default().fill(0);
        let blocks = u64::try_from(whole / block).unwrap_or(u64::MAX);
        let room = self.extent.room;
        if blocks > room - self.blocks {
            return Err(Cause::NoRoom { room });
        }
        let lba = self.extent.lba + self.blocks;
        let data = self.buffer.get(..whole).unwrap_or_default();
        self.pair
            .write_blocks(self.namespace, lba, data)
            .map_err(|error| Cause::Controller(error.to_string()))?;
        self.blocks += blocks;
        if interrupt.is_asked() {
            return Err(Cause::Interrupted);
        }
        Ok(len == self.buffer.len())
    }
}

/// Where blocks are read or written, and what is told of it.
struct Extent {
    device: String,
    simulated: bool,
    mode: &'static str,
    namespace: u32,
    way: Way,
    /// Blocks that the namespace has.
    size: u64,
    /// Bytes of a block.
    block: u64,
    /// The first block.
    lba: u64,
    /// Blocks from there to the end of the namespace: at least one.
    room: u64,
}

impl Extent {
    fn new(about: &About, namespace: &Namespace, place: &Place, way: Way) -> Result<Self, Failure> {
        let extent = Self {
            device: about.device.clone(),
            simulated: about.simulated,
            mode: about.mode,
            namespace: namespace.id(),
            way,
            size: namespace.blocks(),
            block: namespace.block_size().max(1).into(),
            lba: place.lba,
            room: namespace.blocks().saturating_sub(place.lba),
        };
        extent.holds(1)?;
        Ok(extent)
    }

    /// Checks that the blocks are there.
    fn holds(&self, blocks: u64) -> Result<(), Failure> {
        if blocks <= self.room {
            return Ok(());
        }
        Err(Failure::NoBlocks {
            name: self.device.clone(),
            namespace: self.namespace,
            size: self.size,
            lba: self.lba,
            blocks,
        })
    }

    /// Bytes of a step: whole blocks.
    fn step(&self) -> usize {
        STEP.next_multiple_of(usize::try_from(self.block).unwrap_or(STEP))
    }

    /// Returns the outcome after `blocks` blocks.
    fn ended(&self, blocks: u64, bar: &ProgressBar, cause: Option<Cause>) -> Ended<Record> {
        let seconds = bar.elapsed().as_secs_f64();
        bar.finish_and_clear();
        let complete = cause.is_none();
        let failure = cause.map(|cause| {
            let done = Done::Blocks {
                way: self.way,
                name: self.device.clone(),
                namespace: self.namespace,
                lba: self.lba,
                blocks,
            };
            CutShort { done, cause }.into()
        });
        let done = Record {
            device: self.device.clone(),
            simulated: self.simulated,
            mode: self.mode,
            namespace: self.namespace,
            lba: self.lba,
            blocks,
            bytes: blocks.saturating_mul(self.block),
            seconds,
            complete,
        };
        Ended { done, failure }
    }
}

/// Returns a bar on standard error, where somebody sees it. Without an end where nobody knows how many bytes there
/// will be.
fn progress(bytes: Option<u64>) -> ProgressBar {
    let template = match bytes {
        Some(_) => "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
        None => "{bytes}, {bytes_per_sec}",
    };
    let style = ProgressStyle::with_template(template);
    let bar = bytes.map_or_else(ProgressBar::no_length, ProgressBar::new);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
