//! Names and IDs of patients that differ from station to station, and the character sets that stations take them in.
//!
//! Invariant: the archives are real ones.

mod charsets;
mod corrected;
mod foreign_ids;

use crate::support::cluster::chest_ct;
use crate::support::studies::Study;

/// A CT of the chest in that year, of a patient with that ID. An empty issuer leaves the objects without one.
pub fn study_of(id: &str, issuer: &'static str, year: u32) -> Study {
    let mut study = chest_ct(id, year, 2);
    study.patient.issuer = issuer;
    study
}
