//! `doctor`: what is wrong, what is at risk, and what to do about it.

use super::{ConfigFile, Exit, print};
use crate::doctor::{Finding, Severity, examine};
use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use std::fmt::Write as _;

/// `doctor`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// URL of the source database (PostgreSQL, read only): names the tables whose topics cannot tell everything. Better
    /// given by the environment, where it does not show in the process list.
    #[arg(long, value_name = "URL", env = "SILVERSINK_SOURCE_URL", hide_env_values = true)]
    source_url: Option<SecretString>,
    /// JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// Prints the findings. Exit code 3 when something is broken or at risk.
pub async fn command(arguments: Arguments) -> anyhow::Result<Exit> {
    let config = arguments.file.load()?;
    let source = arguments.source_url.as_ref().map(SecretString::expose_secret);
    let findings = examine(&config, source).await;
    let text = if arguments.json {
        format!("{}\n", serde_json::to_string_pretty(&findings)?)
    } else {
        text(&findings)
    };
    print(&text)?;
    let worst = findings.iter().map(|finding| finding.severity).max();
    Ok(if worst > Some(Severity::Fine) { Exit::Differs } else { Exit::Fine })
}

fn text(findings: &[Finding]) -> String {
    let mut out = String::new();
    for finding in findings {
        let mark = match finding.severity {
            Severity::Fine => "ok",
            Severity::Risk => "risk",
            Severity::Broken => "BROKEN",
        };
        let _ = writeln!(out, "{mark:<8}{:<10}{}", finding.area, finding.text);
        for line in finding.help.iter().flat_map(|help| help.lines()) {
            let _ = writeln!(out, "{:18}help: {line}", "");
        }
    }
    let count = |wanted| findings.iter().filter(|finding| finding.severity == wanted).count();
    let _ = writeln!(
        out,
        "\n{} broken, {} at risk, {} fine",
        count(Severity::Broken),
        count(Severity::Risk),
        count(Severity::Fine)
    );
    out
}
