//! `vfio serve`: a model of a device, for other processes.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use vfio_hosted::model::{self, Model};
use vfio_hosted::vfio_user::{Ended, Limits, ServeError, Server, Summary};

use crate::failure::Failure;
use crate::interrupt::Interrupt;

/// Serve a model of a device to other processes over a socket (vfio-user).
///
/// Clients drive it one after the other: this program (`vfio run edu unix:PATH`), QEMU (`vfio-user-pci`), and others that
/// speak the protocol. The device is as new for each. Ctrl-C ends it and takes the socket away.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model.
    #[arg(value_parser = PossibleValuesParser::new(Model::NAMES))]
    model: String,

    /// The socket, which is made; whoever may write to it may drive the device.
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,

    /// How long a client may keep the server waiting in the middle of something, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    patience: u64,

    /// End after one client.
    #[arg(long)]
    once: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let failed = |error: ServeError| Failure::Serve {
        path: args.socket.clone(),
        error,
    };
    let interrupt = Interrupt::catch(None)?;
    // The name was checked when it was parsed.
    let model = Model::by_name(&args.model).unwrap_or_else(model::edu);
    let limits = Limits {
        patience: Duration::from_secs(args.patience.max(1)),
        ..Limits::default()
    };
    let mut server = Server::bind(&args.socket, model)
        .map_err(failed)?
        .with_limits(limits)
        .with_stop(stop(interrupt)?);
    eprintln!("{} is served at {}", args.model, args.socket.display());
    while let Some(summary) = server.serve_one().map_err(failed)? {
        tell(&summary);
        if args.once || summary.ended == Ended::Stopped {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns what can be read once the user asks to end.
fn stop(interrupt: &Interrupt) -> Result<OwnedFd, Failure> {
    interrupt.event().map_err(|error| Failure::Signals {
        message: error.to_string(),
    })
}

fn tell(summary: &Summary) {
    let Summary {
        ended,
        messages,
        faults,
        last_fault,
    } = summary;
    eprintln!("a client is gone after {messages} messages: {ended}");
    if let Some(fault) = last_fault {
        eprintln!("{faults} transfers were refused; the last: {fault}");
    }
}
