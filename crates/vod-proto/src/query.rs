//! The query of a request line: order kept, raw text kept, decoded on demand.

use std::{borrow::Cow, fmt, ops::Range};

use memchr::{memchr, memchr_iter, memchr2, memchr2_iter};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What stays as it is when a value is written: the unreserved characters of RFC 3986.
pub(crate) const ENCODE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

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
#[derive(Clone, Copy)]
pub struct Pair<'q> {
    /// The text that it stands in.
    text: &'q str,
    span: &'q Span,
}

/// Where a pair lies in a text: its name up to `equals`, its value from `value` to `end`.
#[derive(Clone, Copy)]
struct Span {
    start: usize,
    equals: usize,
    value: usize,
    end: usize,
    plain: Plain,
    sketch: Sketch,
}

/// What tells most names apart without a look at the text: one bit of 64, by length, first and last byte.
/// The sketches of many names are all their bits. A name that must be decoded may be any: it has every bit.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Sketch(u64);

impl Sketch {
    const ANY: Self = Self(u64::MAX);

    fn of(name: &[u8]) -> Self {
        let (first, last) = (name.first().copied().unwrap_or(0), name.last().copied().unwrap_or(0));
        // Odd factors, so that the names of the protocol fall on few common bits.
        let mixed = name.len().wrapping_mul(9) ^ usize::from(first).wrapping_mul(41) ^ usize::from(last);
        Self(1 << (mixed % 64))
    }

    const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    const fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl Span {
    fn new(raw: &str, [start, equals, value, end]: [usize; 4], plain: Plain) -> Self {
        let sketch = if plain.name { Sketch::of(&raw.as_bytes()[start..equals]) } else { Sketch::ANY };
        Self { start, equals, value, end, plain, sketch }
    }
}

/// Which half of a pair is read as it stands, whatever the decoding: there is neither `%` nor `+` in it.
#[derive(Clone, Copy)]
struct Plain {
    name: bool,
    value: bool,
}

impl<'q> Pair<'q> {
    /// The name, decoded.
    #[must_use]
    pub fn name(self) -> Cow<'q, str> {
        if self.span.plain.name { Cow::Borrowed(self.raw_name()) } else { decode(self.raw_name(), Decoding::Form) }
    }

    /// May the name begin with this byte, decoded? Most names that do not are told so at no cost.
    pub(crate) fn may_begin_with(self, byte: u8) -> bool {
        !self.span.plain.name || self.text.as_bytes().get(self.span.start) == Some(&byte)
    }

    /// The value, decoded.
    #[must_use]
    pub fn value(self, decoding: Decoding) -> Cow<'q, str> {
        if self.span.plain.value { Cow::Borrowed(self.raw_value()) } else { decode(self.raw_value(), decoding) }
    }

    /// Is the value read in one way as form and in another as percent-encoded text?
    #[must_use]
    pub fn has_plus(self) -> bool {
        !self.span.plain.value && self.raw_value().contains('+')
    }

    /// The name as it stood on the line.
    #[must_use]
    pub fn raw_name(self) -> &'q str {
        &self.text[self.span.start..self.span.equals]
    }

    /// The value as it stood on the line.
    #[must_use]
    pub fn raw_value(self) -> &'q str {
        &self.text[self.span.value..self.span.end]
    }
}

impl fmt::Debug for Pair<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pair").field(&self.raw_name()).field(&self.raw_value()).finish()
    }
}

impl PartialEq for Pair<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.raw_name(), self.raw_value()) == (other.raw_name(), other.raw_value())
    }
}

impl Eq for Pair<'_> {}

fn is_plain(raw: &str) -> bool {
    memchr2(b'%', b'+', raw.as_bytes()).is_none()
}

/// Finds the pairs of a text.
fn spans(raw: &str) -> impl Iterator<Item = Span> {
    let bytes = raw.as_bytes();
    let mut coded = memchr2_iter(b'%', b'+', bytes).peekable();
    let mut is_plain_to = move |end| {
        let mut plain = true;
        while coded.next_if(|at| *at < end).is_some() {
            plain = false;
        }
        plain
    };
    let mut start = 0;
    memchr_iter(b'&', bytes).chain([bytes.len()]).filter_map(move |end| {
        let start = std::mem::replace(&mut start, end + 1);
        if start == end {
            return None;
        }
        let (equals, value) = memchr(b'=', &bytes[start..end]).map_or((end, end), |at| (start + at, start + at + 1));
        let plain = Plain { name: is_plain_to(equals), value: is_plain_to(end) };
        Some(Span::new(raw, [start, equals, value, end], plain))
    })
}

/// Bytes that are no UTF-8 become the replacement character: a signature over them then fails, loudly.
fn decode(raw: &str, decoding: Decoding) -> Cow<'_, str> {
    if decoding == Decoding::Form && raw.contains('+') {
        let spaced = raw.replace('+', " ");
        return Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned());
    }
    // With room for all of it: the iterator cannot tell how much comes.
    let mut bytes = Vec::with_capacity(raw.len());
    bytes.extend(percent_decode_str(raw));
    Cow::Owned(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
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
#[derive(Clone, Default)]
pub struct Query {
    /// What stood behind the `?`.
    raw: String,
    /// Where in it the pairs lie.
    spans: Vec<Span>,
    /// Their names: most that are asked for are in no query.
    names: Sketch,
}

/// How many parameters an ordinary request has at most. One that has more makes room for them as they come.
const ORDINARY: usize = 16;

impl Query {
    /// Reads what stands behind the `?`. Any text is a query; a piece without `=` has an empty value.
    #[must_use]
    pub fn parse(raw: &str) -> Self {
        let (mut spans, mut names) = (Vec::with_capacity(ORDINARY), Sketch::default());
        spans.extend(self::spans(raw).inspect(|span| names.add(span.sketch)));
        Self { raw: raw.to_owned(), spans, names }
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
        if !self.spans.is_empty() {
            self.raw.push('&');
        }
        let start = self.raw.len();
        self.raw.extend(utf8_percent_encode(name, ENCODE));
        let equals = self.raw.len();
        self.raw.push('=');
        self.raw.extend(utf8_percent_encode(&value.to_string(), ENCODE));
        let (value, end) = (equals + 1, self.raw.len());
        let plain = Plain { name: is_plain(&self.raw[start..equals]), value: is_plain(&self.raw[value..]) };
        let span = Span::new(&self.raw, [start, equals, value, end], plain);
        self.names.add(span.sketch);
        self.spans.push(span);
    }

    /// The first parameter of this name, form-decoded.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.pair(name).map(|pair| pair.value(Decoding::Form))
    }

    /// The first parameter of this name, as it stood on the line.
    #[must_use]
    pub fn pair(&self, name: &str) -> Option<Pair<'_>> {
        let (text, sketch) = (self.raw.as_str(), Sketch::of(name.as_bytes()));
        if !self.names.has(sketch) {
            return None;
        }
        let found = self.spans.iter().find(|span| span.sketch.has(sketch) && Pair { text, span }.name() == name);
        found.map(|span| Pair { text, span })
    }

    /// The same query for whoever decodes forms, where its sender read a `+` so.
    #[must_use]
    pub fn sent_as(&self, decoding: Decoding) -> Cow<'_, Self> {
        match decoding {
            Decoding::Form => Cow::Borrowed(self),
            Decoding::Percent => Cow::Owned(Self::parse(&self.raw.replace('+', "%2B"))),
        }
    }

    /// All parameters, in the order they were sent.
    pub fn pairs(&self) -> impl ExactSizeIterator<Item = Pair<'_>> + Clone {
        self.spans.iter().map(|span| Pair { text: &self.raw, span })
    }

    /// May a name have an underscore in it?
    pub(crate) fn has_underscore(&self) -> bool {
        memchr(b'_', self.raw.as_bytes()).is_some() || self.spans.iter().any(|span| !span.plain.name)
    }

    /// How long the text is that was read.
    pub(crate) const fn raw_len(&self) -> usize {
        self.raw.len()
    }

    /// All parameters, each with the place of its value in the text that was read.
    pub(crate) fn placed(&self) -> impl Iterator<Item = (Pair<'_>, Range<usize>)> {
        self.pairs().map(|pair| (pair, pair.span.value..pair.span.end))
    }
}

/// Two queries are the same if they have the same pairs in the same order, as they stood on the line.
impl PartialEq for Query {
    fn eq(&self, other: &Self) -> bool {
        self.pairs().eq(other.pairs())
    }
}

impl Eq for Query {}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.pairs().map(|pair| (pair.raw_name(), pair.raw_value()))).finish()
    }
}

/// Writes the query as it goes on the line, without the `?`.
impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, pair) in self.pairs().enumerate() {
            let separator = if at == 0 { "" } else { "&" };
            write!(f, "{separator}{}={}", pair.raw_name(), pair.raw_value())?;
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

    #[test]
    fn queries_are_the_same_by_their_pairs_whatever_stands_between_them() {
        let mut written = Query::parse("&&a=1&");
        written.push("b", "x y");
        assert_eq!(written, Query::parse("a=1&b=x%20y"));
        assert_eq!(written.to_string(), "a=1&b=x%20y");
        assert_ne!(written, Query::parse("a=1&b=x+y"), "the raw text counts");
        assert_ne!(written, Query::parse("b=x%20y&a=1"), "the order counts");
    }

    /// What a pair is, by the letter: nothing known beforehand of what is plain.
    fn read_naively(raw: &str, decoding: Decoding) -> Vec<(String, String)> {
        let pieces = raw.split('&').filter(|piece| !piece.is_empty());
        let pairs = pieces.map(|piece| piece.split_once('=').unwrap_or((piece, "")));
        let read = |text: &str, decoding| {
            let text = if decoding == Decoding::Form { text.replace('+', " ") } else { text.to_owned() };
            percent_decode_str(&text).decode_utf8_lossy().into_owned()
        };
        pairs.map(|(name, value)| (read(name, Decoding::Form), read(value, decoding))).collect()
    }

    proptest::proptest! {
        #[test]
        fn every_pair_is_read_whether_it_needs_decoding_or_not(raw in "([a-c%+=&2é]|%2[5-7B]|%3D){0,40}") {
            let query = Query::parse(&raw);
            for decoding in [Decoding::Form, Decoding::Percent] {
                let expected = read_naively(&raw, decoding);
                let read = query.pairs().map(|pair| (pair.name().into_owned(), pair.value(decoding).into_owned()));
                proptest::prop_assert_eq!(read.collect::<Vec<_>>(), expected.clone());
                for (name, _) in &expected {
                    let first = expected.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
                    let found = query.pair(name).map(|pair| pair.value(decoding));
                    proptest::prop_assert_eq!(found.as_deref(), first);
                }
            }
        }

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
