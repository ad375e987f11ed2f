//! The `impaxlink` binary: hands over to the command line and returns its exit status.

use std::process::ExitCode;

fn main() -> ExitCode {
    impaxlink::cli::main()
}
