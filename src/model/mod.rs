//! The values of the domain, each with its invariant in its constructor.
//!
//! Invariant: pure. Nothing here does I/O, reads a clock or the environment, or imports another room.

mod ae_title;
mod aside;
mod caller;
mod change;
mod character_set;
mod configuration;
mod cross_reference;
mod csv_lines;
mod daily_window;
mod date_range;
mod duration;
mod fingerprint;
pub mod hl7;
mod host;
mod implementation;
mod in_full;
mod invalid;
mod issued_id;
mod ledger;
mod link_flags;
mod mapping;
mod object;
mod patient_id;
mod prefetch_job;
mod prefetch_rule;
mod query;
mod query_ledger;
mod report_status;
mod revision;
mod settings;
mod state_field;
mod station;
mod station_document;
mod study;
mod study_conflict;
mod study_state;
mod text;
mod uid;
mod update;
mod wildcard;

pub use ae_title::{AeTitle, MAX_AE_TITLE};
pub use aside::{AsideReason, ExpectedPatient};
pub use caller::Caller;
pub use change::{Change, Subject, changes, station_changes};
pub use character_set::CharacterSet;
pub use configuration::{Configuration, Generation};
pub use cross_reference::{CrossReference, CrossReferenceBuilder};
pub use csv_lines::BadLine;
pub use daily_window::DailyWindow;
pub use date_range::DateRange;
pub use duration::{parse_duration, parse_keeping, show_duration};
pub use fingerprint::Fingerprint;
pub use host::{Endpoint, Host, parse_port};
pub use implementation::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME};
pub use in_full::in_full;
pub use invalid::{Invalid, shorten};
pub use issued_id::IssuedId;
pub use ledger::{LedgerEntry, Outcome};
pub use link_flags::LinkFlags;
pub use mapping::{
    CodeString, Conditions, DescriptionPattern, MAPPING_COLUMNS, Mapped, MappingRule, MappingTable,
    MappingTarget, StudyFacts, mapping_columns, read_mapping_csv,
};
pub use object::ObjectIdentity;
pub use patient_id::{IssuerDomain, PatientId, PatientIdKey};
pub use prefetch_job::{JobId, JobState, PrefetchJob, WantedPrior};
pub use prefetch_rule::{
    MaxAge, PREFETCH_COLUMNS, Patterns, PrefetchRule, PrefetchRules, Selection, least_availability,
    prefetch_csv, read_prefetch_csv,
};
pub use query::{Level, Query, Returned};
pub use query_ledger::{Asker, LedgerId, QueryLedger, Told};
pub use report_status::ReportStatus;
pub use revision::{Clock, Revision};
pub use settings::{
    ARCHIVE_PATH, ASSOCIATIONS_TO_STATION, LEDGER_KEEP_DAYS, PREFETCH_ON_ARRIVAL, RELOAD_COMMAND,
    REQUIRE_ADDRESS, SETTING_KEYS, SettingKey, Settings, TlsCallers, UPDATES_CONCURRENCY, UPDATES_KEEP_DAYS,
    UPDATES_MAX_CLOCK_AHEAD, UPDATES_POLL_DAYS, UPDATES_QUIET, setting_key,
};
pub use state_field::{FieldValue, STUDY_COMMENTS, StateField};
pub use station::{
    DEFAULT_TIMEOUT, Kind, OnPartial, Station, SuccessComment, Suspension, Syntax, UpdatesDirection,
};
pub use station_document::StationDocument;
pub use study::{Availability, ImageAnswer, SeriesAnswer, StudyAnswer, Verification};
pub use study_conflict::{ConflictParty, ConflictPath, StudyConflict};
pub use study_state::{FieldChange, Seen, StateConflict, StatusFallsBack, StudyState, Write};
pub use text::{
    ClusterName, Description, GlobalPatientId, Issuer, MAX_LONG_STRING, MappedValue, ProcedureCode,
    ReviewReason, RuleName, StationName,
};
pub use uid::{MAX_UID, Uid};
pub use update::{NewObjects, NewSeries, Objection, StudyPatient, Update, accepts_updates, relay_targets};
pub use wildcard::{is_universal, wildcard_matches};
