//! The checks that the guest's init makes, as it reports them and its host expects them.

/// The name of the device that is checked, on both sides of the results port.
pub const DEVICE: &str = "edu";

/// Where the init finds the paths of the kernel modules that it loads, one to a line, in their order.
pub const MODULES: &str = "/etc/modules";

/// A line of the results: a check on [`DEVICE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// The system is mounted, the modules are loaded, and the device is bound to vfio-pci.
    Setup,
    /// Container, group and device are open.
    Open,
    /// What the device says about itself.
    Device,
    /// Its regions.
    Regions,
    /// Its interrupts.
    Interrupts,
    /// Every index that it has.
    Indexes,
    /// The IOMMU behind the container.
    Iommu,
    /// What a hot reset takes along.
    HotReset,
    /// Registers, through the device's file.
    Registers,
    /// The whole reference driver.
    Driver,
}

impl Check {
    /// Every check, in the order in which they are reported.
    pub const ALL: [Self; 10] = [
        Self::Setup,
        Self::Open,
        Self::Device,
        Self::Regions,
        Self::Interrupts,
        Self::Indexes,
        Self::Iommu,
        Self::HotReset,
        Self::Registers,
        Self::Driver,
    ];

    /// Returns the name in the results. It needs no escaping in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Open => "open",
            Self::Device => "device info",
            Self::Regions => "region info",
            Self::Interrupts => "interrupt info",
            Self::Indexes => "every index",
            Self::Iommu => "IOMMU info",
            Self::HotReset => "hot reset info",
            Self::Registers => "registers",
            Self::Driver => "driver edu",
        }
    }
}
