//! The `silversink` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    silversink::cli::main()
}
