//! Region and interrupt indexes of s390's channel devices and adjunct processors.

/// Region indexes of a channel device (linux/vfio.h).
pub mod ccw_region {
    /// `VFIO_CCW_CONFIG_REGION_INDEX`.
    pub const CONFIG: u32 = 0;
    /// `VFIO_CCW_NUM_REGIONS`: how many indexes every channel device has.
    pub const NUM: u32 = 1;
}

/// Interrupt indexes of a channel device (linux/vfio.h).
pub mod ccw_irq {
    /// `VFIO_CCW_IO_IRQ_INDEX`: an I/O interrupt.
    pub const IO: u32 = 0;
    /// `VFIO_CCW_CRW_IRQ_INDEX`: a channel report word.
    pub const CRW: u32 = 1;
    /// `VFIO_CCW_REQ_IRQ_INDEX`: the kernel asks for the device back.
    pub const REQ: u32 = 2;
    /// `VFIO_CCW_NUM_IRQS`: how many indexes there are.
    pub const NUM: u32 = 3;
}

/// Interrupt indexes of an adjunct processor (linux/vfio.h).
pub mod ap_irq {
    /// `VFIO_AP_REQ_IRQ_INDEX`: the kernel asks for the device back.
    pub const REQ: u32 = 0;
    /// `VFIO_AP_CFG_CHG_IRQ_INDEX`: the configuration has changed.
    pub const CFG_CHG: u32 = 1;
    /// `VFIO_AP_NUM_IRQS`: how many indexes there are.
    pub const NUM: u32 = 2;
}
