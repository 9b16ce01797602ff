//! The reader and the writer of chains.

use core::hint::black_box;

use vfio_core::wire::chain::{Align, Capability, Chain, ChainError, Writer};
use vfio_freestanding::opaque::{any, used};

pub(crate) fn all(bytes: &mut [u8]) {
    match Chain::parse(bytes, any(), any()) {
        Ok(chain) => {
            used(Chain::is_empty(&chain));
            for capability in Chain::iter(&chain) {
                used(Capability::body(&capability));
                used(capability);
            }
            chain.into_iter().for_each(used);
            for capability in &chain {
                used(capability);
            }
        }
        Err(error) => {
            used(ChainError::offset(&error));
            used(error);
        }
    }
    for align in black_box([Align::Packed, Align::Eight]) {
        let mut writer = Writer::new(bytes, any(), align);
        let (a, b) = black_box(([1; 3], [2; 40]));
        used(Writer::push(&mut writer, any(), any(), &[]));
        used(Writer::push(
            &mut writer,
            any(),
            any(),
            black_box(&[&a, &b]),
        ));
        used((Writer::len(&writer), Writer::is_empty(&writer)));
    }
}
