//! What can be read off the evidence when all is over: panics, parts that are kept, and lines that were never written.

use vod_mock::{UploadState, UploadView};
use vod_proto::Exchange;

use crate::{evidence::Log, format::Scenario};

/// What the programs of this house say of panics of theirs. What another client prints is its own affair.
pub(super) fn panics(logs: &[Log], scenario: &Scenario) -> Vec<String> {
    let foreign = scenario.tellers().iter().any(|teller| scenario.of(teller.step, teller.who).client.command.is_some());
    let ours = logs.iter().filter(|log| !(foreign && log.origin.starts_with("the client")));
    let said = ours.flat_map(|log| log.text.lines().map(move |line| (&log.origin, line)));
    said.filter(|(_, line)| line.starts_with("thread '") && line.contains("panicked at"))
        .map(|(origin, line)| format!("in {origin}: {line}"))
        .collect()
}

/// How many parts the mock keeps; none where a session was opened after a commit, because the session hides the file.
pub(super) fn parts_kept(uploads: &[UploadView]) -> Option<u64> {
    let hidden = uploads.iter().any(|upload| upload.state == UploadState::Open && upload.commits > 0);
    (!hidden).then(|| uploads.iter().map(|upload| upload.parts).sum())
}

pub(super) fn last_of(exchanges: &[Exchange]) -> u64 {
    exchanges.iter().map(|exchange| exchange.seq).max().unwrap_or(0)
}

/// Is a number left out, up to the last that the mock spoke of? Then something happened that nobody wrote down.
///
/// The file keeps what the mock dropped from memory, so that only a line that was never written can be missing.
pub(super) fn gap(exchanges: &[Exchange], last: u64) -> Option<String> {
    let mut written = exchanges.iter().zip(1..);
    if let Some((exchange, expected)) = written.find(|(exchange, expected)| exchange.seq != *expected) {
        return Some(format!("the journal has request {} where request {expected} is expected", exchange.seq));
    }
    let end = last_of(exchanges);
    (end < last).then(|| format!("the journal ends with request {end}, and the mock spoke of request {last}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::crafted::Story;

    #[test]
    fn a_panic_is_read_off_what_our_own_programs_say() {
        let mut story = Story::plain();
        let said = "listening\nthread 'main' (7) panicked at crates/x.rs:1:2:\na mistake\n";
        for origin in ["the mock's stderr", "the client's stderr in step 1"] {
            story.evidence.logs.push(Log { origin: origin.to_owned(), text: said.to_owned() });
        }
        let heard = panics(&story.evidence.logs, &story.scenario);
        assert_eq!(heard.len(), 2, "{heard:?}");
        assert_eq!(heard[0], "in the mock's stderr: thread 'main' (7) panicked at crates/x.rs:1:2:");
        story.scenario.client.command = "java -jar up.jar".parse().ok();
        assert_eq!(panics(&story.evidence.logs, &story.scenario).len(), 1);
    }

    #[test]
    fn a_line_that_was_never_written_is_missed_wherever_it_is() {
        let said = |lost: u64| {
            let mut story = Story::plain();
            story.lose(lost);
            gap(&story.evidence.exchanges, 5)
        };
        assert_eq!(gap(&Story::plain().evidence.exchanges, 5), None);
        assert_eq!(said(1).as_deref(), Some("the journal has request 2 where request 1 is expected"));
        assert_eq!(said(4).as_deref(), Some("the journal has request 5 where request 4 is expected"));
        assert_eq!(said(5).as_deref(), Some("the journal ends with request 4, and the mock spoke of request 5"));
    }
}
