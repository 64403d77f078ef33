//! `plan`: what the newest schemas imply for the Silver tables. Changes nothing.

use super::{ConfigFile, Exit, print};
use crate::config::Config;
use crate::postgres::Destination;
use crate::registry;
use crate::silver::Verdict;
use crate::silver::refusal::{rename_comments, said_of};
use crate::silver::survey::{Finding, Found, Survey, survey};
use crate::sql::alteration::Alteration;
use crate::sql::ddl;
use clap::Args;
use serde::Serialize;
use std::fmt::Write as _;

/// `plan`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// Only the DDL, ready for psql.
    #[arg(long, conflicts_with = "json")]
    sql: bool,
    /// JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// What is shown; the JSON form as it stands.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    pipeline: String,
    /// Why Kafka could not be asked; then only topics of the registry are listed.
    kafka_error: Option<String>,
    topics: Vec<Topic>,
    /// Topics whose table is not ready for their newest schema.
    pub(super) differing: usize,
}

#[derive(Debug, Serialize)]
struct Topic {
    topic: String,
    table: String,
    key_schema: Option<String>,
    value_schema: Option<String>,
    /// `fits`, `alter`, `stop`, `skipped` or `unknown`.
    verdict: &'static str,
    /// Why it stops, is skipped or is unknown.
    reason: Option<String>,
    code: Option<&'static str>,
    hint: Option<String>,
    /// Alterations that are made by themselves, or by `apply --execute`.
    alterations: Vec<Line>,
    /// DDL that would help where a person has to decide.
    help: Vec<String>,
    /// What else the schema changes.
    noticed: Vec<Note>,
    /// DDL that would join what was probably renamed.
    #[serde(skip)]
    comments: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Line {
    kind: &'static str,
    column: Option<String>,
    why: String,
    ddl: Vec<String>,
    /// PostgreSQL writes the whole table anew.
    rewrites: bool,
}

#[derive(Debug, Serialize)]
struct Note {
    kind: &'static str,
    column: String,
    text: String,
}

/// Prints what is to be done. Exit code 3 when there is something, 4 when a dependency cannot be reached.
pub async fn command(arguments: Arguments) -> anyhow::Result<Exit> {
    let config = arguments.file.load()?;
    let (_destination, survey) = look(&config, "plan").await?;
    let shown = Shown::of(&config, &survey);
    print(&if arguments.json {
        format!("{}\n", serde_json::to_string_pretty(&shown)?)
    } else if arguments.sql {
        shown.sql()
    } else {
        shown.text()
    })?;
    Ok(if shown.differing > 0 { Exit::Differs } else { Exit::Fine })
}

/// Connects and surveys.
pub(super) async fn look(config: &Config, command: &str) -> anyhow::Result<(Destination, Survey)> {
    let name = format!("silversink {command}");
    let destination = Destination::connect(&config.postgres, 1, &name).await?;
    let registry = config.registry.as_ref().map(registry::Client::open).transpose()?;
    let survey = survey(config, &destination, registry.as_ref()).await?;
    Ok((destination, survey))
}

impl Shown {
    pub(super) fn of(config: &Config, survey: &Survey) -> Self {
        Self {
            pipeline: config.name.clone(),
            kafka_error: survey.kafka_error.as_ref().map(ToString::to_string),
            differing: survey.findings.iter().filter(|finding| finding.differs()).count(),
            topics: survey.findings.iter().map(Topic::of).collect(),
        }
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!("Pipeline {}\n", self.pipeline);
        if let Some(error) = &self.kafka_error {
            let _ = writeln!(
                text,
                "Kafka cannot be asked, only the registry's topics are listed: {error}"
            );
        }
        for topic in &self.topics {
            topic.write(&mut text);
        }
        let (all, differing) = (self.topics.len(), self.differing);
        let _ = writeln!(text, "{all} topics, {differing} with something to do");
        text
    }

    fn sql(&self) -> String {
        let mut text = String::new();
        for topic in self.topics.iter().filter(|topic| topic.has_sql()) {
            let _ = writeln!(text, "-- {} from {}: {}", topic.table, topic.topic, topic.verdict);
            if let Some(reason) = &topic.reason {
                let _ = writeln!(text, "-- {}", reason.replace('\n', "\n-- "));
            }
            for line in &topic.alterations {
                text += &ddl::script(&line.ddl);
            }
            // Nothing that a person has to decide runs because a script was piped into psql.
            for line in ddl::script(&topic.help).lines() {
                let _ = writeln!(text, "-- {line}");
            }
            text += &ddl::script(&topic.comments);
        }
        text
    }
}

impl Topic {
    fn of(finding: &Finding) -> Self {
        let need = finding.need.as_ref();
        let mut topic = Self {
            topic: finding.topic.clone(),
            table: finding.routed.table.to_string(),
            key_schema: need.and_then(|need| need.key.short()),
            value_schema: need.and_then(|need| need.value.short()),
            verdict: "fits",
            reason: None,
            code: None,
            hint: None,
            alterations: Vec::new(),
            help: Vec::new(),
            noticed: Vec::new(),
            comments: Vec::new(),
        };
        match &finding.found {
            Found::Skipped(rule) => {
                topic.verdict = "skipped";
                topic.reason = Some(format!("its records are no table data ({rule})"));
            }
            Found::Unknown(why) => {
                (topic.verdict, topic.reason) = ("unknown", Some((*why).to_owned()))
            }
            Found::Unusable(fault) => {
                (topic.verdict, topic.code) = ("stop", Some(fault.code.as_str()));
                (topic.reason, topic.hint) = (Some(fault.text.clone()), fault.hint.clone());
            }
            Found::Assessed(assessed) => {
                let noticed = &assessed.1.noticed;
                topic.comments = rename_comments(&finding.routed.table, noticed);
                topic.noticed = noticed
                    .iter()
                    .map(|noticed| Note {
                        kind: noticed.kind(),
                        column: noticed.column().to_owned(),
                        text: said_of(noticed),
                    })
                    .collect();
                match &assessed.1.verdict {
                    Verdict::Fits { .. } => {}
                    Verdict::Alter(alterations) => {
                        topic.verdict = "alter";
                        topic.alterations = alterations.iter().map(Line::of).collect();
                    }
                    Verdict::Stop { fault, help, .. } => {
                        (topic.verdict, topic.code) = ("stop", Some(fault.code.as_str()));
                        (topic.reason, topic.hint) = (Some(fault.text.clone()), fault.hint.clone());
                        topic.help.clone_from(help);
                    }
                }
            }
        }
        topic
    }

    fn has_sql(&self) -> bool {
        !self.alterations.is_empty() || !self.help.is_empty() || !self.comments.is_empty()
    }

    fn write(&self, text: &mut String) {
        let _ = writeln!(text, "\n{} <- {}: {}", self.table, self.topic, self.verdict);
        if let Some(reason) = &self.reason {
            let code = self.code.map(|code| format!("[{code}] ")).unwrap_or_default();
            let _ = writeln!(text, "  {code}{reason}");
        }
        for line in &self.alterations {
            let rewrites = if line.rewrites { " (PostgreSQL writes the table anew)" } else { "" };
            let _ = writeln!(text, "  {}: {}{rewrites}", line.kind, line.why);
            let _ =
                writeln!(text, "    {}", ddl::script(&line.ddl).trim_end().replace('\n', "\n    "));
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "  help: {}", hint.trim_end().replace('\n', "\n    "));
        }
        for note in &self.noticed {
            let _ = writeln!(text, "  {}: {}", note.kind, note.text);
        }
        for comment in &self.comments {
            let _ = writeln!(text, "    {comment}");
        }
    }
}

impl Line {
    fn of(alteration: &Alteration) -> Self {
        Self {
            kind: alteration.kind(),
            column: alteration.column_name().map(str::to_owned),
            why: alteration.summary(),
            ddl: alteration.statements.clone(),
            rewrites: alteration.rewrites(),
        }
    }
}
