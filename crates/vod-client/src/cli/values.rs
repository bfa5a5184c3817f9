//! Sizes and durations as people write them.

use std::time::Duration;

/// Reads a size: bytes, or a number with `B`, `KiB`, `MiB` or `GiB`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size: expected bytes, or a number with KiB or MiB, such as 512KiB");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(wrong)
}

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
    fn sizes() {
        let check = |text: &str, expected| assert_eq!(size(text).ok(), expected, "{text:?}");
        check("1048576", Some(1_048_576));
        check("512KiB", Some(524_288));
        check("1 MiB", Some(1_048_576));
        check("1MB", None);
        check("MiB", None);
        check("-1", None);
        check("99999999999GiB", None);
    }

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
