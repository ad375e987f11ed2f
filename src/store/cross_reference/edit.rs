//! Linking and unlinking: one transaction, one change, one record in the audit, or none of them.
//!
//! Invariants: an identity is one person's. Linking makes persons one; a person has at most one global patient ID, so
//! two who have each their own are never made one. An identity that is left alone, without a global patient ID, says
//! nothing and is not kept. One issuer may have several IDs of a person: records that were merged.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, named_params, params};

use super::LinkOrigin;
use crate::audit::{Attribution, Event, PatientsLinked};
use crate::model::{GlobalPatientId, IssuedId};
use crate::store::{Store, StoreError, audit_log, connection};

/// The most identities that are named in a record of the audit.
const MOST_NAMED: usize = 64;
/// How much of the database a large import holds in memory, in KiB.
const IMPORT_CACHE: i64 = 64 * 1024;
const USUAL_CACHE: i64 = 2 * 1024;

/// Why identities are not linked.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// They are two persons.
    #[error("two persons: they have different global patient IDs")]
    TwoGlobalIds,
    /// The store can't be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why the cross-reference is as it was.
#[derive(Debug, thiserror::Error)]
pub enum EditError<E> {
    /// Who edits it or takes what is read has refused.
    #[error("it was refused")]
    Refused(#[source] E),
    /// The store can't be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The cross-reference while it is changed.
#[derive(Debug)]
pub struct CrossReferenceEdit<'s> {
    store: &'s Store,
    did: PatientsLinked,
}

impl Store {
    /// Makes `edit` to the cross-reference, with its record in the audit; where `is_dry_run`, only tells what it would
    /// do. Where nothing changes, nothing is written.
    ///
    /// # Errors
    /// That of `edit`. Whatever the error, nothing was written.
    pub fn edit_cross_reference<E>(
        &self,
        attribution: &Attribution,
        origin: LinkOrigin,
        is_dry_run: bool,
        edit: impl FnOnce(&mut CrossReferenceEdit<'_>) -> Result<(), E>,
    ) -> Result<PatientsLinked, EditError<E>> {
        let is_large = origin == LinkOrigin::Import;
        let cache = |kib: i64| self.sqlite(self.connection.pragma_update(None, "cache_size", -kib));
        if is_large {
            cache(IMPORT_CACHE)?;
        }
        let transaction = self.begin_write()?;
        let mut editing = self.begin_edit(attribution, origin)?;
        edit(&mut editing).map_err(EditError::Refused)?;
        let mut did = editing.did;
        if is_large || did.identities.len() > MOST_NAMED {
            did.identities.clear();
        }
        if !is_dry_run && did.has_changed() {
            let event = Event::PatientsLinked(did.clone());
            let written = audit_log::append(&transaction, &self.cluster_uid, attribution, &event)
                .and_then(|()| transaction.commit())
                .and_then(|()| connection::checkpoint_on_close(&self.connection, true));
            self.sqlite(written)?;
        } else {
            self.sqlite(transaction.rollback())?;
        }
        if is_large {
            cache(USUAL_CACHE)?;
        }
        Ok(did)
    }
}

impl Store {
    /// Links within a write transaction that is open, with its record in the audit. Where it is refused, or was so
    /// already, nothing is written.
    pub(in crate::store) fn link_within(
        &self,
        attribution: &Attribution,
        origin: LinkOrigin,
        identities: &[IssuedId],
    ) -> Result<bool, LinkError> {
        let mut editing = self.begin_edit(attribution, origin)?;
        let change = editing.did.change;
        let linked = editing.link(identities, None);
        let written = match &linked {
            Ok(true) => {
                let event = Event::PatientsLinked(editing.did);
                audit_log::append(&self.connection, &self.cluster_uid, attribution, &event)
            }
            _ => self
                .connection
                .execute("DELETE FROM cross_reference_change WHERE change = ?1", [change])
                .map(drop),
        };
        self.sqlite(written)?;
        linked
    }

    fn begin_edit(
        &self,
        attribution: &Attribution,
        origin: LinkOrigin,
    ) -> Result<CrossReferenceEdit<'_>, StoreError> {
        let change = self.cross_reference_change()? + 1;
        let begun = self.connection.execute(
            "INSERT INTO cross_reference_change (change, at, user, reason, origin) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                change,
                Timestamp::now().as_microsecond(),
                attribution.person(),
                attribution.reason,
                origin.as_str()
            ],
        );
        self.sqlite(begun)?;
        let did = PatientsLinked {
            change,
            ..PatientsLinked::default()
        };
        Ok(CrossReferenceEdit { store: self, did })
    }
}

impl CrossReferenceEdit<'_> {
    /// Makes all these identities, and the person with that global patient ID, one person. Says whether that was new.
    ///
    /// # Errors
    /// `TwoGlobalIds` where they are known to be two persons; they stay as they were.
    pub fn link(
        &mut self,
        identities: &[IssuedId],
        global_id: Option<&GlobalPatientId>,
    ) -> Result<bool, LinkError> {
        let mut known = Vec::with_capacity(identities.len());
        for identity in identities {
            known.push(self.person_of(identity)?);
        }
        let of_global_id = match global_id {
            Some(global_id) => self.person_of_global_id(global_id)?,
            None => None,
        };
        let persons: BTreeSet<i64> = known.iter().copied().chain([of_global_id]).flatten().collect();
        let mut global_ids = BTreeSet::new();
        global_ids.extend(global_id.map(|id| id.as_str().to_owned()));
        if persons.len() > usize::from(of_global_id.is_some()) {
            for person in &persons {
                global_ids.extend(self.global_id_of(*person)?);
            }
        }
        if global_ids.len() > 1 {
            return Err(LinkError::TwoGlobalIds);
        }
        let before = self.did.clone();
        let person = match persons.first() {
            Some(person) => *person,
            None => self.new_person()?,
        };
        for other in persons.iter().skip(1) {
            self.move_all(*other, person)?;
        }
        for (identity, _) in identities.iter().zip(&known).filter(|(_, known)| known.is_none()) {
            self.add(identity, person)?;
        }
        if let Some(global_id) = global_ids.first() {
            self.set_global_id(person, global_id)?;
        }
        let is_new = self.did != before;
        if is_new && self.did.identities.len() <= MOST_NAMED {
            self.did
                .identities
                .extend(identities.iter().map(IssuedId::to_string));
        }
        Ok(is_new)
    }

    /// Takes an identity out of its person. Says whether it was known.
    pub fn unlink(&mut self, identity: &IssuedId) -> Result<bool, StoreError> {
        let Some(person) = self.person_of(identity)? else {
            return Ok(false);
        };
        let sql = "DELETE FROM patient_identity WHERE issuer = ?1 AND patient_id = ?2";
        self.execute(sql, params![identity.issuer().as_str(), identity.id()])?;
        let left: u64 = self.store.sqlite(self.store.connection.query_row(
            "SELECT count(*) FROM patient_identity WHERE person = ?1",
            [person],
            |row| row.get(0),
        ))?;
        self.did.removed += 1;
        if left == 0 || (left == 1 && self.global_id_of(person)?.is_none()) {
            self.execute("DELETE FROM patient_identity WHERE person = ?1", [person])?;
            self.execute("DELETE FROM person WHERE person = ?1", [person])?;
            self.did.removed += left;
        }
        self.did.identities.push(identity.to_string());
        Ok(true)
    }

    /// How often a person has several IDs of one issuer: the person with this identity, or any.
    pub fn several_ids_of_an_issuer(&self, of: Option<&IssuedId>) -> Result<u64, StoreError> {
        let person = match of {
            Some(identity) => self.person_of(identity)?,
            None => None,
        };
        let only = person.map_or(String::new(), |person| format!("WHERE person = {person}"));
        let sql = format!(
            "SELECT count(*) FROM (SELECT 1 FROM patient_identity {only} GROUP BY person, issuer HAVING count(*) > 1)"
        );
        let counted = self.store.connection.query_row(&sql, [], |row| row.get(0));
        self.store.sqlite(counted)
    }

    fn new_person(&self) -> Result<i64, StoreError> {
        self.execute("INSERT INTO person (global_id) VALUES (NULL)", [])?;
        Ok(self.store.connection.last_insert_rowid())
    }

    fn add(&mut self, identity: &IssuedId, person: i64) -> Result<(), StoreError> {
        let sql = "INSERT INTO patient_identity (issuer, patient_id, person, change) \
                   VALUES (:issuer, :id, :person, :change) ON CONFLICT DO NOTHING";
        // The same identity may be named twice.
        self.did.added += self.execute(
            sql,
            named_params! {
                ":issuer": identity.issuer().as_str(),
                ":id": identity.id(),
                ":person": person,
                ":change": self.did.change,
            },
        )?;
        Ok(())
    }

    fn move_all(&mut self, from: i64, to: i64) -> Result<(), StoreError> {
        let sql = "UPDATE patient_identity SET person = ?2, change = ?3 WHERE person = ?1";
        self.did.moved += self.execute(sql, params![from, to, self.did.change])?;
        self.execute("DELETE FROM person WHERE person = ?1", [from])?;
        Ok(())
    }

    fn set_global_id(&mut self, person: i64, global_id: &str) -> Result<(), StoreError> {
        let sql = "UPDATE person SET global_id = ?2 WHERE person = ?1 AND global_id IS NULL";
        self.did.global_ids += self.execute(sql, params![person, global_id])?;
        Ok(())
    }

    fn person_of(&self, identity: &IssuedId) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT person FROM patient_identity WHERE issuer = ?1 AND patient_id = ?2";
        self.one(sql, params![identity.issuer().as_str(), identity.id()])
    }

    fn person_of_global_id(&self, global_id: &GlobalPatientId) -> Result<Option<i64>, StoreError> {
        self.one(
            "SELECT person FROM person WHERE global_id = ?1",
            [global_id.as_str()],
        )
    }

    fn global_id_of(&self, person: i64) -> Result<Option<String>, StoreError> {
        let sql = "SELECT global_id FROM person WHERE person = ?1 AND global_id IS NOT NULL";
        self.one(sql, [person])
    }

    fn one<T: rusqlite::types::FromSql>(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.store.sqlite(self.store.connection.prepare_cached(sql))?;
        let read = statement.query_row(parameters, |row| row.get(0));
        self.store.sqlite(read.optional())
    }

    fn execute(&self, sql: &str, parameters: impl rusqlite::Params) -> Result<u64, StoreError> {
        let mut statement = self.store.sqlite(self.store.connection.prepare_cached(sql))?;
        let changed = self.store.sqlite(statement.execute(parameters))?;
        Ok(changed as u64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::PatientId;
    use crate::store::Access;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("x.db"), Access::ReadWrite).unwrap();
        (folder, store)
    }

    fn by_jdoe() -> Attribution {
        Attribution {
            user: "jdoe".to_owned(),
            uid: 1000,
            real_user: None,
            command: "impaxlink patient link".to_owned(),
            reason: Some("CHG1".to_owned()),
        }
    }

    fn id(text: &str) -> IssuedId {
        text.parse().unwrap()
    }

    fn link(
        store: &Store,
        ids: &[&str],
        global_id: Option<&str>,
    ) -> Result<PatientsLinked, EditError<LinkError>> {
        let ids: Vec<IssuedId> = ids.iter().map(|text| id(text)).collect();
        let global_id: Option<GlobalPatientId> = global_id.map(|text| text.parse().unwrap());
        store.edit_cross_reference(&by_jdoe(), LinkOrigin::Command, false, |edit| {
            edit.link(&ids, global_id.as_ref()).map(drop)
        })
    }

    fn unlink(store: &Store, text: &str) -> PatientsLinked {
        let unlinked = store.edit_cross_reference(&by_jdoe(), LinkOrigin::Command, false, |edit| {
            edit.unlink(&id(text)).map(drop)
        });
        unlinked.unwrap()
    }

    fn known(store: &Store, text: &str) -> Vec<String> {
        let (known, _) = store.cross_reference().unwrap();
        let patient: PatientId = id(text).into();
        let shown = |patient: &PatientId| format!("{}^^^{}", patient.id, patient.domain);
        known.identities(&patient).iter().map(shown).collect()
    }

    #[test]
    fn linking_two_persons_makes_one() {
        let (_folder, store) = store();
        link(&store, &["4711^^^NORTH", "88^^^HARBOUR"], None).unwrap();
        link(&store, &["9^^^VALLEY"], Some("G1")).unwrap();
        let did = link(&store, &["88^^^HARBOUR", "9^^^VALLEY"], None).unwrap();
        assert_eq!((did.change, did.added, did.moved), (3, 0, 1));
        assert_eq!(
            known(&store, "4711^^^NORTH"),
            ["88^^^HARBOUR", "4711^^^NORTH", "9^^^VALLEY"]
        );
        let (whole, change) = store.cross_reference().unwrap();
        assert_eq!(whole.global_id(&id("4711^^^NORTH").into()), Some("G1"));
        assert_eq!(change, 3);
        let again = link(&store, &["9^^^VALLEY", "4711^^^NORTH"], Some("G1")).unwrap();
        assert!(!again.has_changed());
        assert_eq!(store.cross_reference_change().unwrap(), 3, "nothing was written");
        assert_eq!(store.verify_audit(None).unwrap().records, 3);
    }

    #[test]
    fn two_global_ids_are_two_persons() {
        let (_folder, store) = store();
        link(&store, &["4711^^^NORTH"], Some("G1")).unwrap();
        link(&store, &["88^^^HARBOUR"], Some("G2")).unwrap();
        let (_, before) = store.cross_reference().unwrap();
        for (ids, global_id) in [
            (&["4711^^^NORTH", "88^^^HARBOUR"][..], None),
            (&["4711^^^NORTH"], Some("G2")),
            (&["4711^^^NORTH", "5^^^VALLEY"], Some("G3")),
        ] {
            let refused = link(&store, ids, global_id).unwrap_err();
            assert!(matches!(refused, EditError::Refused(LinkError::TwoGlobalIds)));
        }
        assert_eq!(store.cross_reference().unwrap().1, before);
        assert_eq!(known(&store, "5^^^VALLEY"), ["5^^^VALLEY"]);
        unlink(&store, "88^^^HARBOUR");
        link(&store, &["4711^^^NORTH", "88^^^HARBOUR"], None).unwrap();
        assert_eq!(known(&store, "88^^^HARBOUR").len(), 2);
    }

    #[test]
    fn who_is_left_alone_is_no_longer_kept() {
        let (_folder, store) = store();
        link(&store, &["4711^^^NORTH", "88^^^HARBOUR"], None).unwrap();
        assert_eq!(unlink(&store, "88^^^HARBOUR").removed, 2);
        assert!(store.cross_reference().unwrap().0.is_empty());
        link(&store, &["4711^^^NORTH", "88^^^HARBOUR"], Some("G1")).unwrap();
        assert_eq!(unlink(&store, "88^^^HARBOUR").removed, 1);
        assert!(!unlink(&store, "88^^^HARBOUR").has_changed());
        let of = store.cross_reference_of(None, Some("G1")).unwrap();
        assert_eq!(of.of_global_id("G1"), [id("4711^^^NORTH").into()]);
    }

    #[test]
    fn a_part_is_read_by_an_id_of_whatever_issuer() {
        let (_folder, store) = store();
        link(&store, &["4711^^^NORTH", "88^^^HARBOUR"], None).unwrap();
        link(&store, &["4711^^^VALLEY", "5^^^HARBOUR"], None).unwrap();
        link(&store, &["1^^^VALLEY", "2^^^HARBOUR"], None).unwrap();
        let part = store.cross_reference_of(Some("4711"), None).unwrap();
        assert_eq!(part.len(), 4);
        assert!(part.is_same_person(&id("5^^^HARBOUR").into(), &id("4711^^^VALLEY").into()));
        assert!(store.cross_reference_of(Some("3"), None).unwrap().is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Against groups that are simply joined.
        #[test]
        fn links_are_a_union(links in prop::collection::vec((0_u8..12, 0_u8..12), 1..24)) {
            let (_folder, store) = store();
            let mut groups: Vec<BTreeSet<u8>> = Vec::new();
            for (one, other) in links {
                let name = |number: u8| format!("{number}^^^I{}", number % 3);
                if one == other {
                    continue;
                }
                link(&store, &[&name(one), &name(other)], None).unwrap();
                let (met, mut rest): (Vec<_>, Vec<_>) = groups
                    .into_iter()
                    .partition(|group| group.contains(&one) || group.contains(&other));
                let joined = met.into_iter().flatten().chain([one, other]).collect();
                rest.push(joined);
                groups = rest;
            }
            let (whole, _) = store.cross_reference().unwrap();
            prop_assert_eq!(whole.len(), groups.iter().map(BTreeSet::len).sum::<usize>());
            for group in &groups {
                let patient = |number: &u8| PatientId::from(id(&format!("{number}^^^I{}", number % 3)));
                let first = patient(group.first().unwrap());
                prop_assert_eq!(whole.identities(&first).len(), group.len());
                prop_assert!(group.iter().all(|number| whole.is_same_person(&first, &patient(number))));
            }
        }
    }
}
