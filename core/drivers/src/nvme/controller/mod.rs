//! A controller: what it is, and its admin commands.

mod features;
mod handle;
mod life;
mod logs;
mod namespaces;

use core::fmt;
use core::time::Duration;

use spin::{Mutex, MutexGuard};
use vfio_core::device::DeviceHandle;
use vfio_core::device::region::MappedRegion;
use vfio_core::dma::DmaHandle;
use vfio_core::mmio::{Access, Block, Window};

pub use crate::state::State;
pub use handle::ControllerHandle;

use super::admin::{Admin, opcode};
use super::doorbell::ShadowMemory;
use super::entries::{dword, qword};
use super::error::NvmeError;
use super::identify::{ControllerInfo, Page};
use super::identity::Identity;
use super::registers::{Capabilities, GONE, Registers, Version};
use super::submission::Command;
use crate::state::SharedState;

/// What is asked of a controller when it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Options {
    /// How long a command of a queue pair may take.
    pub command: Duration,
    /// How long an admin command may take.
    pub admin: Duration,
    /// Whether doorbells are in memory where the controller has that.
    pub shadow_doorbells: bool,
}

/// A controller behind the registers that `A` reaches, with memory of `M`.
///
/// It is started by [`Controller::start`], and shut down and stopped on drop. Commands for its
/// namespaces go through queue pairs ([`Controller::queue_pair`]), which threads may use at the
/// same time; its own methods make one admin command at a time.
///
/// After an error that is not that of a single command ([`NvmeError::stops`]) the controller is
/// stopped: it is told to, and where it does not say that it did, the device is reset. Memory
/// that it may still write is never given back.
pub struct Controller<D: DeviceHandle, M: DmaHandle, A: Access = MappedRegion<D>> {
    device: D,
    dma: M,
    window: Window<A>,
    capabilities: Capabilities,
    version: Version,
    options: Options,
    state: SharedState,
    admin: Mutex<Option<Admin<M>>>,
    /// Memory for doorbells, which the device may know.
    shadow: Option<ShadowMemory<M>>,
    /// The device took that memory: doorbells are there.
    is_shadowed: bool,
    info: ControllerInfo,
    /// How many queue pairs there can be.
    queues: u16,
    /// Another one after each start: what was said before may not hold any more.
    started: Identity,
    /// How long it may take to become ready.
    ready_time: Duration,
    /// When it should be ready, where this driver enabled it.
    ready_by: Option<Duration>,
}

impl Default for Options {
    /// Returns 30 seconds for a command, 60 for an admin command, and shadow doorbells.
    fn default() -> Self {
        Self {
            command: Duration::from_secs(30),
            admin: Duration::from_secs(60),
            shadow_doorbells: true,
        }
    }
}

impl<D: DeviceHandle, M: DmaHandle, A: Access> Controller<D, M, A> {
    /// Starts the controller of `device`, whose BAR 0 is `bar0`, with memory of `dma`. Its bus
    /// mastering must be on.
    ///
    /// # Errors
    /// [`NvmeError`]; the controller is stopped then.
    pub fn start(
        device: D,
        bar0: Window<A>,
        dma: M,
        options: Options,
    ) -> Result<Self, NvmeError<A::Error>> {
        let Said {
            capabilities,
            version,
            ready_time,
        } = Said::read(&bar0)?;
        let mut controller = Self {
            device,
            dma,
            window: bar0,
            capabilities,
            version,
            options,
            // What an earlier driver left running is stopped first.
            state: SharedState::stopped(),
            admin: Mutex::new(None),
            shadow: None,
            is_shadowed: false,
            info: ControllerInfo::default(),
            queues: 0,
            started: Identity::NONE,
            ready_time,
            ready_by: None,
        };
        controller.restart()?;
        Ok(controller)
    }

    /// Returns in which state it is.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.get()
    }

    /// Returns what it can do.
    #[must_use]
    pub const fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// Returns the version of the specification that its register names.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Returns what it says of itself.
    #[must_use]
    pub const fn info(&self) -> &ControllerInfo {
        &self.info
    }

    /// Returns how many queue pairs there can be at a time.
    #[must_use]
    pub const fn queues(&self) -> u16 {
        self.queues
    }

    /// Tells whether doorbells are in memory.
    #[must_use]
    pub const fn uses_shadow_doorbells(&self) -> bool {
        self.is_shadowed
    }

    /// Returns the longest transfer in bytes; none where there is no limit.
    #[must_use]
    pub fn longest_transfer(&self) -> Option<usize> {
        self.info.longest_transfer()
    }

    /// Aborts the command `command` of a queue; whether it was aborted. It completes either way.
    ///
    /// # Errors
    /// [`NvmeError`]
    pub(super) fn abort(&self, queue: u16, command: u16) -> Result<bool, NvmeError<A::Error>> {
        let answer = self.command(&Command {
            opcode: opcode::ABORT,
            cdw10: dword(queue, command),
            ..Command::default()
        })?;
        Ok(answer & 1 == 0)
    }

    /// Makes an admin command.
    pub(super) fn command(&self, command: &Command) -> Result<u32, NvmeError<A::Error>> {
        self.with_admin(|admin, controller| admin.execute(controller, command))
    }

    /// Makes an admin command that fills a page. The caller has the memory: each copy of a page
    /// takes as much of the stack.
    fn fill(&self, page: &mut Page, command: &Command) -> Result<(), NvmeError<A::Error>> {
        self.with_admin(|admin, controller| {
            let prp1 = admin.page_iova();
            let command = Command { prp1, ..*command };
            admin.execute(controller, &command)?;
            admin.read_page(page);
            Ok(())
        })
    }

    /// Does something with the admin queue, and stops the controller where that must be.
    pub(super) fn with_admin<'c, T>(
        &'c self,
        act: impl FnOnce(&mut Admin<M>, &&'c Self) -> Result<T, NvmeError<A::Error>>,
    ) -> Result<T, NvmeError<A::Error>> {
        let mut guard: MutexGuard<'_, _> = self.admin.lock();
        let admin = guard.as_mut().ok_or(NvmeError::Stopped)?;
        self.running()?;
        let result = act(admin, &self);
        if result.as_ref().is_err_and(NvmeError::stops) {
            self.stop();
        }
        result
    }

    /// Tells whether it runs, as far as the driver knows.
    pub(super) fn running(&self) -> Result<(), NvmeError<A::Error>> {
        if self.state.is_running() {
            Ok(())
        } else {
            Err(NvmeError::Stopped)
        }
    }

    /// Makes the error of registers that do not fit into BAR 0.
    pub(super) fn short(&self) -> NvmeError<A::Error> {
        short(&self.window)
    }

    /// Returns the identity of the namespaces that were read since the controller last started.
    pub(super) const fn started(&self) -> Identity {
        self.started
    }

    pub(super) const fn limits(&self) -> &Options {
        &self.options
    }

    pub(super) const fn window(&self) -> &Window<A> {
        &self.window
    }

    pub(super) const fn dma(&self) -> &M {
        &self.dma
    }

    /// Returns the memory with the doorbells, where they are in memory.
    pub(super) const fn shadow(&self) -> Option<&ShadowMemory<M>> {
        if self.is_shadowed {
            self.shadow.as_ref()
        } else {
            None
        }
    }
}

/// What the registers of a controller say of it.
struct Said {
    capabilities: Capabilities,
    version: Version,
    ready_time: Duration,
}

impl Said {
    fn read<A: Access>(bar0: &Window<A>) -> Result<Self, NvmeError<A::Error>> {
        let registers: Block<_, Registers> = bar0.share().into_block(0).map_err(|_| short(bar0))?;
        let low = registers.get(Registers::cap_low)?;
        let high = registers.get(Registers::cap_high)?;
        if low == GONE && high == GONE {
            return Err(NvmeError::Gone);
        }
        let capabilities = Capabilities(qword(low, high));
        let has_commands =
            capabilities.has_nvm_commands() || capabilities.has_admin_commands_alone();
        if !has_commands || capabilities.smallest_page_shift() != 12 {
            return Err(NvmeError::Unsupported { capabilities });
        }
        let ready_time = if capabilities.has_ready_times() {
            capabilities.ready_time(registers.get(Registers::crto)?)
        } else {
            capabilities.timeout()
        };
        Ok(Self {
            capabilities,
            version: Version(registers.get(Registers::vs)?),
            ready_time,
        })
    }
}

/// Returns the answer of an optional command. None where the controller refuses it.
fn unless_refused<T, E>(result: Result<T, NvmeError<E>>) -> Result<Option<T>, NvmeError<E>> {
    match result {
        Err(NvmeError::Command(_)) => Ok(None),
        other => other.map(Some),
    }
}

/// Makes the error of registers that do not fit into BAR 0.
fn short<A: Access>(bar0: &Window<A>) -> NvmeError<A::Error> {
    NvmeError::Short { len: bar0.len() }
}

impl<D: DeviceHandle, M: DmaHandle, A: Access> Drop for Controller<D, M, A> {
    fn drop(&mut self) {
        if self.state.is_running() {
            // It is stopped either way.
            let _ = self.prepare_for_power_off();
            self.stop();
        }
        if self.state() == State::Lost {
            // The device may still write it.
            core::mem::forget(self.admin.get_mut().take());
            core::mem::forget(self.shadow.take());
        }
    }
}

impl<D: DeviceHandle, M: DmaHandle, A: Access> fmt::Debug for Controller<D, M, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controller")
            .field("state", &self.state())
            .field("capabilities", &self.capabilities)
            .field("info", &self.info)
            .field("queues", &self.queues)
            .finish_non_exhaustive()
    }
}
