//! A device that is served: a model, its configuration space and its interrupts.

use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

use vfio_core::sys::{Errno, InfoRequest, put_argsz};
use vfio_core::wire::abi::{DeviceFlags, PciDependentDevice, RegionFlags, pci_region};
use vfio_core::wire::server::{Dialect, IrqRequest};

use super::interrupts::Interrupts;
use super::messages::Messages;
use super::root::Root;
use super::session::Session;
use crate::model::{
    Bus, Config, Description, Fault, Model, RegionCap, RegionDescription, Registers,
};

/// A device, and the state that it is in.
pub(super) struct Device {
    name: String,
    model: Model,
    /// What clients are told of it.
    description: Description,
    config: Config,
    pub(super) interrupts: Interrupts,
    messages: Messages,
    pub(super) faults: Faults,
}

/// Transfers that were refused.
#[derive(Default)]
pub(super) struct Faults {
    pub(super) count: u64,
    pub(super) last: Option<Fault>,
}

/// What an access does.
pub(super) enum Transfer<'a> {
    Read(&'a mut [u8]),
    Write(&'a [u8]),
}

impl Device {
    pub(super) fn new(name: &str, model: Model) -> Self {
        let description = served(&model);
        Self {
            name: name.to_string(),
            config: description.config.clone(),
            interrupts: Interrupts::new(&description.irqs),
            messages: Messages::new(&description),
            description,
            model,
            faults: Faults::default(),
        }
    }

    /// Gives everything back that a client had, and makes the device as it was first.
    pub(super) fn leave(&mut self) {
        self.config = self.description.config.clone();
        self.interrupts = Interrupts::new(&self.description.irqs);
        self.messages = Messages::new(&self.description);
        self.act(None, |registers, bus| registers.reset(bus));
    }

    /// Resets the device, where its flags say that it can be.
    pub(super) fn reset(&mut self, session: &mut Session) -> Result<(), Errno> {
        if !self.description.flags.contains(DeviceFlags::RESET) {
            return Err(Errno::EINVAL);
        }
        self.config = self.description.config.clone();
        self.messages = Messages::new(&self.description);
        self.act(Some(session), |registers, bus| registers.reset(bus));
        Ok(())
    }

    /// Lets the registers act, on the bus of the device.
    fn act<R>(
        &mut self,
        session: Option<&mut Session>,
        act: impl FnOnce(&mut dyn Registers, &mut Bus<'_>) -> R,
    ) -> R {
        let mut root = Root {
            session,
            interrupts: &mut self.interrupts,
            messages: &self.messages,
            config: &self.config,
            faults: &mut self.faults,
        };
        let mut bus = Bus::new(&self.name, &self.config, &mut root);
        act(self.model.registers(), &mut bus)
    }

    /// Lets time pass by one step; tells whether there is more to do.
    pub(super) fn advance(&mut self, session: &mut Session) -> bool {
        self.act(Some(session), |registers, bus| registers.advance(bus))
    }

    /// Answers an INFO command in as many bytes as the answer takes, or as the client has room for.
    pub(super) fn info(
        &mut self,
        request: InfoRequest,
        index: u32,
        argsz: u32,
    ) -> Result<Vec<u8>, Errno> {
        let needed = argsz_of(&self.answer(request, index, request.least())?);
        if needed > argsz {
            return self.answer(request, index, request.least());
        }
        let needed = usize::try_from(needed).map_err(|_| Errno::EINVAL)?;
        self.answer(request, index, needed.max(request.least()))
    }

    /// Answers an INFO command in a reply of `len` bytes.
    fn answer(&self, request: InfoRequest, index: u32, len: usize) -> Result<Vec<u8>, Errno> {
        let mut reply = vec![0; len];
        put_argsz(&mut reply)?;
        if let Some(field) = reply.get_mut(8..12) {
            field.copy_from_slice(&index.to_ne_bytes());
        }
        let nowhere = PciDependentDevice::default();
        self.description
            .with_server(nowhere, |device| device.answer(request, &mut reply))?;
        Ok(reply)
    }

    /// Sets interrupts, whose events are `fds`.
    pub(super) fn set_irqs(
        &mut self,
        argument: &[u8],
        fds: Vec<std::os::fd::OwnedFd>,
    ) -> Result<(), Errno> {
        let request = IrqRequest::parse_beside(argument, &self.description.irqs, fds.len())?;
        self.interrupts.set(&request, fds)?;
        self.send_pending();
        Ok(())
    }

    /// Reads or writes `transfer`'s bytes at `offset` of a region.
    pub(super) fn access(
        &mut self,
        session: &mut Session,
        region: u32,
        offset: u64,
        transfer: Transfer<'_>,
    ) -> Result<(), Errno> {
        let (len, needed) = match &transfer {
            Transfer::Read(data) => (data.len(), RegionFlags::READ),
            Transfer::Write(data) => (data.len(), RegionFlags::WRITE),
        };
        let index = usize::try_from(region).map_err(|_| Errno::EINVAL)?;
        let found = self.description.regions.get(index).and_then(Option::as_ref);
        let found = found.filter(|found| found.flags.contains(needed));
        let size = found.ok_or(Errno::EINVAL)?.size;
        let end = u64::try_from(len)
            .ok()
            .and_then(|len| offset.checked_add(len));
        if end.is_none_or(|end| end > size) {
            return Err(Errno::EINVAL);
        }
        if region == pci_region::CONFIG && !self.config.bytes().is_empty() {
            self.access_config(offset, transfer)
        } else {
            self.access_registers(session, region, offset, transfer);
            Ok(())
        }
    }

    fn access_config(&mut self, offset: u64, transfer: Transfer<'_>) -> Result<(), Errno> {
        let at = usize::try_from(offset).map_err(|_| Errno::EINVAL)?;
        match transfer {
            Transfer::Read(data) => {
                self.config.show_intx(self.interrupts.level());
                let cells = self.config.bytes().iter().skip(at);
                for (to, from) in data.iter_mut().zip(cells) {
                    *to = *from;
                }
            }
            Transfer::Write(data) => {
                self.config.write(at, data);
                if !self.config.is_intx_off() {
                    self.interrupts.deliver();
                }
                self.send_pending();
            }
        }
        Ok(())
    }

    /// Takes an access apart into those that a bus makes: up to 8 bytes, aligned to their length.
    fn access_registers(
        &mut self,
        session: &mut Session,
        region: u32,
        offset: u64,
        mut transfer: Transfer<'_>,
    ) {
        let mut done = 0_usize;
        loop {
            let at = u64::try_from(done).map_or(offset, |done| offset.saturating_add(done));
            let left = match &transfer {
                Transfer::Read(data) => data.len(),
                Transfer::Write(data) => data.len(),
            };
            let left = left.saturating_sub(done);
            if left == 0 {
                break;
            }
            let end = done.saturating_add(width(at, left));
            match &mut transfer {
                Transfer::Read(data) => {
                    let data = data.get_mut(done..end).unwrap_or_default();
                    if !self.messages.read(region, at, data, &self.interrupts) {
                        self.act(Some(session), |registers, bus| {
                            registers.read(region, at, data, bus);
                        });
                    }
                }
                Transfer::Write(data) => {
                    let data = data.get(done..end).unwrap_or_default();
                    if self.messages.write(region, at, data) {
                        self.send_pending();
                    } else {
                        self.act(Some(session), |registers, bus| {
                            registers.write(region, at, data, bus);
                        });
                    }
                }
            }
            done = end;
        }
    }

    /// Sends the messages that waited and are masked no longer.
    fn send_pending(&mut self) {
        let state = self.config.msix_state();
        let messages = &self.messages;
        self.interrupts
            .send_pending(vfio_core::wire::abi::pci_irq::MSIX, |vector| {
                messages.is_masked(vector, state)
            });
        self.interrupts
            .send_pending(vfio_core::wire::abi::pci_irq::MSI, |_| false);
    }
}

/// Returns how many of `left` bytes at `at` go in one access.
fn width(at: u64, left: usize) -> usize {
    let fits = |width: &usize| {
        *width <= left && u64::try_from(*width).is_ok_and(|width| at.is_multiple_of(width))
    };
    [8, 4, 2].into_iter().find(fits).unwrap_or(1)
}

/// Returns the size that a reply says it needs.
fn argsz_of(reply: &[u8]) -> u32 {
    let argsz = reply.first_chunk().copied().map(u32::from_ne_bytes);
    argsz.unwrap_or(0)
}

/// Returns what clients are told of a model: registers are reached by messages, which no client maps.
fn served(model: &Model) -> Description {
    let mut description = model.description().clone();
    // As libvfio-user answers: without capabilities of the device.
    description.dialect = Dialect {
        device_written: 16,
        knows_hot_reset: false,
        ..Dialect::LINUX_6_6
    };
    description.caps.clear();
    description.flags |= DeviceFlags::PCI;
    for region in description.regions.iter_mut().flatten() {
        region.flags -= RegionFlags::MMAP;
        region.offset = 0;
        let is_of_maps =
            |cap: &RegionCap| matches!(cap, RegionCap::SparseMmap(_) | RegionCap::MsixMappable);
        region.caps.retain(|cap| !is_of_maps(cap));
    }
    // A client of libvfio-user's asks about all of them, and takes no refusal.
    for irq in &mut description.irqs {
        irq.get_or_insert_default();
    }
    for (index, region) in (0..).zip(description.regions.iter_mut()) {
        let empty = || RegionDescription::new(index, RegionFlags::empty(), 0);
        region.get_or_insert_with(empty).offset = 0;
    }
    description.config = description.config.with_messages();
    description
}
