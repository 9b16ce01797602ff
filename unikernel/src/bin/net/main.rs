//! Serves HTTP on port 80 of the first virtio network card: a page with its counters at `/`, and N
//! bytes at `/bytes/N`. It answers ping.
//!
//! Its address is `address=A.B.C.D/N` of the command line, or that of DHCP. It waits for the card's
//! interrupt, and for time-outs, without a tick. After `requests=N` answers it ends.
#![no_std]
#![no_main]

mod card;
mod http;
mod server;

use core::time::Duration;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet, SocketStorage};
use smoltcp::socket::dhcpv4;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpCidr, Ipv4Cidr};
use spin::{Mutex, MutexGuard};
use vfio_core::device::DeviceHandle;
use vfio_core::device::irq::Vectors;
use vfio_core::wire::abi::pci_irq;
use vfio_drivers::nic::{Nic as _, Phy};
use vfio_drivers::virtio::net::Options;
use vfio_unikernel::boot::Boot;
use vfio_unikernel::clock;

use card::{Error, Net, Queues, open, reach};
use server::{Buffers, CONNECTIONS, Server};

vfio_unikernel::entry!(main);

/// The longest frame.
const FRAME: usize = 1514;

/// How long is slept where nothing is to be done: an interrupt comes before.
const LONG: Duration = Duration::from_secs(60);

/// Connections, and DHCP.
const SOCKETS: usize = CONNECTIONS + 1;

/// The memory of all connections, which is too large for a stack.
static BUFFERS: Mutex<[Buffers; CONNECTIONS]> = Mutex::new([const { Buffers::new() }; CONNECTIONS]);

/// The connections.
static SERVER: Mutex<Server> = Mutex::new(Server::new());

/// The memory of all sockets.
static STORAGE: Mutex<[SocketStorage<'static>; SOCKETS]> =
    Mutex::new([const { SocketStorage::EMPTY }; SOCKETS]);

/// What the image is told.
struct Told {
    /// Its address; none where DHCP gives one.
    address: Option<Ipv4Cidr>,
    /// After how many answers it ends; none where it goes on.
    requests: Option<u64>,
}

/// The stack on the card.
struct Stack<'s, 'n, 'd> {
    phy: Phy<Queues<'n, 'd>, FRAME>,
    interface: Interface,
    sockets: SocketSet<'s>,
    dhcp: Option<SocketHandle>,
}

fn main(boot: &Boot) -> Result<(), Error> {
    let told = Told::read(boot.command_line)?;
    let (device, dma) = open(boot)?;
    let options = Options {
        vector: Some(0),
        ..Options::default()
    };
    let mut net: Net<'_> = Net::start(reach(&device, &dma)?, options)?;
    let vectors = Vectors::<_, 1>::new(&device, pci_irq::MSIX).map_err(Error::Irq)?;
    defmt::info!("address {=[u8; 6]:x}", net.mac().0);
    // Nobody else takes them.
    let (storage, buffers) = (
        MutexGuard::leak(STORAGE.lock()),
        MutexGuard::leak(BUFFERS.lock()),
    );
    let mut sockets = SocketSet::new(&mut storage[..]);
    let mut server = SERVER.lock();
    server.open(&mut sockets, buffers);
    let pair = net.pair(0).ok_or(Error::NoDevice)?;
    let stack = Stack::new(pair, sockets, told.address)?;
    stack.run(&mut server, &vectors, told.requests)
}

impl<'s, 'n, 'd> Stack<'s, 'n, 'd> {
    fn new(
        pair: Queues<'n, 'd>,
        mut sockets: SocketSet<'s>,
        address: Option<Ipv4Cidr>,
    ) -> Result<Self, Error> {
        let mut phy = Phy::new(pair);
        let mac = EthernetAddress(phy.nic().mac().0);
        let mut config = Config::new(mac.into());
        config.random_seed = clock::stamp();
        let mut interface = Interface::new(config, &mut phy, now()?);
        let dhcp = match address {
            Some(address) => {
                set_address(&mut interface, Some(address));
                None
            }
            None => Some(sockets.add(dhcpv4::Socket::new())),
        };
        Ok(Self {
            phy,
            interface,
            sockets,
            dhcp,
        })
    }

    /// Serves, and sleeps where nothing is to be done.
    fn run<D: DeviceHandle>(
        mut self,
        server: &mut Server,
        vectors: &Vectors<D, 1>,
        most: Option<u64>,
    ) -> Result<(), Error> {
        loop {
            self.poll()?;
            while server.serve(&mut self.sockets) {
                self.poll()?;
            }
            self.configure();
            if most.is_some_and(|most| server.counters.requests >= most) && self.is_quiet() {
                defmt::info!("{=u64} requests answered", server.counters.requests);
                return Ok(());
            }
            let delay = self.interface.poll_delay(now()?, &self.sockets);
            let delay = delay.map_or(LONG, |delay| Duration::from_micros(delay.total_micros()));
            if !delay.is_zero() {
                self.phy.nic().wait(vectors, delay)?;
            }
        }
    }

    /// Takes what came, and sends what is to be sent, all at once.
    fn poll(&mut self) -> Result<(), Error> {
        let now = now()?;
        self.interface.poll(now, &mut self.phy, &mut self.sockets);
        Ok(self.phy.flush()?)
    }

    /// Tells whether all connections are over.
    fn is_quiet(&self) -> bool {
        use smoltcp::socket::Socket;
        self.sockets.iter().all(|(_, socket)| match socket {
            Socket::Tcp(socket) => !socket.is_active() || socket.send_queue() == 0,
            _ => true,
        })
    }

    /// Takes the address that DHCP gave.
    fn configure(&mut self) {
        let Some(dhcp) = self.dhcp else {
            return;
        };
        let event = self.sockets.get_mut::<dhcpv4::Socket<'_>>(dhcp).poll();
        match event {
            Some(dhcpv4::Event::Configured(config)) => {
                set_address(&mut self.interface, Some(config.address));
                if let Some(router) = config.router {
                    let _ = self.interface.routes_mut().add_default_ipv4_route(router);
                }
                let octets = config.address.address().octets();
                defmt::info!("DHCP gave {=[u8; 4]}", octets);
            }
            Some(dhcpv4::Event::Deconfigured) => {
                set_address(&mut self.interface, None);
                self.interface.routes_mut().remove_default_ipv4_route();
            }
            None => (),
        }
    }
}

/// Gives the interface an address in the place of the one that it had.
fn set_address(interface: &mut Interface, address: Option<Ipv4Cidr>) {
    interface.update_ip_addrs(|addresses| {
        addresses.clear();
        if let Some(address) = address {
            // There is room for one.
            let _ = addresses.push(IpCidr::Ipv4(address));
        }
    });
}

impl Told {
    fn read(command_line: &[u8]) -> Result<Self, Error> {
        let mut told = Self {
            address: None,
            requests: None,
        };
        for word in command_line.split(|byte| *byte == b' ') {
            let word = core::str::from_utf8(word).map_err(|_| Error::CommandLine)?;
            if let Some(address) = word.strip_prefix("address=") {
                told.address = Some(address.parse().map_err(|()| Error::CommandLine)?);
            } else if let Some(requests) = word.strip_prefix("requests=") {
                told.requests = Some(requests.parse().map_err(|_| Error::CommandLine)?);
            }
        }
        Ok(told)
    }
}

/// Returns the time, as smoltcp counts it.
fn now() -> Result<Instant, Error> {
    let now = clock::now().map_err(Error::Clock)?;
    Ok(Instant::from_micros(
        i64::try_from(now.as_micros()).unwrap_or(i64::MAX),
    ))
}
