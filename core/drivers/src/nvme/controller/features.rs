//! Features of a controller: what it is told to do otherwise (NVM Express Base Specification 1.4,
//! 5.21), and doorbells in memory (5.7).

use vfio_core::device::DeviceHandle;
use vfio_core::dma::DmaHandle;
use vfio_core::mmio::Access;

use super::{Controller, unless_refused};
use crate::nvme::admin::opcode;
use crate::nvme::doorbell::ShadowMemory;
use crate::nvme::entries::dword;
use crate::nvme::error::NvmeError;
use crate::nvme::submission::Command;

/// Features.
pub(super) mod feature {
    pub(crate) const TEMPERATURE_THRESHOLD: u32 = 0x04;
    pub(crate) const WRITE_CACHE: u32 = 0x06;
    pub(crate) const QUEUES: u32 = 0x07;
    pub(crate) const EVENTS: u32 = 0x0b;
    pub(crate) const HOST_BEHAVIOR: u32 = 0x16;
}

/// How many queue pairs are asked for: as many as the driver keeps apart.
const QUEUES: u16 = 64;

/// What is told of the host's behavior: it knows formats of more than 16 bits of guard (LBAFEE, in
/// byte 2; NVM Express Base Specification 2.0, 5.27.1.18). All else, up to byte 512, is zero.
const EXTENDED_FORMATS_ENABLED: u64 = 1 << 16;

/// Bytes of it.
const HOST_BEHAVIOR_LEN: usize = 512;

impl<D: DeviceHandle, M: DmaHandle, A: Access> Controller<D, M, A> {
    /// Asks for queue pairs, and returns how many are given: none where the controller refuses.
    pub(super) fn ask_for_queues(&self) -> Result<u16, NvmeError<A::Error>> {
        let most = QUEUES.wrapping_sub(1);
        let given = self.set_feature(feature::QUEUES, dword(most, most));
        let Some(given) = unless_refused(given)? else {
            return Ok(0);
        };
        let [a, b, c, d] = given.to_le_bytes();
        let given = u16::from_le_bytes([a, b]).min(u16::from_le_bytes([c, d]));
        Ok(given.saturating_add(1).min(QUEUES))
    }

    /// Tells the controller that the driver knows extended formats, where it has any. One that
    /// refuses to be told says of each namespace whether it can be used.
    pub(super) fn enable_extended_formats(&mut self) -> Result<(), NvmeError<A::Error>> {
        let admin = self.admin.get_mut().as_mut();
        let Some(admin) = admin.filter(|_| self.info.has_extended_formats()) else {
            return Ok(());
        };
        admin.fill_page(HOST_BEHAVIOR_LEN, EXTENDED_FORMATS_ENABLED);
        let told = Command {
            opcode: opcode::SET_FEATURES,
            prp1: admin.page_iova(),
            cdw10: feature::HOST_BEHAVIOR,
            ..Command::default()
        };
        unless_refused(self.command(&told)).map(drop)
    }

    /// Puts the doorbells into memory.
    pub(super) fn share_doorbells(&mut self) -> Result<(), NvmeError<A::Error>> {
        let mut shadow = match self.shadow.take() {
            Some(shadow) => shadow,
            None => ShadowMemory::new(self.dma.clone()).map_err(NvmeError::memory)?,
        };
        // They begin with zeros, as the queues do.
        shadow.clear();
        let (prp1, prp2) = shadow.iovas();
        // The device may have learned of it whatever comes back.
        self.shadow = Some(shadow);
        let told = self.command(&Command {
            opcode: opcode::DOORBELL_BUFFER_CONFIG,
            prp1,
            prp2,
            ..Command::default()
        });
        // Where it does not want to, whatever it said, the registers will do. The memory is kept.
        self.is_shadowed = unless_refused(told)?.is_some();
        Ok(())
    }

    /// Sets the temperature in Kelvin above which the controller warns.
    ///
    /// # Errors
    /// [`NvmeError`]
    pub fn set_temperature_threshold(&self, kelvin: u16) -> Result<(), NvmeError<A::Error>> {
        self.set_feature(feature::TEMPERATURE_THRESHOLD, kelvin.into())
            .map(drop)
    }

    /// Returns the temperature in Kelvin above which the controller warns.
    ///
    /// # Errors
    /// [`NvmeError`]
    pub fn temperature_threshold(&self) -> Result<u16, NvmeError<A::Error>> {
        let answer = self.feature(feature::TEMPERATURE_THRESHOLD)?;
        let [low, high, ..] = answer.to_le_bytes();
        Ok(u16::from_le_bytes([low, high]))
    }

    /// Tells whether the cache is on that a flush empties.
    ///
    /// # Errors
    /// [`NvmeError`]; a controller without a cache need not know of it.
    pub fn is_write_cache_on(&self) -> Result<bool, NvmeError<A::Error>> {
        Ok(self.feature(feature::WRITE_CACHE)? & 1 != 0)
    }

    pub(super) fn set_feature(&self, feature: u32, value: u32) -> Result<u32, NvmeError<A::Error>> {
        self.command(&Command {
            opcode: opcode::SET_FEATURES,
            cdw10: feature,
            cdw11: value,
            ..Command::default()
        })
    }

    fn feature(&self, feature: u32) -> Result<u32, NvmeError<A::Error>> {
        self.command(&Command {
            opcode: opcode::GET_FEATURES,
            cdw10: feature,
            ..Command::default()
        })
    }
}
