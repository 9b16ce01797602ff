//! How the answers of one kernel differ from another's.

use crate::wire::chain::Align;

/// What differs between kernels in the answers to the INFO ioctls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Dialect {
    /// How capabilities are aligned.
    pub align: Align,
    /// How many bytes of `struct vfio_device_info` are written at most.
    pub device_written: usize,
    /// Where the chain of a device starts.
    pub device_fixed: u32,
    /// How many bytes of `struct vfio_iommu_type1_info` are written at most.
    pub iommu_written: usize,
    /// Whether the flags of `struct vfio_irq_info` are written; if not, the caller's stay.
    pub irq_flags_written: bool,
    /// Whether `VFIO_DEVICE_GET_PCI_HOT_RESET_INFO` is known; if not, it is answered `ENOTTY`.
    pub knows_hot_reset: bool,
}

impl Dialect {
    /// Linux 6.6 and later.
    pub const LINUX_6_6: Self = Self {
        align: Align::Eight,
        device_written: 24,
        device_fixed: 24,
        iommu_written: 24,
        irq_flags_written: true,
        knows_hot_reset: true,
    };

    /// Linux before 6.6, as seen with 6.1.
    pub const LINUX_6_1: Self = Self {
        align: Align::Packed,
        device_written: 20,
        device_fixed: 20,
        iommu_written: 20,
        ..Self::LINUX_6_6
    };

    /// The mediated devices among the kernel's samples, on Linux 6.6 and later: they answer
    /// `VFIO_DEVICE_GET_INFO` with the structure of the first VFIO.
    pub const MDEV: Self = Self {
        device_written: 16,
        knows_hot_reset: false,
        ..Self::LINUX_6_6
    };

    /// The displays among those samples, mbochs and mdpy: they say nothing of an interrupt but
    /// its count.
    pub const MDEV_DISPLAY: Self = Self {
        irq_flags_written: false,
        ..Self::MDEV
    };
}

impl Default for Dialect {
    fn default() -> Self {
        Self::LINUX_6_6
    }
}
