//! JSON read token by token from where it stands, each byte once (RFC 8259). Strict, without recursion; numbers are never rounded.
//!
//! # Decisions
//! - serde_json's `RawValue` reads a value to find its end and leaves it to be read again, checks each for UTF-8 by itself, and
//!   goes through a visitor per object: with it a record took 1.42 times the CPU. It is what the tests compare with.
//! - The whole text is checked for UTF-8 first, in one go, so a record with broken bytes where nothing is wanted is poison too.

use super::token;
use crate::decode::slot::{Scratch, Slot};
use crate::fault::{Code, Fault};
use std::borrow::Cow;

/// What is wrong with a text, where the scanner stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken(&'static str);

/// It is JSON, but not what should stand there.
pub const OTHER_FORM: Broken = Broken("a part has another form than the envelope or schema says");
/// Two fields of one name.
pub const TWICE: Broken = Broken("a field stands twice");
const SYNTAX: Broken = Broken("the text is no JSON");
const END: Broken = Broken("the text ends too early");
const NO_UNICODE: Broken = Broken("an escape is no Unicode");

/// A text and how far it is read.
#[derive(Debug)]
pub struct Scanner<'r> {
    text: &'r str,
    at: usize,
}

/// A text between its quotes, escapes and all.
#[derive(Clone, Copy)]
struct Quoted<'r> {
    inside: &'r str,
    escaped: bool,
}

impl<'r> Scanner<'r> {
    /// Starts at the first byte.
    #[must_use]
    pub fn new(text: &'r str) -> Self {
        Self { text, at: 0 }
    }

    /// The fault of what went wrong last.
    #[cold]
    #[must_use]
    pub fn fault(&self, Broken(what): Broken) -> Fault {
        fault(self.text.as_bytes(), what, self.at)
    }

    /// The first byte of the next token, which stays.
    ///
    /// # Errors
    /// [`Broken`] at the end of the text.
    #[inline]
    pub fn peek(&mut self) -> Result<u8, Broken> {
        loop {
            match self.text.as_bytes().get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(byte) => return Ok(*byte),
                None => return Err(END),
            }
        }
    }

    /// Nothing but white space may be left.
    ///
    /// # Errors
    /// [`Broken`] when something is.
    pub fn finish(&mut self) -> Result<(), Broken> {
        if self.peek() == Err(END) { Ok(()) } else { Err(SYNTAX) }
    }

    /// The name of the object's next field, its colon read; `None` behind the last one. `first` is true at the object's
    /// opening brace and false from then on.
    ///
    /// # Errors
    /// [`Broken`] where the text is no object.
    #[inline]
    pub fn name(&mut self, first: &mut bool) -> Result<Option<Cow<'r, str>>, Broken> {
        let opened = std::mem::replace(first, false);
        if opened {
            self.at += 1;
        }
        match self.peek()? {
            b'}' => {
                self.at += 1;
                return Ok(None);
            }
            b',' if !opened => {
                self.at += 1;
                self.peek()?;
            }
            _ if opened => {}
            _ => return Err(SYNTAX),
        }
        let name = self.quoted()?;
        self.colon()?;
        if !name.escaped {
            return Ok(Some(Cow::Borrowed(name.inside)));
        }
        let mut unescaped = String::new();
        token::unescape(name.inside, &mut unescaped).ok_or(NO_UNICODE)?;
        Ok(Some(Cow::Owned(unescaped)))
    }

    #[inline]
    fn colon(&mut self) -> Result<(), Broken> {
        if self.peek()? != b':' {
            return Err(SYNTAX);
        }
        self.at += 1;
        Ok(())
    }

    /// Reads one value into a slot; arrays and objects are skipped and handed out as their text. Escaped text goes to
    /// [`Scratch::text`].
    ///
    /// # Errors
    /// [`Broken`] where no value stands, or an escape is no Unicode.
    #[inline]
    pub fn slot(&mut self, scratch: &mut Scratch) -> Result<Slot<'r>, Broken> {
        Ok(match self.peek()? {
            b'"' => {
                let quoted = self.quoted()?;
                if !quoted.escaped {
                    return Ok(Slot::Text(quoted.inside));
                }
                let at = u32::try_from(scratch.text.len()).map_err(|_| OTHER_FORM)?;
                token::unescape(quoted.inside, &mut scratch.text).ok_or(NO_UNICODE)?;
                let end = u32::try_from(scratch.text.len()).map_err(|_| OTHER_FORM)?;
                Slot::Unescaped { at, len: end.saturating_sub(at) }
            }
            b'{' | b'[' => Slot::Nested(self.raw()?.as_bytes()),
            b'n' => self.literal("null", Slot::Null)?,
            b't' => self.literal("true", Slot::Bool(true))?,
            b'f' => self.literal("false", Slot::Bool(false))?,
            _ => self.number()?,
        })
    }

    /// The text of one value, which is skipped.
    ///
    /// # Errors
    /// As [`Scanner::skip`].
    pub fn raw(&mut self) -> Result<&'r str, Broken> {
        self.peek()?;
        let start = self.at;
        self.skip()?;
        Ok(self.since(start))
    }

    /// How far the text is read, in bytes.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// Goes back to where it was.
    pub fn back_to(&mut self, at: usize) {
        self.at = at;
    }

    /// Takes this very text; `false` when another comes, which stays.
    #[inline]
    pub fn take_same(&mut self, same: &str) -> bool {
        let taken = self
            .text
            .as_bytes()
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(same.as_bytes()));
        self.at += if taken { same.len() } else { 0 };
        taken
    }

    /// The text from there up to here.
    #[must_use]
    pub fn since(&self, start: usize) -> &'r str {
        // Both ends are at ASCII, so they are ends of characters.
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// Skips one value, as strictly as reading it, except that escaped surrogates need not be pairs.
    ///
    /// # Errors
    /// [`Broken`] where no value stands.
    pub fn skip(&mut self) -> Result<(), Broken> {
        let mut open = Open::default();
        loop {
            match self.peek()? {
                b'"' => drop(self.quoted()?),
                b'{' => {
                    self.at += 1;
                    if self.peek()? != b'}' {
                        open.push(true);
                        self.quoted()?;
                        self.colon()?;
                        continue;
                    }
                    self.at += 1;
                }
                b'[' => {
                    self.at += 1;
                    if self.peek()? != b']' {
                        open.push(false);
                        continue;
                    }
                    self.at += 1;
                }
                b'n' => self.literal("null", ())?,
                b't' => self.literal("true", ())?,
                b'f' => self.literal("false", ())?,
                _ => drop(self.number()?),
            }
            // A value has ended, and with it perhaps what it is in.
            loop {
                if open.depth == 0 {
                    return Ok(());
                }
                match (self.peek()?, open.is_object()) {
                    (b',', is_object) => {
                        self.at += 1;
                        if is_object {
                            self.peek()?;
                            self.quoted()?;
                            self.colon()?;
                        }
                        break;
                    }
                    (b'}', true) | (b']', false) => {
                        self.at += 1;
                        open.pop();
                    }
                    _ => return Err(SYNTAX),
                }
            }
        }
    }

    #[inline]
    fn literal<T>(&mut self, word: &str, meaning: T) -> Result<T, Broken> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if rest.starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(meaning);
        }
        Err(if word.as_bytes().starts_with(rest) { END } else { SYNTAX })
    }

    /// A text, of whose quotes the first comes next.
    #[inline]
    fn quoted(&mut self) -> Result<Quoted<'r>, Broken> {
        let bytes = self.text.as_bytes();
        if bytes.get(self.at) != Some(&b'"') {
            return Err(SYNTAX);
        }
        let start = self.at + 1;
        let mut escaped = false;
        let mut at = start;
        loop {
            at = special(bytes, at);
            match bytes.get(at) {
                Some(b'"') => {
                    let inside = self.text.get(start..at).unwrap_or_default();
                    self.at = at + 1;
                    return Ok(Quoted { inside, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    let escape = bytes.get(at + 1..).unwrap_or_default();
                    at += match escape {
                        [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
                        [b'u', a, b, c, d, ..]
                            if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) =>
                        {
                            6
                        }
                        [] | [b'u', ..] if escape.len() < 5 => return Err(END),
                        _ => return Err(SYNTAX),
                    };
                }
                Some(_) => return Err(SYNTAX),
                None => return Err(END),
            }
        }
    }

    /// A number: as an integer where 64 bits hold it, else as its text.
    #[inline]
    fn number(&mut self) -> Result<Slot<'r>, Broken> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let negative = bytes.get(start) == Some(&b'-');
        self.at += usize::from(negative);
        let first = self.at;
        let mut value = 0_u64;
        while let Some(digit @ b'0'..=b'9') = bytes.get(self.at) {
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        let digits = self.at - first;
        let zero = bytes.get(first) == Some(&b'0');
        if digits == 0 || (zero && digits > 1) {
            return Err(if self.at < bytes.len() { SYNTAX } else { END });
        }
        if matches!(bytes.get(self.at), Some(b'.' | b'e' | b'E')) {
            self.fraction()?;
        } else if digits < 20
            && !(negative && zero)
            && let Ok(value) = i64::try_from(value)
        {
            // Nineteen digits fit 64 bits without a sign.
            return Ok(Slot::Int(if negative { -value } else { value }));
        }
        Ok(token::number(self.since(start)))
    }

    /// What follows the whole part of a number.
    fn fraction(&mut self) -> Result<(), Broken> {
        if self.text.as_bytes().get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.text.as_bytes().get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.text.as_bytes().get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), Broken> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return Err(if rest.is_empty() { END } else { SYNTAX });
        }
        self.at += count;
        Ok(())
    }
}

/// The fault of bytes that are no JSON of the expected form.
fn fault(bytes: &[u8], what: &str, at: usize) -> Fault {
    let before = bytes.get(..at).unwrap_or(bytes);
    let line = before.split(|byte| *byte == b'\n').count();
    let column = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default().len();
    Fault::poison(Code::Undecodable, format!("decode json: {what}, line {line} column {column}"))
}

/// Bytes as text.
///
/// # Errors
/// Poison `Undecodable` when they are no UTF-8.
#[inline]
pub fn text(json: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(json)
        .map_err(|error| fault(json, "the text is no UTF-8", error.valid_up_to()))
}

/// The first byte from here on that may not stand in a text as it is: a quote, a backslash or a control character.
#[inline]
fn special(bytes: &[u8], mut at: usize) -> usize {
    const EACH: u64 = u64::MAX / 255;
    let mut rest = bytes.get(at..).unwrap_or_default();
    while let Some((chunk, behind)) = rest.split_first_chunk::<8>() {
        // Eight at once: the highest bit of a byte says that it was found. Above the first one found a borrow may lie.
        let word = u64::from_le_bytes(*chunk);
        let below = |word: u64, limit: u8| word.wrapping_sub(EACH * u64::from(limit)) & !word;
        let is = |byte: u8| below(word ^ (EACH * u64::from(byte)), 1);
        let found = (below(word, 0x20) | is(b'"') | is(b'\\')) & (EACH * 0x80);
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        (rest, at) = (behind, at + 8);
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    at + rest.iter().position(is_special).unwrap_or(rest.len())
}

/// The brackets that are open: one bit each, set for an object, the innermost lowest.
#[derive(Default)]
struct Open {
    inner: u64,
    depth: usize,
    /// 64 at a time, what does not fit.
    outer: Vec<u64>,
}

impl Open {
    #[inline]
    fn push(&mut self, is_object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.inner);
        }
        self.inner = self.inner << 1 | u64::from(is_object);
        self.depth += 1;
    }

    #[inline]
    fn pop(&mut self) {
        self.depth -= 1;
        self.inner >>= 1;
        if self.depth.is_multiple_of(64)
            && let Some(outer) = self.outer.pop()
        {
            self.inner = outer;
        }
    }

    #[inline]
    fn is_object(&self) -> bool {
        self.inner & 1 == 1
    }
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
