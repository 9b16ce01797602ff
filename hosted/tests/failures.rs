//! Every system call of a session fails, one after the other: each time the session ends in an
//! error that says so, and leaves nothing open or mapped.

use vfio_core::sys::{Errno, ExchangeRequest, InfoRequest};
use vfio_hosted::failing::{Call, Failing, Fault};
use vfio_hosted::sim::{Kernel, model};
use vfio_tests::session::{self, Differs, Ended, Reach};
use vfio_tests::way::{Place, Way};

const GROUP: u32 = 26;
const NAME: &str = "0000:00:05.0";

const ERRNOS: [Errno; 6] = [
    Errno::EIO,
    Errno::ENOMEM,
    Errno::EINTR,
    Errno::EAGAIN,
    Errno::ENODEV,
    Errno::EINVAL,
];

/// Runs a session once for each of its calls, which fails, alone or with all that follow; tells
/// which call failed, and how the session ended.
fn each_call(fault: Fault, session: impl Fn(&Failing<Kernel>, &Place) -> Ended, ended: Check) {
    for alone in [true, false] {
        for n in 0.. {
            let kernel = Kernel::new().with_device(NAME, model::edu(), GROUP);
            let place = place(&kernel);
            let sys = Failing::new(kernel.clone());
            let failing = if alone {
                sys.at(n, fault)
            } else {
                sys.from(n, fault)
            };
            let result = session(&failing, &place);
            nothing_is_left(&kernel);
            let Some(call) = failing.failed() else {
                result.unwrap();
                break;
            };
            ended(call, result);
            // Nobody is in the way of the next one.
            session(&Failing::new(kernel), &place).unwrap();
        }
    }
}

type Check<'a> = &'a dyn Fn(Call, Ended);

fn place(kernel: &Kernel) -> Place {
    Place {
        name: c"0000:00:05.0".into(),
        group: GROUP,
        cdev: kernel.device_path(NAME).unwrap(),
    }
}

fn nothing_is_left(kernel: &Kernel) {
    let files = (kernel.open_files(), kernel.open_events());
    assert_eq!(files, (0, 0), "{kernel:?}");
    let mappings = (kernel.live_mappings(), kernel.live_dma_mappings());
    assert_eq!(mappings, (0, 0), "{kernel:?}");
    assert_eq!(kernel.live_containers(), 0, "{kernel:?}");
}

/// Whether the session may not learn of a failure from the call itself.
fn is_tolerated(call: Call, errno: Errno) -> bool {
    match call {
        // It is how the kernel says that there is no such index, and no such feature.
        Call::Info(InfoRequest::Region | InfoRequest::Irq)
        | Call::Exchange(ExchangeRequest::Feature) => errno == Errno::EINVAL,
        // What is dropped can't tell: interrupts go with the device, and mappings with their
        // address space, which then still has them.
        Call::Exchange(
            ExchangeRequest::SetIrqs | ExchangeRequest::UnmapDma | ExchangeRequest::IoasUnmap,
        ) => true,
        _ => false,
    }
}

#[test]
fn each_call_that_fails_ends_the_session_with_its_error() {
    for (way, reach) in ways() {
        for errno in ERRNOS {
            each_call(
                Fault::Errno(errno),
                |sys, place| session::edu(sys, place, way, reach),
                &|call, ended| match ended {
                    Ok(()) => assert!(is_tolerated(call, errno), "{call:?} {errno}: passed"),
                    Err(error) if session::errno(&*error) == Some(errno) => (),
                    Err(error) => assert!(
                        is_tolerated(call, errno) && error.is::<Differs>(),
                        "{call:?} {errno}: {error:?}"
                    ),
                },
            );
        }
    }
}

#[test]
fn a_short_transfer_is_an_error_that_says_how_short() {
    for (way, reach) in ways() {
        // Every transfer of the session is of two bytes at least.
        for most in [0, 1] {
            each_call(
                Fault::Short(most),
                |sys, place| session::edu(sys, place, way, reach),
                &|call, ended| {
                    let text = ended.unwrap_err().to_string();
                    let said = text.contains(&format!("only {most} bytes"));
                    assert!(said, "{call:?}: {text}");
                },
            );
        }
    }
}

fn ways() -> impl Iterator<Item = (Way, Reach)> {
    let reaches = [Reach::Mapped, Reach::Trapped];
    Way::ALL
        .into_iter()
        .flat_map(move |way| reaches.map(|reach| (way, reach)))
}
