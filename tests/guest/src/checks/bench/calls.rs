//! System calls, counted from outside: a process of its own does one thing under `ptrace(2)`.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use vfio_core::open::Mode;
use vfio_guest::Device;

use super::child::{COUNT, READY};
use super::{Figures, child, open};

/// The call that a child makes before and after what is counted.
pub(super) const MARK: i64 = libc::SYS_getppid;

/// The calls that the shim makes, by name.
const NAMES: [(i64, &str); 16] = [
    (libc::SYS_open, "open"),
    (libc::SYS_openat, "open"),
    (libc::SYS_close, "close"),
    (libc::SYS_fstat, "fstat"),
    (libc::SYS_newfstatat, "fstat"),
    (libc::SYS_readlink, "readlink"),
    (libc::SYS_readlinkat, "readlink"),
    (libc::SYS_ioctl, "ioctl"),
    (libc::SYS_pread64, "pread"),
    (libc::SYS_pwrite64, "pwrite"),
    (libc::SYS_read, "read"),
    (libc::SYS_write, "write"),
    (libc::SYS_mmap, "mmap"),
    (libc::SYS_munmap, "munmap"),
    (libc::SYS_poll, "poll"),
    (libc::SYS_eventfd2, "eventfd"),
];

/// Checks that the calls of each operation: `OPERATION` has all of them, `OPERATION, CALL` those of
/// one kind.
pub(super) fn figures(device: &Device, mode: Mode) -> Result<String> {
    // Why the kernel does not have the mode, where it does not.
    drop(open(device, mode)?);
    let mut figures = Figures::new();
    for operation in child::Operation::ALL {
        if !operation.is_in(mode) {
            continue;
        }
        let name = operation.name();
        let calls = count(name, device, mode).with_context(|| name.to_owned())?;
        // The sum of none would be -0.
        figures.insert(
            name.into(),
            calls.values().fold(0.0, |sum, count| sum + count),
        );
        for (call, count) in calls {
            figures.insert(format!("{name}, {call}"), count);
        }
    }
    Ok(serde_json::to_string(&figures)?)
}

/// Has a process do `operation`, and counts what it calls.
fn count(operation: &str, device: &Device, mode: Mode) -> Result<Figures> {
    let mut child = Command::new("/proc/self/exe")
        .args([COUNT, operation, mode.name(), device.address()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start a process")?;
    let mut input = child.stdin.take().context("no stdin")?;
    let mut output = BufReader::new(child.stdout.take().context("no stdout")?);
    let mut said = String::new();
    output.read_line(&mut said)?;
    ensure!(said.trim() == READY, "not even prepared: {said}");

    let pid = Pid::from_raw(i32::try_from(child.id())?);
    ptrace::seize(
        pid,
        Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL,
    )
    .context("cannot trace it")?;
    ptrace::interrupt(pid)?;
    input.write_all(b"\n")?;
    drop(input);
    let (calls, status) = trace(pid)?;
    said.clear();
    output.read_to_string(&mut said)?;
    ensure!(status == 0, "{}", said.trim());
    Ok(calls)
}

/// Follows a process to its end: what it calls between the marks, and its exit status.
fn trace(pid: Pid) -> Result<(Figures, i32)> {
    let mut calls: BTreeMap<String, f64> = Figures::new();
    let mut marks = 0;
    // A call stops the process twice: where it is entered and where it returns.
    let mut is_entered = false;
    loop {
        match waitpid(pid, None)? {
            WaitStatus::PtraceSyscall(_) => {
                let number = i64::try_from(ptrace::getregs(pid)?.orig_rax)?;
                is_entered = !is_entered;
                if is_entered && number == MARK {
                    marks += 1;
                } else if is_entered && marks == 1 {
                    let name = NAMES.iter().find(|(known, _)| *known == number);
                    let name = match name {
                        Some((_, name)) => (*name).to_owned(),
                        None => format!("call {number}"),
                    };
                    *calls.entry(name).or_default() += 1.0;
                }
                ptrace::syscall(pid, None)?;
            }
            WaitStatus::PtraceEvent(..) => ptrace::syscall(pid, None)?,
            WaitStatus::Stopped(_, signal) => ptrace::syscall(pid, signal)?,
            WaitStatus::Exited(_, 0) if marks != 2 => bail!("{marks} marks, and not 2"),
            WaitStatus::Exited(_, status) => return Ok((calls, status)),
            status => bail!("it ended: {status:?}"),
        }
    }
}
