//! `VFIO_DEVICE_SET_IRQS`, and interrupts that arrive.

use std::time::Duration;
use std::vec;
use std::vec::Vec;

use vfio_core::wire::abi::{IrqSet, IrqSetFlags, pci_irq};

use super::*;
use crate::model::{self, Bus, Registers};
use crate::sim::Event;

const MASK: IrqSetFlags = IrqSetFlags::ACTION_MASK;
const UNMASK: IrqSetFlags = IrqSetFlags::ACTION_UNMASK;
const TRIGGER: IrqSetFlags = IrqSetFlags::ACTION_TRIGGER;

pub(super) enum Data<'a> {
    None(u32),
    Bools(&'a [u8]),
    Events(&'a [Option<&'a Event>]),
}

/// Makes a request as it is.
fn send(opened: &Opened, head: IrqSet, data: &[u8]) -> Result<(), Errno> {
    let mut argument = [head.as_bytes(), data].concat();
    let exchange = Exchange::new(ExchangeRequest::SetIrqs, &mut argument)?;
    opened.kernel.exchange(&opened.device, exchange).map(drop)
}

pub(super) fn set_irqs(
    opened: &Opened,
    index: u32,
    start: u32,
    action: IrqSetFlags,
    data: &Data<'_>,
) -> Result<(), Errno> {
    let (flags, count, bytes) = match data {
        Data::None(count) => (IrqSetFlags::DATA_NONE, *count, vec![]),
        Data::Bools(bools) => (IrqSetFlags::DATA_BOOL, count(bools.len()), bools.to_vec()),
        Data::Events(events) => (
            IrqSetFlags::DATA_EVENTFD,
            count(events.len()),
            vec![0; 4 * events.len()],
        ),
    };
    let head = IrqSet {
        flags: flags | action,
        index,
        start,
        count,
        ..Default::default()
    };
    let Data::Events(events) = data else {
        return send(opened, head, &bytes);
    };
    let mut argument = [head.as_bytes(), &bytes].concat();
    let exchange = Exchange::irq_events(&mut argument, head, events)?;
    match opened.kernel.exchange(&opened.device, exchange)? {
        0 => Ok(()),
        available => panic!("only {available}"),
    }
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap()
}

/// Events of a kernel.
fn events(kernel: &Kernel, count: usize) -> Vec<Event> {
    (0..count).map(|_| kernel.event().unwrap()).collect()
}

/// Events as a request names them.
fn named(events: &[Event]) -> Vec<Option<&Event>> {
    events.iter().map(Some).collect()
}

fn taken(opened: &Opened, events: &[Event]) -> Vec<u64> {
    let take = |event| opened.kernel.event_take(event).unwrap();
    events.iter().map(take).collect()
}

/// A device that sends a message for each number written at 0, and whose pin is what is written
/// at 8.
struct Sender;

impl Registers for Sender {
    fn read(&mut self, _: u32, _: u64, data: &mut [u8], _: &mut Bus<'_>) {
        data.fill(0);
    }

    fn write(&mut self, _: u32, offset: u64, data: &[u8], bus: &mut Bus<'_>) {
        match offset {
            0 => {
                let _ = bus.send_message(data[0].into());
            }
            _ => bus.set_intx(data[0] != 0),
        }
    }

    fn reset(&mut self, _: &mut Bus<'_>) {}
}

/// Returns a model with 65 MSI-X vectors, its bus mastering on.
fn sender() -> Opened {
    let opened = open(model::msix().with_registers(Sender));
    set_command(&opened.kernel, &opened.device, 6);
    opened
}

fn send_message(opened: &Opened, vector: u8) {
    poke(&opened.kernel, &opened.device, 0, &[vector]);
}

fn set_pin(opened: &Opened, level: u8) {
    poke(&opened.kernel, &opened.device, 8, &[level]);
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let opened = sender();
    let none = IrqSetFlags::DATA_NONE;
    let refused = |flags: IrqSetFlags, index, start, count, data: &[u8]| {
        let head = IrqSet {
            flags,
            index,
            start,
            count,
            ..Default::default()
        };
        send(&opened, head, data).unwrap_err()
    };
    let msix = pci_irq::MSIX;
    let events = IrqSetFlags::DATA_EVENTFD | TRIGGER;
    for (flags, index, start, count, data) in [
        // No kind of data, or two; flags that are not known.
        (TRIGGER, msix, 0, 1, &[][..]),
        (none | IrqSetFlags::DATA_BOOL | TRIGGER, msix, 0, 1, &[1]),
        (
            none | TRIGGER | IrqSetFlags::from_bits_retain(1 << 6),
            msix,
            0,
            1,
            &[],
        ),
        // Data that is not there.
        (events, msix, 0, 1, &[0xff; 3]),
        (events, msix, 0, 2, &[0xff; 7]),
        (IrqSetFlags::DATA_BOOL | TRIGGER, msix, 0, 2, &[1]),
        // Interrupts that are not there.
        (none | TRIGGER, msix, 65, 0, &[]),
        (none | TRIGGER, msix, 0, 66, &[]),
        (none | TRIGGER, msix, 64, 2, &[]),
        (none | TRIGGER, msix, 0, u32::MAX, &[]),
        (none | TRIGGER, msix, u32::MAX, 1, &[]),
        (none | TRIGGER, pci_irq::MSI, 0, 0, &[]),
        (none | TRIGGER, 5, 0, 0, &[]),
        (none | TRIGGER, u32::MAX, 0, 0, &[]),
        // Nothing is enabled that could be fired or masked.
        (none | TRIGGER, msix, 0, 1, &[]),
        (none | TRIGGER, msix, 0, 0, &[]),
        (none | TRIGGER, pci_irq::INTX, 0, 1, &[]),
        (none | MASK, pci_irq::INTX, 0, 1, &[]),
        (none | UNMASK, pci_irq::INTX, 0, 1, &[]),
        (none | TRIGGER, pci_irq::REQ, 0, 1, &[]),
    ] {
        let errno = refused(flags, index, start, count, data);
        let case = std::format!("{flags} of {index}, {start} and {count}");
        assert_eq!(errno, Errno::EINVAL, "{case}");
    }
    // No action, two, or one that is not to be had.
    for flags in [none, none | TRIGGER | MASK, none | MASK, none | UNMASK] {
        assert_eq!(refused(flags, msix, 0, 1, &[]), Errno::ENOTTY, "{flags}");
    }
    assert_eq!(refused(none | MASK, pci_irq::REQ, 0, 1, &[]), Errno::ENOTTY);
    let nothing = set_irqs(&opened, msix, 0, TRIGGER, &Data::Events(&[]));
    assert_eq!(nothing, Err(Errno(34)));
}

#[test]
fn events_must_be_of_the_same_kernel() {
    let opened = sender();
    let events = events(&opened.kernel, 2);
    let other = Kernel::new().event().unwrap();
    let set = |events: &[Option<&Event>]| {
        set_irqs(&opened, pci_irq::MSIX, 0, TRIGGER, &Data::Events(events))
    };
    assert_eq!(set(&[Some(&events[0]), Some(&other)]), Err(Errno::EBADF));
    // Nothing was enabled.
    send_message(&opened, 0);
    assert_eq!(taken(&opened, &events), [0, 0]);
    assert_eq!(set(&named(&events)), Ok(()));
    // After a failure none of the block is left.
    assert_eq!(set(&[Some(&events[0]), Some(&other)]), Err(Errno::EBADF));
    send_message(&opened, 0);
    send_message(&opened, 1);
    assert_eq!(taken(&opened, &events), [0, 0]);
    drop(events);
    assert_eq!(opened.kernel.open_events(), 0);
}

#[test]
fn a_driver_is_told_how_many_vectors_there_are() {
    let kernel = Kernel::new().with_device(NAME, model::msix().with_registers(Sender), GROUP);
    let opened = open_in(kernel.with_vectors(NAME, 2));
    set_command(&opened.kernel, &opened.device, 6);
    let events = events(&opened.kernel, 3);
    let named = named(&events);
    let set = |events: &[Option<&Event>]| {
        let head = IrqSet {
            flags: IrqSetFlags::DATA_EVENTFD | TRIGGER,
            index: pci_irq::MSIX,
            ..Default::default()
        };
        let mut buffer = [0; 32];
        let exchange = Exchange::irq_events(&mut buffer, head, events)?;
        opened.kernel.exchange(&opened.device, exchange)
    };
    assert_eq!(set(&named), Ok(2));
    // None was enabled.
    send_message(&opened, 0);
    assert_eq!(taken(&opened, &events), [0; 3]);
    assert_eq!(set(&named[..2]), Ok(0));
    send_message(&opened, 1);
    assert_eq!(taken(&opened, &events), [0, 1, 0]);

    let kernel = Kernel::new().with_device(NAME, model::msix(), GROUP);
    let opened = open_in(kernel.with_vectors(NAME, 0));
    let event = opened.kernel.event().unwrap();
    let data = Data::Events(&[Some(&event)]);
    let none = set_irqs(&opened, pci_irq::MSIX, 0, TRIGGER, &data);
    assert_eq!(none, Err(Errno::ENOSPC));
}

#[test]
fn each_vector_has_its_event() {
    let opened = sender();
    let events = events(&opened.kernel, 4);
    let named = named(&events);
    let all = Data::Events(&named);
    set_irqs(&opened, pci_irq::MSIX, 0, TRIGGER, &all).unwrap();
    for vector in [0, 3, 3, 200] {
        send_message(&opened, vector);
    }
    assert_eq!(taken(&opened, &events), [1, 0, 0, 2]);
    assert_eq!(taken(&opened, &events), [0; 4]);

    // By the driver's own hand.
    set_irqs(&opened, pci_irq::MSIX, 1, TRIGGER, &Data::None(2)).unwrap();
    set_irqs(&opened, pci_irq::MSIX, 2, TRIGGER, &Data::Bools(&[1, 0])).unwrap();
    assert_eq!(taken(&opened, &events), [0, 1, 2, 0]);

    // Vectors change places, and one has no event any more.
    let swapped = [Some(&events[2]), None];
    set_irqs(&opened, pci_irq::MSIX, 1, TRIGGER, &Data::Events(&swapped)).unwrap();
    send_message(&opened, 1);
    send_message(&opened, 2);
    assert_eq!(taken(&opened, &events), [0, 0, 1, 0]);

    set_irqs(&opened, pci_irq::MSIX, 0, TRIGGER, &Data::None(0)).unwrap();
    for vector in 0..4 {
        send_message(&opened, vector);
    }
    assert_eq!(taken(&opened, &events), [0; 4]);
}

#[test]
fn msix_grows_and_keeps_messages_that_nobody_waits_for() {
    let opened = sender();
    let events = events(&opened.kernel, 2);
    let set = |start, events: &[Option<&Event>]| {
        set_irqs(
            &opened,
            pci_irq::MSIX,
            start,
            TRIGGER,
            &Data::Events(events),
        )
    };
    set(0, &[Some(&events[0])]).unwrap();
    send_message(&opened, 64);
    send_message(&opened, 64);
    set(64, &[Some(&events[1])]).unwrap();
    assert_eq!(taken(&opened, &events), [0, 1]);

    // An old kernel enables as many as it is asked for at first.
    let old = open(model::legacy_msix());
    let events = self::events(&old.kernel, 2);
    let named = named(&events);
    let set = |start, events: &[Option<&Event>]| {
        set_irqs(&old, pci_irq::MSIX, start, TRIGGER, &Data::Events(events))
    };
    set(0, &named).unwrap();
    assert_eq!(set(1, &named), Err(Errno::EINVAL));
    assert_eq!(set(2, &[None]), Ok(()));
    set_irqs(&old, pci_irq::MSIX, 0, TRIGGER, &Data::None(0)).unwrap();
    set(1, &named).unwrap();
}

#[test]
fn one_kind_of_interrupt_excludes_the_other() {
    let opened = sender();
    let events = events(&opened.kernel, 1);
    let set = |index, data: &Data<'_>| set_irqs(&opened, index, 0, TRIGGER, data);
    let named = named(&events);
    let enable = Data::Events(&named);
    set(pci_irq::MSIX, &enable).unwrap();
    assert_eq!(set(pci_irq::INTX, &enable), Err(Errno::EINVAL));
    assert_eq!(set(pci_irq::INTX, &Data::None(0)), Err(Errno::EINVAL));
    set(pci_irq::MSIX, &Data::None(0)).unwrap();
    set(pci_irq::INTX, &enable).unwrap();
    assert_eq!(set(pci_irq::MSIX, &enable), Err(Errno::EINVAL));
    set(pci_irq::INTX, &Data::None(0)).unwrap();
    set(pci_irq::MSIX, &enable).unwrap();
}

#[test]
fn messages_need_the_bus() {
    let opened = sender();
    let events = events(&opened.kernel, 1);
    let named = named(&events);
    let data = Data::Events(&named);
    set_irqs(&opened, pci_irq::MSIX, 0, TRIGGER, &data).unwrap();
    set_command(&opened.kernel, &opened.device, 2);
    send_message(&opened, 0);
    assert_eq!(taken(&opened, &events), [0]);
    assert_eq!(opened.kernel.faults().len(), 1);
}

/// Returns the device of a pin, INTx enabled with one event.
fn with_pin() -> (Opened, Vec<Event>) {
    let opened = sender();
    let events = events(&opened.kernel, 1);
    let named = named(&events);
    let data = Data::Events(&named);
    set_irqs(&opened, pci_irq::INTX, 0, TRIGGER, &data).unwrap();
    (opened, events)
}

#[test]
fn intx_is_masked_when_it_occurs() {
    let (opened, events) = with_pin();
    let set = |action, data: &Data<'_>| set_irqs(&opened, pci_irq::INTX, 0, action, data);
    set_pin(&opened, 1);
    assert_eq!(taken(&opened, &events), [1]);
    // Until it is unmasked it stays out, whatever the pin does.
    set_pin(&opened, 0);
    set_pin(&opened, 1);
    assert_eq!(taken(&opened, &events), [0]);
    // It is still asserted, and occurs again at once.
    set(UNMASK, &Data::None(1)).unwrap();
    assert_eq!(taken(&opened, &events), [1]);
    set_pin(&opened, 0);
    set(UNMASK, &Data::Bools(&[0])).unwrap();
    set_pin(&opened, 1);
    assert_eq!(taken(&opened, &events), [0]);
    set_pin(&opened, 0);
    set(UNMASK, &Data::Bools(&[1])).unwrap();
    assert_eq!(taken(&opened, &events), [0]);
    set_pin(&opened, 1);
    assert_eq!(taken(&opened, &events), [1]);
    // The driver's own trigger does not mask.
    set(TRIGGER, &Data::None(1)).unwrap();
    set(TRIGGER, &Data::Bools(&[1])).unwrap();
    set(TRIGGER, &Data::Bools(&[0])).unwrap();
    assert_eq!(taken(&opened, &events), [2]);
}

#[test]
fn intx_is_masked_by_hand() {
    let (opened, events) = with_pin();
    let set = |action, data: &Data<'_>| set_irqs(&opened, pci_irq::INTX, 0, action, data);
    set(MASK, &Data::Bools(&[0])).unwrap();
    set_pin(&opened, 1);
    assert_eq!(taken(&opened, &events), [1]);
    set_pin(&opened, 0);
    set(UNMASK, &Data::None(1)).unwrap();
    set(MASK, &Data::None(1)).unwrap();
    set_pin(&opened, 1);
    assert_eq!(taken(&opened, &events), [0]);
    set(UNMASK, &Data::None(1)).unwrap();
    assert_eq!(taken(&opened, &events), [1]);
    assert_eq!(set(MASK, &Data::Events(&[None])), Err(Errno::ENOTTY));
    set(TRIGGER, &Data::None(0)).unwrap();
    set_pin(&opened, 0);
    set_pin(&opened, 1);
    assert_eq!(taken(&opened, &events), [0]);
}

#[test]
fn intx_is_unmasked_by_an_event() {
    let (opened, events) = with_pin();
    let unmask = self::events(&opened.kernel, 1);
    let named = named(&unmask);
    let set = |data: &Data<'_>| set_irqs(&opened, pci_irq::INTX, 0, UNMASK, data);
    set(&Data::Events(&named)).unwrap();
    assert_eq!(set(&Data::Events(&named)), Err(Errno::EBUSY));
    set_pin(&opened, 1);
    assert_eq!(taken(&opened, &events), [1]);
    opened.kernel.event_signal(&unmask[0]).unwrap();
    assert_eq!(taken(&opened, &events), [1]);
    set(&Data::Events(&[None])).unwrap();
    opened.kernel.event_signal(&unmask[0]).unwrap();
    assert_eq!(taken(&opened, &events), [0]);
}

#[test]
fn the_command_register_turns_intx_off() {
    let (opened, events) = with_pin();
    let Opened { kernel, device, .. } = &opened;
    let config = 7 << 40;
    kernel.pwrite(device, &[6, 4], config + 4).unwrap();
    set_pin(&opened, 1);
    set_irqs(&opened, pci_irq::INTX, 0, TRIGGER, &Data::None(1)).unwrap();
    assert_eq!(taken(&opened, &events), [0]);
    // The status tells of the pin all the same.
    let mut status = [0];
    kernel.pread(device, &mut status, config + 6).unwrap();
    assert_eq!(status[0] & 8, 8);
    kernel.pwrite(device, &[6, 0], config + 4).unwrap();
    assert_eq!(taken(&opened, &events), [1]);
}

#[test]
fn errors_and_requests_stand_alone() {
    let opened = sender();
    let Opened { kernel, .. } = &opened;
    let events = events(kernel, 2);
    let named = named(&events);
    assert!(!kernel.raise_error(NAME));
    let set = |index, data: &Data<'_>| set_irqs(&opened, index, 0, TRIGGER, data);
    set(pci_irq::ERR, &Data::Events(&named[..1])).unwrap();
    set(pci_irq::REQ, &Data::Events(&named[1..])).unwrap();
    assert!(kernel.raise_error(NAME));
    assert!(kernel.request_back(NAME));
    assert!(!kernel.raise_error("0000:00:00.0"));
    assert_eq!(taken(&opened, &events), [1, 1]);
    set(pci_irq::ERR, &Data::None(1)).unwrap();
    set(pci_irq::REQ, &Data::Bools(&[1])).unwrap();
    set(pci_irq::REQ, &Data::Bools(&[0])).unwrap();
    assert_eq!(taken(&opened, &events), [1, 1]);
    set(pci_irq::ERR, &Data::None(0)).unwrap();
    set(pci_irq::REQ, &Data::Events(&[None])).unwrap();
    assert_eq!(set(pci_irq::ERR, &Data::None(0)), Err(Errno::EINVAL));
    assert!(!kernel.raise_error(NAME));
    assert!(!kernel.request_back(NAME));
}

#[test]
fn an_event_is_waited_for() {
    let opened = sender();
    let Opened { kernel, .. } = &opened;
    let events = events(kernel, 1);
    let named = named(&events);
    let data = Data::Events(&named);
    set_irqs(&opened, pci_irq::MSIX, 0, TRIGGER, &data).unwrap();
    let begin = std::time::Instant::now();
    let wait = |timeout| kernel.events_wait(&[&events[0]], timeout);
    assert_eq!(wait(Duration::ZERO), Ok(false));
    assert_eq!(wait(Duration::from_millis(10)), Ok(false));
    assert!(begin.elapsed() >= Duration::from_millis(10));
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| wait(Duration::MAX));
        std::thread::sleep(Duration::from_millis(5));
        send_message(&opened, 0);
        assert_eq!(waits.join().unwrap(), Ok(true));
    });
    // Waiting takes nothing.
    assert_eq!(wait(Duration::ZERO), Ok(true));
    assert_eq!(taken(&opened, &events), [1]);
    let other = Kernel::new();
    assert_eq!(other.event_take(&events[0]), Err(Errno::EBADF));
}

#[test]
fn any_of_several_events_ends_a_wait() {
    let opened = sender();
    let Opened { kernel, .. } = &opened;
    let events = events(kernel, 3);
    let named = named(&events);
    set_irqs(&opened, pci_irq::MSIX, 0, TRIGGER, &Data::Events(&named)).unwrap();
    let all: Vec<_> = events.iter().collect();
    let soon = Duration::from_millis(5);
    assert_eq!(kernel.events_wait(&[], soon), Ok(false));
    assert_eq!(kernel.events_wait(&all, soon), Ok(false));
    for n in 0..3 {
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| kernel.events_wait(&all, Duration::MAX));
            send_message(&opened, n);
            assert_eq!(waits.join().unwrap(), Ok(true));
        });
        // What is in it stays there.
        assert_eq!(kernel.events_wait(&all, Duration::ZERO), Ok(true));
        let mut expected = [0; 3];
        expected[usize::from(n)] = 1;
        assert_eq!(taken(&opened, &events), expected);
    }
    let other = Kernel::new().event().unwrap();
    let foreign = kernel.events_wait(&[&events[0], &other], soon);
    assert_eq!(foreign, Err(Errno::EBADF));
    let many = vec![&events[0]; vfio_core::sys::EVENTS_MOST + 1];
    assert_eq!(kernel.events_wait(&many, soon), Err(Errno::EINVAL));
}

#[test]
fn another_thread_ends_a_wait() {
    let kernel = Kernel::new();
    let events = events(&kernel, 2);
    for _ in 0..100 {
        std::thread::scope(|scope| {
            let waits =
                scope.spawn(|| kernel.events_wait(&[&events[0], &events[1]], Duration::MAX));
            kernel.event_signal(&events[1]).unwrap();
            assert_eq!(waits.join().unwrap(), Ok(true));
        });
        assert_eq!(kernel.event_take(&events[1]), Ok(1));
    }
    assert_eq!(Kernel::new().event_signal(&events[1]), Err(Errno::EBADF));
}
