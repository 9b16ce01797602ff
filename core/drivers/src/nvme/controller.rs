//! A controller: its start, its end, and what it says (NVM Express Base Specification 1.4, 7.6).

use core::fmt;
use core::sync::atomic::{AtomicU8, Ordering};
use core::time::Duration;

use spin::{Mutex, MutexGuard};
use vfio_core::device::DeviceHandle;
use vfio_core::device::region::Bar;
use vfio_core::dma::DmaHandle;
use vfio_core::handle::Handle;
use vfio_core::mmio::{Access, Block, Window};
use vfio_core::sys::Sys;

use super::admin::{Admin, ENTRIES, opcode};
use super::doorbell::ShadowMemory;
use super::entries::{dword, qword};
use super::error::NvmeError;
use super::identify::{
    ControllerInfo, Malformed, Namespace, Page, format_count, format_index, protection_type,
};
use super::identity::Identity;
use super::log::{ErrorEntry, Event, Health};
use super::protection::Layout;
use super::registers::{
    ADMIN_ALONE, CONFIGURATION, Capabilities, ENABLE, FATAL, GONE, READY, Registers,
    SHUTDOWN_COMPLETE, SHUTDOWN_MASK, SHUTDOWN_NORMAL, Version,
};
use super::status::StatusCode;
use super::submission::Command;

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

/// In which state a controller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum State {
    /// It takes commands.
    Running,
    /// It was stopped, by the driver or after an error, and reaches no memory.
    Stopped,
    /// It was to be stopped, and nothing tells that it is. Memory that it may still reach is
    /// never given back.
    Lost,
}

/// A handle to a controller: `&Controller`, `Arc<Controller>` and the like.
pub trait ControllerHandle:
    Handle<
    Target = Controller<
        <Self as ControllerHandle>::Device,
        <Self as ControllerHandle>::Dma,
        <Self as ControllerHandle>::Access,
    >,
>
{
    /// Its handle to the device.
    type Device: DeviceHandle;
    /// Its handle to the address space.
    type Dma: DmaHandle;
    /// How its registers are reached.
    type Access: Access;
}

impl<D, M, A, H> ControllerHandle for H
where
    D: DeviceHandle,
    M: DmaHandle,
    A: Access,
    H: Handle<Target = Controller<D, M, A>>,
{
    type Device = D;
    type Dma = M;
    type Access = A;
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
pub struct Controller<D: DeviceHandle, M: DmaHandle, A: Access = Bar<D>> {
    device: D,
    dma: M,
    window: Window<A>,
    capabilities: Capabilities,
    version: Version,
    options: Options,
    state: AtomicU8,
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

const RUNNING: u8 = 0;
const STOPPED: u8 = 1;
const LOST: u8 = 2;
/// A thread is about to stop it.
const STOPPING: u8 = 3;

/// How many queue pairs are asked for: as many as the driver keeps apart.
pub(super) const QUEUES: u16 = 64;

/// How long a shutdown may take where the controller does not say.
const SHUTDOWN: Duration = Duration::from_secs(5);
/// However long it says.
const SHUTDOWN_MOST: Duration = Duration::from_secs(60);

/// Features.
mod feature {
    pub(super) const TEMPERATURE_THRESHOLD: u32 = 0x04;
    pub(super) const WRITE_CACHE: u32 = 0x06;
    pub(super) const QUEUES: u32 = 0x07;
    pub(super) const EVENTS: u32 = 0x0b;
    pub(super) const HOST_BEHAVIOR: u32 = 0x16;
}

/// Log pages.
mod log {
    pub(super) const ERRORS: u32 = 0x01;
    pub(super) const HEALTH: u32 = 0x02;
}

/// Events of health that every controller has, as bits of the feature: those of the warnings that
/// every version of the specification knows.
const HEALTH_EVENTS: u32 = 0x1f;
/// What is told of the host's behavior: it knows formats of more than 16 bits of guard (LBAFEE, in
/// byte 2; NVM Express Base Specification 2.0, 5.27.1.18). All else, up to byte 512, is zero.
const EXTENDED_FORMATS_ENABLED: u64 = 1 << 16;
/// Bytes of it.
const HOST_BEHAVIOR_LEN: usize = 512;

/// The first version of the specification with a list of namespaces.
const WITH_LIST: Version = Version(0x0001_0100);

/// All namespaces.
const ALL: u32 = u32::MAX;

/// The highest identifier that is asked for where the controller does not list its namespaces.
const SOUGHT: u32 = 1024;

/// What Identify returns of a namespace (CNS): the NVM command set's own (NVM Command Set
/// Specification 1.0, 4.1.5.3).
const EXTENDED_FORMATS: u32 = 5;
/// Where the capabilities of protection information are in that, in bytes.
const PIC: usize = 8;
/// Where the extended formats begin in that, in bytes.
const ELBAF: usize = 12;
/// How many formats there can be that are none of the extended.
const PLAIN_FORMATS: u8 = 16;

impl Default for Options {
    /// 30 seconds for a command, 60 for an admin command, and shadow doorbells.
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
        let registers: Block<_, Registers> =
            bar0.share().into_block(0).map_err(|_| short(&bar0))?;
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
            capabilities.ready_time(registers.get(Registers::ready_times)?)
        } else {
            capabilities.timeout()
        };
        let version = Version(registers.get(Registers::version)?);
        let mut controller = Self {
            device,
            dma,
            window: bar0,
            capabilities,
            version,
            options,
            // What an earlier driver left running is stopped first.
            state: AtomicU8::new(STOPPED),
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
        let page = self.identify(0, 1)?;
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

    /// Asks for queue pairs, and returns how many are given: none where the controller refuses.
    fn ask_for_queues(&self) -> Result<u16, NvmeError<A::Error>> {
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
    fn enable_extended_formats(&mut self) -> Result<(), NvmeError<A::Error>> {
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
        self.state.store(RUNNING, Ordering::Release);
        let mut registers = self.registers()?;
        registers.write(Registers::admin_lengths, dword(last, last))?;
        registers.write(Registers::admin_submission_low, submissions.0)?;
        registers.write(Registers::admin_submission_high, submissions.1)?;
        registers.write(Registers::admin_completion_low, completions.0)?;
        registers.write(Registers::admin_completion_high, completions.1)?;
        let configuration = if self.capabilities.has_nvm_commands() {
            CONFIGURATION
        } else {
            CONFIGURATION | ADMIN_ALONE
        };
        registers.write(Registers::configuration, configuration)?;
        let ready_by = self.deadline(self.ready_time)?;
        self.ready_by = Some(ready_by);
        match self.wait_until(ready_by, is_settled)? {
            status if status & FATAL != 0 => Err(NvmeError::Fatal { status }),
            status if status & READY == 0 => Err(NvmeError::NotReady { status }),
            _ => Ok(()),
        }
    }

    /// Stops the controller, and waits until it says that it stopped.
    ///
    /// One that is becoming ready may not be told to stop before it is (NVM Express Base
    /// Specification 1.4, 3.1.5).
    fn disable(&self) -> Result<(), NvmeError<A::Error>> {
        let mut registers = self.registers()?;
        let configuration = registers.get(Registers::configuration)?;
        if configuration == GONE {
            return Err(NvmeError::Gone);
        }
        let mut was_settled = true;
        if configuration & ENABLE != 0 {
            let ready_by = match self.ready_by {
                Some(time) => time,
                None => self.deadline(self.ready_time)?,
            };
            was_settled = is_settled(self.wait_until(ready_by, is_settled)?);
            // The settings stay as they are until it has stopped.
            registers.write(Registers::configuration, configuration & !ENABLE)?;
        }
        let limit = self.deadline(self.capabilities.timeout())?;
        match self.wait_until(limit, |status| status & READY == 0)? {
            status if status & READY != 0 => Err(NvmeError::NotStopped { status }),
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
        let begun =
            self.state
                .compare_exchange(RUNNING, STOPPING, Ordering::AcqRel, Ordering::Acquire);
        if begun.is_err() {
            // Another thread does it: it is over when that is.
            while self.state.load(Ordering::Acquire) == STOPPING {
                core::hint::spin_loop();
            }
            return;
        }
        let is_stopped = self.disable().is_ok() || self.reset_function();
        let state = if is_stopped { STOPPED } else { LOST };
        self.state.store(state, Ordering::Release);
    }

    /// Resets the device through VFIO; whether it is known to be reset.
    fn reset_function(&self) -> bool {
        self.device.reset().is_ok() && self.status().is_ok_and(|status| status & READY == 0)
    }

    /// Tells the controller that power may go, waits until it is ready for that, and stops it.
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

    fn prepare_for_power_off(&self) -> Result<(), NvmeError<A::Error>> {
        self.running()?;
        let mut registers = self.registers()?;
        let configuration = registers.get(Registers::configuration)?;
        if configuration == GONE {
            return Err(NvmeError::Gone);
        }
        registers.write(Registers::configuration, configuration | SHUTDOWN_NORMAL)?;
        let said = Duration::from_micros(self.info.shutdown_us.into());
        let limit = said.clamp(SHUTDOWN, SHUTDOWN_MOST);
        let is_over = |status| is_shut_down(status) || status & FATAL != 0;
        match self.wait_until(self.deadline(limit)?, is_over)? {
            status if is_shut_down(status) => Ok(()),
            status if status & FATAL != 0 => Err(NvmeError::Fatal { status }),
            status => Err(NvmeError::NotStopped { status }),
        }
    }

    /// In which state it is.
    #[must_use]
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            RUNNING | STOPPING => State::Running,
            STOPPED => State::Stopped,
            _ => State::Lost,
        }
    }

    /// What it can do.
    #[must_use]
    pub const fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// The version of the specification that its register names.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// What it says of itself.
    #[must_use]
    pub const fn info(&self) -> &ControllerInfo {
        &self.info
    }

    /// How many queue pairs there can be at a time.
    #[must_use]
    pub const fn queues(&self) -> u16 {
        self.queues
    }

    /// Whether doorbells are in memory.
    #[must_use]
    pub const fn uses_shadow_doorbells(&self) -> bool {
        self.is_shadowed
    }

    /// The longest transfer in bytes; none where there is no limit.
    #[must_use]
    pub fn longest_transfer(&self) -> Option<usize> {
        self.info.longest_transfer()
    }

    /// Puts the identifiers of namespaces above `after` into `ids`, in order, and returns how
    /// many; there may be more only if that is the length of `ids` or 1024.
    ///
    /// # Errors
    /// [`NvmeError`]
    pub fn namespace_ids(&self, after: u32, ids: &mut [u32]) -> Result<usize, NvmeError<A::Error>> {
        // Controllers before version 1.1 look at one bit of what is asked for: they take the list
        // for a namespace.
        let page = if self.version < WITH_LIST {
            None
        } else {
            unless_refused(self.identify(after, 2))?
        };
        let Some(page) = page else {
            return self.find_namespaces(after, ids);
        };
        let (list, _) = page.0.as_chunks::<4>();
        let (mut last, mut count) = (after, 0_usize);
        for (slot, bytes) in ids.iter_mut().zip(list) {
            let id = u32::from_le_bytes(*bytes);
            // A zero is the end, and so is what was told before: a list that begins anew has none.
            if id <= last {
                break;
            }
            (*slot, last) = (id, id);
            count = count.saturating_add(1);
        }
        Ok(count)
    }

    /// The namespace with the lowest identifier that can be used; none where the controller has
    /// no namespace.
    ///
    /// # Errors
    /// [`NvmeError`]; where no namespace can be used, why the first can't.
    pub fn first_namespace(&self) -> Result<Option<Namespace>, NvmeError<A::Error>> {
        let mut failed = None;
        let mut id = [0];
        for _ in 0..SOUGHT {
            let [after] = id;
            if self.namespace_ids(after, &mut id)? == 0 {
                break;
            }
            match self.namespace(id[0]) {
                Err(error) if !error.stops() => failed = failed.or(Some(error)),
                found => return found.map(Some),
            }
        }
        failed.map_or(Ok(None), Err)
    }

    /// Asks for each identifier above `after`, up to [`SOUGHT`], and puts those into `ids` that
    /// have a namespace: one that can't be used is there all the same.
    fn find_namespaces(&self, after: u32, ids: &mut [u32]) -> Result<usize, NvmeError<A::Error>> {
        let last = self.info.namespaces.min(SOUGHT);
        let mut count = 0_usize;
        for id in after.saturating_add(1)..=last {
            let Some(slot) = ids.get_mut(count) else {
                break;
            };
            let page = unless_refused(self.identify(id, 0))?;
            if page.is_some_and(|page| page.u64(0) != 0) {
                *slot = id;
                count = count.saturating_add(1);
            }
        }
        Ok(count)
    }

    /// A namespace as it is now. Queue pairs take it until the controller is started again; after
    /// its format was changed, it has to be read again.
    ///
    /// # Errors
    /// [`NvmeError::NoNamespace`] where there is none, [`NvmeError::Format`],
    /// [`NvmeError::Size`] and [`NvmeError::Protection`] where it can't be used.
    pub fn namespace(&self, id: u32) -> Result<Namespace, NvmeError<A::Error>> {
        let page = match self.identify(id, 0) {
            Err(NvmeError::Command(status)) if status.code() == StatusCode::INVALID_NAMESPACE => {
                return Err(NvmeError::NoNamespace { id });
            }
            other => other?,
        };
        let layout = self.protection_layout(id, &page)?;
        Namespace::parse(id, self.started, &page, layout).map_err(|malformed| match malformed {
            Malformed::Empty => NvmeError::NoNamespace { id },
            Malformed::Format { index, shift } => NvmeError::Format { id, index, shift },
            Malformed::Size => NvmeError::Size { id },
            Malformed::Protection => NvmeError::Protection {
                id,
                format: Some(layout.format),
                storage_tag: layout.storage_tag,
            },
        })
    }

    /// The layout of protection information that the format of a namespace has, which answers
    /// `page` to Identify.
    fn protection_layout(&self, id: u32, page: &Page) -> Result<Layout, NvmeError<A::Error>> {
        let is_extended = self.info.has_extended_formats();
        let is_plain = !is_extended && format_count(page) <= PLAIN_FORMATS;
        if protection_type(page) == 0 || is_plain {
            return Ok(Layout::default());
        }
        let extended = if is_extended {
            unless_refused(self.identify(id, EXTENDED_FORMATS))?
        } else {
            None
        };
        let at = usize::from(format_index(page))
            .saturating_mul(4)
            .saturating_add(ELBAF);
        let layout = extended.map(|page| Layout::parse(page.u8(PIC), page.bytes(at)));
        layout.ok_or(NvmeError::Protection {
            id,
            format: None,
            storage_tag: 0,
        })
    }

    /// Puts the newest entries of the error log into `entries`, the newest first, and returns how
    /// many: at most 64.
    ///
    /// # Errors
    /// [`NvmeError`]
    pub fn error_log(&self, entries: &mut [ErrorEntry]) -> Result<usize, NvmeError<A::Error>> {
        let most = Page::LEN / ErrorEntry::LEN;
        let there = usize::from(self.info.error_log).min(most);
        let len = there.saturating_mul(ErrorEntry::LEN);
        let page = self.log_page(log::ERRORS, len)?;
        let places = (0..there).map(|index| index.saturating_mul(ErrorEntry::LEN));
        let mut count = 0_usize;
        let found = places.map_while(|at| ErrorEntry::parse(&page, at));
        for (slot, entry) in entries.iter_mut().zip(found) {
            *slot = entry;
            count = count.saturating_add(1);
        }
        Ok(count)
    }

    /// The state of health.
    ///
    /// # Errors
    /// [`NvmeError`]
    pub fn health(&self) -> Result<Health, NvmeError<A::Error>> {
        Ok(Health::parse(&self.log_page(log::HEALTH, 512)?))
    }

    /// Has the controller tell of events from now on: of health, and of all that it supports
    /// besides ([`Controller::next_event`]).
    ///
    /// # Errors
    /// [`NvmeError`]
    pub fn enable_events(&self) -> Result<(), NvmeError<A::Error>> {
        self.set_feature(feature::EVENTS, HEALTH_EVENTS | self.info.events)?;
        self.with_admin(Admin::want_events)
    }

    /// The next event that the controller told of; none where there is none now.
    ///
    /// No further event of the kind comes before the log page that it names was read
    /// ([`Controller::error_log`], [`Controller::health`]).
    ///
    /// # Errors
    /// [`NvmeError`]
    pub fn next_event(&self) -> Result<Option<Event>, NvmeError<A::Error>> {
        self.with_admin(Admin::next_event)
    }

    /// Sets the temperature in Kelvin above which the controller warns.
    ///
    /// # Errors
    /// [`NvmeError`]
    pub fn set_temperature_threshold(&self, kelvin: u16) -> Result<(), NvmeError<A::Error>> {
        self.set_feature(feature::TEMPERATURE_THRESHOLD, kelvin.into())
            .map(drop)
    }

    /// The temperature in Kelvin above which the controller warns.
    ///
    /// # Errors
    /// [`NvmeError`]
    pub fn temperature_threshold(&self) -> Result<u16, NvmeError<A::Error>> {
        let answer = self.feature(feature::TEMPERATURE_THRESHOLD)?;
        let [low, high, ..] = answer.to_le_bytes();
        Ok(u16::from_le_bytes([low, high]))
    }

    /// Whether the cache is on that a flush empties.
    ///
    /// # Errors
    /// [`NvmeError`]; a controller without a cache need not know of it.
    pub fn is_write_cache_on(&self) -> Result<bool, NvmeError<A::Error>> {
        Ok(self.feature(feature::WRITE_CACHE)? & 1 != 0)
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

    fn identify(&self, nsid: u32, kind: u32) -> Result<Page, NvmeError<A::Error>> {
        self.page(&Command {
            opcode: opcode::IDENTIFY,
            nsid,
            cdw10: kind,
            ..Command::default()
        })
    }

    /// The first `len` bytes of a log page, a multiple of 4.
    fn log_page(&self, page: u32, len: usize) -> Result<Page, NvmeError<A::Error>> {
        let dwords_less_one = u32::try_from(len / 4).unwrap_or(1024).saturating_sub(1);
        self.page(&Command {
            opcode: opcode::GET_LOG_PAGE,
            nsid: ALL,
            cdw10: page | dwords_less_one << 16,
            ..Command::default()
        })
    }

    fn set_feature(&self, feature: u32, value: u32) -> Result<u32, NvmeError<A::Error>> {
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

    /// Puts the doorbells into memory.
    fn share_doorbells(&mut self) -> Result<(), NvmeError<A::Error>> {
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
            opcode: opcode::DOORBELL_BUFFERS,
            prp1,
            prp2,
            ..Command::default()
        });
        // Where it does not want to, whatever it said, the registers will do. The memory is kept.
        self.is_shadowed = unless_refused(told)?.is_some();
        Ok(())
    }

    /// Makes an admin command.
    pub(super) fn command(&self, command: &Command) -> Result<u32, NvmeError<A::Error>> {
        self.with_admin(|admin, controller| admin.execute(controller, command))
    }

    /// Makes an admin command that fills a page.
    fn page(&self, command: &Command) -> Result<Page, NvmeError<A::Error>> {
        self.with_admin(|admin, controller| {
            let prp1 = admin.page_iova();
            let command = Command { prp1, ..*command };
            admin.execute(controller, &command)?;
            Ok(admin.read_page())
        })
    }

    /// Does something with the admin queue, and stops the controller where that must be.
    pub(super) fn with_admin<T>(
        &self,
        act: impl FnOnce(&mut Admin<M>, &Self) -> Result<T, NvmeError<A::Error>>,
    ) -> Result<T, NvmeError<A::Error>> {
        let mut guard: MutexGuard<'_, _> = self.admin.lock();
        let admin = guard.as_mut().ok_or(NvmeError::Stopped)?;
        self.running()?;
        let result = act(admin, self);
        if result.as_ref().is_err_and(NvmeError::stops) {
            self.stop();
        }
        result
    }

    /// Whether it runs, as far as the driver knows.
    pub(super) fn running(&self) -> Result<(), NvmeError<A::Error>> {
        if self.state.load(Ordering::Acquire) == RUNNING {
            Ok(())
        } else {
            Err(NvmeError::Stopped)
        }
    }

    /// Whether it runs, as far as it says.
    pub(super) fn check(&self) -> Result<(), NvmeError<A::Error>> {
        self.running()?;
        match self.status()? {
            status if status & FATAL != 0 => Err(NvmeError::Fatal { status }),
            status if status & READY == 0 => Err(NvmeError::NotReady { status }),
            _ => Ok(()),
        }
    }

    fn status(&self) -> Result<u32, NvmeError<A::Error>> {
        match self.registers()?.get(Registers::status)? {
            GONE => Err(NvmeError::Gone),
            status => Ok(status),
        }
    }

    fn registers(&self) -> Result<Block<&A, Registers>, NvmeError<A::Error>> {
        let block = self.window.share().into_block(0);
        block.map_err(|_| self.short())
    }

    /// The registers do not fit into BAR 0.
    pub(super) fn short(&self) -> NvmeError<A::Error> {
        short(&self.window)
    }

    pub(super) fn now(&self) -> Result<Duration, NvmeError<A::Error>> {
        self.device.sys().now().map_err(NvmeError::Clock)
    }

    /// When a time that begins now is over.
    pub(super) fn deadline(&self, limit: Duration) -> Result<Duration, NvmeError<A::Error>> {
        Ok(self.now()?.saturating_add(limit))
    }

    /// What its namespaces have that were read since it was started last.
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

    /// The memory with the doorbells, where they are in memory.
    pub(super) const fn shadow(&self) -> Option<&ShadowMemory<M>> {
        if self.is_shadowed {
            self.shadow.as_ref()
        } else {
            None
        }
    }
}

/// What an optional command answers; none where the controller refuses it.
fn unless_refused<T, E>(result: Result<T, NvmeError<E>>) -> Result<Option<T>, NvmeError<E>> {
    match result {
        Err(NvmeError::Command(_)) => Ok(None),
        other => other.map(Some),
    }
}

/// Whether a controller that was enabled has become ready, or has failed to.
const fn is_settled(status: u32) -> bool {
    status & (READY | FATAL) != 0
}

/// Whether a controller is ready for power to go.
const fn is_shut_down(status: u32) -> bool {
    status & SHUTDOWN_MASK == SHUTDOWN_COMPLETE
}

/// The registers do not fit into BAR 0.
fn short<A: Access>(bar0: &Window<A>) -> NvmeError<A::Error> {
    NvmeError::Short { len: bar0.len() }
}

/// An address in halves.
const fn dwords_of(address: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = address.to_le_bytes();
    (
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, g, h]),
    )
}

impl<D: DeviceHandle, M: DmaHandle, A: Access> Drop for Controller<D, M, A> {
    fn drop(&mut self) {
        if self.state.load(Ordering::Acquire) == RUNNING {
            // It is stopped either way.
            let _ = self.prepare_for_power_off();
            self.stop();
        }
        if self.state.load(Ordering::Acquire) == LOST {
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
