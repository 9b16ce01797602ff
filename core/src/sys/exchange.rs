//! Requests whose argument is a structure that the kernel reads, and may write.
//!
//! What such a request makes the kernel touch depends on what the structure says: on argsz, on
//! flags, on pointers and on descriptors in it. An [`Exchange`] can only be made for what was
//! checked here against the row of its request, so that a shim can carry it without trusting its
//! caller:
//!
//! - argsz is the length of the structure.
//! - A pointer is one that the shim puts in, to memory whose length was compared with what the
//!   kernel will touch.
//! - A descriptor is the number of a file or an event that is borrowed for as long as the
//!   exchange lasts. The shim puts it in; until then, -1 is in its place.

use core::ops::Range;

use zerocopy::{FromBytes, IntoBytes};

use super::table::{Contents, Pointer};
use super::{Absent, Errno, ExchangeRequest};
use crate::wire::abi::{IommuIoasIovaRanges, IommuIovaRange};

/// A request, its structure, the memory that a pointer in it is to name, and the files (`F`) or
/// events (`E`) whose numbers are to stand in it. One that names neither has [`Absent`] for both.
#[derive(Debug)]
#[must_use = "it is nothing before a shim makes it"]
pub struct Exchange<'a, F = Absent, E = Absent> {
    pub(super) request: ExchangeRequest,
    pub(super) argument: &'a mut [u8],
    pub(super) list: Option<&'a mut [u8]>,
    pub(super) memory: Range<usize>,
    pub(super) files: &'a [&'a F],
    pub(super) events: &'a [Option<&'a E>],
}

/// What a shim passes to its kernel.
#[derive(Debug)]
pub struct Parts<'a, F = Absent, E = Absent> {
    /// The request.
    pub request: ExchangeRequest,
    /// The structure, with argsz in its first four bytes.
    pub argument: &'a mut [u8],
    /// The list that the pointer at [`ExchangeRequest::pointer_at`] is to name.
    pub list: Option<&'a mut [u8]>,
    /// Which bytes of the shim's memory the pointer is to name.
    pub memory: Range<usize>,
    /// The files whose numbers are to stand at [`ExchangeRequest::names_at`], one after the other.
    pub files: &'a [&'a F],
    /// The events whose numbers are to stand there, -1 for none. A request names files, or
    /// events, or neither.
    pub events: &'a [Option<&'a E>],
}

/// What stands in the place of a descriptor that is none.
const NONE: i32 = -1;

impl<'a, F, E> Exchange<'a, F, E> {
    /// Creates a request without pointers and descriptors. `argument` is the structure and what
    /// follows it; its first four bytes become its length.
    ///
    /// # Errors
    /// `EINVAL` for a structure that is too short, and for one that would make the kernel follow
    /// a pointer, read past the structure, take a descriptor, or open a file; there are other
    /// constructors for those.
    ///
    /// Some numbers name another request on another kind of file: 0x3b71 is a hot reset of a
    /// device and maps memory on a container. What would be harmful there is refused as well.
    pub fn new(request: ExchangeRequest, argument: &'a mut [u8]) -> Result<Self, Errno> {
        let is_allowed = match request.contents() {
            Contents::Made => false,
            Contents::Any => true,
            Contents::Flags(pass) => {
                let [_argsz, flags] = read::<[u32; 2]>(argument)?;
                pass(flags)
            }
        };
        if is_allowed {
            Self::sized(request, argument)
        } else {
            Err(Errno::EINVAL)
        }
    }

    /// Makes the request `IOMMU_IOAS_IOVA_RANGES`, which fills `ranges`.
    pub fn iova_ranges(
        argument: &'a mut IommuIoasIovaRanges,
        ranges: &'a mut [IommuIovaRange],
    ) -> Self {
        argument.num_iovas = u32::try_from(ranges.len()).unwrap_or(u32::MAX);
        Self {
            list: Some(ranges.as_mut_bytes()),
            ..Self::whole(ExchangeRequest::IoasIovaRanges, argument)
        }
    }

    /// Makes the request `VFIO_IOMMU_MAP_DMA` or `IOMMU_IOAS_MAP` for the bytes `range` of the
    /// shim's memory.
    ///
    /// # Errors
    /// `EINVAL` for another request, and for a structure that is too short.
    pub fn map(
        request: ExchangeRequest,
        argument: &'a mut [u8],
        range: Range<usize>,
    ) -> Result<Self, Errno> {
        if request.length_at().is_none() {
            return Err(Errno::EINVAL);
        }
        Ok(Self {
            memory: range,
            ..Self::sized(request, argument)?
        })
    }

    /// Stores the length of the structure in its first four bytes.
    pub(super) fn sized(request: ExchangeRequest, argument: &'a mut [u8]) -> Result<Self, Errno> {
        if argument.len() < request.least() {
            return Err(Errno::EINVAL);
        }
        Ok(Self::as_it_is(request, argument).with_argsz())
    }

    /// Creates a request whose structure has the length that its row says.
    pub(super) fn whole<T>(request: ExchangeRequest, argument: &'a mut T) -> Self
    where
        T: FromBytes + IntoBytes,
    {
        Self::as_it_is(request, argument.as_mut_bytes()).with_argsz()
    }

    /// Creates a request whose structure is not changed.
    pub(super) const fn as_it_is(request: ExchangeRequest, argument: &'a mut [u8]) -> Self {
        Self {
            request,
            argument,
            list: None,
            memory: 0..0,
            files: &[],
            events: &[],
        }
    }

    /// Names files or events, with -1 in the place of each until a shim puts in its number.
    pub(super) fn naming(self, files: &'a [&'a F], events: &'a [Option<&'a E>]) -> Self {
        let count = files.len().saturating_add(events.len());
        let bytes = count.saturating_mul(size_of_val(&NONE));
        let at = self.request.names_at().unwrap_or(usize::MAX);
        // Nothing is outside of it: a constructor has compared the lengths.
        if let Some(places) = self.argument.get_mut(at..at.saturating_add(bytes)) {
            places.fill(0xff);
        }
        Self {
            files,
            events,
            ..self
        }
    }

    fn with_argsz(self) -> Self {
        // Every structure with an argsz has room for it.
        let _ = super::put_argsz(self.argument);
        self
    }

    /// Returns the request.
    #[must_use]
    pub const fn request(&self) -> ExchangeRequest {
        self.request
    }

    /// Returns the parts that a shim passes to its kernel. They are no exchange any more: what is
    /// changed in them can't be passed on unchecked.
    #[must_use]
    pub fn into_parts(self) -> Parts<'a, F, E> {
        let Self {
            request,
            argument,
            list,
            memory,
            files,
            events,
        } = self;
        Parts {
            request,
            argument,
            list,
            memory,
            files,
            events,
        }
    }
}

impl<F, E> Parts<'_, F, E> {
    /// Stores a pointer, and the length of what is mapped, where the structure has them.
    ///
    /// # Errors
    /// `EINVAL` where it has none.
    pub fn point(&mut self, address: u64, length: u64) -> Result<(), Errno> {
        match self.request.pointer().ok_or(Errno::EINVAL)? {
            Pointer::Wide(at) => self.put(at, address.to_ne_bytes())?,
            Pointer::Native(at) => {
                let address = usize::try_from(address).map_err(|_| Errno::EINVAL)?;
                self.put(at, address.to_ne_bytes())?;
            }
        }
        match self.request.length_at() {
            Some(at) => self.put(at, length.to_ne_bytes()),
            None => Ok(()),
        }
    }

    /// Stores the numbers of the files or events that the request names, where the structure has
    /// them; -1 stands for no event.
    pub fn name(&mut self, file: impl Fn(&F) -> i32, event: impl Fn(&E) -> i32) {
        let Some(at) = self.request.names_at() else {
            return;
        };
        let places = self.argument.get_mut(at..).unwrap_or_default();
        let (places, _) = places.as_chunks_mut::<4>();
        let files = self.files.iter().map(|named| file(named));
        let events = self.events.iter().map(|named| named.map_or(NONE, &event));
        for (place, number) in places.iter_mut().zip(files.chain(events)) {
            *place = number.to_ne_bytes();
        }
    }

    /// Stores a field.
    fn put<const N: usize>(&mut self, at: usize, value: [u8; N]) -> Result<(), Errno> {
        let field = self.argument.get_mut(at..);
        let field = field.and_then(|rest| rest.first_chunk_mut());
        *field.ok_or(Errno::EINVAL)? = value;
        Ok(())
    }
}

/// Stores `parts` one after the other; what there is no room for is left out.
pub(super) fn fill<const N: usize>(buffer: &mut [u8], parts: [&[u8]; N]) {
    let mut rest = buffer;
    for part in parts {
        let (to, tail) = rest.split_at_mut_checked(part.len()).unwrap_or_default();
        to.iter_mut().zip(part).for_each(|(to, from)| *to = *from);
        rest = tail;
    }
}

fn read<T: FromBytes>(argument: &[u8]) -> Result<T, Errno> {
    T::read_from_prefix(argument)
        .map(|(head, _)| head)
        .map_err(|_| Errno::EINVAL)
}

#[cfg(feature = "defmt")]
impl<F, E> defmt::Format for Exchange<'_, F, E> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Exchange({}, {=[u8]})", self.request, self.argument);
    }
}

#[cfg(feature = "defmt")]
impl<F, E> defmt::Format for Parts<'_, F, E> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Parts({}, {=[u8]})", self.request, self.argument);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::abi::{
        DeviceFeature, DmaUnmapFlags, FeatureFlags, FeatureId, IommuType1DmaMap, IommuType1DmaUnmap,
    };

    type Plain<'a> = Exchange<'a>;

    #[test]
    fn argsz_is_the_length_of_the_structure() {
        let mut unmap = IommuType1DmaUnmap {
            argsz: u32::MAX,
            ..Default::default()
        };
        let exchange = Plain::new(ExchangeRequest::UnmapDma, unmap.as_mut_bytes());
        assert!(exchange.is_ok());
        assert_eq!(unmap.argsz, 24);
    }

    #[test]
    fn a_structure_that_is_cut_short_is_refused() {
        let mut bytes = [0; 64];
        for request in [ExchangeRequest::SetIrqs, ExchangeRequest::UnmapDma] {
            let short = bytes.get_mut(..request.least() - 1).unwrap();
            assert_eq!(Plain::new(request, short).unwrap_err(), Errno::EINVAL);
        }
    }

    #[test]
    fn what_makes_the_kernel_follow_a_pointer_is_refused() {
        let mut map = IommuType1DmaMap::default();
        let refused = Plain::new(ExchangeRequest::MapDma, map.as_mut_bytes());
        assert_eq!(refused.unwrap_err(), Errno::EINVAL);

        let mut map = crate::wire::abi::IommuIoasMapFile::default();
        let refused = Plain::new(ExchangeRequest::IoasMapFile, map.as_mut_bytes());
        assert_eq!(refused.unwrap_err(), Errno::EINVAL);

        let flags = DmaUnmapFlags::GET_DIRTY_BITMAP;
        let mut unmap = IommuType1DmaUnmap {
            flags,
            ..Default::default()
        };
        let refused = Plain::new(ExchangeRequest::UnmapDma, unmap.as_mut_bytes());
        assert_eq!(refused.unwrap_err(), Errno::EINVAL);

        for (id, flags, allowed) in [
            (FeatureId::DMA_LOGGING_START, FeatureFlags::SET, false),
            (FeatureId::DMA_LOGGING_REPORT, FeatureFlags::GET, false),
            (FeatureId(99), FeatureFlags::GET, false),
            (FeatureId(99), FeatureFlags::GET | FeatureFlags::PROBE, true),
            (FeatureId::BUS_MASTER, FeatureFlags::GET, true),
            // It opens a file.
            (FeatureId::MIG_DEVICE_STATE, FeatureFlags::SET, false),
            (FeatureId::MIG_DEVICE_STATE, FeatureFlags::GET, true),
            (FeatureId::DMA_BUF, FeatureFlags::GET, false),
            // It names an event.
            (
                FeatureId::LOW_POWER_ENTRY_WITH_WAKEUP,
                FeatureFlags::SET,
                false,
            ),
            // A container would take it for GET_BITMAP.
            (FeatureId(4), FeatureFlags::empty(), false),
        ] {
            let flags = flags.with_feature(id);
            let mut feature = DeviceFeature {
                flags,
                ..Default::default()
            };
            let exchange = Plain::new(ExchangeRequest::Feature, feature.as_mut_bytes());
            assert_eq!(exchange.is_ok(), allowed, "{id} {flags}");
        }
    }

    #[test]
    fn the_shim_puts_in_the_pointer_and_the_length() {
        let mut map = IommuType1DmaMap {
            vaddr: 1,
            size: u64::MAX,
            ..Default::default()
        };
        let exchange = Plain::map(ExchangeRequest::MapDma, map.as_mut_bytes(), 0..4096).unwrap();
        let mut parts = exchange.into_parts();
        assert_eq!(parts.memory, 0..4096);
        parts.point(0x1000, 4096).unwrap();
        assert_eq!((map.vaddr, map.size), (0x1000, 4096));
    }
}
