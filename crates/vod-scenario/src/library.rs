//! Scenario files by name: `NAME` is `NAME.toml` in `scenarios/` or in a folder under it, `NAME[CELL]` a cell of its matrix.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    format::{self, Cell, FileError},
    near::nearest,
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
    /// Two files have the same name, so that it would mean either.
    #[error("two scenarios are called {name:?}: {one} and {other}")]
    Twice {
        /// Their name.
        name: String,
        /// The one.
        one: String,
        /// The other.
        other: String,
    },
    /// The file has no such cell.
    #[error("{name} has no cell [{cell}]{}", cells(.cell, .known))]
    NoCell {
        /// The name of the file.
        name: String,
        /// What was asked for.
        cell: String,
        /// The cells that it has.
        known: Vec<String>,
    },
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
}

fn cells(wanted: &str, known: &[String]) -> String {
    if known.is_empty() {
        return ": it has no matrix".to_owned();
    }
    let near = nearest(wanted, known.iter().map(String::as_str));
    let near = near.map(|near| format!(": did you mean [{near}]?")).unwrap_or_else(|| ".".to_owned());
    let known: Vec<_> = known.iter().map(|cell| format!("[{cell}]")).collect();
    format!("{near} There are {}", known.join(", "))
}

/// A scenario that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The scenario, by the name that finds it again.
    pub story: Named,
    /// What its file says, as if it had no other cell.
    pub text: String,
    /// Its file.
    pub file: PathBuf,
}

/// The names in a library and in the folders under it, in order.
///
/// # Errors
/// If a directory cannot be read, or two files have one name.
pub fn names(dir: &Path) -> Result<Vec<String>, LibraryError> {
    Ok(files(dir)?.into_keys().collect())
}

/// The files of a library by name. Folders sort them for people; a name is known wherever its file lies.
fn files(dir: &Path) -> Result<BTreeMap<String, PathBuf>, LibraryError> {
    let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        let no_library = |source| LibraryError::NoLibrary { dir: folder.display().to_string(), source };
        for entry in fs::read_dir(&folder).map_err(no_library)? {
            let path = entry.map_err(no_library)?.path();
            if path.is_dir() {
                folders.push(path);
            } else if let (Some(stem), Some("toml")) = (path.file_stem(), path.extension().and_then(|e| e.to_str())) {
                let name = stem.to_string_lossy().into_owned();
                if let Some(other) = files.insert(name.clone(), path.clone()) {
                    let [one, other] = [other, path].map(|path| path.display().to_string());
                    return Err(LibraryError::Twice { name, one, other });
                }
            }
        }
    }
    Ok(files)
}

/// Loads a scenario by its name, or by the path of its file: all cells of its matrix, or the one that `NAME[CELL]` names.
///
/// # Errors
/// If there is none, or the file cannot be used.
pub fn load(dir: &Path, name_or_file: &str) -> Result<Vec<Found>, LibraryError> {
    let cell = name_or_file.strip_suffix(']').and_then(|rest| rest.split_once('['));
    let (name, cell) = cell.map_or((name_or_file, None), |(name, cell)| (name, Some(cell)));
    let path = PathBuf::from(name);
    let (name, path) = if path.components().count() > 1 || path.extension().is_some() {
        (short_name(dir, &path).unwrap_or_else(|| name.to_owned()), path)
    } else {
        let known = files(dir)?;
        match known.get(name) {
            Some(path) => (name.to_owned(), path.clone()),
            None => {
                let near = nearest(name, known.keys().map(String::as_str)).map(str::to_owned);
                return Err(LibraryError::Unknown { name: name.to_owned(), dir: dir.display().to_string(), near });
            }
        }
    };
    let mut cells = format::load(&path)?;
    if let Some(wanted) = cell {
        let known: Vec<_> = cells.iter().filter_map(|cell| cell.name.clone()).collect();
        cells.retain(|cell| cell.name.as_deref() == Some(wanted));
        if cells.is_empty() {
            return Err(LibraryError::NoCell { name, cell: wanted.to_owned(), known });
        }
    }
    let found = cells.into_iter().map(|Cell { name: cell, scenario, text }| {
        let name = cell.map_or_else(|| name.clone(), |cell| format!("{name}[{cell}]"));
        Found { story: Named { name, scenario }, text, file: path.clone() }
    });
    Ok(found.collect())
}

/// A file of the library is known by its name, however its path was written.
fn short_name(dir: &Path, path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    path.starts_with(dir.canonicalize().ok()?)
        .then(|| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORY: &str = "format = 1\nwhy = \"w\"\nsource = { size = \"1MiB\", seed = 1 }\n[[step]]\nupload = {}\nexpect = \"finished\"\n";

    #[test]
    fn a_name_is_known_in_whatever_folder_its_file_lies() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("resume");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("a.toml"), STORY).unwrap();
        fs::write(dir.path().join("b.toml"), format!("{STORY}[matrix]\nclient.parallel = [1, 8]\n")).unwrap();
        let load =
            |name: &str| load(dir.path(), name).map(|all| all.into_iter().map(|found| found.story.name).collect());
        let known = |name: &str| -> Vec<String> { load(name).unwrap() };
        assert_eq!(known("a"), ["a"]);
        assert_eq!(known(folder.join("a.toml").to_str().unwrap()), ["a"]);
        assert_eq!(known("b"), ["b[parallel=1]", "b[parallel=8]"]);
        assert_eq!(known("b[parallel=8]"), ["b[parallel=8]"]);
        let refused = |name: &str| -> String { load(name).map(|_: Vec<String>| ()).unwrap_err().to_string() };
        assert_eq!(
            refused("b[parallel=2]"),
            "b has no cell [parallel=2]: did you mean [parallel=1]? There are [parallel=1], [parallel=8]"
        );
        assert_eq!(refused("a[parallel=8]"), "a has no cell [parallel=8]: it has no matrix");
        fs::write(folder.join("b.toml"), STORY).unwrap();
        assert!(refused("a").starts_with("two scenarios are called \"b\": "), "{}", refused("a"));
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
