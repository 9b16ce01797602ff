//! Replies made byte by byte, well-formed or not, without the writer under test.

use crate::outcome::Kind;

/// The flag that announces a chain, which each structure has in its own place.
const CAPS: [(Kind, u32); 3] = [
    (Kind::Device, 1 << 7),
    (Kind::Region, 1 << 3),
    (Kind::Iommu, 1 << 1),
];

/// A reply in the making.
#[derive(Clone, Debug)]
pub struct Reply {
    kind: Kind,
    bytes: Vec<u8>,
}

impl Reply {
    /// The index that replies for a region or an interrupt are for.
    pub const INDEX: u32 = 5;

    /// The size that replies for a region give it, in bytes.
    pub const REGION_SIZE: u64 = 0x10000;

    /// Creates a reply of `len` bytes, at least the structure, without capabilities. Behind the
    /// structure stand bytes that make no sense as a link.
    #[must_use]
    pub fn new(kind: Kind, len: u32) -> Self {
        let mut bytes = vec![0xa5; usize::try_from(len).unwrap()];
        bytes[..usize::try_from(kind.size()).unwrap()].fill(0);
        let reply = Self { kind, bytes }.argsz(len);
        match kind {
            Kind::Device => reply.word(4, 1 << 1).word(8, 9).word(12, 5),
            Kind::Region => reply
                .word(4, 0b111)
                .word(8, Self::INDEX)
                .long(16, Self::REGION_SIZE)
                .long(24, 5 << 40),
            Kind::Iommu => reply.word(4, 1).long(8, 0x4020_1000),
            Kind::Irq => reply.word(4, 1).word(8, Self::INDEX).word(12, 3),
            Kind::HotReset => reply,
        }
    }

    /// Sets argsz.
    #[must_use]
    pub fn argsz(self, argsz: u32) -> Self {
        self.word(0, argsz)
    }

    /// Sets `cap_offset`, without the flag.
    ///
    /// # Panics
    /// Where the structure has none.
    #[must_use]
    pub fn cap_offset(self, offset: u32) -> Self {
        let at = match self.kind {
            Kind::Region => 12,
            Kind::Device | Kind::Iommu => 16,
            other => panic!("{other:?} has no capabilities"),
        };
        self.word(at, offset)
    }

    /// Announces a chain that starts at `first`.
    ///
    /// # Panics
    /// Where the structure has none.
    #[must_use]
    pub fn chain(self, first: u32) -> Self {
        let (_, caps) = CAPS
            .into_iter()
            .find(|(kind, _)| *kind == self.kind)
            .expect("a structure with capabilities");
        let flags = u32::from_ne_bytes(self.bytes[4..8].try_into().unwrap());
        self.word(4, flags | caps).cap_offset(first)
    }

    /// Writes as much of a header as fits.
    #[must_use]
    pub fn header(self, offset: u32, id: u16, version: u16, next: u32) -> Self {
        self.put(offset, &id.to_ne_bytes())
            .put(offset + 2, &version.to_ne_bytes())
            .put(offset + 4, &next.to_ne_bytes())
    }

    /// Writes a header and a body behind it.
    #[must_use]
    pub fn capability(self, offset: u32, id: u16, version: u16, next: u32, body: &[u8]) -> Self {
        self.header(offset, id, version, next).put(offset + 8, body)
    }

    /// Writes a `u32` field.
    #[must_use]
    pub fn word(self, offset: u32, value: u32) -> Self {
        self.put(offset, &value.to_ne_bytes())
    }

    /// Writes a `u64` field.
    #[must_use]
    pub fn long(self, offset: u32, value: u64) -> Self {
        self.put(offset, &value.to_ne_bytes())
    }

    /// Returns the bytes.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn put(mut self, offset: u32, bytes: &[u8]) -> Self {
        let start = usize::try_from(offset).unwrap();
        self.bytes
            .iter_mut()
            .skip(start)
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
        self
    }
}
