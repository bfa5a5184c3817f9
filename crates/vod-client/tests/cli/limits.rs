//! `docs/retries.md` against the program, the tests and the stories that it names.

use std::{collections::BTreeSet, fs, path::PathBuf};

use super::run;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The cells of each row of the table under this heading.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let page = fs::read_to_string(root().join("docs/retries.md")).unwrap();
    let section = page.split("\n## ").find(|section| section.starts_with(heading)).unwrap().to_owned();
    let lines = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    lines.map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// What stands between backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_limit_has_its_flag_and_default_on_the_page_and_a_test_that_is_there() {
    let help = run(&["upload", "--help"]).stdout;
    // An option's description may be folded behind its name.
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let limits = rows("Limits");
    for limit in &limits {
        let [what, flag, default, why, shown] = &limit[..] else { panic!("{limit:?}") };
        assert!(!why.is_empty(), "{what}: no reason");
        if let [flag] = quoted(flag)[..] {
            let from = help.find(&format!("{flag} <")).unwrap_or_else(|| panic!("{flag} is no flag"));
            let described = help[from..].split(" --").next().unwrap();
            assert!(described.contains(&format!("[default: {default}]")), "{flag}: {described}");
        }
        assert!(!quoted(shown).is_empty(), "{what}: nothing shows it");
        for proof in quoted(shown) {
            let (file, test) = proof.split_once("::").unwrap_or((proof, ""));
            let text = fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert!(text.contains(&format!("fn {test}()")) || test.is_empty(), "{file} has no test {test}");
        }
    }
    let told: BTreeSet<_> = limits.iter().flat_map(|limit| quoted(&limit[1])).collect();
    let section = help.split_once("Retries:").unwrap().1;
    let section = section.split_once("Connection:").unwrap().0;
    for flag in section.split(' ').filter(|word| word.starts_with("--")) {
        assert!(told.contains(flag), "{flag} is not on the page");
    }
}

#[test]
fn every_mistake_of_others_has_a_story_and_every_such_story_is_on_the_page() {
    let mistakes = rows("What other clients get wrong");
    assert!(mistakes.iter().all(|row| row.len() == 3 && row[1].contains('#')), "{mistakes:?}");
    let told: BTreeSet<_> = mistakes.iter().flat_map(|row| quoted(&row[2])).map(str::to_owned).collect();
    let within = |dir: PathBuf| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let stories = within(root().join("scenarios"))
        .flat_map(|path| if path.is_dir() { within(path).collect() } else { vec![path] });
    let tagged = stories.filter(|path| fs::read_to_string(path).unwrap().contains("\"clients-get-wrong\""));
    let tagged: BTreeSet<_> =
        tagged.map(|path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(told, tagged);
}
