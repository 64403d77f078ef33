//! Avro's primitive encodings, read from a slice that only ever shrinks (Avro 1.12 specification, "Binary Encoding").

use crate::fault::{Code, Fault};

/// What is left of a datum.
#[derive(Debug)]
pub struct Reader<'r> {
    rest: &'r [u8],
}

/// How the bytes break their schema. Small, so that handing it up the walk costs nothing; the walk's caller makes it a
/// [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken(&'static str);

impl From<Broken> for Fault {
    #[cold]
    fn from(Broken(what): Broken) -> Self {
        Self::poison(Code::Undecodable, format!("decode avro: {what}"))
    }
}

impl<'r> Reader<'r> {
    /// Starts at the first byte.
    #[must_use]
    pub fn new(bytes: &'r [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The bytes that are not read yet.
    #[must_use]
    pub fn rest(&self) -> &'r [u8] {
        self.rest
    }

    /// The bytes from `rest`, which was [`Reader::rest`] then, up to here.
    #[must_use]
    pub fn since(&self, rest: &'r [u8]) -> &'r [u8] {
        let length = rest.len().saturating_sub(self.rest.len());
        rest.get(..length).unwrap_or_default()
    }

    /// Nothing may be left.
    ///
    /// # Errors
    /// [`Broken`] when bytes are left.
    pub fn finish(&self) -> Result<(), Broken> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Broken("bytes are left behind the last field"))
        }
    }

    /// So many bytes.
    ///
    /// # Errors
    /// [`Broken`] at the end of the input.
    #[inline]
    pub fn take(&mut self, length: usize) -> Result<&'r [u8], Broken> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(Broken("a length reaches behind the end of the input"))?;
        self.rest = rest;
        Ok(taken)
    }

    /// Takes these very bytes; `false` when others come, which stay.
    #[inline]
    pub fn take_same(&mut self, same: &[u8]) -> bool {
        match self.rest.split_at_checked(same.len()) {
            Some((taken, rest)) if taken == same => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    #[inline]
    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let (chunk, rest) =
            self.rest.split_first_chunk::<N>().ok_or(Broken("the input ends inside a field"))?;
        self.rest = rest;
        Ok(*chunk)
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, Broken> {
        self.chunk::<1>().map(|[byte]| byte)
    }

    /// `boolean`.
    ///
    /// # Errors
    /// [`Broken`] when the byte is neither 0 nor 1.
    #[inline]
    pub fn boolean(&mut self) -> Result<bool, Broken> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Broken("a boolean is neither 0 nor 1")),
        }
    }

    /// `long`: zigzag, at most ten bytes.
    ///
    /// # Errors
    /// [`Broken`] at the end of the input or when the number does not fit 64 bits.
    #[inline(never)]
    pub fn long(&mut self) -> Result<i64, Broken> {
        if let [first, rest @ ..] = self.rest
            && *first < 0x80
        {
            self.rest = rest;
            return Ok(i64::from(*first >> 1) ^ -i64::from(*first & 1));
        }
        match self.within_eight() {
            Some((word, rest)) => {
                self.rest = rest;
                // Groups of 7 bits in 8 become 14 in 16, 28 in 32, 56.
                let word = word & 0x7f7f_7f7f_7f7f_7f7f;
                let word = word & 0x007f_007f_007f_007f | (word & 0x7f00_7f00_7f00_7f00) >> 1;
                let word = word & 0x0000_3fff_0000_3fff | (word & 0x3fff_0000_3fff_0000) >> 2;
                let bits = word & 0x0fff_ffff | (word & 0x0fff_ffff_0000_0000) >> 4;
                Ok((bits >> 1).cast_signed() ^ -(bits & 1).cast_signed())
            }
            None => self.long_by_bytes(),
        }
    }

    /// The bytes of a number that ends within the next eight, and what follows it; `None` as well near the end of the input.
    #[inline]
    fn within_eight(&self) -> Option<(u64, &'r [u8])> {
        let word = u64::from_le_bytes(*self.rest.first_chunk::<8>()?);
        let last = !word & 0x8080_8080_8080_8080;
        if last == 0 {
            return None;
        }
        // The first byte without its highest bit is the last one.
        let bits = last.trailing_zeros() + 1;
        Some((word & u64::MAX >> (64 - bits), self.rest.get(bits as usize / 8..)?))
    }

    /// Skips a `long`.
    ///
    /// # Errors
    /// As [`Reader::long`].
    #[inline]
    pub fn skip_long(&mut self) -> Result<(), Broken> {
        match self.within_eight() {
            Some((_, rest)) => {
                self.rest = rest;
                Ok(())
            }
            None => self.long_by_bytes().map(drop),
        }
    }

    fn long_by_bytes(&mut self) -> Result<i64, Broken> {
        let mut bits = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return Err(Broken("an integer does not fit 64 bits"));
            }
            bits |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        Ok((bits >> 1).cast_signed() ^ -(bits & 1).cast_signed())
    }

    /// `int`.
    ///
    /// # Errors
    /// [`Broken`] at the end of the input or when the number does not fit 32 bits.
    #[inline]
    pub fn int(&mut self) -> Result<i64, Broken> {
        let n = self.long()?;
        if i32::try_from(n).is_ok() { Ok(n) } else { Err(Broken("an int does not fit 32 bits")) }
    }

    /// `float`.
    ///
    /// # Errors
    /// [`Broken`] at the end of the input.
    #[inline]
    pub fn float(&mut self) -> Result<f32, Broken> {
        self.chunk().map(f32::from_le_bytes)
    }

    /// `double`.
    ///
    /// # Errors
    /// [`Broken`] at the end of the input.
    #[inline]
    pub fn double(&mut self) -> Result<f64, Broken> {
        self.chunk().map(f64::from_le_bytes)
    }

    /// `bytes`.
    ///
    /// # Errors
    /// [`Broken`] when the length is negative or reaches behind the end.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'r [u8], Broken> {
        let length = match self.small() {
            Some(length) => length,
            None => usize::try_from(self.long()?).map_err(|_| Broken("a length is negative"))?,
        };
        self.take(length)
    }

    /// A number from 0 to 63, which is one byte: most lengths and every index.
    #[inline]
    fn small(&mut self) -> Option<usize> {
        let (first, rest) = self.rest.split_first()?;
        if first & 0x81 != 0 {
            return None;
        }
        self.rest = rest;
        Some(usize::from(first >> 1))
    }

    /// `string`.
    ///
    /// # Errors
    /// [`Broken`] as [`Reader::bytes`], and when the bytes are no UTF-8.
    #[inline]
    pub fn string(&mut self) -> Result<&'r str, Broken> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Broken("a text is no UTF-8"))
    }

    /// Index of a union's branch or an enum's symbol.
    ///
    /// # Errors
    /// [`Broken`] when it is not below `count`.
    #[inline]
    pub fn branch(&mut self, count: usize) -> Result<usize, Broken> {
        let index = match self.small() {
            Some(index) => Some(index),
            None => usize::try_from(self.long()?).ok(),
        };
        index
            .filter(|index| *index < count)
            .ok_or(Broken("the index of a union or enum is out of range"))
    }

    /// The blocks of an array or map; `item` reads one entry.
    ///
    /// # Errors
    /// [`Broken`] when a block claims more entries than bytes are left (every entry has at least one byte), when its size in
    /// bytes is not what its entries take, or whatever `item` returns.
    pub fn blocks<E: From<Broken>>(
        &mut self,
        item: &mut dyn FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            let count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            let size = if count < 0 { Some(self.long()?) } else { None };
            let before = self.rest.len();
            let count = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
            if count > before {
                return Err(Broken("a block claims more entries than there are bytes").into());
            }
            for _ in 0..count {
                item(self)?;
            }
            let taken = before.checked_sub(self.rest.len());
            if size.is_some_and(|size| usize::try_from(size).ok() != taken) {
                return Err(Broken("a block's size in bytes is wrong").into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn long(bytes: &[u8]) -> Result<i64, Code> {
        Reader::new(bytes).long().map_err(|broken| Fault::from(broken).code)
    }

    fn blocks(bytes: &[u8]) -> Result<(), Broken> {
        Reader::new(bytes).blocks(&mut |reader| reader.boolean().map(drop))
    }

    #[test]
    fn integers_are_zigzag_and_stop_at_64_bits() {
        assert_eq!(long(&[0]), Ok(0));
        assert_eq!(long(&[1]), Ok(-1));
        assert_eq!(long(&[0xac, 0x02]), Ok(150));
        assert_eq!(long(&[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), Ok(i64::MAX));
        assert_eq!(long(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), Ok(i64::MIN));
        assert_eq!(
            long(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]),
            Err(Code::Undecodable)
        );
        assert_eq!(long(&[0xff; 11]), Err(Code::Undecodable));
        assert_eq!(long(&[0x80]), Err(Code::Undecodable));
    }

    proptest! {
        #[test]
        fn numbers_are_read_alike_wherever_the_input_ends(n: i64, few in 0_u32..64, behind in 0_usize..9) {
            let n = n >> few;
            let mut bytes = Vec::new();
            let mut rest = ((n << 1) ^ (n >> 63)).cast_unsigned();
            while rest >= 0x80 {
                bytes.push(rest.to_le_bytes()[0] | 0x80);
                rest >>= 7;
            }
            bytes.push(rest.to_le_bytes()[0]);
            bytes.resize(bytes.len() + behind, 0xff);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.long(), Ok(n));
            prop_assert_eq!(reader.rest().len(), behind);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.skip_long(), Ok(()));
            prop_assert_eq!(reader.rest().len(), behind);
        }
    }

    #[test]
    fn an_int_beyond_32_bits_is_refused() {
        assert_eq!(Reader::new(&[0xfe, 0xff, 0xff, 0xff, 0x0f]).int(), Ok(i64::from(i32::MAX)));
        assert!(Reader::new(&[0x80, 0x80, 0x80, 0x80, 0x10]).int().is_err());
    }

    #[test]
    fn lengths_booleans_texts_and_branches_are_checked() {
        assert!(Reader::new(&[1]).bytes().is_err(), "negative length");
        assert!(Reader::new(&[4, 1]).bytes().is_err(), "length behind the end");
        assert!(Reader::new(&[2]).boolean().is_err());
        assert!(Reader::new(&[2, 0xff]).string().is_err(), "no UTF-8");
        assert!(Reader::new(&[4]).branch(2).is_err());
        assert!(Reader::new(&[1]).branch(2).is_err(), "negative index");
    }

    #[test]
    fn a_block_cannot_claim_more_than_there_is() {
        let huge = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert!(blocks(&huge).is_err());
        // Two booleans as a block with its size, which is then wrong.
        assert!(blocks(&[3, 4, 0, 1, 0]).is_ok());
        assert!(blocks(&[3, 2, 0, 1, 0]).is_err());
    }
}
