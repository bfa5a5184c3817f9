//! `vod-proxy pass`: passes requests on, and keeps nothing.

use super::serving;
use crate::Proxy;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    serving: serving::Args,
}

pub(super) fn run(args: Args) -> u8 {
    serving::run(args.serving.serve(|route, trust| Ok(Proxy::passing(route, trust))))
}
