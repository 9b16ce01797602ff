//! `vfio watch`: a register, live.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde::Serialize;
use vfio_core::sys::Sys;

use crate::access::{Reached, Register};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::{self, COMMAND, SUBJECT};
use crate::region::{Intent, Width};
use crate::target::{Opened, Task, World};

/// Watch a register until Ctrl-C.
///
/// A terminal shows the value in one line that is kept up to date; elsewhere there is a line for each change. Reading
/// registers may change what a device does, so that only configuration space and the ROM are read without --force.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    register: Register,

    /// Milliseconds from one read to the next.
    #[arg(long, value_name = "MS", default_value_t = 100)]
    interval: u64,

    /// End after this number of reads.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Read a register that may have side effects.
    #[arg(long)]
    force: bool,
}

/// A value that differs from the one before, as JSON.
#[derive(Serialize)]
struct Change {
    /// Since the first read.
    seconds: f64,
    value: u64,
    hex: String,
    /// The bits that differ; all of them 0 in the first.
    changed: u64,
    /// How often the value has changed.
    changes: u64,
}

struct Watch<'a> {
    args: &'a Args,
    /// Says when the user has seen enough.
    interrupt: &'static Interrupt,
}

pub(crate) fn run(args: &Args, world: &World) -> Result<ExitCode, Failure> {
    let interrupt = Interrupt::catch(None)?;
    let watch = Watch { args, interrupt };
    args.register.device.open(world, watch)?;
    Ok(ExitCode::SUCCESS)
}

impl Task for Watch<'_> {
    type Output = ();

    fn run<S: Sys + Clone>(self, opened: Opened<S>) -> Result<(), Failure> {
        let intent = Intent::look(self.args.force);
        let mut register = self.args.register.reach(&opened, intent)?;
        let mut view = View::new(opened.json, self.args.register.width);
        let ended = self.follow(&mut register, &mut view);
        view.end()?;
        ended
    }
}

impl Watch<'_> {
    /// Reads until there is enough.
    fn follow<S: Sys>(
        &self,
        register: &mut Reached<'_, S>,
        view: &mut View,
    ) -> Result<(), Failure> {
        let start = Instant::now();
        let mut last = None;
        let mut changes = 0;
        let mut reads: u64 = 0;
        loop {
            let value = register.read()?;
            let changed = last.map_or(0, |last| last ^ value);
            if changed != 0 || last.is_none() {
                changes += u64::from(changed != 0);
                view.show(&Change {
                    seconds: start.elapsed().as_secs_f64(),
                    value,
                    hex: self.args.register.width.hex(value),
                    changed,
                    changes,
                })?;
            }
            last = Some(value);
            reads = reads.saturating_add(1);
            if self.args.count.is_some_and(|count| reads >= count) {
                return Ok(());
            }
            let interval = Duration::from_millis(self.args.interval);
            if self.interrupt.wait(interval) {
                return Ok(());
            }
        }
    }
}

/// Where changes are shown.
enum View {
    /// A terminal, in one line.
    Line(Width),
    /// A line each.
    Lines(Width),
    /// A line of JSON each.
    Json,
}

impl View {
    fn new(json: bool, width: Width) -> Self {
        if json {
            Self::Json
        } else if io::stdout().is_terminal() {
            Self::Line(width)
        } else {
            Self::Lines(width)
        }
    }

    fn show(&self, change: &Change) -> Result<(), Failure> {
        let mut out = output::stdout();
        match self {
            Self::Json => {
                serde_json::to_writer(&mut out, change).map_err(io::Error::from)?;
                writeln!(out)?;
            }
            Self::Line(width) => {
                let times = if change.changes == 1 { "time" } else { "times" };
                // Back to the start of the line, and clear it.
                write!(
                    out,
                    "\r\x1b[K{SUBJECT}{}{SUBJECT:#}  changed {COMMAND}{}{COMMAND:#}, {} {times}",
                    change.hex,
                    width.hex(change.changed),
                    change.changes
                )?;
            }
            Self::Lines(width) => writeln!(
                out,
                "{:.3} {} changed {}",
                change.seconds,
                change.hex,
                width.hex(change.changed)
            )?,
        }
        out.flush()?;
        Ok(())
    }

    /// Leaves the line that was kept up to date.
    fn end(&self) -> Result<(), Failure> {
        if let Self::Line(_) = self {
            let mut out = output::stdout();
            writeln!(out)?;
            out.flush()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::tests::decoding_off;
    use crate::region::Selector;
    use crate::target::Target;

    fn args(force: bool) -> Args {
        Args {
            register: Register {
                device: Target::Simulated("edu"),
                region: Selector::Index(0),
                offset: 0,
                width: Width::Bits32,
                enable_memory: true,
            },
            interval: 0,
            count: Some(1),
            force,
        }
    }

    #[test]
    fn what_is_refused_leaves_the_device_as_it_is() {
        let opened = decoding_off();
        let kernel = opened.sys.clone();
        let before = kernel.calls().pwrite;
        let interrupt = Interrupt::catch(None).unwrap_or_else(|failure| panic!("{failure}"));
        let args = &args(false);
        let refused = Watch { args, interrupt }.run(opened).unwrap_err();
        assert!(refused.way_out().contains("--force"));
        assert_eq!(kernel.calls().pwrite, before);
    }

    #[test]
    fn what_is_forced_switches_decoding_on() {
        let opened = decoding_off();
        let args = args(true);
        let intent = Intent::look(args.force);
        let mut register = args.register.reach(&opened, intent).ok().unwrap();
        assert_eq!(register.read().ok(), Some(0x0100_00ed));
    }
}
