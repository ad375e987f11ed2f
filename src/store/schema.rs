//! The versions of the store's schema, and what brings an older store to the newest.
//!
//! Invariant: a migration file never changes once released. `user_version` is the number of migrations applied;
//! `application_id` marks the database as ours. When to migrate is `creation`'s.

use std::sync::LazyLock;

use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};

/// "ImxL": what tells our database from any other.
pub(super) const APPLICATION_ID: i32 = 0x496d_784c;

pub(super) const STEPS: &[M<'static>] = &[
    M::up(include_str!("migrations/0001_first.sql")),
    M::up(include_str!("migrations/0002_mapping.sql")),
    M::up(include_str!("migrations/0003_ledger.sql")),
    M::up(include_str!("migrations/0004_tls_fingerprints.sql")),
    M::up(include_str!("migrations/0005_cross_reference.sql")),
    M::up(include_str!("migrations/0006_prefetch_rules.sql")),
    M::up(include_str!("migrations/0007_prefetch_jobs.sql")),
    M::up(include_str!("migrations/0008_copies.sql")),
    M::up(include_str!("migrations/0009_study_state.sql")),
    M::up(include_str!("migrations/0010_relay_peers.sql")),
    M::up(include_str!("migrations/0011_hl7_messages.sql")),
    M::up(include_str!("migrations/0012_pulls.sql")),
    M::up(include_str!("migrations/0013_polled.sql")),
    M::up(include_str!("migrations/0014_resync_asked.sql")),
    M::up(include_str!("migrations/0015_copy_patient.sql")),
    M::up(include_str!("migrations/0016_character_sets.sql")),
    M::up(include_str!("migrations/0016_study_conflicts.sql")),
    M::up(include_str!("migrations/0017_writes.sql")),
    M::up(include_str!("migrations/0018_success_comment.sql")),
    M::up(include_str!("migrations/0019_audit_head.sql")),
    M::up(include_str!("migrations/0020_clock.sql")),
    M::up(include_str!("migrations/0021_expected_objects.sql")),
];

/// All migrations, in order.
pub(super) static MIGRATIONS: LazyLock<Migrations<'static>> = LazyLock::new(|| Migrations::from_slice(STEPS));

/// The number of the newest schema known here.
pub(super) fn newest() -> i64 {
    STEPS.len() as i64
}

/// What a database says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) application_id: i32,
    pub(super) schema: i64,
}

/// Reads them; the first access to a database, so it is here that what is none comes to light.
pub(super) fn marks(connection: &Connection) -> rusqlite::Result<Marks> {
    Ok(Marks {
        application_id: connection.pragma_query_value(None, "application_id", |row| row.get(0))?,
        schema: connection.pragma_query_value(None, "user_version", |row| row.get(0))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_migrations_apply_to_an_empty_database() {
        MIGRATIONS.validate().unwrap();
    }
}
