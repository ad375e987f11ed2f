//! The printed systemd unit, as systemd itself judges it.

use super::support::env::Env;

#[test]
fn systemd_takes_the_unit_and_finds_little_exposed() {
    let env = Env::new();
    env.impaxlink(&["config", "set", "issuer", "NORTH"]).success();
    let unit = env.path().join("impaxlink.service");
    std::fs::write(&unit, env.impaxlink(&["serve", "--print-unit"]).success()).unwrap();

    let verify = env
        .command("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&unit)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&verify.stderr).into_owned();
    assert!(
        verify.status.success() && !said.contains("impaxlink.service"),
        "{said}"
    );

    // 20 of 100 is what systemd calls OK, from 0 (all closed).
    let security = env
        .command("systemd-analyze")
        .args(["security", "--offline=yes", "--threshold=20", "--no-pager"])
        .arg(&unit)
        .output()
        .unwrap();
    assert!(
        security.status.success(),
        "{}",
        String::from_utf8_lossy(&security.stdout)
    );
}
