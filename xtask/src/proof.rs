//! What a document names as a proof, and that it exists.

use clap::Parser as _;

use crate::{Cli, Command, tracked::Source};

/// Why a proof is not there; none if it is.
///
/// A proof is a command of ours, a tracked file, or `file::function` for a test in it.
pub(crate) fn missing(proof: &str, files: &[Source]) -> Option<String> {
    if proof.starts_with("cargo ") {
        return missing_command(proof, files);
    }
    let (path, function) = match proof.split_once("::") {
        Some((path, function)) => (path, Some(function)),
        None => (proof, None),
    };
    let Some(file) = files.iter().find(|file| file.path == path) else {
        return Some(format!("no file {path} is tracked"));
    };
    let function = function.filter(|name| !file.text.contains(&format!("fn {name}(")))?;
    Some(format!("{path} has no function {function}"))
}

fn missing_command(proof: &str, files: &[Source]) -> Option<String> {
    let Some(rest) = proof.strip_prefix("cargo xtask ") else {
        return Some(format!("`{proof}` is no command of ours: expected `cargo xtask …`"));
    };
    let words = std::iter::once("cargo xtask").chain(rest.split_whitespace());
    match Cli::try_parse_from(words) {
        Err(error) => Some(format!("`{proof}`: {}", error.to_string().lines().next().unwrap_or_default())),
        Ok(Cli { command: Command::Scenario { args, .. } }) => {
            let name = args.first()?.to_str()?;
            // A scenario is known by the name of its file, in whatever folder that lies.
            let file = format!("/{name}.toml");
            let known = files.iter().any(|known| known.path.starts_with("scenarios/") && known.path.ends_with(&file));
            (!known).then(|| format!("no file {name}.toml is tracked in scenarios/"))
        }
        Ok(_) => None,
    }
}
