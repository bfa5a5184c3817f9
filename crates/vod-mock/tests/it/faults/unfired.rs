//! Every fault where it does not fit: nothing of it is seen, and it is listed as never fired. Where it fits, the same
//! fault in the same place strikes.

use std::time::Duration;

use vod_mock::{Config, MemoryStore, Mock};
use vod_proto::{Sha1, exchange::End};
use vod_serve::Plan;

use super::stage::{Act, Reply, Stage, fault, fault_at};
use crate::{pipe::now, wire::config};

/// A fault and the request that it strikes: what it does, when, what comes before that request, and which it is.
const FAULTS: [(&str, &str, Act, Act); 22] = [
    ("{ reply = { code = -10004 } }", "before-read", Act::Part, Act::Part),
    ("{ http = { status = 503 } }", "before-commit", Act::Finish, Act::Finish),
    ("{ delay = \"1h\" }", "after-commit", Act::Init, Act::Init),
    ("{ delay = { uniform = { min = \"1h\", max = \"2h\" } } }", "mid-body", Act::Next, Act::Next),
    ("{ throttle = { read = \"1KiB/s\" } }", "before-read", Act::Next, Act::Next),
    ("{ throttle = { write = \"1/s\" } }", "mid-reply", Act::Init, Act::Init),
    ("{ stall = \"1h\" }", "before-commit", Act::Last, Act::Last),
    ("\"close\"", "mid-body", Act::Whole, Act::Whole),
    ("\"reset\"", "mid-reply", Act::Finish, Act::Finish),
    ("{ truncate-reply = { at = 20 } }", "after-commit", Act::Next, Act::Next),
    ("\"garbage-reply\"", "after-commit", Act::Part, Act::Part),
    ("\"empty-reply\"", "before-read", Act::Init, Act::Init),
    ("{ corrupt = { offset = 999 } }", "before-commit", Act::Part, Act::Part),
    ("{ corrupt = { offset = 0 } }", "before-commit", Act::Next, Act::Next),
    ("\"drop-part\"", "before-commit", Act::Part, Act::Part),
    ("{ kill = \"client\" }", "after-commit", Act::Finish, Act::Finish),
    ("{ list = \"empty\" }", "before-commit", Act::Finish, Act::Init),
    ("{ data-size = \"1MiB\" }", "before-commit", Act::Part, Act::Init),
    ("\"expire-session\"", "before-read", Act::Part, Act::Part),
    ("{ refuse = \"1h\" }", "before-read", Act::Init, Act::Init),
    ("{ hold = \"name\" }", "after-commit", Act::Part, Act::Part),
    ("{ transcode = -502 }", "before-commit", Act::Last, Act::Last),
];

/// What comes of the request, if anything does within a minute.
async fn ask(stage: &Stage, before: Act, act: Act) -> Option<(Reply, u64)> {
    stage.prepare(before).await;
    // From here on the fault may strike, so that what comes before is never struck.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut peer = stage.connect().await;
    let start = now();
    let asked = async {
        peer.send(&act.request()).await;
        peer.reply().await
    };
    let reply = tokio::time::timeout(Duration::from_secs(60), asked).await.ok()?;
    Some((reply, start.elapsed().as_secs()))
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_does_not_fit_is_neither_seen_nor_recorded_and_is_listed_as_never_fired() {
    let other = Sha1::of(b"another file");
    for (verdict, phase, before, act) in FAULTS {
        let untouched = Stage::in_memory("").await;
        let (expected, _) = ask(&untouched, before, act).await.expect("a reply");
        let action = act.on().split(',').next().unwrap().to_owned();
        let legacy = matches!(act, Act::Next | Act::Last);
        let elsewhere = if legacy { "UploadPart" } else { "MultipartUploadVodFile" };
        for misfit in [
            format!("{action}, attempt = 9 }}"),
            format!("{action}, account = \"stranger\" }}"),
            format!("{action}, file-sha = \"{other}\" }}"),
            format!("{action}, after = \"1m\" }}"),
            format!("{action}, until = \"1ms\", after = \"0s\" }}"),
            format!("{action}, every = 9 }}"),
            format!("{{ action = \"{elsewhere}\" }}"),
        ] {
            let case = format!("{verdict} {phase} {misfit}");
            let plan: Plan = toml::from_str(&fault(&misfit, phase, verdict)).unwrap();
            // Some cannot even be planted on another action, which is another test's.
            if plan.check().is_err() {
                continue;
            }
            let stage = Stage::in_memory(&fault(&misfit, phase, verdict)).await;
            // One of them has had its time by then.
            tokio::time::sleep(Duration::from_millis(1)).await;
            let (reply, seconds) = ask(&stage, before, act).await.expect("a reply");
            assert_eq!((reply, seconds), (expected.clone(), 0), "{case}");
            assert_eq!(stage.mock.unfired(), ["f"], "{case}");
            for exchange in stage.mock.exchanges() {
                assert_eq!((exchange.end, exchange.faults.len()), (End::Replied, 0), "{case}: {exchange:?}");
            }
            assert_eq!(stage.killed(), [""; 0], "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn where_it_fits_each_of_them_strikes() {
    for (verdict, phase, before, act) in FAULTS {
        let case = format!("{verdict} {phase} {act:?}");
        let action = act.on().split(',').next().unwrap().to_owned();
        let plan = fault(&format!("{action}, after = \"1s\", times = 1 }}"), phase, verdict);
        let stage = Stage::in_memory(&plan).await;
        stage.prepare(before).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut peer = stage.connect().await;
        let _ = tokio::time::timeout(Duration::from_secs(60), peer.see(&act.request())).await;
        assert_eq!(stage.mock.unfired(), [""; 0], "{case}");
    }
}

#[test]
fn no_fault_is_left_out_here() {
    let unknown = "[[fault]]\nid = \"f\"\nphase = \"before-read\"\ndo = \"nothing\"\n";
    let error = toml::from_str::<Plan>(unknown).unwrap_err().to_string();
    let known: Vec<_> = error.split('`').skip(3).step_by(2).collect();
    assert!(known.len() > 15 && known.contains(&"drop-part"), "{error}");
    let tried: String = FAULTS.iter().map(|(verdict, ..)| *verdict).collect();
    for name in known {
        let named = tried.contains(&format!("\"{name}\"")) || tried.contains(&format!("{{ {name} ="));
        assert!(named, "{name} is not among the faults above");
    }
}

#[tokio::test]
async fn a_byte_that_no_account_reads_is_refused_until_one_does() {
    let plan = || toml::from_str::<Plan>(&fault_at("{}", "mid-body", 8 << 20, "\"close\"")).unwrap();
    let error = Mock::open(Config { plan: plan(), ..config() }, MemoryStore::new()).await.err().unwrap().to_string();
    assert!(error.contains("at is 8388608: this server reads no more than 8388608 bytes of a body"), "{error}");
    let roomy =
        "name = \"roomy\"\napp-id = 1\nsecret-id = \"i\"\nsecret-key = \"k\"\n[limits]\nbody-ceiling = 8388609\n";
    let stage = Stage::in_memory("").await;
    assert!(stage.mock.engine().plant(None, plan(), None).is_err());
    stage.mock.add_account(toml::from_str(roomy).unwrap()).unwrap();
    assert!(stage.mock.engine().plant(None, plan(), None).is_ok());
    let accounts = toml::from_str(&format!("[[account]]\n{}", roomy.replace("[limits]", "[account.limits]"))).unwrap();
    assert!(Mock::open(Config { plan: plan(), accounts, ..config() }, MemoryStore::new()).await.is_ok());
}

#[tokio::test]
async fn a_fault_that_never_struck_is_reported() {
    let stage = Stage::with(&fault(&Act::Part.on(), "before-read", "\"reset\""), config()).await;
    assert_eq!(stage.answer(&Act::Init.request()).await["code"], 0);
    assert_eq!(stage.mock.unfired(), ["f"]);
    let fates = stage.mock.fates();
    assert_eq!((fates.len(), fates[0].id.as_str(), fates[0].struck, fates[0].matched), (1, "f", 0, 0));
}
