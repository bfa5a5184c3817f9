//! `vod-scenario chaos`.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use super::{complain, jobs, say};
use crate::{
    chaos::{self, Seeds, Settings, Shard},
    exit,
};

#[derive(Debug, clap::Args)]
pub(super) struct ChaosArgs {
    /// Goes through these seeds: A..B, or A.. with --for [default: 0..1000; with --for, 0..]
    #[arg(long, value_name = "A..B")]
    seeds: Option<Seeds>,
    /// Goes on for so long, such as 60s
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    time: Option<Duration>,
    /// Takes the i-th of n shares of the seeds
    #[arg(long, value_name = "I/N", default_value = "1/1")]
    shard: Shard,
    /// Saves each failure in this directory, as the smallest scenario that fails alike
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// How many stories are told at a time [default: the number of processors]
    #[arg(long, value_name = "N", value_parser = jobs)]
    jobs: Option<NonZeroUsize>,
}

pub(super) fn run(args: ChaosArgs) -> u8 {
    let ChaosArgs { seeds, time, shard, save, jobs } = args;
    if seeds.is_some_and(|seeds| seeds.to.is_none()) && time.is_none() {
        complain("--seeds without an end needs --for, or it would never come to one");
        return exit::USAGE;
    }
    if let Some(dir) = &save
        && let Err(error) = std::fs::create_dir_all(dir)
    {
        complain(format!("--save: cannot make the directory {}: {error}", dir.display()));
        return exit::USAGE;
    }
    let settings = Settings { seeds, time, shard, jobs, save };
    let outcome = chaos::run(&settings);
    let saved = match settings.save.as_deref().map(|dir| outcome.save(dir)).transpose() {
        Ok(saved) => saved.unwrap_or_default(),
        Err(error) => {
            complain(error);
            Vec::new()
        }
    };
    say(outcome.report(&saved));
    if outcome.passed() { exit::PASS } else { exit::NOT_PASSED }
}
