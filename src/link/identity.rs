//! Whether two answers about one study UID speak of one patient.
//!
//! Rules 5 and 7 of a linked query. Who a patient is, is (ID, issuer): two issuers, or two IDs, are two patients unless
//! the cross-reference or a global patient ID says that they are one. An inferred domain is another issuer than a named
//! one: its station declares no issuer, or several, so nobody can say that the named one is meant. Where neither answer
//! has an issuer, there is nothing to disagree on but the person: with the same study UID and the same ID they are
//! copies of one study as long as name and date of birth don't contradict. Otherwise a hospital that has named no
//! issuers could not see its copies as copies. This decides about copies of a study alone; it never follows from it that
//! two patients of the same ID are one.
//!
//! Invariant: an [`Identity`] holds keyed hashes, no patient data, and is 24 bytes, whatever the answer was.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;
use siphasher::sip128::{Hasher128, SipHasher13 as SipHasher128};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::model::{CrossReference, IssuerDomain, PatientId, StudyAnswer, Uid};

/// The secret that keeps a peer from choosing UIDs or IDs that collide.
#[derive(Debug, Clone, Copy)]
pub struct HashKey(u64, u64);

impl HashKey {
    /// A key that nobody knows.
    pub fn random() -> Self {
        let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
        HashKey(high, low)
    }

    /// The hash by which a UID is remembered.
    pub fn uid(self, uid: &Uid) -> [u64; 2] {
        let mut hasher = SipHasher128::new_with_keys(self.0, self.1);
        hasher.write(uid.as_str().as_bytes());
        let hash = hasher.finish128();
        [hash.h1, hash.h2]
    }

    /// The hash by which a patient is remembered.
    pub fn patient(self, patient: &PatientId) -> [u64; 2] {
        let mut hasher = SipHasher128::new_with_keys(self.0, self.1);
        let (domain, is_named) = match &patient.domain {
            IssuerDomain::Named(issuer) => (issuer.as_str(), 1),
            IssuerDomain::Inferred(station) => (station.as_str(), 0),
        };
        hasher.write_u8(is_named);
        hasher.write(domain.as_bytes());
        // No issuer or name holds a zero.
        hasher.write_u8(0);
        hasher.write(patient.id.as_bytes());
        let hash = hasher.finish128();
        [hash.h1, hash.h2]
    }

    /// Never 0, which stands for what is not known.
    fn short(self, text: &str) -> u32 {
        let mut hasher = SipHasher13::new_with_keys(self.0, self.1);
        hasher.write(text.as_bytes());
        (hasher.finish() as u32).max(1)
    }
}

/// The domain of an ID: the upper bit tells a named one from an inferred one.
const NAMED: u32 = 1 << 31;

/// Who the patient of a study is, as far as its copies have told. 0 stands for what is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    id: u32,
    domain: u32,
    /// The person, where the cross-reference knows them by this or another ID.
    person: u32,
    global_id: u32,
    name: u32,
    birth_date: u32,
}

impl Identity {
    /// The patient of an answer.
    pub fn of(answer: &StudyAnswer, key: HashKey, known: &CrossReference) -> Self {
        let patient = &answer.patient_id;
        let representative = known.representative(patient);
        let global_id = answer.global_patient_id.as_deref();
        let global_id = global_id.or_else(|| known.global_id(patient));
        let domain = match &patient.domain {
            IssuerDomain::Named(issuer) => key.short(issuer.as_str()) | NAMED,
            IssuerDomain::Inferred(station) => key.short(station.as_str()) & !NAMED,
        };
        let name = answer.patient_name.as_deref().and_then(family_and_given_name);
        let digits = answer.patient_birth_date.map(|date| {
            u32::from(date.year().unsigned_abs()) * 10_000 + date.month() as u32 * 100 + date.day() as u32
        });
        Identity {
            id: key.short(&patient.id),
            domain,
            person: representative.map_or(0, |patient| (key.patient(&patient)[0] as u32).max(1)),
            global_id: global_id.map_or(0, |id| key.short(id)),
            name: name.map_or(0, |name| key.short(&name)),
            birth_date: digits.unwrap_or(0),
        }
    }

    /// Takes the patient of another copy as the same one, and learns what it tells; or leaves all as it is and says no.
    pub fn take(&mut self, other: Identity) -> bool {
        if !self.is_same(other) {
            return false;
        }
        if self.id == other.id && !self.is_named() && other.is_named() {
            self.domain = other.domain;
        }
        let learn = |mine: &mut u32, theirs: u32| *mine = if *mine == 0 { theirs } else { *mine };
        learn(&mut self.person, other.person);
        learn(&mut self.global_id, other.global_id);
        learn(&mut self.name, other.name);
        learn(&mut self.birth_date, other.birth_date);
        true
    }

    fn is_same(self, other: Identity) -> bool {
        let agree = |mine: u32, theirs: u32| mine == 0 || theirs == 0 || mine == theirs;
        if self.global_id != 0 && other.global_id != 0 {
            self.global_id == other.global_id
        } else if self.person != 0 && self.person == other.person {
            true
        } else if self.id != other.id {
            false
        } else if self.domain == other.domain {
            true
        } else if self.is_named() || other.is_named() {
            false
        } else {
            agree(self.name, other.name) && agree(self.birth_date, other.birth_date)
        }
    }

    fn is_named(self) -> bool {
        self.domain & NAMED != 0
    }
}

/// The first two words of a name, without case, accents and the manner of writing them apart. `None` where there are
/// none, or the peer could not write them (`??`).
fn family_and_given_name(name: &str) -> Option<String> {
    let alphabetic = name.split('=').next().unwrap_or_default();
    if alphabetic.contains(['?', char::REPLACEMENT_CHARACTER]) {
        return None;
    }
    let folded: String = if alphabetic.is_ascii() {
        alphabetic.to_ascii_lowercase()
    } else {
        let bare = alphabetic.nfkd().filter(|c| !is_combining_mark(*c));
        bare.flat_map(char::to_lowercase).collect()
    };
    let mut words = folded.split(['^', ',', ' ']).filter(|word| !word.is_empty());
    let family = words.next()?;
    Some(match words.next() {
        Some(given) => format!("{family} {given}"),
        None => family.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CrossReferenceBuilder;

    fn answer(id: &str, domain: IssuerDomain, name: &str) -> StudyAnswer {
        let patient_id = PatientId {
            id: id.to_owned(),
            domain,
        };
        StudyAnswer {
            patient_name: Some(name.to_owned()),
            ..StudyAnswer::new("1.2".parse().unwrap(), patient_id)
        }
    }

    fn named(issuer: &str) -> IssuerDomain {
        IssuerDomain::Named(issuer.parse().unwrap())
    }

    fn inferred(station: &str) -> IssuerDomain {
        IssuerDomain::Inferred(station.parse().unwrap())
    }

    fn same(one: StudyAnswer, other: StudyAnswer) -> bool {
        let key = HashKey::random();
        let of = |answer| Identity::of(answer, key, &CrossReference::default());
        let (one, other) = (of(&one), of(&other));
        let (mut here, mut there) = (one, other);
        let forth = here.take(other);
        assert_eq!(forth, there.take(one), "the order must not matter");
        forth
    }

    #[test]
    fn identity_is_id_and_issuer() {
        let jane = || answer("4711", named("NORTH"), "DOE^JANE");
        assert!(same(jane(), jane()));
        assert!(
            same(jane(), answer("4711", named("NORTH"), "MILLER^JANE")),
            "a name may change"
        );
        assert!(!same(jane(), answer("4712", named("NORTH"), "DOE^JANE")));
        assert!(!same(jane(), answer("4711", named("HARBOUR"), "DOE^JANE")));
    }

    #[test]
    fn only_the_global_id_joins_two_issuers() {
        let with = |id: &str, issuer: &str, global: &str| StudyAnswer {
            global_patient_id: Some(global.to_owned()),
            ..answer(id, named(issuer), "DOE^JANE")
        };
        assert!(same(with("4711", "NORTH", "G1"), with("88", "HARBOUR", "G1")));
        assert!(!same(with("4711", "NORTH", "G1"), with("4711", "NORTH", "G2")));
        assert!(!same(
            with("4711", "NORTH", "G1"),
            answer("88", named("HARBOUR"), "DOE^JANE")
        ));
    }

    /// Case: one person under two IDs
    #[test]
    fn the_cross_reference_joins_two_issuers() {
        let mut builder = CrossReferenceBuilder::default();
        for (global_id, id) in [(None, "88"), (Some("G1"), "99")] {
            builder.person(global_id);
            builder.identity("HARBOUR", id).unwrap();
            builder.identity("NORTH", &format!("47{id}")).unwrap();
        }
        let (known, key) = (builder.build(), HashKey::random());
        let is_same = |one: &StudyAnswer, other: &StudyAnswer| {
            Identity::of(one, key, &known).take(Identity::of(other, key, &known))
        };
        let of = |id: &str, issuer: &str| answer(id, named(issuer), "DOE^JANE");
        assert!(is_same(&of("4788", "NORTH"), &of("88", "HARBOUR")));
        assert!(is_same(&of("4799", "NORTH"), &of("99", "HARBOUR")));
        assert!(!is_same(&of("4788", "NORTH"), &of("99", "HARBOUR")));
        assert!(
            !is_same(&of("88", "NORTH"), &of("88", "HARBOUR")),
            "the same name is no proof"
        );
        let mut elsewhere = of("5", "VALLEY");
        elsewhere.global_patient_id = Some("G1".to_owned());
        assert!(
            is_same(&of("4799", "NORTH"), &elsewhere),
            "by the global ID it knows"
        );
        elsewhere.global_patient_id = Some("G2".to_owned());
        assert!(!is_same(&of("4799", "NORTH"), &elsewhere));
        let unnamed = answer("4788", inferred("PACS"), "DOE^JANE");
        for (id, issuer) in [("4788", "NORTH"), ("88", "HARBOUR")] {
            assert!(
                !is_same(&unnamed, &of(id, issuer)),
                "nobody has said whose ID it is"
            );
        }
    }

    /// Case: one site names the issuer and the other does not
    #[test]
    fn an_inferred_domain_is_another_issuer_than_a_named_one() {
        let unnamed = || answer("4711", inferred("PACS"), "DOE^JANE");
        assert!(!same(unnamed(), answer("4711", named("NORTH"), "DOE^JANE")));
        let with_global_id = |answer: StudyAnswer| StudyAnswer {
            global_patient_id: Some("G1".to_owned()),
            ..answer
        };
        assert!(same(
            with_global_id(unnamed()),
            with_global_id(answer("4711", named("NORTH"), "DOE^JANE"))
        ));
    }

    /// Case: nobody names the issuer
    #[test]
    fn two_inferred_domains_contradict_only_by_the_person() {
        let here = || answer("4711", inferred("PACS"), "DOE^JANE");
        assert!(same(here(), answer("4711", inferred("SITEB"), "Doe, Jane M")));
        assert!(same(
            here(),
            answer("4711", inferred("SITEB"), "DOE^JANE=土井^ジェーン")
        ));
        assert!(same(here(), answer("4711", inferred("SITEB"), "??^??")));
        assert!(!same(here(), answer("4711", inferred("SITEB"), "ROE^RICHARD")));
        assert!(!same(here(), answer("4712", inferred("SITEB"), "DOE^JANE")));
        let born = |day| StudyAnswer {
            patient_birth_date: Some(jiff::civil::date(1970, 1, day)),
            ..here()
        };
        let mut elsewhere = born(2);
        elsewhere.patient_id.domain = inferred("SITEB");
        assert!(!same(born(1), elsewhere));
    }

    #[test]
    fn an_issuer_learned_by_a_global_id_is_that_of_the_same_id_alone() {
        let key = HashKey::random();
        let known = CrossReference::default();
        let of = |id: &str, domain, global_id: Option<&str>| {
            let answer = StudyAnswer {
                global_patient_id: global_id.map(str::to_owned),
                ..answer(id, domain, "DOE^JANE")
            };
            Identity::of(&answer, key, &known)
        };
        let mut patient = of("4711", inferred("PACS"), Some("G1"));
        assert!(patient.take(of("88", named("HARBOUR"), Some("G1"))));
        assert!(!patient.take(of("4711", named("HARBOUR"), None)));
        assert!(patient.take(of("4711", named("NORTH"), Some("G1"))));
        assert!(patient.take(of("4711", named("NORTH"), None)));
        assert!(!patient.take(of("4711", named("HARBOUR"), None)));
    }

    #[test]
    fn an_identity_stays_small() {
        assert_eq!(size_of::<Identity>(), 24);
    }
}
