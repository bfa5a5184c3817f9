//! What stands in `docs/` and is said elsewhere too: that it is still the same there.
//!
//! - [`tables`]: the tables that are printed from `vod-proto`; pure.
//! - [`coverage`]: the tests that `docs/protocol.md` names are there; pure.
//! - [`page`]: finds the marks of a page and puts the tables between them; pure.

mod coverage;
mod page;
mod tables;

use std::process::ExitCode;

use crate::{
    cargo::{Failure, root},
    tracked::{self, Source},
};

/// What mends a table that is out of date.
const MEND: &str = "run `cargo xtask docs`";

/// Prints every table anew into the pages it stands in.
///
/// # Errors
/// Lists what is wrong with the marks, or says which page could not be written.
pub(crate) fn print() -> Result<ExitCode, Failure> {
    let mut faults = Vec::new();
    for source in pages(tracked::files()?) {
        let printed = page::print(&source.path, &source.text, tables::render);
        faults.extend(printed.faults);
        if printed.text != source.text {
            let written = std::fs::write(root().join(&source.path), &printed.text);
            written.map_err(|error| Failure(format!("{} could not be written: {error}", source.path)))?;
            eprintln!("{}: printed anew", source.path);
        }
    }
    verdict(&faults).map(|()| ExitCode::SUCCESS)
}

/// Checks that every table stands in a page as it would be printed now, and that what is said to be tested is.
///
/// # Errors
/// Lists what differs, one a line.
pub(crate) fn check() -> Result<(), Failure> {
    let files = tracked::files()?;
    let mut faults = coverage::breaches(&files);
    faults.extend(breaches(&pages(files)));
    if faults.is_empty() {
        eprintln!(
            "{} tables in docs/ are as vod-proto says, and every test named in docs/protocol.md is there",
            tables::names().len()
        );
    }
    verdict(&faults)
}

fn breaches(pages: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut found = Vec::new();
    for Source { path, text } in pages {
        let printed = page::print(path, text, tables::render);
        faults.extend(printed.faults);
        faults.extend(printed.stale.into_iter().map(|stale| format!("{stale}\n  {MEND}")));
        found.extend(printed.found);
    }
    let missing = tables::names().into_iter().filter(|name| !found.contains(name));
    faults.extend(missing.map(|name| format!("docs: no page has the table {name}, between {}", page::marks(&name))));
    faults
}

/// The pages among the files that git tracks.
fn pages(mut files: Vec<Source>) -> Vec<Source> {
    files.retain(|file| file.path.starts_with("docs/") && file.path.ends_with(".md"));
    files
}

fn verdict(faults: &[String]) -> Result<(), Failure> {
    for fault in faults {
        eprintln!("docs: {fault}");
    }
    match faults.len() {
        0 => Ok(()),
        1 => Err(Failure("1 fault in the documents".to_owned())),
        count => Err(Failure(format!("{count} faults in the documents"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page with every table, as it is printed.
    fn whole() -> Source {
        let marked: String = tables::names().iter().map(|name| page::marks(name) + "\n").collect();
        let text = page::print("docs/a.md", &marked.replace(" … ", "\n"), tables::render).text;
        Source { path: "docs/a.md".to_owned(), text }
    }

    #[test]
    fn what_was_just_printed_is_up_to_date() {
        assert_eq!(breaches(&[whole()]), Vec::<String>::new());
    }

    #[test]
    fn a_code_that_changed_is_named_with_its_line_and_the_cure() {
        let mut page = whole();
        page.text = page.text.replace("over quota", "under quota");
        let [fault] = &breaches(&[page])[..] else { panic!("one row was changed") };
        for part in ["docs/a.md:", "table codes", "under quota", "over quota", "cargo xtask docs"] {
            assert!(fault.contains(part), "{part} in {fault}");
        }
    }

    #[test]
    fn a_table_that_no_page_has_is_missed() {
        let mut page = whole();
        page.text = page.text.replace("<!-- table: rules order -->", "");
        let faults = breaches(&[page]).join("\n");
        assert!(faults.contains("no page has the table rules order"), "{faults}");
    }
}
