//! Which chains of descriptors the device has: the driver's own knowledge, out of its reach.

/// A chain of descriptors, by its first one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Chain {
    /// The device does not have it.
    #[default]
    Free,
    /// The device has it.
    UnderWay {
        /// What the driver knows it by.
        token: u16,
        /// Descriptors in it.
        links: u16,
        /// Bytes that the device may write.
        writable: u32,
    },
}

/// The chains of a virtqueue of up to `N` entries.
#[derive(Debug)]
pub(super) struct Chains<const N: usize> {
    chains: [Chain; N],
    /// The descriptor behind each: of a chain, or of those that are free.
    next: [u16; N],
    /// The first free descriptor.
    first: u16,
    /// How many are free.
    free: u16,
    /// How many chains the device has.
    under_way: u16,
}

/// A chain that the device was done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) token: u16,
    pub(super) writable: u32,
    links: u16,
}

impl<const N: usize> Chains<N> {
    /// Creates chains of which all `size` descriptors are free.
    pub(super) fn new(size: u16) -> Self {
        let mut next = [0; N];
        for (next, behind) in next.iter_mut().zip(1..) {
            *next = behind;
        }
        Self {
            chains: [Chain::Free; N],
            next,
            first: 0,
            free: size,
            under_way: 0,
        }
    }

    #[inline(always)]
    pub(super) const fn free(&self) -> u16 {
        self.free
    }

    #[inline(always)]
    pub(super) const fn under_way(&self) -> u16 {
        self.under_way
    }

    /// Returns the first free descriptor.
    #[inline(always)]
    pub(super) const fn first(&self) -> u16 {
        self.first
    }

    /// Returns the descriptor behind one.
    #[inline(always)]
    pub(super) fn behind(&self, index: u16) -> u16 {
        self.next.get(usize::from(index)).copied().unwrap_or(0)
    }

    /// Gives the first `links` free descriptors to the device, the last of which is `last`.
    #[inline(always)]
    pub(super) fn begin(&mut self, token: u16, links: u16, last: u16, writable: u32) {
        if let Some(chain) = self.chains.get_mut(usize::from(self.first)) {
            *chain = Chain::UnderWay {
                token,
                links,
                writable,
            };
        }
        self.first = self.behind(last);
        self.free = self.free.wrapping_sub(links);
        self.under_way = self.under_way.wrapping_add(1);
    }

    /// Returns what is known of the chain that begins at `id`, if the device has one there.
    #[inline(always)]
    pub(super) fn known(&self, id: u32) -> Option<Ended> {
        match self.chains.get(usize::try_from(id).ok()?)? {
            Chain::Free => None,
            Chain::UnderWay {
                token,
                links,
                writable,
            } => Some(Ended {
                token: *token,
                writable: *writable,
                links: *links,
            }),
        }
    }

    /// Takes the descriptors of a chain back, which begins at `id`.
    #[inline(always)]
    pub(super) fn end(&mut self, id: u16, ended: Ended) {
        if let Some(chain) = self.chains.get_mut(usize::from(id)) {
            *chain = Chain::Free;
        }
        let mut last = id;
        for _ in 1..ended.links {
            last = self.behind(last);
        }
        if let Some(next) = self.next.get_mut(usize::from(last)) {
            *next = self.first;
        }
        self.first = id;
        self.free = self.free.wrapping_add(ended.links);
        self.under_way = self.under_way.wrapping_sub(1);
    }
}
