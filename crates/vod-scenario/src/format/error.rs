//! What is wrong with a file, and where.

use std::{fmt, io, ops::Range};

/// A scenario file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It could not be read.
    #[error("{file}: {source}")]
    Unreadable {
        /// Its name.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// It says something wrong.
    #[error("{0}")]
    Wrong(Place),
}

impl FileError {
    pub(super) fn wrong(file: &str, text: &str, span: Option<Range<usize>>, message: &str) -> Self {
        Self::Wrong(Place::new(file, text, span, message))
    }
}

/// A place in a text, shown with the line and a caret, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    file: String,
    at: Option<Line>,
    message: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    number: usize,
    column: usize,
    text: String,
    carets: usize,
}

impl Place {
    /// The place of a span of bytes; none for what is wrong with the file as a whole.
    #[must_use]
    pub fn new(file: &str, text: &str, span: Option<Range<usize>>, message: &str) -> Self {
        let at = span.and_then(|span| Line::at(text, span));
        Self { file: file.to_owned(), at, message: message.trim_end().to_owned() }
    }
}

impl Line {
    fn at(text: &str, span: Range<usize>) -> Option<Self> {
        let before = text.get(..span.start)?;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = text.get(start..)?.lines().next().unwrap_or("");
        let inside = text.get(span.clone())?.lines().next().unwrap_or("");
        Some(Self {
            number: before.matches('\n').count() + 1,
            column: text.get(start..span.start)?.chars().count() + 1,
            text: line.to_owned(),
            carets: inside.chars().count().max(1),
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, at, message } = self;
        let Some(Line { number, column, text, carets }) = at else { return write!(f, "{file}: {message}") };
        let margin = number.to_string().len();
        writeln!(f, "{file}:{number}:{column}: {message}")?;
        writeln!(f, "{:margin$} |", "")?;
        writeln!(f, "{number} | {text}")?;
        write!(f, "{:margin$} | {:indent$}{}", "", "", "^".repeat(*carets), indent = column - 1)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_place_shows_its_line_and_a_caret() {
        let text = "a = 1\nwhy = \"ä\" # b\n";
        let at = text.find('#').unwrap();
        expect![[r#"
            f.toml:2:11: no
              |
            2 | why = "ä" # b
              |           ^"#]]
        .assert_eq(&Place::new("f.toml", text, Some(at..at + 1), "no").to_string());
    }

    #[test]
    fn a_span_at_the_end_or_over_lines_is_shown_too() {
        let text = "a = [\n1,\n";
        expect![[r#"
            f.toml:3:1: unclosed
              |
            3 | 
              | ^"#]]
        .assert_eq(&Place::new("f.toml", text, Some(text.len()..text.len()), "unclosed").to_string());
        expect![[r#"
            f.toml:1:5: both lines
              |
            1 | a = [
              |     ^"#]]
        .assert_eq(&Place::new("f.toml", text, Some(4..8), "both lines").to_string());
    }
}
