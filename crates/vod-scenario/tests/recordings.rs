//! The recordings that are kept in `recordings/`: whole, without a secret, and still what client and mock do.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use vod_mock::{DEMO_SECRET_ID, DEMO_SECRET_KEY, DEMO_VERIFY_KEY};
use vod_proto::{Family, Limits, Verdict as Linted, lint::lint};
use vod_proxy::{
    Recording,
    leaks::{self, Secret},
};
use vod_scenario::{
    evidence::Target,
    format::Scenario,
    from_recording,
    judge::{Judgement, Ruling, Verdict},
    recordings::{self, Kept},
    report::report,
    run::{self, Named, Settings},
};

fn library() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(recordings::DIR)
}

fn all() -> Vec<Kept> {
    recordings::all(&library()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_recording_is_whole_holds_no_secret_and_shows_a_client_that_breaks_no_rule() {
    let secrets: Vec<_> = [DEMO_SECRET_ID, DEMO_SECRET_KEY, DEMO_VERIFY_KEY]
        .iter()
        .map(|secret| Secret::new(*secret, secret).expect("it is long enough to be looked for"))
        .collect();
    for Kept { story, dir } in all() {
        let recording = Recording::open(&dir).unwrap_or_else(|error| panic!("{}: {error}", story.name));
        let checked = recording.verify().unwrap();
        assert!(checked.is_whole() && checked.exchanges > 0, "{}: {checked}", story.name);
        let (exchanges, end) = recording.exchanges().unwrap();
        let findings = lint(&exchanges, &vod_proto::lint::Lacking::of_somebody(end.gap), &Limits::default());
        assert!(findings.verdict() == Linted::Pass && findings.findings.is_empty(), "{}: {findings:?}", story.name);
    }
    assert_eq!(leaks::find(&library(), &secrets).unwrap().leaks, []);
}

/// What speaks against it, by the names of checks.
fn against(judgement: &Judgement) -> Vec<(String, String)> {
    judgement.against().map(|(check, findings)| (check.name.clone(), format!("{findings:?}"))).collect()
}

#[test]
fn every_recording_is_answered_so_by_the_mock_and_taken_so_by_the_client() {
    for kept in all() {
        let name = &kept.story.name;
        let judgement = kept.judge().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(judgement.verdict, Verdict::Pass, "{name}: {:#?}", against(&judgement));
        // Neither is excepted: a recording of what cannot be told again would show nothing.
        for invariant in ["recorded-as-it-was", "same-on-replay"] {
            let check = judgement.checks.iter().find(|check| check.name == invariant).unwrap();
            assert!(matches!(check.ruling, Ruling::Holds), "{name}: {:?}", check.ruling);
        }
    }
}

#[test]
fn each_recording_has_its_story_and_its_place_in_the_list_and_each_family_has_each_kind() {
    let kept = all();
    let listed = fs::read_to_string(library().join("README.md")).unwrap();
    let (mut folders, mut kinds) = (BTreeSet::new(), BTreeSet::new());
    for Kept { story, dir } in &kept {
        let folder = story.folder();
        assert!(listed.contains(&format!("`{folder}`")), "README.md does not say what {folder} is");
        assert_eq!(story.scenario.client.parallel, 1, "{folder}: what is under way at a time must be no chance");
        let expect = &story.scenario.expect;
        assert!(!expect.requests.is_empty(), "{folder} says nothing of its requests");
        let kind = |kind: &str, means: &str| folder.contains(kind).then_some(means.to_owned());
        let kind = kind("plain", "plain")
            .or_else(|| kind("resume", "resume"))
            .or_else(|| kind("instant", "instant"))
            .or_else(|| kind("lost", "lost"))
            .or_else(|| kind("errors", "errors"))
            .or_else(|| kind("retries", "errors"));
        kinds.insert((story.scenario.client.family, kind.unwrap_or_else(|| panic!("what is {folder}?"))));
        folders.insert(dir.file_name().unwrap().to_owned());
    }
    assert_eq!(kinds.len(), 5 * Family::ALL.len(), "{kinds:?}");
    for entry in fs::read_dir(library()).unwrap() {
        let entry = entry.unwrap();
        let nobodys = entry.path().is_dir() && !folders.contains(&entry.file_name());
        assert!(!nobodys, "{} has no story", entry.path().display());
    }
}

/// A copy of a recording and its story.
fn copy_of(name: &str) -> (tempfile::TempDir, Kept) {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(library().join(name).with_extension("toml"), dir.path().join(name).with_extension("toml")).unwrap();
    fs::create_dir(dir.path().join(name)).unwrap();
    for file in ["recording.toml", "exchanges.jsonl"] {
        fs::copy(library().join(name).join(file), dir.path().join(name).join(file)).unwrap();
    }
    let kept = recordings::all(dir.path()).unwrap().remove(0);
    (dir, kept)
}

/// Changes what stands in a recording, as somebody would by hand.
fn change(kept: &Kept, from: &str, to: &str) {
    let path = kept.dir.join("exchanges.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from} does not stand in\n{text}");
    let unsealed: String =
        text.lines().map(|line| format!("{}}}\n", line.rsplit_once(",\"sum\":").expect("it is sealed").0)).collect();
    fs::write(&path, unsealed.replacen(from, to, 1)).unwrap();
}

#[test]
fn a_recording_that_says_anything_else_than_mock_or_client_do_is_found() {
    let found = |from: &str, to: &str| {
        let (_dir, kept) = copy_of("plain-upload");
        change(&kept, from, to);
        against(&kept.judge().unwrap())
    };
    let names = |found: &[(String, String)]| found.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    // What a reply says.
    let said = found(r#"\"canRetry\":0"#, r#"\"canRetry\":1"#);
    assert_eq!(names(&said), ["recorded-as-it-was"], "{said:?}");
    // How often something was asked, and how it ended.
    let said = found(r#""action":"FinishUpload""#, r#""action":"ApplyUpload""#);
    assert!(names(&said).contains(&"recorded-as-it-was".to_owned()), "{said:?}");
    let said = found(r#""end":"replied""#, r#""end":"closed""#);
    assert!(names(&said).contains(&"recorded-as-it-was".to_owned()), "{said:?}");
    // What the client asks.
    let said = found("&fileName=video&", "&fileName=holiday&");
    assert_eq!(names(&said), ["same-on-replay"], "{said:?}");
    let said = found("dataMd5=", "dataMd5=0");
    assert_eq!(names(&said), ["same-on-replay"], "{said:?}");
    // And whatever nobody changed on purpose is not even read.
    let (_dir, kept) = copy_of("plain-upload");
    let path = kept.dir.join("exchanges.jsonl");
    let text = fs::read_to_string(&path).unwrap().replacen("GET", "PUT", 1);
    fs::write(&path, text).unwrap();
    let error = kept.judge().unwrap_err().to_string();
    assert!(error.contains("not as it was written"), "{error}");
}

#[test]
fn it_is_made_anew_where_that_makes_a_difference_and_left_alone_where_not() {
    let binary = Path::new(env!("CARGO_BIN_EXE_vod-scenario"));
    let (_dir, kept) = copy_of("ugc-plain-upload");
    let path = kept.dir.join("exchanges.jsonl");
    let before = fs::read_to_string(&path).unwrap();
    let made = kept.make(binary).unwrap();
    assert_eq!(made.reasons(), [""; 0]);
    made.replace().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), before);

    change(&kept, "&fileSize=1100000&", "&fileSize=1100001&");
    let made = kept.make(binary).unwrap();
    assert!(made.reasons().concat().contains("same-on-replay"), "{:?}", made.reasons());
    made.replace().unwrap();
    assert_eq!(kept.judge().unwrap().verdict, Verdict::Pass);
    assert!(Recording::open(&kept.dir).unwrap().verify().unwrap().is_whole());

    fs::remove_dir_all(&kept.dir).unwrap();
    let reasons = kept.make(binary).unwrap().replace().unwrap();
    assert!(reasons.concat().contains("is no recording"), "{reasons:?}");
    assert_eq!(kept.judge().unwrap().verdict, Verdict::Pass);
}

#[test]
fn of_every_recording_a_story_can_be_made_that_passes() {
    for Kept { story, dir } in all() {
        let folder = story.folder();
        let text = from_recording::from_recording(&dir).unwrap_or_else(|error| panic!("{folder}: {error}"));
        let scenario = Scenario::parse(&folder, &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let run = run::run(&Named { name: folder, scenario }, Target::Sim, &Settings::default());
        assert_eq!(run.verdict(), Verdict::Pass, "{}\n{text}", report(&run));
    }
}
