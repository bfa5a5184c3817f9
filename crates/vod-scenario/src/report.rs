//! What a run is told as: what repeats it, what is wrong, what happened.
//!
//! Here as a text for a terminal; [`html`] as a page, [`junit`] for a CI.

pub mod html;
pub mod junit;
mod plain;
mod timeline;

use std::fmt::{self, Write as _};

use self::plain::LogEnd;
pub(crate) use self::plain::visible;
use crate::{
    evidence::Evidence,
    judge::{Check, Finding, Judgement, Layer, Ruling, Verdict},
    run::{Judged, Run, RunResult},
};

/// How many of the last lines of a log a failure shows.
const LOG_LINES: usize = 20;

/// How many of the last bytes of a log a failure shows at most. Default 4 KiB: 20 lines, unless they are very long.
const LOG_MOST: usize = 4 << 10;

/// How much of what one check found is shown. The rest is mostly the same mistake again.
const FINDINGS_MOST: usize = 3;

/// The check that finds each rule of the documents at most once, so that every one of them is shown.
const DOCUMENTS_KEPT: &str = "documents-kept";

/// The whole report of a run. A failure begins with the line that repeats it.
#[must_use]
pub fn report(run: &Run) -> String {
    let mut out = String::new();
    // Writing to a text cannot fail.
    let _ = write_report(&mut out, run);
    visible(&out).into_owned()
}

fn write_report(out: &mut String, run: &Run) -> fmt::Result {
    let verdict = run.verdict();
    if let Some(because) = run.skipped() {
        return writeln!(out, "{} · {} · skipped: {because}", run.story.name, run.target);
    }
    if verdict != Verdict::Pass {
        writeln!(out, "{}", run.repeat())?;
    }
    writeln!(out, "{} · {} · seed {} · {verdict}", run.story.name, run.target, run.seed)?;
    match &run.result {
        RunResult::NotRun(why) => writeln!(out, "  it could not be run: {why}"),
        RunResult::Skipped(because) => writeln!(out, "  it is not told here: {because}"),
        RunResult::ControlUnhealthy(judged) => {
            writeln!(out, "  the control run (no faults) is not healthy, so the story would prove nothing:")?;
            write_judged(out, judged, verdict)
        }
        RunResult::Judged(judged) => {
            for line in run.story.scenario.why.trim().lines() {
                writeln!(out, "  {}", line.trim())?;
            }
            write_judged(out, judged, verdict)
        }
    }
}

fn write_judged(out: &mut String, Judged { evidence, judgement }: &Judged, verdict: Verdict) -> fmt::Result {
    write_against(out, judgement, evidence)?;
    writeln!(out)?;
    out.push_str(&timeline::timeline(evidence));
    writeln!(out)?;
    write_checks(out, judgement)?;
    write_memory(out, evidence)?;
    if verdict != Verdict::Pass {
        write_logs(out, evidence)?;
    }
    Ok(())
}

fn write_against(out: &mut String, judgement: &Judgement, evidence: &Evidence) -> fmt::Result {
    for (check, findings) in judgement.against() {
        let most = if check.name == DOCUMENTS_KEPT { findings.len() } else { FINDINGS_MOST };
        for finding in findings.iter().take(most) {
            let sign = match finding {
                Finding::Broken(_) => '✗',
                Finding::Unknown(_) => '?',
            };
            writeln!(out, "  {sign} {} · {}: {}", check.layer, check.name, evidence.masked(finding.why()))?;
        }
        if findings.len() > most {
            writeln!(out, "    … and {} more of {}", findings.len() - most, check.name)?;
        }
    }
    Ok(())
}

/// What the file says is told check by check, what always holds by number: nobody reads the same list every time.
fn write_checks(out: &mut String, judgement: &Judgement) -> fmt::Result {
    for layer in [Layer::Outcome, Layer::Wire] {
        let checks = judgement.checks.iter().filter(|check| check.layer == layer);
        for (at, check) in checks.enumerate() {
            let heading = if at == 0 { layer.to_string() } else { String::new() };
            let sign = if matches!(check.ruling, Ruling::Found(_)) { '✗' } else { '✓' };
            writeln!(out, "  {heading:<11} {sign} {}", check.name)?;
        }
    }
    let (held, judged) = judgement.tally(Layer::Invariants);
    let sign = if held == judged { '✓' } else { '✗' };
    write!(out, "  {:<11} {sign} {held} of {judged} hold", Layer::Invariants)?;
    let idle = judgement.checks.iter().filter(|check| check.ruling == Ruling::NotJudged);
    let idle: Vec<_> = idle.map(|check| check.name.as_str()).collect();
    if !idle.is_empty() {
        write!(out, "; nothing here for {}", idle.join(", "))?;
    }
    writeln!(out)?;
    for Check { name, ruling, .. } in &judgement.checks {
        if let Ruling::Excepted { because, findings } = ruling {
            writeln!(out, "  excepted    {name}, because {because}")?;
            for finding in findings {
                writeln!(out, "              {}", finding.why())?;
            }
        }
    }
    Ok(())
}

fn write_memory(out: &mut String, evidence: &Evidence) -> fmt::Result {
    if evidence.peak_memory.is_empty() {
        return Ok(());
    }
    let peaks = evidence.peak_memory.iter().map(|(program, peak)| format!("{program} {} MiB", peak >> 20));
    writeln!(out, "  peak memory {}", peaks.collect::<Vec<_>>().join(", "))
}

fn write_logs(out: &mut String, evidence: &Evidence) -> fmt::Result {
    for log in evidence.logs.iter().filter(|log| !log.text.trim().is_empty()) {
        let end = LogEnd::of(log, evidence, LOG_MOST);
        let lines: Vec<_> = end.text.lines().collect();
        writeln!(out, "  the end of {}:", log.origin)?;
        for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
            writeln!(out, "    {line}")?;
        }
    }
    Ok(())
}

/// The last line of a run of several: how many passed.
#[must_use]
pub fn summary(runs: &[Run]) -> String {
    let told = || runs.iter().filter(|run| run.skipped().is_none());
    let count = |verdict| told().filter(|run| run.verdict() == verdict).count();
    let mut out = format!("{} passed", count(Verdict::Pass));
    let skipped = runs.len() - told().count();
    let numbers =
        [(count(Verdict::Fail), "failed"), (count(Verdict::Inconclusive), "inconclusive"), (skipped, "skipped")];
    for (number, word) in numbers.into_iter().filter(|(number, _)| *number > 0) {
        let _ = write!(out, ", {number} {word}");
    }
    for run in told().filter(|run| run.verdict() != Verdict::Pass) {
        let _ = write!(out, "\n  {:<12} {}", run.verdict().to_string(), run.repeat());
    }
    for run in runs {
        if let Some(because) = run.skipped() {
            let _ = write!(out, "\n  {:<12} {} on {}: {because}", "skipped", run.story.name, run.target);
        }
    }
    out
}

#[cfg(test)]
pub(crate) mod tests {
    use expect_test::expect;

    use super::*;
    use crate::{
        evidence::{Event, Happening, Log},
        judge::crafted::{Story, mark},
        run::{Named, Settings},
    };

    pub(crate) fn run(story: Story) -> Run {
        let judgement = story.judge();
        let named = Named { name: "crafted".to_owned(), scenario: story.scenario };
        let judged = Box::new(Judged { evidence: story.evidence, judgement });
        let target = judged.evidence.target;
        Run {
            story: named,
            target,
            seed: 7,
            client: None,
            through_proxy: false,
            command: Settings::default().command,
            bundle: None,
            took: std::time::Duration::from_millis(20),
            result: RunResult::Judged(judged),
        }
    }

    #[test]
    fn a_pass_tells_the_story_and_what_was_judged() {
        let mut story = Story::plain();
        story.evidence.events.push(Event { after_seq: 0, what: Happening::StepBegan(1) });
        expect![[r#"
            crafted · sim · seed 7 · pass
              w

                    ms  request                        try  came of it
                        ── step 1: upload
                   0.0  InitUpload                       1  code 0
                 100.0  UploadPart 1 at 0                1  code 0
                 200.0  UploadPart 2 at 1MiB             1  code 0
                 300.0  UploadPart 3 at 2MiB             1  code 0
                 400.0  FinishUpload                     1  code 0
                        ── step 1 finished, 3 parts sent, 0 there already after 1000 ms

              outcome     ✓ step 1 ends finished
              wire        ✓ every request is known
                          ✓ InitUpload: exactly 1 request
                          ✓ InitUpload is answered 0
                          ✓ exactly 0 parts sent twice
                          ✓ exactly 0 parts skipped by the last step
              invariants  ✓ 22 of 22 hold; nothing here for every-fault-fired, faults-as-planned, memory-bounded, recorded-as-it-was, same-on-replay
        "#]]
        .assert_eq(&report(&run(story)));
    }

    #[test]
    fn a_failure_begins_with_the_line_that_repeats_it_and_leaks_nothing() {
        let mut story = Story::plain();
        let secret = story.evidence.secrets[0].value.clone();
        let text = format!("first\nsigning with {secret}\n");
        story.evidence.logs.push(Log { origin: "the client's stderr".to_owned(), text });
        let text = report(&run(story));
        assert!(
            text.starts_with("cargo xtask scenario crafted --target sim --seed 7\ncrafted · sim · seed 7 · fail\n")
        );
        assert!(
            text.contains("✗ invariants · no-secret-leaked: the secret key stands in the client's stderr"),
            "{text}"
        );
        assert!(text.contains("signing with [the secret key]") && !text.contains(&secret), "{text}");
    }

    /// A story that failed, whose client wrote 3 MiB of binary in one line, and whose file would clear the screen.
    pub(crate) fn noisy() -> Run {
        let mut story = Story::plain();
        let text = "\u{1b}[2J\0\u{fffd}".repeat(400_000) + "this is the end\n";
        story.evidence.logs.push(Log { origin: "the client's stdout".to_owned(), text });
        story.evidence.left_behind.push("a \u{1b}[31mfile".to_owned());
        story.scenario.why = "It \u{1b}]0;title\u{7} fails.".to_owned();
        run(story)
    }

    #[test]
    fn a_client_that_writes_without_end_is_shown_to_its_end_and_nothing_of_it_acts() {
        let text = report(&noisy());
        assert!(text.len() < 32 << 10, "{} bytes", text.len());
        assert!(text.contains("this is the end\n") && text.contains("It \\u{1b}]0;title\\u{7} fails."), "{text}");
        assert!(text.chars().all(|char| char == '\n' || !char.is_control()), "{text:?}");
    }

    #[test]
    fn many_findings_of_one_check_are_cut() {
        let mut story = Story::plain();
        story.evidence.left_behind = (0..9).map(|n| format!("file {n}")).collect();
        let text = report(&run(story));
        assert!(text.contains("file 2\n    … and 6 more of nothing-left-behind"), "{text}");
        assert!(!text.contains("file 3"), "{text}");
    }

    #[test]
    fn runs_of_uneventful_parts_are_folded_and_faults_are_marked() {
        let mut story = Story::plain();
        for _ in 0..5 {
            let part = story.evidence.exchanges[1].clone();
            story.insert(1, part);
        }
        story.evidence.exchanges[6].faults.push(mark("delay", false));
        let text = report(&run(story));
        assert!(text.contains("100.0  … 5 parts acknowledged, 5MiB\n"), "{text}");
        assert!(text.contains("UploadPart 1 at 0                1  code 0  ⚡ f (before-commit, delay)"), "{text}");
    }

    #[test]
    fn parts_of_the_legacy_family_are_numbered_in_their_order() {
        let mut story = Story::of(vod_proto::Family::Legacy);
        let wanted = crate::judge::crafted::goes_on(512 << 10);
        story.push_part(2, &wanted);
        let text = report(&run(story));
        let (_, timeline) = text.split_once("came of it\n").unwrap();
        let lines: Vec<_> = timeline.lines().take(6).map(str::trim).collect();
        expect![[r#"
            0.0  MultipartUploadVodFile 1 at 0         1  code 0
            100.0  MultipartUploadVodFile 2 at 512KiB    1  code 0
            200.0  MultipartUploadVodFile 3 at 1536KiB   1  code 0
            300.0  MultipartUploadVodFile 4 at 2560KiB   1  code 0, the file is there
            ── step 1 finished, 4 parts sent, 0 there already after 1000 ms
            400.0  MultipartUploadVodFile 3 at 1536KiB   1  code 0, go on at 512KiB"#]]
        .assert_eq(&lines.join("\n"));
    }

    #[test]
    fn a_summary_repeats_what_did_not_pass() {
        let mut bad = Story::plain();
        bad.evidence.evicted = 1;
        let runs = [run(Story::plain()), run(bad)];
        expect![[r#"
            1 passed, 1 inconclusive
              inconclusive cargo xtask scenario crafted --target sim --seed 7"#]]
        .assert_eq(&summary(&runs));
    }
}
