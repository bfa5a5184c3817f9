//! `vod-scenario recordings`: makes the recordings that are kept anew, where that makes a difference.

use std::path::Path;

use super::{complain, say};
use crate::{
    exit, process,
    recordings::{self, DIR},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Replace nothing, and say which would be
    #[arg(long)]
    check: bool,
}

pub(super) fn run(args: &Args) -> u8 {
    let (kept, binary) = match (recordings::all(Path::new(DIR)), process::this_binary()) {
        (Ok(kept), Ok(binary)) => (kept, binary),
        (Err(error), _) => {
            complain(error);
            return exit::USAGE;
        }
        (_, Err(error)) => {
            complain(format_args!("cannot find its own binary: {error}"));
            return exit::USAGE;
        }
    };
    let mut code = exit::PASS;
    for recording in kept {
        let name = &recording.story.name;
        let made = recording.make(&binary).and_then(|made| match args.check {
            true => Ok(made.reasons().to_vec()),
            false => made.replace(),
        });
        match made {
            Ok(reasons) if reasons.is_empty() => say(format_args!("{name}: as it is")),
            Ok(reasons) => {
                say(format_args!("{name}: {}", if args.check { "would be replaced" } else { "replaced" }));
                reasons
                    .iter()
                    .for_each(|reason| say(format_args!("    {}", reason.trim_end().replace('\n', "\n    "))));
                if args.check {
                    code = exit::NOT_PASSED;
                }
            }
            Err(error) => {
                complain(format_args!("{name}: {error}"));
                code = exit::NOT_PASSED;
            }
        }
    }
    code
}
