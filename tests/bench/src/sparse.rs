//! Long sparse chains: what an area costs, against copying its bytes.

use core::hint::black_box;

use anyhow::{Result, anyhow, ensure};
use serde::Serialize;
use vfio_core::sys::{InfoRequest, put_argsz};
use vfio_core::wire::abi::{RegionFlags, RegionSparseMmapArea};
use vfio_core::wire::caps::{Array, RegionCap, SparseMmap};
use vfio_core::wire::info::RegionInfo;
use vfio_core::wire::server::{DeviceReply, RegionReply};

use crate::time;

/// How many areas the chains have.
const LENGTHS: [u32; 5] = [1, 10, 100, 1_000, 4_000];

/// A chain of `areas` areas.
#[derive(Serialize)]
pub(crate) struct Row {
    areas: u32,
    /// Nanoseconds to check the reply, every area included.
    decode: f64,
    /// Nanoseconds to copy the reply's bytes, by `memcpy`.
    copy: f64,
    /// Nanoseconds to copy the areas one by one, as typed values.
    elements: f64,
}

/// A reply, and room for copies of it.
struct Case {
    reply: Vec<u8>,
    copy: Vec<u8>,
    elements: Vec<RegionSparseMmapArea>,
    whole: bool,
}

/// Measures each length.
///
/// # Errors
///
/// A chain can't be made, or is refused.
pub(crate) fn rows() -> Result<Vec<Row>> {
    LENGTHS
        .into_iter()
        .map(|areas| {
            let mut case = Case::new(areas)?;
            let decode = time::median(&mut case, Case::decode, |_| ());
            let copy = time::median(&mut case, Case::copy, |_| ());
            let elements = time::median(&mut case, Case::copy_elements, |_| ());
            case.check(areas)?;
            Ok(Row {
                areas,
                decode,
                copy,
                elements,
            })
        })
        .collect()
}

/// Checks one chain, for valgrind to count.
///
/// # Errors
///
/// As for [`rows`].
pub(crate) fn once(areas: u32) -> Result<()> {
    let mut case = Case::new(areas)?;
    case.decode();
    case.check(areas)
}

impl Case {
    fn new(areas: u32) -> Result<Self> {
        let list: Vec<RegionSparseMmapArea> = (0..areas)
            .map(|n| RegionSparseMmapArea {
                offset: u64::from(n) * 0x2000,
                size: 0x1000,
            })
            .collect();
        let caps = [RegionCap::SparseMmap(SparseMmap::new(&list))];
        let region = RegionReply {
            flags: RegionFlags::MMAP,
            size: u64::from(areas) * 0x2000,
            offset: 0,
            caps: &caps,
        };
        let device = DeviceReply {
            regions: &[Some(region)],
            ..DeviceReply::default()
        };
        let mut reply = vec![0; 48 + 16 * list.len()];
        put_argsz(&mut reply)
            .and_then(|()| device.answer(InfoRequest::Region, &mut reply))
            .map_err(|errno| anyhow!("{areas} areas: {errno}"))?;
        Ok(Self {
            copy: vec![0; reply.len()],
            elements: vec![RegionSparseMmapArea::default(); list.len()],
            reply,
            whole: false,
        })
    }

    fn decode(&mut self) {
        self.whole = measured_sparse(&self.reply);
    }

    fn copy(&mut self) {
        self.copy.copy_from_slice(black_box(&self.reply));
        black_box(&mut self.copy);
    }

    /// Copies one by one, and not by `memcpy`: each is read, and what was read is looked at.
    fn copy_elements(&mut self) {
        let areas = Array::<RegionSparseMmapArea>::from_prefix(
            black_box(&self.reply).get(48..).unwrap_or_default(),
            u32::try_from(self.elements.len()).unwrap_or(u32::MAX),
        );
        let sum =
            areas
                .into_iter()
                .flatten()
                .zip(&mut self.elements)
                .fold(0, |sum: u64, (from, to)| {
                    *to = from;
                    sum.wrapping_add(from.size)
                });
        black_box((sum, &mut self.elements));
    }

    fn check(&self, areas: u32) -> Result<()> {
        ensure!(self.whole, "the chain of {areas} areas is refused");
        Ok(())
    }
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "Rust" fn measured_sparse(reply: &[u8]) -> bool {
    let info = RegionInfo::decode(black_box(reply));
    let whole = info.is_ok();
    let _ = black_box(info);
    whole
}
