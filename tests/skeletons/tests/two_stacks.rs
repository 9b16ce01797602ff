//! Two of smoltcp's stacks on virtio network cards with a wire between them: ping, and TCP both
//! ways.

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Checksum, ChecksumCapabilities, Device as _};
use smoltcp::socket::{icmp, tcp};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, Icmpv4Packet, Icmpv4Repr, IpAddress, IpCidr};
use vfio_core::device::Device;
use vfio_core::dma::Dma;
use vfio_core::open::Session;
use vfio_core::sys::Sys as _;
use vfio_drivers::nic::{Nic as _, Phy};
use vfio_drivers::virtio::net::{self, Net, Pair, features};
use vfio_drivers::virtio::{Features, Misfit, PciTransport, VirtioError};
use vfio_hosted::model::{self, VirtioFault, VirtioNet, VirtioNetControl};
use vfio_hosted::sim::Kernel;

const NAME: &str = "0000:01:00.0";

/// Frames of a queue.
const DEPTH: usize = 16;

type Dmas = Dma<Kernel, 64>;
type Transport<'m> = PciTransport<&'m Device<Kernel>, &'m Dmas>;
type Card<'m> = Net<Transport<'m>, 1, DEPTH>;

/// A machine with one card.
struct Machine {
    kernel: Kernel,
    device: Device<Kernel>,
    dma: Dmas,
    control: VirtioNetControl,
}

impl Machine {
    fn new(net: VirtioNet) -> Self {
        let control = net.control();
        let kernel = Kernel::new().with_device(NAME, model::virtio_net_with(net), 1);
        let place = kernel.place(NAME).unwrap();
        let Session { device, space, .. } = Session::open(&kernel, &place.as_place()).unwrap();
        let dma = Dma::new(kernel.clone(), space).unwrap();
        Self {
            kernel,
            device,
            dma,
            control,
        }
    }

    fn start(&self, without: Features) -> Card<'_> {
        let transport = PciTransport::open(&self.device, &self.dma).unwrap();
        let options = net::Options {
            without,
            ..Default::default()
        };
        Net::start(transport, options).unwrap()
    }
}

/// A stack on a card.
struct Stack<'n, 'm> {
    machine: &'m Machine,
    phy: Phy<Pair<'n, Transport<'m>, DEPTH>, 1514>,
    interface: Interface,
    sockets: SocketSet<'static>,
}

impl<'n, 'm> Stack<'n, 'm> {
    fn new(machine: &'m Machine, card: &'n mut Card<'m>, address: IpAddress) -> Self {
        let mut phy = Phy::new(card.pair(0).unwrap());
        let mac = EthernetAddress(phy.nic().mac().0);
        let config = Config::new(mac.into());
        let mut interface = Interface::new(config, &mut phy, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(address, 24)).unwrap();
        });
        Self {
            machine,
            phy,
            interface,
            sockets: SocketSet::new(vec![]),
        }
    }

    /// Does what is to be done at a moment.
    fn poll(&mut self, now: Instant) {
        // The device takes what came.
        self.machine.kernel.now().unwrap();
        self.interface.poll(now, &mut self.phy, &mut self.sockets);
        self.phy.flush().unwrap();
    }

    fn tcp(&mut self) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; 16 << 10]);
        self.sockets.add(tcp::Socket::new(buffer(), buffer()))
    }
}

/// How many polls all of it may take.
const POLLS: i64 = 20_000;

/// Polls both stacks until `done` says that it is over.
fn run(
    stacks: &mut [&mut Stack<'_, '_>; 2],
    mut done: impl FnMut(&mut [&mut Stack<'_, '_>; 2]) -> bool,
) {
    for millis in 0..POLLS {
        for stack in &mut *stacks {
            stack.poll(Instant::from_millis(millis));
        }
        if done(stacks) {
            return;
        }
    }
    panic!("it takes too long");
}

/// Has the first stack ping the second.
fn ping(stacks: &mut [&mut Stack<'_, '_>; 2]) {
    let buffer = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 4], vec![0; 4096]);
    let mut socket = icmp::Socket::new(buffer(), buffer());
    socket.bind(icmp::Endpoint::Ident(7)).unwrap();
    let handle = stacks[0].sockets.add(socket);
    let data = [0x5a; 1000];
    let mut answers = 0;
    for seq_no in 0..20 {
        let socket = stacks[0].sockets.get_mut::<icmp::Socket<'_>>(handle);
        let request = Icmpv4Repr::EchoRequest {
            ident: 7,
            seq_no,
            data: &data,
        };
        let bytes = socket.send(request.buffer_len(), THERE).unwrap();
        let checksums = ChecksumCapabilities::default();
        request.emit(&mut Icmpv4Packet::new_unchecked(bytes), &checksums);
        run(stacks, |stacks| {
            let socket = stacks[0].sockets.get_mut::<icmp::Socket<'_>>(handle);
            let Ok((bytes, _)) = socket.recv() else {
                return false;
            };
            let packet = Icmpv4Packet::new_checked(bytes).unwrap();
            let answer = Icmpv4Repr::parse(&packet, &ChecksumCapabilities::default()).unwrap();
            let expected = Icmpv4Repr::EchoReply {
                ident: 7,
                seq_no,
                data: &data,
            };
            assert_eq!(answer, expected);
            answers += 1;
            true
        });
    }
    assert_eq!(answers, 20);
}

/// Has the first stack send bytes to the second, which sends them back.
fn echo(stacks: &mut [&mut Stack<'_, '_>; 2]) {
    let client = stacks[0].tcp();
    let server = stacks[1].tcp();
    let socket = stacks[1].sockets.get_mut::<tcp::Socket<'_>>(server);
    socket.listen(80).unwrap();
    let Stack {
        interface, sockets, ..
    } = &mut *stacks[0];
    let socket = sockets.get_mut::<tcp::Socket<'_>>(client);
    socket
        .connect(interface.context(), (THERE, 80), 50_000)
        .unwrap();
    let data: Vec<u8> = (0..200_000_u32)
        .map(|at| (at * 7 + at / 256) as u8)
        .collect();
    let (mut sent, mut back) = (0, vec![]);
    run(stacks, |stacks| {
        let socket = stacks[1].sockets.get_mut::<tcp::Socket<'_>>(server);
        if socket.can_send() && socket.can_recv() {
            let room = socket.send_capacity() - socket.send_queue();
            let mut bytes = vec![0; room];
            let len = socket.recv_slice(&mut bytes).unwrap();
            assert_eq!(socket.send_slice(&bytes[..len]), Ok(len));
        }
        let socket = stacks[0].sockets.get_mut::<tcp::Socket<'_>>(client);
        if socket.can_send() {
            sent += socket.send_slice(&data[sent..]).unwrap();
        }
        while socket.can_recv() {
            let mut bytes = [0; 4096];
            let len = socket.recv_slice(&mut bytes).unwrap();
            back.extend_from_slice(&bytes[..len]);
        }
        back.len() == data.len()
    });
    assert!(back == data);
}

const HERE: IpAddress = IpAddress::v4(10, 0, 0, 1);
const THERE: IpAddress = IpAddress::v4(10, 0, 0, 2);

/// Does something with two stacks whose cards are not to have some features.
fn between(without: Features, act: impl FnOnce(&mut [&mut Stack<'_, '_>; 2])) {
    let here = Machine::new(VirtioNet::new());
    let there = Machine::new(VirtioNet::new().with_mac([2, 0, 0, 0, 0, 2]));
    here.control.connect(&there.control);
    let (mut first, mut second) = (here.start(without), there.start(without));
    {
        let mut first = Stack::new(&here, &mut first, HERE);
        let mut second = Stack::new(&there, &mut second, THERE);
        act(&mut [&mut first, &mut second]);
    }
    drop((first, second));
    for machine in [here, there] {
        assert_eq!(machine.kernel.faults(), []);
        assert_eq!(machine.kernel.live_dma_mappings(), 0);
    }
}

/// With and without checksums that the cards compute.
const OFFLOADS: [Features; 4] = [
    Features(0),
    features::CSUM,
    features::GUEST_CSUM,
    Features(features::CSUM.0 | features::GUEST_CSUM.0),
];

#[test]
fn a_stack_pings_another_through_two_cards() {
    for without in OFFLOADS {
        between(without, ping);
    }
}

#[test]
fn tcp_carries_bytes_both_ways_with_every_share_of_the_checksums() {
    for without in OFFLOADS {
        between(without, echo);
    }
}

#[test]
fn a_card_that_computes_checksums_leaves_none_to_the_stack() {
    for (without, left) in [
        (Features(0), "None"),
        (features::CSUM, "Tx"),
        (features::GUEST_CSUM, "Rx"),
        (features::CSUM | features::GUEST_CSUM, "Both"),
    ] {
        between(without, |stacks| {
            let capabilities = stacks[0].phy.capabilities();
            assert_eq!(format!("{:?}", capabilities.checksum.tcp), left);
            assert!(matches!(capabilities.checksum.ipv4, Checksum::Both));
            assert_eq!(capabilities.max_transmission_unit, 1514);
        });
    }
}

#[test]
fn a_batch_of_segments_takes_few_notifications() {
    between(Features(0), |stacks| {
        let before = stacks[0].machine.control.virtio().counts();
        echo(stacks);
        let after = stacks[0].machine.control.virtio().counts();
        let notifications = after.notifications - before.notifications;
        // 200 kB in segments of 1460 bytes are 137 frames, and as many acknowledgements come.
        let requests = after.requests - before.requests;
        assert!(requests > 137, "{requests}");
        assert!(
            notifications * 2 < requests,
            "{notifications} of {requests}"
        );
    });
}

#[test]
fn frames_that_a_wire_damaged_are_dropped() {
    between(Features(0), |stacks| {
        let mut frame = [0; 60];
        frame[..6].copy_from_slice(&[0x52, 0x54, 0, 0x12, 0x34, 0x56]);
        frame[12..18].copy_from_slice(&[8, 0, 0x45, 0, 0, 40]);
        frame[22..24].copy_from_slice(&[64, 6]);
        frame[26..34].copy_from_slice(&[10, 0, 0, 2, 10, 0, 0, 1]);
        stacks[0].machine.control.receive(&frame);
        stacks[0].poll(Instant::ZERO);
        assert_eq!(stacks[0].phy.damaged(), 1);
    });
}

#[test]
fn what_fails_is_told_by_the_next_flush() {
    let machine = Machine::new(VirtioNet::new());
    let mut card = machine.start(Features(0));
    let mut stack = Stack::new(&machine, &mut card, HERE);
    let virtio = machine.control.virtio();
    virtio.inject(0, 0, VirtioFault::UsedId(5000));
    machine.control.receive(&[0; 60]);
    machine.kernel.now().unwrap();
    let Stack {
        interface,
        phy,
        sockets,
        ..
    } = &mut stack;
    interface.poll(Instant::ZERO, phy, sockets);
    let misfit = Misfit::Id { id: 5000 };
    let unexpected = VirtioError::Unexpected { queue: 0, misfit };
    assert_eq!(phy.flush(), Err(unexpected));
    interface.poll(Instant::ZERO, phy, sockets);
    assert_eq!(phy.flush(), Err(VirtioError::Stopped));
}
