//! `vod-proxy lint`: which rules of the protocol a client broke, in a recording or a journal.

use std::path::PathBuf;

use vod_proto::{Limits, Verdict, lint::lint};

use super::{complain, exchanges, say};
use crate::exit;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A recording, or a journal
    #[arg(value_name = "DIR|FILE")]
    path: PathBuf,
    /// Say it as JSON, as the mock's /__vod/findings does
    #[arg(long)]
    json: bool,
}

pub(super) fn run(Args { path, json }: &Args) -> u8 {
    let found = match exchanges::read(path) {
        Ok(found) => found,
        Err(error) => {
            complain(error);
            return exit::USAGE;
        }
    };
    let findings = lint(&found.exchanges, &found.lacking, &Limits::default());
    let verdict = findings.verdict();
    if *json {
        match serde_json::to_string(&findings) {
            Ok(text) => say(text),
            Err(error) => complain(error),
        }
    } else {
        for finding in &findings.findings {
            say(finding);
            say(format_args!("    {} ({})", finding.rule.says, finding.rule.source));
        }
        say(format_args!("{verdict}: {} findings in {} exchanges", findings.findings.len(), found.exchanges.len()));
    }
    match verdict {
        Verdict::Pass => exit::DONE,
        Verdict::Fail => exit::FOUND,
        Verdict::Inconclusive => exit::INCONCLUSIVE,
    }
}
