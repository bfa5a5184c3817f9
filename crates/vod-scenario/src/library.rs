//! Scenario files by name: `NAME` is `scenarios/NAME.toml`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    format::{FileError, Scenario},
    run::Named,
};

/// Where named scenarios live, seen from the root of the workspace.
pub const DIR: &str = "scenarios";

/// A scenario that cannot be found or used.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// There is none of this name.
    #[error("there is no scenario {name:?} in {dir}{}", .near.as_ref().map(|near| format!(": did you mean {near}?")).unwrap_or_default())]
    Unknown {
        /// What was asked for.
        name: String,
        /// Where it was looked for.
        dir: String,
        /// The nearest name that there is.
        near: Option<String>,
    },
    /// There is no library here.
    #[error("cannot read the directory {dir}: {source}; run this from the root of the workspace, or name a file")]
    NoLibrary {
        /// Where it was looked for.
        dir: String,
        /// Why it could not be read.
        source: io::Error,
    },
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The names in a library, in order.
///
/// # Errors
/// If the directory cannot be read.
pub fn names(dir: &Path) -> Result<Vec<String>, LibraryError> {
    let no_library = |source| LibraryError::NoLibrary { dir: dir.display().to_string(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(no_library)? {
        let path = entry.map_err(no_library)?.path();
        if let (Some(stem), Some("toml")) = (path.file_stem(), path.extension().and_then(|e| e.to_str())) {
            names.push(stem.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Loads a scenario by its name, or by the path of its file.
///
/// # Errors
/// If there is none, or the file cannot be used.
pub fn load(dir: &Path, name_or_file: &str) -> Result<Named, LibraryError> {
    let path = PathBuf::from(name_or_file);
    if path.components().count() > 1 || path.extension().is_some() {
        let scenario = Scenario::load(&path)?;
        return Ok(Named { name: short_name(dir, &path).unwrap_or_else(|| name_or_file.to_owned()), scenario });
    }
    let known = names(dir)?;
    if !known.iter().any(|name| name == name_or_file) {
        let near = nearest(name_or_file, &known);
        return Err(LibraryError::Unknown { name: name_or_file.to_owned(), dir: dir.display().to_string(), near });
    }
    let scenario = Scenario::load(&dir.join(format!("{name_or_file}.toml")))?;
    Ok(Named { name: name_or_file.to_owned(), scenario })
}

/// A file of the library is known by its name, however its path was written.
fn short_name(dir: &Path, path: &Path) -> Option<String> {
    let parent = path.canonicalize().ok()?.parent()?.to_owned();
    (parent == dir.canonicalize().ok()?).then(|| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()))?
}

/// The name that is fewest typing errors away, if those are not more than a third of it.
pub(crate) fn nearest(name: &str, known: &[String]) -> Option<String> {
    let near = known.iter().map(|other| (edits(name, other), other)).min()?;
    (near.0 * 3 <= name.chars().count()).then(|| near.1.clone())
}

/// How many letters must be put in, taken out or changed to make one of the other.
fn edits(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (one, other, expected) in [("", "abc", 3), ("kitten", "sitting", 3), ("same", "same", 0), ("ab", "ba", 2)] {
            assert_eq!(edits(one, other), expected, "{one} {other}");
            assert_eq!(edits(other, one), expected, "{other} {one}");
        }
    }

    #[test]
    fn only_what_is_near_is_meant() {
        let known = ["plain-upload", "resume-after-crash", "resume-after-mock-crash"].map(str::to_owned);
        assert_eq!(nearest("resume-after-carsh", &known), Some("resume-after-crash".to_owned()));
        assert_eq!(nearest("plain", &known), None);
        assert_eq!(nearest("zzz", &known), None);
    }

    #[test]
    fn names_are_the_stems_of_toml_files_in_order() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["b.toml", "a.toml", "notes.md"] {
            fs::write(dir.path().join(file), "").unwrap();
        }
        assert_eq!(names(dir.path()).unwrap(), ["a", "b"]);
        let error = load(dir.path(), "c").unwrap_err().to_string();
        assert!(error.starts_with("there is no scenario \"c\" in "), "{error}");
        assert!(matches!(names(&dir.path().join("none")), Err(LibraryError::NoLibrary { .. })));
    }
}
