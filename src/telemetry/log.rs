//! Log output on stderr: JSON for machines, text for people.

use crate::config::{Log, LogFormat};
use std::io::{self, IsTerminal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// Opens the log for the process: `format` as configured, else text on a terminal and JSON elsewhere.
///
/// # Errors
/// The filter cannot be read, or a log is open already.
pub fn init(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&log.level)?;
    let format = log.format.unwrap_or(if io::stderr().is_terminal() { LogFormat::Text } else { LogFormat::Json });
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).finish().try_init()?,
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).finish().try_init()?,
    }
    Ok(())
}
