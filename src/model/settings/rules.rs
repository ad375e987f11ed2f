//! The rules that values of settings are held to.
//!
//! Invariant: a rule says what a value must be, in words that fit behind the name of the key.

use std::net::SocketAddr;
use std::path::Path;

use crate::model::{Invalid, parse_duration, parse_keeping};

pub(super) fn is<T: std::str::FromStr<Err = Invalid>>(text: &str) -> Result<(), Invalid> {
    text.parse::<T>().map(drop)
}

pub(super) fn is_duration(text: &str) -> Result<(), Invalid> {
    parse_duration(text).map(drop)
}

pub(super) fn is_keeping(text: &str) -> Result<(), Invalid> {
    parse_keeping(text).map(drop)
}

pub(super) fn is_socket_address(text: &str) -> Result<(), Invalid> {
    let rule = "it is an address and a port, like 0.0.0.0:11112 or [::]:11112";
    text.parse::<SocketAddr>()
        .map(drop)
        .map_err(|_| Invalid::new("listen", text, rule))
}

pub(super) fn is_not_empty(text: &str) -> Result<(), Invalid> {
    if text.is_empty() {
        Err(Invalid::new(
            "setting",
            text,
            "it must not be empty; use 'config unset'",
        ))
    } else {
        Ok(())
    }
}

pub(super) fn is_absolute_path(text: &str) -> Result<(), Invalid> {
    if Path::new(text).is_absolute() {
        Ok(())
    } else {
        Err(Invalid::new("setting", text, "it is an absolute path"))
    }
}

pub(super) fn is_tls_callers(text: &str) -> Result<(), Invalid> {
    match text {
        "none" | "optional" | "required" => Ok(()),
        _ => Err(Invalid::new(
            "tls.callers",
            text,
            "it is 'none', 'optional' or 'required'",
        )),
    }
}

pub(super) fn is_on_partial(text: &str) -> Result<(), Invalid> {
    match text {
        "success" | "failure" => Ok(()),
        _ => Err(Invalid::new(
            "query.on_partial",
            text,
            "it is 'success' or 'failure'",
        )),
    }
}

pub(super) fn is_on_off(text: &str) -> Result<(), Invalid> {
    match text {
        "on" | "off" => Ok(()),
        _ => Err(Invalid::new("setting", text, "it is 'on' or 'off'")),
    }
}

pub(super) fn is_small_number(text: &str) -> Result<(), Invalid> {
    within(text, 0, 100)
}

pub(super) fn is_count(text: &str) -> Result<(), Invalid> {
    within(text, 1, 100_000)
}

pub(super) fn is_days(text: &str) -> Result<(), Invalid> {
    within(text, 1, 3650)
}

pub(super) fn is_large_count(text: &str) -> Result<(), Invalid> {
    within(text, 1, 100_000_000)
}

pub(super) fn is_pdu_length(text: &str) -> Result<(), Invalid> {
    within(text, 4096, 1 << 24)
}

pub(super) fn is_message_length(text: &str) -> Result<(), Invalid> {
    within(text, 1 << 16, 1 << 30)
}

fn within(text: &str, least: usize, most: usize) -> Result<(), Invalid> {
    match text.parse::<usize>() {
        Ok(number) if (least..=most).contains(&number) => Ok(()),
        _ => Err(Invalid::new(
            "number",
            text,
            format!("it is a whole number from {least} to {most}"),
        )),
    }
}
