//! Tries the driver of virtio network cards.

mod question;
mod run;
mod step;

use core::convert::Infallible;
use core::time::Duration;

use vfio_core::device::DeviceHandle;
use vfio_core::device::irq::Vectors;
use vfio_core::wire::abi::pci_irq;
use vfio_drivers::nic::Link;
use vfio_drivers::virtio::net::{Net, Options, Pair, features};
use vfio_drivers::virtio::{Transport, VirtioError};

pub use run::run;
pub use step::Step;

use crate::clock::Clock;
use crate::report::same;
use question::{LEN, ask, is_answer};

/// Frames that a queue holds.
const DEPTH: usize = 32;
/// Pairs of queues, where the device has them.
const PAIRS: usize = 2;

/// How long the link, a frame or an answer may take.
const SOON: Duration = Duration::from_secs(10);
/// How long an answer is waited for before it is asked for again.
const AGAIN: Duration = Duration::from_secs(1);

/// The longest frame that comes while the steps are made.
const FRAME: usize = 2048;

/// Who is asked for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Peer {
    /// The IPv4 address that the card takes for its own meanwhile.
    pub address: [u8; 4],
    /// The IPv4 address of somebody on the same network, who answers ARP.
    pub peer: [u8; 4],
}

/// How each step went; `E` is how a register access can fail.
pub type Report<E> = crate::Report<Step, VirtioError<E>, Infallible, { Step::ALL.len() }>;

/// How a step went.
type Outcome<E> = crate::Outcome<VirtioError<E>>;

/// What a step returns.
type Done<T, R = ()> = Result<R, Outcome<<T as Transport>::Error>>;

/// The card that is tried.
type Card<T> = Net<T, PAIRS, DEPTH>;

impl Default for Peer {
    /// Returns the peer and the address of QEMU's user network.
    fn default() -> Self {
        Self {
            address: [10, 0, 2, 15],
            peer: [10, 0, 2, 2],
        }
    }
}

/// Tries every step on the card behind `transport`, which is `device`. Its bus mastering must be
/// on.
///
/// Frames are sent to all on the card's network: they ask who has the peer's address. After a step
/// that fails, those that build on it are [`Outcome::NotRun`](crate::Outcome::NotRun).
pub fn exercise<T: Transport, D: DeviceHandle>(
    device: D,
    transport: T,
    peer: Peer,
) -> Report<T::Error> {
    let mut report = Report::new(Step::ALL);
    let options = Options {
        vector: Some(0),
        ..Options::default()
    };
    let started = Net::start(transport, options).map_err(Outcome::Device);
    let started = started.and_then(|card: Card<T>| {
        let is_group = card.mac().0.first().is_none_or(|first| first & 1 != 0);
        same(false, is_group)?;
        Ok(card)
    });
    let Some(mut card) = report.keep(Step::Start, started) else {
        return report;
    };
    report.keep(Step::Link, link(&card, &device));
    report.keep(Step::Send, send(&mut card, &device, peer, 1));
    report.keep(Step::Batch, send(&mut card, &device, peer, DEPTH));
    report.keep(Step::Answer, answer(&mut card, &device, peer));
    report.keep(Step::Interrupt, interrupt(&mut card, &device, peer));
    report.keep(Step::Control, control(&mut card));
    report.keep(Step::Pairs, pairs(&mut card, &device, peer));
    report.keep(Step::Restart, restart(&mut card, &device, peer));
    report
}

/// Waits until the card has a link.
fn link<T: Transport, D: DeviceHandle>(card: &Card<T>, device: &D) -> Done<T> {
    let clock = Clock::<_, T::Error>::new(device, SOON)?;
    while card.link()? == Link::Down {
        clock.tick()?;
    }
    Ok(())
}

/// Sends `count` frames, or as many as the queue holds, and waits until they were sent.
fn send<T: Transport, D: DeviceHandle>(
    card: &mut Card<T>,
    device: &D,
    peer: Peer,
    count: usize,
) -> Done<T> {
    let question = ask(card.mac(), peer);
    let mut pair = card.pair(0).ok_or(Outcome::NotRun)?;
    send_by(&mut pair, device, &question, count)
}

/// Sends frames by a pair of queues.
fn send_by<T: Transport, D: DeviceHandle>(
    pair: &mut Pair<'_, T, DEPTH>,
    device: &D,
    frame: &[u8; LEN],
    count: usize,
) -> Done<T> {
    let mut put = 0_usize;
    while put < count && pair.send(frame, None)? {
        put = put.saturating_add(1);
    }
    same(true, put > 0)?;
    pair.flush()?;
    let clock = Clock::<_, T::Error>::new(device, SOON)?;
    while pair.unsent()? > 0 {
        clock.tick()?;
    }
    Ok(())
}

/// Asks until an answer came.
fn answer<T: Transport, D: DeviceHandle>(card: &mut Card<T>, device: &D, peer: Peer) -> Done<T> {
    let question = ask(card.mac(), peer);
    for _ in 0..SOON.as_secs() {
        // What came to earlier questions is no answer to this one.
        for mut pair in card.pairs_mut() {
            let mut frame = [0; FRAME];
            while pair.receive(&mut frame)?.is_some() {}
        }
        send(card, device, peer, 1)?;
        let clock = Clock::<_, T::Error>::new(device, AGAIN)?;
        while !clock.is_over()? {
            for mut pair in card.pairs_mut() {
                if came(&mut pair, &question, peer)? {
                    return Ok(());
                }
            }
        }
    }
    same(1_u8, 0_u8)
}

/// Tells whether one of the frames that came by a pair of queues is an answer.
fn came<T: Transport>(
    pair: &mut Pair<'_, T, DEPTH>,
    question: &[u8; LEN],
    peer: Peer,
) -> Done<T, bool> {
    let mut frame = [0; FRAME];
    while let Some(received) = pair.receive(&mut frame)? {
        let frame = frame.get(..received.len).unwrap_or_default();
        if is_answer(frame, question, peer) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Asks, and sleeps until an answer came.
fn interrupt<T: Transport, D: DeviceHandle>(card: &mut Card<T>, device: &D, peer: Peer) -> Done<T> {
    // Frames are to come into the first pair alone.
    card.use_pairs(1)?;
    let vectors = Vectors::<_, 1>::new(device.clone(), pci_irq::MSIX).map_err(Outcome::Irq)?;
    let question = ask(card.mac(), peer);
    let mut pair = card.pair(0).ok_or(Outcome::NotRun)?;
    while came(&mut pair, &question, peer)? {}
    let before = vectors.take(0);
    let before = before.map_err(|errno| Outcome::Device(VirtioError::Wait(errno)))?;
    for _ in 0..SOON.as_secs() {
        send_by(&mut pair, device, &question, 1)?;
        if pair.wait(&vectors, AGAIN)? && came(&mut pair, &question, peer)? {
            return Ok(());
        }
    }
    same(before.saturating_add(1), before)
}

/// Makes a command, where there is a control queue.
fn control<T: Transport>(card: &mut Card<T>) -> Done<T> {
    if !card.features().contains(features::CTRL_RX) {
        return Err(Outcome::NotThere);
    }
    card.set_promiscuous(true)?;
    card.set_promiscuous(false)?;
    Ok(())
}

/// Sends by every pair of queues, where there are several.
fn pairs<T: Transport, D: DeviceHandle>(card: &mut Card<T>, device: &D, peer: Peer) -> Done<T> {
    let count = u16::try_from(card.pairs()).unwrap_or(1);
    if count < 2 {
        return Err(Outcome::NotThere);
    }
    card.use_pairs(count)?;
    let question = ask(card.mac(), peer);
    for mut pair in card.pairs_mut() {
        send_by(&mut pair, device, &question, 1)?;
    }
    Ok(())
}

/// Starts the card again while it has frames, and asks once more.
fn restart<T: Transport, D: DeviceHandle>(card: &mut Card<T>, device: &D, peer: Peer) -> Done<T> {
    let question = ask(card.mac(), peer);
    for mut pair in card.pairs_mut() {
        pair.send(&question, None)?;
        pair.flush()?;
        pair.send(&question, None)?;
    }
    card.restart()?;
    answer(card, device, peer)
}
