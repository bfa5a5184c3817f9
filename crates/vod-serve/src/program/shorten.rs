//! What is said of somebody's input, no longer than a person reads.

/// How many bytes of a text are kept at its beginning. Default 600: what is wrong, and where.
const BEGINNING: usize = 600;

/// How many at its end. Default 400: what was expected.
const END: usize = 400;

/// Leaves out the middle of a long text: errors repeat what they were sent, which may be a megabyte.
#[must_use]
pub fn shortened(text: String) -> String {
    if text.len() <= BEGINNING + END {
        return text;
    }
    // Never within a letter; the beginning and the end of a text are none.
    let is_between = |at: &usize| text.is_char_boundary(*at);
    let first = (0..=BEGINNING).rev().find(is_between).unwrap_or(0);
    let last = (text.len() - END..).find(is_between).unwrap_or(text.len());
    format!("{} … {} bytes left out … {}", &text[..first], last - first, &text[last..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_lacks_its_middle_and_says_so() {
        let short = "x".repeat(1000);
        assert_eq!(shortened(short.clone()), short);
        let long = format!("{}{}{}", "a".repeat(600), "b".repeat(90_000), "c".repeat(400));
        let expected = format!("{} … 90000 bytes left out … {}", "a".repeat(600), "c".repeat(400));
        assert_eq!(shortened(long), expected);
        // Between letters of three bytes, wherever the limits fall.
        for before in 0..3 {
            let text = format!("{}{}", "a".repeat(before), "€".repeat(1000));
            let cut = shortened(text.clone());
            let (first, rest) = cut.split_once(" … ").expect("it is cut");
            let (_, last) = rest.split_once(" … ").expect("its end is there");
            assert!(text.starts_with(first) && text.ends_with(last) && cut.len() < 1100, "{cut}");
        }
    }
}
