//! A network card, and the wire that it is on (Virtual I/O Device Specification 1.2, section 5.1).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::vec;
use std::vec::Vec;

use super::Place;
use super::control::VirtioControl;
use super::device::{Incoming, Kind, Request};
use super::queue::Broken;
use crate::lock::lock;
use crate::model::Bus;

/// A network card.
///
/// It loops back what is sent, unless a test puts something else at the other end of its wire.
#[derive(Debug)]
pub struct VirtioNet {
    pub(super) control: VirtioNetControl,
    pub(super) without: u64,
    pub(super) entries: u16,
    pub(super) placed: Option<(u8, Place)>,
    mac: [u8; 6],
    /// The address after a reset.
    own_mac: [u8; 6],
    pairs: u16,
    mtu: Option<u16>,
    /// Pairs that frames come into.
    in_use: u16,
    /// Frames that came.
    turn: u16,
}

/// What a test holds on to of a card: its wire, and its faults. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct VirtioNetControl {
    virtio: VirtioControl,
    wire: Arc<Mutex<Wire>>,
}

/// A frame, and what of its checksum is yet to be computed: from where on, and where it goes.
#[derive(Clone, Debug)]
struct Frame {
    bytes: Vec<u8>,
    partial: Option<(u16, u16)>,
}

#[derive(Debug, Default)]
struct Wire {
    incoming: VecDeque<Frame>,
    sent: Vec<Frame>,
    end: End,
    is_cut: bool,
    has_changed: bool,
    commands: Vec<Vec<u8>>,
    refuses_commands: bool,
}

/// What is at the other end of a wire.
#[derive(Clone, Debug, Default)]
enum End {
    /// The same card.
    #[default]
    Loop,
    /// The test, which takes what is sent.
    Test,
    /// Another card.
    Card(Arc<Mutex<Wire>>),
}

const CSUM: u64 = 1 << 0;
const GUEST_CSUM: u64 = 1 << 1;
const MTU: u64 = 1 << 3;
const MAC: u64 = 1 << 5;
const MRG_RXBUF: u64 = 1 << 15;
const STATUS: u64 = 1 << 16;
const CTRL_VQ: u64 = 1 << 17;
const CTRL_RX: u64 = 1 << 18;
const MQ: u64 = 1 << 22;
const CTRL_MAC_ADDR: u64 = 1 << 23;

/// The address of a card that is given no other.
const MAC_ADDRESS: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

/// Bytes of the header before a frame.
const HEADER: usize = 12;
/// In it: the checksum is yet to be computed.
const NEEDS_CSUM: u8 = 1;

impl VirtioNet {
    /// Creates a card with one pair of queues of up to 256 entries, and every feature that a driver
    /// may use.
    #[must_use]
    pub fn new() -> Self {
        Self {
            control: VirtioNetControl::default(),
            without: 0,
            entries: 256,
            placed: None,
            mac: MAC_ADDRESS,
            own_mac: MAC_ADDRESS,
            pairs: 1,
            mtu: None,
            in_use: 1,
            turn: 0,
        }
    }

    /// Returns the handle that a test keeps.
    #[must_use]
    pub fn control(&self) -> VirtioNetControl {
        self.control.clone()
    }

    /// Sets another address.
    #[must_use]
    pub fn with_mac(mut self, mac: [u8; 6]) -> Self {
        (self.mac, self.own_mac) = (mac, mac);
        self
    }

    /// Sets the number of pairs of queues.
    #[must_use]
    pub fn with_pairs(mut self, pairs: u16) -> Self {
        self.pairs = pairs.max(1);
        self
    }

    /// Sets how many bytes frames carry.
    #[must_use]
    pub fn with_mtu(mut self, mtu: u16) -> Self {
        self.mtu = Some(mtu);
        self
    }

    /// Sets the most entries of its virtqueues, a power of two.
    #[must_use]
    pub fn with_entries(mut self, entries: u16) -> Self {
        self.entries = entries;
        self
    }

    /// Leaves out features that it would offer: bits as the specification numbers them.
    #[must_use]
    pub fn without(mut self, features: u64) -> Self {
        self.without |= features;
        self
    }

    /// Says that a structure is somewhere else: `cfg_type` is what the specification numbers it
    /// (section 4.1.4).
    #[must_use]
    pub fn placing(mut self, cfg_type: u8, bar: u8, offset: u32, len: u32) -> Self {
        self.placed = Some((cfg_type, Place { bar, offset, len }));
        self
    }

    fn wire(&self) -> MutexGuard<'_, Wire> {
        lock(&self.control.wire)
    }

    /// Returns the number of the control queue.
    const fn control_queue(&self, features: u64) -> u16 {
        if features & MQ != 0 {
            self.pairs * 2
        } else {
            2
        }
    }

    /// Sends a frame.
    fn send(&self, request: &Request<'_>, bus: &mut Bus<'_>) -> Result<(), Broken> {
        let all = request.chain.read(bus)?;
        let (header, bytes) = all.split_at_checked(HEADER).ok_or(Broken)?;
        if bytes.len() < 14 {
            return Err(Broken);
        }
        let word = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let mut partial = None;
        if header[0] & NEEDS_CSUM != 0 {
            let (start, offset) = (word(6), word(8));
            let end = usize::from(start) + usize::from(offset) + 2;
            if request.features & CSUM == 0 || end > bytes.len() {
                return Err(Broken);
            }
            partial = Some((start, offset));
        }
        self.control.put(Frame {
            bytes: bytes.to_vec(),
            partial,
        });
        Ok(())
    }

    /// Does what a command says, and writes the answer.
    fn command(&mut self, request: &Request<'_>, bus: &mut Bus<'_>) -> Result<u32, Broken> {
        let command = request.chain.read(bus)?;
        let is_known = match command[..] {
            [0, 0..=1, 0..=1] | [1, 1, _, _, _, _, _, _] => true,
            [4, 0, low, high] => {
                let pairs = u16::from_le_bytes([low, high]);
                let is_known = (1..=self.pairs).contains(&pairs);
                if is_known {
                    self.in_use = pairs;
                }
                is_known
            }
            _ => false,
        };
        if let [1, 1, mac @ ..] = &command[..] {
            self.mac = mac.try_into().map_err(|_| Broken)?;
        }
        let mut wire = self.wire();
        wire.commands.push(command);
        let ack = u8::from(!is_known || wire.refuses_commands);
        drop(wire);
        request.chain.write(0, &[ack], bus)?;
        Ok(1)
    }
}

impl Default for VirtioNet {
    fn default() -> Self {
        Self::new()
    }
}

impl VirtioNetControl {
    /// Returns the faults and the counts.
    #[must_use]
    pub const fn virtio(&self) -> &VirtioControl {
        &self.virtio
    }

    /// Lets a frame come, which is given to the driver at the next step of time.
    pub fn receive(&self, frame: &[u8]) {
        lock(&self.wire).incoming.push_back(Frame {
            bytes: frame.to_vec(),
            partial: None,
        });
    }

    /// Takes what was sent, the oldest first, with its checksums. Nothing comes back from then on.
    #[must_use]
    pub fn take_sent(&self) -> Vec<Vec<u8>> {
        let mut wire = lock(&self.wire);
        wire.end = End::Test;
        let sent = std::mem::take(&mut wire.sent);
        sent.into_iter().map(Frame::finished).collect()
    }

    /// Puts a wire between two cards.
    pub fn connect(&self, other: &Self) {
        lock(&self.wire).end = End::Card(Arc::clone(&other.wire));
        lock(&other.wire).end = End::Card(Arc::clone(&self.wire));
    }

    /// Cuts the wire, or mends it: without it there is no link, and frames are lost.
    pub fn set_link(&self, is_up: bool) {
        let mut wire = lock(&self.wire);
        wire.is_cut = !is_up;
        wire.has_changed = true;
        if wire.is_cut {
            wire.incoming.clear();
        }
    }

    /// Decides whether commands of the control queue are refused.
    pub fn set_refuses_commands(&self, is_so: bool) {
        lock(&self.wire).refuses_commands = is_so;
    }

    /// Commands of the control queue, the oldest first: a class, a command and its data.
    #[must_use]
    pub fn commands(&self) -> Vec<Vec<u8>> {
        lock(&self.wire).commands.clone()
    }

    /// Puts a frame on the wire.
    fn put(&self, frame: Frame) {
        let mut wire = lock(&self.wire);
        if wire.is_cut {
            return;
        }
        match wire.end.clone() {
            End::Loop => wire.incoming.push_back(frame),
            End::Test => wire.sent.push(frame),
            End::Card(other) => {
                drop(wire);
                let mut other = lock(&other);
                if !other.is_cut {
                    other.incoming.push_back(frame);
                }
            }
        }
    }
}

impl Frame {
    /// Returns the bytes, with the checksum.
    fn finished(mut self) -> Vec<u8> {
        let Some((start, offset)) = self.partial else {
            return self.bytes;
        };
        let (start, offset) = (usize::from(start), usize::from(offset));
        let mut sum = 0_u32;
        for pair in self.bytes[start..].chunks(2) {
            let word = u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
            sum += u32::from(word);
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        let checksum = !u16::try_from(sum).unwrap_or(0);
        self.bytes[start + offset..start + offset + 2].copy_from_slice(&checksum.to_be_bytes());
        self.bytes
    }

    /// Returns the header of the frame, and the frame: as it is for a driver that computes
    /// checksums.
    fn with_header(self, features: u64) -> Vec<u8> {
        let mut header = vec![0; HEADER];
        match self.partial {
            Some((start, offset)) if features & GUEST_CSUM != 0 => {
                header[0] = NEEDS_CSUM;
                header[6..8].copy_from_slice(&start.to_le_bytes());
                header[8..10].copy_from_slice(&offset.to_le_bytes());
                header.extend(self.bytes);
            }
            _ => header.extend(self.finished()),
        }
        header
    }
}

impl Kind for VirtioNet {
    fn features(&self) -> u64 {
        let mut features =
            CSUM | GUEST_CSUM | MAC | MRG_RXBUF | STATUS | CTRL_VQ | CTRL_RX | CTRL_MAC_ADDR;
        if self.pairs > 1 {
            features |= MQ;
        }
        if self.mtu.is_some() {
            features |= MTU;
        }
        features
    }

    fn queues(&self) -> u16 {
        self.pairs * 2 + 1
    }

    fn config(&self) -> Vec<u8> {
        let status = u16::from(!self.wire().is_cut);
        let mut config = self.mac.to_vec();
        config.extend(status.to_le_bytes());
        config.extend(self.pairs.to_le_bytes());
        config.extend(self.mtu.unwrap_or(0).to_le_bytes());
        config
    }

    fn waits(&self, queue: u16, features: u64) -> bool {
        queue.is_multiple_of(2) && queue != self.control_queue(features)
    }

    fn take(&mut self, request: &Request<'_>, bus: &mut Bus<'_>) -> Result<u32, Broken> {
        if request.queue == self.control_queue(request.features) {
            return self.command(request, bus);
        }
        self.send(request, bus)?;
        Ok(0)
    }

    fn next_for(&mut self, queue: u16, features: u64) -> Option<Incoming> {
        if queue != self.turn % self.in_use * 2 {
            return None;
        }
        let frame = self.wire().incoming.pop_front()?;
        self.turn = self.turn.wrapping_add(1);
        Some(Incoming {
            bytes: frame.with_header(features),
            is_merged: features & MRG_RXBUF != 0,
        })
    }

    fn has_changed(&mut self) -> bool {
        std::mem::take(&mut self.wire().has_changed)
    }

    fn reset(&mut self) {
        (self.in_use, self.turn) = (1, 0);
        self.mac = self.own_mac;
        if matches!(self.wire().end, End::Loop) {
            self.wire().incoming.clear();
        }
    }
}
