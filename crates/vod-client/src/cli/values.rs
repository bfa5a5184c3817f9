//! Durations as people write them on a command line.

use std::time::Duration;

/// Reads a duration above zero: `30s`, `1500ms`, `1h 30m`, `2d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration: expected something like 30s, 1500ms, 1h30m or 2d");
    let span: jiff::Span = text.parse().map_err(|_| wrong())?;
    let signed = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    Duration::try_from(signed).ok().filter(|duration| !duration.is_zero()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let check = |text: &str, expected| assert_eq!(duration(text).ok(), expected, "{text:?}");
        check("30s", Some(Duration::from_secs(30)));
        check("1h30m", Some(Duration::from_secs(5400)));
        check("1500ms", Some(Duration::from_millis(1500)));
        check("90d", Some(Duration::from_secs(90 * 86_400)));
        check("1month", None);
        check("0s", None);
        check("-1s", None);
        check("30", None);
        check("soon", None);
    }
}
