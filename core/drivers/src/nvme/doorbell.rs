//! Doorbells: how a device learns of a new tail or head (NVM Express Base Specification 1.4,
//! 3.1.24 and 3.1.25; shadow doorbells: 7.13 and B.5).

use core::convert::Infallible;

use vfio_core::dma::{Buffer, Direction, DmaError, DmaHandle};
use vfio_core::handle::Projection;
use vfio_core::mmio::{Access, Block, Through, Width as _, Window, before_doorbell, full_barrier};

use super::controller::ControllerHandle;
use super::registers::{DOORBELLS, Doorbell as Register};
use super::slot::{PAGE, PAGE_64};

/// What a controller has, reached through a handle to it.
type Shared<C, T> = Through<Projection<C, T>>;

/// A doorbell of a queue.
pub(super) struct Doorbell<C: ControllerHandle> {
    register: Block<Shared<C, C::Access>, Register>,
    shadow: Option<Shadow<Shared<C, Buffer<C::Dma>>>>,
}

/// A doorbell in memory. The register need not be written until the device asks for it.
struct Shadow<A: Access> {
    value: Block<A, Register>,
    /// EventIdx: the device wants to see the register written when the value goes past this one.
    event_idx: Block<A, Register>,
}

/// Memory with the doorbells of all queues, which the device looks at: a page of values, and a
/// page of events, which the device writes.
#[derive(Debug)]
pub(super) struct ShadowMemory<M: DmaHandle>(Buffer<M>);

/// Which doorbell of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The tail of the submission queue (SQyTDBL).
    Submission,
    /// The head of the completion queue (CQyHDBL).
    Completion,
}

/// Returns how far the doorbell of a queue is from the first, in bytes.
pub(super) fn offset(queue: u16, side: Side, stride_shift: u8) -> usize {
    let index = usize::from(queue).saturating_mul(2);
    let index = match side {
        Side::Submission => index,
        Side::Completion => index.saturating_add(1),
    };
    // At most 2^17 of them, at most 2^17 bytes apart.
    index
        .checked_shl(u32::from(stride_shift))
        .unwrap_or(usize::MAX)
}

impl<C: ControllerHandle> Doorbell<C> {
    /// Creates the doorbell of a queue that is yet to be created. It lies `offset` bytes from the
    /// first, and has a shadow where the memory has one. None where it is not in the BAR.
    pub(super) fn new(controller: &C, offset: usize, has_shadow: bool) -> Option<Self> {
        let at = DOORBELLS.saturating_add(offset);
        let window = Window::through(controller.clone(), |controller| controller.window());
        let register = window.into_block(at).ok()?;
        let memory = || {
            Projection::try_new(controller.clone(), |controller| {
                controller.shadow().map(|memory| &memory.0)
            })
        };
        let shadow = memory().filter(|_| has_shadow).and_then(|_| {
            if offset >= PAGE {
                return None;
            }
            let block = |offset| Window::new(Through::new(memory()?)).into_block(offset).ok();
            let value = block(offset)?;
            let event_idx = block(offset.saturating_add(PAGE))?;
            let mut shadow = Shadow { value, event_idx };
            shadow.clear();
            Some(shadow)
        });
        Some(Self { register, shadow })
    }

    /// Tells the device that a tail or a head went on from `old` to `new`.
    #[inline(always)]
    pub(super) fn ring(&mut self, old: u16, new: u16) -> Result<(), <C::Access as Access>::Error> {
        before_doorbell();
        if let Some(shadow) = &mut self.shadow
            && !shadow.ring(old, new)
        {
            return Ok(());
        }
        self.register.write(Register::value, u32::from(new))
    }

    /// Tells whether it has a shadow.
    pub(super) const fn is_shadowed(&self) -> bool {
        self.shadow.is_some()
    }
}

impl<M: DmaHandle> ShadowMemory<M> {
    /// Allocates zeros for the doorbells.
    pub(super) fn new(dma: M) -> Result<Self, DmaError> {
        // QEMU writes the value of its admin queue.
        let len = PAGE.saturating_mul(2);
        Buffer::new(dma, len, Direction::Both).map(Self)
    }

    /// Zeros it again.
    pub(super) fn clear(&mut self) {
        for at in (0..PAGE.saturating_mul(2)).step_by(8) {
            let _ = self.0.window().write::<u64>(at, 0);
        }
    }

    /// Returns where the device finds the values and the events.
    pub(super) fn iovas(&self) -> (u64, u64) {
        let values = self.0.iova();
        (values, values.saturating_add(PAGE_64))
    }
}

impl<A: Access<Error = Infallible>> Shadow<A> {
    /// Begins anew: a queue of the same number may have been there before.
    fn clear(&mut self) {
        let Ok(()) = self.value.write(Register::value, 0);
        let Ok(()) = self.event_idx.write(Register::value, 0);
    }

    /// Tells the device in memory, and whether it wants to see the register written.
    #[inline(always)]
    fn ring(&mut self, old: u16, new: u16) -> bool {
        let Ok(()) = self.value.write(Register::value, u32::from(new));
        // The device writes the event, and then looks at the value once more.
        full_barrier();
        let Ok(event_idx) = self.event_idx.get(Register::value);
        let event_idx = u16::truncate(u64::from(event_idx));
        new.wrapping_sub(event_idx).wrapping_sub(1) < new.wrapping_sub(old)
    }
}
