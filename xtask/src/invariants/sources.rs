//! What no tracked file may hold.

use crate::tracked::Source;

/// Paths that mean nothing in a clone of this repository. Written in two pieces, so that this file passes.
const FOREIGN_PATHS: [&str; 2] = [concat!("..", "/shared"), concat!("/wo", "rk/")];

/// A test that does not run proves nothing.
const IGNORED_TEST: &str = concat!("#[", "ignore");

/// What an exception from the lints against clocks, environment, files and sockets names, and what draws a seed.
const IMPURE: [&str; 6] = [
    concat!("clippy::disallowed", "_methods"),
    concat!("clippy::disallowed", "_types"),
    concat!("Random", "State"),
    concat!("Sys", "Rng"),
    concat!("Os", "Rng"),
    concat!("get", "random"),
];

/// What would print or store a secret key.
const PRINTERS: [&str; 3] = ["Debug", "Display", "Serialize"];

/// Every place that holds what it must not.
pub(super) fn breaches(files: &[Source]) -> Vec<String> {
    files.iter().flat_map(of_file).collect()
}

fn of_file(file: &Source) -> Vec<String> {
    let Source { path, text } = file;
    let ours = path.starts_with("crates/") || path.starts_with("xtask/");
    let mut breaches = Vec::new();
    for word in FOREIGN_PATHS {
        breaches.extend(lines_with(file, word).map(|at| format!("{at}: a path outside this repository")));
    }
    if ours && path.ends_with("/Cargo.toml") && !inherits_lints(text) {
        breaches.push(format!("{path}: [lints] workspace = true is missing"));
    }
    if ours && path.ends_with(".rs") {
        breaches
            .extend(lines_with(file, IGNORED_TEST).map(|at| format!("{at}: a test that is ignored proves nothing")));
        breaches.extend(impurities(file));
        breaches.extend(printed_secrets(file));
    }
    breaches
}

fn lines_with<'f>(file: &'f Source, word: &'f str) -> impl Iterator<Item = String> + 'f {
    let hits = file.text.lines().enumerate().filter(move |(_, line)| line.contains(word));
    hits.map(|(at, _)| format!("{}:{}", file.path, at + 1))
}

/// Does the manifest take the workspace's lints?
fn inherits_lints(manifest: &str) -> bool {
    let mut section = "";
    manifest.lines().map(str::trim).any(|line| {
        if line.starts_with('[') {
            section = line;
        }
        section == "[lints]" && line.replace(' ', "") == "workspace=true"
    })
}

/// Clocks and seeds: none in `vod-proto`, elsewhere in `src` only in a file named `clock.rs`.
fn impurities(file: &Source) -> Vec<String> {
    let Some((package, inside)) = file.path.split_once("/src/") else { return Vec::new() };
    let pure = package == "crates/vod-proto";
    if inside == "clock.rs" && !pure {
        return Vec::new();
    }
    let rule = if pure { "vod-proto has no place for it" } else { "its place is the crate's src/clock.rs" };
    let hits = IMPURE.iter().flat_map(|word| {
        lines_with(file, word).map(move |at| format!("{at}: a clock, a seed or another exception: {rule}"))
    });
    hits.collect()
}

/// Ways to print or store the type `SecretKey`: derived where it is declared, or written out anywhere.
fn printed_secrets(file: &Source) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut derived = "";
    for (at, line) in file.text.lines().enumerate() {
        let line = line.trim();
        let mut found = |printer| breaches.push(format!("{}:{}: SecretKey has {printer}", file.path, at + 1));
        for printer in PRINTERS {
            // `Deserialize` holds no `Serialize`: the case of its letter differs.
            let declared = line.starts_with("pub struct SecretKey") && derived.contains(printer);
            let implemented = line.starts_with("impl ") && line.contains(&format!("{printer} for SecretKey"));
            if declared || implemented {
                found(printer);
            }
        }
        if line.starts_with("#[derive(") {
            derived = line;
        } else if !line.starts_with("#[") && !line.starts_with("///") {
            derived = "";
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(path: &str, text: &str, expected: Expect) {
        let shown = of_file(&Source { path: path.to_owned(), text: text.to_owned() }).join("\n");
        expected.assert_eq(&shown);
    }

    #[test]
    fn foreign_paths_are_found_in_any_file() {
        let text = format!("first\nsee {}/x.md", FOREIGN_PATHS[0]);
        check("docs/a.md", &text, expect!["docs/a.md:2: a path outside this repository"]);
        check("docs/a.md", "see ./shared and framework", expect![[""]]);
    }

    #[test]
    fn ignored_tests_are_found_in_our_crates() {
        let text = format!("#[test]\n{IGNORED_TEST}]\nfn a() {{}}");
        check("crates/a/tests/b.rs", &text, expect!["crates/a/tests/b.rs:2: a test that is ignored proves nothing"]);
        check("docs/b.rs", &text, expect![[""]]);
    }

    #[test]
    fn lints_are_inherited_in_their_own_section() {
        check("crates/a/Cargo.toml", "[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n", expect![[""]]);
        check(
            "crates/a/Cargo.toml",
            "[lints]\n[dependencies]\nworkspace = true\n",
            expect!["crates/a/Cargo.toml: [lints] workspace = true is missing"],
        );
        check("Cargo.toml", "[workspace]\n", expect![[""]]);
    }

    #[test]
    fn clock_and_seed_have_their_place_in_one_file_of_a_rim_and_none_of_the_core() {
        let exception = format!("#[expect({}, reason = \"r\")]", IMPURE[0]);
        check("crates/vod-mock/src/clock.rs", &exception, expect![[""]]);
        check(
            "crates/vod-mock/src/lib.rs",
            &exception,
            expect![
                "crates/vod-mock/src/lib.rs:1: a clock, a seed or another exception: its place is the crate's src/clock.rs"
            ],
        );
        check(
            "crates/vod-mock/src/a/clock.rs",
            &exception,
            expect![
                "crates/vod-mock/src/a/clock.rs:1: a clock, a seed or another exception: its place is the crate's src/clock.rs"
            ],
        );
        check(
            "crates/vod-proto/src/clock.rs",
            &exception,
            expect![
                "crates/vod-proto/src/clock.rs:1: a clock, a seed or another exception: vod-proto has no place for it"
            ],
        );
        check(
            "crates/vod-mock/src/b.rs",
            &format!("use {};", IMPURE[2]),
            expect![
                "crates/vod-mock/src/b.rs:1: a clock, a seed or another exception: its place is the crate's src/clock.rs"
            ],
        );
    }

    #[test]
    fn a_secret_key_that_can_be_printed_is_found() {
        let path = "crates/vod-proto/src/sign.rs";
        check(
            path,
            "#[derive(Clone, Deserialize)]\n#[serde(transparent)]\npub struct SecretKey(String);",
            expect![[""]],
        );
        check(
            path,
            "#[derive(Clone, Debug)]\n/// Doc.\npub struct SecretKey(String);",
            expect!["crates/vod-proto/src/sign.rs:3: SecretKey has Debug"],
        );
        check(path, "#[derive(Debug)]\nstruct Other;\npub struct SecretKey(String);", expect![[""]]);
        check(
            "crates/vod-mock/src/a.rs",
            "impl std::fmt::Display for SecretKey {",
            expect!["crates/vod-mock/src/a.rs:1: SecretKey has Display"],
        );
    }
}
