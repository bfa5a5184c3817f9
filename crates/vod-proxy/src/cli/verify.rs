//! `vod-proxy verify`: is a recording whole?

use std::path::PathBuf;

use super::{complain, say};
use crate::{Recording, exit};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The recordings
    #[arg(required = true, value_name = "DIR")]
    recordings: Vec<PathBuf>,
}

pub(super) fn run(args: &Args) -> u8 {
    let mut code = exit::DONE;
    for dir in &args.recordings {
        let checked = Recording::open(dir).and_then(|recording| recording.verify());
        match checked {
            Ok(checked) => {
                say(format_args!("{}: {checked}", dir.display()));
                if !checked.is_whole() {
                    code = exit::FOUND;
                }
            }
            Err(error) => {
                complain(error);
                code = exit::FOUND;
            }
        }
    }
    code
}
