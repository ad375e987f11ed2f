//! That all clusters end with the same state, whatever comes to whom in which order, how often, and with what gaps.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::model::{Clock, FieldValue, StudyPatient, Update};
use jiff::Timestamp;

const FIELDS: [StateField; 3] = [
    StateField::InterpretationStatus,
    StateField::StudyComments,
    StateField::PatientName,
];
const WORDS: [&str; 6] = ["", "NEW", "DICTATED", "APPROVED", "Vorab befundet", "UNKNOWN"];

fn uid(number: usize) -> Uid {
    format!("2.25.{number}").parse().unwrap()
}

fn value(field: StateField, text: &str) -> FieldValue {
    FieldValue::new(field, text).unwrap()
}

/// A cluster as far as it matters here.
struct Cluster {
    uid: Uid,
    state: StudyState,
    clock: Clock,
}

impl Cluster {
    fn new(number: usize) -> Self {
        Cluster {
            uid: uid(number),
            state: StudyState::default(),
            clock: Clock::resume(None, std::time::Duration::MAX),
        }
    }

    fn write(&mut self, field: StateField, text: &str, is_correction: bool, at: i64) -> Option<Update> {
        let wanted = BTreeMap::from([(field, value(field, text))]);
        let changes = self.state.changes_to(&wanted, is_correction).ok()?;
        if changes.is_empty() {
            return None;
        }
        let revision = self.clock.tick(Timestamp::from_millisecond(at).unwrap(), None);
        let update = Update {
            id: format!(
                "{}.{}",
                self.uid,
                u64::from_str_radix(&revision.to_string()[..16], 16).unwrap()
            )
            .parse()
            .unwrap(),
            study: "1.2".parse().unwrap(),
            patient: StudyPatient {
                id: "4711".to_owned(),
                issuer: Some("NORTH".parse().unwrap()),
            },
            origin: self.uid.clone(),
            revision,
            changes,
            new_objects: None,
            review: None,
        };
        for change in &update.changes {
            change.check(&update.origin, update.revision).unwrap();
        }
        self.state.merge(&update.state());
        Some(update)
    }

    fn take(&mut self, update: &Update) {
        self.clock.observe(update.revision, Timestamp::UNIX_EPOCH);
        self.state.merge(&update.state());
    }
}

#[derive(Debug, Clone)]
enum Step {
    Write {
        cluster: Index,
        field: Index,
        word: Index,
        is_correction: bool,
        at: i64,
    },
    Deliver {
        cluster: Index,
        update: Index,
    },
}

fn any_step() -> impl Strategy<Value = Step> {
    let write = (
        any::<Index>(),
        any::<Index>(),
        any::<Index>(),
        any::<bool>(),
        0_i64..40,
    );
    let write = write.prop_map(|(cluster, field, word, is_correction, at)| Step::Write {
        cluster,
        field,
        word,
        is_correction,
        at,
    });
    let deliver = (any::<Index>(), any::<Index>());
    prop_oneof![
        write,
        deliver.prop_map(|(cluster, update)| Step::Deliver { cluster, update })
    ]
}

/// Clusters that wrote and took what they happened to get, and all updates there are.
fn play(count: usize, steps: &[Step]) -> (Vec<Cluster>, Vec<Update>) {
    let mut clusters: Vec<Cluster> = (1..=count).map(Cluster::new).collect();
    let mut updates = Vec::new();
    for step in steps {
        match step {
            Step::Write {
                cluster,
                field,
                word,
                is_correction,
                at,
            } => {
                let (field, word) = (*field.get(&FIELDS), *word.get(&WORDS));
                let cluster = &mut clusters[cluster.index(count)];
                updates.extend(cluster.write(field, word, *is_correction, *at));
            }
            Step::Deliver { cluster, update } if !updates.is_empty() => {
                let update = update.get(&updates).clone();
                clusters[cluster.index(count)].take(&update);
            }
            Step::Deliver { .. } => {}
        }
    }
    (clusters, updates)
}

fn any_history() -> impl Strategy<Value = (Vec<Cluster>, Vec<Update>)> {
    (3_usize..=5, prop::collection::vec(any_step(), 1..60)).prop_map(|(count, steps)| play(count, &steps))
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {:?}", self.uid, self.state)
    }
}

fn merged(one: &StudyState, two: &StudyState) -> StudyState {
    let mut merged = one.clone();
    merged.merge(two);
    merged
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn all_clusters_end_alike(
        (mut clusters, updates) in any_history(),
        orders in prop::collection::vec(prop::collection::vec(any::<Index>(), 0..80), 5),
    ) {
        for (cluster, order) in clusters.iter_mut().zip(&orders) {
            for index in order.iter().filter(|_| !updates.is_empty()) {
                cluster.take(index.get(&updates));
            }
            // Whatever is still missing, in one order or the other.
            let forward = order.len().is_multiple_of(2);
            let rest: Vec<&Update> = if forward { updates.iter().collect() } else { updates.iter().rev().collect() };
            rest.into_iter().for_each(|update| cluster.take(update));
        }
        for cluster in &clusters {
            prop_assert_eq!(&cluster.state, &clusters[0].state);
        }
        for field in FIELDS {
            let writes = updates.iter().flat_map(|update| {
                let state = update.state();
                state.write(field).cloned()
            });
            let greatest = writes.max_by(|one, two| one.order(field).cmp(&two.order(field)));
            prop_assert_eq!(clusters[0].state.write(field), greatest.as_ref());
        }
    }

    #[test]
    fn merging_is_a_join((clusters, updates) in any_history(), picks: [Index; 3]) {
        let states: Vec<StudyState> =
            clusters.iter().map(|cluster| cluster.state.clone()).chain(updates.iter().map(Update::state)).collect();
        let [a, b, c] = picks.map(|pick| pick.get(&states).clone());
        prop_assert_eq!(merged(&a, &a), a.clone());
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
    }

    #[test]
    fn clones_of_a_cluster_merge_alike_all_the_same(
        writes in prop::collection::vec((1_usize..3, 1_i64..4, any::<Index>(), 0_u32..2, 0_i64..3), 1..8),
        picks: [Index; 3],
    ) {
        // Several writes under one identity, and known revisions that may be any: what only a fault makes.
        let states: Vec<StudyState> = writes.iter().map(|(cluster, at, word, epoch, known)| {
            let at_ms = |ms: i64| Clock::resume(None, std::time::Duration::MAX).tick(Timestamp::from_millisecond(ms).unwrap(), None);
            let change = FieldChange {
                field: StateField::InterpretationStatus,
                value: value(StateField::InterpretationStatus, WORDS[word.index(WORDS.len())]),
                epoch: *epoch,
                known: BTreeMap::from([(uid(3 - cluster), at_ms(*known))]),
            };
            StudyState::of_changes(&[change], (at_ms(*at), &uid(*cluster), &uid(9)))
        }).collect();
        let [a, b, c] = picks.map(|pick| pick.get(&states).clone());
        let field = StateField::InterpretationStatus;
        let values = |state: &StudyState| state.value(field).cloned();
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(
            values(&merged(&merged(&a, &b), &c)),
            values(&merged(&a, &merged(&b, &c)))
        );
    }

    #[test]
    fn a_state_told_again_gives_the_same_values((clusters, updates) in any_history()) {
        let mut whole = clusters[0].state.clone();
        updates.iter().for_each(|update| whole.merge(&update.state()));
        let patient = StudyPatient { id: "4711".to_owned(), issuer: Some("NORTH".parse().unwrap()) };
        let told = Update::telling(&whole, &"1.2".parse().unwrap(), &patient);
        let mut learned = StudyState::default();
        for update in &told {
            for change in &update.changes {
                change.check(&update.origin, update.revision).unwrap();
            }
            learned.merge(&update.state());
        }
        for field in FIELDS {
            prop_assert_eq!(learned.value(field), whole.value(field));
        }
        let in_conflict = |state: &StudyState| state.conflicts().map(|conflict| conflict.field).collect::<Vec<_>>();
        prop_assert_eq!(in_conflict(&learned), in_conflict(&whole));
    }
}

fn status(cluster: &mut Cluster, text: &str) -> Option<Update> {
    cluster.write(StateField::InterpretationStatus, text, false, 1)
}

fn shown_status(cluster: &Cluster) -> &str {
    cluster
        .state
        .value(StateField::InterpretationStatus)
        .map_or("", FieldValue::as_str)
}

#[test]
fn an_approved_report_falls_back_only_by_a_correction() {
    let mut north = Cluster::new(1);
    let mut south = Cluster::new(2);
    let approved = status(&mut north, "APPROVED").unwrap();
    let dictated = status(&mut south, "DICTATED").unwrap();
    south.take(&approved);
    north.take(&dictated);
    assert_eq!(
        (shown_status(&north), shown_status(&south)),
        ("APPROVED", "APPROVED")
    );
    assert!(status(&mut south, "TRANSCRIBED").is_none());
    let corrected = south
        .write(StateField::InterpretationStatus, "TRANSCRIBED", true, 1)
        .unwrap();
    assert_eq!(corrected.changes[0].epoch, 1);
    north.take(&corrected);
    north.take(&approved);
    assert_eq!(shown_status(&north), "TRANSCRIBED");
    assert_eq!(status(&mut north, "APPROVED").unwrap().changes[0].epoch, 1);
}

#[test]
fn a_conflict_is_in_view_until_someone_writes_again() {
    let field = StateField::StudyComments;
    let (mut north, mut south) = (Cluster::new(1), Cluster::new(2));
    let first = north.write(field, "first", false, 1).unwrap();
    south.take(&first);
    let at_north = north.write(field, "at north", false, 2).unwrap();
    let at_south = south.write(field, "at south", false, 3).unwrap();
    south.take(&at_north);
    north.take(&at_south);
    for cluster in [&north, &south] {
        let conflicts: Vec<_> = cluster.state.conflicts().collect();
        let [conflict] = &conflicts[..] else {
            panic!("{conflicts:?}")
        };
        assert_eq!(conflict.shown.value.as_str(), "at south");
        let rivals: Vec<&str> = conflict.rivals.iter().map(|write| write.value.as_str()).collect();
        assert_eq!(rivals, ["at north"]);
    }
    // The same value again is a decision too.
    let settled = north.write(field, "at south", false, 4).unwrap();
    south.take(&settled);
    south.take(&at_north);
    assert_eq!(
        south.state.conflicts().count() + north.state.conflicts().count(),
        0
    );
    assert!(
        north.write(field, "at south", false, 5).is_none(),
        "nothing is left to say"
    );
}

#[test]
fn the_same_said_twice_is_no_conflict() {
    let field = StateField::VerifiedStatus;
    let (mut north, mut south) = (Cluster::new(1), Cluster::new(2));
    let one = north.write(field, "VERIFIED", false, 1).unwrap();
    south.write(field, "VERIFIED", false, 1).unwrap();
    south.take(&one);
    assert_eq!(south.state.conflicts().count(), 0);
}

#[test]
fn a_change_cannot_know_what_is_later() {
    let revision: Revision = "0000000000000005.00000000".parse().unwrap();
    let change = |cluster: usize, seen: &str| FieldChange {
        field: StateField::PatientName,
        value: FieldValue::default(),
        epoch: 0,
        known: BTreeMap::from([(uid(cluster), seen.parse().unwrap())]),
    };
    assert!(
        change(1, "0000000000000004.ffffffff")
            .check(&uid(2), revision)
            .is_ok()
    );
    assert!(
        change(2, "0000000000000005.00000000")
            .check(&uid(2), revision)
            .is_err()
    );
    assert!(
        change(1, "0000000000000006.00000000")
            .check(&uid(2), revision)
            .is_err()
    );
}
