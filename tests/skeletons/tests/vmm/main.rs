//! A virtual machine monitor that passes a device through: guest memory at the addresses that the
//! guest knows, events for its MSI-X vectors, and its accesses to registers as they come.
#![deny(unsafe_code)]

#[expect(unsafe_code, reason = "the device is given memory of the monitor's")]
mod ram;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use vfio_core::device::Device;
use vfio_core::device::irq::{Action, Data};
use vfio_core::device::region::WholeRegion;
use vfio_core::mmio::Window;
use vfio_core::sys::Sys;
use vfio_core::wire::abi::{IrqFlags, pci_irq, pci_region};
use vfio_core::wire::server::IrqReply;
use vfio_hosted::OwnedPlace;
use vfio_hosted::model::{self, Description, Edu, Model};
use vfio_hosted::sim::Kernel;
use vfio_skeletons::copier::INSIDE;
use vfio_skeletons::{Ended, open};

use ram::Ram;

/// The vectors of the device's MSI-X table.
const VECTORS: usize = 4;

/// How long an interrupt may take.
const SOON: Duration = Duration::from_secs(5);

/// A machine with one device.
struct Machine<S: Sys> {
    memory: Vec<Ram<S>>,
    bar0: Window<WholeRegion<Arc<Device<S>>>>,
    /// What KVM is given as irqfds.
    vectors: [S::Event; VECTORS],
    device: Arc<Device<S>>,
}

impl<S: Sys + Clone> Machine<S> {
    fn new(
        sys: &S,
        place: Option<OwnedPlace>,
        layout: &[(u64, usize)],
    ) -> Result<Self, Box<dyn Error>> {
        let (device, dma) = open(sys, place)?;
        // What the guest is to be shown, asked for once.
        let count = device.irq(pci_irq::MSIX)?.count;
        if usize::try_from(count)? != VECTORS {
            return Err(format!("the device has {count} vectors, not {VECTORS}").into());
        }
        let memory = layout.iter().map(|&(at, len)| Ram::new(&dma, at, len));
        let memory = memory.collect::<Result<_, _>>()?;
        let bar0 = WholeRegion::bring_up(Arc::clone(&device), pci_region::BAR0)?;
        let vectors = [sys.event()?, sys.event()?, sys.event()?, sys.event()?];
        let this = Self {
            memory,
            bar0,
            vectors,
            device,
        };
        this.enable()?;
        Ok(this)
    }

    /// Enables MSI-X as the guest does.
    fn enable(&self) -> Ended {
        let events = self.vectors.each_ref().map(Some);
        let data = Data::Events(&events);
        self.set(Action::Trigger, &data)
    }

    /// Masks vectors as the guest does, or triggers them.
    fn set(&self, action: Action, data: &Data<'_, S::Event>) -> Ended {
        let mut request = [0; 20 + 4 * VECTORS];
        Ok(self
            .device
            .set_irqs(pci_irq::MSIX, 0, action, data, &mut request)?)
    }

    /// Writes a register as the guest does.
    fn guest_writes(&mut self, at: usize, bytes: &[u8]) -> Ended {
        match *bytes {
            [a] => self.bar0.write(at, a)?,
            [a, b] => self.bar0.write(at, u16::from_le_bytes([a, b]))?,
            [a, b, c, d] => self.bar0.write(at, u32::from_le_bytes([a, b, c, d]))?,
            _ => self.bar0.write_bytes(at, bytes)?,
        }
        Ok(())
    }

    /// Reads the guest's memory at one of its addresses.
    fn read(&self, at: u64, bytes: &mut [u8]) -> Ended {
        for ram in &self.memory {
            if ram.read(at, bytes)? {
                return Ok(());
            }
        }
        Err("there is no memory".into())
    }

    /// Takes what was counted in each vector.
    fn taken(&self) -> Result<[u64; VECTORS], Box<dyn Error>> {
        let mut counts = [0; VECTORS];
        for (count, event) in counts.iter_mut().zip(&self.vectors) {
            *count = self.device.sys().event_take(event)?;
        }
        Ok(counts)
    }
}

/// Returns `edu` with MSI-X in place of MSI.
fn device() -> Model {
    let edu = model::edu();
    let mut irqs = edu.description().irqs.clone();
    let msix = IrqReply {
        flags: IrqFlags::EVENTFD,
        count: 4,
    };
    irqs.splice(1..3, [None, Some(msix)]);
    Model::new(Description {
        irqs,
        ..edu.description().clone()
    })
    .with_registers(Edu::new())
}

/// Low memory, from the first page on, and more above the hole below 4 GiB.
const LAYOUT: [(u64, usize); 2] = [(0, 640 << 10), (1 << 32, 1 << 20)];

fn machine(kernel: &Kernel) -> Result<Machine<Kernel>, Box<dyn Error>> {
    Machine::new(kernel, kernel.place("0000:00:05.0"), &LAYOUT)
}

#[test]
fn a_guest_has_its_device_copy_within_its_memory() -> Ended {
    let kernel = Kernel::new().with_device("0000:00:05.0", device(), 7);
    let mut machine = machine(&kernel)?;
    let (from, to) = (0x400, 0x9000);
    machine.memory[0].write(from, b"the guest's")?;
    for (source, destination, command) in [(from, INSIDE, 0b001_u64), (INSIDE, to, 0b111)] {
        machine.guest_writes(0x80, &source.to_le_bytes())?;
        machine.guest_writes(0x88, &destination.to_le_bytes())?;
        machine.guest_writes(0x90, &11_u64.to_le_bytes())?;
        machine.guest_writes(0x98, &command.to_le_bytes())?;
        while machine.bar0.read::<u64>(0x98)? & 1 != 0 {}
    }
    let events: [_; VECTORS] = machine.vectors.each_ref();
    assert!(kernel.events_wait(&events, SOON)?);
    assert_eq!(machine.taken()?, [1, 0, 0, 0]);
    let mut text = [0; 11];
    machine.read(to, &mut text)?;
    assert_eq!(&text, b"the guest's");
    Ok(())
}

#[test]
fn each_vector_has_an_event_of_its_own() -> Ended {
    let kernel = Kernel::new().with_device("0000:00:05.0", device(), 7);
    let machine = machine(&kernel)?;
    machine.set(Action::Trigger, &Data::Bools(&[false, true, false, true]))?;
    assert_eq!(machine.taken()?, [0, 1, 0, 1]);
    // The guest gives vector 1 to nobody.
    let [first, _, third, fourth] = machine.vectors.each_ref().map(Some);
    machine.set(
        Action::Trigger,
        &Data::Events(&[first, None, third, fourth]),
    )?;
    machine.set(Action::Trigger, &Data::All(4))?;
    assert_eq!(machine.taken()?, [1, 0, 1, 1]);
    Ok(())
}

#[test]
fn the_guest_has_no_memory_where_the_layout_has_none() -> Ended {
    let kernel = Kernel::new().with_device("0000:00:05.0", device(), 7);
    let machine = machine(&kernel)?;
    assert!(machine.read(0xa_0000, &mut [0]).is_err());
    machine.read(1 << 32, &mut [0])
}
