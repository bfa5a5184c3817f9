//! `vod-proxy leaks`: looks for known secrets in all that was written.

use std::{env, fs, path::PathBuf};

use super::{complain, say};
use crate::{
    exit,
    leaks::{Found, Leak, SHORTEST, Secret, find},
};

/// What the environment may hold of secrets.
const VARIABLES: [&str; 3] = ["VOD_SECRET_ID", "VOD_SECRET_KEY", "VOD_SIGNATURE"];

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The recordings, or any other files and directories
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The secrets, one a line, beside those in VOD_SECRET_ID, VOD_SECRET_KEY and VOD_SIGNATURE
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> u8 {
    let mut named = Vec::new();
    for name in VARIABLES {
        if let Ok(value) = env::var(name) {
            named.push((name.to_owned(), value));
        }
    }
    if let Some(path) = &args.secrets {
        match fs::read_to_string(path) {
            Ok(text) => {
                let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty());
                named.extend(
                    lines.map(|(at, line)| (format!("line {} of {}", at + 1, path.display()), line.to_owned())),
                );
            }
            Err(error) => {
                complain(format_args!("cannot read {}: {error}", path.display()));
                return exit::USAGE;
            }
        }
    }
    let mut secrets = Vec::new();
    for (name, value) in named {
        match Secret::new(&*name, &value) {
            Some(secret) => secrets.push(secret),
            None => complain(format_args!("{name} is not looked for: it has less than {SHORTEST} bytes")),
        }
    }
    if secrets.is_empty() {
        complain("there is no secret to look for: expected --secrets FILE, or VOD_SECRET_KEY in the environment");
        return exit::USAGE;
    }
    let mut code = exit::DONE;
    for path in &args.paths {
        let Found { leaks, skipped } = match find(path, &secrets) {
            Ok(found) => found,
            Err((path, error)) => {
                complain(format_args!("cannot read {}: {error}", path.display()));
                return exit::USAGE;
            }
        };
        for path in skipped {
            complain(format_args!("{} is not looked into: it is no regular file", path.display()));
        }
        if leaks.is_empty() {
            say(format_args!("{}: none of {} secrets", path.display(), secrets.len()));
            continue;
        }
        for Leak { name, form, path, line } in leaks {
            say(format_args!("{}:{line}: {name} stands there, {form}", path.display()));
        }
        code = exit::FOUND;
    }
    code
}
