//! `vod-proxy record`: passes requests on, and records them.

use std::path::{Path, PathBuf};

use vod_proto::redact::Rules;
use vod_serve::WallClock;

use super::serving::{self, Failure};
use crate::{
    Proxy, Recording,
    recording::{KeptBodies, Wanted},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The directory of the recording: a new one, or one to go on in
    #[arg(value_name = "DIR")]
    recording: PathBuf,
    /// What is kept of bodies beside lengths and digests; the text of short replies always is
    #[arg(long, value_enum, default_value_t)]
    bodies: KeptBodies,
    /// More that is a secret, as TOML: lists of parameters, headers and fields
    #[arg(long, value_name = "FILE")]
    redact: Option<PathBuf>,
    #[command(flatten)]
    serving: serving::Args,
}

pub(super) fn run(args: Args) -> u8 {
    serving::run(record(args))
}

async fn record(args: Args) -> Result<(), Failure> {
    let Args { recording, bodies, redact, serving } = args;
    let rules = redact.as_deref().map_or(Ok(Rules::default()), read_rules)?;
    let wanted = Wanted { source: serving.source(), bodies, rules };
    serving
        .serve(|route, trust| {
            let (recording, journal) = Recording::record(&recording, wanted, WallClock::system().now())?;
            Ok(Proxy::recording(route, trust, &recording, journal))
        })
        .await
}

fn read_rules(path: &Path) -> Result<Rules, Failure> {
    let text = std::fs::read_to_string(path).map_err(|source| Failure::Read { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|source| Failure::Rules { path: path.to_owned(), source: Box::new(source) })
}
