//! A network card under smoltcp: two UDP sockets exchange a datagram through it.
//!
//! A frame is copied once when it is sent and once when it is received.
#![forbid(unsafe_code)]

mod card;
mod nic;

use std::error::Error;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::socket::udp;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};
use vfio_core::device::DeviceHandle;
use vfio_core::dma::{Chunk, DmaHandle, Pool};
use vfio_hosted::sim::Kernel;
use vfio_skeletons::{Ended, open};

use nic::{FRAME, Nic, Queue};

/// A frame that was received.
struct Received<'n, D: DeviceHandle, M: DmaHandle> {
    queue: &'n mut Queue<D, M>,
    frame: Chunk<Arc<Pool<M>>>,
    len: usize,
}

/// A frame that is to be sent.
struct Sent<'n, D: DeviceHandle, M: DmaHandle> {
    queue: &'n mut Queue<D, M>,
    frame: Chunk<Arc<Pool<M>>>,
}

impl<D: DeviceHandle, M: DmaHandle> phy::RxToken for Received<'_, D, M> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(mut self, f: F) -> R {
        let mut bytes = [0; FRAME];
        let bytes = &mut bytes[..self.len];
        // It fits: a chunk is longer than a frame.
        let _ = self.frame.window().read_bytes(0, bytes);
        let len = self.frame.window().len();
        let _ = self.queue.give(self.frame, len);
        f(bytes)
    }
}

impl<D: DeviceHandle, M: DmaHandle> phy::TxToken for Sent<'_, D, M> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(mut self, len: usize, f: F) -> R {
        let mut bytes = [0; FRAME];
        let bytes = &mut bytes[..len];
        let result = f(bytes);
        let _ = self.frame.window().write_bytes(0, bytes);
        let _ = self.queue.give(self.frame, len);
        result
    }
}

impl<D: DeviceHandle, M: DmaHandle> Nic<D, M> {
    /// Frees what was sent, and finds memory and a place for another frame.
    fn room(&mut self) -> Option<Chunk<Arc<Pool<M>>>> {
        while self.transmit.take().is_some() {}
        self.frame().filter(|_| self.transmit.has_room())
    }
}

impl<D: DeviceHandle, M: DmaHandle> phy::Device for Nic<D, M> {
    type RxToken<'n>
        = Received<'n, D, M>
    where
        Self: 'n;
    type TxToken<'n>
        = Sent<'n, D, M>
    where
        Self: 'n;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_, D, M>, Sent<'_, D, M>)> {
        let to_send = self.room()?;
        let (frame, len) = self.receive.take()?;
        let received = Received {
            queue: &mut self.receive,
            frame,
            len,
        };
        let sent = Sent {
            queue: &mut self.transmit,
            frame: to_send,
        };
        Some((received, sent))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sent<'_, D, M>> {
        let frame = self.room()?;
        Some(Sent {
            queue: &mut self.transmit,
            frame,
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME;
        capabilities
    }
}

/// Returns a socket that is bound to `port`.
fn socket(port: u16) -> Result<udp::Socket<'static>, Box<dyn Error>> {
    let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 4], vec![0; 4096]);
    let mut socket = udp::Socket::new(buffer(), buffer());
    socket.bind(port).map_err(|error| format!("{error}"))?;
    Ok(socket)
}

/// Sends `question` from one socket and `answer` from the other. Returns what arrived.
fn exchange<D: DeviceHandle, M: DmaHandle>(
    nic: &mut Nic<D, M>,
    question: &[u8],
    answer: &[u8],
) -> Result<[Vec<u8>; 2], Box<dyn Error>> {
    let itself = IpAddress::v4(192, 168, 69, 1);
    let address = EthernetAddress([2, 0, 0, 0, 0, 1]);
    let mut now = Instant::ZERO;
    let mut interface = Interface::new(Config::new(address.into()), nic, now);
    interface.update_ip_addrs(|addresses| {
        let _ = addresses.push(IpCidr::new(itself, 24));
    });
    let mut sockets = SocketSet::new(Vec::new());
    let client = sockets.add(socket(1000)?);
    let server = sockets.add(socket(2000)?);
    sockets
        .get_mut::<udp::Socket<'_>>(client)
        .send_slice(question, (itself, 2000))?;
    let mut asked = Vec::new();
    for _ in 0..1000 {
        interface.poll(now, nic, &mut sockets);
        let socket = sockets.get_mut::<udp::Socket<'_>>(server);
        if let Ok((bytes, from)) = socket.recv() {
            asked = bytes.to_vec();
            socket.send_slice(answer, from)?;
        }
        if let Ok((bytes, _)) = sockets.get_mut::<udp::Socket<'_>>(client).recv() {
            return Ok([asked, bytes.to_vec()]);
        }
        nic.wait(Duration::from_millis(10))?;
        now += smoltcp::time::Duration::from_millis(10);
    }
    Err("no answer arrives".into())
}

fn kernel() -> Kernel {
    Kernel::new().with_device("0000:00:05.0", card::model(), 7)
}

#[test]
fn two_sockets_exchange_a_datagram_through_a_card_that_a_thread_owns() -> Ended {
    let kernel = kernel();
    let (device, dma) = open(&kernel, kernel.place("0000:00:05.0"))?;
    let mut nic = Nic::new(device, dma)?;
    let long: Vec<u8> = (0..1400_u32).map(|n| n.to_le_bytes()[0]).collect();
    let sent = long.clone();
    let thread = thread::spawn(move || {
        let arrived = exchange(&mut nic, b"how long is a frame?", &sent).unwrap();
        (nic, arrived)
    });
    let (nic, [question, answer]) = thread.join().map_err(|_| "the thread failed")?;
    assert_eq!(question, b"how long is a frame?");
    assert_eq!(answer, long);
    assert!(kernel.faults().is_empty());
    drop(nic);
    let left = (kernel.open_files(), kernel.live_dma_mappings());
    assert_eq!((left, kernel.open_events()), ((0, 0), 0));
    Ok(())
}

#[test]
fn the_card_is_driven_by_who_borrows_it() -> Ended {
    let kernel = kernel();
    let (device, dma) = open(&kernel, kernel.place("0000:00:05.0"))?;
    let mut nic = Nic::new(&*device, &*dma)?;
    // More frames than a ring has places.
    for round in 0..40_u8 {
        let [question, answer] = exchange(&mut nic, &[round; 10], &[round; 1000])?;
        assert_eq!((question, answer), (vec![round; 10], vec![round; 1000]));
    }
    Ok(())
}
