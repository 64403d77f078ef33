//! Log output on stderr: JSON for machines, text for people.

use crate::config::{Log, LogFormat};
use std::io::{self, IsTerminal};
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

/// Opens the log for the process: `format` as configured, else text on a terminal and JSON elsewhere.
///
/// # Errors
/// The filter cannot be read, or a log is open already.
pub fn init(log: &Log) -> anyhow::Result<()> {
    let terminal = io::stderr().is_terminal();
    let format = log.format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    subscriber(&log.level, format, terminal, io::stderr)?.try_init()?;
    Ok(())
}

fn subscriber<W>(
    filter: &str,
    format: LogFormat,
    colours: bool,
    writer: W,
) -> anyhow::Result<Box<dyn Subscriber + Send + Sync>>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let builder =
        tracing_subscriber::fmt().with_env_filter(EnvFilter::try_new(filter)?).with_writer(writer);
    Ok(match format {
        LogFormat::Json => {
            Box::new(builder.json().flatten_event(true).with_current_span(false).finish())
        }
        LogFormat::Text => Box::new(builder.with_ansi(colours).finish()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    fn logged(format: LogFormat, filter: &str) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        let writer = Arc::new(Mutex::new(file.reopen().unwrap()));
        let writer = move || writer.lock().unwrap().try_clone().unwrap();
        tracing::subscriber::with_default(
            subscriber(filter, format, false, writer).unwrap(),
            || {
                tracing::info!(table = "silver.orders", partition = 3, "batch committed");
                tracing::debug!("detail");
            },
        );
        std::fs::read_to_string(file.path()).unwrap()
    }

    #[test]
    fn json_has_one_object_a_line_with_fields_at_the_top() {
        let text = logged(LogFormat::Json, "info");
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], "batch committed");
        assert_eq!(line["table"], "silver.orders");
        assert_eq!(line["partition"], 3);
    }

    #[test]
    fn text_is_plain_without_a_terminal() {
        let text = logged(LogFormat::Text, "debug");
        assert!(text.contains("batch committed table=\"silver.orders\" partition=3"), "{text}");
        assert!(text.contains("detail") && !text.contains('\u{1b}'), "{text}");
    }
}
