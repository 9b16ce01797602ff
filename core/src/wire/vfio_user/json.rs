//! A reader of JSON (RFC 8259), token by token, without recursion and memory.
//!
//! It is for the few numbers of a version: strings are compared as they stand, escapes and all, and
//! numbers are kept where they are whole and not negative.

use heapless::Vec;

/// How deep arrays and objects may be nested.
pub(super) const DEPTH: usize = 8;

/// What is wrong with JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum JsonFault {
    /// A byte that may not stand there.
    Unexpected,
    /// It ends too early.
    Ended,
    /// It is nested deeper than 8 times.
    Deep,
}

/// A piece of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// The name of a value in an object, which follows.
    Key(&'a [u8]),
    /// An object begins.
    Object,
    /// An array begins.
    Array,
    /// An object or an array ends.
    End,
    /// A number that is whole and not negative.
    Whole(u64),
    /// `true` or `false`.
    Bool(bool),
    /// Any other value.
    Other,
}

/// What JSON is taken apart by.
pub(super) struct Json<'a> {
    text: &'a [u8],
    at: usize,
    nested: Vec<Nest, DEPTH>,
    next: Next,
}

/// What is open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nest {
    Object,
    Array,
}

/// What may come next.
#[derive(Clone, Copy)]
enum Next {
    Value,
    /// A value, or the end of an array that has none yet.
    FirstValue,
    Key,
    /// A key, or the end of an object that has none yet.
    FirstKey,
    /// A comma, or the end of what is open.
    Comma,
    /// Nothing but white space.
    Nothing,
}

type Result<T> = core::result::Result<T, JsonFault>;

impl<'a> Json<'a> {
    pub(super) const fn new(text: &'a [u8]) -> Self {
        Self {
            text,
            at: 0,
            nested: Vec::new(),
            next: Next::Value,
        }
    }

    /// Returns where the last token ended, or what is wrong stands.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// Returns the next token; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Token<'a>>> {
        self.skip_space();
        match self.next {
            Next::Nothing if self.at >= self.text.len() => Ok(None),
            Next::Nothing => Err(JsonFault::Unexpected),
            Next::Value => self.value().map(Some),
            Next::FirstValue => self.close_or(b']', Self::value).map(Some),
            Next::Key => self.key().map(Some),
            Next::FirstKey => self.close_or(b'}', Self::key).map(Some),
            Next::Comma => self.comma().map(Some),
        }
    }

    /// Reads the end of what is open, or what else may be there.
    fn close_or(
        &mut self,
        end: u8,
        otherwise: fn(&mut Self) -> Result<Token<'a>>,
    ) -> Result<Token<'a>> {
        if self.take(end) {
            Ok(self.close())
        } else {
            otherwise(self)
        }
    }

    /// Reads what follows a value in an object or an array.
    fn comma(&mut self) -> Result<Token<'a>> {
        let (end, next) = match self.nested.last() {
            Some(Nest::Object) => (b'}', Next::Key),
            Some(Nest::Array) | None => (b']', Next::Value),
        };
        if self.take(end) {
            return Ok(self.close());
        }
        self.expect(b',')?;
        self.skip_space();
        self.next = next;
        match next {
            Next::Key => self.key(),
            _ => self.value(),
        }
    }

    fn key(&mut self) -> Result<Token<'a>> {
        self.expect(b'"')?;
        let key = self.string()?;
        self.skip_space();
        self.expect(b':')?;
        self.next = Next::Value;
        Ok(Token::Key(key))
    }

    fn value(&mut self) -> Result<Token<'a>> {
        let token = match self.peek().ok_or(JsonFault::Ended)? {
            b'{' => return self.open(Nest::Object),
            b'[' => return self.open(Nest::Array),
            b'"' => {
                self.advance(1);
                self.string()?;
                Token::Other
            }
            b't' => self.word(b"true", Token::Bool(true))?,
            b'f' => self.word(b"false", Token::Bool(false))?,
            b'n' => self.word(b"null", Token::Other)?,
            b'-' | b'0'..=b'9' => self.number()?,
            _ => return Err(JsonFault::Unexpected),
        };
        self.ended_value();
        Ok(token)
    }

    fn open(&mut self, nest: Nest) -> Result<Token<'a>> {
        self.nested.push(nest).map_err(|_| JsonFault::Deep)?;
        self.advance(1);
        let (next, token) = match nest {
            Nest::Object => (Next::FirstKey, Token::Object),
            Nest::Array => (Next::FirstValue, Token::Array),
        };
        self.next = next;
        Ok(token)
    }

    fn close(&mut self) -> Token<'a> {
        let _ = self.nested.pop();
        self.ended_value();
        Token::End
    }

    fn ended_value(&mut self) {
        self.next = if self.nested.is_empty() {
            Next::Nothing
        } else {
            Next::Comma
        };
    }

    /// Reads a string behind its first quotation mark.
    fn string(&mut self) -> Result<&'a [u8]> {
        let start = self.at;
        loop {
            match self.peek().ok_or(JsonFault::Ended)? {
                b'"' => {
                    let string = self.text.get(start..self.at).unwrap_or_default();
                    self.advance(1);
                    return Ok(string);
                }
                b'\\' => self.escape()?,
                0..0x20 => return Err(JsonFault::Unexpected),
                _ => self.advance(1),
            }
        }
    }

    fn escape(&mut self) -> Result<()> {
        self.advance(1);
        let digits = match self.peek().ok_or(JsonFault::Ended)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 0,
            b'u' => 4,
            _ => return Err(JsonFault::Unexpected),
        };
        self.advance(1);
        for _ in 0..digits {
            if !self.peek().ok_or(JsonFault::Ended)?.is_ascii_hexdigit() {
                return Err(JsonFault::Unexpected);
            }
            self.advance(1);
        }
        Ok(())
    }

    fn word(&mut self, word: &[u8], token: Token<'a>) -> Result<Token<'a>> {
        for byte in word {
            self.expect(*byte)?;
        }
        Ok(token)
    }

    fn number(&mut self) -> Result<Token<'a>> {
        let is_negative = self.take(b'-');
        let whole = if self.take(b'0') {
            Some(0)
        } else {
            self.digits()?
        };
        let mut token = whole
            .filter(|_| !is_negative)
            .map_or(Token::Other, Token::Whole);
        if self.take(b'.') {
            self.digits()?;
            token = Token::Other;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
            token = Token::Other;
        }
        Ok(token)
    }

    /// Reads digits, one at least; none is returned of a number that 64 bits don't hold.
    fn digits(&mut self) -> Result<Option<u64>> {
        let mut value = Some(0_u64);
        let mut any = false;
        while let Some(byte @ b'0'..=b'9') = self.peek() {
            let digit = u64::from(byte.saturating_sub(b'0'));
            value = value
                .and_then(|value| value.checked_mul(10))
                .and_then(|value| value.checked_add(digit));
            any = true;
            self.advance(1);
        }
        match (any, self.peek()) {
            (true, _) => Ok(value),
            (false, None) => Err(JsonFault::Ended),
            (false, Some(_)) => Err(JsonFault::Unexpected),
        }
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.advance(1);
        }
    }

    fn expect(&mut self, byte: u8) -> Result<()> {
        match self.peek() {
            _ if self.take(byte) => Ok(()),
            None => Err(JsonFault::Ended),
            Some(_) => Err(JsonFault::Unexpected),
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        if is_there {
            self.advance(1);
        }
        is_there
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    const fn advance(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::string::String;

    use super::*;

    fn read(text: &[u8]) -> core::result::Result<usize, (JsonFault, usize)> {
        let mut json = Json::new(text);
        let mut tokens = 0;
        loop {
            match json.next() {
                Ok(Some(_)) => tokens += 1,
                Ok(None) => return Ok(tokens),
                Err(fault) => return Err((fault, json.at())),
            }
        }
    }

    #[test]
    fn what_is_json_is_read_to_its_end() {
        for (text, tokens) in [
            ("{}", 2),
            (" [ ] ", 2),
            (
                r#"{"a":[1,-2,3.5,4e9,"x\"\u00e9",true,false,null],"b":{"c":{}}}"#,
                19,
            ),
            ("0", 1),
            (r#""""#, 1),
            ("[[[[[[[[]]]]]]]]", 16),
        ] {
            assert_eq!(read(text.as_bytes()), Ok(tokens), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_told_where_it_goes_wrong() {
        for (text, fault, at) in [
            ("", JsonFault::Ended, 0),
            ("{", JsonFault::Ended, 1),
            ("{]", JsonFault::Unexpected, 1),
            (r#"{"a"}"#, JsonFault::Unexpected, 4),
            (r#"{"a":1,}"#, JsonFault::Unexpected, 7),
            ("[1,]", JsonFault::Unexpected, 3),
            ("[1 2]", JsonFault::Unexpected, 3),
            ("01", JsonFault::Unexpected, 1),
            ("-", JsonFault::Ended, 1),
            ("1.", JsonFault::Ended, 2),
            ("tru", JsonFault::Ended, 3),
            ("\"\n\"", JsonFault::Unexpected, 1),
            (r#""\x""#, JsonFault::Unexpected, 2),
            (r#""\u12g4""#, JsonFault::Unexpected, 5),
            ("{} {}", JsonFault::Unexpected, 3),
            ("[[[[[[[[[", JsonFault::Deep, 8),
        ] {
            assert_eq!(read(text.as_bytes()), Err((fault, at)), "{text}");
        }
    }

    #[test]
    fn numbers_are_kept_where_they_are_whole() {
        for (text, token) in [
            ("18446744073709551615", Token::Whole(u64::MAX)),
            ("18446744073709551616", Token::Other),
            ("-1", Token::Other),
            ("1.0", Token::Other),
            ("1e3", Token::Other),
            ("4096", Token::Whole(4096)),
        ] {
            assert_eq!(Json::new(text.as_bytes()).next(), Ok(Some(token)), "{text}");
        }
    }

    #[test]
    fn nesting_takes_no_stack() {
        let text: String = core::iter::repeat_n('[', 1 << 20).collect();
        assert_eq!(read(text.as_bytes()), Err((JsonFault::Deep, DEPTH)));
    }
}
