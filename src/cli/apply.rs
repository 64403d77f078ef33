//! `apply`: makes the alterations that `plan` lists. A dry run unless `--execute`.

use super::plan::{Shown, look};
use super::{ConfigFile, Exit, print};
use crate::silver::survey::bring_about;
use clap::Args;

/// `apply`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// Make the alterations; without it they are only shown.
    #[arg(long)]
    execute: bool,
    /// Also those for which PostgreSQL writes a large table anew: nobody can read it meanwhile.
    #[arg(long, requires = "execute")]
    rewrite: bool,
    /// JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// Makes the alterations, each topic's in one recorded transaction, and prints what is left. Exit code 3 when something is
/// left, 4 when a dependency cannot be reached.
pub async fn command(arguments: Arguments) -> anyhow::Result<Exit> {
    let config = arguments.file.load()?;
    let (destination, mut survey) = look(&config, "apply").await?;
    let mut made = Vec::new();
    if arguments.execute {
        destination.ensure_bookkeeping().await?;
        for finding in &mut survey.findings {
            let done = bring_about(&config, &destination, finding, arguments.rewrite).await?;
            let table = &finding.routed.table;
            made.extend(done.into_iter().map(|alteration| (table.to_string(), alteration)));
        }
    }
    let shown = Shown::of(&config, &survey);
    if arguments.json {
        let made: Vec<_> = made
            .iter()
            .map(|(table, made)| {
                serde_json::json!({"table": table, "kind": made.kind(), "column": made.column_name(), "ddl": made.statements})
            })
            .collect();
        let all = serde_json::json!({"executed": arguments.execute, "made": made, "left": shown});
        print(&format!("{}\n", serde_json::to_string_pretty(&all)?))?;
    } else {
        let mut text = String::new();
        for (table, alteration) in &made {
            text += &format!("done: {table}: {}\n", alteration.summary());
        }
        text += &shown.text();
        if !arguments.execute && shown.differing > 0 {
            text +=
                "Nothing was changed: this was a dry run. Add --execute to make the alterations.\n";
        }
        print(&text)?;
    }
    Ok(if shown.differing > 0 { Exit::Differs } else { Exit::Fine })
}
