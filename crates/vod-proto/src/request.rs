//! Requests as types, read from and written to the query.
//!
//! - [`common`]: what every signed request carries.
//! - [`claims`]: what a request says it is about, before anything of it is checked.
//! - `read`, `token`: how parameters, and the fields of an upload signature, are read.

pub mod claims;
pub mod common;
mod read;
mod token;

pub use claims::Claims;
pub use common::CommonParams;
pub use token::{SentSignature, TokenTerms, sign_token};

use self::read::Reader;
use crate::{
    Action, Code, Family, FileFacts, Limits, Md5, PartSpan, Query, Sha1,
    action::Role,
    params,
    rules::{self, Deviation},
};

/// A parameter that breaks a rule no profile forgives.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Violation {
    /// What the server answers.
    pub code: Code,
    /// Names the parameter, its value and the rule.
    pub message: String,
}

impl Violation {
    fn missing(code: Code, noun: &str, name: &str, expected: &str) -> Self {
        Self { code, message: format!("{noun} {name} is missing: expected {expected}") }
    }

    fn wrong(code: Code, noun: &str, name: &str, value: &str, expected: &str) -> Self {
        let value: String = value.chars().take(80).collect();
        Self { code, message: format!("{noun} {name} is {value:?}: expected {expected}") }
    }
}

/// `InitUpload` and `InitUploadEx`: what the file is and how it will be cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitUpload {
    /// What is said of the file.
    pub facts: FileFacts,
    /// `fileSha`: the upload's identity within its account.
    pub file_sha1: Sha1,
    /// `fileSize` in bytes, at least 1.
    pub file_size: u64,
    /// `dataSize` in bytes: the grid, 524,288 to 1,048,576.
    pub part_size: u64,
}

/// `UploadPart` and `UploadPartEx`: one part, whose bytes are the request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadPart {
    /// `fileSha`: which upload.
    pub file_sha1: Sha1,
    /// `offset` and `dataSize`.
    pub span: PartSpan,
    /// `dataMd5`, of this part.
    pub part_md5: Md5,
}

/// `FinishUpload` and `FinishUploadEx`: put the parts together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishUpload {
    /// `fileSha`: which upload.
    pub file_sha1: Sha1,
}

/// `MultipartUploadVodFile`: the part that the server wants next, whose bytes are the request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextPart {
    /// What is said of the file; heard with the first part alone.
    pub facts: FileFacts,
    /// `fileSha`: the upload's identity within its account.
    pub file_sha1: Sha1,
    /// `fileSize` in bytes, at least 1.
    pub file_size: u64,
    /// `offset` and `dataSize`.
    pub span: PartSpan,
}

impl NextPart {
    /// Is it the last part of the file?
    #[must_use]
    pub const fn is_last(&self) -> bool {
        self.span.end() == self.file_size
    }
}

/// `SmallFileUpload`: a whole small file, whose bytes are the request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmallFile {
    /// What is said of the file.
    pub facts: FileFacts,
    /// `fileSha`.
    pub file_sha1: Sha1,
    /// `fileSize` in bytes, at least 1.
    pub file_size: u64,
}

impl SmallFile {
    /// Is the action there for such a file: a cover, and small enough?
    #[must_use]
    pub const fn takes(facts: &FileFacts, file_size: u64, limits: &Limits) -> bool {
        facts.cover_of.is_some() && file_size <= limits.small_file_max
    }
}

/// A request. Which family it is of is for its action, and whoever writes it, to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Open or resume.
    Init(InitUpload),
    /// Send a part.
    Part(UploadPart),
    /// Put together.
    Finish(FinishUpload),
    /// Send the part that the server wants next.
    Next(NextPart),
    /// Send a whole small file.
    Whole(SmallFile),
    /// Tell how an upload went: of which file, where that is said.
    Report(Option<Sha1>),
}

/// A request and what deviates from the documents in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// What is asked.
    pub request: Request,
    /// What the documents would have had otherwise.
    pub deviations: Vec<Deviation>,
}

impl Request {
    /// Which action this is, in a family.
    #[must_use]
    pub const fn action(&self, family: Family) -> Action {
        match self {
            Self::Init(_) => family.open(),
            Self::Part(_) => family.part(),
            Self::Finish(_) => family.finish(),
            Self::Next(_) => Action::MultipartUploadVodFile,
            Self::Whole(_) => Action::SmallFileUpload,
            Self::Report(_) => Action::Report,
        }
    }

    /// Which upload it belongs to, within its account.
    #[must_use]
    pub const fn file_sha1(&self) -> Option<Sha1> {
        match self {
            Self::Init(init) => Some(init.file_sha1),
            Self::Part(part) => Some(part.file_sha1),
            Self::Finish(finish) => Some(finish.file_sha1),
            Self::Next(next) => Some(next.file_sha1),
            Self::Whole(whole) => Some(whole.file_sha1),
            Self::Report(file_sha1) => *file_sha1,
        }
    }

    /// Reads the parameters of an action. An upload signature is read for what it says; whether it holds is not asked.
    ///
    /// # Errors
    /// Names the parameter, its value and the rule it breaks.
    pub fn from_query(action: Action, query: &Query, limits: &Limits) -> Result<Parsed, Violation> {
        let mut reader = Reader::new(query, params::of(action));
        reader.deviations.extend(read::unknown_parameters(action, query));
        let token = match action.family() {
            Family::Ugc => Some(token::read(&mut reader, action)?),
            Family::Server | Family::Legacy => None,
        };
        let request = match action.role() {
            Role::Report => {
                reader.deviates(&rules::KNOWN_ACTIONS, "no document names the action Report");
                Self::Report(query.get("fileSha").and_then(|sha| sha.parse().ok()))
            }
            Role::Next => Self::Next(read_next(&mut reader, limits)?),
            Role::Whole => Self::Whole(read_small_file(&mut reader, limits)?),
            role => {
                let file_sha1 = match &token {
                    Some(token) => token::file_sha1(&mut reader, token, action)?,
                    None => reader.file_sha1("fileSha")?,
                };
                match role {
                    Role::Open => {
                        let (file_size, part_size) = (reader.file_size()?, grid(&mut reader, action, limits)?);
                        let facts = match &token {
                            Some(token) => token::facts(&mut reader, token, limits)?,
                            None => reader.facts(limits)?,
                        };
                        Self::Init(InitUpload { facts, file_sha1, file_size, part_size })
                    }
                    Role::Part => {
                        let span = reader.span()?;
                        Self::Part(UploadPart { file_sha1, span, part_md5: reader.part_md5()? })
                    }
                    _ => Self::Finish(FinishUpload { file_sha1 }),
                }
            }
        };
        Ok(Parsed { request, deviations: reader.deviations })
    }

    /// Writes the action and its parameters, in the order of the documents. What an upload signature says of the file
    /// is not repeated: it stands there alone.
    #[must_use]
    pub fn to_query(&self, family: Family) -> Query {
        let mut query = Query::default();
        query.push("Action", self.action(family));
        let in_query = family != Family::Ugc;
        match self {
            Self::Init(init) => {
                if in_query {
                    query.push("fileName", &init.facts.name);
                }
                query.push("fileSha", init.file_sha1);
                query.push("fileSize", init.file_size);
                query.push("dataSize", init.part_size);
                if in_query {
                    push_facts(&mut query, &init.facts);
                }
            }
            Self::Part(part) => {
                query.push("fileSha", part.file_sha1);
                query.push("offset", part.span.offset);
                query.push("dataSize", part.span.len);
                query.push("dataMd5", part.part_md5);
            }
            Self::Finish(finish) => query.push("fileSha", finish.file_sha1),
            Self::Next(next) => {
                query.push("fileName", &next.facts.name);
                query.push("fileSha", next.file_sha1);
                query.push("fileSize", next.file_size);
                query.push("dataSize", next.span.len);
                query.push("offset", next.span.offset);
                push_facts(&mut query, &next.facts);
                if let Some(url) = &next.facts.notify_url {
                    query.push("notifyUrl", url);
                }
            }
            Self::Whole(whole) => {
                query.push("fileName", &whole.facts.name);
                query.push("fileSha", whole.file_sha1);
                query.push("fileSize", whole.file_size);
                query.push("dataSize", whole.file_size);
                push_facts(&mut query, &whole.facts);
            }
            Self::Report(file_sha1) => {
                if let Some(file_sha1) = file_sha1 {
                    query.push("fileSha", file_sha1);
                }
            }
        }
        query
    }
}

/// What is said of a file, but its name, which stands first.
fn push_facts(query: &mut Query, facts: &FileFacts) {
    query.push("fileType", &facts.file_type);
    for (at, tag) in facts.tags.iter().enumerate() {
        query.push(&format!("tags.{}", at + 1), tag);
    }
    if let Some(class_id) = facts.class_id {
        query.push("classId", class_id);
    }
    let flags =
        [("isTranscode", facts.transcode), ("isScreenshot", facts.screenshot), ("isWatermark", facts.watermark)];
    for (name, _) in flags.into_iter().filter(|(_, on)| *on) {
        query.push(name, 1);
    }
    if let Some(covered) = &facts.cover_of {
        query.push("extra.usage", 1);
        query.push("extra.fileId", covered);
    }
}

/// The grid that an opening request asks for.
fn grid(reader: &mut Reader<'_>, action: Action, limits: &Limits) -> Result<u64, Violation> {
    let part_size = reader.number("dataSize")?;
    let (min, max) = (limits.part_size_min, limits.part_size_max);
    if !(min..=max).contains(&part_size) {
        return Err(reader.out_of("dataSize", part_size, &format!("{min} to {max} bytes")));
    }
    if action.family() == Family::Ugc && part_size != min && part_size != max {
        reader.deviates(&rules::UGC_PART_SIZE, format!("dataSize is {part_size}"));
    }
    Ok(part_size)
}

fn read_next(reader: &mut Reader<'_>, limits: &Limits) -> Result<NextPart, Violation> {
    let facts = reader.facts(limits)?;
    let file_sha1 = reader.file_sha1("fileSha")?;
    let (file_size, span) = (reader.file_size()?, reader.span()?);
    let PartSpan { offset, len } = span;
    let Some(end) = offset.checked_add(len).filter(|end| *end <= file_size) else {
        let message = format!("parameters offset {offset} and dataSize {len} reach beyond fileSize {file_size}");
        return Err(Violation { code: Code::LEGACY_BEYOND_FILE, message });
    };
    let (min, max, first) = (limits.part_size_min, limits.legacy_part_max, limits.legacy_first_part);
    let expected = match (offset, end == file_size) {
        (0, false) if len != first => format!("{first} bytes, as this is the first part and not the last"),
        (_, true) if len == 0 || len > max => format!("1 to {max} bytes"),
        (1.., false) if !(min..=max).contains(&len) => format!("{min} to {max} bytes, as this is not the last part"),
        _ => return Ok(NextPart { facts, file_sha1, file_size, span }),
    };
    Err(reader.out_of("dataSize", len, &expected))
}

fn read_small_file(reader: &mut Reader<'_>, limits: &Limits) -> Result<SmallFile, Violation> {
    let facts = reader.facts(limits)?;
    let file_sha1 = reader.file_sha1("fileSha")?;
    let file_size = reader.file_size()?;
    if file_size > limits.small_file_max {
        let expected = format!("1 to {} bytes; a larger file takes the three steps", limits.small_file_max);
        return Err(reader.out_of("fileSize", file_size, &expected));
    }
    let len = reader.number("dataSize")?;
    if len != file_size {
        return Err(reader.out_of("dataSize", len, &format!("the file's size again, {file_size}")));
    }
    Ok(SmallFile { facts, file_sha1, file_size })
}

#[cfg(test)]
mod tests;
