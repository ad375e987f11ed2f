//! How long a certificate is still good for.
//!
//! Invariant: pure. Whether it is trusted was decided when it was shown.

use jiff::Timestamp;

use super::item::Items;

/// From so many days on before its end a renewal is due.
const RENEWAL_DUE: i64 = 30;

/// Judges when a certificate ends, which is `named` where it is known by its fingerprint, whatever its dates.
pub(super) fn judge_certificate(
    items: &mut Items,
    expires: Option<Timestamp>,
    named: bool,
    whose: &str,
    remedy: &str,
    now: Timestamp,
) {
    let Some(expires) = expires else {
        let hint = "look at it with: openssl x509 -noout -enddate";
        return items.unknown("certificate", format!("when {whose} expires can't be read"), hint);
    };
    let days = expires.duration_since(now).as_hours().div_euclid(24);
    let day = expires.strftime("%Y-%m-%d");
    let by = if named { ", known by its fingerprint" } else { "" };
    match days {
        ..0 if named => items.warn(
            "certificate",
            format!("{whose} has expired on {day}; it is trusted by its fingerprint all the same"),
            remedy,
        ),
        ..0 => items.fail("certificate", format!("{whose} has expired on {day}"), remedy),
        0..RENEWAL_DUE => items.warn(
            "certificate",
            format!("{whose} expires on {day}, in {days} days{by}"),
            remedy,
        ),
        _ => items.pass("certificate", format!("{whose} is valid to {day}{by}")),
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::check::item::{Outcome, Subject};

    fn outcome(days: i64, named: bool) -> (Outcome, String) {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let mut items = Items::of(Subject::Local);
        let expires = now + SignedDuration::from_hours(24 * days) + SignedDuration::from_mins(1);
        judge_certificate(&mut items, Some(expires), named, "it", "renew it", now);
        let item = items.all.remove(0);
        (item.outcome, item.detail)
    }

    #[test]
    fn a_certificate_is_renewed_before_it_ends() {
        assert_eq!(
            outcome(30, false),
            (Outcome::Pass, "it is valid to 2026-03-02".to_owned())
        );
        assert_eq!(
            outcome(29, false),
            (Outcome::Warn, "it expires on 2026-03-01, in 29 days".to_owned())
        );
        assert_eq!(outcome(0, false).0, Outcome::Warn);
        assert_eq!(outcome(-1, false).0, Outcome::Fail);
        assert_eq!(outcome(-1, true).0, Outcome::Warn);
    }
}
