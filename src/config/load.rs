//! Reads the configuration file and takes it through every step to a checked [`Config`]. The only place that reads the
//! environment.

use super::diagnostic::{Problems, Report, secret_spans, suspicious_span};
use super::interpolate::{Environment, interpolate};
use super::raw::RawConfig;
use super::{Config, check, structure};
use serde::Deserialize;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::DeTable;

/// Why there is no configuration.
#[derive(Debug)]
pub enum LoadError {
    /// The file cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file has mistakes.
    Invalid(Report),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, error } => {
                let path = path.display();
                let cure = match error.kind() {
                    io::ErrorKind::NotFound => {
                        "name an existing file with --config FILE or SILVERSINK_CONFIG; \
                         config/silversink.toml in the source tree is a commented sample"
                    }
                    io::ErrorKind::PermissionDenied => {
                        "make it readable for the user that runs silversink"
                    }
                    io::ErrorKind::InvalidData => "save it as UTF-8 text",
                    io::ErrorKind::IsADirectory => "name the file inside it",
                    _ => "name a readable file with --config FILE",
                };
                writeln!(f, "error: could not read configuration file {path}: {error}")?;
                writeln!(f, "help: {cure}")
            }
            Self::Invalid(report) => report.fmt(f),
        }
    }
}

impl std::error::Error for LoadError {}

/// Reads, resolves and checks a file.
///
/// # Errors
/// The file cannot be read, or has mistakes: then every one of them.
pub fn load(path: &Path) -> Result<Config, LoadError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| LoadError::Unreadable { path: path.to_owned(), error })?;
    let environment = |name: &str| std::env::var(name).ok();
    parse(&text, &path.display().to_string(), &environment).map_err(LoadError::Invalid)
}

/// Resolves and checks the text of a file; `path` is its name in messages.
///
/// # Errors
/// Every mistake in the text.
pub fn parse(text: &str, path: &str, environment: Environment<'_>) -> Result<Config, Report> {
    let mut problems = Problems::default();
    let (mut document, errors) = DeTable::parse_recoverable(text);
    let mut secrets = secret_spans(document.get_ref());
    if !errors.is_empty() {
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            secrets.extend(suspicious_span(text, span.start, structure::is_plain));
            problems.add(span, "the file is not valid TOML", error.message());
        }
        return Err(problems.into_report(path, text, &secrets));
    }

    interpolate(document.get_mut(), text, environment, &mut problems);
    structure::prune(document.get_mut(), &mut problems);
    let config = match read(document) {
        Ok(raw) => check::check(&raw, &mut problems),
        Err((span, message)) => {
            problems.add(span, message, "");
            None
        }
    };
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(problems.into_report(path, text, &secrets)),
    }
}

fn read(document: Spanned<DeTable<'_>>) -> Result<RawConfig, (Range<usize>, String)> {
    RawConfig::deserialize(toml::Deserializer::from(document))
        .map_err(|error| (error.span().unwrap_or(0..0), error.message().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SAMPLE: &str = include_str!("../../config/silversink.toml");

    /// The sample with what is commented out switched on, as far as it is no prose.
    fn switched_on() -> String {
        let switch = |line: &str| {
            let bare = line.strip_prefix("# ").filter(|bare| {
                bare.contains(" = ") || (bare.starts_with('[') && bare.ends_with(']'))
            });
            format!("{}\n", bare.unwrap_or(line))
        };
        SAMPLE.lines().map(switch).collect()
    }

    fn read_and_report(text: &str) -> Result<(), TestCaseError> {
        if let Err(report) = parse(text, "sink.toml", &|_| None) {
            prop_assert!(!report.problems().is_empty());
            prop_assert!(report.to_string().contains("sink.toml:"));
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn no_text_makes_reading_or_reporting_panic(
            text in "\\PC{0,80}|[\\[\\]a-z\"'.=${}:\\-\n ]{0,120}",
        ) {
            read_and_report(&text)?;
        }

        #[test]
        fn no_edit_of_a_whole_file_makes_reading_or_reporting_panic(
            start in any::<prop::sample::Index>(),
            cut in 0usize..40,
            insert in prop::sample::select(
                vec!["", "\"", "'''", "[", "}", "${env:", "\u{e4}", " = 1\n", "\n[[route]]\n", "\0"],
            ),
        ) {
            let mut text: Vec<char> = switched_on().chars().collect();
            let start = start.index(text.len());
            let end = (start + cut).min(text.len());
            text.splice(start..end, insert.chars());
            read_and_report(&text.into_iter().collect::<String>())?;
        }
    }

    #[test]
    fn the_sample_with_everything_switched_on_misses_only_the_files_it_names() {
        let report = parse(&switched_on(), "sink.toml", &|_| None).unwrap_err();
        let missing = |problem: &super::super::diagnostic::Problem| {
            problem.message.starts_with("could not read file `/run/secrets/")
        };
        assert!(report.problems().iter().all(missing), "{report}");
    }
}
