//! The query of a request line: order kept, raw text kept, decoded on demand.

use std::{borrow::Cow, fmt};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What stays as it is when a value is written: the unreserved characters of RFC 3986.
const ENCODE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How a `+` is read.
///
/// Most clients write `%20` for a space; the oldest Java SDK writes `+`, and one client encodes nothing at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoding {
    /// `+` is a space, as in HTML forms.
    Form,
    /// `+` is a plus.
    Percent,
}

/// One `name=value` as it stood on the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    raw_name: String,
    raw_value: String,
}

impl Pair {
    /// The name, decoded.
    #[must_use]
    pub fn name(&self) -> Cow<'_, str> {
        decode(&self.raw_name, Decoding::Form)
    }

    /// The value, decoded.
    #[must_use]
    pub fn value(&self, decoding: Decoding) -> Cow<'_, str> {
        decode(&self.raw_value, decoding)
    }

    /// The name as it stood on the line.
    #[must_use]
    pub fn raw_name(&self) -> &str {
        &self.raw_name
    }

    /// The value as it stood on the line.
    #[must_use]
    pub fn raw_value(&self) -> &str {
        &self.raw_value
    }
}

/// Bytes that are no UTF-8 become the replacement character: a signature over them then fails, loudly.
fn decode(raw: &str, decoding: Decoding) -> Cow<'_, str> {
    if decoding == Decoding::Form && raw.contains('+') {
        let spaced = raw.replace('+', " ");
        return Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned());
    }
    percent_decode_str(raw).decode_utf8_lossy()
}

/// The parameters of a request, in the order they were sent.
///
/// ```
/// use vod_proto::Query;
///
/// let query = Query::parse("fileName=my%20video&Nonce=000562251");
/// assert_eq!(query.get("fileName").as_deref(), Some("my video"));
/// assert_eq!(query.get("Nonce").as_deref(), Some("000562251")); // never re-serialised
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    pairs: Vec<Pair>,
}

impl Query {
    /// Reads what stands behind the `?`. Any text is a query; a piece without `=` has an empty value.
    #[must_use]
    pub fn parse(raw: &str) -> Self {
        let pairs = raw
            .split('&')
            .filter(|piece| !piece.is_empty())
            .map(|piece| {
                let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
                Pair { raw_name: name.to_owned(), raw_value: value.to_owned() }
            })
            .collect();
        Self { pairs }
    }

    /// Splits a request target into its path and its query.
    #[must_use]
    pub fn split_target(target: &str) -> (&str, Self) {
        match target.split_once('?') {
            Some((path, raw)) => (path, Self::parse(raw)),
            None => (target, Self::default()),
        }
    }

    /// Appends a parameter, encoding its value.
    pub fn push(&mut self, name: &str, value: impl fmt::Display) {
        let value = value.to_string();
        self.pairs.push(Pair {
            raw_name: utf8_percent_encode(name, ENCODE).to_string(),
            raw_value: utf8_percent_encode(&value, ENCODE).to_string(),
        });
    }

    /// The first parameter of this name, form-decoded.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.pair(name).map(|pair| pair.value(Decoding::Form))
    }

    /// The first parameter of this name, as it stood on the line.
    #[must_use]
    pub fn pair(&self, name: &str) -> Option<&Pair> {
        self.pairs.iter().find(|pair| pair.name() == name)
    }

    /// The same query for whoever decodes forms, where its sender read a `+` so.
    #[must_use]
    pub fn sent_as(&self, decoding: Decoding) -> Cow<'_, Self> {
        match decoding {
            Decoding::Form => Cow::Borrowed(self),
            Decoding::Percent => Cow::Owned(Self::parse(&self.to_string().replace('+', "%2B"))),
        }
    }

    /// All parameters, in the order they were sent.
    #[must_use]
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }
}

/// Writes the query as it goes on the line, without the `?`.
impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, pair) in self.pairs.iter().enumerate() {
            let separator = if at == 0 { "" } else { "&" };
            write!(f, "{separator}{}={}", pair.raw_name, pair.raw_value)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_raw_text_survive() {
        let raw = "b=2&a=1&Signature=q%2ByY&tag.1=%E6%B5%8B&b=3&empty=&bare";
        let query = Query::parse(raw);
        assert_eq!(query.to_string(), "b=2&a=1&Signature=q%2ByY&tag.1=%E6%B5%8B&b=3&empty=&bare=");
        assert_eq!(query.get("b").as_deref(), Some("2"), "the first of a name counts");
        assert_eq!(query.get("tag.1").as_deref(), Some("测"));
    }

    #[test]
    fn a_plus_is_a_space_or_a_plus() {
        let query = Query::parse("fileName=my+test%2Bname");
        let pair = query.pair("fileName").unwrap();
        assert_eq!(pair.value(Decoding::Form), "my test+name");
        assert_eq!(pair.value(Decoding::Percent), "my+test+name");
    }

    proptest::proptest! {
        #[test]
        fn what_is_pushed_is_read_back(name in "[a-zA-Z.0-9]{1,12}", value in "\\PC{0,40}") {
            let mut query = Query::default();
            query.push(&name, &value);
            let read = Query::parse(&query.to_string());
            proptest::prop_assert_eq!(read.get(&name).unwrap(), value);
        }

        #[test]
        fn any_text_is_a_query(raw in "\\PC{0,200}") {
            for pair in Query::parse(&raw).pairs() {
                let _ = (pair.name(), pair.value(Decoding::Form), pair.value(Decoding::Percent));
            }
        }
    }
}
