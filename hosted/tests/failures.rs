//! Every system call of a session fails, one after the other: each time the session ends in an
//! error that says so, and leaves nothing open or mapped.

use vfio_conformance::session::{self, Differs, Ended, Reach};
use vfio_core::device::irq::{Action, Data, IrqError};
use vfio_core::open::{Mode, Place, Session};
use vfio_core::sys::{Errno, ExchangeRequest, InfoRequest, NoIommu, Sys as _, ValueRequest};
use vfio_core::wire::abi::pci_irq;
use vfio_hosted::failing::{Call, Failing, Fault};
use vfio_hosted::model;
use vfio_hosted::sim::Kernel;

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
fn each_call(
    mode: Mode,
    fault: Fault,
    session: impl Fn(&Failing<Kernel>, &Place<'_>) -> Ended,
    ended: Check<'_>,
) {
    for alone in [true, false] {
        for n in 0.. {
            let kernel = kernel(mode);
            let place = kernel.place(NAME).unwrap();
            let place = Place {
                // SAFETY: simulated devices reach nothing but memory of the simulated kernel.
                noiommu: Some(unsafe { NoIommu::acknowledge() }),
                ..place.as_place()
            };
            let sys = Failing::new(kernel.clone());
            let failing = if alone {
                sys.at(n, fault)
            } else {
                sys.from(n, fault)
            };
            let result = session(&failing, &place);
            // Without an IOMMU memory is never freed while nothing tells that the device is done
            // with it.
            let kept = usize::from(mode == Mode::NoIommu && !alone);
            assert!(kernel.live_physical_memory() <= kept, "{kernel:?}");
            nothing_is_open(&kernel);
            // Memory that can't be unmapped is never freed, and other memory always is.
            // What is said to be mapped and is not can't be unmapped either.
            let seems_mapped = matches!(fault, Fault::Answer(_));
            let may_lose = failing.failed().is_some_and(is_unmapping) || !alone || seems_mapped;
            assert!(
                may_lose || kernel.live_memory() == 0,
                "{:?}",
                failing.failed()
            );
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

fn kernel(mode: Mode) -> Kernel {
    let kernel = Kernel::new();
    if mode == Mode::NoIommu {
        kernel.with_noiommu_device(NAME, model::edu(), GROUP)
    } else {
        kernel.with_device(NAME, model::edu(), GROUP)
    }
}

fn nothing_is_left(kernel: &Kernel) {
    nothing_is_open(kernel);
    assert_eq!(kernel.live_physical_memory(), 0, "{kernel:?}");
}

fn nothing_is_open(kernel: &Kernel) {
    let files = (kernel.open_files(), kernel.open_events());
    assert_eq!(files, (0, 0), "{kernel:?}");
    let mappings = (kernel.live_mappings(), kernel.live_dma_mappings());
    assert_eq!(mappings, (0, 0), "{kernel:?}");
    assert_eq!(kernel.live_containers(), 0, "{kernel:?}");
}

fn is_unmapping(call: Call) -> bool {
    matches!(
        call,
        Call::Exchange(ExchangeRequest::UnmapDma | ExchangeRequest::IoasUnmap)
    )
}

/// Tells whether the session may not learn of a failure from the call itself.
fn is_tolerated(call: Call, errno: Errno) -> bool {
    match call {
        // It is how the kernel says that there is no such index, and no such feature.
        Call::Info(InfoRequest::Region | InfoRequest::Irq)
        | Call::Exchange(ExchangeRequest::Feature) => errno == Errno::EINVAL,
        // What is dropped can't tell: interrupts go with the device, and mappings with their
        // address space, which then still has them.
        Call::Exchange(ExchangeRequest::SetIrqs) => true,
        _ => is_unmapping(call),
    }
}

#[test]
fn each_call_that_fails_ends_the_session_with_its_error() {
    for (mode, reach) in ways() {
        for errno in ERRNOS {
            each_call(
                mode,
                Fault::Errno(errno),
                |sys, place| session::edu(sys, place, mode, reach),
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
fn an_answer_that_a_request_does_not_have_is_an_error() {
    for (mode, reach) in ways() {
        each_call(
            mode,
            Fault::Answer(1),
            |sys, place| session::edu(sys, place, mode, reach),
            &|call, ended| match ended {
                // One is yes, and nothing tells of what is dropped.
                Ok(()) => assert!(
                    call == Call::Value(ValueRequest::CheckExtension)
                        || is_tolerated(call, Errno::EPROTO),
                    "{call:?}: passed"
                ),
                Err(error) => {
                    let text = error.to_string();
                    let is_told = session::errno(&*error) == Some(Errno::EPROTO)
                        || text.contains("only 1 of the interrupts")
                        || text.contains("version 1 of the VFIO API");
                    // What seems to be mapped and is not, the device misses, or it can't be
                    // unmapped.
                    let is_map = matches!(
                        call,
                        Call::Exchange(ExchangeRequest::MapDma | ExchangeRequest::IoasMap)
                    );
                    let is_missed = is_map && text.contains("can't be unmapped")
                        || error.is::<Differs>() && (is_map || is_tolerated(call, Errno::EPROTO));
                    assert!(is_told || is_missed, "{call:?}: {error:?}");
                }
            },
        );
    }
}

#[test]
fn fewer_vectors_than_were_asked_for_are_an_error_that_says_how_many() {
    let kernel = Kernel::new().with_device(NAME, model::msix(), GROUP);
    let kernel = kernel.with_vectors(NAME, 1);
    let place = kernel.place(NAME).unwrap();
    let session = Session::open_in(Mode::Type1v2, &kernel, &place.as_place()).unwrap();
    let device = &session.device;
    let only = IrqError::Only { available: 1 };
    assert_eq!(device.vectors::<4>(pci_irq::MSIX).map(drop), Err(only));
    let event = kernel.event().unwrap();
    let set = |count| {
        let events = vec![Some(&event); count];
        let data = Data::Events(&events);
        device.set_irqs(pci_irq::MSIX, 0, Action::Trigger, &data, &mut [0; 64])
    };
    assert_eq!(set(2), Err(only));
    assert_eq!(set(1), Ok(()));
    assert!(
        only.to_string()
            .starts_with("only 1 of the interrupts can be had")
    );
}

#[test]
fn a_short_transfer_is_an_error_that_says_how_short() {
    for (mode, reach) in ways() {
        // Every transfer of the session is of two bytes at least.
        for most in [0, 1] {
            each_call(
                mode,
                Fault::Short(most),
                |sys, place| session::edu(sys, place, mode, reach),
                &|call, ended| {
                    let text = ended.unwrap_err().to_string();
                    let said = text.contains(&format!("only {most} bytes"));
                    assert!(said, "{call:?}: {text}");
                },
            );
        }
    }
}

#[test]
fn each_call_of_a_migration_that_fails_ends_it_with_its_error() {
    let kernel = || {
        let kernel = Kernel::new().with_device(NAME, model::mtty(1), GROUP);
        kernel.with_device("0000:00:06.0", model::mtty(1), GROUP + 1)
    };
    let migrate = |sys: &Failing<Kernel>, kernel: &Kernel, mode| {
        let [from, to] = [NAME, "0000:00:06.0"].map(|name| kernel.place(name).unwrap());
        session::migrate(sys, &from.as_place(), &to.as_place(), mode)
    };
    for mode in [Mode::Type1v2, Mode::Iommufd] {
        for errno in ERRNOS {
            for n in 0.. {
                let kernel = kernel();
                let sys = Failing::new(kernel.clone()).at(n, Fault::Errno(errno));
                let ended = migrate(&sys, &kernel, mode);
                nothing_is_left(&kernel);
                let Some(call) = sys.failed() else {
                    ended.unwrap();
                    break;
                };
                let error = ended.unwrap_err();
                assert_eq!(session::errno(&*error), Some(errno), "{call:?}: {error:?}");
            }
        }
        // Data that arrive in pieces are put together; where none arrive, those are missed, or it
        // was the end.
        for most in [1, 0] {
            for n in 0.. {
                let kernel = kernel();
                let sys = Failing::new(kernel.clone()).at(n, Fault::Short(most));
                let ended = migrate(&sys, &kernel, mode);
                nothing_is_left(&kernel);
                if sys.failed().is_none() {
                    break;
                }
                assert!(ended.is_ok() || most == 0, "{n}: {ended:?}");
            }
        }
    }
}

fn ways() -> impl Iterator<Item = (Mode, Reach)> {
    let reaches = [Reach::Mapped, Reach::Trapped];
    Mode::PREFERRED
        .into_iter()
        .flat_map(move |mode| reaches.map(|reach| (mode, reach)))
}
