//! What the client makes of every code, told by the mock in simulation.

use vod_proto::{
    Family,
    code::{Spoken, TABLE},
};
use vod_scenario::{
    evidence::Target,
    format::Scenario,
    judge::Verdict,
    report::report,
    run::{self, Named, Settings},
};

/// The first request of an upload is refused with this code; so is nothing after it.
#[track_caller]
fn check(family: Family, code: i64, can_retry: bool, again: bool) {
    let action = family.open();
    let (end, requests) = if again { ("\"finished\"".to_owned(), 2) } else { (format!("{{ failed = {code} }}"), 1) };
    let text = format!(
        r#"
        format = 1
        why = "Who is told no must know whether to ask again."
        source = {{ size = "10KiB", seed = 1 }}
        client = {{ family = "{family}" }}

        [[fault]]
        id = "no"
        on = {{ action = "{action}", attempt = 1 }}
        phase = "before-commit"
        do = {{ reply = {{ code = {code}, can-retry = {can_retry} }} }}

        [[step]]
        upload = {{}}
        expect = {end}

        [expect]
        requests = {{ {action} = {requests} }}
        "#
    );
    let scenario = Scenario::parse("code.toml", &text).unwrap_or_else(|error| panic!("{error}"));
    let story = Named { name: "code.toml".to_owned(), scenario };
    let settings = Settings::default();
    let run = run::run(&story, Target::Sim, &settings);
    assert_eq!(run.verdict(), Verdict::Pass, "{family}: code {code}, canRetry {can_retry}\n{}", report(&run));
}

/// The codes of the table that stand in these replies.
fn known(spoken: Spoken) -> Vec<i64> {
    TABLE.iter().filter(|row| row.spoken == spoken).map(|row| row.code.0).collect()
}

/// A positive code means the same whatever the flag says.
#[test]
fn common_codes_are_final_but_for_quota_trouble_and_maintenance() {
    let all = [
        (4000, false),
        (4100, false),
        (4101, false),
        (4102, false),
        (4103, false),
        (4104, false),
        (4110, false),
        (4200, false),
        (4300, false),
        (4400, true),
        (4500, false),
        (4600, false),
        (5000, false),
        (5100, false),
        (5200, false),
        (5300, false),
        (5400, false),
        (5500, false),
        (6000, true),
        (6100, false),
        (6200, true),
    ];
    assert_eq!(all.map(|(code, _)| code)[..], known(Spoken::Common));
    for (code, again) in all {
        for family in Family::ALL {
            check(family, code, false, again);
            check(family, code, true, again);
        }
    }
}

#[test]
fn codes_of_the_upload_follow_can_retry() {
    let all = [-10001, -10002, -10003, -10004, -10005, -10006];
    assert_eq!(all[..], known(Spoken::Upload));
    // One that a client knows and no document names follows it too.
    for code in all.into_iter().chain([-28996]) {
        for family in [Family::Server, Family::Ugc] {
            check(family, code, false, false);
            check(family, code, true, true);
        }
    }
}

/// Its replies have no `canRetry`, whatever is asked of the mock.
#[test]
fn codes_of_the_legacy_family_are_final() {
    let all = [
        -29200, -26498, -25997, -25986, -25985, -25984, -25983, -25982, -25981, -25980, -25979, -25978, -25977, -25976,
        10003, 10004,
    ];
    assert_eq!(all[..], known(Spoken::Legacy));
    for code in all {
        check(Family::Legacy, code, true, false);
    }
}
