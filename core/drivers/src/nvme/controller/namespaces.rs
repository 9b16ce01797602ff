//! The namespaces of a controller, and what Identify answers (NVM Express Base Specification 1.4,
//! 5.15).

use vfio_core::device::DeviceHandle;
use vfio_core::dma::DmaHandle;
use vfio_core::mmio::Access;

use super::{Controller, unless_refused};
use crate::nvme::admin::opcode;
use crate::nvme::error::NvmeError;
use crate::nvme::identify::Page;
use crate::nvme::namespace::{Malformed, Namespace, format_count, format_index, protection_type};
use crate::nvme::protection::Layout;
use crate::nvme::registers::Version;
use crate::nvme::status::StatusCode;
use crate::nvme::submission::Command;

/// The first version of the specification with a list of namespaces.
const WITH_LIST: Version = Version(0x0001_0100);

/// The highest identifier that is asked for where the controller does not list its namespaces.
const SOUGHT: u32 = 1024;

/// What Identify returns of a namespace (CNS): the NVM command set's own (NVM Command Set
/// Specification 1.0, 4.1.5.3).
const EXTENDED_FORMATS: u32 = 5;

/// Where the capabilities of protection information are in that, in bytes.
const PIC: usize = 8;

/// Where the extended formats begin in that, in bytes.
const ELBAF: usize = 12;

/// The most formats that can be, the extended ones aside.
const PLAIN_FORMATS: u8 = 16;

impl<D: DeviceHandle, M: DmaHandle, A: Access> Controller<D, M, A> {
    /// Puts the identifiers of namespaces above `after` into `ids`, and returns how many.
    ///
    /// They are in order. There may be more only if that is the length of `ids` or 1024.
    ///
    /// # Errors
    /// [`NvmeError`]
    pub fn namespace_ids(&self, after: u32, ids: &mut [u32]) -> Result<usize, NvmeError<A::Error>> {
        // Controllers before version 1.1 look at one bit of what is asked for: they take the list
        // for a namespace.
        let mut page = Page::zeroed();
        let is_listed = self.version >= WITH_LIST
            && unless_refused(self.identify(&mut page, after, 2))?.is_some();
        if !is_listed {
            return self.find_namespaces(&mut page, after, ids);
        }
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

    /// Returns the namespace with the lowest identifier that can be used.
    ///
    /// None where the controller has no namespace.
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
    fn find_namespaces(
        &self,
        page: &mut Page,
        after: u32,
        ids: &mut [u32],
    ) -> Result<usize, NvmeError<A::Error>> {
        let last = self.info.namespaces.min(SOUGHT);
        let mut count = 0_usize;
        for id in after.saturating_add(1)..=last {
            let Some(slot) = ids.get_mut(count) else {
                break;
            };
            let is_told = unless_refused(self.identify(page, id, 0))?.is_some();
            if is_told && page.u64(0) != 0 {
                *slot = id;
                count = count.saturating_add(1);
            }
        }
        Ok(count)
    }

    /// Returns a namespace as it is now.
    ///
    /// Queue pairs take it until the controller is started again; after its format was changed, it
    /// has to be read again.
    ///
    /// # Errors
    /// [`NvmeError::NoNamespace`] where there is none, [`NvmeError::Format`],
    /// [`NvmeError::Size`] and [`NvmeError::Protection`] where it can't be used.
    pub fn namespace(&self, id: u32) -> Result<Namespace, NvmeError<A::Error>> {
        let mut page = Page::zeroed();
        match self.identify(&mut page, id, 0) {
            Err(NvmeError::Command(status)) if status.code() == StatusCode::INVALID_NAMESPACE => {
                return Err(NvmeError::NoNamespace { id });
            }
            other => other?,
        }
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

    /// Returns the protection information's layout in the format of a namespace, which answers
    /// `page` to Identify.
    fn protection_layout(&self, id: u32, page: &Page) -> Result<Layout, NvmeError<A::Error>> {
        let is_extended = self.info.has_extended_formats();
        let is_plain = !is_extended && format_count(page) <= PLAIN_FORMATS;
        if protection_type(page) == 0 || is_plain {
            return Ok(Layout::default());
        }
        let at = usize::from(format_index(page))
            .saturating_mul(4)
            .saturating_add(ELBAF);
        let mut extended = Page::zeroed();
        let is_told = is_extended
            && unless_refused(self.identify(&mut extended, id, EXTENDED_FORMATS))?.is_some();
        if is_told {
            return Ok(Layout::parse(extended.u8(PIC), extended.bytes(at)));
        }
        Err(NvmeError::Protection {
            id,
            format: None,
            storage_tag: 0,
        })
    }

    pub(super) fn identify(
        &self,
        page: &mut Page,
        nsid: u32,
        kind: u32,
    ) -> Result<(), NvmeError<A::Error>> {
        let command = Command {
            opcode: opcode::IDENTIFY,
            nsid,
            cdw10: kind,
            ..Command::default()
        };
        self.fill(page, &command)
    }
}
