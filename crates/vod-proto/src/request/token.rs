//! What an upload signature says, read by the list of its fields; and writing one.

use std::fmt::Display;

use super::{Reader, Violation, common::MILLISECONDS_FROM, params, read::is_file_type};
use crate::{Action, FileFacts, Limits, Query, Sha1, rules, sign::SecretKey, ugc::UploadSignature};

/// The longest life of a signature: 90 days, in seconds.
const LIFE_MAX: u64 = 90 * 86_400;

/// The upload signature that a request carries. What is refused of it is refused in the same words, whoever looks.
pub struct SentSignature {
    /// The parameter it was sent as.
    name: &'static str,
    signature: UploadSignature,
}

impl SentSignature {
    /// Finds the upload signature of a request and takes it apart.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub fn of_query(query: &Query) -> Result<Self, Violation> {
        match UploadSignature::of_query(query) {
            Some((name, Ok(signature))) => Ok(Self { name, signature }),
            Some((name, Err(error))) => Err(refused(name, error)),
            None => {
                let param = params::named(params::of(Action::InitUploadEx), PARAMETER);
                Err(Violation::missing(param.refusal, "parameter", PARAMETER, param.expected))
            }
        }
    }

    /// Whose signature it claims to be.
    ///
    /// # Errors
    /// If it does not say.
    pub fn secret_id(&self) -> Result<String, Violation> {
        self.signature.secret_id().map_err(|error| self.wrong(error))
    }

    /// The file it is for, where it names one.
    ///
    /// # Errors
    /// If what it names is no SHA-1.
    pub fn file_sha1(&self) -> Result<Option<Sha1>, Violation> {
        self.signature.file_sha1().map_err(|error| self.wrong(error))
    }

    /// When it expires, in seconds since 1970.
    ///
    /// # Errors
    /// If it does not say.
    pub fn expires(&self) -> Result<u64, Violation> {
        self.signature.expires().map_err(|error| self.wrong(error))
    }

    /// Does it hold under this key?
    #[must_use]
    pub fn holds(&self, key: &SecretKey) -> bool {
        self.signature.holds(key)
    }

    /// The refusal for what only a server can know of it. It repeats nothing of the signature: whoever has it may
    /// upload.
    #[must_use]
    pub fn wrong(&self, why: impl Display) -> Violation {
        refused(self.name, why)
    }
}

/// What the documents call the parameter.
const PARAMETER: &str = "signature";

fn refused(name: &str, why: impl Display) -> Violation {
    let code = params::named(params::of(Action::InitUploadEx), PARAMETER).refusal;
    Violation { code, message: format!("parameter {name} is wrong: {why}") }
}

/// Takes the signature of a request apart, and notes what of it deviates. Whether it holds, and until when, is for
/// whoever has the key and the clock.
pub(super) fn read(reader: &mut Reader<'_>, action: Action) -> Result<UploadSignature, Violation> {
    let sent = SentSignature::of_query(reader.query)?;
    if sent.name != PARAMETER {
        reader.deviates(&rules::SIGNATURE_NAME, format!("{action} names it {}", sent.name));
    }
    sent.secret_id()?;
    sent.file_sha1()?;
    let expires = sent.expires()?;
    let token = sent.signature;

    let absent: Vec<_> =
        params::TOKEN_FIELDS.iter().filter(|field| field.required && token.field(field.name).is_none()).collect();
    if !absent.is_empty() {
        let names: Vec<_> = absent.iter().map(|field| field.name).collect();
        reader.deviates(&rules::SIGNATURE_FIELDS, format!("the upload signature lacks {}", names.join(", ")));
    }
    if let Some(sent) = token.field("e").filter(|sent| sent.parse().is_ok_and(|at: u64| at >= MILLISECONDS_FROM)) {
        reader.deviates(&rules::EXPIRY_SECONDS, format!("the upload signature expires at {sent}, in milliseconds"));
    } else if let Some(made) = token.field("t").and_then(|made| made.parse::<u64>().ok())
        && expires > made.saturating_add(LIFE_MAX)
    {
        let life = expires - made;
        reader.deviates(
            &rules::EXPIRY_90_DAYS,
            format!("the upload signature holds for {life} s: t is {made}, e {expires}"),
        );
    }
    if let Some(random) = token.field("r")
        && (random.is_empty() || random.len() > 10 || !random.bytes().all(|b| b.is_ascii_digit()))
    {
        reader.deviates(&rules::SIGNATURE_RANDOM, format!("the upload signature's field r is {random:?}"));
    }
    if let Some(upper) = token.field("fs").filter(|sha| sha.bytes().any(|b| b.is_ascii_uppercase())) {
        reader.deviates(&rules::DIGEST_LOWER_CASE, format!("the upload signature's field fs is {upper}"));
    }
    Ok(token)
}

/// The file, by the query, by the signature, or by both if they agree.
pub(super) fn file_sha1(reader: &mut Reader<'_>, token: &UploadSignature, action: Action) -> Result<Sha1, Violation> {
    let signed = token.file_sha1().ok().flatten();
    if reader.query.pair("fileSha").is_none() {
        let Some(signed) = signed else { return Err(reader.missing("fileSha")) };
        reader.deviates(&rules::FILE_SHA_REQUIRED, format!("{action} names no fileSha; the signature's was taken"));
        return Ok(signed);
    }
    let asked = reader.file_sha1("fileSha")?;
    match signed {
        Some(signed) if signed != asked => {
            Err(reader.out_of("fileSha", asked, &format!("what the upload signature is for, {signed}")))
        }
        _ => Ok(asked),
    }
}

/// What the signature says of the file. The query is not heard.
pub(super) fn facts(reader: &mut Reader<'_>, token: &UploadSignature, limits: &Limits) -> Result<FileFacts, Violation> {
    let mut fields = Reader::of_token(token.fields(), params::TOKEN_FIELDS);
    let name = fields.file_name("f", limits)?;
    let file_type = match token.field("ft") {
        Some(_) => fields.file_type("ft")?,
        // The first version of the documents has no ft; the name has an extension there.
        None => match name.rsplit_once('.') {
            Some((_, suffix)) if is_file_type(suffix) => suffix.to_owned(),
            _ => return Err(fields.missing("ft")),
        },
    };
    let facts = FileFacts {
        name,
        file_type,
        tags: fields.tags("tag.n")?,
        class_id: fields.optional_number("cid")?,
        transcode: fields.flag("tc")?,
        screenshot: fields.flag("ss")?,
        watermark: fields.flag("wm")?,
        ..FileFacts::default()
    };
    reader.deviations.append(&mut fields.deviations);
    Ok(facts)
}

/// What an upload signature is made from, beside what it says of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenTerms<'a> {
    /// Whose uploads it allows.
    pub secret_id: &'a str,
    /// Which file.
    pub file_sha1: Sha1,
    /// When it is made, in seconds since 1970.
    pub made: u64,
    /// When it expires, in seconds since 1970; at most 90 days later.
    pub expires: u64,
    /// A random number of at most 10 digits.
    pub random: u64,
    /// The user within the application.
    pub uid: &'a str,
}

/// Signs who may upload what until when.
#[must_use]
pub fn sign_token(key: &SecretKey, facts: &FileFacts, terms: &TokenTerms<'_>) -> String {
    let mut original = Query::default();
    original.push("s", terms.secret_id);
    original.push("f", &facts.name);
    original.push("fs", terms.file_sha1);
    original.push("ft", &facts.file_type);
    original.push("t", terms.made);
    original.push("e", terms.expires);
    original.push("r", terms.random);
    original.push("uid", terms.uid);
    for (name, _) in
        [("tc", facts.transcode), ("ss", facts.screenshot), ("wm", facts.watermark)].into_iter().filter(|(_, on)| *on)
    {
        original.push(name, 1);
    }
    if let Some(class_id) = facts.class_id {
        original.push("cid", class_id);
    }
    for (at, tag) in facts.tags.iter().enumerate() {
        original.push(&format!("tag.{}", at + 1), tag);
    }
    UploadSignature::sign(key, &original)
}
