//! Bringing a study to an archive station of the local cluster, from the best of its sources, then from the next.
//!
//! - `request`, `report`: what is asked for, and what came of it
//! - `copies`: where the study is, and which of its instances are at each place
//! - `held`: what the local archives have of it
//! - `destination`: the archive it is brought to
//! - `errand`: source after source, each looked at again by what has arrived
//! - `wanted`, `proposals`: what is asked of a source, and in which presentation contexts
//! - `line`: an association with a station, and what to say where it fails
//! - `moving`, `getting`: the two ways; of what is got, `storing` writes it into the embedded archive, and `passing_on`
//!   sends it to another one
//!
//! Invariants: what is there is not fetched again, so an errand that broke off goes on where it was. What counts is what
//! the destination lists afterwards, never what a source claims. Memory is bounded whatever a study's size.
//! Start reading at `errand`.

mod copies;
mod destination;
mod errand;
mod gate;
mod getting;
mod held;
mod line;
mod moving;
mod passing_on;
mod proposals;
mod report;
mod request;
mod storing;
mod wanted;

pub use copies::list;
pub use copies::{Instance, instances, sources_to_ask};
pub use errand::retrieve;
pub use gate::{Gate, Refusal};
pub use held::{Held, held_here};
pub use proposals::{MAX_KINDS, ObjectKind, kinds};
pub use report::{RetrieveError, Retrieved, SourceReport, Unanswered};
pub use request::{Method, Progress, RetrieveRequest, Scope};
pub use wanted::{Wanted, wanted_of};
