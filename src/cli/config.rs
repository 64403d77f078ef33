//! `config check`, `config show` and `config schema`.

use super::{ConfigFile, Exit, print};
use crate::config::{show, structure};
use clap::{Args, Subcommand};
use serde_json::Value;

/// What to do with the configuration.
#[derive(Subcommand)]
pub enum Command {
    /// Check the file without touching the network; every mistake is reported, exit code 78 if there is one.
    Check(Check),
    /// Print the configuration that the worker would use, defaults filled in, secrets as ***.
    Show(Show),
    /// Print the JSON Schema of the file, for editors.
    Schema,
}

/// `config check`.
#[derive(Args)]
pub struct Check {
    #[command(flatten)]
    file: ConfigFile,
}

/// `config show`.
#[derive(Args)]
pub struct Show {
    #[command(flatten)]
    file: ConfigFile,
    /// JSON instead of TOML.
    #[arg(long)]
    json: bool,
}

/// Runs one of them.
pub fn command(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Check(arguments) => {
            let config = arguments.file.load()?;
            let routes = config.routes.len();
            let noun = if routes == 1 { "route" } else { "routes" };
            print(&format!(
                "{}: ok, pipeline `{}` with {routes} {noun}\n",
                arguments.file.config.display(),
                config.name
            ))
        }
        Command::Show(arguments) => {
            let effective = show::effective(&arguments.file.load()?);
            if arguments.json {
                let mut json = serde_json::to_value(&effective)?;
                drop_nulls(&mut json);
                print(&format!("{json:#}\n"))
            } else {
                print(&toml::to_string(&effective)?)
            }
        }
        Command::Schema => print(&format!("{:#}\n", structure::schema())),
    }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.retain(|_, value| !value.is_null());
            object.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
