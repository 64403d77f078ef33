//! Walks WKB and EWKB once, because PostGIS answers broken bytes with an internal error, and changes some values in silence.

use super::shape::NO_WKB;
use super::{Encoded, Refusal};

const TOO_DEEP: Refusal = Refusal::Value("is a geometry of more than 100 levels");
const NO_DEGREES: Refusal = Refusal::Value(
    "has a longitude beyond 180 or a latitude beyond 90 degrees, which geography would move; use geometry",
);
const NO_SRID: Refusal = Refusal::Value("has an SRID beyond 998999, which PostGIS would change");

/// Flags of EWKB (PostGIS manual, "ST_AsEWKB"; `liblwgeom.h`).
const Z: u32 = 0x8000_0000;
const M: u32 = 0x4000_0000;
const SRID: u32 = 0x2000_0000;
/// `SRID_USER_MAXIMUM` of `liblwgeom.h`; from the maximum on, SRIDs are mapped to others.
const MOST_SRID: u32 = 998_999;
/// PostGIS stops at 200.
const MOST_LEVELS: u32 = 100;

/// Is this one geometry to its last byte, and, if `geodetic`, within the range of degrees?
pub fn check(bytes: &[u8], geodetic: bool) -> Encoded {
    let mut walk = Walk { rest: bytes, little: false, geodetic };
    walk.geometry(0)?;
    if walk.rest.is_empty() { Ok(()) } else { Err(NO_WKB) }
}

struct Walk<'a> {
    rest: &'a [u8],
    little: bool,
    geodetic: bool,
}

impl Walk<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(NO_WKB)?;
        self.rest = rest;
        Ok(*head)
    }

    fn word(&mut self) -> Result<u32, Refusal> {
        let bytes = self.take()?;
        Ok(if self.little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    fn number(&mut self) -> Result<f64, Refusal> {
        let bytes = self.take()?;
        Ok(if self.little { f64::from_le_bytes(bytes) } else { f64::from_be_bytes(bytes) })
    }

    fn point(&mut self, dimensions: u32) -> Encoded {
        let (x, y) = (self.number()?, self.number()?);
        for _ in 2..dimensions {
            self.number()?;
        }
        // An empty point is made of NaN.
        if self.geodetic && (x.abs() > 180.0 || y.abs() > 90.0) {
            return Err(NO_DEGREES);
        }
        Ok(())
    }

    fn points(&mut self, dimensions: u32) -> Encoded {
        for _ in 0..self.word()? {
            self.point(dimensions)?;
        }
        Ok(())
    }

    fn geometry(&mut self, level: u32) -> Encoded {
        if level == MOST_LEVELS {
            return Err(TOO_DEEP);
        }
        self.little = match self.take()? {
            [0] => false,
            [1] => true,
            _ => return Err(NO_WKB),
        };
        let ty = self.word()?;
        if ty & SRID != 0 && self.word()? > MOST_SRID {
            return Err(NO_SRID);
        }
        let code = ty & !(Z | M | SRID);
        // ISO says the dimensions in thousands: 1 is Z, 2 is M, 3 is both.
        let (z, m) = match code / 1000 {
            0 => (0, 0),
            1 => (1, 0),
            2 => (0, 1),
            3 => (1, 1),
            _ => return Err(NO_WKB),
        };
        let dimensions = 2 + (z | u32::from(ty & Z != 0)) + (m | u32::from(ty & M != 0));
        match code % 1000 {
            1 => self.point(dimensions),
            // Lines and circular strings.
            2 | 8 => self.points(dimensions),
            // Polygons and triangles: rings.
            3 | 17 => {
                for _ in 0..self.word()? {
                    self.points(dimensions)?;
                }
                Ok(())
            }
            4..=7 | 9..=12 | 15 | 16 => {
                let little = self.little;
                for _ in 0..self.word()? {
                    self.geometry(level + 1)?;
                }
                self.little = little;
                Ok(())
            }
            _ => Err(NO_WKB),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(x: f64, y: f64) -> Vec<u8> {
        let mut bytes = vec![1, 1, 0, 0, 0];
        bytes.extend(x.to_le_bytes());
        bytes.extend(y.to_le_bytes());
        bytes
    }

    /// A collection of one geometry, in the other byte order.
    fn wrapped(inner: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 0, 0, 7, 0, 0, 0, 1];
        bytes.extend(inner);
        bytes
    }

    #[test]
    fn a_geometry_ends_where_its_counts_say() {
        let whole = wrapped(&point(180.0, -90.0));
        assert!(check(&whole, true).is_ok());
        for end in 0..whole.len() {
            assert!(check(&whole[..end], false).is_err(), "{end}");
        }
        let mut longer = whole.clone();
        longer.push(0);
        assert!(check(&longer, false).is_err());
        // A count of billions is no promise of room.
        assert!(check(&[1, 2, 0, 0, 0, 255, 255, 255, 255], false).is_err());
    }

    #[test]
    fn degrees_are_checked_at_every_depth_and_depth_has_an_end() {
        for (x, y) in [(180.1, 0.0), (0.0, -90.1)] {
            let nested = wrapped(&wrapped(&point(x, y)));
            assert!(check(&nested, false).is_ok());
            assert!(
                matches!(check(&nested, true), Err(Refusal::Value(why)) if why.contains("90 degrees"))
            );
        }
        let deep = |levels| (0..levels).fold(point(f64::NAN, f64::NAN), |inner, _| wrapped(&inner));
        assert!(check(&deep(99), true).is_ok());
        assert!(
            matches!(check(&deep(100), true), Err(Refusal::Value(why)) if why.contains("levels"))
        );
    }
}
