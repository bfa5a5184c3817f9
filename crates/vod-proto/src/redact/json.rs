//! Members of JSON objects that are secrets, found in text as it streams by: everything else stays to the letter.

use std::{borrow::Cow, ops::Deref};

use super::Redactor;

/// How long a text may be that is looked at as a whole, in bytes. Default 64 KiB: longer than any secret. Of a longer one that
/// is a secret, nothing remains either.
const TEXT_MOST: usize = 64 << 10;

/// Replaces the values of members that are secrets, wherever they stand, piece by piece.
///
/// What is no JSON passes as it is, for as long as it does not look like a member that is a secret.
pub(super) struct JsonRedaction<R> {
    redactor: R,
    at: At,
    /// A member's name was a secret's, and its value follows.
    armed: bool,
    /// How many objects and lists are open of a value that is a secret as a whole.
    within: usize,
    /// The text that is being read, without its quotation marks.
    text: Vec<u8>,
    /// What stands between it and what tells whether it is a name.
    behind: Vec<u8>,
}

/// Where in the text it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Between,
    /// In a text that may be a name, or a secret; behind a `\`, if `true`.
    Text(bool),
    /// In one that is too long for either, and passes.
    Passing(bool),
    /// In one that is too long, and a secret.
    Dropping(bool),
    /// Behind a text: is it a name?
    Behind,
    /// In a number or a word.
    Word,
}

impl<R: Deref<Target = Redactor>> JsonRedaction<R> {
    /// At the beginning of a text.
    pub(super) const fn new(redactor: R) -> Self {
        Self { redactor, at: At::Between, armed: false, within: 0, text: Vec::new(), behind: Vec::new() }
    }

    /// All of a text that is there as a whole.
    pub(super) fn whole(redactor: R, text: &str) -> String {
        let mut out = Vec::with_capacity(text.len());
        let mut redaction = Self::new(redactor);
        redaction.push(text.as_bytes(), &mut out);
        redaction.finish(&mut out);
        // Whole texts were put in the place of whole texts.
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Takes in a piece, and writes what is known to be no secret, or what stands for it. The rest follows later.
    pub(super) fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let mut rest = piece;
        while let Some(&byte) = rest.first() {
            let mut taken = 1;
            match self.at {
                At::Between => taken = self.between(byte, rest, out),
                At::Text(escaped) => self.in_text(byte, escaped, out),
                At::Passing(escaped) => {
                    out.push(byte);
                    self.at =
                        if !escaped && byte == b'"' { At::Between } else { At::Passing(!escaped && byte == b'\\') };
                }
                At::Dropping(escaped) => {
                    if !escaped && byte == b'"' {
                        self.text_ended();
                    } else {
                        self.at = At::Dropping(!escaped && byte == b'\\');
                    }
                }
                At::Behind => taken = self.behind(byte, out),
                At::Word => {
                    if byte.is_ascii_alphanumeric() || b"+-.".contains(&byte) {
                        self.text.push(byte);
                        self.text.truncate(TEXT_MOST);
                    } else {
                        taken = 0;
                        self.word_ended(out);
                    }
                }
            }
            rest = &rest[taken..];
        }
    }

    /// There is nothing more. What was cut off is no less a secret.
    pub(super) fn finish(mut self, out: &mut Vec<u8>) {
        match self.at {
            At::Text(_) if self.is_secret() => {
                out.push(b'"');
                self.push_placeholder(out);
            }
            At::Text(_) => {
                out.push(b'"');
                out.append(&mut self.text);
            }
            At::Dropping(_) => {
                out.push(b'"');
                self.push_placeholder(out);
            }
            At::Behind => self.value_ended(out),
            At::Word => self.word_ended(out),
            At::Between | At::Passing(_) => {}
        }
    }

    const fn is_secret(&self) -> bool {
        self.armed || self.within > 0
    }

    fn between(&mut self, byte: u8, rest: &[u8], out: &mut Vec<u8>) -> usize {
        match byte {
            b'"' => self.at = At::Text(false),
            b'{' | b'[' if self.is_secret() => {
                out.push(byte);
                self.armed = false;
                self.within += 1;
            }
            b'}' | b']' if self.within > 0 => {
                out.push(byte);
                self.within -= 1;
            }
            _ if self.is_secret() && (byte.is_ascii_alphanumeric() || byte == b'-') => {
                self.at = At::Word;
                return 0;
            }
            _ if self.is_secret() => out.push(byte),
            _ => {
                // Nothing but a text is of any interest.
                let len = memchr::memchr(b'"', rest).unwrap_or(rest.len());
                out.extend_from_slice(&rest[..len]);
                return len;
            }
        }
        1
    }

    fn in_text(&mut self, byte: u8, escaped: bool, out: &mut Vec<u8>) {
        if !escaped && byte == b'"' {
            return self.text_ended();
        }
        self.text.push(byte);
        let escaped = !escaped && byte == b'\\';
        self.at = match (self.text.len() < TEXT_MOST, self.is_secret()) {
            (true, _) => At::Text(escaped),
            (false, true) => At::Dropping(escaped),
            (false, false) => {
                out.push(b'"');
                out.append(&mut self.text);
                At::Passing(escaped)
            }
        };
    }

    fn text_ended(&mut self) {
        self.at = At::Behind;
    }

    fn behind(&mut self, byte: u8, out: &mut Vec<u8>) -> usize {
        if byte.is_ascii_whitespace() && self.behind.len() < TEXT_MOST {
            self.behind.push(byte);
            return 1;
        }
        self.at = At::Between;
        if byte != b':' {
            self.value_ended(out);
            return 0;
        }
        // Within a secret every value is one, whatever its name.
        self.armed = self.within == 0 && self.redactor.is_secret_field(&self.decoded());
        out.push(b'"');
        out.append(&mut self.text);
        out.push(b'"');
        out.append(&mut self.behind);
        out.push(b':');
        1
    }

    /// The text was no name.
    fn value_ended(&mut self, out: &mut Vec<u8>) {
        out.push(b'"');
        if self.is_secret() && !self.text.is_empty() {
            self.push_placeholder(out);
        } else {
            out.append(&mut self.text);
        }
        out.push(b'"');
        out.append(&mut self.behind);
        self.armed = false;
    }

    fn word_ended(&mut self, out: &mut Vec<u8>) {
        self.at = At::Between;
        if matches!(&*self.text, b"null" | b"true" | b"false") {
            out.append(&mut self.text);
        } else {
            out.push(b'"');
            self.push_placeholder(out);
            out.push(b'"');
        }
        self.armed = false;
    }

    fn push_placeholder(&mut self, out: &mut Vec<u8>) {
        let placeholder = self.redactor.value(&self.decoded());
        self.text.clear();
        out.extend_from_slice(placeholder.as_bytes());
    }

    /// The text as it reads, so that no escape hides what it says.
    fn decoded(&self) -> Cow<'_, str> {
        let raw = String::from_utf8_lossy(&self.text);
        if !raw.contains('\\') {
            return raw;
        }
        match serde_json::from_str(&format!("\"{raw}\"")) {
            Ok(decoded) => Cow::Owned(decoded),
            Err(_) => raw,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::redact::{Redactor, Rules};

    use super::*;

    fn redactor() -> Redactor {
        Redactor::with_rules([7; 32], Rules { fields: vec!["sessionKey".to_owned()], ..Rules::default() })
    }

    fn check(text: &str, expected: &str) {
        let redactor = redactor();
        assert_eq!(JsonRedaction::whole(&redactor, text), expected);
        // The same in pieces of any size.
        for size in 1..text.len().max(2) {
            let redactor = self::redactor();
            let (mut redaction, mut out) = (JsonRedaction::new(&redactor), Vec::new());
            text.as_bytes().chunks(size).for_each(|piece| redaction.push(piece, &mut out));
            redaction.finish(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "in pieces of {size}");
        }
    }

    #[test]
    fn members_that_are_secrets_lose_their_value_and_all_else_stays_to_the_letter() {
        check(
            r#"{"code":0, "message" : "no \"error\"", "n":1.50}"#,
            r#"{"code":0, "message" : "no \"error\"", "n":1.50}"#,
        );
        check(
            r#"{ "data": [{"Token" : "abc" , "x":"abc"}, {"secretId":"abc","token":"d"}] }"#,
            r#"{ "data": [{"Token" : "redacted-n1" , "x":"abc"}, {"secretId":"redacted-n1","token":"redacted-n2"}] }"#,
        );
        check(r#"{"sessionKey":"s","sessionkey":"t"}"#, r#"{"sessionKey":"redacted-n1","sessionkey":"redacted-n2"}"#);
    }

    #[test]
    fn numbers_lists_and_objects_are_secrets_too_and_nothing_is_not() {
        check(r#"{"token":-12.5e3,"a":1}"#, r#"{"token":"redacted-n1","a":1}"#);
        check(r#"{"token":null,"signature":true,"secretKey":""}"#, r#"{"token":null,"signature":true,"secretKey":""}"#);
        check(
            r#"{"token":{"a":["x",7,{"b":"x"}],"c":"y"},"d":"x"}"#,
            r#"{"token":{"a":["redacted-n1","redacted-n2",{"b":"redacted-n1"}],"c":"redacted-n3"},"d":"x"}"#,
        );
    }

    #[test]
    fn no_escape_and_no_end_hides_a_secret() {
        check(r#"{"tok\u0065n":"\u0061bc","token":"abc"}"#, r#"{"tok\u0065n":"redacted-n1","token":"redacted-n1"}"#);
        check(r#"{"token":"ab"#, r#"{"token":"redacted-n1"#);
        check(r#"{"token":12"#, r#"{"token":"redacted-n1""#);
        check(r#"{"message":"ab"#, r#"{"message":"ab"#);
        check(r#"{"token""#, r#"{"token""#);
    }

    #[test]
    fn what_is_no_json_passes() {
        for text in [
            "",
            "\"",
            "<html lang=\"en\">token: abc</html>",
            "plain",
            "}}]]\"\"::",
            "\\\"a\\\"token\":",
            "{\"token\" \"a\"}",
        ] {
            check(text, text);
        }
    }

    #[test]
    fn a_text_longer_than_any_secret_passes_or_is_wholly_lost() {
        let long = "x".repeat(TEXT_MOST + 10);
        let text = format!(r#"{{"message":"{long}","token":"{long}","a":"b"}}"#);
        let redacted = redactor().json(&text).into_owned();
        assert!(redacted.starts_with(&format!(r#"{{"message":"{long}","token":"redacted-"#)), "{}", redacted.len());
        assert!(redacted.ends_with(r#"","a":"b"}"#) && redacted.len() < TEXT_MOST + 100, "{}", redacted.len());
    }
}
