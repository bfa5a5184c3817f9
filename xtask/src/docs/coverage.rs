//! The section *Coverage* of `docs/protocol.md`: every action, parameter and code of `vod-proto` has its row there, and
//! the tests named in it exist and speak of it.

use vod_proto::{
    Action, Family,
    code::TABLE,
    event::TRANSCODE_CODES,
    params::{self, Param},
};

use crate::{proof, tracked::Source};

/// The page.
const PAGE: &str = "docs/protocol.md";

/// How the headings of the section's tables begin: the page has other tables, which are about other things.
const COVERAGE: &str = "Coverage of ";

/// Opens a cell that names no test, and says why there is none.
const NONE: &str = "none: ";

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Action(Action),
    Parameter(&'static str),
    Code(i64),
}

/// A heading of the page and what its table must have, a row each.
struct Section {
    heading: String,
    subjects: Vec<Subject>,
}

fn sections() -> Vec<Section> {
    let parameters = |of: &str, list: &'static [Param]| Section {
        heading: format!("{COVERAGE}parameters: {of}"),
        subjects: list.iter().map(|param| Subject::Parameter(param.name)).collect(),
    };
    let codes = |heading: &str, codes: Vec<i64>| Section {
        heading: format!("{COVERAGE}{heading}"),
        subjects: codes.into_iter().map(Subject::Code).collect(),
    };
    let mut sections =
        vec![Section { heading: format!("{COVERAGE}actions"), subjects: Action::ALL.map(Subject::Action).to_vec() }];
    sections.push(parameters("common", params::COMMON));
    sections.extend(Action::ALL.map(|action| parameters(action.wire_name(), params::of(action))));
    sections.push(parameters("fields of an upload signature", params::TOKEN_FIELDS));
    sections.push(codes("codes", TABLE.iter().map(|row| row.code.0).collect()));
    sections.push(codes("codes of a failed transcoding", TRANSCODE_CODES.iter().map(|row| row.code).collect()));
    sections
}

impl Subject {
    /// How the first cell of its row says it.
    fn key(self) -> String {
        match self {
            Self::Action(action) => format!("`{action}`"),
            Self::Parameter(name) => format!("`{name}`"),
            Self::Code(code) => code.to_string(),
        }
    }

    /// Does a source speak of it? Cheap: it is there by its name, in the form that requests and tests write it in.
    fn is_in(self, proof: &str, text: &str) -> bool {
        match self {
            Self::Action(action) => {
                let family = action.family();
                let told = proof.ends_with(".toml")
                    && (text.contains(&format!("family = \"{family}\""))
                        || (family == Family::Server && !text.contains("family =")));
                told || stands_in(action.wire_name(), text, |next| !is_word(next))
            }
            Self::Parameter(name) => match name.strip_suffix('n').filter(|stem| stem.ends_with('.')) {
                Some(stem) => stands_in(stem, text, |next| next.is_some_and(|c| c.is_ascii_digit())),
                None => stands_in(name, text, |next| matches!(next, Some('"' | '='))),
            },
            Self::Code(code) => stands_in(&code.to_string(), text, |next| !is_word(next)),
        }
    }
}

fn is_word(c: Option<char>) -> bool {
    c.is_some_and(|c| c.is_alphanumeric() || c == '_')
}

/// Does a word stand in a text, with nothing before it that belongs to it, and what it needs behind it?
fn stands_in(word: &str, text: &str, behind: impl Fn(Option<char>) -> bool) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let joined = is_word(before) || matches!(before, Some('.' | '-'));
        !joined && behind(text[at + word.len()..].chars().next())
    })
}

/// Every row that is missing, too much or double, and every test that is not there or speaks of something else.
pub(super) fn breaches(files: &[Source]) -> Vec<String> {
    let Some(page) = files.iter().find(|file| file.path == PAGE) else {
        return vec![format!("{PAGE} is not tracked")];
    };
    let mut breaches = Vec::new();
    let rows = rows(&page.text);
    let sections = sections();
    for Row { line, heading, .. } in &rows {
        if !sections.iter().any(|section| section.heading == *heading) {
            breaches.push(format!("{PAGE}:{line}: a row under {heading:?}, which is no heading of this section"));
        }
    }
    for Section { heading, subjects } in sections {
        let rows: Vec<_> = rows.iter().filter(|row| row.heading == heading).collect();
        for Row { line, key, .. } in &rows {
            if !subjects.iter().any(|subject| subject.key() == *key) {
                breaches.push(format!("{PAGE}:{line}: {key} under {heading:?}: vod-proto has none of this name"));
            }
        }
        for subject in subjects {
            let key = subject.key();
            let mut own = rows.iter().filter(|row| row.key == key);
            let Some(row) = own.next() else {
                breaches.push(format!("{PAGE}: no row for {key} under {heading:?}"));
                continue;
            };
            if let Some(second) = own.next() {
                breaches.push(format!("{PAGE}:{}: a second row for {key} under {heading:?}", second.line));
            }
            let faults = row.cells.iter().flat_map(|cell| faults_of(cell, subject, files));
            breaches.extend(faults.map(|why| format!("{PAGE}:{}: {key} under {heading:?}: {why}", row.line)));
        }
    }
    breaches
}

/// What is wrong with a cell: it names no test, or one that is not there, or one that is about something else.
fn faults_of(cell: &str, subject: Subject, files: &[Source]) -> Vec<String> {
    if cell.strip_prefix(NONE).is_some_and(|why| !why.trim().is_empty()) {
        return Vec::new();
    }
    let proofs: Vec<_> = cell.split('`').skip(1).step_by(2).collect();
    if proofs.is_empty() {
        return vec![format!("no test is named: expected one in backticks, or `{NONE}` and why")];
    }
    proofs.into_iter().filter_map(|proof| fault_of(proof, subject, files)).collect()
}

fn fault_of(proof: &str, subject: Subject, files: &[Source]) -> Option<String> {
    if let Some(why) = proof::missing(proof, files) {
        return Some(why);
    }
    let (path, name) = proof.split_once("::").map_or((proof, None), |(path, name)| (path, Some(name)));
    let text = &files.iter().find(|file| file.path == path)?.text;
    let source = match name {
        Some(name) => match test_source(text, name) {
            Some(source) => source,
            None => return Some(format!("{proof} is no test")),
        },
        None if path.starts_with("scenarios/") => text,
        None => return Some(format!("{proof} is neither a test nor a scenario")),
    };
    (!subject.is_in(path, source)).then(|| format!("{proof} says nothing of it"))
}

/// The lines of a test function, from its name to the bracket that closes it; none if it is no test.
fn test_source<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let head = format!("fn {name}(");
    let at = text.match_indices(&head).map(|(at, _)| at).find(|at| is_test(&text[..*at]))?;
    let indent = text[..at].rsplit('\n').next().unwrap_or_default();
    let indent: String = indent.chars().take_while(|c| c.is_whitespace()).collect();
    let end = text[at..].find(&format!("\n{indent}}}")).map_or(text.len(), |len| at + len);
    Some(&text[at..end])
}

/// Do attributes that make a test stand at the end of this text, before a function's name?
fn is_test(before: &str) -> bool {
    // What stands on the function's own line, such as that it is public, is no attribute.
    let above = before.rsplit('\n').skip(1).map(str::trim);
    above.take_while(|line| line.starts_with("#[") || line.starts_with("//")).any(|line| {
        let attribute = line.trim_start_matches("#[").split(['(', ']']).next().unwrap_or_default();
        line.starts_with("#[") && (attribute == "test" || attribute.ends_with("::test"))
    })
}

/// A row of a table of the page.
struct Row {
    line: usize,
    heading: String,
    key: String,
    cells: Vec<String>,
}

fn rows(page: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut heading = "";
    let mut body = false;
    for (at, line) in page.lines().enumerate() {
        if let Some(title) = line.strip_prefix('#') {
            heading = title.trim_start_matches('#').trim();
        }
        if !line.starts_with('|') {
            body = false;
        } else if line.starts_with("|---") {
            body = true;
        } else if body && heading.starts_with(COVERAGE) {
            let mut cells = line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned());
            let key = cells.next().unwrap_or_default();
            rows.push(Row { line: at + 1, heading: heading.to_owned(), key, cells: cells.collect() });
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const TESTS: &str = "#[tokio::test]\nasync fn all() {\n    let all = ALL;\n}\n\nfn helper() {}\n\n\
                         #[test]\n/// It panics.\n#[should_panic]\nfn outer() {}\n\n\
                         mod tests {\n    #[test]\n    fn inner() {\n        (\"fileSha\", 4100, -10003);\n    }\n}\n";

    /// Everything that a test could speak of.
    fn words() -> String {
        let subjects = sections().into_iter().flat_map(|section| section.subjects);
        let word = |subject| match subject {
            Subject::Action(action) => format!("{action} "),
            Subject::Parameter(name) => format!("\"{}\" ", name.replace(".n", ".1")),
            Subject::Code(code) => format!("{code} "),
        };
        subjects.map(word).collect()
    }

    fn files(page: &str) -> Vec<Source> {
        let file = |path: &str, text: String| Source { path: path.to_owned(), text };
        vec![file(PAGE, page.to_owned()), file("a.rs", TESTS.replace("ALL", &words()))]
    }

    /// A page with every row, all with one test.
    fn whole() -> String {
        let section = |section: Section| {
            let rows = section.subjects.into_iter().map(|subject| format!("| {} | `a.rs::all` |\n", subject.key()));
            format!("## {}\n\n| what | test |\n|---|---|\n{}\n", section.heading, rows.collect::<String>())
        };
        sections().into_iter().map(section).collect()
    }

    #[track_caller]
    fn check(from: &str, to: &str, expected: Expect) {
        let page = whole();
        assert!(page.contains(from), "{from}");
        expected.assert_eq(&breaches(&files(&page.replacen(from, to, 1))).join("\n"));
    }

    #[test]
    fn a_page_with_every_row_and_test_holds() {
        check("", "## Codes\n\n| code | meaning |\n|---|---|\n| 7 | another table |\n\n", expect![""]);
        check("| `Report` | `a.rs::all` |", "| `Report` | `a.rs::all` | none: nobody does |", expect![""]);
    }

    #[test]
    fn rows_that_are_missing_too_much_or_double_are_named() {
        check(
            "| -10006 | `a.rs::all` |\n",
            "",
            expect![[r#"docs/protocol.md: no row for -10006 under "Coverage of codes""#]],
        );
        check(
            "| 4100 | `a.rs::all` |\n",
            "| 4100 | `a.rs::all` |\n| 4100 | `a.rs::all` |\n| 4199 | `a.rs::all` |\n",
            expect![[r#"
                docs/protocol.md:173: 4199 under "Coverage of codes": vod-proto has none of this name
                docs/protocol.md:172: a second row for 4100 under "Coverage of codes""#]],
        );
        check(
            "## Coverage of parameters: FinishUpload\n",
            "## Coverage of parameters: finish\n",
            expect![[r#"
                docs/protocol.md:58: a row under "Coverage of parameters: finish", which is no heading of this section
                docs/protocol.md: no row for `fileSha` under "Coverage of parameters: FinishUpload""#]],
        );
    }

    #[test]
    fn tests_that_are_not_there_or_speak_of_something_else_are_named() {
        check(
            "| `fileName` | `a.rs::all` |",
            "| `fileName` | `a.rs::gone` |",
            expect![[
                r#"docs/protocol.md:32: `fileName` under "Coverage of parameters: InitUpload": a.rs has no function gone"#
            ]],
        );
        check(
            "| `fileName` | `a.rs::all` |",
            "| `fileName` | `b.rs` |",
            expect![[
                r#"docs/protocol.md:32: `fileName` under "Coverage of parameters: InitUpload": no file b.rs is tracked"#
            ]],
        );
        check(
            "| `fileName` | `a.rs::all` |",
            "| `fileName` | `a.rs` |",
            expect![[
                r#"docs/protocol.md:32: `fileName` under "Coverage of parameters: InitUpload": a.rs is neither a test nor a scenario"#
            ]],
        );
        check(
            "| `fileName` | `a.rs::all` |",
            "| `fileName` | `a.rs::helper` |",
            expect![[
                r#"docs/protocol.md:32: `fileName` under "Coverage of parameters: InitUpload": a.rs::helper is no test"#
            ]],
        );
        check(
            "| `fileName` | `a.rs::all` |",
            "| `fileName` | `a.rs::outer` |",
            expect![[
                r#"docs/protocol.md:32: `fileName` under "Coverage of parameters: InitUpload": a.rs::outer says nothing of it"#
            ]],
        );
        check(
            "| `fileName` | `a.rs::all` |",
            "| `fileName` | later |",
            expect![[
                r#"docs/protocol.md:32: `fileName` under "Coverage of parameters: InitUpload": no test is named: expected one in backticks, or `none: ` and why"#
            ]],
        );
        check("| 4100 | `a.rs::all` |", "| 4100 | `a.rs::inner` |", expect![""]);
    }

    #[test]
    fn words_are_whole_and_in_the_form_of_a_request() {
        let is_in = |subject: Subject, text| subject.is_in("a.rs", text);
        assert!(is_in(Subject::Parameter("s"), "s=id&f=x") && is_in(Subject::Parameter("f"), "s=id&f=x"));
        assert!(!is_in(Subject::Parameter("s"), "fs=1 and the documents, let s: u8"));
        assert!(is_in(Subject::Parameter("tags.n"), "tags.7=x") && !is_in(Subject::Parameter("tags.n"), "tags.n"));
        assert!(!is_in(Subject::Parameter("fileId"), "\"extra.fileId\""));
        assert!(is_in(Subject::Code(10003), "code 10003") && !is_in(Subject::Code(10003), "-10003"));
        assert!(is_in(Subject::Code(-300), "[-300, -301]") && !is_in(Subject::Code(-300), "-3001"));
        assert!(!is_in(Subject::Action(Action::InitUpload), "InitUploadEx"));
        let told = |text| Subject::Action(Action::MultipartUploadVodFile).is_in("scenarios/a.toml", text);
        assert!(told("family = \"legacy\"") && !told("format = 1"));
    }
}
