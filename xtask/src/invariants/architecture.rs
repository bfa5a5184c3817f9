//! Every invariant that `ARCHITECTURE.md` states names its proof, and the proof exists.

use crate::{proof, tracked::Source};

const PAGE: &str = "ARCHITECTURE.md";
const SECTION: &str = "## Invariants";

/// Every invariant without a proof, and every proof that is not there.
pub(super) fn breaches(files: &[Source]) -> Vec<String> {
    let Some(page) = files.iter().find(|file| file.path == PAGE) else {
        return vec![format!("{PAGE} is not tracked")];
    };
    let invariants = invariants(&page.text);
    if invariants.is_empty() {
        return vec![format!("{PAGE}: the section {SECTION:?} states no invariant in bold")];
    }
    let mut breaches = Vec::new();
    for Invariant { line, title, proofs } in invariants {
        if proofs.is_empty() {
            breaches.push(format!("{PAGE}:{line}: {title:?} names no proof"));
        }
        let missing = proofs.iter().filter_map(|proof| proof::missing(proof, files));
        breaches.extend(missing.map(|why| format!("{PAGE}:{line}: {title:?}: {why}")));
    }
    breaches
}

/// A sentence in bold, and what stands in backticks on the lines `Proof: …` that follow it.
#[derive(Debug, PartialEq, Eq)]
struct Invariant {
    line: usize,
    title: String,
    proofs: Vec<String>,
}

fn invariants(page: &str) -> Vec<Invariant> {
    let mut invariants: Vec<Invariant> = Vec::new();
    let lines = page.lines().enumerate().skip_while(|(_, line)| line.trim() != SECTION).skip(1);
    for (at, line) in lines.take_while(|(_, line)| !line.starts_with("## ")) {
        // Listed or not: what stands before the bold is the list's mark.
        let text = line.trim_start_matches(|c: char| c.is_ascii_digit() || " .-".contains(c));
        if let Some((title, _)) = text.strip_prefix("**").and_then(|rest| rest.split_once("**")) {
            invariants.push(Invariant { line: at + 1, title: title.to_owned(), proofs: Vec::new() });
        } else if let (Some(rest), Some(invariant)) = (text.strip_prefix("Proof:"), invariants.last_mut()) {
            invariant.proofs.extend(rest.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    invariants
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(page: &str, expected: Expect) {
        let file = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
        let files = [
            file(PAGE, page),
            file("crates/a/tests/b.rs", "#[test]\nfn it_holds() {}"),
            file("scenarios/plain/plain-upload.toml", "format = 1"),
        ];
        expected.assert_eq(&breaches(&files).join("\n"));
    }

    #[test]
    fn proofs_that_exist_hold() {
        check(
            "**Not an invariant.**\n\n## Invariants\n\n1. **No clock.**\n   Why.\n   Proof: `crates/a/tests/b.rs`, \
             by `cargo xtask ci`\n\n**No gap.** More.\nProof: `crates/a/tests/b.rs::it_holds`\n\
             Proof: `cargo xtask scenario plain-upload`\n\n## Next\n\n**Not one either.**\n",
            expect![[""]],
        );
    }

    #[test]
    fn proofs_that_do_not_exist_are_named() {
        check(
            "## Invariants\n\n**No proof.**\n\n**No file.**\nProof: `crates/a/gone.rs`\n\n**No function.**\n\
             Proof: `crates/a/tests/b.rs::it_hold`\n\n**No command.**\nProof: `cargo xtask prove`\n\n\
             **No step.**\nProof: `cargo xtask ci --only nothing`\n\n**No scenario.**\n\
             Proof: `cargo xtask scenario gone`\n\n**Not ours.**\nProof: `cargo prove`\n",
            expect![[r#"
                ARCHITECTURE.md:3: "No proof." names no proof
                ARCHITECTURE.md:5: "No file.": no file crates/a/gone.rs is tracked
                ARCHITECTURE.md:8: "No function.": crates/a/tests/b.rs has no function it_hold
                ARCHITECTURE.md:11: "No command.": `cargo xtask prove`: error: unrecognized subcommand 'prove'
                ARCHITECTURE.md:14: "No step.": `cargo xtask ci --only nothing`: error: invalid value 'nothing' for '--only <ONLY>'
                ARCHITECTURE.md:17: "No scenario.": no file gone.toml is tracked in scenarios/
                ARCHITECTURE.md:20: "Not ours.": `cargo prove` is no command of ours: expected `cargo xtask …`"#]],
        );
    }

    #[test]
    fn a_page_that_states_nothing_does_not_pass() {
        check(
            "## Invariants\n\nNone.\n",
            expect![[r###"ARCHITECTURE.md: the section "## Invariants" states no invariant in bold"###]],
        );
        assert_eq!(breaches(&[]), ["ARCHITECTURE.md is not tracked"]);
    }
}
