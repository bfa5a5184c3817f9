//! `docs/scenarios.md` teaches the language by examples: each is a scenario, and passes in simulation.

use std::{fs, path::Path};

use vod_scenario::{
    evidence::Target,
    format,
    judge::Verdict,
    report::report,
    run::{self, Named, Settings},
};

#[test]
fn every_example_of_the_page_passes() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/scenarios.md");
    let page = fs::read_to_string(page).unwrap();
    let examples: Vec<_> = page.split("```toml\n").skip(1).filter_map(|rest| rest.split_once("```")).collect();
    assert!(examples.len() >= 4, "only {} examples", examples.len());
    let mut told = 0;
    for (number, (text, _)) in (1..).zip(examples) {
        let file = format!("example-{number}.toml");
        for cell in format::read(&file, text).unwrap_or_else(|error| panic!("{error}")) {
            let story = Named { name: format!("{file}[{}]", cell.name.unwrap_or_default()), scenario: cell.scenario };
            let settings = Settings::default();
            let run = run::run(&story, Target::Sim, &settings);
            assert_eq!(run.verdict(), Verdict::Pass, "{}", report(&run));
            told += 1;
        }
    }
    assert!(told >= 9, "only {told} cells");
}
