//! What was probably meant by a word that nobody knows.

/// The known word that is fewest typing errors away, if those are not more than a third of it.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.into_iter().map(|other| (strsim::osa_distance(word, other), other)).min()?;
    (near.0 * 3 <= word.chars().count().max(3)).then_some(near.1)
}

/// `: did you mean WORD?`, or nothing where no word is near.
pub(crate) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map(|near| format!(": did you mean {near}?")).unwrap_or_default()
}

/// Adds what was probably meant to a message of serde's, which names the word and those that are known.
pub(crate) fn explained(message: &str) -> String {
    let unknown = ["unknown field `", "unknown variant `"].iter().find_map(|start| message.strip_prefix(start));
    let parts = unknown.and_then(|rest| rest.split_once("`, expected "));
    let Some((word, expected)) = parts else { return message.to_owned() };
    // The known words stand in backticks, so that every other piece is one.
    format!("{message}{}", did_you_mean(word, expected.split('`').skip(1).step_by(2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_near_is_meant() {
        let known = ["plain-upload", "resume-after-crash", "resume-after-mock-crash"];
        assert_eq!(nearest("resume-after-carsh", known), Some("resume-after-crash"));
        assert_eq!(nearest("plain", known), None);
        assert_eq!(nearest("zzz", known), None);
        assert_eq!(nearest("x", []), None);
    }

    #[test]
    fn words_of_three_letters_may_have_one_wrong() {
        assert_eq!(nearest("ids", ["id", "on", "phase"]), Some("id"));
        assert_eq!(nearest("od", ["id", "phase"]), Some("id"));
    }

    #[test]
    fn a_message_of_serde_is_explained() {
        let check = |message: &str, added: &str| assert_eq!(explained(message), format!("{message}{added}"));
        check("unknown field `paralel`, expected one of `family`, `parallel`", ": did you mean parallel?");
        check("unknown field `mn`, expected `min` or `max`", ": did you mean min?");
        check("unknown variant `cos`, expected one of `server`, `ugc`, `legacy`", "");
        check("missing field `why`", "");
    }
}
