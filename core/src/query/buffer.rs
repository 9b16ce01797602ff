//! The memory that replies are written to.

/// Memory for a reply, which the caller lends.
pub trait ReplyBuffer {
    /// Whether [`ReplyBuffer::grow`] can ever succeed.
    const GROWS: bool;

    /// Returns the memory as it is now.
    fn bytes(&mut self) -> &mut [u8];

    /// Makes room for `needed` bytes, and tells whether there now is more room than before and
    /// enough. If not, the memory stays as it is, with the reply that did not fit.
    fn grow(&mut self, needed: u64) -> bool;
}

impl ReplyBuffer for [u8] {
    const GROWS: bool = false;

    #[inline]
    fn bytes(&mut self) -> &mut [u8] {
        self
    }

    #[inline]
    fn grow(&mut self, _needed: u64) -> bool {
        false
    }
}

impl<const N: usize> ReplyBuffer for [u8; N] {
    const GROWS: bool = false;

    #[inline]
    fn bytes(&mut self) -> &mut [u8] {
        self
    }

    #[inline]
    fn grow(&mut self, _needed: u64) -> bool {
        false
    }
}

/// A small buffer for the common case, and a larger one for a reply that needs it.
///
/// Where many regions are asked about, the small one stays in the cache; no heap is needed for
/// the rare long chain.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Staged<'a> {
    now: &'a mut [u8],
    later: Option<&'a mut [u8]>,
}

impl<'a> Staged<'a> {
    /// Starts with `small`; `large` serves replies that don't fit it.
    #[must_use]
    pub const fn new(small: &'a mut [u8], large: &'a mut [u8]) -> Self {
        Self {
            now: small,
            later: Some(large),
        }
    }
}

impl ReplyBuffer for Staged<'_> {
    const GROWS: bool = true;

    #[inline]
    fn bytes(&mut self) -> &mut [u8] {
        self.now
    }

    fn grow(&mut self, needed: u64) -> bool {
        let room =
            |later: &mut &mut [u8]| u64::try_from(later.len()).is_ok_and(|len| len >= needed);
        match self.later.take_if(room) {
            Some(large) => {
                self.now = large;
                true
            }
            None => false,
        }
    }
}

/// A buffer on the heap that grows as replies need it, up to [`VEC_LIMIT`] bytes.
#[cfg(feature = "std")]
impl ReplyBuffer for std::vec::Vec<u8> {
    const GROWS: bool = true;

    fn bytes(&mut self) -> &mut [u8] {
        self
    }

    fn grow(&mut self, needed: u64) -> bool {
        match usize::try_from(needed) {
            Ok(len) if len > self.len() && len <= VEC_LIMIT => {
                self.resize(len, 0);
                true
            }
            _ => false,
        }
    }
}

/// How far a `Vec<u8>` grows: a hostile reply can ask for 4 GiB, and no real chain comes near
/// 64 KiB. It also bounds the time that sparse areas in no order take, which is quadratic.
#[cfg(feature = "std")]
pub const VEC_LIMIT: usize = 1 << 16;
