//! Interrupts.

/// Interrupt indexes of a PCI device (linux/vfio.h).
pub mod pci_irq {
    /// `VFIO_PCI_INTX_IRQ_INDEX`: the legacy pin.
    pub const INTX: u32 = 0;
    /// `VFIO_PCI_MSI_IRQ_INDEX`.
    pub const MSI: u32 = 1;
    /// `VFIO_PCI_MSIX_IRQ_INDEX`.
    pub const MSIX: u32 = 2;
    /// `VFIO_PCI_ERR_IRQ_INDEX`: an error that the kernel could not recover from.
    pub const ERR: u32 = 3;
    /// `VFIO_PCI_REQ_IRQ_INDEX`: the kernel asks for the device back.
    pub const REQ: u32 = 4;
    /// `VFIO_PCI_NUM_IRQS`: how many indexes there are.
    pub const NUM: u32 = 5;
}

flags! {
    /// `VFIO_IRQ_INFO_*` (linux/vfio.h).
    pub struct IrqFlags: u32 {
        /// An eventfd can be signalled.
        EVENTFD = 1 << 0;
        /// Can be masked and unmasked.
        MASKABLE = 1 << 1;
        /// The kernel masks it when it fires.
        AUTOMASKED = 1 << 2;
        /// To enable more interrupts, all have to be disabled first.
        NORESIZE = 1 << 3;
    }
}

layout! {
    /// `struct vfio_irq_info` (linux/vfio.h): question and answer of `VFIO_DEVICE_GET_IRQ_INFO`.
    /// Start from zero: some mediated devices do not write `flags`.
    pub struct IrqInfo(16) {
        /// Size of the buffer in bytes.
        pub argsz: u32 => 0,
        /// What can be done with the interrupts.
        pub flags: IrqFlags => 4,
        /// Question: which interrupt index.
        pub index: u32 => 8,
        /// Number of interrupts under the index.
        pub count: u32 => 12,
    }
}

flags! {
    /// `VFIO_IRQ_SET_*` (linux/vfio.h): exactly one `DATA_*` and one `ACTION_*`.
    pub struct IrqSetFlags: u32 {
        /// No data follows.
        DATA_NONE = 1 << 0;
        /// One `u8` for each interrupt follows: whether the action is for it.
        DATA_BOOL = 1 << 1;
        /// One `i32` for each interrupt follows: an eventfd, or -1 for none.
        DATA_EVENTFD = 1 << 2;
        /// Mask.
        ACTION_MASK = 1 << 3;
        /// Unmask.
        ACTION_UNMASK = 1 << 4;
        /// Enable with an eventfd, fire without one; with no interrupts and no data, disable.
        ACTION_TRIGGER = 1 << 5;
    }
}

impl IrqSetFlags {
    /// `VFIO_IRQ_SET_DATA_TYPE_MASK`: all bits that give the kind of data.
    pub const DATA_TYPE_MASK: Self = Self(0x7);
    /// `VFIO_IRQ_SET_ACTION_TYPE_MASK`: all bits that give the action.
    pub const ACTION_TYPE_MASK: Self = Self(0x38);
}

layout! {
    /// `struct vfio_irq_set` (linux/vfio.h): head of the argument of `VFIO_DEVICE_SET_IRQS`; data
    /// follows as [`IrqSetFlags`] says.
    pub struct IrqSet(20) {
        /// Size of the buffer in bytes, data included.
        pub argsz: u32 => 0,
        /// Kind of data and action.
        pub flags: IrqSetFlags => 4,
        /// Which interrupt index.
        pub index: u32 => 8,
        /// First interrupt under the index.
        pub start: u32 => 12,
        /// Number of interrupts.
        pub count: u32 => 16,
    }
}
