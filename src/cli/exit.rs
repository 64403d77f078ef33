//! Exit codes, and how an error becomes one.

use crate::config::load::LoadError;
use crate::fault::{Code, Fault};
use std::process::ExitCode;

/// The exit codes, for `--help`.
pub const HELP: &str = "Exit codes:
  0   fine
  1   failed at run time
  2   wrong usage
  3   checked, and it differs
  4   a dependency cannot be reached
  78  the configuration is wrong
  130 stopped by Ctrl-C before it was done";

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, and all is well.
    Fine,
    /// Failed at run time.
    Failed,
    /// Checked, and it differs.
    Differs,
    /// PostgreSQL, Kafka or the registry cannot be reached.
    Unreachable,
    /// The configuration is wrong (sysexits `EX_CONFIG`).
    BadConfig,
    /// Stopped by a signal before it was done (the shell's number for SIGINT).
    Interrupted,
}

impl Exit {
    /// The number that the shell sees. 2 is clap's own for wrong usage.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Failed => 1,
            Self::Differs => 3,
            Self::Unreachable => 4,
            Self::BadConfig => 78,
            Self::Interrupted => 130,
        }
    }

    /// The code for an error: by the configuration's report or by the fault in its chain.
    #[must_use]
    pub fn of(error: &anyhow::Error) -> Self {
        if error.chain().any(<dyn std::error::Error>::is::<LoadError>) {
            return Self::BadConfig;
        }
        match error.chain().find_map(|cause| cause.downcast_ref::<Fault>()).map(|fault| fault.code)
        {
            Some(
                Code::PostgresUnavailable | Code::KafkaUnavailable | Code::RegistryUnavailable,
            ) => Self::Unreachable,
            Some(Code::Configuration) => Self::BadConfig,
            _ => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// Tells a person on stderr what went wrong: a configuration's report as it is, else the chain of causes and the hint.
pub fn explain(error: &anyhow::Error) {
    if let Some(error) = error.chain().find_map(|cause| cause.downcast_ref::<LoadError>()) {
        match error {
            LoadError::Invalid(report) => anstream::eprint!("{}", report.styled()),
            LoadError::Unreadable { .. } => anstream::eprint!("{error}"),
        }
        return;
    }
    anstream::eprintln!("error: {error:#}");
    if let Some(hint) = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Fault>())
        .and_then(|fault| fault.hint.as_ref())
    {
        anstream::eprintln!("help: {hint}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_fault_deep_in_the_chain_decides_the_exit_code() {
        let code = |fault: Fault| {
            Exit::of(&Err::<(), _>(fault).context("could not start").unwrap_err()).code()
        };

        assert_eq!(code(Fault::transient(Code::KafkaUnavailable, "could not reach a broker")), 4);
        assert_eq!(code(Fault::blocked(Code::Configuration, "bad", "fix it")), 78);
        assert_eq!(code(Fault::poison(Code::Undecodable, "bad")), 1);
        assert_eq!(Exit::of(&anyhow::anyhow!("boom")).code(), 1);
    }
}
