//! That clusters agree in the end, whatever comes between: random updates at three to five stores in lines, rings and
//! meshes, in random orders, with cut links, lost answers, repeated deliveries, transactions that break off and stores
//! that are closed and opened again.
//!
//! Invariant: what is asserted at the end is asserted of every store, of its state, its log, its outbox and its audit.

mod world;

use std::collections::BTreeMap;

use impaxlink::model::{FieldValue, ReviewReason, StateField, StudyPatient, UpdatesDirection};
use impaxlink::store::Draft;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use world::{Ending, Figures, ISSUERS, World};

/// The tables that an update writes to.
const TABLES: [&str; 6] = [
    "update_log",
    "outbox",
    "study_state",
    "stated_value",
    "review_notice",
    "audit",
];

#[derive(Debug, Clone)]
enum Step {
    Say(usize, Draft),
    FailToSay(usize, Draft, &'static str),
    Send {
        link: usize,
        most: usize,
        together: usize,
        seed: u64,
        ending: Ending,
    },
    Cut(usize, bool),
    Repeat(usize),
    Reopen(usize),
    Resync(usize),
    Switch(usize, bool, UpdatesDirection),
    Syntax(usize, bool, bool),
}

/// Clusters, by how far their clocks are ahead, which of them know each other, and what happens.
type Scene = (Vec<u32>, Vec<(usize, usize)>, Vec<Step>);

fn draft() -> impl Strategy<Value = Draft> {
    let study = select(vec!["1.2.840.1", "1.2.840.2"]);
    let wanted = prop::collection::btree_map(select(StateField::ALL.to_vec()), 0..6_usize, 0..3);
    let review = prop::option::weighted(0.1, Just("deletion"));
    let statuses = prop::option::weighted(0.5, 0..6_usize);
    (study, 0..2_usize, wanted, statuses, any::<bool>(), review).prop_map(
        |(study, patient, mut wanted, status, is_correction, review)| {
            wanted.extend(status.map(|status| (StateField::InterpretationStatus, status)));
            let wanted = wanted
                .into_iter()
                .map(|(field, number)| (field, value(field, number)));
            Draft {
                study: study.parse().unwrap(),
                patient: StudyPatient {
                    id: "4711".to_owned(),
                    issuer: Some(ISSUERS[patient].parse().unwrap()),
                },
                wanted: wanted.collect(),
                is_correction,
                new_objects: None,
                review: review.map(|reason| reason.parse::<ReviewReason>().unwrap()),
            }
        },
    )
}

/// One of six values of a field, one of them none.
fn value(field: StateField, number: usize) -> FieldValue {
    let texts = match field {
        StateField::InterpretationStatus => ["", "NEW", "DICTATED", "TRANSCRIBED", "Vorab", "APPROVED"],
        StateField::VerifiedStatus => ["", "VERIFIED", "UNVERIFIED", "FAILED", "VERIFIED", "FAILED"],
        StateField::PatientSex => ["", "M", "F", "O", "M", "F"],
        StateField::PatientBirthDate | StateField::StudyDate => {
            ["", "19700101", "19700102", "19700103", "19700104", "19700105"]
        }
        StateField::StudyTime => ["", "1000", "1100", "1200", "1300", "1400"],
        StateField::StudyComments => ["", "A", "two\nlines", "back\\slash", "Ä^Ö", "山田\t太郎"],
        _ => ["", "A", "B", "C", "Ä^Ö", "山田"],
    };
    FieldValue::new(field, texts[number]).unwrap()
}

fn step(clusters: usize) -> BoxedStrategy<Step> {
    let ending = prop_oneof![
        6 => Just(Ending::Answered),
        2 => Just(Ending::AnswerLost),
        1 => select(TABLES.to_vec()).prop_map(Ending::ReceiverFails),
    ];
    let send = (0..100_usize, 1..8_usize, 1..5_usize, any::<u64>(), ending).prop_map(
        |(link, most, together, seed, ending)| Step::Send {
            link,
            most,
            together,
            seed,
            ending,
        },
    );
    prop_oneof![
        8 => (0..clusters, draft()).prop_map(|(at, draft)| Step::Say(at, draft)),
        1 => (0..clusters, draft(), select(TABLES.to_vec()))
            .prop_map(|(at, draft, table)| Step::FailToSay(at, draft, table)),
        10 => send,
        2 => (0..100_usize, any::<bool>()).prop_map(|(link, is_cut)| Step::Cut(link, is_cut)),
        1 => any::<usize>().prop_map(Step::Repeat),
        1 => (0..clusters).prop_map(Step::Reopen),
    ]
    .boxed()
}

/// What people and links do besides, after which some updates need never come: the state is told instead.
fn step_with_switches(clusters: usize) -> BoxedStrategy<Step> {
    let direction = select(vec![
        UpdatesDirection::Both,
        UpdatesDirection::Send,
        UpdatesDirection::Accept,
    ]);
    prop_oneof![
        12 => step(clusters),
        1 => (0..100_usize).prop_map(Step::Resync),
        2 => (0..100_usize, any::<bool>(), direction)
            .prop_map(|(link, is_on, direction)| Step::Switch(link, is_on, direction)),
        2 => (0..100_usize, any::<bool>(), any::<bool>())
            .prop_map(|(link, speaks, is_relay)| Step::Syntax(link, speaks, is_relay)),
    ]
    .boxed()
}

fn scene(step: fn(usize) -> BoxedStrategy<Step>) -> impl Strategy<Value = Scene> {
    (3..=5_usize, 0..3_usize).prop_flat_map(move |(clusters, shape)| {
        let clocks = prop::collection::vec(0..240_u32, clusters);
        let steps = prop::collection::vec(step(clusters), 20..60);
        (clocks, Just(pairs(clusters, shape)), steps)
    })
}

/// A line, a ring, or a mesh.
fn pairs(clusters: usize, shape: usize) -> Vec<(usize, usize)> {
    let line = (1..clusters).map(|number| (number - 1, number));
    match shape {
        0 => line.collect(),
        1 => line.chain([(clusters - 1, 0)]).collect(),
        _ => (0..clusters)
            .flat_map(|one| (one + 1..clusters).map(move |other| (one, other)))
            .collect(),
    }
}

fn play((clocks, pairs, steps): Scene) -> World {
    let mut world = World::new(&clocks, &pairs);
    for step in steps {
        match step {
            Step::Say(at, draft) => world.say(at, &draft),
            Step::FailToSay(at, draft, table) => world.fail_to_say(at, &draft, table),
            Step::Send {
                link,
                most,
                together,
                seed,
                ending,
            } => world.send(world.link(link), most, together, seed, ending),
            Step::Cut(link, is_cut) => world.cut(world.link(link), is_cut),
            Step::Repeat(number) => world.repeat(number),
            Step::Reopen(at) => world.reopen(at),
            Step::Resync(link) => world.resync(world.link(link)),
            Step::Switch(link, is_on, direction) => world.switch(world.link(link), is_on, direction),
            Step::Syntax(link, speaks, is_relay) => {
                world.notice_syntax(world.link(link), speaks, is_relay);
            }
        }
    }
    world.settle();
    world
}

/// Runs `CONVERGENCE_CASES` scenes, else so many, and says what happened in them.
fn run(cases: u32, step: fn(usize) -> BoxedStrategy<Step>, check: impl Fn(Scene) -> Figures) {
    let asked = std::env::var("CONVERGENCE_CASES").ok();
    let cases = asked.map_or(cases, |asked| asked.parse().expect("a number"));
    let config = Config {
        cases,
        rng_seed: RngSeed::Fixed(0x5eed),
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    let began = std::time::Instant::now();
    let total = std::cell::RefCell::new(Figures::default());
    let checked = TestRunner::new(config).run(&scene(step), |scene| {
        let figures = check(scene);
        let mut total = total.borrow_mut();
        total.acknowledged += figures.acknowledged;
        total.delivered += figures.delivered;
        total.duplicates += figures.duplicates;
        total.lost_answers += figures.lost_answers;
        total.aborted += figures.aborted;
        total.reopened += figures.reopened;
        total.conflicts += figures.conflicts;
        Ok(())
    });
    if let Err(error) = checked {
        panic!("{error}");
    }
    let total = total.into_inner();
    println!("{cases} cases in {:?}: {total:?}", began.elapsed());
    let happened = [
        total.duplicates,
        total.lost_answers,
        total.aborted,
        total.reopened,
        total.conflicts,
    ];
    assert!(happened.iter().all(|count| *count > 0), "{total:?}");
}

#[test]
fn all_that_was_acknowledged_is_everywhere_once() {
    run(30, step, |scene| {
        let world = play(scene);
        for cluster in 0..world.count() {
            assert_eq!(world.states(cluster), world.states(0), "the states of {cluster}");
            assert_eq!(world.notices(cluster), world.notices(0));
            world.assert_all_came_once(cluster);
        }
        world.figures
    });
}

/// What is shown of each study, and what else was said of it.
fn shown(world: &World, cluster: usize) -> BTreeMap<String, Vec<String>> {
    let states = world.states(cluster);
    let shown = states.iter().map(|stated| {
        let values = stated
            .state
            .writes()
            .map(|(field, write)| format!("{field} {write:?}"));
        let conflicts = stated.state.conflicts().map(|conflict| format!("{conflict:?}"));
        (
            format!("{} {:?}", stated.study, stated.patient),
            values.chain(conflicts).collect(),
        )
    });
    shown.collect()
}

#[test]
fn what_is_told_anew_after_switches_is_the_same_everywhere() {
    run(20, step_with_switches, |scene| {
        let world = play(scene);
        for cluster in 0..world.count() {
            assert_eq!(
                shown(&world, cluster),
                shown(&world, 0),
                "the states of {cluster}"
            );
            let records = world.applied_records(cluster);
            assert!(records.values().all(|count| *count == 1), "{records:?}");
        }
        world.figures
    });
}
