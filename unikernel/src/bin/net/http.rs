//! HTTP/1.1: requests and answers (RFC 9112).

use heapless::Vec;
use httparse::{EMPTY_HEADER, Request, Status};

/// Bytes of a request that is taken: one that is longer is refused.
pub(crate) const REQUEST: usize = 2048;

/// Fields of a request that are looked at.
const FIELDS: usize = 32;

/// Bytes of the head of an answer, and of a page.
const HEAD: usize = 160;
const PAGE: usize = 160;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The page with counters.
    Counters,
    /// So many bytes.
    Bytes(u32),
    /// Something that there is not.
    Nothing,
}

/// A request that was understood, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It has not come whole.
    Part,
    /// It was asked for, in `len` bytes.
    Whole {
        len: usize,
        asked: Asked,
        /// The connection is to be closed behind the answer.
        closes: bool,
    },
    /// It makes no sense, or is too long.
    Broken,
}

/// An answer, and how much of it was sent.
#[derive(Debug)]
pub(crate) struct Answer {
    head: Vec<u8, HEAD>,
    page: Vec<u8, PAGE>,
    /// Bytes behind the head.
    len: u32,
    sent: usize,
    pub(crate) closes: bool,
}

/// Understands the bytes that came.
pub(crate) fn hear(bytes: &[u8]) -> Heard {
    let mut fields = [EMPTY_HEADER; FIELDS];
    let mut request = Request::new(&mut fields);
    let len = match request.parse(bytes) {
        Ok(Status::Complete(len)) => len,
        Ok(Status::Partial) if bytes.len() < REQUEST => return Heard::Part,
        Ok(Status::Partial) | Err(_) => return Heard::Broken,
    };
    // There are no requests with a body.
    let is_get = request.method == Some("GET");
    let has = |name: &str, value: &[u8]| {
        request.headers.iter().any(|field| {
            field.name.eq_ignore_ascii_case(name) && field.value.eq_ignore_ascii_case(value)
        })
    };
    let is_old = request.version == Some(0);
    let closes = has("connection", b"close") || is_old && !has("connection", b"keep-alive");
    let asked = match request.path {
        Some(path) if is_get => Asked::at(path),
        _ => Asked::Nothing,
    };
    Heard::Whole {
        len,
        asked,
        closes: closes || !is_get,
    }
}

impl Asked {
    /// Returns what is at a path: `/bytes/N`, or the page.
    fn at(path: &str) -> Self {
        match path.strip_prefix("/bytes/") {
            None if path == "/" => Self::Counters,
            None => Self::Nothing,
            Some(count) => count.parse().map_or(Self::Nothing, Self::Bytes),
        }
    }
}

impl Answer {
    /// Answers with so many bytes, or with nothing.
    pub(crate) fn new(asked: Asked, closes: bool, counters: &[(&str, u64)]) -> Self {
        let mut answer = Self {
            head: Vec::new(),
            page: Vec::new(),
            len: 0,
            sent: 0,
            closes,
        };
        let status = match asked {
            Asked::Nothing => "404 Not Found",
            Asked::Counters | Asked::Bytes(_) => "200 OK",
        };
        match asked {
            Asked::Nothing => (),
            Asked::Bytes(len) => answer.len = len,
            Asked::Counters => {
                for (name, count) in counters {
                    put(&mut answer.page, &[name, " "]);
                    put_number(&mut answer.page, *count);
                    put(&mut answer.page, &["\n"]);
                }
                answer.len = u32::try_from(answer.page.len()).unwrap_or(0);
            }
        }
        answer.begin(status);
        answer
    }

    /// Answers what makes no sense.
    pub(crate) fn broken() -> Self {
        let mut answer = Self::new(Asked::Nothing, true, &[]);
        answer.head.clear();
        answer.begin("400 Bad Request");
        answer
    }

    fn begin(&mut self, status: &str) {
        let head = &mut self.head;
        put(head, &["HTTP/1.1 ", status, "\r\nServer: vfio\r\n"]);
        put(head, &["Content-Type: text/plain\r\nContent-Length: "]);
        put_number(head, self.len.into());
        if self.closes {
            put(head, &["\r\nConnection: close"]);
        }
        put(head, &["\r\n\r\n"]);
    }

    /// Writes what comes next, and returns how many bytes that is.
    pub(crate) fn write(&mut self, place: &mut [u8]) -> usize {
        let whole = self.whole();
        let mut done = 0;
        while done < place.len() && self.sent < whole {
            let rest = place.get_mut(done..).unwrap_or_default();
            let len = self.write_part(rest);
            self.sent = self.sent.saturating_add(len);
            done = done.saturating_add(len);
        }
        done
    }

    /// Writes the rest of the head, or of what is behind it.
    fn write_part(&self, place: &mut [u8]) -> usize {
        let Some(at) = self.sent.checked_sub(self.head.len()) else {
            return copy(self.head.get(self.sent..), place);
        };
        if !self.page.is_empty() {
            return copy(self.page.get(at..), place);
        }
        let left = self.whole().saturating_sub(self.sent);
        let mut len = 0_usize;
        for (index, byte) in (at..).zip(place.iter_mut().take(left)) {
            *byte = pattern(index);
            len = len.saturating_add(1);
        }
        len
    }

    /// Tells whether all of it was written.
    pub(crate) fn is_over(&self) -> bool {
        self.sent >= self.whole()
    }

    fn whole(&self) -> usize {
        let len = usize::try_from(self.len).unwrap_or(usize::MAX);
        self.head.len().saturating_add(len)
    }
}

/// Returns the byte `index` of an answer of bytes.
fn pattern(index: usize) -> u8 {
    let [a, b, c, ..] = index.to_le_bytes();
    a ^ b ^ c
}

/// Copies what there is room for, and returns how many bytes that is.
fn copy(from: Option<&[u8]>, place: &mut [u8]) -> usize {
    let from = from.unwrap_or_default();
    place
        .iter_mut()
        .zip(from)
        .for_each(|(to, from)| *to = *from);
    from.len().min(place.len())
}

/// Appends texts as far as there is room.
fn put<const N: usize>(bytes: &mut Vec<u8, N>, texts: &[&str]) {
    for text in texts {
        let _ = bytes.extend_from_slice(text.as_bytes());
    }
}

/// Appends a number in decimal.
fn put_number<const N: usize>(bytes: &mut Vec<u8, N>, number: u64) {
    let mut digits = Vec::<u8, 20>::new();
    let mut rest = number;
    loop {
        let digit = u8::try_from(rest % 10).unwrap_or(0);
        let _ = digits.push(digit.wrapping_add(b'0'));
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    for digit in digits.iter().rev() {
        let _ = bytes.push(*digit);
    }
}
