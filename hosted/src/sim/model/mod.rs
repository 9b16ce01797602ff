//! The devices that the simulated kernel can have.
//!
//! [`edu`], [`igd`] and [`msix`] say what Linux 6.12 said of the same devices of QEMU, and
//! [`sparse`] what a libvfio-user server said; [`mtty`] is a sample of Linux itself.

mod igd;
mod legacy_msix;
mod msix;
mod mtty;
mod nvme;
mod sparse;

use std::boxed::Box;
use std::fmt;

use vfio_core::sys::{Errno, InfoRequest};
use vfio_core::wire::abi::{DeviceFlags, IrqFlags, RegionFlags};
use vfio_core::wire::server::Irq;

pub use igd::igd;
pub use legacy_msix::{legacy_msix, legacy_msix_full};
pub use msix::msix;
pub use mtty::mtty;
pub use nvme::{nvme, nvme_with};
pub use sparse::sparse;

use super::script::Answer;
use super::{Bar, Config, Description, Edu, Memory, Region, Registers, Script};

/// A device that can be put into a simulated kernel.
pub struct Model {
    pub(super) description: Description,
    pub(super) registers: Box<dyn Registers>,
    pub(super) script: Option<Answer>,
}

impl Model {
    /// The names of the ready-made models, for [`Model::by_name`].
    pub const NAMES: [&str; 9] = [
        "edu",
        "igd",
        "sparse",
        "msix",
        "nvme",
        "legacy-msix",
        "legacy-msix-full",
        "mtty-1",
        "mtty-2",
    ];

    /// A device with memory behind its regions.
    #[must_use]
    pub fn new(description: Description) -> Self {
        Self {
            description,
            registers: Box::new(Memory::new()),
            script: None,
        }
    }

    /// A device whose INFO ioctls, and the one of the container that it is the first of, are
    /// answered by `answer`, which sees the caller's buffer with argsz in it. It has no regions
    /// that could be read.
    ///
    /// `answer` must not make system calls of the kernel that the device is in.
    #[must_use]
    pub fn scripted(
        answer: impl FnMut(InfoRequest, &mut [u8]) -> Result<(), Errno> + Send + 'static,
    ) -> Self {
        Self::new(Description::default()).with_script(answer)
    }

    /// The ready-made model of a name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "edu" => edu(),
            "igd" => igd(),
            "sparse" => sparse(),
            "msix" => msix(),
            "nvme" => nvme(),
            "legacy-msix" => legacy_msix(),
            "legacy-msix-full" => legacy_msix_full(),
            "mtty-1" => mtty(1),
            "mtty-2" => mtty(2),
            _ => return None,
        })
    }

    /// Puts registers behind the regions instead of memory.
    #[must_use]
    pub fn with_registers(mut self, registers: impl Registers + 'static) -> Self {
        self.registers = Box::new(registers);
        self
    }

    /// Lets `answer` answer the INFO ioctls instead of the description, as in
    /// [`Model::scripted`]; regions are read and written as described.
    #[must_use]
    pub fn with_script(
        mut self,
        answer: impl FnMut(InfoRequest, &mut [u8]) -> Result<(), Errno> + Send + 'static,
    ) -> Self {
        self.script = Some(Box::new(answer));
        self
    }

    /// What the device says of itself.
    #[must_use]
    pub const fn description(&self) -> &Description {
        &self.description
    }
}

impl From<Script> for Model {
    fn from(mut script: Script) -> Self {
        Self::scripted(move |request, reply| script.answer(request, reply))
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("description", &self.description)
            .field("is_scripted", &self.script.is_some())
            .finish_non_exhaustive()
    }
}

/// QEMU's educational device: a BAR of 1 MiB with [`Edu`] in it, and one message-signalled
/// interrupt.
#[must_use]
pub fn edu() -> Model {
    let config = Config::pci(0x1234, 0x11e8, 0x00_ff00, 0x10)
        .with_bar(0, Bar::Memory32 { size: 1 << 20 })
        .with_interrupt_pin(1)
        // MSI with 64-bit addresses: control, address, upper address, data.
        .with_capability(0x40, 0x05, &[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    Model::new(Description {
        flags: DeviceFlags::PCI,
        regions: pci_regions(&config, [(0, Region::new(0, MAPPED, 1 << 20))]),
        irqs: pci_irqs(1, 1, 0, false).into(),
        config,
        ..Default::default()
    })
    .with_registers(Edu::new())
}

/// Read and write.
const TRAPPED: RegionFlags = RegionFlags::READ.union(RegionFlags::WRITE);
/// Read, write and map.
const MAPPED: RegionFlags = TRAPPED.union(RegionFlags::MMAP);

/// The nine regions of a PCI device: `present` by index, the configuration space at 7, no VGA,
/// and the others empty.
fn pci_regions<const N: usize>(
    config: &Config,
    present: [(usize, Region); N],
) -> std::vec::Vec<Option<Region>> {
    let config_len = u64::try_from(config.bytes().len()).unwrap_or(0);
    let mut regions: std::vec::Vec<_> = (0..9)
        .map(|index| match index {
            7 => Some(Region::new(7, TRAPPED, config_len)),
            8 => None,
            _ => Some(Region::new(index, RegionFlags::empty(), 0)),
        })
        .collect();
    for (index, region) in present {
        if let Some(slot) = regions.get_mut(index) {
            *slot = Some(region);
        }
    }
    regions
}

/// The five interrupt indexes of a PCI device, each with its count; the error interrupt is there
/// if `is_pcie`.
fn pci_irqs(intx: u32, msi: u32, msix: u32, is_pcie: bool) -> [Option<Irq>; 5] {
    let noresize = IrqFlags::EVENTFD | IrqFlags::NORESIZE;
    let irq = |flags, count| Some(Irq { flags, count });
    [
        irq(
            IrqFlags::EVENTFD | IrqFlags::MASKABLE | IrqFlags::AUTOMASKED,
            intx,
        ),
        irq(noresize, msi),
        // The kernel can grow MSI-X where there is any.
        irq(
            if msix == 0 {
                noresize
            } else {
                IrqFlags::EVENTFD
            },
            msix,
        ),
        if is_pcie { irq(noresize, 1) } else { None },
        irq(noresize, 1),
    ]
}
