//! Writing attributes of sysfs that the kernel may take its time for, without waiting silently or for ever.
//!
//! A driver that gives a device up waits until nobody has it open (`vfio_unregister_group_dev` of
//! `drivers/vfio/vfio_main.c`, `snd_card_free` of `sound/core/init.c`), and the process that wrote the attribute waits
//! with it: not even a signal ends that. So another process writes it, which can be left behind.

use std::env;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use vfio_hosted::discovery::{Usage, write_attribute};

/// After this time, what is waited for is told.
const SILENCE: Duration = Duration::from_secs(1);
/// How often it is looked whether an attribute is written.
const LOOK: Duration = Duration::from_millis(2);
/// What the process that writes ends with where the error has no number: none of Linux has this one.
const UNKNOWN: u8 = 255;

/// How long to wait.
#[derive(clap::Args)]
pub(crate) struct Patience {
    /// Wait this many seconds at most while the kernel waits for the device to be closed; 1 at least.
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    wait: u32,
}

/// What the first argument of the process that writes is; no command of the program is called so.
const ARGUMENT: &str = "--write-attribute";

/// Writes an attribute, if this process is to, and says what it ends with: the number of the error.
pub(crate) fn written() -> Option<ExitCode> {
    let mut arguments = env::args_os().skip(1);
    if arguments.next()? != ARGUMENT {
        return None;
    }
    let (path, value) = (arguments.next()?, arguments.next()?);
    let written = write_attribute(Path::new(&path), value.to_str()?);
    let Err(error) = written else {
        return Some(ExitCode::SUCCESS);
    };
    let errno = error.raw_os_error().map(u8::try_from);
    let errno = errno.and_then(Result::ok);
    Some(ExitCode::from(errno.unwrap_or(UNKNOWN)))
}

/// Writes attributes through another process.
pub(crate) struct Writer {
    patience: Duration,
    /// What the kernel may wait for.
    usages: Vec<Usage>,
    /// Hears of Ctrl-C.
    stop: Receiver<()>,
}

impl Writer {
    pub(crate) fn new(patience: &Patience, usages: Vec<Usage>) -> Self {
        let (sender, stop) = mpsc::channel();
        // Without a handler, a signal ends the program without a word.
        let _ = ctrlc::set_handler(move || {
            let _ = sender.send(());
        });
        Self {
            patience: Duration::from_secs(patience.wait.into()).max(SILENCE),
            usages,
            stop,
        }
    }

    /// Writes an attribute; the error is of the kind `TimedOut` where the kernel is left at it.
    pub(crate) fn write(&self, path: &Path, value: &str) -> io::Result<()> {
        // This program, even if its file has been replaced meanwhile.
        let mut child = Command::new("/proc/self/exe")
            .arg(ARGUMENT)
            .arg(path)
            .arg(value)
            // Whoever reads what this program writes is not held up by what is left behind.
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C is for this process alone.
            .process_group(0)
            .spawn()?;
        let start = Instant::now();
        let (mut is_told, mut is_stopped) = (false, false);
        loop {
            if let Some(status) = child.try_wait()? {
                return match status.code() {
                    Some(0) => Ok(()),
                    Some(code) if code < UNKNOWN.into() => Err(io::Error::from_raw_os_error(code)),
                    _ => Err(io::Error::other(format!("it ended with {status}"))),
                };
            }
            // What takes no time is done, Ctrl-C or not: the device is not left between two drivers.
            if start.elapsed() >= self.patience || (is_told && is_stopped) {
                return Err(left(&child));
            }
            if start.elapsed() >= SILENCE && !is_told {
                self.tell(path, value);
                is_told = true;
            }
            match self.stop.recv_timeout(LOOK) {
                Ok(()) => is_stopped = true,
                Err(RecvTimeoutError::Timeout) => {}
                // There is no handler.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(LOOK),
            }
        }
    }

    /// Says on standard error what is waited for.
    fn tell(&self, path: &Path, value: &str) {
        let what: Vec<_> = self.usages.iter().map(ToString::to_string).collect();
        let what = match what.as_slice() {
            [] => "somebody has the device open, it seems".to_owned(),
            what => what.join(", "),
        };
        // Where nobody listens, it is waited all the same.
        let _ = writeln!(
            anstream::stderr().lock(),
            "waiting for the kernel, which has not finished writing {:?} to {}: {what}. \
             Ctrl-C, or {} s, ends the waiting",
            value.trim_end(),
            path.display(),
            self.patience.as_secs()
        );
    }
}

/// Returns the error where the kernel is left at it.
fn left(child: &Child) -> io::Error {
    let message = format!("process {} still waits for the kernel", child.id());
    io::Error::new(io::ErrorKind::TimedOut, message)
}
