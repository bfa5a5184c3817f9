//! Reads parameters one by one, by the list in [`params`](crate::params), and notes what deviates from the documents.

use std::{borrow::Cow, collections::BTreeMap};

use crate::{
    Action, FileFacts, Limits, Md5, PartSpan, Query, Sha1,
    event::{notify_url_is_valid, redacted_url},
    params::{self, Param},
    query::{Decoding, Pair},
    request::Violation,
    rules::{self, Deviation, Rule},
};

/// Characters that a file name must not have, whatever the profile. The documents also ban the pipe, in one version.
const FILE_NAME_BANNED: [char; 8] = ['\\', '/', ':', '*', '?', '"', '<', '>'];

/// A query and the list of what it may say.
pub(super) struct Reader<'q> {
    pub(super) query: &'q Query,
    pub(super) list: &'static [Param],
    /// What its messages call the things that it reads.
    noun: &'static str,
    pub(super) deviations: Vec<Deviation>,
}

impl<'q> Reader<'q> {
    pub(super) const fn new(query: &'q Query, list: &'static [Param]) -> Self {
        Self { query, list, noun: "parameter", deviations: Vec::new() }
    }

    /// For the fields of an upload signature.
    pub(super) fn of_token(fields: &'q Query, list: &'static [Param]) -> Self {
        Self { noun: "the upload signature's field", ..Self::new(fields, list) }
    }

    pub(super) fn deviates(&mut self, rule: &'static Rule, found: impl Into<String>) {
        self.deviations.push(Deviation::new(rule, found));
    }

    pub(super) fn missing(&self, name: &'static str) -> Violation {
        let param = params::named(self.list, name);
        Violation::missing(param.refusal, self.noun, name, param.expected)
    }

    pub(super) fn wrong(&self, name: &'static str, value: &str) -> Violation {
        let param = params::named(self.list, name);
        Violation::wrong(param.refusal, self.noun, name, value, param.expected)
    }

    /// A wrong value, where what it must be depends on more than its name.
    pub(super) fn out_of(&self, name: &'static str, value: impl ToString, expected: &str) -> Violation {
        Violation::wrong(params::named(self.list, name).refusal, self.noun, name, &value.to_string(), expected)
    }

    pub(super) fn optional(&self, name: &'static str) -> Option<Cow<'q, str>> {
        self.query.get(name)
    }

    pub(super) fn text(&self, name: &'static str) -> Result<Cow<'q, str>, Violation> {
        self.optional(name).ok_or_else(|| self.missing(name))
    }

    pub(super) fn number(&self, name: &'static str) -> Result<u64, Violation> {
        let value = self.text(name)?;
        // Digits alone: the standard library's parser would also take a plus sign.
        let digits = value.bytes().all(|b| b.is_ascii_digit());
        value.parse().ok().filter(|_| digits).ok_or_else(|| self.wrong(name, &value))
    }

    pub(super) fn optional_number(&self, name: &'static str) -> Result<Option<u64>, Violation> {
        self.query.pair(name).map(|_| self.number(name)).transpose()
    }

    pub(super) fn flag(&self, name: &'static str) -> Result<bool, Violation> {
        match self.optional_number(name)? {
            None | Some(0) => Ok(false),
            Some(1) => Ok(true),
            Some(other) => Err(self.wrong(name, &other.to_string())),
        }
    }

    fn digest<D: std::str::FromStr>(&mut self, name: &'static str) -> Result<D, Violation> {
        let value = self.text(name)?;
        let digest = value.parse().map_err(|_| self.wrong(name, &value))?;
        if value.bytes().any(|b| b.is_ascii_uppercase()) {
            self.deviates(&rules::DIGEST_LOWER_CASE, format!("{name} is {value}"));
        }
        Ok(digest)
    }

    pub(super) fn file_sha1(&mut self, name: &'static str) -> Result<Sha1, Violation> {
        self.digest(name)
    }

    pub(super) fn part_md5(&mut self) -> Result<Md5, Violation> {
        self.digest("dataMd5")
    }

    pub(super) fn span(&self) -> Result<PartSpan, Violation> {
        Ok(PartSpan { offset: self.number("offset")?, len: self.number("dataSize")? })
    }

    pub(super) fn file_size(&self) -> Result<u64, Violation> {
        let size = self.number("fileSize")?;
        if size == 0 { Err(self.wrong("fileSize", "0")) } else { Ok(size) }
    }

    pub(super) fn file_name(&mut self, name: &'static str, limits: &Limits) -> Result<String, Violation> {
        let value = self.text(name)?;
        let len = limits.file_name_len(&value);
        if len == 0 || len > limits.file_name_max {
            let expected = format!("1 to {} {}", limits.file_name_max, limits.file_name_unit);
            return Err(self.out_of(name, value, &expected));
        }
        if value.contains(FILE_NAME_BANNED) {
            return Err(self.out_of(name, value, r#"none of \ / : * ? " < >"#));
        }
        if value.contains('|') {
            self.deviates(&rules::FILE_NAME_NO_PIPE, format!("{name} is {value:?}"));
        }
        Ok(value.into_owned())
    }

    pub(super) fn file_type(&self, name: &'static str) -> Result<String, Violation> {
        let value = self.text(name)?;
        if is_file_type(&value) { Ok(value.into_owned()) } else { Err(self.wrong(name, &value)) }
    }

    /// The tags, in order of their n. `stem` is how the documents call them here.
    pub(super) fn tags(&mut self, listed: &'static str) -> Result<Vec<String>, Violation> {
        let stem = listed.trim_end_matches(".n");
        let mut tags = BTreeMap::new();
        let mut other = None;
        for pair in self.query.pairs().filter(|pair| pair.may_begin_with(b't')) {
            let name = pair.name();
            let Some((found, index)) = params::tag_index(&name) else { continue };
            let value = pair.value(Decoding::Form);
            let wrong = || {
                let param = params::named(self.list, listed);
                Violation::wrong(param.refusal, self.noun, &name, &value, param.expected)
            };
            let index = index.parse::<u32>().ok().filter(|n| *n >= 1 && !value.is_empty()).ok_or_else(wrong)?;
            if found != stem {
                other.get_or_insert_with(|| format!("tags are named {found}.n"));
            }
            tags.entry(index).or_insert_with(|| value.into_owned());
        }
        if let Some(found) = other {
            self.deviates(&rules::TAGS_PLURAL, found);
        }
        Ok(tags.into_values().collect())
    }

    /// What the query says of the file.
    pub(super) fn facts(&mut self, limits: &Limits) -> Result<FileFacts, Violation> {
        let listed = |name: &str, list: &[Param]| list.iter().any(|param| param.name == name);
        let takes_tags = listed("tags.n", self.list);
        Ok(FileFacts {
            name: self.file_name("fileName", limits)?,
            file_type: self.file_type("fileType")?,
            tags: if takes_tags { self.tags("tags.n")? } else { Vec::new() },
            class_id: if takes_tags { self.optional_number("classId")? } else { None },
            transcode: takes_tags && self.flag("isTranscode")?,
            screenshot: takes_tags && self.flag("isScreenshot")?,
            watermark: takes_tags && self.flag("isWatermark")?,
            cover_of: if listed("extra.usage", self.list) { self.cover_of()? } else { None },
            notify_url: if listed("notifyUrl", self.list) { self.notify_url()? } else { None },
        })
    }

    /// `extra.usage` and `extra.fileId`; one client forgets the prefix.
    fn cover_of(&mut self) -> Result<Option<String>, Violation> {
        let usage = self.number_under("extra.usage", "usage")?;
        let covered = self.optional("extra.fileId").or_else(|| self.optional("fileId").filter(|_| usage.is_some()));
        let needed = params::named(self.list, "extra.usage").required;
        match (usage, covered) {
            (None, None) if !needed => Ok(None),
            (None, _) => Err(self.missing("extra.usage")),
            (Some(1), Some(id)) if !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()) => {
                Ok(Some(id.into_owned()))
            }
            (Some(1), Some(id)) => Err(self.wrong("extra.fileId", &id)),
            (Some(1), None) => Err(self.missing("extra.fileId")),
            (Some(other), _) => Err(self.wrong("extra.usage", &other.to_string())),
        }
    }

    fn number_under(&mut self, name: &'static str, bare: &'static str) -> Result<Option<u64>, Violation> {
        if self.query.pair(name).is_some() {
            return self.optional_number(name);
        }
        let Some(value) = self.optional(bare) else { return Ok(None) };
        self.deviates(&rules::COVER_PREFIX, format!("the cover's parameter is named {bare}"));
        value.parse().map(Some).map_err(|_| self.wrong(name, &value))
    }

    fn notify_url(&self) -> Result<Option<String>, Violation> {
        match self.optional("notifyUrl") {
            Some(url) if !url.is_empty() && !notify_url_is_valid(&url) => {
                Err(self.wrong("notifyUrl", &redacted_url(&url)))
            }
            url => Ok(url.filter(|url| !url.is_empty()).map(Cow::into_owned)),
        }
    }
}

/// May this be a file's type? It becomes the end of a URL's path.
pub(super) fn is_file_type(text: &str) -> bool {
    !text.is_empty() && text.chars().all(char::is_alphanumeric)
}

/// What a request carries that no document names for its action.
pub(super) fn unknown_parameters(action: Action, query: &Query) -> impl Iterator<Item = Deviation> {
    let unknown = query.pairs().map(Pair::name).filter(move |name| !params::known(action, name));
    unknown.map(move |name| Deviation::new(&rules::KNOWN_PARAMETERS, format!("{action} carries {name}")))
}
