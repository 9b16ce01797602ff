//! The start and the end of a controller (NVM Express Base Specification 1.4, 7.6).

use core::time::Duration;

use vfio_core::device::DeviceHandle;
use vfio_core::dma::DmaHandle;
use vfio_core::mmio::{Access, Block};
use vfio_core::sys::Sys;

use super::{Controller, State};
use crate::nvme::admin::{Admin, ENTRIES};
use crate::nvme::entries::dword;
use crate::nvme::error::NvmeError;
use crate::nvme::identify::{ControllerInfo, Page};
use crate::nvme::identity::Identity;
use crate::nvme::registers::{
    CC_CSS_ADMIN, CC_EN, CC_RUNNING, CC_SHN_NORMAL, CSTS_CFS, CSTS_RDY, CSTS_SHST,
    CSTS_SHST_COMPLETE, GONE, Registers,
};

/// How long a shutdown may take where the controller does not say.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// However long it says.
const SHUTDOWN_MOST: Duration = Duration::from_secs(60);

impl<D: DeviceHandle, M: DmaHandle, A: Access> Controller<D, M, A> {
    /// Starts the controller once more, after it was stopped. All queue pairs are gone, and
    /// namespaces have to be read again.
    ///
    /// # Errors
    /// [`NvmeError`]; the controller is stopped then.
    pub fn restart(&mut self) -> Result<(), NvmeError<A::Error>> {
        let result = self.bring_up();
        if result.is_err() {
            self.stop();
        }
        result
    }

    fn bring_up(&mut self) -> Result<(), NvmeError<A::Error>> {
        self.started = Identity::new().ok_or(NvmeError::Exhausted)?;
        self.is_shadowed = false;
        if let Err(error) = self.disable()
            && !self.reset_function()
        {
            return Err(error);
        }
        if self.admin.get_mut().is_none() {
            *self.admin.get_mut() = Some(Admin::new(&self.dma)?);
        }
        self.enable()?;
        let mut page = Page::zeroed();
        self.identify(&mut page, 0, 1)?;
        self.info = ControllerInfo::parse(&page);
        self.queues = self.ask_for_queues()?;
        self.enable_extended_formats()?;
        if self.options.shadow_doorbells && self.info.has_shadow_doorbells() {
            self.share_doorbells()?;
        } else {
            // The controller was disabled above, and was not told of the memory since.
            self.shadow = None;
        }
        Ok(())
    }

    /// Gives the controller its admin queue, and waits until it is ready.
    fn enable(&mut self) -> Result<(), NvmeError<A::Error>> {
        let Some(admin) = self.admin.get_mut() else {
            return Err(NvmeError::Stopped);
        };
        admin.clear();
        let submissions = dwords_of(admin.sq.iova());
        let completions = dwords_of(admin.cq.iova());
        let last = ENTRIES.wrapping_sub(1);
        // From here on it may reach memory.
        self.state.set(State::Running);
        let mut registers = self.registers()?;
        registers.write(Registers::aqa, dword(last, last))?;
        registers.write(Registers::asq_low, submissions.0)?;
        registers.write(Registers::asq_high, submissions.1)?;
        registers.write(Registers::acq_low, completions.0)?;
        registers.write(Registers::acq_high, completions.1)?;
        let configuration = if self.capabilities.has_nvm_commands() {
            CC_RUNNING
        } else {
            CC_RUNNING | CC_CSS_ADMIN
        };
        registers.write(Registers::cc, configuration)?;
        let ready_by = self.deadline(self.ready_time)?;
        self.ready_by = Some(ready_by);
        match self.wait_until(ready_by, is_settled)? {
            status if status & CSTS_CFS != 0 => Err(NvmeError::Fatal { status }),
            status if status & CSTS_RDY == 0 => Err(NvmeError::NotReady { status }),
            _ => Ok(()),
        }
    }

    /// Stops the controller, and waits until it says that it stopped.
    ///
    /// One that is becoming ready may not be told to stop before it is (NVM Express Base
    /// Specification 1.4, 3.1.5).
    fn disable(&self) -> Result<(), NvmeError<A::Error>> {
        let mut registers = self.registers()?;
        let configuration = registers.get(Registers::cc)?;
        if configuration == GONE {
            return Err(NvmeError::Gone);
        }
        let mut was_settled = true;
        if configuration & CC_EN != 0 {
            let ready_by = match self.ready_by {
                Some(time) => time,
                None => self.deadline(self.ready_time)?,
            };
            was_settled = is_settled(self.wait_until(ready_by, is_settled)?);
            // The settings stay as they are until it has stopped.
            registers.write(Registers::cc, configuration & !CC_EN)?;
        }
        let limit = self.deadline(self.capabilities.timeout())?;
        match self.wait_until(limit, |status| status & CSTS_RDY == 0)? {
            status if status & CSTS_RDY != 0 => Err(NvmeError::NotStopped { status }),
            status if !was_settled => Err(NvmeError::NotReady { status }),
            _ => Ok(()),
        }
    }

    /// Reads the status until it is as wanted or the time is over, and returns it.
    fn wait_until(
        &self,
        deadline: Duration,
        is_wanted: fn(u32) -> bool,
    ) -> Result<u32, NvmeError<A::Error>> {
        loop {
            let is_over = self.now()? > deadline;
            let status = self.status()?;
            if is_wanted(status) || is_over {
                return Ok(status);
            }
            core::hint::spin_loop();
        }
    }

    /// Stops the controller after an error, or at the end. Whether it is known to be stopped,
    /// [`Controller::state`] tells.
    pub fn stop(&self) {
        if !self.state.begins_to_stop() {
            return;
        }
        let is_stopped = self.disable().is_ok() || self.reset_function();
        self.state.set(if is_stopped {
            State::Stopped
        } else {
            State::Lost
        });
    }

    /// Resets the device through VFIO; whether it is known to be reset.
    fn reset_function(&self) -> bool {
        self.device.reset().is_ok() && self.status().is_ok_and(|status| status & CSTS_RDY == 0)
    }

    /// Tells the controller that power may go, waits for it, and stops it.
    ///
    /// # Errors
    /// [`NvmeError::NotStopped`] where it is not ready for it in time, [`NvmeError::Fatal`]; it
    /// was stopped all the same, if it could be. [`NvmeError::Stopped`] at once where it was
    /// stopped before: it can't be told any more.
    pub fn shut_down(self) -> Result<(), NvmeError<A::Error>> {
        let result = self.prepare_for_power_off();
        self.stop();
        result
    }

    pub(super) fn prepare_for_power_off(&self) -> Result<(), NvmeError<A::Error>> {
        self.running()?;
        let mut registers = self.registers()?;
        let configuration = registers.get(Registers::cc)?;
        if configuration == GONE {
            return Err(NvmeError::Gone);
        }
        registers.write(Registers::cc, configuration | CC_SHN_NORMAL)?;
        let said = Duration::from_micros(self.info.shutdown_us.into());
        let limit = said.clamp(SHUTDOWN, SHUTDOWN_MOST);
        let is_over = |status| is_shut_down(status) || status & CSTS_CFS != 0;
        match self.wait_until(self.deadline(limit)?, is_over)? {
            status if is_shut_down(status) => Ok(()),
            status if status & CSTS_CFS != 0 => Err(NvmeError::Fatal { status }),
            status => Err(NvmeError::NotStopped { status }),
        }
    }

    /// Tells whether it runs, as far as it says.
    pub(in crate::nvme) fn check(&self) -> Result<(), NvmeError<A::Error>> {
        self.running()?;
        match self.status()? {
            status if status & CSTS_CFS != 0 => Err(NvmeError::Fatal { status }),
            status if status & CSTS_RDY == 0 => Err(NvmeError::NotReady { status }),
            _ => Ok(()),
        }
    }

    pub(super) fn status(&self) -> Result<u32, NvmeError<A::Error>> {
        match self.registers()?.get(Registers::csts)? {
            GONE => Err(NvmeError::Gone),
            status => Ok(status),
        }
    }

    pub(super) fn registers(&self) -> Result<Block<&A, Registers>, NvmeError<A::Error>> {
        let block = self.window.share().into_block(0);
        block.map_err(|_| self.short())
    }

    pub(in crate::nvme) fn now(&self) -> Result<Duration, NvmeError<A::Error>> {
        self.device.sys().now().map_err(NvmeError::Clock)
    }

    /// Returns when a time that begins now is over.
    pub(in crate::nvme) fn deadline(
        &self,
        limit: Duration,
    ) -> Result<Duration, NvmeError<A::Error>> {
        Ok(self.now()?.saturating_add(limit))
    }
}

/// Tells whether a controller that was enabled has become ready, or has failed to.
const fn is_settled(status: u32) -> bool {
    status & (CSTS_RDY | CSTS_CFS) != 0
}

/// Tells whether a controller is ready for power to go.
const fn is_shut_down(status: u32) -> bool {
    status & CSTS_SHST == CSTS_SHST_COMPLETE
}

/// Returns an address in halves.
const fn dwords_of(address: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = address.to_le_bytes();
    (
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, g, h]),
    )
}
