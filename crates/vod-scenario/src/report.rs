//! What a run is told as: what repeats it, what is wrong, what happened.

mod timeline;

use std::fmt::{self, Display, Write as _};

use crate::{
    evidence::Evidence,
    judge::{Check, Finding, Judgement, Layer, Ruling, Verdict},
    run::{Judged, Run, RunResult},
};

/// How many of the last lines of a log a failure shows.
const LOG_LINES: usize = 20;

/// The whole report of a run. A failure begins with the line that repeats it.
#[must_use]
pub fn report(run: &Run) -> String {
    let mut out = String::new();
    // Writing to a text cannot fail.
    let _ = write_report(&mut out, run);
    out
}

fn write_report(out: &mut String, run: &Run) -> fmt::Result {
    let verdict = run.verdict();
    if verdict != Verdict::Pass {
        writeln!(out, "{}", run.repeat())?;
    }
    writeln!(out, "{} · {} · seed {} · {verdict}", run.story.name, run.target, run.seed)?;
    match &run.result {
        RunResult::NotRun(why) => writeln!(out, "  it could not be run: {why}"),
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
    write_against(out, judgement)?;
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

fn write_against(out: &mut String, judgement: &Judgement) -> fmt::Result {
    for (check, findings) in judgement.against() {
        for finding in findings {
            let sign = match finding {
                Finding::Broken(_) => '✗',
                Finding::Unknown(_) => '?',
            };
            writeln!(out, "  {sign} {} · {}: {}", check.layer, check.name, finding.why())?;
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
        let lines: Vec<_> = log.text.lines().collect();
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
    let count = |verdict| runs.iter().filter(|run| run.verdict() == verdict).count();
    let mut out = format!("{} passed", count(Verdict::Pass));
    for verdict in [Verdict::Fail, Verdict::Inconclusive] {
        let number = count(verdict);
        if number > 0 {
            let word = if verdict == Verdict::Fail { "failed" } else { "inconclusive" };
            let _ = write!(out, ", {number} {word}");
        }
    }
    for run in runs.iter().filter(|run| run.verdict() != Verdict::Pass) {
        let _ = write!(out, "\n  {:<12} {}", run.verdict().to_string(), run.repeat());
    }
    out
}

/// Bytes as people read them.
fn bytes(number: u64) -> impl Display {
    crate::format::Size::new(number)
}
