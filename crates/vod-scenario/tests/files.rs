//! What is wrong with a file is said with its name, the line and a caret; each `err/NAME.toml` has its `err/NAME.txt`.

use std::{collections::BTreeSet, fs, path::Path};

use expect_test::expect_file;
use vod_scenario::format;

#[test]
fn every_bad_file_is_refused_with_its_own_message() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/err");
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            names.insert(path);
        }
    }
    assert!(names.len() >= 10, "only {} files in {}", names.len(), dir.display());
    for path in names {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let error = match format::read(name, &text) {
            Ok(_) => panic!("{name} was accepted"),
            Err(error) => error.to_string(),
        };
        expect_file![path.with_extension("txt")].assert_eq(&format!("{error}\n"));
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = format::load(Path::new("no/such/file.toml")).unwrap_err().to_string();
    assert!(error.starts_with("no/such/file.toml: "), "{error}");
}

/// A file cut off anywhere is refused or is a scenario; it never panics, and what is refused names the file.
#[test]
fn a_truncated_file_is_refused_in_words() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/resume/resume-after-crash.toml");
    let text = fs::read_to_string(path).unwrap();
    let mut refused = 0;
    for at in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
        if let Err(error) = format::read("cut.toml", &text[..at]) {
            assert!(error.to_string().starts_with("cut.toml:"), "{error}");
            refused += 1;
        }
    }
    assert!(refused > text.len() / 2, "only {refused} of {} cuts were refused", text.len());
}
