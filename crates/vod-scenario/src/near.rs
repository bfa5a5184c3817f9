//! What was probably meant by a word that nobody knows.

/// The known word that is fewest typing errors away, if those are not more than a third of it.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let known: Vec<_> = known.into_iter().collect();
    let near = known.iter().map(|other| (strsim::osa_distance(word, other), *other)).min()?;
    let is_near = near.0 * 3 <= word.chars().count().max(3);
    // Whoever writes simulation means sim.
    let longer =
        || known.into_iter().filter(|other| other.len() >= 3 && word.starts_with(other)).max_by_key(|o| o.len());
    if is_near { Some(near.1) } else { longer() }
}

/// `: did you mean WORD?`, or nothing where no word is near.
pub(crate) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map(|near| format!(": did you mean {near}?")).unwrap_or_default()
}

/// What stands beside `do` in a fault, and never in it.
const BESIDE_DO: [&str; 4] = ["id", "on", "phase", "at"];

/// Types as serde names them, in the words of a file.
const TYPES: [(&str, &str); 10] = [
    ("i64", "a whole number"),
    ("u64", "a whole number, 0 or more"),
    ("usize", "a whole number, 0 or more"),
    ("u32", "a whole number from 0 to 4294967295"),
    ("u16", "a whole number from 0 to 65535"),
    ("f64", "a number"),
    ("a sequence", "a list"),
    ("a map", "a table"),
    ("sequence", "a list"),
    ("map", "a table"),
];

/// A message of serde's in the words of a file instead of those of our source.
fn in_words(message: &str) -> String {
    let Some((found, expected)) = message.split_once(", expected ") else { return message.to_owned() };
    let found = found.replace(" as i128", "").replace(" as u128", "");
    let (first, rest) = expected.split_once('\n').unwrap_or((expected, ""));
    let plain = match TYPES.iter().find(|(theirs, _)| *theirs == first) {
        Some((_, ours)) => ours,
        None if first.starts_with("struct ") || first.starts_with("internally tagged") => "a table",
        None => first,
    };
    format!("{found}, expected {plain}{rest}")
}

/// Adds what was probably meant to a message of serde's, which names the word and those that are known.
pub(crate) fn explained(message: &str) -> String {
    let message = &*in_words(message);
    let unknown = ["unknown field `", "unknown variant `"].iter().find_map(|start| message.strip_prefix(start));
    let parts = unknown.and_then(|rest| rest.split_once("`, expected "));
    let Some((word, expected)) = parts else { return message.to_owned() };
    if message.starts_with("unknown variant") && BESIDE_DO.contains(&word) {
        return format!("{message}: {word} stands beside do, in the [[fault]]");
    }
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
        assert_eq!(nearest("simulation", ["process", "sim", "through-proxy"]), Some("sim"));
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
        check("unknown variant `at`, expected `client` or `mock`", ": at stands beside do, in the [[fault]]");
    }

    #[test]
    fn no_word_of_our_source_reaches_who_writes_files() {
        let check = |message: &str, said: &str| assert_eq!(explained(message), said);
        check("invalid type: string \"1\", expected i64", "invalid type: string \"1\", expected a whole number");
        check("invalid type: string \"x\", expected struct Upload", "invalid type: string \"x\", expected a table");
        check(
            "invalid type: integer `99999999999999999999` as i128, expected u64",
            "invalid type: integer `99999999999999999999`, expected a whole number, 0 or more",
        );
    }
}
