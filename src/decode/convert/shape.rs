//! Debezium's geometry structs: as EWKB for PostGIS and `bytea`, and as the text of PostgreSQL's own geometric types.

use super::bytea::Alphabet;
use super::{Context, Encoded, Refusal, WRONG_KIND, bytea, each, numeric, wkb};
use crate::decode::slot::Slot;
use std::io::Write as _;

/// PostgreSQL's own geometric types (manual, "Geometric Types").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Point,
    Lseg,
    Path,
    Box,
    Polygon,
    Line,
    Circle,
}

pub const NO_WKB: Refusal = Refusal::Value("is no geometry with well-formed WKB");
const NO_SHAPE: Refusal = Refusal::Value("is a geometry of another kind than the column");
const NO_POINT: Refusal = Refusal::Value("is no point with x and y");
const HAS_SRID: Refusal = Refusal::Value(
    "has an SRID, which PostgreSQL's own geometric types cannot hold; use geometry or bytea",
);
const CLOSED: Refusal =
    Refusal::Value("is a closed path, which WKB cannot tell from an open one; use path");
const TWO_SRIDS: Refusal = Refusal::Value("has two SRIDs that differ");

/// `wkbSRID` of PostGIS's EWKB: the type carries an SRID behind it.
const SRID_FLAG: u32 = 0x2000_0000;

/// What a Geometry, Geography or Point struct holds.
#[derive(Default)]
struct Geometry {
    wkb: Option<Vec<u8>>,
    srid: i64,
    kind: Option<Shape>,
    closed: bool,
}

fn read(bytes: &[u8], context: Context<'_>) -> Result<Geometry, Refusal> {
    let mut found = Geometry::default();
    each(bytes, context, &mut |name, slot, inner| {
        match (name, *slot) {
            (_, Slot::Null) => {}
            ("wkb", Slot::Bytes(wkb)) => found.wkb = Some(wkb.to_vec()),
            ("wkb", _) => {
                let mut wkb = Vec::new();
                let text = inner.scratch.text(slot).ok_or(WRONG_KIND)?;
                bytea::decode(text, Alphabet::Base64, &mut wkb)?;
                found.wkb = Some(wkb);
            }
            ("srid", Slot::Int(srid)) => found.srid = srid,
            ("extensions", Slot::Nested(bytes)) => extensions(bytes, inner, &mut found)?,
            // A point tells its coordinates twice.
            ("x" | "y", _) => {}
            _ => return Err(WRONG_KIND),
        }
        Ok(())
    })?;
    Ok(found)
}

fn extensions(bytes: &[u8], context: Context<'_>, found: &mut Geometry) -> Encoded {
    each(bytes, context, &mut |name, slot, inner| {
        match (name, inner.scratch.text(slot)) {
            ("type", Some("lseg")) => found.kind = Some(Shape::Lseg),
            ("type", Some("path")) => found.kind = Some(Shape::Path),
            ("type", Some("box")) => found.kind = Some(Shape::Box),
            ("type", Some("polygon")) => found.kind = Some(Shape::Polygon),
            ("closed", Some(closed)) => found.closed = closed == "true",
            _ => {
                return Err(Refusal::Value("is a geometry with an extension that is not known"));
            }
        }
        Ok(())
    })
}

/// Appends EWKB: the WKB as it is, with the SRID put in where the source keeps it beside (MySQL).
pub fn ewkb(slot: &Slot<'_>, context: Context<'_>, out: &mut Vec<u8>) -> Encoded {
    let Slot::Nested(bytes) = *slot else { return Err(WRONG_KIND) };
    let found = read(bytes, context)?;
    if found.closed {
        return Err(CLOSED);
    }
    let wkb = found.wkb.ok_or(NO_WKB)?;
    let (head, rest) = wkb.split_first_chunk::<5>().ok_or(NO_WKB)?;
    let [order, ty @ ..] = *head;
    let little = match order {
        0 => false,
        1 => true,
        _ => return Err(NO_WKB),
    };
    let read = |bytes| if little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) };
    let write = |n: u32| if little { n.to_le_bytes() } else { n.to_be_bytes() };
    if found.srid == 0 {
        out.extend_from_slice(&wkb);
        return Ok(());
    }
    let srid = u32::try_from(found.srid).map_err(|_| NO_WKB)?;
    if read(ty) & SRID_FLAG != 0 {
        let inside = rest.first_chunk::<4>().ok_or(NO_WKB)?;
        if read(*inside) != srid {
            return Err(TWO_SRIDS);
        }
        out.extend_from_slice(&wkb);
        return Ok(());
    }
    out.push(order);
    out.extend_from_slice(&write(read(ty) | SRID_FLAG));
    out.extend_from_slice(&write(srid));
    out.extend_from_slice(rest);
    Ok(())
}

/// Appends the same in hexadecimal digits, which PostGIS reads, after a look at what it would refuse or change.
pub fn ewkb_text(
    geodetic: bool,
    slot: &Slot<'_>,
    context: Context<'_>,
    out: &mut Vec<u8>,
) -> Encoded {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut binary = Vec::new();
    ewkb(slot, context, &mut binary)?;
    wkb::check(&binary, geodetic)?;
    out.reserve(binary.len() * 2);
    for byte in binary {
        out.extend(
            [byte >> 4, byte & 15]
                .map(|digit| DIGITS.get(usize::from(digit)).copied().unwrap_or(b'0')),
        );
    }
    Ok(())
}

/// Appends the text of one of PostgreSQL's own geometric types.
pub fn native(shape: Shape, bytes: &[u8], context: Context<'_>, out: &mut Vec<u8>) -> Encoded {
    match shape {
        Shape::Point => {
            let (x, y) = point(bytes, context)?;
            put_point(x, y, out)
        }
        Shape::Circle => circle(bytes, context, out),
        Shape::Line => {
            let [a, b, c] = numbers(["a", "b", "c"], bytes, context)?;
            let (Some(a), Some(b), Some(c)) = (a, b, c) else { return Err(NO_SHAPE) };
            put(out, format_args!("{{{a},{b},{c}}}"))
        }
        Shape::Lseg | Shape::Path | Shape::Box | Shape::Polygon => {
            let found = read(bytes, context)?;
            if found.kind != Some(shape) {
                return Err(NO_SHAPE);
            }
            if found.srid != 0 {
                return Err(HAS_SRID);
            }
            let points = points(found.wkb.as_deref().ok_or(NO_WKB)?, shape).ok_or(NO_WKB)?;
            put_points(shape, found.closed, &points, out)
        }
    }
}

fn put_points(shape: Shape, closed: bool, points: &[(f64, f64)], out: &mut Vec<u8>) -> Encoded {
    let (open, close) = match (shape, closed) {
        (Shape::Box, _) => {
            // The ring of a box begins in one corner; two steps on is the opposite one.
            let [a, _, b, ..] = points else { return Err(NO_WKB) };
            put_point(a.0, a.1, out)?;
            out.push(b',');
            return put_point(b.0, b.1, out);
        }
        (Shape::Lseg, _) if points.len() != 2 => return Err(NO_WKB),
        (Shape::Lseg, _) | (Shape::Path, false) => (b'[', b']'),
        _ => (b'(', b')'),
    };
    // A ring ends where it began; PostgreSQL's polygon does not say its first point again.
    let points = match points {
        [first, rest @ .., last] if shape == Shape::Polygon && rest.len() > 1 && first == last => {
            points.get(..points.len() - 1).unwrap_or_default()
        }
        _ => points,
    };
    out.push(open);
    for (place, (x, y)) in points.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        put_point(*x, *y, out)?;
    }
    out.push(close);
    Ok(())
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) -> Encoded {
    out.write_fmt(text).map_err(|_| WRONG_KIND)
}

fn put_point(x: f64, y: f64, out: &mut Vec<u8>) -> Encoded {
    put(out, format_args!("({x},{y})"))
}

fn circle(bytes: &[u8], context: Context<'_>, out: &mut Vec<u8>) -> Encoded {
    let mut center = None;
    let mut radius = None;
    each(bytes, context, &mut |name, slot, inner| {
        match (name, *slot) {
            ("center", Slot::Nested(bytes)) => center = Some(point(bytes, inner)?),
            ("radius", _) => radius = Some(numeric::double(false, slot, inner)?),
            _ => return Err(NO_SHAPE),
        }
        Ok(())
    })?;
    let (Some((x, y)), Some(radius)) = (center, radius) else { return Err(NO_SHAPE) };
    put(out, format_args!("<({x},{y}),{radius}>"))
}

fn point(bytes: &[u8], context: Context<'_>) -> Result<(f64, f64), Refusal> {
    let [x, y] = numbers(["x", "y"], bytes, context)?;
    x.zip(y).ok_or(NO_POINT)
}

/// Named numbers of a struct that may also hold WKB and an SRID.
fn numbers<const N: usize>(
    names: [&str; N],
    bytes: &[u8],
    context: Context<'_>,
) -> Result<[Option<f64>; N], Refusal> {
    let mut found = [None; N];
    each(bytes, context, &mut |name, slot, inner| {
        if let Some(place) = names.iter().position(|n| *n == name)
            && let Some(found) = found.get_mut(place)
        {
            *found = Some(numeric::double(false, slot, inner)?);
            return Ok(());
        }
        match (name, slot) {
            (_, Slot::Null) | ("wkb", _) | ("srid", Slot::Int(0)) => Ok(()),
            ("srid", _) => Err(HAS_SRID),
            _ => Err(NO_SHAPE),
        }
    })?;
    Ok(found)
}

/// The points of a line string, or of a polygon's only ring.
fn points(wkb: &[u8], shape: Shape) -> Option<Vec<(f64, f64)>> {
    let (order, mut rest) = wkb.split_first()?;
    let little = match order {
        0 => false,
        1 => true,
        _ => return None,
    };
    let number = |rest: &mut &[u8]| -> Option<u32> {
        let (bytes, tail) = rest.split_first_chunk::<4>()?;
        *rest = tail;
        Some(if little { u32::from_le_bytes(*bytes) } else { u32::from_be_bytes(*bytes) })
    };
    let line = matches!(shape, Shape::Lseg | Shape::Path);
    match (number(&mut rest)?, line) {
        (2, true) => {}
        (3, false) if number(&mut rest)? == 1 => {}
        _ => return None,
    }
    let count = usize::try_from(number(&mut rest)?).ok()?;
    let (coordinates, []) = rest.as_chunks::<8>() else { return None };
    let double = |bytes: &[u8; 8]| {
        if little { f64::from_le_bytes(*bytes) } else { f64::from_be_bytes(*bytes) }
    };
    let (pairs, []) = coordinates.as_chunks::<2>() else { return None };
    (pairs.len() == count && count > 0)
        .then(|| pairs.iter().map(|[x, y]| (double(x), double(y))).collect())
}
