//! Who runs this command: the operating system's user, and the real user under sudo.

use std::ffi::OsString;

use crate::audit::Attribution;

/// The value the kernel gives as login UID where nobody logged in.
const NO_LOGIN: u32 = u32::MAX;

/// The longest command line that is recorded, in characters.
const LONGEST_COMMAND: usize = 4096;

/// Who runs this process, with the command line as it was typed.
pub fn of_this_process(reason: Option<String>) -> Attribution {
    attribution(command_line(std::env::args_os().skip(1)), reason)
}

/// Who runs this process, with a command line that leaves out what must not be recorded.
pub fn with_command(command: String) -> Attribution {
    attribution(command, None)
}

fn attribution(command: String, reason: Option<String>) -> Attribution {
    let uid = rustix::process::getuid().as_raw();
    Attribution {
        user: user_name(uid),
        uid,
        real_user: real_user(uid),
        command,
        reason,
    }
}

/// The name of that user, or the number where it has none.
pub fn user_name(uid: u32) -> String {
    let user = uzers::get_user_by_uid(uid);
    user.map_or_else(
        || uid.to_string(),
        |user| user.name().to_string_lossy().into_owned(),
    )
}

/// Who logged in, where that is another than who acts. The kernel's login UID is trusted before what sudo says, since
/// the environment can be set by hand.
fn real_user(uid: u32) -> Option<String> {
    let login_uid = std::fs::read_to_string("/proc/self/loginuid").ok();
    let login_uid = login_uid.and_then(|text| text.trim().parse::<u32>().ok());
    match login_uid {
        Some(login) if login != NO_LOGIN => (login != uid).then(|| user_name(login)),
        _ => std::env::var("SUDO_USER")
            .ok()
            .filter(|name| *name != user_name(uid)),
    }
}

/// The command line as one text, arguments with spaces in quotes.
fn command_line(arguments: impl Iterator<Item = OsString>) -> String {
    let quoted = arguments.map(|argument| {
        let text = argument.to_string_lossy();
        let plain = !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_alphanumeric() || "-_=./:,@+^".contains(c));
        if plain {
            text.into_owned()
        } else {
            format!("'{}'", text.replace('\'', "'\\''"))
        }
    });
    let whole = std::iter::once("impaxlink".to_owned())
        .chain(quoted)
        .collect::<Vec<_>>()
        .join(" ");
    whole.chars().take(LONGEST_COMMAND).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_quoted_where_needed() {
        let arguments = ["station", "set", "A", "--reason", "it's on"].map(OsString::from);
        assert_eq!(
            command_line(arguments.into_iter()),
            "impaxlink station set A --reason 'it'\\''s on'"
        );
    }
}
