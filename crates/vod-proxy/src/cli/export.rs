//! `vod-proxy export`: a recording or a journal in the words of other tools.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use clap::ValueEnum;

use super::{complain, exchanges};
use crate::{exit, har::har};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// In which format
    #[arg(value_enum)]
    format: Format,
    /// A recording, or a journal
    #[arg(value_name = "DIR|FILE")]
    path: PathBuf,
    /// Write it to this file [default: stdout]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// HTTP Archive 1.2, which browsers' developer tools open
    Har,
}

pub(super) fn run(Args { format: Format::Har, path, output }: &Args) -> u8 {
    let found = match exchanges::read(path) {
        Ok(found) => found,
        Err(error) => {
            complain(error);
            return exit::USAGE;
        }
    };
    let what = format!("{} exchanges of {}, secrets redacted", found.exchanges.len(), path.display());
    let text = format!("{:#}\n", har(&found.exchanges, &what));
    let written = match output {
        Some(output) => std::fs::write(output, text).map_err(|error| (output.display().to_string(), error)),
        None => io::stdout().write_all(text.as_bytes()).map_err(|error| ("stdout".to_owned(), error)),
    };
    match written {
        Ok(()) => exit::DONE,
        Err((to, error)) => {
            complain(format_args!("cannot write to {to}: {error}"));
            exit::USAGE
        }
    }
}
