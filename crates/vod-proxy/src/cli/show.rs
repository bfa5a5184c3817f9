//! `vod-proxy show`: what happened in a recording or a journal, as a table of uploads and a timeline.

use std::path::PathBuf;

use vod_proto::timeline::Timeline;

use super::{complain, exchanges, say};
use crate::{
    exit,
    look::{UploadLine, table},
    recording::Source,
};

/// How many columns the bars of the timeline have. Default 24: with the usual texts a line stays within 100.
const BARS: usize = 24;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A recording, or a journal
    #[arg(value_name = "DIR|FILE")]
    path: PathBuf,
}

pub(super) fn run(Args { path }: &Args) -> u8 {
    let found = match exchanges::read(path) {
        Ok(found) => found,
        Err(error) => {
            complain(error);
            return exit::USAGE;
        }
    };
    if let Some(manifest) = &found.manifest {
        let from = match &manifest.source {
            Source::Upstream(url) => url.clone(),
            Source::Hosts(hosts) => hosts.join(", "),
        };
        say(format_args!(
            "recorded from {from} at {} by {}; bodies kept: {}\n",
            manifest.started, manifest.tool, manifest.bodies
        ));
    }
    say(UploadLine::HEADING);
    for upload in table(&found.exchanges) {
        say(upload);
    }
    say(format_args!("\n{}", Timeline::of(&found.exchanges).bars(BARS).to_string().trim_end()));
    exit::DONE
}
