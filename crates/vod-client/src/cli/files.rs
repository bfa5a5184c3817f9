//! Which files are meant: paths, and patterns that the shell did not expand.

use std::path::{Path, PathBuf};

use glob::MatchOptions;

use crate::error::SourceError;

/// As shells have it: `*` stops at a slash and leaves hidden files out.
const LIKE_A_SHELL: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// The files that were named, in order, each once.
///
/// What exists is a file, whatever characters its name has; only what does not exist may be a pattern. So a file
/// `a[1].mp4` can be named as it is, and a quoted pattern, or one on a system whose shell expands none, works too.
///
/// # Errors
/// When a pattern matches no file: then nothing is uploaded, as in shells that refuse such a line, because a mistyped
/// pattern is better noticed before the hours that the other files take.
pub(super) fn expand(given: &[PathBuf]) -> Result<Vec<PathBuf>, SourceError> {
    let mut files: Vec<PathBuf> = Vec::new();
    for path in given {
        let meant = match pattern(path) {
            Some(text) => matches(text)?,
            // If it does not exist, that is this file's failure alone.
            None => vec![path.clone()],
        };
        for file in meant {
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    Ok(files)
}

/// The text of a path that is no file and can be a pattern.
fn pattern(path: &Path) -> Option<&str> {
    let text = path.to_str().filter(|text| text.contains(['*', '?', '[']))?;
    (path.symlink_metadata().is_err() && glob::Pattern::new(text).is_ok()).then_some(text)
}

fn matches(pattern: &str) -> Result<Vec<PathBuf>, SourceError> {
    let failed = |path: String, why: String| SourceError::Open { path, why };
    let found =
        glob::glob_with(pattern, LIKE_A_SHELL).map_err(|error| failed(pattern.to_owned(), error.to_string()))?;
    let mut files = Vec::new();
    for path in found {
        let path = path.map_err(|error| failed(error.path().display().to_string(), error.error().to_string()))?;
        if !path.is_dir() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(failed(pattern.to_owned(), "no file matches this pattern".to_owned()));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is meant by these words in a folder with these files.
    fn check(files: &[&str], given: &[&str], expected: Result<&[&str], &str>) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("folder.mp4")).unwrap();
        for file in files {
            std::fs::write(folder.path().join(file), "x").unwrap();
        }
        let given: Vec<_> = given.iter().map(|path| folder.path().join(path)).collect();
        let within = |path: &PathBuf| path.strip_prefix(folder.path()).unwrap().to_str().unwrap().to_owned();
        let meant = expand(&given).map(|files| files.iter().map(within).collect::<Vec<_>>());
        let meant = meant.map_err(|error| error.to_string().replace(&format!("{}/", folder.path().display()), ""));
        let expected = expected.map(|files| files.iter().map(|file| (*file).to_owned()).collect());
        assert_eq!(meant, expected.map_err(str::to_owned), "{given:?}");
    }

    #[test]
    fn patterns_are_expanded_in_order_and_no_file_is_named_twice() {
        let files = ["b.mp4", "a.mp4", "c.mov", ".hidden.mp4"];
        check(&files, &["*.mp4"], Ok(&["a.mp4", "b.mp4"]));
        check(&files, &["b.mp4", "*.mp4", "?.mov"], Ok(&["b.mp4", "a.mp4", "c.mov"]));
        check(&files, &["[ab].mp4"], Ok(&["a.mp4", "b.mp4"]));
    }

    #[test]
    fn a_file_whose_name_looks_like_a_pattern_is_that_file() {
        check(&["a[1].mp4", "a1.mp4"], &["a[1].mp4"], Ok(&["a[1].mp4"]));
        check(&["a1.mp4"], &["a[1].mp4"], Ok(&["a1.mp4"]));
        check(&["*.mp4", "a.mp4"], &["*.mp4"], Ok(&["*.mp4"]));
        check(&[], &["a[.mp4"], Ok(&["a[.mp4"]));
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_an_error_and_a_missing_file_is_left_to_fail_alone() {
        check(&["a.mp4"], &["a.mp4", "*.mov"], Err("cannot open *.mov: no file matches this pattern"));
        check(&["a.mp4"], &["folder*"], Err("cannot open folder*: no file matches this pattern"));
        check(&["a.mp4"], &["none.mp4", "a.mp4"], Ok(&["none.mp4", "a.mp4"]));
    }
}
