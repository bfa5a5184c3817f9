//! A run on disk: whoever has the directory can look at what happened, and run it again.
//!
//! ```text
//! DIR/bundle.json      what ran, where, with which seed, how it went, and the command that repeats it
//! DIR/scenario.toml    the scenario: of a matrix the cell that ran, and no other
//! DIR/faults.toml      its faults, as a plan of their own
//! DIR/report.txt, DIR/report.html
//! DIR/run/             exchanges.jsonl and logs of the story; the files of the mock, where it was a process
//! DIR/control/         the same of the control run
//! ```

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    evidence::Target,
    format::{ClientCommand, Dialect},
    report::{html, report},
    run::Run,
};

/// The format that this version writes, in the file's `v`.
const FORMAT: u32 = 1;

const MANIFEST_FILE: &str = "bundle.json";
const SCENARIO_FILE: &str = "scenario.toml";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Manifest {
    v: u32,
    name: String,
    target: String,
    seed: u64,
    verdict: String,
    command: String,
    /// What `--client` and `--dialect` said, if they did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client: Option<ClientCommand>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dialect: Option<Dialect>,
    /// Where relative paths in the client's command begin, whoever wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_written_in: Option<PathBuf>,
    /// What `--through-proxy` said.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    through_proxy: bool,
}

/// What a bundle says of how to run it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The name of its story.
    pub name: String,
    /// The file of its scenario.
    pub scenario: PathBuf,
    /// Where it ran.
    pub target: Target,
    /// With which seed.
    pub seed: u64,
    /// The program that was put in the client's place, as it was written on the command line.
    pub client: Option<ClientCommand>,
    /// What its requests look like, where that is not what the file says.
    pub dialect: Option<Dialect>,
    /// Where relative paths in the client's command begin, be it of the command line or of the scenario.
    pub client_written_in: Option<PathBuf>,
    /// Did a recorder stand between client and mock?
    pub through_proxy: bool,
}

/// A directory that is no bundle, or none that can be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It could not be read.
    #[error("{path}: {source}; a bundle is what `run --keep` leaves for a run")]
    Unreadable {
        /// Its file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It does not say what a bundle says.
    #[error("{path}: {message}")]
    Wrong {
        /// Its file.
        path: String,
        /// What is wrong.
        message: String,
    },
}

/// Writes what there is to say of a run beside its evidence. `text` is what its scenario file says.
///
/// # Errors
/// If a file cannot be written.
pub fn write(dir: &Path, run: &Run, text: &str) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let of_scenario = || run.story.scenario.a_command();
    let command = run.client.as_ref().map(|client| &client.command).or_else(of_scenario);
    let manifest = Manifest {
        v: FORMAT,
        name: run.story.name.clone(),
        target: run.target.name().to_owned(),
        seed: run.seed,
        verdict: run.verdict().to_string(),
        command: run.repeat(),
        client: run.client.as_ref().map(|client| client.command.clone()),
        dialect: run.client.as_ref().and_then(|client| client.dialect),
        client_written_in: command.map(|command| command.here().to_owned()),
        through_proxy: run.through_proxy,
    };
    fs::write(dir.join(MANIFEST_FILE), serde_json::to_string_pretty(&manifest)? + "\n")?;
    fs::write(dir.join(SCENARIO_FILE), text)?;
    let plan = toml::to_string(&run.story.scenario.plan()).map_err(io::Error::other)?;
    fs::write(dir.join("faults.toml"), plan)?;
    fs::write(dir.join("report.txt"), report(run))?;
    fs::write(dir.join("report.html"), html::page(run))
}

/// Is this the directory of a bundle?
#[must_use]
pub fn is_one(dir: &Path) -> bool {
    dir.join(MANIFEST_FILE).is_file()
}

/// Reads how to run it again.
///
/// # Errors
/// If it is no bundle, or one of another version.
pub fn read(dir: &Path) -> Result<Bundle, BundleError> {
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    let file = dir.join(MANIFEST_FILE);
    let path = file.display().to_string();
    let wrong = |message: String| BundleError::Wrong { path: path.clone(), message };
    let text = fs::read_to_string(&file).map_err(|source| BundleError::Unreadable { path: path.clone(), source })?;
    let Version { v } = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    if v != FORMAT {
        return Err(wrong(format!(
            "this version reads bundles of format {FORMAT}, and this is format {v}: a newer one may"
        )));
    }
    let manifest: Manifest = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let target = Target::ALL.into_iter().find(|target| target.name() == manifest.target);
    let target =
        target.ok_or_else(|| wrong(format!("unknown target {:?}, expected sim or process", manifest.target)))?;
    let Manifest { name, seed, client, dialect, client_written_in, through_proxy, .. } = manifest;
    let scenario = dir.join(SCENARIO_FILE);
    Ok(Bundle { name, scenario, target, seed, client, dialect, client_written_in, through_proxy })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{judge::crafted::Story, report::tests::run, run::InPlace};

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut run = run(Story::plain());
        let command: ClientCommand = "php up.php {file}".parse().unwrap();
        let here = command.clone().written_in(dir.path());
        run.client = Some(InPlace { command: here, dialect: Some(Dialect::Observed), is_of_bundle: false });
        run.through_proxy = true;
        assert!(!is_one(dir.path()));
        write(dir.path(), &run, "format = 1\n").unwrap();
        assert!(is_one(dir.path()));
        let scenario = dir.path().join("scenario.toml");
        assert_eq!(fs::read_to_string(&scenario).unwrap(), "format = 1\n");
        let (client, dialect) = (Some(command), Some(Dialect::Observed));
        let (client_written_in, through_proxy) = (Some(dir.path().to_owned()), true);
        let (name, target, seed) = (run.story.name, run.target, run.seed);
        let written = Bundle { name, scenario, target, seed, client, dialect, client_written_in, through_proxy };
        assert_eq!(read(dir.path()).unwrap(), written);
        for file in ["faults.toml", "report.txt", "report.html"] {
            assert!(dir.path().join(file).is_file(), "{file}");
        }
    }

    #[test]
    fn another_format_is_not_guessed_at_and_what_is_no_bundle_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |text: &str| {
            fs::write(dir.path().join(MANIFEST_FILE), text).unwrap();
            read(dir.path()).unwrap_err().to_string()
        };
        let said = refused(r#"{"v":2,"anything":[]}"#);
        assert!(
            said.ends_with("this version reads bundles of format 1, and this is format 2: a newer one may"),
            "{said}"
        );
        assert!(refused("{").contains("bundle.json: EOF"), "{}", refused("{"));
        let said = refused(r#"{"v":1,"name":"a","target":"moon","seed":1,"verdict":"fail","command":"c"}"#);
        assert!(said.ends_with("unknown target \"moon\", expected sim or process"), "{said}");
        let none = read(&dir.path().join("none")).unwrap_err().to_string();
        assert!(none.ends_with("a bundle is what `run --keep` leaves for a run"), "{none}");
    }
}
