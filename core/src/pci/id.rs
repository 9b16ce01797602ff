//! The names of capabilities.

use core::fmt;

ids! {
    /// Standard capabilities: `PCI_CAP_ID_*` (linux/pci_regs.h); PCI Local Bus specification 3.0,
    /// appendix H.
    pub struct StandardId: u8 {
        /// A header and nothing else.
        NULL = 0x00;
        /// Power management; [`PowerManagement`](super::PowerManagement).
        PM = 0x01;
        /// Accelerated graphics port.
        AGP = 0x02;
        /// Vital product data.
        VPD = 0x03;
        /// Slot identification.
        SLOTID = 0x04;
        /// Message-signalled interrupts; [`Msi`](super::Msi).
        MSI = 0x05;
        /// CompactPCI hot swap.
        CHSWP = 0x06;
        /// PCI-X.
        PCIX = 0x07;
        /// HyperTransport.
        HT = 0x08;
        /// Vendor specific; [`VendorSpecific`](super::VendorSpecific).
        VNDR = 0x09;
        /// Debug port.
        DBG = 0x0a;
        /// CompactPCI central resource control.
        CCRC = 0x0b;
        /// Standard hot-plug controller.
        SHPC = 0x0c;
        /// Subsystem ids of a bridge.
        SSVID = 0x0d;
        /// AGP 8x.
        AGP3 = 0x0e;
        /// Secure device.
        SECDEV = 0x0f;
        /// PCI Express; [`PciExpress`](super::PciExpress).
        EXP = 0x10;
        /// MSI-X; [`Msix`](super::Msix).
        MSIX = 0x11;
        /// SATA data and index.
        SATA = 0x12;
        /// Advanced features; [`AdvancedFeatures`](super::AdvancedFeatures).
        AF = 0x13;
        /// Enhanced allocation.
        EA = 0x14;
    }
}

ids! {
    /// Extended capabilities: `PCI_EXT_CAP_ID_*` (linux/pci_regs.h).
    pub struct ExtendedId: u16 {
        /// A header and nothing else; what VFIO leaves of a first capability that it hides.
        NULL = 0x00;
        /// Advanced error reporting; [`ErrorReporting`](super::ErrorReporting).
        ERR = 0x01;
        /// Virtual channels.
        VC = 0x02;
        /// Device serial number; [`SerialNumber`](super::SerialNumber).
        DSN = 0x03;
        /// Power budgeting.
        PWR = 0x04;
        /// Root complex link declaration.
        RCLD = 0x05;
        /// Root complex internal link control.
        RCILC = 0x06;
        /// Root complex event collector.
        RCEC = 0x07;
        /// Virtual channels of a multi-function device.
        MFVC = 0x08;
        /// Virtual channels, where MFVC is there too.
        VC9 = 0x09;
        /// Root complex register block.
        RCRB = 0x0a;
        /// Vendor specific; [`ExtendedVendor`](super::ExtendedVendor).
        VNDR = 0x0b;
        /// Configuration access correlation.
        CAC = 0x0c;
        /// Access control services; [`AccessControl`](super::AccessControl).
        ACS = 0x0d;
        /// Alternative routing-id interpretation; [`AlternativeRouting`](super::AlternativeRouting).
        ARI = 0x0e;
        /// Address translation services; [`AddressTranslation`](super::AddressTranslation).
        ATS = 0x0f;
        /// Single root I/O virtualization; [`SrIov`](super::SrIov).
        SRIOV = 0x10;
        /// Multi root I/O virtualization.
        MRIOV = 0x11;
        /// Multicast.
        MCAST = 0x12;
        /// Page requests.
        PRI = 0x13;
        /// Resizable BARs.
        REBAR = 0x15;
        /// Dynamic power allocation.
        DPA = 0x16;
        /// TLP processing hints.
        TPH = 0x17;
        /// Latency tolerance reporting.
        LTR = 0x18;
        /// Secondary PCI Express.
        SECPCI = 0x19;
        /// Protocol multiplexing.
        PMUX = 0x1a;
        /// Process address space ids; [`Pasid`](super::Pasid).
        PASID = 0x1b;
        /// Downstream port containment.
        DPC = 0x1d;
        /// L1 power management substates.
        L1SS = 0x1e;
        /// Precision time measurement.
        PTM = 0x1f;
        /// Designated vendor specific; [`DesignatedVendor`](super::DesignatedVendor).
        DVSEC = 0x23;
        /// Resizable BARs of virtual functions.
        VF_REBAR = 0x24;
        /// Data link feature.
        DLF = 0x25;
        /// Physical layer at 16 GT/s.
        PL_16GT = 0x26;
        /// Data object exchange.
        DOE = 0x2e;
    }
}

/// What a capability is, in either list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum CapabilityId {
    /// In the list of the first 256 bytes.
    Standard(StandardId),
    /// In the list from 0x100 on.
    Extended(ExtendedId),
}

impl fmt::Display for CapabilityId {
    /// Writes the name. A number without one is two digits in the standard list, four in the
    /// extended.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(id) => match id.name() {
                Some(name) => f.write_str(name),
                None => write!(f, "{:#04x}", id.0),
            },
            Self::Extended(id) => match id.name() {
                Some(name) => f.write_str(name),
                None => write!(f, "{:#06x}", id.0),
            },
        }
    }
}
