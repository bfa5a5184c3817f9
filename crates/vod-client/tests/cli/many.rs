//! Several files against a mock: each has its own end, and one's failure does not stop the others.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
};

use serde_json::Value;
use vod_mock::{
    Action, Fault, Verdict,
    blocking::{TestAccount, VodMock},
};
use vod_proto::{Query, Sha1, ugc::UploadSignature};

use super::{Ran, check, key, run_with};

/// A mock, an account of its own, and a folder with files.
pub(super) struct Stage {
    pub(super) mock: VodMock,
    pub(super) account: TestAccount,
    pub(super) folder: tempfile::TempDir,
}

impl Stage {
    pub(super) fn with(files: &[&str]) -> Self {
        let (mock, folder) = (VodMock::start(), tempfile::tempdir().unwrap());
        for file in files {
            fs::write(folder.path().join(file), format!("the bytes of {file}")).unwrap();
        }
        Self { account: mock.account(), mock, folder }
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub(super) fn keys(&self) -> [(&str, &str); 2] {
        [("VOD_SECRET_ID", self.account.secret_id()), ("VOD_SECRET_KEY", self.account.secret_key())]
    }

    /// The arguments of an upload of these files, which are in the folder.
    pub(super) fn args(&self, files: &[&str], more: &[&str]) -> Vec<String> {
        let files = files.iter().map(|file| self.path(file).to_str().unwrap().to_owned());
        let more = ["--endpoint", self.mock.endpoint()].into_iter().chain(more.iter().copied()).map(str::to_owned);
        ["upload".to_owned()].into_iter().chain(files).chain(more).collect()
    }

    pub(super) fn upload(&self, files: &[&str], more: &[&str]) -> Ran {
        let args = self.args(files, more);
        run_with(&args.iter().map(String::as_str).collect::<Vec<_>>(), &self.keys(), "")
    }

    /// The names of the files that are stored, as the server was told them.
    pub(super) fn stored(&self) -> BTreeSet<String> {
        let stored = self.account.uploads().into_iter().filter(|upload| upload.commits == 1);
        stored.filter_map(|upload| Some(upload.file?.name)).collect()
    }
}

/// The lines of `--json`.
pub(super) fn lines(ran: &Ran) -> Vec<Value> {
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
}

/// `NAME outcome exit` of each result, in the order of names.
fn results(ran: &Ran) -> Vec<String> {
    let lines = lines(ran);
    let results = lines.iter().filter(|line| line["event"] == "result").map(|line| {
        let name = line["file"].as_str().unwrap_or("nowhere/none").rsplit('/').next().unwrap().to_owned();
        format!("{name} {} {}", line["outcome"].as_str().unwrap(), line["exit"])
    });
    let mut results: Vec<_> = results.collect();
    results.sort();
    results
}

#[test]
fn files_and_patterns_are_uploaded_and_each_has_its_result() {
    let stage = Stage::with(&["a.mp4", "b[1].mp4", "c.mov", "d.mov", "e.txt"]);
    let ran = stage.upload(&["a.mp4", "b[1].mp4", "*.mov", "c.mov"], &["--json"]);
    assert_eq!(results(&ran), ["a.mp4 finished 0", "b[1].mp4 finished 0", "c.mov finished 0", "d.mov finished 0"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(stage.stored(), ["a", "b[1]", "c", "d"].map(str::to_owned).into());
    let ran = stage.upload(&["a.mp4", "c.mov"], &[]);
    let says = format!("{}: file ", stage.path("a.mp4").display());
    assert!(ran.stdout.contains(&says) && ran.stdout.contains("was stored already"), "{}", ran.stdout);
    assert!(ran.stderr.contains("all 2 files stored"), "{}", ran.stderr);
}

#[test]
fn a_pattern_that_matches_nothing_stops_everything_before_the_first_request() {
    let stage = Stage::with(&["a.mp4"]);
    let says = format!("error: cannot open {}: no file matches this pattern", stage.path("*.mov").display());
    check(&stage.upload(&["a.mp4", "*.mov"], &[]), 4, "", &says);
    let ran = stage.upload(&["a.mp4", "*.mov"], &["--json"]);
    assert_eq!(results(&ran), ["none failed 4"]);
    assert_eq!(stage.account.exchanges().len(), 0, "nothing was sent");
}

#[test]
fn one_files_failure_does_not_stop_the_others_and_the_code_that_needs_most_attention_is_told() {
    let stage = Stage::with(&["a.mp4", "b.mp4", "c.mp4", "none"]);
    fs::write(stage.path("empty.mp4"), "").unwrap();
    let sha1 = Sha1::of(&fs::read(stage.path("b.mp4")).unwrap());
    let refused = stage.account.fault(Fault::on(Action::InitUpload).file(sha1).before_commit(Verdict::reply(-10003)));
    let ran = stage.upload(&["missing.mp4", "empty.mp4", "a.mp4", "b.mp4", "none", "c.mp4"], &["--json"]);
    drop(refused);
    assert_eq!(
        results(&ran),
        [
            "a.mp4 finished 0",
            "b.mp4 failed 5",
            "c.mp4 finished 0",
            "empty.mp4 failed 4",
            "missing.mp4 failed 4",
            "none failed 3"
        ]
    );
    assert_eq!(ran.code, 5, "what the server refused comes before what is wrong with local files");
    assert_eq!(stage.stored(), ["a", "c"].map(str::to_owned).into());
    let ran = stage.upload(&["missing.mp4", "a.mp4"], &[]);
    check(
        &ran,
        4,
        &ran.stdout,
        &format!("error: {0}: cannot open {0}: no such file", stage.path("missing.mp4").display()),
    );
    assert!(ran.stderr.contains("1 of 2 files stored, 1 failed"), "{}", ran.stderr);
}

#[test]
fn as_many_files_are_under_way_at_once_as_was_asked_for() {
    let names = ["a.mp4", "b.mp4", "c.mp4", "d.mp4", "e.mp4", "f.mp4"];
    for (more, expected) in [(&["--jobs", "3", "--json"][..], 3), (&["--json"], 2), (&["--jobs", "1", "--json"], 1)] {
        let stage = Stage::with(&names);
        let ran = std::thread::scope(|scope| {
            // The first ones wait for each other, so that they must be there together.
            let held = stage.account.fault(Fault::on(Action::FinishUpload).before_read(Verdict::hold("door")));
            let upload = scope.spawn(|| stage.upload(&names, more));
            held.until_held(expected);
            drop(held);
            upload.join().unwrap()
        });
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let (mut open, mut most) = (BTreeSet::new(), 0);
        for line in lines(&ran) {
            let file = line["file"].as_str().unwrap().to_owned();
            if line["event"] == "result" {
                open.remove(&file)
            } else {
                open.insert(file)
            };
            most = most.max(open.len() as u64);
        }
        assert_eq!(most, expected, "{more:?}");
    }
    check(&run_with(&["upload", "a", "--jobs", "0"], &[], ""), 2, "", "0 is not in 1..=64");
}

/// How many connections the mock took so far, as it tells of itself; the one that asks is one of them.
fn connections(mock: &VodMock) -> u64 {
    let mut stream = TcpStream::connect(mock.endpoint().rsplit_once('/').unwrap().1).unwrap();
    stream.write_all(b"GET /__vod/metrics HTTP/1.1\r\nHost: mock\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    let sample = page.lines().find_map(|line| line.strip_prefix("vod_mock_connections_total "));
    sample.unwrap_or_else(|| panic!("not counted: {page}")).parse().unwrap()
}

#[test]
fn a_thousand_small_files_share_a_few_connections() {
    let names: Vec<_> = (0..1000).map(|n| format!("{n}.mp4")).collect();
    let stage = Stage::with(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let before = connections(&stage.mock);
    let ran = stage.upload(&["*.mp4"], &["--jobs", "8", "--quiet"]);
    check(&ran, 0, "", "");
    assert_eq!((stage.stored().len(), stage.account.exchanges().len()), (1000, 3000));
    // Each of eight has one request under way at any time. Now and then one finds the last connection not free yet.
    let opened = connections(&stage.mock) - before - 1;
    assert!((1..=40).contains(&opened), "{opened} connections were opened");
}

#[test]
fn what_can_be_true_of_one_file_alone_is_refused_for_several() {
    let stage = Stage::with(&["a.mp4", "b.mp4"]);
    for more in [["--name", "n"], ["--cover-of", "7"]] {
        check(&stage.upload(&["*.mp4"], &more), 3, "", &format!("error: {} is for one file, and these are 2", more[0]));
    }
    let sign = |fields: &str| UploadSignature::sign(&key(), &Query::parse(fields));
    let upload = |token: &str| {
        let args = stage.args(&["a.mp4", "b.mp4"], &["--family", "ugc"]);
        run_with(&args.iter().map(String::as_str).collect::<Vec<_>>(), &[("VOD_SIGNATURE", token)], "")
    };
    let fields = format!("s=id&f=a&ft=mp4&e=4102444800&fs={}", Sha1::of(b"a"));
    check(&upload(&sign(&fields)), 3, "", "error: the upload signature is for one file, and these are 2");
    assert_eq!(stage.mock.exchanges().len(), 0, "nothing was sent");
    // The first version of the documents has upload signatures that name no file; what they come to the server says.
    let ran = upload(&sign("s=id&f=a&ft=mp4&e=4102444800"));
    assert_ne!(ran.code, 3, "{}", ran.stderr);
    // What is said of several files is said of each.
    let ran = stage.upload(&["*.mp4"], &["--tag", "sea", "--class-id", "3", "--transcode"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for upload in stage.account.uploads() {
        let facts = upload.file.unwrap();
        assert_eq!((facts.tags, facts.class_id, facts.transcode), (vec!["sea".to_owned()], Some(3), true));
    }
}

#[test]
fn every_fact_that_the_documents_know_reaches_the_server() {
    let stage = Stage::with(&["a.mp4", "b.mp4", "c.jpg"]);
    let facts = ["--name", "at sea", "--type", "mov", "--class-id", "3", "--tag", "x", "--tag", "y"];
    let facts = [&facts[..], &["--transcode", "--screenshot", "--watermark"]].concat();
    assert_eq!(stage.upload(&["a.mp4"], &facts).code, 0);
    let legacy = [&facts[..], &["--family", "legacy", "--notify-url", "http://h.example/told"]].concat();
    assert_eq!(stage.upload(&["b.mp4"], &legacy).code, 0);
    assert_eq!(stage.upload(&["c.jpg"], &["--cover-of", "7"]).code, 0);
    let uploads = stage.account.uploads();
    let of = |file: &str| {
        let sha1 = Sha1::of(&fs::read(stage.path(file)).unwrap());
        uploads.iter().find(|upload| upload.file_sha1 == sha1).unwrap().file.clone().unwrap()
    };
    let a = of("a.mp4");
    assert_eq!((a.name.as_str(), a.file_type.as_str(), a.class_id), ("at sea", "mov", Some(3)));
    assert_eq!(
        (&a.tags[..], a.transcode, a.screenshot, a.watermark),
        (&["x".into(), "y".into()][..], true, true, true)
    );
    assert_eq!(of("b.mp4").notify_url.as_deref(), Some("http://h.example/told"));
    assert_eq!(of("b.mp4").name, "at sea");
    assert_eq!(of("c.jpg").cover_of.as_deref(), Some("7"));
}

#[test]
fn quiet_says_nothing_of_a_success_and_json_then_says_results_alone() {
    let stage = Stage::with(&["a.mp4", "b.mp4"]);
    check(&stage.upload(&["a.mp4", "b.mp4"], &["--quiet"]), 0, "", "");
    let ran = stage.upload(&["a.mp4", "b.mp4"], &["--quiet", "--json"]);
    assert_eq!(results(&ran), ["a.mp4 existed 0", "b.mp4 existed 0"]);
    assert_eq!(lines(&ran).len(), 2);
    let shown = stage.account.exchanges().action(Action::InitUpload).len();
    assert_eq!(shown, 4, "each file was asked about twice");
}

#[test]
fn whatever_happens_to_a_file_is_a_line_and_the_last_one_is_its_result() {
    let stage = Stage::with(&["a.mp4"]);
    let busy = stage.account.fault(Fault::on(Action::UploadPart).attempt(1).before_read(Verdict::http(503)));
    let ran = stage.upload(&["a.mp4"], &["--json"]);
    drop(busy);
    let events: Vec<_> = lines(&ran).iter().map(|line| line["event"].as_str().unwrap().to_owned()).collect();
    let story = "queued hashing hashed attempt-started opened attempt-started attempt-failed attempt-started part-done \
                 finishing attempt-started result";
    assert_eq!(events.join(" "), story);
    assert!(lines(&ran).iter().all(|line| line["file"] == stage.path("a.mp4").to_str().unwrap()), "{}", ran.stdout);
    let failed = &lines(&ran)[6];
    assert_eq!(
        (failed["kind"].as_str(), failed["action"].as_str()),
        (Some("transport"), Some("UploadPart")),
        "{failed}"
    );
    assert!(failed["retry-in-ms"].is_u64() && failed["message"] == "HTTP status 503", "{failed}");
}
