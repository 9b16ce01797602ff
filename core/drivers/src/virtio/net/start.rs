//! The start of a card (Virtual I/O Device Specification 1.2, section 5.1.5).

use super::control::{Control, PIECES};
use super::features::{CTRL_MAC_ADDR, CTRL_RX, CTRL_VQ, MAC, MQ, MRG_RXBUF, MTU, WANTED};
use super::header::HEADER_32;
use super::pair::Queues;
use super::receive::ReceiveQueue;
use super::slots::Slots;
use super::transmit::TransmitQueue;
use super::{Facts, Net, Options, config};
use crate::nic::MacAddress;
use crate::virtio::device::{QueueOptions, Virtio};
use crate::virtio::error::VirtioError;
use crate::virtio::features::Features;
use crate::virtio::queue::Virtqueue;
use crate::virtio::transport::Transport;

/// The type of network cards (section 5).
pub(super) const DEVICE_TYPE: u16 = 1;

/// What a frame carries where the device does not say: that of Ethernet.
const ETHERNET_MTU: u16 = 1500;
/// The most that the driver has memory for.
const MOST_MTU: u16 = 9216;
/// Bytes of a frame besides: its addresses and its type.
const FRAME_HEAD: u32 = 14;
/// Bytes of a VLAN tag, which may come besides.
const VLAN: u32 = 4;
/// Bytes of a buffer, one of several that a frame may be in.
const MERGED: u32 = 2048;
/// Slots begin at a multiple of it: two of them share no line of cache.
const LINE: u32 = 64;

impl<T: Transport, const PAIRS: usize, const DEPTH: usize> Net<T, PAIRS, DEPTH> {
    /// Starts a card behind a transport.
    ///
    /// # Errors
    /// [`VirtioError`]; the device is reset then.
    pub fn start(transport: T, options: Options) -> Result<Self, VirtioError<T::Error>> {
        const {
            assert!(
                PAIRS > 0 && DEPTH >= 2 && DEPTH <= 1 << 15,
                "a card has a pair of queues of 2 to 32768 entries"
            );
        }
        let wanted = wanted(options.without);
        let virtio = Virtio::begin(transport, DEVICE_TYPE, wanted)?;
        let mut net = Self {
            virtio,
            options,
            facts: Facts::default(),
            pairs: heapless::Vec::new(),
            control: None,
            most_pairs: 1,
        };
        net.read_facts()?;
        net.make_pairs()?;
        net.make_control()?;
        net.go()?;
        Ok(net)
    }

    /// Starts the card once more, after it was stopped. Frames that it had are lost, and what it was
    /// told: it has its own address again.
    ///
    /// # Errors
    /// [`VirtioError`]; the device is reset then. [`VirtioError::Refused`] where it is no longer
    /// the device that it was.
    pub fn restart(&mut self) -> Result<(), VirtioError<T::Error>> {
        self.virtio.stop();
        let before = self.virtio.features();
        self.virtio.negotiate(wanted(self.options.without))?;
        let (facts, most_pairs) = (self.facts, self.most_pairs);
        self.read_facts()?;
        let is_same = self.virtio.features() == before
            && self.facts.longest_frame == facts.longest_frame
            && self.most_pairs == most_pairs;
        if !is_same {
            // Its memory is made for the one that it was.
            (self.facts, self.most_pairs) = (facts, most_pairs);
            return Err(VirtioError::Refused(before));
        }
        self.go().inspect_err(|_| self.virtio.stop())
    }

    /// Gives the device its queues and lets it run.
    fn go(&mut self) -> Result<(), VirtioError<T::Error>> {
        if let Some(vector) = self.options.config_vector {
            self.virtio.transport_mut().set_config_vector(vector)?;
        }
        for (queues, pair) in self.pairs.iter_mut().zip(0_u16..) {
            let number = pair.saturating_mul(2);
            let Queues {
                receive,
                transmit,
                vector,
            } = queues;
            receive.fill();
            transmit.clear();
            self.virtio.enable(&mut receive.queue, number, *vector)?;
            let behind = number.saturating_add(1);
            self.virtio.enable(&mut transmit.queue, behind, None)?;
        }
        if let Some(control) = &mut self.control {
            control.queue.clear();
            let number = control_number(self.virtio.features(), self.most_pairs);
            self.virtio.enable(&mut control.queue, number, None)?;
        }
        self.virtio.run()?;
        for queues in &mut self.pairs {
            self.virtio.notify(&mut queues.receive.queue)?;
        }
        match u16::try_from(self.pairs.len()) {
            Ok(count) if count > 1 => self.use_pairs(count),
            _ => Ok(()),
        }
    }

    /// Reads what the device says of itself.
    fn read_facts(&mut self) -> Result<(), VirtioError<T::Error>> {
        let features = self.virtio.features();
        if !features.contains(MAC) {
            return Err(VirtioError::Missing(MAC));
        }
        let mac = self.virtio.config(|transport| {
            let mut mac = [0; 6];
            for (byte, at) in mac.iter_mut().zip(config::MAC..) {
                *byte = transport.read_config(at)?;
            }
            Ok(mac)
        })?;
        let mut mtu = ETHERNET_MTU;
        if features.contains(MTU) {
            let said = self
                .virtio
                .config(|transport| transport.read_config::<u16>(config::MTU));
            mtu = said?;
        }
        self.facts = Facts {
            mac: MacAddress(mac),
            longest_frame: usize::try_from(frame_len(mtu)).unwrap_or(usize::MAX),
        };
        if features.contains(MQ) {
            let at = config::MAX_VIRTQUEUE_PAIRS;
            let said = self
                .virtio
                .config(|transport| transport.read_config::<u16>(at));
            // One that has the feature has one at least, and no more than its queues have numbers.
            self.most_pairs = said?.clamp(1, 0x8000);
        }
        Ok(())
    }

    /// Makes the pairs of queues.
    fn make_pairs(&mut self) -> Result<(), VirtioError<T::Error>> {
        let frame_len = u32::try_from(self.facts.longest_frame).unwrap_or(u32::MAX);
        let slot_len = frame_len.saturating_add(HEADER_32).saturating_add(VLAN);
        let slot_len = slot_len.next_multiple_of(LINE);
        let is_merged = self.virtio.features().contains(MRG_RXBUF);
        let buffer_len = if is_merged { MERGED } else { slot_len };
        for pair in 0..self.most_pairs {
            if self.pairs.is_full() {
                break;
            }
            let number = pair.saturating_mul(2);
            let receive = self.queue(number)?;
            let transmit = self.queue(number.saturating_add(1))?;
            let dma = self.virtio.transport().dma();
            let buffers = Slots::new(dma, receive.size(), buffer_len);
            let slots = Slots::new(dma, transmit.size(), slot_len);
            let queues = Queues {
                receive: ReceiveQueue::new(
                    receive,
                    buffers.map_err(VirtioError::memory)?,
                    is_merged,
                ),
                transmit: TransmitQueue::new(transmit, slots.map_err(VirtioError::memory)?),
                vector: self.options.vector.map(|first| first.saturating_add(pair)),
            };
            // There is room.
            let _ = self.pairs.push(queues);
        }
        Ok(())
    }

    /// Makes a queue whose requests are single frames.
    fn queue(&mut self, queue: u16) -> Result<Virtqueue<T::Dma, DEPTH>, VirtioError<T::Error>> {
        self.virtio.queue(QueueOptions { queue, pieces: 1 })
    }

    /// Makes the control queue, where there is one.
    fn make_control(&mut self) -> Result<(), VirtioError<T::Error>> {
        let features = self.virtio.features();
        if !features.contains(CTRL_VQ) {
            return Ok(());
        }
        let queue = self.virtio.queue(QueueOptions {
            queue: control_number(features, self.most_pairs),
            pieces: PIECES,
        })?;
        let control = Control::new(queue, self.virtio.transport().dma());
        self.control = Some(control.map_err(VirtioError::memory)?);
        Ok(())
    }
}

/// Returns what is accepted of what a device offers: what needs the control queue not without it.
fn wanted(without: Features) -> Features {
    let needs_control = MQ.0 | CTRL_RX.0 | CTRL_MAC_ADDR.0;
    let mut wanted = (WANTED.0 | Features::RING.0) & !without.0;
    if wanted & CTRL_VQ.0 == 0 {
        wanted &= !needs_control;
    }
    Features(wanted)
}

/// Returns the number of the control queue: behind those of all pairs.
const fn control_number(features: Features, most_pairs: u16) -> u16 {
    if features.contains(MQ) {
        most_pairs.saturating_mul(2)
    } else {
        2
    }
}

/// Returns the length of the longest frame in bytes. What a device says is brought into bounds: a
/// frame carries 68 bytes at least (RFC 791).
fn frame_len(mtu: u16) -> u32 {
    u32::from(mtu.clamp(68, MOST_MTU)).saturating_add(FRAME_HEAD)
}
