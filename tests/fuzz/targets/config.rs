//! Any text as configuration: it is accepted or answered with a report, and a password is never told.

use silversink::config::load::parse;
use silversink::config::show::effective;

/// What must not turn up in a message.
const SECRET: &str = "hunter2hunter2";

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Names of files would be opened.
    if text.contains("file:") {
        return;
    }
    let environment = |name: &str| (name == "SECRET").then(|| SECRET.to_owned());
    let told = match parse(text, "fuzzed.toml", &environment) {
        Ok(config) => {
            drop(effective(&config));
            format!("{config:?}")
        }
        Err(report) => report.to_string(),
    };
    assert!(!told.is_empty());
    assert!(!told.contains(SECRET) || !only_as_password(text), "the password is told");
}

/// Whether the environment's secret is used as a password and nowhere else.
fn only_as_password(text: &str) -> bool {
    text.lines()
        .filter(|line| line.contains("SECRET"))
        .all(|line| line == "password = \"${env:SECRET}\"")
}
