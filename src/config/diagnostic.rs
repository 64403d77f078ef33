//! What is wrong with a configuration file, each problem with its place; never shows a secret.

use super::structure::is_plain;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Bytes of the file that it is about; empty at 0 where something is missing altogether.
    pub span: Range<usize>,
    /// What is wrong, lower case.
    pub message: String,
    /// What was expected at that place.
    pub expected: String,
    /// What to do.
    pub help: Option<String>,
}

/// The mistakes found so far, and the keys about which something was said already.
#[derive(Default)]
pub(super) struct Problems {
    found: Vec<Problem>,
    settled: BTreeSet<String>,
}

impl Problems {
    pub(super) fn add(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        expected: impl Into<String>,
    ) {
        self.found.push(Problem {
            span,
            message: message.into(),
            expected: expected.into(),
            help: None,
        });
    }

    /// Adds what to do to the newest problem.
    pub(super) fn help(&mut self, help: impl Into<String>) {
        if let Some(problem) = self.found.last_mut() {
            problem.help = Some(help.into());
        }
    }

    /// Notes that the user was told about this key, so that it is not reported as missing too.
    pub(super) fn settle(&mut self, path: &str) {
        self.settled.insert(path.to_owned());
    }

    /// Whether something was said about this key or about a section that holds it.
    pub(super) fn is_settled(&self, path: &str) -> bool {
        self.settled.contains(path)
            || path
                .match_indices('.')
                .any(|(dot, _)| path.get(..dot).is_some_and(|p| self.settled.contains(p)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(super) fn into_report(self, path: &str, source: &str, secrets: &[Range<usize>]) -> Report {
        let mut problems = self.found;
        problems.sort_by_key(|p| (p.span.start, p.span.end));
        problems.dedup();
        Report { path: path.to_owned(), source: masked(source, secrets), problems }
    }
}

/// Every problem of one file. `Display` is plain text; [`Report::render`] may colour it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    path: String,
    /// The file with secrets struck out.
    source: String,
    problems: Vec<Problem>,
}

impl Report {
    /// The problems, in the order of the file.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Line of a problem, counted from 1.
    #[must_use]
    pub fn line(&self, problem: &Problem) -> usize {
        self.source.bytes().take(problem.span.start).filter(|b| *b == b'\n').count() + 1
    }

    /// Each problem with file, line, the underlined source line and what was expected; then a count.
    #[must_use]
    pub fn render(&self, renderer: &Renderer) -> String {
        let mut text = String::new();
        for problem in &self.problems {
            let span =
                problem.span.start.min(self.source.len())..problem.span.end.min(self.source.len());
            let snippet = Snippet::source(self.source.as_str())
                .path(self.path.as_str())
                .annotation(AnnotationKind::Primary.span(span).label(problem.expected.as_str()));
            let mut group: Group<'_> =
                Level::ERROR.primary_title(problem.message.as_str()).element(snippet);
            if let Some(help) = &problem.help {
                group = group.element(Level::HELP.message(help.as_str()));
            }
            text.push_str(&renderer.render(&[group]));
            text.push_str("\n\n");
        }
        let count = self.problems.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        text + &format!("{}: {count} {noun}\n", self.path)
    }

    /// As [`Report::render`], with terminal colours.
    #[must_use]
    pub fn styled(&self) -> String {
        self.render(&Renderer::styled())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(&Renderer::plain()))
    }
}

impl std::error::Error for Report {}

/// Where the file holds or may hold secrets: the values of all keys that are not known to be plain.
pub(super) fn secret_spans(table: &DeTable<'_>) -> Vec<Range<usize>> {
    fn walk(path: &str, value: &Spanned<DeValue<'_>>, spans: &mut Vec<Range<usize>>) {
        match value.get_ref() {
            DeValue::Table(table) => walk_table(path, table, spans),
            DeValue::Array(array) => array.iter().for_each(|item| walk(path, item, spans)),
            _ if !is_plain(path) => spans.push(value.span()),
            _ => {}
        }
    }
    fn walk_table(path: &str, table: &DeTable<'_>, spans: &mut Vec<Range<usize>>) {
        for (key, value) in table {
            walk(&join(path, key.get_ref()), value, spans);
        }
    }
    let mut spans = Vec::new();
    walk_table("", table, &mut spans);
    spans
}

/// `a` and `b` as one dotted path.
pub(super) fn join(parent: &str, key: &str) -> String {
    if parent.is_empty() { key.to_owned() } else { format!("{parent}.{key}") }
}

/// Strikes out the given bytes, except white space, quotes and `${...}` references, keeping every offset.
fn masked(source: &str, secrets: &[Range<usize>]) -> String {
    let mut bytes = source.as_bytes().to_vec();
    for secret in secrets {
        let mut in_reference = false;
        for at in secret.clone() {
            let opens = source.get(at..).is_some_and(|rest| rest.starts_with("${"));
            let Some(byte) = bytes.get_mut(at) else { break };
            in_reference |= opens;
            if !in_reference && !matches!(*byte, b'\n' | b'\r' | b' ' | b'"' | b'\'') {
                *byte = b'*';
            }
            in_reference &= *byte != b'}';
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| "*".repeat(source.len()))
}

/// Where a line that is no TOML may hold a secret: all that follows a `=` unless the key is known to be plain.
pub(super) fn suspicious_span(
    source: &str,
    at: usize,
    is_plain: impl Fn(&str) -> bool,
) -> Option<Range<usize>> {
    let start = source.get(..at)?.rfind('\n').map_or(0, |n| n + 1);
    let end = source.get(at..)?.find('\n').map_or(source.len(), |n| at + n);
    let line = source.get(start..end)?;
    let Some(equals) = line.find('=') else {
        let head = line.trim_start();
        return (!head.starts_with('[') && !head.starts_with('#')).then_some(start..end);
    };
    let key = line.get(..equals)?.trim();
    (!is_plain(key)).then_some(start + equals + 1..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_shows_file_line_underlined_source_expectation_and_help() {
        let source = "name = \"a\"\n[kafka]\ngroup = \"g\"\n";
        let mut problems = Problems::default();
        problems.add(19..24, "unknown key `group`", "not a key of [kafka]");
        problems.help("did you mean `group_id`?");
        let report = problems.into_report("sink.toml", source, &[]);
        assert_eq!(
            report.to_string(),
            "error: unknown key `group`\n --> sink.toml:3:1\n  |\n3 | group = \"g\"\n  | ^^^^^ not a key of [kafka]\n  |\n  = help: did you mean `group_id`?\n\nsink.toml: 1 problem\n"
        );
    }

    #[test]
    fn secrets_are_struck_out_but_references_stay_readable() {
        let source = "url = \"postgresql://me:hunter2@${env:HOST}/db\"";
        let shown = masked(source, std::slice::from_ref(&(6..source.len())));
        assert_eq!(shown.len(), source.len());
        assert!(!shown.contains("hunter2") && shown.contains("${env:HOST}"), "{shown}");
    }

    #[test]
    fn a_secret_with_letters_of_several_bytes_is_struck_out_whole() {
        assert_eq!(masked("p = \"pä\"", std::slice::from_ref(&(4..9))), "p = \"***\"");
    }

    #[test]
    fn a_broken_line_of_an_unknown_key_is_struck_out_after_the_equals_sign() {
        let source = "a = 1\npassword = \"x\nb = 2";
        assert_eq!(suspicious_span(source, 17, |k| k == "b"), Some(16..19));
        assert_eq!(suspicious_span("b = \"x", 4, |k| k == "b"), None);
        assert_eq!(suspicious_span("[kafka", 3, |_| false), None);
    }
}
