//! Intel's 82576 as its driver sees it, and what can go wrong with one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vfio_core::wire::abi::{DeviceFlags, IrqFlags, RegionFlags};
use vfio_core::wire::server::IrqReply;
use vfio_hosted::model::{Bar, Bus, Config, Description, Model, RegionDescription, Registers};

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Trouble {
    #[default]
    None,
    /// Every register reads as ones.
    Gone,
    /// A reset does not end.
    Resets,
    /// The PHY refuses.
    Phy,
    /// The PHY does not answer.
    PhySilent,
    /// The link stays down.
    NoLink,
    /// The receive queue does not start.
    NoReceive,
    /// The transmit queue does not stop.
    Transmits,
    /// Frames are not sent.
    NotSent,
    /// The frame of this number, from 0, does not come back.
    Loses(usize),
    /// Frames come back shorter.
    Shortens,
    /// Frames come back damaged.
    Damages,
    /// No interrupt comes.
    Silent,
}

/// What a test sees of a card, and does to it.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    trouble: Trouble,
    registers: BTreeMap<u64, u32>,
    /// Reads of the status until the link is up.
    until_link: Option<u32>,
    /// Frames that were sent.
    sent: usize,
}

struct Card(Shared);

mod at {
    pub(super) const CTRL: u64 = 0x0;
    pub(super) const STATUS: u64 = 0x8;
    pub(super) const MDIC: u64 = 0x20;
    pub(super) const RCTL: u64 = 0x100;
    pub(super) const TCTL: u64 = 0x400;
    pub(super) const GPIE: u64 = 0x1514;
    pub(super) const EICS: u64 = 0x1520;
    pub(super) const EIMS: u64 = 0x1524;
    pub(super) const EIMC: u64 = 0x1528;
    pub(super) const RECEIVE: u64 = 0xc000;
    pub(super) const TRANSMIT: u64 = 0xe000;
    /// Of a queue.
    pub(super) const BASE_HIGH: u64 = 0x4;
    pub(super) const LEN: u64 = 0x8;
    pub(super) const FORMAT: u64 = 0xc;
    pub(super) const HEAD: u64 = 0x10;
    pub(super) const TAIL: u64 = 0x18;
    pub(super) const CONTROL: u64 = 0x28;
}

const RESET: u32 = 1 << 26;
const ENABLED: u32 = 1 << 25;
const LOOPBACK: u32 = 1 << 6;
const MDIC_READY: u32 = 1 << 28;
const MDIC_ERROR: u32 = 1 << 30;
const NEGOTIATE: u32 = 1 << 9;

/// Bytes of the BAR.
const BAR: u32 = 128 << 10;

impl Shared {
    /// Creates a card in trouble.
    pub(super) fn with(trouble: Trouble) -> Self {
        let shared = Self::default();
        shared.set(trouble);
        shared
    }

    pub(super) fn set(&self, trouble: Trouble) {
        lock(&self.0).trouble = trouble;
    }

    /// Tells whether it would reach memory.
    pub(super) fn is_running(&self) -> bool {
        let state = lock(&self.0);
        let queues = [at::RECEIVE, at::TRANSMIT];
        queues.iter().any(|queue| state.is_enabled(*queue))
    }

    pub(super) fn model(&self) -> Model {
        let config = Config::pcie(0x8086, 0x10c9, 0x02_0000, 0x01)
            .with_bar(0, Bar::Memory32 { size: BAR })
            .with_bar(3, Bar::Memory32 { size: 16 << 10 })
            // MSI-X: 10 entries; the table and the pending bits in BAR 3.
            .with_capability(0x70, 0x11, &[9, 0, 0x03, 0, 0, 0, 0x03, 0x20, 0, 0]);
        let both = RegionFlags::READ | RegionFlags::WRITE;
        let mut regions = vec![None; 8];
        regions[0] = Some(RegionDescription::new(
            0,
            both | RegionFlags::MMAP,
            BAR.into(),
        ));
        regions[3] = Some(RegionDescription::new(3, both, 16 << 10));
        regions[7] = Some(RegionDescription::new(7, both, 4096));
        let msix = IrqReply {
            flags: IrqFlags::EVENTFD,
            count: 10,
        };
        Model::new(Description {
            flags: DeviceFlags::PCI | DeviceFlags::RESET,
            regions,
            irqs: vec![None, None, Some(msix)],
            config,
            ..Default::default()
        })
        .with_registers(Card(self.clone()))
    }
}

impl State {
    fn get(&self, at: u64) -> u32 {
        self.registers.get(&at).copied().unwrap_or(0)
    }

    fn is_enabled(&self, queue: u64) -> bool {
        self.get(queue + at::CONTROL) & ENABLED != 0
    }

    fn read(&mut self, at: u64) -> u32 {
        match at {
            _ if self.trouble == Trouble::Gone => u32::MAX,
            at::STATUS => {
                self.until_link = self.until_link.map(|left| left.saturating_sub(1));
                u32::from(self.until_link == Some(0)) << 1
            }
            _ => self.get(at),
        }
    }

    fn write(&mut self, at: u64, value: u32, bus: &mut Bus<'_>) {
        let queue = |at: u64| match at {
            _ if at == at::RECEIVE + at::CONTROL => Some(at::RCTL),
            _ if at == at::TRANSMIT + at::CONTROL => Some(at::TCTL),
            _ => None,
        };
        match at {
            at::CTRL if value & RESET != 0 => {
                self.registers.clear();
                self.until_link = None;
                if self.trouble == Trouble::Resets {
                    self.registers.insert(at, RESET);
                }
            }
            at::MDIC => {
                if value & NEGOTIATE != 0 && self.trouble != Trouble::NoLink {
                    self.until_link = Some(3);
                }
                let answer = match self.trouble {
                    Trouble::Phy => MDIC_READY | MDIC_ERROR,
                    Trouble::PhySilent => 0,
                    _ => MDIC_READY,
                };
                self.registers.insert(at, value | answer);
            }
            at::EIMS => _ = self.registers.insert(at, self.get(at) | value),
            at::EIMC => _ = self.registers.insert(at::EIMS, self.get(at::EIMS) & !value),
            at::EICS => {
                let is_let_through = self.get(at::EIMS) & value & 1 != 0;
                let is_msix = self.get(at::GPIE) & 1 << 4 != 0;
                if is_let_through && is_msix && self.trouble != Trouble::Silent {
                    let _ = bus.send_message(0);
                }
            }
            _ => {
                if let Some(engine) = queue(at) {
                    let stays = match self.trouble {
                        Trouble::NoReceive => engine == at::RCTL,
                        Trouble::Transmits => engine == at::TCTL && value == 0,
                        _ => false,
                    };
                    // A queue is enabled only once its engine is.
                    if stays || value & ENABLED != 0 && self.get(engine) & 1 << 1 == 0 {
                        return;
                    }
                }
                self.registers.insert(at, value);
                if at == at::TRANSMIT + at::TAIL {
                    self.transmit(bus);
                }
            }
        }
    }

    /// Sends all frames, which come back at once.
    fn transmit(&mut self, bus: &mut Bus<'_>) {
        if self.get(at::TRANSMIT + at::HEAD) == self.get(at::TRANSMIT + at::TAIL) {
            return;
        }
        let is_looped = self.get(at::RCTL) & LOOPBACK != 0 && self.until_link == Some(0);
        assert!(is_looped && self.is_enabled(at::TRANSMIT));
        if self.trouble == Trouble::NotSent {
            return;
        }
        while let Some((place, descriptor)) = self.descriptor(at::TRANSMIT, bus) {
            let [from, command] = descriptor;
            // A data descriptor with a whole frame, to be reported, whose length stands twice.
            assert_eq!(command & 0x2b30_0000, 0x2b30_0000);
            assert_eq!(command >> 46, command & 0xffff);
            let mut frame = vec![0; usize::from(command as u16)];
            let is_read = bus.dma_read(from, &mut frame).is_ok();
            let _ = bus.dma_write(place + 8, &(command | 1 << 32).to_le_bytes());
            let is_lost = self.trouble == Trouble::Loses(self.sent);
            self.sent += 1;
            if is_read && !is_lost {
                self.receive(frame, bus);
            }
        }
    }

    fn receive(&mut self, mut frame: Vec<u8>, bus: &mut Bus<'_>) {
        if !self.is_enabled(at::RECEIVE) {
            return;
        }
        // Buffers of 1 KiB, and descriptors of the advanced form.
        assert_eq!(self.get(at::RECEIVE + at::FORMAT), 1 | 1 << 25);
        assert!((60..=1024).contains(&frame.len()));
        let Some((place, [to, _])) = self.descriptor(at::RECEIVE, bus) else {
            return;
        };
        if self.trouble == Trouble::Shortens {
            frame.pop();
        }
        let damage = u64::from(self.trouble == Trouble::Damages) << 31;
        let _ = bus.dma_write(to, &frame);
        let status = (frame.len() as u64) << 32 | 0b11 | damage;
        let _ = bus.dma_write(place + 8, &status.to_le_bytes());
    }

    /// Returns the next descriptor of a queue, and where it is. None where the driver gave none.
    fn descriptor(&mut self, queue: u64, bus: &mut Bus<'_>) -> Option<(u64, [u64; 2])> {
        let head = self.get(queue + at::HEAD);
        if head == self.get(queue + at::TAIL) {
            return None;
        }
        let base = u64::from(self.get(queue + at::BASE_HIGH)) << 32 | u64::from(self.get(queue));
        let place = base + u64::from(head) * 16;
        let mut bytes = [0; 16];
        bus.dma_read(place, &mut bytes).ok()?;
        let next = (head + 1) % (self.get(queue + at::LEN) / 16);
        self.registers.insert(queue + at::HEAD, next);
        let (words, _) = bytes.as_chunks::<8>();
        Some((place, [0, 1].map(|at| u64::from_le_bytes(words[at]))))
    }
}

/// Locks what a card holds, after a test that panicked too.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registers for Card {
    fn read(&mut self, region: u32, offset: u64, data: &mut [u8], _: &mut Bus<'_>) {
        assert_eq!((region, data.len()), (0, 4));
        data.copy_from_slice(&lock(&self.0.0).read(offset).to_le_bytes());
    }

    fn write(&mut self, region: u32, offset: u64, data: &[u8], bus: &mut Bus<'_>) {
        assert_eq!(region, 0);
        let value = u32::from_le_bytes(data.try_into().unwrap());
        lock(&self.0.0).write(offset, value, bus);
    }

    fn reset(&mut self, _: &mut Bus<'_>) {
        lock(&self.0.0).registers.clear();
    }
}
