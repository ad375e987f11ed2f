//! The store changed past impaxlink: `audit verify` finds each change and names it.

use rusqlite::Connection;

use super::support::env::Env;

const ALONE: &str = "DROP TRIGGER audit_is_never_edited; DROP TRIGGER audit_is_never_removed;";

/// A store with rows in each table of the configuration, and records of several kinds.
fn site() -> Env {
    let env = Env::new();
    let commands: [&[&str]; 9] = [
        &["config", "set", "issuer", "NORTH"],
        &["config", "set", "ae_title", "NORTH_LNK"],
        &[
            "station",
            "add",
            "SITEB",
            "--ae-title",
            "SITEB",
            "--host",
            "10.0.0.2",
            "--port",
            "104",
        ],
        &[
            "station",
            "add",
            "SITEC",
            "--ae-title",
            "SITEC",
            "--host",
            "10.0.0.3",
            "--port",
            "104",
        ],
        &["station", "set", "SITEB", "--priority", "3"],
        &["station", "rename", "SITEC", "HARBOUR"],
        &["mapping", "set", "body-part", "KNEE", "--description", "*knee*"],
        &[
            "rule",
            "add",
            "OWN",
            "--for-modality",
            "CT",
            "--modality",
            "CT,MR",
        ],
        &["config", "unset", "ae_title"],
    ];
    for command in commands {
        env.impaxlink(command).success();
    }
    env.impaxlink(&["audit", "verify"]).success();
    env
}

fn raw(env: &Env, sql: &str) {
    let connection = Connection::open(env.store()).unwrap();
    connection.execute_batch(sql).unwrap();
}

/// Holds that the verification of the store fails after `sql`, and says what `named` says.
fn assert_found(sql: &str, named: &str) {
    let env = site();
    raw(&env, &format!("{ALONE}{sql}"));
    env.impaxlink(&["audit", "verify"]).fails_with(1, named);
}

/// Case: a row of the configuration is changed past impaxlink
#[test]
fn a_changed_row_of_each_table_of_the_configuration_is_named() {
    assert_found(
        "UPDATE setting SET value = 'SOUTH' WHERE key = 'issuer'",
        "setting issuer",
    );
    assert_found(
        "UPDATE station SET port = 105 WHERE name = 'SITEB'",
        "station SITEB port is 105, recorded is 104",
    );
    assert_found(
        "UPDATE station SET cluster_linking = 1 WHERE name = 'SITEB'",
        "station SITEB cluster_linking",
    );
    assert_found(
        "UPDATE mapping_rule SET value = 'HIP' WHERE value = 'KNEE'",
        "mapping rule",
    );
    assert_found(
        "UPDATE prefetch_rule SET modality = 'US' WHERE name = 'OWN'",
        "rule OWN",
    );
    assert_found("UPDATE cluster SET generation = 7", "generation");
}

/// Case: a row of the configuration is changed past impaxlink
#[test]
fn a_removed_an_inserted_and_an_exchanged_row_are_named() {
    assert_found(
        "DELETE FROM setting WHERE key = 'issuer'",
        "setting issuer is missing",
    );
    assert_found(
        "DELETE FROM station WHERE name = 'SITEB'",
        "station SITEB is missing",
    );
    assert_found("DELETE FROM mapping_rule WHERE value = 'KNEE'", "mapping rule");
    assert_found(
        "DELETE FROM prefetch_rule WHERE name = 'OWN'",
        "rule OWN is missing",
    );
    assert_found(
        "INSERT INTO setting VALUES ('tls.listen', '0.0.0.0:2762')",
        "setting tls.listen is in no record",
    );
    assert_found(
        "UPDATE station SET name = 'x' WHERE name = 'SITEB'; UPDATE station SET name = 'SITEB' WHERE name = 'HARBOUR'; \
         UPDATE station SET name = 'HARBOUR' WHERE name = 'x'",
        "station HARBOUR",
    );
    assert_found(
        "UPDATE station SET host = 'a b' WHERE name = 'SITEB'",
        "changed outside impaxlink",
    );
    assert_found(
        "UPDATE audit SET sequence = 100 WHERE sequence = 3; UPDATE audit SET sequence = 3 WHERE sequence = 4; \
         UPDATE audit SET sequence = 4 WHERE sequence = 100",
        "audit record 3",
    );
}

/// Case: the end of the audit is cut
#[test]
fn the_cut_end_of_each_kind_of_record_is_found() {
    let env = site();
    let bad = "MSH|^~\\&|RIS|NORTH|LINK|NORTH|20240131120000||ORU^R01|1|P|2.3.1\r";
    env.impaxlink_with_stdin(&["hl7", "import", "-"], bad);
    let study = ["study", "update", "1.2.3", "--patient-id", "4711^^^NORTH"];
    let kinds: [(&str, &[&str]); 5] = [
        ("configuration", &["config", "set", "issuer", "HARBOUR"]),
        (
            "patients_linked",
            &["patient", "link", "4711^^^NORTH", "88^^^HARBOUR"],
        ),
        ("update", &[&study[..], &["--comments", "by phone"]].concat()),
        ("disclosure", &["study", "show", "1.2.3"]),
        ("hl7_dropped", &["hl7", "drop", "1"]),
    ];
    for (kind, command) in kinds {
        env.impaxlink(command);
        env.impaxlink(&["audit", "verify"]).success();
        let whole = Connection::open(env.store()).unwrap();
        let last = "SELECT kind FROM audit ORDER BY sequence DESC LIMIT 1";
        let found: String = whole.query_row(last, [], |row| row.get(0)).unwrap();
        assert_eq!(found, kind, "{command:?}");
        let copy = env.path().join("cut.db");
        whole.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
        let cut = "DELETE FROM audit WHERE sequence = (SELECT max(sequence) FROM audit); \
            UPDATE cluster SET generation = (SELECT max(generation) FROM audit)";
        let connection = Connection::open(&copy).unwrap();
        connection.execute_batch(&format!("{ALONE}{cut}")).unwrap();
        env.impaxlink(&["audit", "verify", "--store", copy.to_str().unwrap()])
            .fails_with(1, &format!("{kind} records were made"));
        std::fs::remove_file(&copy).unwrap();
    }
    let verified = env.impaxlink(&["audit", "verify", "--json"]).json();
    let heads = verified["kinds"].as_array().unwrap();
    assert_eq!(heads.len(), 5, "{heads:?}");
    let counts: u64 = heads.iter().map(|of| of["records"].as_u64().unwrap()).sum();
    assert_eq!(counts, verified["records"]);
}
