//! `vod-proxy diff`: what differs between two recordings or journals, by meaning.

use std::path::PathBuf;

use super::{complain, exchanges, say};
use crate::{exit, look};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A recording, or a journal
    #[arg(value_name = "A")]
    a: PathBuf,
    /// Another
    #[arg(value_name = "B")]
    b: PathBuf,
}

pub(super) fn run(Args { a, b }: &Args) -> u8 {
    let (a, b) = match (exchanges::read(a), exchanges::read(b)) {
        (Ok(a), Ok(b)) => (a, b),
        (a, b) => {
            [a.err(), b.err()].into_iter().flatten().for_each(complain);
            return exit::USAGE;
        }
    };
    let differences = look::diff(&a.exchanges, &b.exchanges);
    differences.iter().for_each(say);
    if differences.is_empty() { exit::DONE } else { exit::FOUND }
}
