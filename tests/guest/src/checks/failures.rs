//! Every system call of a session fails, one after the other: each time the session ends in an
//! error that says so, and leaves nothing open, nor mapped but what could not be unmapped for its
//! device: that memory is never freed.

use anyhow::{Result, anyhow, ensure};
use vfio_conformance::session::{self, Differs, Ended, Reach};
use vfio_core::sys::{Errno, ExchangeRequest, InfoRequest};
use vfio_guest::Device;
use vfio_hosted::failing::{Call, Failing, Fault};
use vfio_hosted::linux::Linux;

use super::held;
use crate::mode::{InGuest as _, Mode};
use crate::world::{World, place};

/// Fails a call alone, then with all that follow it, then makes a transfer short.
pub(crate) fn each_call(_: &World, device: &Device, mode: Mode) -> Result<String> {
    drop(mode.open(device)?);
    let place = place(device)?;
    let session = |sys: &Failing<Linux>| session::edu(sys, &place.as_place(), mode, Reach::Mapped);
    let alone = |sys: Failing<Linux>, n| sys.at(n, Fault::Errno(Errno::EIO));
    let alone = each(alone, is_unmapping, session)?;
    let short = each(|sys, n| sys.at(n, Fault::Short(1)), |_| false, session)?;
    if !matches!(mode, Mode::Type1v2 | Mode::Iommufd) {
        return Ok(format!("{alone} calls alone, {short} short"));
    }
    // It takes a while: in a mode of each kind.
    let last = |sys: Failing<Linux>, n| sys.from(n, Fault::Errno(Errno::ENODEV));
    let last = each(last, |_| true, session)?;
    Ok(format!(
        "{alone} calls alone, {short} short, {last} with all that follow"
    ))
}

/// Tells whether memory is kept where the call fails.
const fn is_unmapping(call: Call) -> bool {
    matches!(
        call,
        Call::Exchange(ExchangeRequest::UnmapDma | ExchangeRequest::IoasUnmap)
    )
}

/// Runs a session for each of its calls, which fails; returns how many those were.
fn each(
    plan: impl Fn(Failing<Linux>, u64) -> Failing<Linux>,
    may_lose: impl Fn(Call) -> bool,
    session: impl Fn(&Failing<Linux>) -> Ended,
) -> Result<u64> {
    for n in 0.. {
        let sys = plan(Failing::new(Linux), n);
        let mut ended = Ok(());
        let lost = held::lost(|| ended = session(&sys))?;
        ensure!(
            lost == 0 || sys.failed().is_some_and(&may_lose),
            "{lost} mappings are left after {:?}",
            sys.failed()
        );
        match (sys.failed(), ended) {
            (None, Ok(())) => return Ok(n),
            (None, Err(error)) => return Err(anyhow!("nothing failed: {error}")),
            (Some(call), ended) => is_told(call, &ended)?,
        }
    }
    Ok(0)
}

/// Checks that a session ends in the error of the call that failed.
fn is_told(call: Call, ended: &Ended) -> Result<()> {
    // What is dropped can't tell: interrupts go with the device, and mappings with their address
    // space.
    let is_dropped = is_unmapping(call) || matches!(call, Call::Exchange(ExchangeRequest::SetIrqs));
    let is_asked = matches!(call, Call::Info(InfoRequest::Region | InfoRequest::Irq));
    match ended {
        Ok(()) => ensure!(is_dropped, "{call:?} failed, and the session did not"),
        Err(error) => {
            let errno = session::errno(&**error);
            let is_named = matches!(errno, Some(Errno::EIO | Errno::ENODEV));
            let is_short = error.to_string().contains("only 1 bytes");
            ensure!(
                is_named || is_short || ((is_dropped || is_asked) && error.is::<Differs>()),
                "{call:?} failed, and the session with {error:?}"
            );
        }
    }
    Ok(())
}
