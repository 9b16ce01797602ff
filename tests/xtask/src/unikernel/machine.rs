//! The machine that an image boots on.

use std::fmt;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process};

use super::image::Image;
use super::log::{Dictionary, Line};
use crate::guest::qemu::Qemu;

/// QEMU's status where the image wrote 0x10 or 0x11 to `isa-debug-exit`.
const SUCCESS: i32 = 33;
const FAILURE: i32 = 35;

/// A model of a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Model {
    /// PCI Express and SeaBIOS.
    #[default]
    Q35,
    /// Conventional PCI and SeaBIOS.
    Pc,
    /// PCI Express and qboot, which sets no device up.
    Microvm,
    /// As microvm, without the interval timer.
    MicrovmNoPit,
    /// As microvm, with no timer but the APIC's.
    MicrovmNoTimer,
}

/// Who runs the processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Accelerator {
    /// Software.
    #[default]
    Tcg,
    /// The hardware's virtualization.
    Kvm,
}

/// A machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    /// Its model.
    pub(crate) model: Model,
    /// Who runs its processor.
    pub(crate) accelerator: Accelerator,
    /// Its devices, as QEMU's option `-device` takes them.
    pub(crate) devices: Vec<String>,
    /// Further options of QEMU's.
    pub(crate) options: Vec<String>,
    /// Its memory, as QEMU's option `-m` takes it; the least that is common where it is empty.
    pub(crate) memory: String,
    /// What the image is told.
    pub(crate) command_line: String,
    /// Whether it has no `isa-debug-exit`, so that an image has to turn it off.
    pub(crate) has_no_exit: bool,
    /// Whether it is held back again and again, for longer than it runs.
    pub(crate) is_held_back: bool,
}

/// For how long a machine is held back, and for how long it then runs. The interval timer wraps around after 55 ms.
const HELD: Duration = Duration::from_millis(60);
const RUNS: Duration = Duration::from_millis(4);

/// How an image ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// As it should.
    Success,
    /// With a failure of its own.
    Failure,
    /// QEMU ended otherwise; its status, where it has one.
    Otherwise(Option<i32>),
    /// The time limit ended it.
    Hung,
}

/// A boot that is over.
#[derive(Debug)]
pub(crate) struct Boot {
    /// How it ended.
    pub(crate) end: End,
    /// Its log.
    pub(crate) lines: Vec<Line>,
    /// From the start of QEMU to its end.
    pub(crate) time: Duration,
}

/// A QEMU that does not outlive its owner.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Model {
    /// Returns as QEMU's option `-machine` takes it.
    const fn name(self) -> &'static str {
        match self {
            Self::Q35 => "q35",
            Self::Pc => "pc",
            Self::Microvm => "microvm,pcie=on",
            Self::MicrovmNoPit => "microvm,pcie=on,pit=off",
            Self::MicrovmNoTimer => "microvm,pcie=on,pit=off,rtc=off",
        }
    }
}

impl Machine {
    /// Creates the machine with these devices.
    pub(crate) fn new(model: Model, devices: &[&str]) -> Self {
        Self {
            model,
            devices: devices.iter().map(|&device| device.to_owned()).collect(),
            ..Self::default()
        }
    }

    /// Returns the command that boots `image` on `qemu`. Its first serial port is stdout.
    pub(crate) fn command(&self, qemu: &Qemu, image: &Image) -> Command {
        let accelerator = match self.accelerator {
            Accelerator::Tcg => "tcg",
            Accelerator::Kvm => "kvm",
        };
        let memory = if self.memory.is_empty() {
            "64M"
        } else {
            &self.memory
        };
        let mut qemu = qemu.command();
        qemu.arg("-machine")
            .arg(format!("{},accel={accelerator}", self.model.name()))
            .args(["-m", memory])
            .args(["-nodefaults", "-no-user-config", "-no-reboot"])
            .args(["-display", "none", "-serial", "stdio"])
            .arg("-kernel")
            .arg(&image.stripped)
            .args(["-append", &self.command_line])
            .args(&self.options);
        if !self.has_no_exit {
            qemu.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]);
        }
        for device in &self.devices {
            qemu.args(["-device", device]);
        }
        qemu
    }

    /// Boots `image` on `qemu`, shows each line of its log as it comes, and waits for its end. Ends it after `limit`.
    ///
    /// # Errors
    ///
    /// QEMU can't be started, or the image's log can't be decoded.
    pub(crate) fn boot(&self, qemu: &Qemu, image: &Image, limit: Duration) -> Result<Boot> {
        let dictionary = Dictionary::read(image)?;
        let mut decoder = dictionary.decoder();
        let start = Instant::now();
        let mut command = self.command(qemu, image);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut running = Running(command.spawn().context("cannot start QEMU")?);
        let mut serial = running.0.stdout.take().context("QEMU has no output")?;
        let (is_over, held_back) = mpsc::channel::<()>();
        if self.is_held_back {
            let qemu = Pid::from_child(&running.0);
            thread::spawn(move || hold_back(qemu, &held_back));
        }
        let (sender, receiver) = mpsc::channel();
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = serial.read(&mut buffer) {
                if sender.send(buffer[..len].to_vec()).is_err() {
                    break;
                }
            }
        });
        let mut lines = Vec::new();
        let hung = loop {
            match receiver.recv_timeout(limit.saturating_sub(start.elapsed())) {
                Ok(bytes) => {
                    for line in decoder.decode(&bytes) {
                        println!("{line}");
                        lines.push(line);
                    }
                }
                Err(RecvTimeoutError::Timeout) => break true,
                Err(RecvTimeoutError::Disconnected) => break false,
            }
        };
        // From here on its number may be another process's.
        drop(is_over);
        let end = if hung {
            End::Hung
        } else {
            End::of(running.0.wait()?.code())
        };
        drop(running);
        // Its pipe is closed.
        let _ = reader.join();
        Ok(Boot {
            end,
            lines,
            time: start.elapsed(),
        })
    }
}

/// Holds a process back again and again, until `is_over` has no sender any more.
fn hold_back(process: Pid, is_over: &mpsc::Receiver<()>) {
    let runs = |time| is_over.recv_timeout(time) == Err(RecvTimeoutError::Timeout);
    while runs(RUNS) && kill_process(process, Signal::STOP).is_ok() {
        thread::sleep(HELD);
        let _ = kill_process(process, Signal::CONT);
    }
}

impl End {
    /// Tells how an image ended, by QEMU's status.
    pub(crate) const fn of(status: Option<i32>) -> Self {
        match status {
            Some(SUCCESS) => Self::Success,
            Some(FAILURE) => Self::Failure,
            other => Self::Otherwise(other),
        }
    }
}

impl Boot {
    /// Makes sure that the image succeeded.
    ///
    /// # Errors
    ///
    /// It did not.
    pub(crate) fn succeeded(&self) -> Result<()> {
        ensure!(self.end == End::Success, "the image {}", self.end);
        Ok(())
    }

    /// Makes sure that the image failed, and that an error frame says `why`.
    ///
    /// # Errors
    ///
    /// It ended otherwise, or said nothing of it.
    pub(crate) fn failed_because(&self, why: &str) -> Result<()> {
        ensure!(self.end == End::Failure, "the image {}", self.end);
        let says = |line: &Line| line.level == "error" && line.text.contains(why);
        if !self.lines.iter().any(says) {
            bail!("the image failed, but no error frame says {why:?}");
        }
        Ok(())
    }

    /// Makes sure that a line of the log has `text` in it.
    ///
    /// # Errors
    ///
    /// None has.
    pub(crate) fn says(&self, text: &str) -> Result<()> {
        let says = |line: &Line| line.text.contains(text);
        ensure!(
            self.lines.iter().any(says),
            "the image did not say {text:?}"
        );
        Ok(())
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => f.write_str("succeeded"),
            Self::Failure => f.write_str("failed"),
            Self::Otherwise(Some(status)) => {
                write!(f, "ended without a result (QEMU's status is {status})")
            }
            Self::Otherwise(None) => f.write_str("ended by a signal"),
            Self::Hung => f.write_str("hung, and was ended by the time limit"),
        }
    }
}
