//! The typed capabilities.

use core::hint::black_box;

use vfio_core::wire::abi::{IovaRange, PciDependentDevice, RegionSparseMmapArea};
use vfio_core::wire::caps::{
    Array, CapError, Caps, DeviceCap, IommuCap, RegionCap, RegionKind, SparseMmap, Typed,
};
use vfio_core::wire::chain::{Align, Chain, Writer};
use vfio_freestanding::opaque::{any, used};

pub(crate) fn all(bytes: &mut [u8]) {
    let (bytes, output) = bytes.split_at_mut_checked(any()).unwrap_or_default();
    typed::<DeviceCap<'_>>(bytes, output);
    typed::<IommuCap<'_>>(bytes, output);
    typed::<RegionCap<'_>>(bytes, output);
    arrays(bytes);
    sparse(bytes);
    let kind = RegionKind::new(any(), any());
    used((RegionKind::type_(kind), RegionKind::subtype(kind)));
    used(RegionKind::name(kind));
}

/// Parses, compares and writes a set of capabilities.
fn typed<'a, C: Typed<'a> + Copy + PartialEq>(bytes: &'a [u8], output: &mut [u8]) {
    used(Caps::<C>::is_empty(&Caps::EMPTY));
    match Caps::<C>::parse(bytes, any(), any()) {
        Ok(caps) => {
            used(Caps::is_empty(&caps));
            used(Caps::chain(&caps));
            used(caps == black_box(caps));
            caps.into_iter().for_each(used);
            for cap in &caps {
                used(cap);
            }
            for cap in Caps::iter(&caps) {
                written(&cap, output);
            }
        }
        Err(error) => {
            used(CapError::offset(&error));
            used(error);
        }
    }
    // The parser alone, on what no list has checked.
    for raw in Chain::parse(bytes, any(), any()).into_iter().flatten() {
        used(<C as Typed>::is_known(raw.id, raw.version));
        match <C as Typed>::parse(&raw) {
            Ok(cap) => written(&cap, output),
            Err(error) => used((CapError::offset(&error), error)),
        }
    }
}

fn written<'a, C: Typed<'a>>(cap: &C, output: &mut [u8]) {
    for align in black_box([Align::Packed, Align::Eight]) {
        let mut writer = Writer::new(output, any(), align);
        used(<C as Typed>::emit(cap, &mut writer));
    }
}

fn arrays(bytes: &[u8]) {
    if let Some(array) = Array::<PciDependentDevice>::from_prefix(bytes, any()) {
        used((Array::len(&array), Array::is_empty(&array)));
        used(Array::get(&array, any()));
        used(array == black_box(array));
        Array::iter(&array).for_each(used);
        array.into_iter().for_each(used);
    }
    let ranges: [IovaRange; 3] = any();
    used(Array::as_bytes(&Array::new(&ranges)));
}

fn sparse(bytes: &[u8]) {
    if let Some(areas) = Array::from_prefix(bytes, any()) {
        used(SparseMmap::check(&SparseMmap { areas }, any()));
    }
    let areas: [RegionSparseMmapArea; 3] = any();
    used(SparseMmap::check(&SparseMmap::new(&areas), any()));
}
