//! The keys of `config`, in the order in which they are listed.
//!
//! Invariant: every default passes the rule of its key; a test holds them to it.

use super::rules::{
    is, is_absolute_path, is_count, is_days, is_duration, is_keeping, is_large_count, is_message_length,
    is_not_empty, is_on_off, is_on_partial, is_pdu_length, is_small_number, is_socket_address,
    is_tls_callers,
};
use super::{
    ARCHIVE_PATH, ASSOCIATIONS_TO_STATION, HL7_KEEP_DAYS, HL7_WAIT, LEDGER_KEEP_DAYS, PREFETCH_ON_ARRIVAL,
    RELOAD_COMMAND, REQUIRE_ADDRESS, SettingKey, UPDATES_CONCURRENCY, UPDATES_KEEP_DAYS,
    UPDATES_MAX_CLOCK_AHEAD, UPDATES_POLL_DAYS, UPDATES_QUIET,
};
use crate::model::hl7::{Authorities, FieldPaths, MessageTypes, ReportCodes, Senders};
use crate::model::{AeTitle, ClusterName, DailyWindow, Invalid, Issuer, StationName};

/// Result status (HL7 table 0123) and order status (table 0038). What says nothing of the report changes nothing.
/// An order that is received (O) or scheduled (S, SC) says nothing: its study may come weeks later.
const DEFAULT_REPORT_CODES: &str = "I=NEW,IP=NEW,A=DICTATED,R=TRANSCRIBED,P=TRANSCRIBED,F=APPROVED,\
    C=APPROVED!,CM=-,CA=-,DC=-,ER=-,HD=-,O=-,RP=-,S=-,SC=-,X=-,Y=-,Z=-";

/// Every key, in the order of `config list`.
pub static SETTING_KEYS: &[SettingKey] = &[
    key(
        "ae_title",
        "IMPAXLINK",
        "the local cluster's AE title, as SCU and SCP",
        is::<AeTitle>,
    ),
    key(
        "cluster_name",
        "",
        "shown to linked clusters; the host's name where unset",
        is::<ClusterName>,
    ),
    key(
        "listen",
        "0.0.0.0:11112",
        "address and port where the service listens",
        is_socket_address,
    ),
    key(
        "issuer",
        "",
        "issuer of the local cluster's patient IDs",
        is::<Issuer>,
    ),
    key(
        ARCHIVE_PATH,
        "",
        "where the embedded archive keeps its files and index; the folder archive beside the store where unset",
        is_absolute_path,
    ),
    key(
        RELOAD_COMMAND,
        "",
        "run by the shell after each save, for systems that are not ours",
        is_not_empty,
    ),
    key(
        "reload.timeout",
        "30s",
        "how long a reload, or the reload command, may take",
        is_duration,
    ),
    key(
        "query.on_partial",
        "success",
        "final status of our SCP when a linked cluster failed: success or failure",
        is_on_partial,
    ),
    key(
        "query.local_first",
        "2s",
        "how long linked rows wait for the local ones",
        is_duration,
    ),
    key(
        "query.deadline",
        "20s",
        "how long a linked cluster may hold up the end once the others have finished",
        is_duration,
    ),
    key(
        LEDGER_KEEP_DAYS,
        "90",
        "how many days the ledgers of past queries are kept",
        is_days,
    ),
    key(
        PREFETCH_ON_ARRIVAL,
        "off",
        "whether the service brings the priors of a study that arrives: on or off",
        is_on_off,
    ),
    key(
        "prefetch.keep",
        "30d",
        "how long a study of a linked cluster stays in the embedded archive after it was last brought or used",
        is_keeping,
    ),
    key(
        "prefetch.quiet_time",
        "1m",
        "how long nothing more of a study must arrive before it counts as arrived",
        is_duration,
    ),
    key(
        "prefetch.worklist.station",
        "",
        "the station whose modality worklist says who is scheduled",
        is::<StationName>,
    ),
    key(
        "prefetch.worklist.poll",
        "",
        "how often the service asks the worklist for today and tomorrow; never where unset",
        is_duration,
    ),
    key(
        "prefetch.hours",
        "",
        "hours in which priors are brought, like 20:00-06:00; all where unset",
        is::<DailyWindow>,
    ),
    key(
        "prefetch.concurrency",
        "2",
        "priors brought at once from each source, all processes together",
        is_count,
    ),
    key(
        "prefetch.retries",
        "3",
        "how often the sources of a prior are asked again when none gave it",
        is_small_number,
    ),
    key(
        "prefetch.retry_after",
        "1m",
        "how long after the first time; twice as long after each further one",
        is_duration,
    ),
    key(
        REQUIRE_ADDRESS,
        "off",
        "admit a station only from an address it is known by, or with its certificate",
        is_on_off,
    ),
    key(
        "limits.associations",
        "200",
        "associations the service holds at once",
        is_count,
    ),
    key(
        "limits.associations_per_station",
        "32",
        "associations at once from each address of each station",
        is_count,
    ),
    key(
        ASSOCIATIONS_TO_STATION,
        "16",
        "associations at once to each station that queries are put to; others wait their turn",
        is_count,
    ),
    key(
        "limits.studies",
        "2000000",
        "studies the service gives to one query",
        is_large_count,
    ),
    key(
        "limits.pdu",
        "131072",
        "greatest PDU we take, in bytes",
        is_pdu_length,
    ),
    key(
        "limits.message",
        "16777216",
        "greatest data set of a query or answer, in bytes",
        is_message_length,
    ),
    key(
        "tls.certificate",
        "",
        "our certificate and those between it and its authority: a PEM file",
        is_absolute_path,
    ),
    key(
        "tls.key",
        "",
        "the key of our certificate: a PEM file",
        is_absolute_path,
    ),
    key(
        "tls.authorities",
        "",
        "certificates of the authorities that we trust: a PEM file",
        is_absolute_path,
    ),
    key(
        "tls.listen",
        "",
        "address and port where the service listens for TLS; none where unset",
        is_socket_address,
    ),
    key(
        "tls.callers",
        "optional",
        "certificates of callers over TLS: none, optional (stations with --tls show one) or required",
        is_tls_callers,
    ),
    key(
        UPDATES_CONCURRENCY,
        "2",
        "of how many studies the new objects that updates name are fetched at once",
        is_count,
    ),
    key(
        UPDATES_KEEP_DAYS,
        "90",
        "how many days updates are kept that were applied and delivered",
        is_days,
    ),
    key(
        UPDATES_MAX_CLOCK_AHEAD,
        "5m",
        "how far ahead another cluster's clock may be; an update from further is parked",
        is_duration,
    ),
    key(
        UPDATES_QUIET,
        "30s",
        "how long nothing more of a study must arrive before linked clusters are told of its new objects",
        is_duration,
    ),
    key(
        "updates.poll",
        "",
        "how often the service asks archives that are not ours for new objects; never where unset",
        is_duration,
    ),
    key(
        UPDATES_POLL_DAYS,
        "2",
        "of how many study dates, today's among them, it asks for them",
        is_days,
    ),
    key(
        "hl7.listen",
        "",
        "address and port where the service takes HL7 messages (MLLP), like 0.0.0.0:2575; none where unset",
        is_socket_address,
    ),
    key(
        "hl7.from",
        "127.0.0.1,::1",
        "addresses of those who may send HL7 messages, with commas",
        is::<Senders>,
    ),
    key(
        "hl7.ignore",
        "ADT^A01,ADT^A02,ADT^A03,ADT^A04,ADT^A05,ADT^A11,ADT^A12,ADT^A13,ADT^A28,SIU",
        "types of HL7 messages that are answered AA and with which nothing is done, with commas; others are refused",
        is::<MessageTypes>,
    ),
    key(
        "hl7.status",
        DEFAULT_REPORT_CODES,
        "what codes of HL7 say of a report: CODE=STATUS, with commas; STATUS! may take a report back, - says nothing",
        is::<ReportCodes>,
    ),
    key(
        "hl7.status_fields",
        "OBR-25,OBX-11,ORC-5",
        "fields with the code of a report's status: the first that has one counts",
        is::<FieldPaths>,
    ),
    key(
        "hl7.study_fields",
        "ZDS-1,IPC-3,OBX-5:113014",
        "fields with the Study Instance UID; OBX-5:CODE is the OBX whose OBX-3 is CODE",
        is::<FieldPaths>,
    ),
    key(
        "hl7.accession_fields",
        "IPC-1,OBR-18,OBR-3,ORC-3",
        "fields with the accession number, where no study's UID is given: the first that has one counts",
        is::<FieldPaths>,
    ),
    key(
        "hl7.issuers",
        "",
        "assigning authorities of HL7 and the issuers that they are: AUTHORITY=ISSUER, with commas; others by their name",
        is::<Authorities>,
    ),
    key(
        HL7_WAIT,
        "7d",
        "how long an HL7 message waits for its study to come, before a person is to look",
        is_keeping,
    ),
    key(
        HL7_KEEP_DAYS,
        "30",
        "how many days HL7 messages are kept that are done",
        is_days,
    ),
    key(
        "timeout.connect",
        "5s",
        "for name resolution and the TCP connection",
        is_duration,
    ),
    key(
        "timeout.association",
        "10s",
        "for the answer to an association request",
        is_duration,
    ),
    key(
        "timeout.artim",
        "10s",
        "for the request on a new connection (PS3.8 9.1.5, ARTIM)",
        is_duration,
    ),
    key(
        "timeout.idle",
        "10m",
        "silence after which an association is closed",
        is_duration,
    ),
    key(
        "timeout.drain",
        "30s",
        "for operations under way when the service ends",
        is_duration,
    ),
];

const fn key(
    name: &'static str,
    default: &'static str,
    description: &'static str,
    check: fn(&str) -> Result<(), Invalid>,
) -> SettingKey {
    SettingKey {
        name,
        default,
        description,
        check,
    }
}
