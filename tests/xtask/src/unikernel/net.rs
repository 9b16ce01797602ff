//! The image `net`, and a client outside of its machine.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use super::image::Image;
use super::machine::{Machine, Model};
use super::worlds::LIMIT;
use crate::guest::qemu::Qemu;
use crate::steps::Steps;

/// A machine with a card.
struct World {
    name: &'static str,
    model: Model,
    card: &'static str,
    /// What the image is told besides.
    told: &'static str,
    /// What it must say.
    says: &'static str,
}

const WORLDS: [World; 4] = [
    World {
        name: "on q35",
        model: Model::Q35,
        card: "virtio-net-pci,netdev=net0",
        told: "",
        says: "DHCP gave [10, 0, 2, 15]",
    },
    World {
        name: "on q35, version 1 alone",
        model: Model::Q35,
        card: "virtio-net-pci,netdev=net0,disable-legacy=on,iommu_platform=on",
        told: "address=10.0.2.15/24",
        says: "virtio-net at",
    },
    World {
        name: "on microvm",
        model: Model::Microvm,
        card: "virtio-net-pci,netdev=net0",
        told: "",
        says: "DHCP gave [10, 0, 2, 15]",
    },
    World {
        name: "on pc, without merged buffers and an event index",
        model: Model::Pc,
        card: "virtio-net-pci,netdev=net0,mrg_rxbuf=off,event_idx=off,indirect_desc=off",
        told: "address=10.0.2.15/24",
        says: "virtio-net at",
    },
];

/// How many requests are made before the image ends.
const REQUESTS: u64 = 1000;

/// Connections at a time.
const CONNECTIONS: u64 = 8;

/// Bytes of the longest answer.
const LONGEST: usize = 16 << 20;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(20);

/// Runs the image in every world.
pub(super) fn steps(steps: &mut Steps) {
    for world in WORLDS {
        steps.run(&format!("unikernel: net {}", world.name), || world.run());
        steps.drove("virtio-net", &format!("unikernel {}", world.name));
    }
}

impl World {
    /// Boots the image and makes requests until it ends.
    fn run(&self) -> Result<()> {
        let port = free_port()?;
        let network = format!("user,id=net0,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:80");
        let machine = Machine {
            options: vec!["-netdev".into(), network],
            command_line: format!("requests={REQUESTS} {}", self.told),
            ..Machine::new(self.model, &[self.card])
        };
        let image = Image::build("net")?;
        let qemu = Qemu::installed()?;
        let client = thread::spawn(move || requests(port));
        let boot = machine.boot(&qemu, &image, LIMIT)?;
        let asked = client.join().map_err(|_| anyhow!("the client panicked"))?;
        asked?;
        boot.succeeded()?;
        boot.says(self.says)?;
        boot.says(&format!("{REQUESTS} requests answered"))
    }
}

/// Returns a port of this machine that nobody has.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// Makes all requests.
fn requests(port: u16) -> Result<()> {
    wait_for(port)?;
    broken(port).context("what is no request")?;
    let mut first = Client::connect(port)?;
    for len in [0, 1, 100, 4095, 16 << 10, LONGEST] {
        first.bytes(len).with_context(|| format!("{len} bytes"))?;
    }
    // Each on a connection of its own, which the image closes, or the client.
    for _ in 0..50 {
        closed(port).context("a connection that the image closes")?;
        let mut client = Client::connect(port)?;
        client.bytes(10).context("a connection of its own")?;
    }
    let threads: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            thread::spawn(move || {
                let mut client = Client::connect(port)?;
                let mut requests = 0..50;
                requests
                    .try_for_each(|_| client.bytes(100))
                    .context("one of several connections")
            })
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| anyhow!("a client panicked"))??;
    }
    let done = first.counter("requests")?;
    ensure!(done < REQUESTS, "{done} requests by now");
    (done..REQUESTS).try_for_each(|_| first.bytes(100))
}

/// Waits until the image answers.
fn wait_for(port: u16) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < LIMIT {
        // QEMU takes a connection before the image does.
        let answer = Client::connect(port).and_then(|mut client| {
            client
                .stream
                .set_read_timeout(Some(Duration::from_secs(1)))?;
            client.get("/", "")
        });
        if answer.is_ok() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(20));
    }
    bail!("the image does not answer");
}

/// Sends what is no request: it is refused, and the connection closed.
fn broken(port: u16) -> Result<()> {
    let long = [b'a'; 4096];
    for bytes in [
        &b"no request\r\n\r\n"[..],
        b"GET\0/ HTTP/1.1\r\n\r\n",
        &long,
    ] {
        let mut client = Client::connect(port)?;
        client.stream.write_all(bytes)?;
        let mut answer = Vec::new();
        // What was not read may reset the connection.
        match client.stream.read_to_end(&mut answer) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => (),
            other => drop(other?),
        }
        ensure!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 400 "),
            "{:?}",
            String::from_utf8_lossy(&answer)
        );
    }
    Ok(())
}

/// Makes a request after which the image closes the connection.
fn closed(port: u16) -> Result<()> {
    let mut client = Client::connect(port)?;
    let body = client.get("/bytes/10", "Connection: close\r\n")?;
    ensure!(body.len() == 10, "{} bytes", body.len());
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest)?;
    ensure!(rest.is_empty(), "more than the answer");
    Ok(())
}

/// A connection.
struct Client {
    stream: TcpStream,
}

impl Client {
    fn connect(port: u16) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = TcpStream::connect_timeout(&address, ANSWER)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    /// Asks for bytes, and compares them.
    fn bytes(&mut self, len: usize) -> Result<()> {
        let body = self.get(&format!("/bytes/{len}"), "")?;
        ensure!(body.len() == len, "{} bytes in place of {len}", body.len());
        let wrong = body.iter().enumerate().find(|(at, byte)| {
            let [a, b, c, ..] = at.to_le_bytes();
            **byte != a ^ b ^ c
        });
        ensure!(wrong.is_none(), "a wrong byte: {wrong:?} of {len}");
        Ok(())
    }

    /// Asks for the page, and returns one of its counters.
    fn counter(&mut self, name: &str) -> Result<u64> {
        let page = String::from_utf8(self.get("/", "")?)?;
        let count = page.lines().find_map(|line| line.strip_prefix(name));
        let count = count.with_context(|| format!("no {name} in {page:?}"))?;
        Ok(count.trim().parse()?)
    }

    /// Makes a request with further fields, and returns what is behind the head of the answer.
    fn get(&mut self, path: &str, fields: &str) -> Result<Vec<u8>> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: image\r\n{fields}\r\n");
        self.stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        let mut piece = vec![0; 64 << 10];
        loop {
            let len = self.stream.read(&mut piece)?;
            ensure!(len > 0, "the connection was closed");
            answer.extend_from_slice(&piece[..len]);
            if let Some(whole) = whole(&answer)?
                && answer.len() >= whole.end
            {
                ensure!(answer.len() == whole.end, "more than the answer");
                return Ok(answer.split_off(whole.start));
            }
        }
    }
}

/// Returns where the body of an answer is, once its head has come.
fn whole(answer: &[u8]) -> Result<Option<std::ops::Range<usize>>> {
    let Some(end) = answer
        .windows(4)
        .take(1024)
        .position(|four| four == b"\r\n\r\n")
    else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&answer[..end])?;
    ensure!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head:?}");
    let len = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .with_context(|| format!("no length in {head:?}"))?;
    let start = end + 4;
    Ok(Some(start..start + len.parse::<usize>()?))
}
