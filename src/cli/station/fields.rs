//! The fields of a station as options, shared by `add` and `set`.
//!
//! Invariant: only what is named changes; an empty value clears a field that may be empty.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;

use super::switches::Switches;
use crate::cli::value;
use crate::model::{
    AeTitle, CharacterSet, ClusterName, Description, Fingerprint, Issuer, Kind, OnPartial, Station,
    SuccessComment, Syntax, UpdatesDirection, parse_duration,
};

/// A field that may be empty, as given: a value, or nothing to clear it.
#[derive(Debug, Clone)]
pub struct Clearable<T>(Option<T>);

fn clearable<T>(raw: &str) -> Result<Clearable<T>, String>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    let text = value::text(raw)?;
    if text.is_empty() {
        return Ok(Clearable(None));
    }
    text.parse()
        .map(|value| Clearable(Some(value)))
        .map_err(|error: T::Err| error.to_string())
}

fn address(raw: &str) -> Result<Clearable<IpAddr>, String> {
    let rule = |_| format!("invalid address {raw:?}: it is an IPv4 or IPv6 address");
    if raw.is_empty() {
        Ok(Clearable(None))
    } else {
        raw.parse().map(|ip| Clearable(Some(ip))).map_err(rule)
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum KindArg {
    /// One of this cluster's own clients and services
    Internal,
    /// Any other system
    External,
    /// It holds this cluster's studies
    Archive,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SyntaxArg {
    /// The linked syntax where the peer has it, else strict DICOM
    Auto,
    /// The linked syntax alone
    Linked,
    /// Strict DICOM alone
    Dicom,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DirectionArg {
    /// Relayed and accepted
    Both,
    /// Relayed only
    Send,
    /// Accepted only
    Accept,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OnPartialArg {
    /// Success with an Error Comment
    Success,
    /// Failure: unable to process
    Failure,
    /// As the setting query.on_partial says
    Default,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SuccessCommentArg {
    /// Nothing: the comment is shown
    Notice,
    /// That the answer is partial
    Partial,
}

/// The fields of a station that `add` and `set` share.
#[derive(Debug, clap::Args)]
pub struct Fields {
    /// Whose station it is
    #[arg(long, value_enum)]
    kind: Option<KindArg>,
    #[command(flatten)]
    switches: Switches,
    /// The cluster it is a door to
    #[arg(long, value_name = "NAME", value_parser = clearable::<ClusterName>)]
    cluster: Option<Clearable<ClusterName>>,
    /// A note for people
    #[arg(long, value_name = "TEXT", value_parser = clearable::<Description>)]
    description: Option<Clearable<Description>>,
    /// Rank among sources; higher first
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,
    /// Whose patient IDs it uses; several allowed, they replace those set before
    #[arg(long, value_name = "ISSUER", value_delimiter = ',', value_parser = clearable::<Issuer>)]
    issuer: Vec<Clearable<Issuer>>,
    /// Character set of its text where an answer names none, like 'ISO_IR 192'
    #[arg(long, value_name = "TERM", value_parser = clearable::<CharacterSet>)]
    charset: Option<Clearable<CharacterSet>>,
    /// The syntax spoken with it
    #[arg(long, value_enum)]
    syntax: Option<SyntaxArg>,
    /// The longest silence between whole messages, like 30s
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// Our AE title towards it, where it is not the cluster's
    #[arg(long, value_name = "AET", value_parser = clearable::<AeTitle>)]
    calling_ae: Option<Clearable<AeTitle>>,
    /// A further AE title it calls as; several allowed, they replace those set before
    #[arg(long, value_name = "AET", value_delimiter = ',', value_parser = clearable::<AeTitle>)]
    also_calls_as: Vec<Clearable<AeTitle>>,
    /// Where its calls come from; several allowed, they replace those set before
    ///
    /// An AE title alone can be typed by anyone: updates are accepted only of a caller that is proven by one of these
    /// addresses, else by that of its host (of a name: by those that it resolves to), or by its certificate.
    #[arg(long, value_name = "ADDR", num_args = 1.., value_delimiter = ',', value_parser = address)]
    from_address: Vec<Clearable<IpAddr>>,
    /// SHA-256 fingerprint of its certificate, trusted over TLS in place of an authority, whatever names and dates it
    /// has; several allowed, they replace those set before
    #[arg(long, value_name = "SHA256", num_args = 1.., value_delimiter = ',', value_parser = clearable::<Fingerprint>)]
    tls_fingerprint: Vec<Clearable<Fingerprint>>,
    /// The AE title by which it knows where moved studies go, where it is not ours
    #[arg(long, value_name = "AET", value_parser = clearable::<AeTitle>)]
    move_destination: Option<Clearable<AeTitle>>,
    /// What its own partial queries end with
    #[arg(long, value_enum)]
    on_partial: Option<OnPartialArg>,
    /// What its comment beside success says of its answer
    #[arg(long, value_enum)]
    success_comment: Option<SuccessCommentArg>,
    /// Which way updates flow
    #[arg(long, value_enum)]
    updates_direction: Option<DirectionArg>,
}

impl Fields {
    /// Puts the fields that were named onto `station`.
    pub fn apply(&self, station: &mut Station) {
        self.switches.apply(station);
        if let Some(kind) = self.kind {
            station.kind = match kind {
                KindArg::Internal => Kind::Internal,
                KindArg::External => Kind::External,
                KindArg::Archive => Kind::Archive,
            };
        }
        if let Some(syntax) = self.syntax {
            station.syntax = match syntax {
                SyntaxArg::Auto => Syntax::Auto,
                SyntaxArg::Linked => Syntax::Linked,
                SyntaxArg::Dicom => Syntax::Dicom,
            };
        }
        if let Some(direction) = self.updates_direction {
            station.updates_direction = match direction {
                DirectionArg::Both => UpdatesDirection::Both,
                DirectionArg::Send => UpdatesDirection::Send,
                DirectionArg::Accept => UpdatesDirection::Accept,
            };
        }
        if let Some(on_partial) = self.on_partial {
            station.on_partial = match on_partial {
                OnPartialArg::Success => Some(OnPartial::Success),
                OnPartialArg::Failure => Some(OnPartial::Failure),
                OnPartialArg::Default => None,
            };
        }
        if let Some(comment) = self.success_comment {
            station.success_comment = match comment {
                SuccessCommentArg::Notice => SuccessComment::Notice,
                SuccessCommentArg::Partial => SuccessComment::Partial,
            };
        }
        replace(&mut station.cluster, &self.cluster);
        replace(&mut station.description, &self.description);
        replace(&mut station.charset, &self.charset);
        replace(&mut station.calling_ae, &self.calling_ae);
        replace(&mut station.move_destination, &self.move_destination);
        replace_all(&mut station.issuers, &self.issuer);
        replace_all(&mut station.also_calls_as, &self.also_calls_as);
        replace_all(&mut station.from_addresses, &self.from_address);
        replace_all(&mut station.tls_fingerprints, &self.tls_fingerprint);
        station.priority = self.priority.unwrap_or(station.priority);
        station.timeout = self.timeout.unwrap_or(station.timeout);
    }
}

fn replace<T: Clone>(field: &mut Option<T>, given: &Option<Clearable<T>>) {
    if let Some(Clearable(value)) = given {
        field.clone_from(value);
    }
}

/// Replaces a list as a whole; each value once, in the order given.
fn replace_all<T: Clone + PartialEq>(field: &mut Vec<T>, given: &[Clearable<T>]) {
    if given.is_empty() {
        return;
    }
    field.clear();
    for value in given.iter().filter_map(|clearable| clearable.0.as_ref()) {
        if !field.contains(value) {
            field.push(value.clone());
        }
    }
}
