//! That defaults pass their own rules, and that a bad value leaves the settings as they were.

use super::*;

#[test]
fn every_default_passes_its_own_rule() {
    for key in SETTING_KEYS.iter().filter(|key| !key.default.is_empty()) {
        (key.check)(key.default).unwrap();
    }
    let settings = Settings::default();
    assert_eq!(settings.ae_title().as_str(), "IMPAXLINK");
    assert_eq!(settings.listen().port(), 11112);
    assert_eq!(settings.count("limits.associations"), 200);
    assert_eq!(settings.duration("timeout.connect"), Duration::from_secs(5));
}

#[test]
fn a_bad_value_is_refused_by_the_name_of_its_key() {
    let mut settings = Settings::default();
    let error = settings.set("timeout.connect", "soon").unwrap_err().to_string();
    assert!(
        error.contains("timeout.connect") && error.contains("soon"),
        "{error}"
    );
    assert!(settings.set("colour", "red").is_err());
    assert_eq!(settings, Settings::default());
}

#[test]
fn unset_goes_back_to_the_default() {
    let mut settings = Settings::default();
    settings.set("ae_title", "NORTH").unwrap();
    assert_eq!(settings.ae_title().as_str(), "NORTH");
    settings.unset("ae_title").unwrap();
    assert_eq!(settings, Settings::default());
}
