//! Objects brought from the stations that have them to an archive, a station or a caller.
//!
//! Sources → stream of objects → gate → sink, for all who retrieve:
//! - `copies`: who has what of a study, best first, and where its UID stands for another patient
//! - `peer`: one copy as a source: `get`, `move_here` with [`Arrivals`], or `files` of the embedded archive;
//!   `association`, `selection` and `kinds`: what is asked of a station, and in which presentation contexts
//! - `object`, [`Gate`]: objects on their way, each looked at before a sink sees it
//! - `transfer`: from a source through the gate to a sink, and the counts; `archive_sink`, `station_sink`: the sinks;
//!   `outgoing`: a C-STORE
//! - [`retrieve`] (`to_archive`): a study brought to an archive station of the local cluster, as a [`RetrieveRequest`]
//!   says; `find`: its copies; `destination`, `direct_move`: that archive station, and objects sent to it directly;
//!   `records`: what it puts on record; `report`: what came of it
//! - `held`: what the local archives have of a study
//!
//! Invariants: no object reaches a sink that the gate refuses. What is there is not fetched again, so a retrieve that
//! broke off goes on where it was. What counts is what the destination lists afterwards, never what a source claims.
//! Memory is bounded whatever a study's size. Start reading at `to_archive`, and for callers at `service::retrieve`.

mod archive_sink;
mod arrivals;
mod association;
mod copies;
mod destination;
mod direct_move;
mod files;
mod find;
mod gate;
mod get;
mod held;
mod kinds;
mod move_here;
mod object;
mod outgoing;
mod peer;
mod records;
mod report;
mod request;
mod resources;
mod selection;
mod station_sink;
mod to_archive;
mod transfer;

pub use arrivals::Arrivals;
pub use copies::{Answers, Copy, Instance, Listing, Search, StudyCopies};
pub use find::{list, stations_to_ask};
pub use gate::{Gate, Refusal};
pub use held::{Held, held_here};
pub use kinds::ObjectKind;
pub(crate) use peer::Source;
pub use report::{RetrieveError, Retrieved, SourceReport, Unanswered};
pub use request::{Method, Progress, RetrieveRequest, Scope};
pub use resources::Resources;
pub(crate) use station_sink::StationSink;
pub use to_archive::retrieve;
pub(crate) use transfer::{Client, Sink, Transfer};
