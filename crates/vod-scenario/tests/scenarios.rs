//! Every scenario file on every target is one test: `sim::NAME`, `process::NAME`.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use libtest_mimic::{Arguments, Failed, Trial};
use vod_proto::Family;
use vod_scenario::{
    evidence::Target,
    judge::Verdict,
    library,
    report::report,
    run::{self, Settings},
};

fn main() {
    let arguments = Arguments::from_args();
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(library::DIR);
    let names = library::names(&library).unwrap_or_else(|error| panic!("{error}"));
    let mut trials: Vec<Trial> = names
        .iter()
        .flat_map(|name| Target::ALL.map(|target| (name.clone(), target)))
        .map(|(name, target)| {
            let library = library.clone();
            Trial::test(format!("{target}::{name}"), move || passes(&library, &name, target))
        })
        .collect();
    // An empty directory would make every run of this file a success.
    trials.push(Trial::test("every_family_has_scenarios", move || {
        let mut missing: BTreeSet<_> = Family::ALL.into_iter().collect();
        for name in &names {
            missing.remove(&library::load(&library, name)?.scenario.client.family);
        }
        if missing.is_empty() { Ok(()) } else { Err(format!("there is no scenario of {missing:?}").into()) }
    }));
    libtest_mimic::run(&arguments, trials).exit();
}

fn passes(library: &Path, name: &str, target: Target) -> Result<(), Failed> {
    let story = library::load(library, name)?;
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_vod-scenario"));
    let run = run::run(&story, target, &Settings { seed: run::SEED, binary, keep: None, client: None });
    if run.verdict() == Verdict::Pass { Ok(()) } else { Err(report(&run).into()) }
}
