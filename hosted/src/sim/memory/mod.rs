//! Memory for DMA, and what maps it for devices.

mod access;
mod dma_memory;
mod iommufd;
mod space;
mod supply;
mod type1;

pub use dma_memory::DmaMemory;
pub(super) use iommufd::Iommufd;
pub(super) use space::{Piece, SharedSpace, Space};
#[cfg(test)]
pub(super) use supply::HUGE_PAGE;
pub(super) use supply::Supply;
pub(super) use type1::Type1;
