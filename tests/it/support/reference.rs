//! The man pages and completion scripts, made from the command line as clap knows it.
//!
//! Invariant: the same program always gives the same bytes, on any machine.

use std::path::PathBuf;

use clap::Command;
use clap_complete::env::Shells;
use clap_mangen::Man;
use roff::{Roff, bold, roman};

/// All generated files: their paths under the repository's root, and their contents.
pub fn files() -> Vec<(PathBuf, Vec<u8>)> {
    let mut root = impaxlink::cli::command().disable_help_subcommand(true);
    root.build();
    let mut files = Vec::new();
    pages(&root, "impaxlink", &mut files);
    for (shell, name) in [
        ("bash", "impaxlink.bash"),
        ("zsh", "_impaxlink"),
        ("fish", "impaxlink.fish"),
        ("powershell", "impaxlink.ps1"),
    ] {
        files.push((PathBuf::from("completions").join(name), completion(shell)));
    }
    files
}

fn completion(shell: &str) -> Vec<u8> {
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let completer = shells.completer(shell).expect("a shell that clap_complete knows");
    completer
        .write_registration("COMPLETE", "impaxlink", "impaxlink", "impaxlink", &mut script)
        .expect("a write into memory");
    script
}

/// The page of `command` and those of its subcommands.
fn pages(command: &Command, name: &str, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    let path = PathBuf::from("man").join(format!("{name}.1"));
    files.push((path, page(command, name)));
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        pages(sub, &format!("{name}-{}", sub.get_name()), files);
    }
}

type Section = fn(&Man, &mut dyn std::io::Write) -> std::io::Result<()>;

fn page(command: &Command, name: &str) -> Vec<u8> {
    let is_root = name == "impaxlink";
    let examples = command
        .get_after_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let shown = command
        .clone()
        .name(name.to_owned())
        .after_help("")
        .after_long_help("");
    // The global options stand once, in impaxlink(1).
    let shown = if is_root {
        shown
    } else {
        shown.mut_args(|arg| if arg.is_global_set() { arg.hide(true) } else { arg })
    };
    let man = Man::new(shown)
        .title(name.to_uppercase())
        .date("")
        .source(concat!("impaxlink ", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    let sections: [Section; 6] = [
        Man::render_title,
        Man::render_name_section,
        Man::render_synopsis_section,
        Man::render_description_section,
        Man::render_options_section,
        Man::render_subcommands_section,
    ];
    let has_subcommands = command.has_subcommands();
    for section in sections.iter().take(if has_subcommands { 6 } else { 5 }) {
        section(&man, &mut text).expect("a write into memory");
    }
    let mut roff = Roff::new();
    if is_root {
        files_section(&mut roff);
        environment_section(&mut roff);
        exit_status_section(&mut roff);
    }
    examples_section(&mut roff, &examples);
    see_also_section(&mut roff, name);
    text.extend_from_slice(roff.render().as_bytes());
    text
}

fn entries(roff: &mut Roff, title: &str, entries: &[(&str, &str)]) {
    roff.control("SH", [title]);
    for (term, meaning) in entries {
        roff.control("TP", []);
        roff.text([bold(*term)]);
        roff.text([roman(*meaning)]);
    }
}

fn files_section(roff: &mut Roff) {
    entries(
        roff,
        "FILES",
        &[
            (
                "/var/lib/impaxlink/impaxlink.db",
                "The store, for root. Readable by its owner alone. With it: -wal and -shm (SQLite's own), .lock (first use and migration), .service.lock (held by the running service) and .sock (its control socket).",
            ),
            (
                "$XDG_DATA_HOME/impaxlink/impaxlink.db",
                "The store, for all other users; under ~/.local/share where XDG_DATA_HOME is not set.",
            ),
        ],
    );
}

fn environment_section(roff: &mut Roff) {
    entries(
        roff,
        "ENVIRONMENT",
        &[
            ("IMPAXLINK_STORE", "Where the store is, as --store."),
            ("IMPAXLINK_FORMAT", "How answers are written, as --format."),
            (
                "IMPAXLINK_STATION",
                "The station that 'station set' means where none is named.",
            ),
            (
                "IMPAXLINK_LOG",
                "What 'serve' logs, like debug or impaxlink::service=trace.",
            ),
            ("NO_COLOR", "No colours, where it is set to anything."),
            (
                "SUDO_USER",
                "Recorded in the audit beside the user that sudo made of you.",
            ),
        ],
    );
}

fn exit_status_section(roff: &mut Roff) {
    entries(
        roff,
        "EXIT STATUS",
        &[
            ("0", "Done; also: nothing to change, no match, the limit reached."),
            (
                "1",
                "Failed; or saved, but not in force; or every asked station failed.",
            ),
            ("2", "The command line is wrong."),
            (
                "3",
                "Partial: at least one station that should have answered did not, or not fully.",
            ),
            ("4", "Not found: no such station, setting, generation."),
            (
                "5",
                "Busy, timed out, or changed by someone else: look, try again.",
            ),
            ("6", "Not permitted."),
            ("7", "The service is not running."),
            ("130", "Interrupted."),
        ],
    );
}

/// The examples of a command's help, line by line as they stand there.
fn examples_section(roff: &mut Roff, help: &str) {
    let Some((_, examples)) = help.split_once(":\n") else {
        return;
    };
    roff.control("SH", ["EXAMPLES"]);
    roff.control("nf", []);
    for line in examples.lines() {
        roff.text([roman(line.to_owned())]);
    }
    roff.control("fi", []);
}

fn see_also_section(roff: &mut Roff, name: &str) {
    let Some((parent, _)) = name.rsplit_once('-') else {
        return;
    };
    roff.control("SH", ["SEE ALSO"]);
    roff.text([bold(parent.to_owned()), roman("(1)")]);
}
