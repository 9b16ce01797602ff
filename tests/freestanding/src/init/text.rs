//! Text without formatting: `core::fmt` can panic as far as a compiler can tell.

/// A short text; what does not fit is left out. None of it needs escaping in JSON.
#[derive(Clone)]
pub(crate) struct Text {
    bytes: [u8; 256],
    len: usize,
}

impl Text {
    pub(crate) const fn new() -> Self {
        Self {
            bytes: [0; 256],
            len: 0,
        }
    }

    /// Returns the bytes that were written.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }

    /// Adds `text`.
    pub(crate) fn and(self, text: &str) -> Self {
        self.and_bytes(text.as_bytes())
    }

    /// Adds `bytes`.
    pub(crate) fn and_bytes(mut self, bytes: &[u8]) -> Self {
        let room = self.bytes.iter_mut().skip(self.len);
        for (to, from) in room.zip(bytes) {
            *to = *from;
            self.len = self.len.saturating_add(1);
        }
        self
    }

    /// Adds `number`.
    pub(crate) fn decimal(self, number: u64) -> Self {
        self.digits::<10>(number)
    }

    /// Adds `number` in hexadecimal.
    pub(crate) fn hexadecimal(self, number: u64) -> Self {
        self.and("0x").digits::<16>(number)
    }

    fn digits<const BASE: u64>(self, mut number: u64) -> Self {
        let mut digits = [0; 20];
        let mut used = 0_usize;
        for digit in digits.iter_mut().rev() {
            let low = u8::try_from(number % BASE).unwrap_or(0);
            *digit = if low < 10 {
                b'0'.wrapping_add(low)
            } else {
                b'a'.wrapping_add(low).wrapping_sub(10)
            };
            used = used.saturating_add(1);
            number /= BASE;
            if number == 0 {
                break;
            }
        }
        let start = digits.len().saturating_sub(used);
        self.and_bytes(digits.get(start..).unwrap_or(&[]))
    }
}
