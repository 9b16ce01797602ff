//! The blocks that an exercise writes: what is on them is kept, and put back at the end.

use core::fmt;

use vfio_core::device::DeviceHandle;
use vfio_core::dma::DmaHandle;
use vfio_core::mmio::Access;
use vfio_drivers::nvme::{
    Controller, ControllerHandle, Namespace, NvmeError, QueueOptions, QueuePair, Slot, State,
};

use super::data::{compare, ended};
use super::{Done, Outcome};

/// How often it is tried to put back what was there.
const ATTEMPTS: usize = 3;

/// The blocks that were used do not have what they had before, or may not.
///
/// That is in what was lent to keep it ([`Lent::kept`](super::Lent::kept)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct NotRestored<E> {
    /// The namespace.
    pub namespace: u32,
    /// The first of the blocks.
    pub lba: u64,
    /// How many there are.
    pub blocks: u32,
    /// Bytes of what was kept of them: the blocks, and then the metadata that are apart.
    pub len: usize,
    /// Why; none where what was written is not what is read.
    pub error: Option<NvmeError<E>>,
}

/// Blocks that are used.
pub(super) struct Area {
    pub(super) namespace: Namespace,
    pub(super) lba: u64,
    pub(super) blocks: u32,
    /// Bytes of their data in memory, and of their metadata where those are apart.
    data: usize,
    metadata: usize,
}

impl Area {
    /// Creates an area of the last blocks of a namespace. They hold `longest` bytes of data, and
    /// fit into `kept` bytes. Two at least.
    pub(super) fn new(namespace: &Namespace, longest: usize, kept: usize) -> Option<Self> {
        let stride = usize::try_from(namespace.stride()).ok()?;
        let separate = usize::try_from(namespace.separate_metadata()).ok()?;
        let fit = longest.checked_div(stride)?;
        let kept = kept.checked_div(stride.checked_add(separate)?)?;
        let blocks = u32::try_from(fit.min(kept)).ok()?;
        let blocks = u64::from(blocks).min(namespace.blocks());
        let count = usize::try_from(blocks).ok()?;
        Some(Self {
            namespace: *namespace,
            lba: namespace.blocks().checked_sub(blocks)?,
            blocks: u32::try_from(blocks).ok().filter(|blocks| *blocks > 1)?,
            data: stride.checked_mul(count)?,
            metadata: separate.checked_mul(count)?,
        })
    }

    /// Tells that what was on the blocks was not put back, and why.
    pub(super) const fn not_restored<E>(&self, error: Option<NvmeError<E>>) -> NotRestored<E> {
        NotRestored {
            namespace: self.namespace.id(),
            lba: self.lba,
            blocks: self.blocks,
            len: self.data.saturating_add(self.metadata),
            error,
        }
    }

    /// Returns the options of queue pairs that transfer the whole area at a time.
    pub(super) fn options(&self, vector: Option<u16>) -> QueueOptions {
        QueueOptions {
            slot: self.data.next_multiple_of(4096),
            metadata: self.metadata,
            vector,
        }
    }
}

/// Reads what is on the blocks, and keeps it where the device does not reach it: the data, and
/// then the metadata that are apart.
pub(super) fn keep<C: ControllerHandle>(controller: C, area: &Area, kept: &mut [u8]) -> Done<C> {
    let mut pair = QueuePair::<_, 1>::new(controller, area.options(None))?;
    let slot = read_area(&mut pair, area)?;
    let (data, metadata) = parts(area, kept)?;
    let mut window = pair.window(&slot).map_err(NvmeError::Request)?;
    window.read_bytes(0, data).map_err(|_| Outcome::Memory)?;
    if area.metadata > 0 {
        let mut window = pair.metadata(&slot).map_err(NvmeError::Request)?;
        window
            .read_bytes(0, metadata)
            .map_err(|_| Outcome::Memory)?;
    }
    pair.release(slot)?;
    Ok(())
}

/// Returns the data and the metadata in what keeps both.
fn parts<'k, E>(
    area: &Area,
    kept: &'k mut [u8],
) -> Result<(&'k mut [u8], &'k mut [u8]), Outcome<E>> {
    let (data, rest) = kept
        .split_at_mut_checked(area.data)
        .ok_or(Outcome::NotRun)?;
    let metadata = rest.get_mut(..area.metadata).ok_or(Outcome::NotRun)?;
    Ok((data, metadata))
}

/// Reads all blocks into a slot.
fn read_area<C: ControllerHandle, const D: usize>(
    pair: &mut QueuePair<C, D>,
    area: &Area,
) -> Done<C, Slot> {
    let slot = pair.slot().ok_or(Outcome::NotRun)?;
    pair.read(slot, &area.namespace, area.lba, area.blocks)?;
    ended(pair)
}

/// Puts back what was on the blocks, and starts the controller again where that fails.
pub(super) fn put_back<D: DeviceHandle, A: Access, M: DmaHandle>(
    controller: &mut Controller<D, M, A>,
    area: &Area,
    kept: &mut [u8],
) -> Result<(), Option<NvmeError<A::Error>>> {
    let mut result = Err(None);
    for attempt in 0..ATTEMPTS {
        if (attempt > 0 || controller.state() != State::Running)
            && let Err(error) = controller.restart()
        {
            result = Err(Some(error));
            continue;
        }
        result = restore(&*controller, area, kept).map_err(|outcome| match outcome {
            Outcome::Device(error) => Some(error),
            _ => None,
        });
        if result.is_ok() {
            break;
        }
    }
    result
}

/// Writes what was on the blocks, flushes, and compares.
fn restore<C: ControllerHandle>(controller: C, area: &Area, kept: &mut [u8]) -> Done<C> {
    let namespace = controller.namespace(area.namespace.id())?;
    let area = Area { namespace, ..*area };
    let mut pair = QueuePair::<_, 1>::new(controller, area.options(None))?;
    let (data, metadata) = parts(&area, kept)?;
    let slot = pair.slot().ok_or(Outcome::NotRun)?;
    let mut window = pair.window(&slot).map_err(NvmeError::Request)?;
    window.write_bytes(0, data).map_err(|_| Outcome::Memory)?;
    if area.metadata > 0 {
        let mut window = pair.metadata(&slot).map_err(NvmeError::Request)?;
        window
            .write_bytes(0, metadata)
            .map_err(|_| Outcome::Memory)?;
    }
    pair.write_with_metadata(slot, &area.namespace, area.lba, area.blocks)?;
    let slot = ended(&mut pair)?;
    pair.flush(slot, &area.namespace)?;
    let slot = ended(&mut pair)?;
    pair.release(slot)?;
    let slot = read_area(&mut pair, &area)?;
    let whole_words = area.data & !7;
    compare(&mut pair, &slot, whole_words, |at| word_of(data, at))?;
    pair.release(slot)?;
    Ok(())
}

impl<E: fmt::Display> fmt::Display for NotRestored<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "NOT RESTORED: {} blocks from {} on of namespace {} have not what they had before: ",
            self.blocks, self.lba, self.namespace
        )?;
        match &self.error {
            Some(error) => error.fmt(f),
            None => f.write_str("what is read there is not what was written"),
        }
    }
}

/// Returns the word at `at` (bytes) of what is kept.
fn word_of(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or_default();
    u64::from_le_bytes(rest.first_chunk().copied().unwrap_or_default())
}
