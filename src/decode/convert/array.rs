//! One-dimensional arrays in the binary form of `array_recv`.

use super::resolve::Operation;
use super::{Context, Encoded, Refusal, WRONG_KIND, begin, each, finish, put_fixed};
use crate::decode::slot::Slot;

/// Writes an array of elements with oid `element_oid`. `set`: text is taken apart at its commas (EnumSet; no label of a
/// MySQL set has one).
pub fn array(
    element: &Operation,
    element_oid: u32,
    set: bool,
    slot: &Slot<'_>,
    context: Context<'_>,
    out: &mut Vec<u8>,
) -> Encoded {
    let field = begin(out);
    let head = out.len();
    out.extend_from_slice(&[0; 20]);
    let mut count = 0i32;
    let mut nulls = 0u32;
    let mut put = |slot: &Slot<'_>, inner: Context<'_>| {
        count = count.checked_add(1).ok_or(Refusal::Value("has too many elements"))?;
        match slot {
            Slot::Null => nulls = 1,
            // What Debezium makes of a text array of two dimensions: the names of Java objects.
            Slot::Text(text) if text.starts_with("[Ljava.lang.") => {
                return Err(Refusal::Value(
                    "is an array of arrays that the connector could not read",
                ));
            }
            _ => {}
        }
        element.encode(slot, inner, out)
    };
    match *slot {
        Slot::Nested(bytes) => each(bytes, context, &mut |_, slot, inner| put(slot, inner))?,
        _ if set => {
            let text = context.scratch.text(slot).ok_or(WRONG_KIND)?;
            text.split(',')
                .filter(|_| !text.is_empty())
                .try_for_each(|label| put(&Slot::Text(label), context))?;
        }
        _ => return Err(WRONG_KIND),
    }
    if count == 0 {
        // An empty array has no dimensions.
        out.truncate(field);
        let mut empty = [0; 12];
        if let Some(oid) = empty.get_mut(8..) {
            oid.copy_from_slice(&element_oid.to_be_bytes());
        }
        put_fixed(out, empty);
        return Ok(());
    }
    let words = [
        1u32.to_be_bytes(),
        nulls.to_be_bytes(),
        element_oid.to_be_bytes(),
        count.to_be_bytes(),
        1u32.to_be_bytes(),
    ];
    if let Some(room) = out.get_mut(head..head + 20) {
        room.copy_from_slice(words.as_flattened());
    }
    finish(out, field)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::decode::convert::numeric::Width;
    use crate::decode::slot::{NestedReader, Scratch};
    use crate::fault::Fault;

    /// For values that have nothing nested.
    pub struct NoNested;

    impl NestedReader for NoNested {
        fn each(
            &self,
            _: &[u8],
            _: &mut dyn FnMut(&str, &Slot<'_>, &dyn NestedReader) -> Result<(), Fault>,
        ) -> Result<(), Fault> {
            panic!("nothing is nested here")
        }
    }

    /// Hands out the same entries whatever the bytes are.
    pub struct Entries<'a>(pub Vec<(&'a str, Slot<'a>)>);

    impl NestedReader for Entries<'_> {
        fn each(
            &self,
            _: &[u8],
            visit: &mut dyn FnMut(&str, &Slot<'_>, &dyn NestedReader) -> Result<(), Fault>,
        ) -> Result<(), Fault> {
            self.0.iter().try_for_each(|(name, slot)| visit(name, slot, &NoNested))
        }
    }

    fn encode(elements: &[Slot<'_>]) -> Result<Vec<u8>, Refusal> {
        let entries = Entries(elements.iter().map(|slot| ("", *slot)).collect());
        let scratch = Scratch::default();
        let mut out = Vec::new();
        let context = Context::new(&entries, &scratch);
        array(&Operation::Int(Width::Int2), 21, false, &Slot::Nested(&[]), context, &mut out)?;
        Ok(out)
    }

    #[test]
    fn an_array_has_one_dimension_and_a_flag_for_nulls() {
        let written = encode(&[Slot::Int(1), Slot::Null]).unwrap();
        let expected = [
            [0, 0, 0, 30],
            [0, 0, 0, 1],
            [0, 0, 0, 1],
            [0, 0, 0, 21],
            [0, 0, 0, 2],
            [0, 0, 0, 1],
            [0, 0, 0, 2],
            [0, 1, 255, 255],
            [255, 255, 0, 0],
        ];
        assert_eq!(written, expected.as_flattened()[..34]);
    }

    #[test]
    fn an_empty_array_has_no_dimension() {
        assert_eq!(encode(&[]).unwrap(), [0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 21]);
    }

    #[test]
    fn a_set_is_taken_apart_at_its_commas() {
        let scratch = Scratch::default();
        let count = |text| {
            let mut out = Vec::new();
            let context = Context::new(&NoNested, &scratch);
            let label = Operation::Text(crate::decode::convert::text::Length::Any);
            array(&label, 25, true, &Slot::Text(text), context, &mut out).unwrap();
            out.get(16..20).map_or(0, |n| i32::from_be_bytes(n.try_into().unwrap()))
        };
        assert_eq!([count("a,b"), count("a"), count("")], [2, 1, 0]);
    }

    #[test]
    fn an_element_that_does_not_fit_refuses_the_array() {
        assert!(matches!(encode(&[Slot::Int(70_000)]), Err(Refusal::Value(_))));
    }
}
