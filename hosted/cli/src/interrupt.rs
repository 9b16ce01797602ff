//! Ctrl-C, and the other signals that ask a program to end: SIGTERM and SIGHUP.
//!
//! The first asks to end soon and well. The next ends the program at once, as it would have without a handler.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use crate::failure::Failure;

/// What the program exits with where it was interrupted: 128 and the number of SIGINT, as shells say it.
pub(crate) const INTERRUPTED: u8 = 130;

/// Signals that follow each other faster are one request: `timeout` sends its signal twice.
const ONE_REQUEST: Duration = Duration::from_millis(200);

/// Whether the user asked the program to end.
pub(crate) struct Interrupt {
    asked: Arc<AtomicBool>,
    /// Can be read once it is asked.
    event: Arc<OwnedFd>,
}

/// A process has one handler.
static CAUGHT: OnceLock<Result<Interrupt, String>> = OnceLock::new();

impl Interrupt {
    /// Catches the signals from now on. The first caller's `notice` is written to standard error when the first comes.
    pub(crate) fn catch(notice: Option<&'static str>) -> Result<&'static Self, Failure> {
        CAUGHT
            .get_or_init(|| Self::handle(notice))
            .as_ref()
            .map_err(|message| Failure::Signals {
                message: message.clone(),
            })
    }

    fn handle(notice: Option<&'static str>) -> Result<Self, String> {
        let event = eventfd(0, EventfdFlags::CLOEXEC).map_err(|error| error.to_string())?;
        let caught = Self {
            asked: Arc::default(),
            event: Arc::new(event),
        };
        let (asked, event) = (Arc::clone(&caught.asked), Arc::clone(&caught.event));
        let mut first: Option<Instant> = None;
        ctrlc::set_handler(move || match first {
            None => {
                first = Some(Instant::now());
                asked.store(true, Ordering::Relaxed);
                // The counter is at 0: there is room for 1.
                let _ = rustix::io::write(&*event, &1_u64.to_ne_bytes());
                if let Some(notice) = notice {
                    eprintln!("{notice}");
                }
            }
            Some(first) if first.elapsed() < ONE_REQUEST => (),
            Some(_) => process::exit(INTERRUPTED.into()),
        })
        .map_err(|error| error.to_string())?;
        Ok(caught)
    }

    /// Tells whether the user asked.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Returns the flag that is set when the user interrupts.
    pub(crate) fn flag(&self) -> &AtomicBool {
        &self.asked
    }

    /// Returns what can be read once the user asks, for a loop of the caller's own.
    pub(crate) fn event(&self) -> io::Result<OwnedFd> {
        self.event.try_clone()
    }

    /// Waits for so long; whether the user asked.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        let end = Instant::now().checked_add(time);
        while !self.is_asked() {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                break;
            }
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            let event = PollFd::new(&self.event, PollFlags::IN);
            if poll(&mut [event], left.as_ref()).is_err_and(|errno| errno != Errno::INTR) {
                break;
            }
        }
        self.is_asked()
    }

    /// Waits until a file is ready to be read (`IN`) or written (`OUT`), or fails; false where the user asked.
    pub(crate) fn ready(&self, file: impl AsFd, wanted: PollFlags) -> io::Result<bool> {
        while !self.is_asked() {
            let mut files = [
                PollFd::new(&file, wanted),
                PollFd::new(&self.event, PollFlags::IN),
            ];
            match poll(&mut files, None) {
                Ok(_) if files.first().is_some_and(|file| !file.revents().is_empty()) => {
                    return Ok(!self.is_asked());
                }
                Ok(_) | Err(Errno::INTR) => (),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(false)
    }
}
