//! What programs and files say, as it can be shown: nothing in it moves a terminal's cursor, and there is an end to it.

use std::borrow::Cow;

use crate::evidence::{Evidence, Log};

/// A text in which control characters are seen and do nothing: `\u{1b}` instead of an escape.
///
/// Lines and tabs stay. What turns the direction of writing is shown too, for it makes a line look like another.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        if acts(char) { out.extend(char.escape_default()) } else { out.push(char) }
    }
    Cow::Owned(out)
}

fn acts(char: char) -> bool {
    let turns = matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || char.is_control() && !matches!(char, '\n' | '\t')
}

/// The end of a log, as much of it as is shown.
pub(super) struct LogEnd {
    /// At most as many bytes as were asked for, before what acts in it is made visible; no secret.
    pub(super) text: String,
    /// How many bytes before it are left out.
    pub(super) left_out: usize,
}

impl LogEnd {
    /// At most so many of its last bytes.
    pub(super) fn of(log: &Log, evidence: &Evidence, most: usize) -> Self {
        // Before it is cut: half a secret would not be known for one.
        let masked = evidence.masked(log.text.trim_end());
        let from = masked.len().saturating_sub(most);
        let left_out = (from..masked.len()).find(|at| masked.is_char_boundary(*at)).unwrap_or(masked.len());
        let end = masked.get(left_out..).unwrap_or_default();
        Self { text: visible(end).into_owned(), left_out }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::crafted::Story;

    #[test]
    fn what_acts_on_a_terminal_is_seen_instead() {
        assert_eq!(visible("a\tb\nä ✓"), "a\tb\nä ✓");
        assert_eq!(visible("\u{1b}[2J\r\u{7}\0\u{9b}\u{202e}x"), "\\u{1b}[2J\\r\\u{7}\\u{0}\\u{9b}\\u{202e}x");
    }

    #[test]
    fn a_secret_at_the_edge_is_masked_before_it_is_cut() {
        let evidence = Story::plain().evidence;
        let secret = evidence.secrets[0].value.clone();
        let log = Log { origin: "o".to_owned(), text: format!("äääää{secret}ä\n") };
        for most in 0..60 {
            let end = LogEnd::of(&log, &evidence, most);
            assert!(end.text.len() <= most, "{most}: {}", end.text);
            assert!(!end.text.contains(&secret[secret.len() - 3..]), "{most}: {}", end.text);
        }
    }
}
