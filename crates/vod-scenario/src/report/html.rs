//! A run as one page of HTML: readable without network and without JavaScript, in light and in dark.
//!
//! - `picture`: the story as a picture, one lane a part.
//! - `style.css`: what it looks like, written into each page.

mod picture;

use std::fmt::Display;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use vod_proto::{Exchange, timeline};

use crate::{
    evidence::{Evidence, Secret},
    judge::{Check, Finding, Judgement, Layer, Ruling},
    report::plain::LogEnd,
    run::{Judged, Run, RunResult},
};

/// How many of the last bytes of a log a page shows at most. Default 64 KiB: a page stays one that a browser opens at once.
const LOG_MOST: usize = 64 << 10;

const STYLE: &str = include_str!("html/style.css");

/// The page of a run. Secrets are masked, as in the [text](super::report).
#[must_use]
pub fn page(run: &Run) -> String {
    let title = format!("{}: {} on {}", run.word(), run.story.name, run.target);
    let judged = match &run.result {
        RunResult::Judged(judged) | RunResult::ControlUnhealthy(judged) => Some(judged),
        RunResult::NotRun(_) | RunResult::Skipped(_) => None,
    };
    let body = html! {
        header {
            h1 { (badge(&run.word())) " " (run.story.name) }
            p.told { "on " b { (run.target) } ", seed " b { (run.seed) } ", told in " (run.took.as_millis()) " ms" }
            @for paragraph in run.story.scenario.why.trim().split("\n\n") { p.why { (paragraph) } }
            pre.repeat { (run.repeat()) }
        }
        @match &run.result {
            RunResult::NotRun(why) => p.found { "It could not be run: " (why) }
            RunResult::Skipped(because) => p.found { "It is not told here: " (because) }
            RunResult::ControlUnhealthy(_) => p.found {
                "The control run, without the faults, is not healthy, so that the story would prove nothing. This is the control run."
            }
            RunResult::Judged(_) => {}
        }
        @if let Some(judged) = judged { (story(judged)) }
    };
    let secrets = judged.map_or(&[][..], |judged| &judged.evidence.secrets);
    masked(whole(&title, &body), secrets)
}

/// The page that leads to the pages of several runs: each run with the address of its page.
#[must_use]
pub fn index(runs: &[(&Run, String)]) -> String {
    let count = |word: &str| runs.iter().filter(|(run, _)| run.word() == word).count();
    let words = ["fail", "inconclusive", "pass", "skipped"];
    let tally: Vec<_> = words.into_iter().filter(|word| count(word) > 0).collect();
    let title = tally.iter().map(|word| format!("{} {word}", count(word))).collect::<Vec<_>>().join(", ");
    // What did not pass is what the page is opened for.
    let ordered = words.into_iter().flat_map(|word| runs.iter().filter(move |(run, _)| run.word() == word));
    let body = html! {
        header { h1 { "Scenarios" } p.told { @for word in &tally { (badge(word)) " " (count(word)) " " } } }
        table {
            thead { tr { th { "verdict" } th { "scenario" } th { "target" } th.number { "ms" } th { "why" } } }
            tbody {
                @for (run, address) in ordered {
                    tr {
                        td { (badge(&run.word())) }
                        td { a href=(address) { (run.story.name) } }
                        td { (run.target) }
                        td.number { (run.took.as_millis()) }
                        td { @if let Some(because) = run.skipped() { "not told: " (because) } @else { (run.story.scenario.first_sentence()) } }
                    }
                }
            }
        }
    };
    whole(&title, &body)
}

/// The address of a file, from the page that leads to it.
#[must_use]
pub fn address(path: &[&str]) -> String {
    const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');
    path.iter().map(|name| utf8_percent_encode(name, PLAIN).to_string()).collect::<Vec<_>>().join("/")
}

fn whole(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                // Nothing that came over a wire may load or run anything, whatever else is wrong with this page.
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    };
    page.into_string()
}

fn badge(word: &str) -> Markup {
    html! { span class={ "badge " (word) } { (word) } }
}

fn story(Judged { evidence, judgement }: &Judged) -> Markup {
    let memory = evidence.peak_memory.iter().map(|(program, peak)| format!("{program} {} MiB", peak >> 20));
    let memory = memory.collect::<Vec<_>>().join(", ");
    html! {
        (against(judgement))
        section {
            h2 { "What happened" }
            (picture::picture(evidence))
            ul.steps {
                @for step in &evidence.steps {
                    li { (capitalized(&evidence.name_of(step))) " ended " b { (step.end) } " after " (step.elapsed.as_millis()) " ms." }
                }
            }
            @if !memory.is_empty() { p { "Peak memory: " (memory) "." } }
        }
        (faults(evidence))
        (checks(judgement))
        (exchanges(evidence))
        (logs(evidence))
    }
}

/// What makes it no pass, with links to the requests that it names.
fn against(judgement: &Judgement) -> Markup {
    html! {
        @if judgement.against().next().is_some() {
            section {
                h2 { "What is wrong" }
                ul.findings {
                    @for (check, findings) in judgement.against() {
                        @for finding in findings {
                            li class=(match finding { Finding::Broken(_) => "fail", Finding::Unknown(_) => "inconclusive" }) {
                                b { (check.layer) " · " (check.name) } ": " (linked(finding.why()))
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Makes links of `request 12`, as exchanges are called in findings.
fn linked(text: &str) -> Markup {
    const WORD: &str = "request ";
    let mut pieces = text.split(WORD);
    let first = pieces.next().unwrap_or_default();
    html! {
        (first)
        @for piece in pieces {
            @let digits = piece.chars().take_while(char::is_ascii_digit).count();
            @let (number, rest) = piece.split_at(digits);
            @if number.is_empty() { (WORD) } @else { a href={ "#x" (number) } { (WORD) (number) } }
            (rest)
        }
    }
}

fn faults(evidence: &Evidence) -> Markup {
    html! {
        @if !evidence.faults.is_empty() {
            section {
                h2 { "Faults" }
                table.narrow {
                    thead { tr { th { "fault" } th.number { "fitted" } th.number { "struck" } } }
                    tbody {
                        @for fate in &evidence.faults {
                            tr { td { "⚡ " (fate.id) } td.number { (fate.matched) } td.number { (fate.struck) } }
                        }
                    }
                }
            }
        }
    }
}

fn checks(judgement: &Judgement) -> Markup {
    html! {
        section {
            h2 { "What was checked" }
            table {
                thead { tr { th { "layer" } th { "check" } th { "ruling" } } }
                tbody {
                    @for layer in [Layer::Outcome, Layer::Wire, Layer::Invariants] {
                        @for Check { name, ruling, .. } in judgement.checks.iter().filter(|check| check.layer == layer) {
                            tr { td { (layer) } td { (name) } td { (shown_ruling(ruling)) } }
                        }
                    }
                }
            }
        }
    }
}

fn shown_ruling(ruling: &Ruling) -> Markup {
    let broken = |findings: &[Finding]| findings.iter().any(|finding| matches!(finding, Finding::Broken(_)));
    html! {
        @match ruling {
            Ruling::Holds => span.sign.pass { "✓ holds" }
            Ruling::NotJudged => span.sign.idle { "– nothing here to judge" }
            Ruling::Found(findings) if broken(findings) => span.sign.fail { "✗ broken" }
            Ruling::Found(_) => span.sign.inconclusive { "? cannot be said" }
            Ruling::Excepted { because, findings } => {
                span.sign.idle { "✗ broken on purpose: " (because) }
                @for finding in findings { div { (linked(finding.why())) } }
            }
        }
    }
}

fn exchanges(evidence: &Evidence) -> Markup {
    let (zero, two) = (zero(&evidence.exchanges), evidence.has_two());
    html! {
        section {
            h2 { "Requests" }
            table {
                thead { tr { th.number { "request" } th.number { "ms" } @if two { th { "client" } } th { "action" } th.number { "try" } th { "came of it" } } }
                tbody {
                    @for exchange in &evidence.exchanges {
                        tr id={ "x" (exchange.seq) } class=(picture::fate(exchange)) {
                            td.number { (exchange.seq) }
                            td.number { (ms(exchange.start.as_microsecond() - zero)) }
                            @if two { td { @if let Some(who) = evidence.who(exchange) { (who) } } }
                            td { (exchange.action.as_deref().unwrap_or("(none)")) @if let Some(part) = exchange.part { " " (part) } }
                            td.number { (exchange.attempt) }
                            td { (timeline::came_of(exchange)) }
                        }
                    }
                }
            }
        }
    }
}

fn logs(evidence: &Evidence) -> Markup {
    let logs = evidence.logs.iter().filter(|log| !log.text.trim().is_empty());
    html! {
        section {
            h2 { "Logs" }
            @for log in logs {
                @let end = LogEnd::of(log, evidence, LOG_MOST);
                details {
                    summary { (log.origin) ", " (log.text.lines().count()) " lines" }
                    @if end.left_out > 0 { p { (end.left_out) " bytes before this are left out. A bundle, which " code { "--keep" } " makes, has them." } }
                    pre { (end.text) }
                }
            }
        }
    }
}

/// As it begins a sentence.
fn capitalized(text: &str) -> String {
    text.chars().take(1).flat_map(char::to_uppercase).chain(text.chars().skip(1)).collect()
}

/// When the first exchange began, in microseconds since 1970.
fn zero(exchanges: &[Exchange]) -> i64 {
    exchanges.iter().map(|exchange| exchange.start.as_microsecond()).min().unwrap_or(0)
}

fn ms(micros: i64) -> impl Display {
    format!("{}.{}", micros / 1000, micros % 1000 / 100)
}

/// The last thing that is done to a page, so that nothing on it can be forgotten.
fn masked(page: String, secrets: &[Secret]) -> String {
    secrets.iter().fold(page, |page, secret| {
        let escaped = html! { (secret.value) }.into_string();
        let mask = html! { "[" (secret.name) "]" }.into_string();
        page.replace(&secret.value, &mask).replace(&escaped, &mask)
    })
}

#[cfg(test)]
mod tests;
