//! Every scenario file, or cell of its matrix, is one test on every target: `sim::NAME`, `process::NAME[CELL]`; and one more on
//! each, through a recorder and again on the replay of what it recorded: `sim-through-proxy::NAME`.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use libtest_mimic::{Arguments, Failed, Trial};
use vod_proto::Family;
use vod_scenario::{
    evidence::Target,
    judge::Verdict,
    library::{self, Found},
    report::report,
    run::{self, Named, Settings},
};

fn main() {
    let arguments = Arguments::from_args();
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(library::DIR);
    let names = library::names(&library).unwrap_or_else(|error| panic!("{error}"));
    let (mut trials, mut missing) = (Vec::new(), BTreeSet::from(Family::ALL));
    for name in names {
        match library::load(&library, &name) {
            Ok(cells) => {
                for Found { story, .. } in cells {
                    missing.remove(&story.scenario.client.family);
                    for target in Target::ALL {
                        trials.push(trial(&target.to_string(), &story, target, false));
                        trials.push(trial(&format!("{target}-through-proxy"), &story, target, true));
                    }
                }
            }
            // A file that cannot be read is a test that fails: the others are told all the same.
            Err(error) => trials.push(Trial::test(name, move || Err(error.to_string().into()))),
        }
    }
    // An empty directory would make every run of this file a success.
    trials.push(Trial::test("every_family_has_scenarios", move || {
        if missing.is_empty() { Ok(()) } else { Err(format!("there is no scenario of {missing:?}").into()) }
    }));
    libtest_mimic::run(&arguments, trials).exit();
}

/// A story that is not told there is shown as one that is skipped.
fn trial(stage: &str, story: &Named, target: Target, through_proxy: bool) -> Trial {
    let (name, told) = (format!("{stage}::{}", story.name), story.clone());
    match story.scenario.not_told(target, through_proxy) {
        Some(_) => Trial::test(name, move || is_skipped(&told, target, through_proxy)).with_kind("skipped"),
        None => Trial::test(name, move || passes(&told, target, through_proxy)),
    }
}

/// Whoever asks for it all the same is told why not, and nothing is told.
fn is_skipped(story: &Named, target: Target, through_proxy: bool) -> Result<(), Failed> {
    let settings = Settings { through_proxy, ..Settings::default() };
    let run = run::run(story, target, &settings);
    if run.skipped().is_some() { Ok(()) } else { Err(report(&run).into()) }
}

fn passes(story: &Named, target: Target, through_proxy: bool) -> Result<(), Failed> {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_vod-scenario"));
    let settings = Settings { binary, through_proxy, ..Settings::default() };
    let run = run::run(story, target, &settings);
    if run.verdict() == Verdict::Pass { Ok(()) } else { Err(report(&run).into()) }
}
