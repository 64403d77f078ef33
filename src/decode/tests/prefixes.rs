//! Every captured Avro datum is read to its last byte, and no part of it is: a cut record is never taken for a whole one.

use super::capture;
use crate::decode::avro::reader::Reader;
use crate::decode::avro::{Node, Sink};
use crate::decode::facts::Facts;
use crate::decode::plan::{SchemaText, describe};
use crate::decode::schema::avro_text;
use crate::decode::schema::describe::{AvroWalk, ValueWalk};
use crate::decode::slot::Slot;
use fastrand::Rng;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Of each schema the shortest and the longest datum are cut everywhere, and so many more, drawn with a fixed seed: all
/// 12 million parts would take minutes in a build without optimisation.
const DRAWN: usize = 1;
/// Of a longer datum both ends are cut everywhere, and it is cut at so many places between, drawn likewise.
const LONG: usize = 2_000;
const PLACES: usize = 200;

/// What reads a datum: the type alone, and the program for rows where the schema describes rows.
struct Readers {
    node: Node,
    rows: Option<(AvroWalk, usize)>,
}

impl Readers {
    fn of(text: &str) -> Self {
        let schema = describe(SchemaText::None, SchemaText::Avro(text));
        let rows = schema.ok().and_then(|schema| match schema.value_walk {
            ValueWalk::Avro(walk) => Some((walk, schema.row.len())),
            _ => None,
        });
        Self { node: avro_text::parse(text).unwrap().node(), rows }
    }

    /// How many of the readers take the bytes for a whole datum.
    fn accepting(&self, datum: &[u8]) -> usize {
        let mut reader = Reader::new(datum);
        let by_node = self.node.skip(&mut reader).and_then(|()| reader.finish()).is_ok();
        let by_rows = self.rows.as_ref().is_some_and(|(walk, columns)| {
            let mut row = vec![Slot::Absent; *columns];
            let sink = &mut Sink { facts: &mut Facts::default(), row: &mut row, memo: None };
            walk.datum.read_all(datum, sink).is_ok()
        });
        usize::from(by_node) + usize::from(by_rows)
    }

    fn count(&self) -> usize {
        1 + usize::from(self.rows.is_some())
    }
}

fn encodings() -> Vec<PathBuf> {
    let below = |path: PathBuf| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(path).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect()
    };
    let mut found: Vec<PathBuf> =
        below(capture::directory("")).into_iter().flat_map(below).collect();
    found.retain(|path| path.join("schemas").is_dir());
    found.sort();
    found
}

/// The places where a datum is cut.
fn cuts(length: usize, rng: &mut Rng) -> Vec<usize> {
    if length <= LONG {
        return (0..length).collect();
    }
    let half = LONG / 2;
    let between = (0..PLACES).map(|_| rng.usize(half..length - half));
    (0..half).chain(between).chain(length - half..length).collect()
}

/// Cut data that are refused, of one encoding; every datum is read whole on the way.
fn refused(encoding: &Path) -> usize {
    let registry = capture::registry(encoding);
    let records = capture::records(encoding);
    let mut by_schema: BTreeMap<u32, Vec<&[u8]>> = BTreeMap::new();
    for bytes in records.iter().flat_map(|record| [&record.key, &record.value]).flatten() {
        if let [0, a, b, c, d, datum @ ..] = bytes.as_slice() {
            by_schema.entry(u32::from_be_bytes([*a, *b, *c, *d])).or_default().push(datum);
        }
    }
    assert!(!by_schema.is_empty(), "{} has no Avro", encoding.display());
    let mut rng = Rng::with_seed(7);
    let mut refused = 0;
    for (id, mut data) in by_schema {
        let readers = Readers::of(&registry[&id]);
        for datum in &data {
            assert_eq!(readers.accepting(datum), readers.count(), "{} {id}", encoding.display());
        }
        data.sort_by_key(|datum| datum.len());
        let drawn: Vec<&[u8]> = (0..DRAWN).map(|_| data[rng.usize(..data.len())]).collect();
        for datum in [data[0], data[data.len() - 1]].into_iter().chain(drawn) {
            for end in cuts(datum.len(), &mut rng) {
                let accepting = readers.accepting(&datum[..end]);
                assert_eq!(accepting, 0, "{} {id}: {end} of {}", encoding.display(), datum.len());
                refused += 1;
            }
            assert_eq!(readers.accepting(&[datum, &[0]].concat()), 0, "{id}: a byte more");
        }
    }
    refused
}

#[test]
fn no_part_of_a_captured_datum_is_taken_for_the_whole() {
    let encodings = encodings();
    assert!(encodings.len() >= 25, "{encodings:?}");
    let (first, second): (Vec<_>, Vec<_>) =
        encodings.iter().enumerate().partition(|(n, _)| n % 2 == 0);
    let sum =
        |part: &[(usize, &PathBuf)]| part.iter().map(|(_, path)| refused(path)).sum::<usize>();
    let refused = std::thread::scope(|scope| {
        let other = scope.spawn(|| sum(&second));
        sum(&first) + other.join().unwrap()
    });
    println!("{refused} parts refused");
    assert!(refused > 150_000, "{refused}");
}
