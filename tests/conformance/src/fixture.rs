//! Replies captured from kernels and from a vfio-user server; `fixtures/FORMAT.txt` describes them.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use vfio_core::sys::Errno;

use crate::outcome::Kind;

/// An entry of the index.
#[derive(Clone, Debug, Deserialize)]
pub struct Fixture {
    /// The path below the directory of fixtures.
    pub file: String,
    /// Which kernel or server answered.
    pub source: String,
    /// Which device, or which of two with the same model.
    pub label: String,
    /// How the device was reached.
    pub via: String,
    /// The ioctl's name in linux/vfio.h.
    pub ioctl: String,
    /// The region or interrupt.
    pub index: Option<u32>,
    /// The argsz that was passed, in bytes.
    pub argsz_in: u32,
    /// What stood in the buffer before the call.
    pub prefill: String,
    /// The error number, 0 where there was none.
    pub errno: i32,
    /// Length of the file in bytes.
    pub file_len: usize,
    /// Which bytes the kernel changed.
    #[serde(default)]
    pub written: Vec<(usize, usize)>,
    /// What the reply means; nothing where the call failed.
    pub expected: Option<Value>,
}

/// Returns the directory of the fixtures.
#[must_use]
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// Returns the whole index.
///
/// # Panics
/// Where it can't be read.
#[must_use]
pub fn index() -> Vec<Fixture> {
    let text = fs::read(directory().join("index.json")).expect("the index of the fixtures");
    serde_json::from_slice(&text).expect("a valid index")
}

impl Fixture {
    /// Returns the ioctl.
    ///
    /// # Panics
    /// Where it is not an INFO ioctl.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.ioctl.as_str() {
            "VFIO_DEVICE_GET_INFO" => Kind::Device,
            "VFIO_DEVICE_GET_REGION_INFO" => Kind::Region,
            "VFIO_DEVICE_GET_IRQ_INFO" => Kind::Irq,
            "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO" => Kind::HotReset,
            "VFIO_IOMMU_GET_INFO" => Kind::Iommu,
            other => panic!("{}: {other}", self.file),
        }
    }

    /// Returns the result of the call.
    ///
    /// # Errors
    /// The error number that the kernel returned.
    pub const fn result(&self) -> Result<(), Errno> {
        match self.errno {
            0 => Ok(()),
            number => Err(Errno(number)),
        }
    }

    /// Returns the captured bytes.
    ///
    /// # Panics
    /// Where the file is missing or has another length than the index says.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let bytes = fs::read(directory().join(&self.file)).expect(&self.file);
        assert_eq!(bytes.len(), self.file_len, "{}", self.file);
        bytes
    }

    /// Returns the buffer as it was passed to the kernel.
    ///
    /// # Panics
    /// Where the index names an unknown filling.
    #[must_use]
    pub fn buffer_before(&self) -> Vec<u8> {
        let mut buffer = vec![0; usize::try_from(self.argsz_in).unwrap()];
        match self.prefill.as_str() {
            "5a" => buffer.fill(0x5a),
            "a5" => {
                // The fields that the kernel fills in were zero, cap_offset was not.
                let (fields, cap_offset) = match self.kind() {
                    Kind::Device | Kind::Iommu => (16, 0..0),
                    Kind::Region => (32, 12..16),
                    Kind::Irq => (16, 0..0),
                    Kind::HotReset => (12, 0..0),
                };
                for (at, byte) in buffer.iter_mut().enumerate() {
                    if at >= fields || cap_offset.contains(&at) {
                        *byte = 0xa5;
                    }
                }
            }
            other => panic!("{}: prefilled with {other}", self.file),
        }
        let passed = [Some((0, self.argsz_in)), self.index.map(|index| (8, index))];
        for (offset, value) in passed.into_iter().flatten() {
            buffer
                .iter_mut()
                .skip(offset)
                .zip(value.to_ne_bytes())
                .for_each(|(to, from)| *to = from);
        }
        buffer
    }
}
