//! Replaces `${env:NAME}`, `${env:NAME:-default}` and `${file:/path}` inside the string values of a parsed file.
//!
//! # Decisions
//!
//! - After parsing and only inside strings: what a variable holds can never become a key or another value.
//! - Once: what a variable or file holds is not looked at again.
//! - As in the shell, `:-` applies where the variable is unset or empty. `$${` stands for a literal `${`.
//! - `${name}` without a provider is a group of the route's expression in `[[route]] table`, and a mistake elsewhere.

use super::diagnostic::{Problems, join};
use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Looks up an environment variable.
pub type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

/// Replaces the references of every string in the table; what cannot be replaced becomes a problem and goes.
pub fn interpolate(
    table: &mut DeTable<'_>,
    source: &str,
    environment: Environment<'_>,
    problems: &mut Problems,
) {
    let mut walk = Walk { source, environment, problems };
    walk.table("", table);
}

struct Walk<'w> {
    source: &'w str,
    environment: Environment<'w>,
    problems: &'w mut Problems,
}

impl Walk<'_> {
    fn table(&mut self, path: &str, table: &mut DeTable<'_>) {
        *table = std::mem::take(table)
            .into_iter()
            .filter_map(|(key, mut value)| {
                self.resolves(&join(path, key.get_ref()), &mut value).then_some((key, value))
            })
            .collect();
    }

    /// Replaces what is below a value; false where a string could not be replaced and must not be looked at again.
    fn resolves(&mut self, path: &str, value: &mut Spanned<DeValue<'_>>) -> bool {
        let span = value.span();
        match value.get_mut() {
            DeValue::Table(table) => self.table(path, table),
            DeValue::Array(array) => {
                for (index, item) in array.iter_mut().enumerate() {
                    self.resolves(&format!("{path}[{index}]"), item);
                }
            }
            DeValue::String(text) if text.contains("${") => match self.text(path, &span, text) {
                Some(resolved) => *text = Cow::Owned(resolved),
                None => {
                    self.problems.settle(path);
                    return false;
                }
            },
            _ => {}
        }
        true
    }

    fn text(&mut self, path: &str, span: &Range<usize>, text: &str) -> Option<String> {
        let mut complete = true;
        let mut resolved = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            if let Some(before) = before.strip_suffix('$') {
                resolved.push_str(before);
                resolved.push_str("${");
                rest = after;
                continue;
            }
            resolved.push_str(before);
            let Some((reference, after)) = after.split_once('}') else {
                self.problems.add(
                    span.clone(),
                    "a reference is not closed",
                    "expected `}` after `${`",
                );
                return None;
            };
            match self.reference(path, reference) {
                Ok(value) => resolved.push_str(&value),
                Err((message, expected)) => {
                    self.problems.add(self.place(span, reference), message, expected);
                    complete = false;
                }
            }
            rest = after;
        }
        resolved.push_str(rest);
        complete.then_some(resolved)
    }

    fn reference(&self, path: &str, reference: &str) -> Result<String, (String, String)> {
        match reference.split_once(':') {
            Some(("env", name)) => {
                let (name, default) = name
                    .split_once(":-")
                    .map_or((name, None), |(name, default)| (name, Some(default)));
                let value =
                    (self.environment)(name).filter(|value| default.is_none() || !value.is_empty());
                value.or_else(|| default.map(str::to_owned)).ok_or_else(|| {
                    (
                        format!("environment variable `{name}` is not set"),
                        format!("set it, or give a default: ${{env:{name}:-default}}"),
                    )
                })
            }
            Some(("file", name)) => match std::fs::read_to_string(Path::new(name)) {
                Ok(content) => Ok(content
                    .strip_suffix('\n')
                    .map_or(content.as_str(), |c| c.strip_suffix('\r').unwrap_or(c))
                    .to_owned()),
                Err(error) => Err((
                    format!("could not read file `{name}`: {error}"),
                    "expected a readable text file".into(),
                )),
            },
            Some((provider, _)) => Err((
                format!("unknown provider `{provider}`"),
                "expected ${env:NAME}, ${env:NAME:-default} or ${file:/path}".into(),
            )),
            None if path.starts_with("route") && path.ends_with(".table") => {
                Ok(format!("${{{reference}}}"))
            }
            None => Err((
                format!("`${{{reference}}}` names no provider"),
                format!("did you mean ${{env:{reference}}}? write $${{ for a literal ${{"),
            )),
        }
    }

    /// Bytes of the reference itself where the file spells it plainly, else of the whole value.
    fn place(&self, span: &Range<usize>, reference: &str) -> Range<usize> {
        let spelt = format!("${{{reference}}}");
        match self.source.get(span.clone()).and_then(|value| value.find(&spelt)) {
            Some(at) => span.start + at..span.start + at + spelt.len(),
            None => span.clone(),
        }
    }
}
