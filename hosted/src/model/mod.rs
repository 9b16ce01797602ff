//! Devices in software, and what such a device is made of.
//!
//! A [`Model`] is one of the ready-made ones, one that a test describes, or a [`Script`] whose
//! replies a test gives, hostile ones too. [`edu`](edu()), [`igd`](igd()) and [`msix`](msix()) say
//! what Linux 6.12 said of the same devices of QEMU, and [`sparse`](sparse()) what a libvfio-user
//! server said; [`mtty`](mtty()) is a sample of Linux itself.
//!
//! A [`Description`] is what a device says of itself, and [`Registers`] are what is behind its
//! regions. They act on the rest of a machine through the [`Bus`] that they are lent: whoever has
//! a model is its [`RootComplex`], as the simulated kernel is.
#![forbid(unsafe_code)]

mod bus;
mod config;
mod description;
mod edu;
mod fault;
mod igd;
mod iommu;
mod legacy_msix;
mod memory;
mod msix;
mod mtty;
mod nvme;
mod pci;
mod registers;
mod script;
mod sparse;
mod virtio;

use std::boxed::Box;
use std::fmt;

use vfio_core::sys::{Errno, InfoRequest};
use vfio_core::wire::abi::PciDependentDevice;

pub use bus::{Bus, RootComplex};
pub use config::{Bar, Config};
pub use description::{Description, DeviceCap, HotReset, MsixTable, RegionCap, RegionDescription};
pub use edu::{Edu, edu};
pub use fault::{DmaAccess, Fault, FaultReason, Refusal};
pub use igd::igd;
pub(crate) use iommu::EVERYTHING;
pub use iommu::{Iommu, IommuCap};
pub use legacy_msix::{legacy_msix, legacy_msix_full};
pub use memory::PlainMemory;
pub use msix::msix;
pub use mtty::{Mtty, mtty};
pub use nvme::{
    Nvme, NvmeControl, NvmeCounts, NvmeFault, NvmeNamespace, NvmeProtection, NvmeRefusal, nvme,
    nvme_with,
};
pub use registers::Registers;
pub use script::Script;
pub use sparse::sparse;
pub use virtio::{
    VirtioBlk, VirtioBlkControl, VirtioControl, VirtioCounts, VirtioFault, VirtioNet,
    VirtioNetControl, virtio_blk, virtio_blk_with, virtio_net, virtio_net_with,
};

use script::Answer;

/// A device in software: what it says of itself, and what is behind its regions.
pub struct Model {
    description: Description,
    registers: Box<dyn Registers>,
    script: Option<Answer>,
}

impl Model {
    /// The names of the ready-made models, for [`Model::by_name`].
    pub const NAMES: [&str; 11] = [
        "edu",
        "igd",
        "sparse",
        "msix",
        "nvme",
        "legacy-msix",
        "legacy-msix-full",
        "mtty-1",
        "mtty-2",
        "virtio-net",
        "virtio-blk",
    ];

    /// Creates a device with memory behind its regions.
    #[must_use]
    pub fn new(description: Description) -> Self {
        Self {
            description,
            registers: Box::new(PlainMemory::new()),
            script: None,
        }
    }

    /// Creates a device whose INFO ioctls `answer` answers, and those of the container that it is
    /// the first of. `answer` sees the caller's buffer with argsz in it. It has no regions that
    /// could be read.
    ///
    /// `answer` must not make system calls of the kernel that the device is in.
    #[must_use]
    pub fn scripted(
        answer: impl FnMut(InfoRequest, &mut [u8]) -> Result<(), Errno> + Send + 'static,
    ) -> Self {
        Self::new(Description::default()).with_script(answer)
    }

    /// Returns the ready-made model of a name.
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
            "virtio-net" => virtio_net(),
            "virtio-blk" => virtio_blk(),
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

    /// Returns what the device says of itself.
    #[must_use]
    pub const fn description(&self) -> &Description {
        &self.description
    }

    /// Returns the registers behind its regions.
    pub(crate) fn registers(&mut self) -> &mut dyn Registers {
        &mut *self.registers
    }

    /// Tells whether a test answers for it.
    pub(crate) const fn is_scripted(&self) -> bool {
        self.script.is_some()
    }

    /// Answers an INFO ioctl of the device, whose address and group are `at`.
    pub(crate) fn info(
        &mut self,
        request: InfoRequest,
        at: PciDependentDevice,
        reply: &mut [u8],
    ) -> Result<(), Errno> {
        match &mut self.script {
            Some(answer) => answer(request, reply),
            None => self
                .description
                .with_server(at, |device| device.answer(request, reply)),
        }
    }

    /// Answers an INFO ioctl of the IOMMU that the device is behind.
    /// The container has made `used` mappings already.
    pub(crate) fn iommu_info(
        &mut self,
        request: InfoRequest,
        used: usize,
        reply: &mut [u8],
    ) -> Result<(), Errno> {
        let description = &self.description;
        match &mut self.script {
            Some(answer) => answer(request, reply),
            None => description
                .iommu
                .with_used(used)
                .with_server(description.dialect, |iommu| iommu.answer(request, reply)),
        }
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
