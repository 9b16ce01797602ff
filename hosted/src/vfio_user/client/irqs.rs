//! `VFIO_DEVICE_SET_IRQS`, whose events go to the server as descriptors.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::vec::Vec;

use vfio_core::sys::Errno;
use vfio_core::wire::abi::{IrqSet, IrqSetFlags};
use vfio_core::wire::vfio_user::Command;
use zerocopy::{FromBytes, IntoBytes};

use super::connection::Link;

impl Link {
    /// Sets interrupts: with the events that are named, or as the bytes say.
    pub(super) fn set_irqs(
        &mut self,
        argument: &[u8],
        events: &[Option<&OwnedFd>],
    ) -> Result<(), Errno> {
        let (head, _) = IrqSet::read_from_prefix(argument).map_err(|_| Errno::EINVAL)?;
        let has_events = head.flags.contains(IrqSetFlags::DATA_EVENTFD);
        let is_trigger = head.flags.contains(IrqSetFlags::ACTION_TRIGGER);
        if has_events {
            self.set_events(head, events)?;
        } else {
            self.send_irqs(argument, &[])?;
        }
        let is_off = head.flags.contains(IrqSetFlags::DATA_NONE) && head.count == 0;
        let is_on = has_events && events.iter().any(Option::is_some);
        if is_trigger && (is_on || is_off) {
            self.turn(head.index, head.start, head.count, is_on)?;
        }
        Ok(())
    }

    /// Gives interrupts their events: those that have one and those that have none apart, and as many at a time as
    /// the server takes descriptors.
    fn set_events(&mut self, head: IrqSet, events: &[Option<&OwnedFd>]) -> Result<(), Errno> {
        let most = usize::try_from(self.server.max_msg_fds)
            .unwrap_or(1)
            .clamp(1, 64);
        let mut start = head.start;
        for run in events.chunk_by(|a, b| a.is_some() == b.is_some()) {
            for some in run.chunks(most) {
                let fds = some.iter().flatten().map(|event| event.as_fd());
                let count = u32::try_from(some.len()).map_err(|_| Errno::EINVAL)?;
                let argument = IrqSet {
                    argsz: 20,
                    start,
                    count,
                    ..head
                };
                self.send_irqs(argument.as_bytes(), &fds.collect::<Vec<_>>())?;
                start = start.checked_add(count).ok_or(Errno::EINVAL)?;
            }
        }
        Ok(())
    }

    fn send_irqs(&mut self, argument: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        self.ask(&Command::SetIrqs { argument }, fds, 16, |_| Ok(()))
    }
}
