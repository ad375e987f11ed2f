//! Which patient IDs of different issuers are one person's.
//!
//! Invariants: an ID of an issuer is at most one person's; a person has at most one global patient ID. What is not said
//! here is not known: nothing is concluded from names or dates of birth, and an ID without a named issuer is nobody's.
//! It never changes once built, so that a query keeps the one it began with. Compact: about 30 bytes an ID, whatever
//! their number. How persons are linked is `store`'s.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::{Invalid, Issuer, IssuerDomain, PatientId};

/// The cross-reference, in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CrossReference {
    issuers: Vec<Issuer>,
    /// The IDs of all identities, one after the other.
    ids: String,
    /// In order of person.
    identities: Vec<Entry>,
    persons: Vec<Person>,
    /// Places among the identities, by issuer and ID.
    by_identity: Vec<u32>,
    /// Places among the persons, by global patient ID.
    by_global_id: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    /// Where the ID ends in `ids`; it begins where the one before ends.
    end: usize,
    issuer: u32,
    person: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Person {
    first: usize,
    global_id: Option<Box<str>>,
}

impl CrossReference {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.identities.is_empty()
    }

    /// How many identities it knows.
    pub fn len(&self) -> usize {
        self.identities.len()
    }

    /// All known identities of the person, in the order of the store; itself alone where it is not known.
    pub fn identities(&self, patient: &PatientId) -> Vec<PatientId> {
        match self.person(patient) {
            Some(person) => self.members(person).collect(),
            None => vec![patient.clone()],
        }
    }

    /// The identities of the person with that global patient ID.
    pub fn of_global_id(&self, global_id: &str) -> Vec<PatientId> {
        let place = self
            .by_global_id
            .binary_search_by(|person| self.global_id_of(*person).cmp(&Some(global_id)));
        let person = place.ok().and_then(|place| self.by_global_id.get(place));
        person
            .map(|person| self.members(*person).collect())
            .unwrap_or_default()
    }

    /// The global patient ID of the person, where known.
    pub fn global_id(&self, patient: &PatientId) -> Option<&str> {
        self.global_id_of(self.person(patient)?)
    }

    /// Whether the two are one person, as far as is known.
    pub fn is_same_person(&self, one: &PatientId, other: &PatientId) -> bool {
        one == other || (self.person(one).is_some() && self.person(one) == self.person(other))
    }

    /// The identity that stands for the person whoever of its identities is asked: the least by issuer and ID.
    pub fn representative(&self, patient: &PatientId) -> Option<PatientId> {
        let least = |one: &PatientId, other: &PatientId| {
            one.domain.cmp(&other.domain).then_with(|| one.id.cmp(&other.id))
        };
        self.members(self.person(patient)?).min_by(least)
    }

    fn person(&self, patient: &PatientId) -> Option<u32> {
        let IssuerDomain::Named(issuer) = &patient.domain else {
            return None;
        };
        if self.is_empty() {
            return None;
        }
        let issuer = self.issuers.iter().position(|known| known == issuer)?;
        let place = self
            .by_identity
            .binary_search_by(|place| self.compare(*place, issuer, &patient.id));
        let place = *self.by_identity.get(place.ok()?)?;
        Some(self.entry(place)?.person)
    }

    fn compare(&self, place: u32, issuer: usize, id: &str) -> Ordering {
        let own = self.entry(place).map_or(0, |entry| entry.issuer as usize);
        own.cmp(&issuer).then_with(|| self.id(place).cmp(id))
    }

    fn entry(&self, place: u32) -> Option<&Entry> {
        self.identities.get(place as usize)
    }

    fn id(&self, place: u32) -> &str {
        let before = (place as usize).checked_sub(1);
        let begin = before
            .and_then(|before| self.identities.get(before))
            .map_or(0, |entry| entry.end);
        let end = self.entry(place).map_or(begin, |entry| entry.end);
        self.ids.get(begin..end).unwrap_or_default()
    }

    fn members(&self, person: u32) -> impl Iterator<Item = PatientId> {
        let first = |person: usize| self.persons.get(person).map(|person| person.first);
        let begin = first(person as usize).unwrap_or(self.identities.len());
        let end = first(person as usize + 1).unwrap_or(self.identities.len());
        (begin as u32..end as u32).filter_map(|place| {
            let issuer = self.issuers.get(self.entry(place)?.issuer as usize)?;
            Some(PatientId {
                id: self.id(place).to_owned(),
                domain: IssuerDomain::Named(issuer.clone()),
            })
        })
    }

    fn global_id_of(&self, person: u32) -> Option<&str> {
        self.persons.get(person as usize)?.global_id.as_deref()
    }
}

/// Builds a cross-reference, person by person.
#[derive(Debug, Default)]
pub struct CrossReferenceBuilder {
    made: CrossReference,
    numbers: HashMap<String, u32>,
}

impl CrossReferenceBuilder {
    /// Begins the next person.
    pub fn person(&mut self, global_id: Option<&str>) {
        self.made.persons.push(Person {
            first: self.made.identities.len(),
            global_id: global_id.map(Box::from),
        });
    }

    /// Adds an identity to the person that was begun last. It must be no other's.
    pub fn identity(&mut self, issuer: &str, id: &str) -> Result<(), Invalid> {
        let issuer = match self.numbers.get(issuer) {
            Some(number) => *number,
            None => {
                let number = self.made.issuers.len() as u32;
                self.made.issuers.push(issuer.parse()?);
                self.numbers.insert(issuer.to_owned(), number);
                number
            }
        };
        self.made.ids.push_str(id);
        self.made.identities.push(Entry {
            end: self.made.ids.len(),
            issuer,
            person: self.made.persons.len().saturating_sub(1) as u32,
        });
        Ok(())
    }

    /// What was built.
    pub fn build(self) -> CrossReference {
        let mut made = self.made;
        let mut by_identity: Vec<u32> = (0..made.identities.len() as u32).collect();
        by_identity.sort_unstable_by(|one, other| {
            let key = |place: u32| (made.entry(place).map(|entry| entry.issuer), made.id(place));
            key(*one).cmp(&key(*other))
        });
        let mut by_global_id: Vec<u32> = (0..made.persons.len() as u32)
            .filter(|person| made.global_id_of(*person).is_some())
            .collect();
        by_global_id.sort_unstable_by_key(|person| made.global_id_of(*person));
        made.by_identity = by_identity;
        made.by_global_id = by_global_id;
        made
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::model::IssuedId;

    fn patient(text: &str) -> PatientId {
        text.parse::<IssuedId>().unwrap().into()
    }

    fn of(persons: &[(Option<&str>, &[&str])]) -> CrossReference {
        let mut builder = CrossReferenceBuilder::default();
        for (global_id, identities) in persons {
            builder.person(*global_id);
            for identity in *identities {
                let identity: IssuedId = identity.parse().unwrap();
                builder
                    .identity(identity.issuer().as_str(), identity.id())
                    .unwrap();
            }
        }
        builder.build()
    }

    #[test]
    fn a_person_is_found_by_each_identity_and_by_the_global_id() {
        let known = of(&[
            (Some("G1"), &["4711^^^NORTH", "88^^^HARBOUR"]),
            (None, &["88^^^NORTH", "9^^^VALLEY"]),
        ]);
        let both = vec![patient("4711^^^NORTH"), patient("88^^^HARBOUR")];
        assert_eq!(known.identities(&patient("88^^^HARBOUR")), both);
        assert_eq!(known.of_global_id("G1"), both);
        assert!(known.of_global_id("G2").is_empty());
        assert_eq!(known.global_id(&patient("4711^^^NORTH")), Some("G1"));
        assert_eq!(known.global_id(&patient("9^^^VALLEY")), None);
        assert!(known.is_same_person(&patient("9^^^VALLEY"), &patient("88^^^NORTH")));
        assert!(!known.is_same_person(&patient("88^^^HARBOUR"), &patient("88^^^NORTH")));
        assert_eq!(
            known.representative(&patient("4711^^^NORTH")),
            Some(patient("88^^^HARBOUR"))
        );
        let unknown = patient("1^^^NORTH");
        assert_eq!(known.identities(&unknown), vec![unknown.clone()]);
        assert!(known.is_same_person(&unknown, &unknown));
        assert!(!known.is_same_person(&unknown, &patient("2^^^NORTH")));
    }

    #[test]
    fn a_domain_that_is_only_inferred_is_nobodys() {
        let known = of(&[(Some("G1"), &["4711^^^NORTH", "88^^^HARBOUR"])]);
        let inferred = PatientId {
            id: "4711".to_owned(),
            domain: IssuerDomain::Inferred("NORTH".parse().unwrap()),
        };
        assert_eq!(known.global_id(&inferred), None);
        assert!(!known.is_same_person(&inferred, &patient("4711^^^NORTH")));
        assert_eq!(known.representative(&inferred), None);
    }

    proptest! {
        #[test]
        fn it_says_what_its_groups_say(
            groups in prop::collection::vec(prop::collection::btree_set((0_u8..20, 0_u8..40), 1..5), 0..30)
        ) {
            let mut taken = BTreeSet::new();
            let mut builder = CrossReferenceBuilder::default();
            let mut persons: Vec<Vec<PatientId>> = Vec::new();
            for (number, group) in groups.into_iter().enumerate() {
                let own: Vec<(u8, u8)> = group.into_iter().filter(|identity| taken.insert(*identity)).collect();
                let global_id = (number % 3 == 0).then(|| format!("G{number}"));
                builder.person(global_id.as_deref());
                for (issuer, id) in &own {
                    builder.identity(&format!("I{issuer}"), &id.to_string()).unwrap();
                }
                persons.push(own.iter().map(|(issuer, id)| patient(&format!("{id}^^^I{issuer}"))).collect());
            }
            let known = builder.build();
            for (number, person) in persons.iter().enumerate() {
                for one in person {
                    prop_assert_eq!(&known.identities(one), person);
                    prop_assert_eq!(known.representative(one), person.iter().min_by_key(|one| (one.domain.clone(), one.id.clone())).cloned());
                    for (other_number, other) in persons.iter().enumerate() {
                        let same = other.iter().all(|other| known.is_same_person(one, other));
                        prop_assert_eq!(same || other.is_empty(), other_number == number || other.is_empty());
                    }
                }
                if number % 3 == 0 {
                    prop_assert_eq!(&known.of_global_id(&format!("G{number}")), person);
                }
            }
        }
    }
}
