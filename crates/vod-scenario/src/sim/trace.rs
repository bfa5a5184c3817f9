//! What a telling of a story looked like, line by line, with virtual times.

use std::fmt;

use crate::evidence::Evidence;

/// The first line in which two tellings of one story differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    line: usize,
    first: Option<String>,
    second: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |line: &Option<String>| line.clone().unwrap_or_else(|| "(nothing more)".to_owned());
        writeln!(f, "line {} of the trace differs", self.line)?;
        writeln!(f, "      first  {}", shown(&self.first))?;
        write!(f, "      then   {}", shown(&self.second))
    }
}

/// Every exchange with its times, those that a recorder saw too, then how each step ended and when.
fn trace(evidence: &Evidence) -> Vec<String> {
    let recorded = evidence.proxied.iter().flat_map(|proxied| &proxied.recorded);
    let mut lines: Vec<String> = evidence
        .exchanges
        .iter()
        .chain(recorded)
        .map(|exchange| exchange.to_line().unwrap_or_else(|error| format!("request {}: {error}", exchange.seq)))
        .collect();
    lines.extend(evidence.events.iter().map(|event| format!("{event:?}")));
    lines.extend(evidence.steps.iter().map(|step| format!("{step:?}")));
    lines.extend(evidence.proxied.iter().map(|proxied| format!("{:?}", proxied.retold)));
    lines.extend(evidence.faults.iter().map(|fault| format!("{fault:?}")));
    lines
}

/// Where do two tellings differ?
pub(super) fn difference(first: &Evidence, second: &Evidence) -> Option<Difference> {
    let (first, second) = (trace(first), trace(second));
    let at = (0..first.len().max(second.len())).find(|at| first.get(*at) != second.get(*at))?;
    Some(Difference { line: at + 1, first: first.get(at).cloned(), second: second.get(at).cloned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::crafted::Story;

    #[test]
    fn equal_tellings_have_no_difference() {
        assert_eq!(difference(&Story::plain().evidence, &Story::plain().evidence), None);
    }

    #[test]
    fn the_first_line_that_differs_is_shown_on_both_sides() {
        let (first, mut second) = (Story::plain().evidence, Story::plain().evidence);
        second.exchanges[2].times.reply_done = Some(10_001);
        second.exchanges[3].attempt = 9;
        let shown = difference(&first, &second).unwrap().to_string();
        assert!(shown.starts_with("line 3 of the trace differs\n"), "{shown}");
        assert!(shown.contains("\"reply-done\":10000}") && shown.contains("\"reply-done\":10001}"), "{shown}");
    }

    #[test]
    fn a_line_too_many_and_a_step_of_another_length_are_differences() {
        let (first, mut second) = (Story::plain().evidence, Story::plain().evidence);
        second.steps[0].elapsed += std::time::Duration::from_micros(1);
        assert_eq!(difference(&first, &second).unwrap().line, 6);
        second.exchanges.clear();
        second.steps.clear();
        assert!(difference(&first, &second).unwrap().to_string().ends_with("then   (nothing more)"));
    }
}
