//! `docs/faults.md` is read: its examples are plans, its refusals are refused in these words, and nothing is left out.

use std::{collections::BTreeMap, fmt::Write as _};

use vod_serve::{Plan, fault::Phase};

fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/faults.md");
    std::fs::read_to_string(path).expect("the page is there")
}

/// Every fenced block: what it is called, and its text.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(kind) = line.strip_prefix("```") else { continue };
        let mut text = String::new();
        for line in lines.by_ref().take_while(|line| *line != "```") {
            writeln!(text, "{line}").expect("a text takes every line");
        }
        blocks.push((kind.to_owned(), text));
    }
    blocks
}

fn read(text: &str) -> Result<Plan, String> {
    let plan: Plan = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
    plan.check().map_err(|error| error.to_string())?;
    Ok(plan)
}

/// The names that were expected where this plan has an unknown one.
fn known(plan: &str) -> Vec<String> {
    let error = read(plan).expect_err("an unknown name");
    let known: Vec<_> =
        error.lines().last().unwrap_or_default().split('`').skip(3).step_by(2).map(str::to_owned).collect();
    assert!(known.len() > 3, "{error}");
    known
}

#[test]
fn every_example_is_a_plan_that_can_strike() {
    let page = page();
    let examples: Vec<_> = blocks(&page).into_iter().filter(|(kind, _)| kind == "toml").collect();
    assert!(examples.len() > 19, "{}", examples.len());
    for (_, text) in examples {
        let plan = read(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert!(!plan.faults.is_empty(), "{text}");
    }
}

#[test]
fn what_is_said_to_be_refused_is_refused_in_these_words() {
    let page = page();
    let blocks = blocks(&page);
    let refused: Vec<_> = blocks.windows(2).filter(|two| two[0].0 == "toml refused").collect();
    assert!(!refused.is_empty());
    for two in refused {
        assert_eq!(two[1].0, "text");
        assert_eq!(read(&two[0].1).expect_err(&two[0].1), two[1].1.trim_end());
    }
}

#[test]
fn every_fault_has_its_section_with_the_phases_it_strikes_in() {
    let page = page();
    let sections: BTreeMap<_, _> =
        page.split("\n### `").skip(1).filter_map(|section| section.split_once('`')).collect();
    let names = known("[[fault]]\nid = \"f\"\nphase = \"before-read\"\ndo = \"nothing\"\n");
    let mut missing = names.clone();
    missing.retain(|name| !sections.contains_key(name.as_str()));
    assert_eq!((missing, sections.len()), (Vec::<String>::new(), names.len()));
    for (name, section) in sections {
        let example = blocks(section).swap_remove(0).1;
        for fault in read(&example).expect("it was read above").faults {
            assert_eq!(fault.verdict.name().split(' ').next(), Some(name), "an example of something else");
            let phases: Vec<_> = fault.verdict.phases().iter().map(|phase| format!("`{phase}`")).collect();
            let said = format!("- Phases: {}.\n", phases.join(", "));
            assert!(section.contains(&said), "{name}: expected {said:?}");
            let acknowledged = section.contains("acknowledged") && !section.contains("never acknowledged");
            assert!(!(acknowledged && fault.verdict.on_reply()), "{name} is on the reply, so nothing is acknowledged");
        }
        for part in ["- On the wire: ", "- In the journal: "] {
            assert!(section.contains(part), "{name}: {part} is missing");
        }
    }
}

#[test]
fn every_phase_and_selector_has_its_row() {
    let page = page();
    let rows: String = page.lines().filter(|line| line.starts_with("| `")).collect();
    let selectors = known("[[fault]]\nid = \"f\"\non = { nothing = 1 }\nphase = \"before-read\"\ndo = \"close\"\n");
    for name in Phase::ALL.map(|phase| phase.to_string()).into_iter().chain(selectors) {
        assert!(rows.contains(&format!("`{name}`")), "{name} has no row");
    }
}
