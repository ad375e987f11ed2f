//! Making a store that isn't there yet, and migrating one of an older version.
//!
//! Invariant: a store appears under its name whole, or not at all: it is made beside it and renamed. Both are done by
//! one process at a time. A store is copied before it is migrated, and not migrated under a running service.

use std::fs::File;
use std::io;
use std::path::Path;

use rusqlite::backup::Backup;
use rusqlite::{Connection, TransactionBehavior};
use rusqlite_migration::Migrations;

use super::lock::{CreationLock, ServiceLock, beside};
use super::{Access, StoreError, connection, ownership, schema};
use crate::model::Uid;

/// Makes the store at `path`, with its folders, unless it has come to be there meanwhile.
pub(super) fn create(path: &Path) -> Result<(), StoreError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let _lock = CreationLock::acquire(path)?;
    if path.exists() {
        return Ok(());
    }
    let draft = beside(path, ".new");
    create_draft(&draft)?;
    let io_error = |error| StoreError::from_io("create", path, error);
    // A WAL that outlived a removed store would be taken for this one's.
    remove_database_files(path).map_err(io_error)?;
    std::fs::rename(&draft, path).map_err(io_error)?;
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(io_error)
}

/// Applies the pending migrations to the open store at `path`, whose schema has the number `from`.
pub(super) fn migrate(
    path: &Path,
    connection: &mut Connection,
    from: i64,
    migrations: &Migrations<'_>,
) -> Result<(), StoreError> {
    let _lock = CreationLock::acquire(path)?;
    if let Some(holder) = ServiceLock::holder(path)?
        && holder.pid != std::process::id()
    {
        return Err(StoreError::InUse {
            path: path.to_owned(),
            holder,
        });
    }
    let sqlite_error = |error| StoreError::from_sqlite(path, error);
    if schema::marks(connection).map_err(sqlite_error)?.schema > from {
        return Ok(());
    }
    back_up(connection, &beside(path, &format!(".schema-{from}.bak")))?;
    connection.set_transaction_behavior(TransactionBehavior::Immediate);
    migrations
        .to_latest(connection)
        .map_err(|error| migration_error(path, error))?;
    // So that the mark of its content is in the database itself.
    connection
        .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
        .map_err(sqlite_error)
}

fn create_draft(draft: &Path) -> Result<(), StoreError> {
    let io_error = |error| StoreError::from_io("create", draft, error);
    remove_database_files(draft).map_err(io_error)?;
    ownership::create(draft).map_err(io_error)?;
    // On any failure the draft stays for the next to remove; nobody takes it for a store.
    let (mut connection, _) = connection::open(draft, Access::ReadWrite)?;
    let sqlite_error = |error| StoreError::from_sqlite(draft, error);
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .and_then(|()| connection.pragma_update(None, "application_id", schema::APPLICATION_ID))
        .map_err(sqlite_error)?;
    schema::MIGRATIONS
        .to_latest(&mut connection)
        .map_err(|error| migration_error(draft, error))?;
    let uid = new_cluster_uid();
    connection
        .execute("INSERT INTO cluster (id, uid) VALUES (1, ?1)", [uid.as_str()])
        .and_then(|_| connection::checkpoint_on_close(&connection, true))
        .map_err(sqlite_error)?;
    connection.close().map_err(|(_, error)| sqlite_error(error))
}

/// A UID from a random UUID (PS3.5 B.2).
fn new_cluster_uid() -> Uid {
    let text = format!("2.25.{}", uuid::Uuid::new_v4().as_u128());
    match text.parse() {
        Ok(uid) => uid,
        Err(error) => unreachable!("{error}"),
    }
}

fn remove_database_files(path: &Path) -> io::Result<()> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        match std::fs::remove_file(beside(path, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn back_up(connection: &Connection, backup: &Path) -> Result<(), StoreError> {
    let io_error = |error| StoreError::from_io("create", backup, error);
    let sqlite_error = |error| StoreError::from_sqlite(backup, error);
    remove_database_files(backup).map_err(io_error)?;
    ownership::create(backup).map_err(io_error)?;
    let mut copy = Connection::open(backup).map_err(sqlite_error)?;
    Backup::new(connection, &mut copy)
        .and_then(|copying| copying.run_to_completion(256, std::time::Duration::ZERO, None))
        .map_err(sqlite_error)?;
    copy.close().map_err(|(_, error)| sqlite_error(error))
}

fn migration_error(path: &Path, error: rusqlite_migration::Error) -> StoreError {
    match error {
        rusqlite_migration::Error::RusqliteError { err, .. } => StoreError::from_sqlite(path, err),
        other => StoreError::Corrupt {
            path: path.to_owned(),
            detail: other.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rusqlite_migration::M;

    use super::*;
    use crate::store::Store;

    /// The migrations of today, and one that a later version might add.
    fn later_migrations(later: &'static str) -> Migrations<'static> {
        Migrations::new([schema::STEPS, &[M::up(later)]].concat())
    }

    fn old_store(folder: &Path) -> (PathBuf, Connection) {
        let path = folder.join("impaxlink.db");
        drop(Store::open(&path, Access::ReadWrite).unwrap());
        let (connection, _) = connection::open(&path, Access::ReadWrite).unwrap();
        (path, connection)
    }

    fn schema_of(path: &Path) -> i64 {
        let (connection, marks) = connection::open(path, Access::ReadOnly).unwrap();
        let check: String = connection
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(check, "ok");
        marks.schema
    }

    #[test]
    fn a_store_is_copied_and_then_migrated() {
        let folder = tempfile::tempdir().unwrap();
        let (path, mut connection) = old_store(folder.path());
        let migrations = later_migrations("CREATE TABLE later (x TEXT) STRICT");
        migrate(&path, &mut connection, schema::newest(), &migrations).unwrap();
        let (old, new) = (schema::newest(), schema::newest() + 1);
        assert_eq!(schema_of(&path), new);
        assert_eq!(schema_of(&beside(&path, &format!(".schema-{old}.bak"))), old);
        let newer = Store::open(&path, Access::ReadWrite).unwrap_err();
        assert!(matches!(newer, StoreError::MadeByNewer { found, .. } if found == new));
    }

    #[test]
    fn a_store_of_the_first_schema_is_brought_to_the_newest_with_all_that_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("impaxlink.db");
        let mut connection = Connection::open(&path).unwrap();
        let first = Migrations::new(schema::STEPS[..1].to_vec());
        first.to_latest(&mut connection).unwrap();
        connection
            .pragma_update(None, "application_id", schema::APPLICATION_ID)
            .unwrap();
        let rows = "INSERT INTO cluster (id, uid) VALUES (1, '2.25.1'); \
             INSERT INTO setting VALUES ('issuer', 'NORTH')";
        connection.execute_batch(rows).unwrap();
        drop(connection);
        let older = Store::open(&path, Access::ReadOnly).unwrap_err();
        assert!(matches!(older, StoreError::MadeByOlder { found: 1, .. }));
        let store = Store::open(&path, Access::ReadWrite).unwrap();
        let configuration = store.configuration().unwrap();
        assert_eq!(configuration.settings.issuer().unwrap().as_str(), "NORTH");
        assert_eq!(configuration.mapping, None);
        assert_eq!(store.cluster_uid().as_str(), "2.25.1");
        assert_eq!(schema_of(&beside(&path, ".schema-1.bak")), 1);
    }

    #[test]
    fn a_migration_that_fails_leaves_the_store_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (path, mut connection) = old_store(folder.path());
        let migrations = later_migrations("CREATE TABLE later (x TEXT) STRICT; DROP TABLE missing");
        migrate(&path, &mut connection, schema::newest(), &migrations).unwrap_err();
        drop(connection);
        assert_eq!(schema_of(&path), schema::newest());
        Store::open(&path, Access::ReadWrite).unwrap();
    }

    #[test]
    fn a_store_is_not_migrated_under_a_running_service() {
        let folder = tempfile::tempdir().unwrap();
        let (path, mut connection) = old_store(folder.path());
        let migrations = later_migrations("CREATE TABLE later (x TEXT) STRICT");
        let _service = ServiceLock::acquire(&path).unwrap();
        let mut holder = ServiceLock::holder(&path).unwrap().unwrap();
        holder.pid += 1;
        let file = beside(&path, ".service.lock");
        std::fs::write(file, serde_json::to_vec(&holder).unwrap()).unwrap();
        let error = migrate(&path, &mut connection, schema::newest(), &migrations).unwrap_err();
        assert!(matches!(error, StoreError::InUse { .. }), "{error:?}");
        assert_eq!(schema_of(&path), schema::newest());
    }
}
