//! The server: connections on port 80, and what was counted.

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};

use crate::http::{Answer, Heard, REQUEST, hear};

/// Connections at a time.
pub(crate) const CONNECTIONS: usize = 16;

/// Connections that wait to be made: as many can be made at once.
const SPARE: usize = CONNECTIONS / 2;

/// Bytes of answers that wait to be acknowledged: one of 16 KiB fits with its head.
const ANSWERS: usize = 18 << 10;

/// The port of HTTP.
const PORT: u16 = 80;

/// The memory of a connection.
#[derive(Debug)]
pub(crate) struct Buffers {
    received: [u8; REQUEST],
    sent: [u8; ANSWERS],
}

/// The connections, and what was counted.
pub(crate) struct Server {
    connections: heapless::Vec<Connection, CONNECTIONS>,
    pub(crate) counters: Counters,
}

/// What was counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counters {
    /// Requests that were answered.
    pub(crate) requests: u64,
    /// Connections that were made.
    pub(crate) connections: u64,
    /// Bytes of answers.
    pub(crate) bytes: u64,
    /// Requests that made no sense.
    pub(crate) broken: u64,
}

struct Connection {
    handle: SocketHandle,
    answer: Option<Answer>,
    is_counted: bool,
}

impl Buffers {
    pub(crate) const fn new() -> Self {
        Self {
            received: [0; REQUEST],
            sent: [0; ANSWERS],
        }
    }
}

impl Server {
    /// Creates a server without connections.
    pub(crate) const fn new() -> Self {
        Self {
            connections: heapless::Vec::new(),
            counters: Counters {
                requests: 0,
                connections: 0,
                bytes: 0,
                broken: 0,
            },
        }
    }

    /// Makes the connections, with memory for each.
    pub(crate) fn open<'b>(
        &mut self,
        sockets: &mut SocketSet<'b>,
        buffers: &'b mut [Buffers; CONNECTIONS],
    ) {
        for Buffers { received, sent } in buffers {
            let (received, sent) = (&mut received[..], &mut sent[..]);
            let mut socket = Socket::new(SocketBuffer::new(received), SocketBuffer::new(sent));
            // An answer waits for nothing.
            socket.set_nagle_enabled(false);
            let _ = self.connections.push(Connection {
                handle: sockets.add(socket),
                answer: None,
                is_counted: false,
            });
        }
    }

    /// Serves all connections; whether there was something to do.
    pub(crate) fn serve(&mut self, sockets: &mut SocketSet<'_>) -> bool {
        let is_listening = |connection: &Connection| {
            sockets.get::<Socket<'_>>(connection.handle).state() == State::Listen
        };
        let spare = self.connections.iter().filter(|one| is_listening(one));
        let mut spare = spare.count();
        let mut did_any = false;
        for connection in &mut self.connections {
            let socket = sockets.get_mut::<Socket<'_>>(connection.handle);
            let is_over = match socket.state() {
                State::Closed => true,
                // Its last acknowledgement may be asked for again: it is left alone unless it is
                // needed.
                State::TimeWait => spare < SPARE,
                _ => false,
            };
            if is_over && socket.listen(PORT).is_ok() {
                spare = spare.saturating_add(1);
                (connection.answer, connection.is_counted) = (None, false);
            }
            did_any |= connection.serve(socket, &mut self.counters);
        }
        did_any
    }
}

impl Connection {
    /// Takes requests and writes answers, as far as there is room.
    fn serve(&mut self, socket: &mut Socket<'_>, counters: &mut Counters) -> bool {
        if !self.is_counted && socket.is_active() {
            self.is_counted = true;
            counters.connections = counters.connections.wrapping_add(1);
        }
        let mut did_any = false;
        loop {
            if self.answer.is_none() {
                self.answer = take(socket, counters);
            }
            let Some(answer) = &mut self.answer else {
                break;
            };
            let wrote = write(socket, answer);
            did_any |= wrote > 0;
            counters.bytes = counters
                .bytes
                .wrapping_add(u64::try_from(wrote).unwrap_or(0));
            if !answer.is_over() {
                if wrote == 0 {
                    break;
                }
                continue;
            }
            if answer.closes {
                socket.close();
            }
            self.answer = None;
        }
        if self.answer.is_none() && !socket.may_recv() && socket.may_send() {
            // The other side has no more to ask.
            socket.close();
            did_any = true;
        }
        did_any
    }
}

/// Writes as much of an answer as there is room for in one go.
fn write(socket: &mut Socket<'_>, answer: &mut Answer) -> usize {
    if !socket.can_send() {
        return 0;
    }
    let written = socket.send(|place| {
        let len = answer.write(place);
        (len, len)
    });
    written.unwrap_or(0)
}

/// Takes a request that came whole, and returns the answer.
fn take(socket: &mut Socket<'_>, counters: &mut Counters) -> Option<Answer> {
    if !socket.can_recv() {
        return None;
    }
    // A request may lie around the end of the socket's memory.
    let mut bytes = [0; REQUEST];
    let len = socket.peek_slice(&mut bytes).ok()?;
    match hear(bytes.get(..len)?) {
        Heard::Part => None,
        Heard::Broken => {
            let _ = socket.recv_slice(&mut bytes);
            counters.broken = counters.broken.wrapping_add(1);
            Some(Answer::broken())
        }
        Heard::Whole { len, asked, closes } => {
            let _ = socket.recv_slice(bytes.get_mut(..len)?);
            counters.requests = counters.requests.wrapping_add(1);
            let page = [
                ("requests", counters.requests),
                ("connections", counters.connections),
                ("bytes", counters.bytes),
                ("broken", counters.broken),
            ];
            Some(Answer::new(asked, closes, &page))
        }
    }
}
