//! What a rule's values mean, and that a set survives its CSV.

use jiff::civil::date;
use proptest::prelude::*;

use super::*;

#[test]
fn what_is_written_as_csv_is_read_back() {
    let shipped = PrefetchRules::shipped();
    let text = String::from_utf8(prefetch_csv(shipped)).unwrap();
    assert_eq!(
        text,
        include_str!("shipped.csv"),
        "the shipped set is as it would be exported"
    );
    assert_eq!(read_prefetch_csv(&text).unwrap(), *shipped);
    // As a spreadsheet of another country saves it.
    let semicolons = format!("\u{feff}{}", text.replace(',', ";").replace('\n', "\r\n"));
    assert_eq!(read_prefetch_csv(&semicolons).unwrap(), *shipped);
    let document = serde_json::to_string(shipped).unwrap();
    assert_eq!(
        serde_json::from_str::<PrefetchRules>(&document).unwrap(),
        *shipped
    );
}

#[test]
fn every_bad_line_is_named_with_its_value_and_rule() {
    let bad = read_prefetch_csv(
        "name,order,for_modality,max_age,max_number,status,verified,availability\n\
         a,1,,,,,,\n\
         A,2,,,,,,\n\
         b,first,,,,,,\n\
         c,1,same,,,,,\n\
         d,1,,5,,,,\n\
         e,1,,0y,,,,\n\
         f,1,,,0,,,\n\
         g,1,,,,SIGNED,,\n\
         h,1,,,,,perhaps,\n\
         i,1,,,,,,unavailable\n\
         j k,1,,,,,,\n",
    );
    let told: Vec<String> = bad.unwrap_err().iter().map(BadLine::to_string).collect();
    let expected = [
        "line 3: invalid rule \"a\": line 2 has the same name",
        "line 4: invalid order",
        "line 5: invalid for_modality",
        "line 6: invalid max_age",
        "line 7: invalid max_age",
        "line 8: invalid max_number",
        "line 9: invalid status",
        "line 10: invalid verified",
        "line 11: invalid availability",
        "line 12: invalid name",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told}");
    }
}

#[test]
fn a_selection_is_same_or_listed_or_any() {
    let admits = |selection: &str, study: &[&str], prior: &[&str]| {
        selection.parse::<Selection>().unwrap().admits(study, prior)
    };
    assert!(admits("", &[], &[]));
    assert!(admits("same", &["CT"], &["SR", "ct"]));
    assert!(!admits("same", &["CT"], &["MR"]));
    assert!(!admits("same", &[], &[]), "what is not known is not the same");
    assert!(admits("cr, dx", &["CT"], &["DX"]));
    assert!(admits("same|MR", &["CT"], &["MR"]));
    assert!(admits("* EXTREMITY", &[], &["Lower Extremity"]));
    assert!(!admits("HEAD", &["HEAD"], &["HEART"]));
}

#[test]
fn age_is_counted_by_the_calendar() {
    let before = |age: &str, day| age.parse::<MaxAge>().unwrap().before(day);
    assert_eq!(before("5y", date(2024, 2, 29)), date(2019, 2, 28));
    assert_eq!(before("18m", date(2024, 7, 31)), date(2023, 1, 31));
    assert_eq!(before("6w", date(2024, 3, 1)), date(2024, 1, 19));
    assert_eq!(before("90d", date(2024, 3, 31)), date(2024, 1, 1));
    assert_eq!(before("65535y", date(2024, 3, 31)), jiff::civil::Date::MIN);
    for text in ["", "y", "5", "-1y", "5 y", "5j", "5ü"] {
        assert!(text.parse::<MaxAge>().is_err(), "{text:?}");
    }
}

#[test]
fn rules_are_known_by_name_and_stand_in_order() {
    let shipped = PrefetchRules::shipped();
    let name: RuleName = "Same-Body-Part".parse().unwrap();
    let known = shipped.rule(&name).unwrap();
    assert_eq!(known.name.as_str(), "same-body-part");
    let moved = PrefetchRule {
        order: 1,
        ..known.clone()
    };
    let after = shipped.with(moved).unwrap();
    assert_eq!(after.rules().len(), shipped.rules().len());
    assert_eq!(after.rules()[0].name.as_str(), "same-body-part");
    assert_ne!(after.digest(), shipped.digest());
    let without = after.without(&name).unwrap();
    assert_eq!(without.rule(&name), None);
    assert!(PrefetchRules::new(Vec::new()).is_err());
}

proptest! {
    #[test]
    fn any_cells_give_a_rule_that_reads_back_or_an_error(cells in prop::collection::vec("[a-zA-Z0-9|,* ]{0,6}", 13)) {
        let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
        if let Ok(rule) = PrefetchRule::from_cells(cells.try_into().unwrap()) {
            let cells = rule.cells();
            let again = PrefetchRule::from_cells(cells.each_ref().map(String::as_str)).unwrap();
            prop_assert_eq!(again, rule);
        }
    }
}
