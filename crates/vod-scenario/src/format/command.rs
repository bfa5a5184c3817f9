//! The command of a client that is not ours: words as a shell would split them, with places to be filled in.

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::near::nearest;

/// A command that is put in the place of our client, such as `php upload.php {file} {endpoint}`.
///
/// It is split into words as a shell would split them, and run without a shell: pipes and variables need `sh -c '…'`.
/// `{{name}}` stands for the letters `{name}`, and braces around anything else than lower-case letters for themselves.
///
/// A word that names a file, seen from where the command was written, is handed over with its whole path, for the
/// client runs in a directory of its own. The first word is looked up on `PATH`, unless it has a slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCommand {
    text: String,
    words: Vec<Vec<Piece>>,
    /// Where relative paths in it begin.
    here: PathBuf,
}

/// What a word is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Place(Place),
}

/// Something that is filled in when the client is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The file to upload, with its whole path.
    File,
    /// Where the mock listens, as `http://127.0.0.1:PORT`.
    Endpoint,
    /// The file's name alone.
    Name,
    /// `server`, `ugc` or `legacy`.
    Family,
    /// `documented` or `observed`.
    Dialect,
    /// In bytes.
    PartSize,
    /// How many parts are under way at a time.
    Parallel,
    /// How often one request is sent at most.
    Attempts,
    /// In seconds.
    StallTimeout,
    /// The id of the video whose cover the file is; empty if it is none.
    CoverOf,
    /// A number for the client's dice.
    Seed,
    /// The directory of the scenario's file, or the one in which the command line was typed.
    Here,
}

impl Place {
    const ALL: [(&'static str, Self); 12] = [
        ("file", Self::File),
        ("endpoint", Self::Endpoint),
        ("name", Self::Name),
        ("family", Self::Family),
        ("dialect", Self::Dialect),
        ("part-size", Self::PartSize),
        ("parallel", Self::Parallel),
        ("attempts", Self::Attempts),
        ("stall-timeout", Self::StallTimeout),
        ("cover-of", Self::CoverOf),
        ("seed", Self::Seed),
        ("here", Self::Here),
    ];

    fn named(name: &str) -> Result<Self, CommandError> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, place)| *place).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|(known, _)| (*known).to_owned()).collect();
            CommandError::Unknown {
                near: nearest(name, known.iter().map(String::as_str)).map(str::to_owned),
                name: name.to_owned(),
                known: known.join("}, {"),
            }
        })
    }
}

/// A command that cannot be run as it is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// It has no word.
    #[error(
        "the command is empty: expected a program and what it is handed, such as 'php upload.php {{file}} {{endpoint}}'"
    )]
    Empty,
    /// A quotation mark opens and nothing closes it, or the last letter is a backslash.
    #[error("the command ends within quotation marks or behind a backslash")]
    Unclosed,
    /// Nobody fills this in.
    #[error(
        "unknown placeholder {{{name}}}{}; expected one of {{{known}}}; {{{{{name}}}}} stands for the letters",
        .near.as_ref().map(|near| format!(": did you mean {{{near}}}?")).unwrap_or_default()
    )]
    Unknown {
        /// What stands in the braces.
        name: String,
        /// The nearest name that there is.
        near: Option<String>,
        /// All names that there are.
        known: String,
    },
}

impl FromStr for ClientCommand {
    type Err = CommandError;

    fn from_str(text: &str) -> Result<Self, CommandError> {
        let split = shlex::split(text).ok_or(CommandError::Unclosed)?;
        if split.first().is_none_or(String::is_empty) {
            return Err(CommandError::Empty);
        }
        let words: Result<_, _> = split.iter().map(|word| pieces(word)).collect();
        Ok(Self { text: text.to_owned(), words: words?, here: PathBuf::from(".") })
    }
}

/// Takes a word apart.
fn pieces(word: &str) -> Result<Vec<Piece>, CommandError> {
    let (mut pieces, mut text, mut rest) = (Vec::new(), String::new(), word);
    while let Some(at) = rest.find('{') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some((name, behind)) = rest.strip_prefix("{{").and_then(|inner| enclosed(inner, "}}")) {
            text.push_str(&format!("{{{name}}}"));
            rest = behind;
        } else if let Some((name, behind)) = enclosed(&rest[1..], "}") {
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            pieces.push(Piece::Place(Place::named(name)?));
            rest = behind;
        } else {
            text.push('{');
            rest = &rest[1..];
        }
    }
    text.push_str(rest);
    if !text.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}

/// A name and what follows its closing braces, if that is what stands here.
fn enclosed<'a>(text: &'a str, closing: &str) -> Option<(&'a str, &'a str)> {
    let (name, behind) = text.split_once(closing)?;
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    is_name(name).then_some((name, behind))
}

impl ClientCommand {
    /// The same, with relative paths beginning in another directory.
    #[must_use]
    pub fn written_in(self, here: &Path) -> Self {
        let here = if here.as_os_str().is_empty() { Path::new(".") } else { here };
        Self { here: std::path::absolute(here).unwrap_or_else(|_| here.to_owned()), ..self }
    }

    /// Where relative paths in it begin.
    pub(crate) fn here(&self) -> &Path {
        &self.here
    }

    /// The program and what it is handed, everything filled in.
    pub(crate) fn filled_in(&self, value: impl Fn(Place) -> OsString) -> Vec<OsString> {
        self.words.iter().enumerate().map(|(at, word)| self.word(at, word, &value)).collect()
    }

    fn word(&self, at: usize, word: &[Piece], value: &impl Fn(Place) -> OsString) -> OsString {
        if let [Piece::Text(text)] = word {
            let path = self.here.join(text);
            let looked_up = at == 0 && !text.contains('/');
            return if !looked_up && path.is_file() { path.into() } else { text.into() };
        }
        let mut filled = OsString::new();
        for piece in word {
            match piece {
                Piece::Text(text) => filled.push(text),
                Piece::Place(Place::Here) => filled.push(&self.here),
                Piece::Place(place) => filled.push(value(*place)),
            }
        }
        filled
    }

    /// One word for a shell that makes this command of it again.
    pub(crate) fn quoted(&self) -> String {
        shlex::try_quote(&self.text).map_or_else(|_| self.text.clone(), std::borrow::Cow::into_owned)
    }
}

/// As it was written.
impl fmt::Display for ClientCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for ClientCommand {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Serialize for ClientCommand {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, words: &[&str]) {
        let command: ClientCommand = text.parse().unwrap();
        let filled = command.filled_in(|place| format!("<{place:?}>").into());
        assert_eq!(filled, words, "{text}");
    }

    #[test]
    fn words_are_split_as_a_shell_splits_them_and_places_are_filled_in() {
        check("php up.php {file} {endpoint}", &["php", "up.php", "<File>", "<Endpoint>"]);
        check("a 'b c' \"d {name}\" e\\ f ''", &["a", "b c", "d <Name>", "e f", ""]);
        check("a --size={part-size}x{parallel} {cover-of}", &["a", "--size=<PartSize>x<Parallel>", "<CoverOf>"]);
        check("sh -c 'cd {here}; exec up \"$1\"' - {file}", &["sh", "-c", "cd .; exec up \"$1\"", "-", "<File>"]);
    }

    #[test]
    fn braces_that_mean_something_else_stay_as_they_are() {
        check("sh -c 'echo ${HOME} {} {a b} {1} {'", &["sh", "-c", "echo ${HOME} {} {a b} {1} {"]);
        check("sh -c 'x=1; echo ${{x}} {{file}}'", &["sh", "-c", "x=1; echo ${x} {file}"]);
    }

    #[test]
    fn what_cannot_be_run_is_refused_and_what_was_meant_is_named() {
        let error = |text: &str| text.parse::<ClientCommand>().unwrap_err().to_string();
        assert!(error("up {endpiont}").starts_with("unknown placeholder {endpiont}: did you mean {endpoint}?"));
        let far = error("up {something}");
        assert!(
            far.starts_with("unknown placeholder {something}; expected one of {file}, {endpoint}, {name}"),
            "{far}"
        );
        assert!(far.ends_with("{here}; {{something}} stands for the letters"), "{far}");
        for empty in ["", "  ", "# only a remark", "'' {file}"] {
            assert!(error(empty).starts_with("the command is empty"), "{empty:?}");
        }
        assert_eq!(error("up 'x"), "the command ends within quotation marks or behind a backslash");
    }

    #[test]
    fn a_file_of_the_place_where_it_was_written_gets_its_whole_path() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["up.php", "node"] {
            std::fs::write(dir.path().join(file), "").unwrap();
        }
        std::fs::create_dir(dir.path().join("upload")).unwrap();
        let in_dir = |file: &str| dir.path().join(file).into_os_string();
        let filled = |text: &str| {
            let command: ClientCommand = text.parse().unwrap();
            command.written_in(dir.path()).filled_in(|_| "x".into())
        };
        assert_eq!(filled("php up.php upload {file}"), ["php".into(), in_dir("up.php"), "upload".into(), "x".into()]);
        assert_eq!(filled("node ./up.php"), ["node".into(), in_dir("./up.php")], "a program is looked up on PATH");
        assert_eq!(filled("./node {here}"), [in_dir("./node"), dir.path().into()]);
    }

    #[test]
    fn it_is_quoted_so_that_a_shell_hands_it_over_as_it_was() {
        for text in ["php up.php {file}", "sh -c 'a \"b\"'"] {
            let command: ClientCommand = text.parse().unwrap();
            assert_eq!(shlex::split(&command.quoted()).unwrap(), [text]);
        }
    }
}
