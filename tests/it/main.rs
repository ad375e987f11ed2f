//! The integration tests: one binary, one module a subject. What they share is in `support`.

mod support;

mod administration;
mod architecture;
mod archive;
mod archive_command;
mod archive_crash;
mod archive_import;
mod archive_matching;
mod archive_peers;
mod command_line;
mod demo;
mod dimse_acceptor;
mod dimse_misbehaviour;
mod dimse_requestor;
mod dimse_tls;
mod environment;
mod fake_peer;
mod ledger;
mod linked_query;
mod linked_syntax;
mod mapping;
mod misbehaving_peers;
mod odd_answers;
mod peers;
mod query_embedded;
mod query_ends;
mod reference;
mod service;
mod station;
mod store;
mod store_history;
mod store_processes;
mod structural_check;
mod tls;
mod unit;
