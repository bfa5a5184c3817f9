//! What is removed from an exchange before anyone keeps it.
//!
//! Secrets become placeholders, equal for equal, so that what is kept can still be compared and replayed.
//!
//! - [`Redactor`]: what it makes of targets, headers and texts; [`Rules`]: what is a secret beside what always is.
//! - [`TextRedaction`]: the text of a reply, as it streams by; `json`: members of JSON objects in it.

mod json;
mod text;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{Mutex, OnceLock, PoisonError},
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use json::JsonRedaction;
pub use text::TextRedaction;

use crate::{
    Query,
    event::{check_url, redacted_url},
    query::{Decoding, ENCODE, Pair},
    ugc::UploadSignature,
};

const SECRET_ID: &str = "SecretId";

/// Query parameters, and members of JSON objects, whose values never leave the process, in whatever case they are written.
const SECRET_PARAMETERS: [&str; 4] = [SECRET_ID, "SecretKey", "Signature", "Token"];

/// The parameter that is a URL, which may have a password and tokens in it.
const NOTIFY_URL: &str = "notifyUrl";

/// Headers whose values never leave the process.
const SECRET_HEADERS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "set-cookie"];

/// Below this length a keyed digest could be undone by trying all values; such values are numbered instead.
const NUMBERED_BELOW: usize = 16;

/// How many short values are told apart. A peer that sends more of them gets one placeholder for the rest.
const NUMBERED_MOST: usize = 10_000;

/// How many SecretIds are remembered with their placeholders. Beyond them, each costs its digest every time.
const REMEMBERED_MOST: usize = 16;

/// What signs a single request is no longer than this: 20 bytes in Base64. It has no room for what an upload signature says.
const PROOF_MOST: usize = 28;

/// What is a secret beside what always is. Names count in whatever case they are written. Default: nothing more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Rules {
    /// Query parameters.
    pub parameters: Vec<String>,
    /// Headers, of requests and of replies.
    pub headers: Vec<String>,
    /// Members of JSON objects in replies, wherever they stand.
    pub fields: Vec<String>,
}

/// Replaces secrets by placeholders.
///
/// A long value becomes a keyed digest, so that two redactors with one key agree on it.
/// A short one gets a number, in order of first sight: only such a one makes a request wait for another.
pub struct Redactor {
    /// The HMAC under the key, before anything is said to it.
    keyed: Hmac<Sha256>,
    rules: Rules,
    numbered: Mutex<BTreeMap<String, usize>>,
    /// What stands before each number, where others gave numbers to the same recording before.
    life: String,
    /// The first SecretIds that were seen, with their placeholders: they come with every request.
    secret_ids: [OnceLock<(String, String)>; REMEMBERED_MOST],
}

impl Redactor {
    /// A redactor with this key. The key itself is no secret of anyone: it only keeps placeholders apart.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Self::with_rules(key, Rules::default())
    }

    /// The same, with more secrets than the usual ones.
    #[must_use]
    pub fn with_rules(key: [u8; 32], rules: Rules) -> Self {
        let keyed = Hmac::new_from_slice(&key).expect("an HMAC key may have any length");
        Self { keyed, rules, numbered: Mutex::default(), life: String::new(), secret_ids: Default::default() }
    }

    /// The same for whoever goes on where others numbered short values before, with the exchange of this number. Which values
    /// those were nobody knows any more, so its numbers are told apart from theirs: `redacted-n58.1`.
    #[must_use]
    pub fn from_exchange(self, seq: u64) -> Self {
        let life = if seq > 1 { format!("{seq}.") } else { String::new() };
        Self { life, ..self }
    }

    /// A request target with the secret values of its query replaced. Everything else stays to the letter.
    pub fn target(&self, target: &str) -> String {
        let mut redacted = String::with_capacity(target.len());
        self.push_target(&mut redacted, target, &Query::split_target(target).1);
        redacted
    }

    /// Writes the same behind a text, of a target whose query was read already.
    ///
    /// # Panics
    /// If it is the query of another target.
    pub fn push_target(&self, redacted: &mut String, target: &str, query: &Query) {
        let query_at = target.len() - query.raw_len();
        let mut copied = 0;
        let more = !self.rules.parameters.is_empty();
        let may_be_secret = |pair: &Pair<'_>| more || b"sStTnN".iter().any(|first| pair.may_begin_with(*first));
        for (pair, value) in query.placed().filter(|(pair, value)| !value.is_empty() && may_be_secret(pair)) {
            let name = pair.name();
            let Some(secret) = self.secret_parameter(&name) else {
                if let Some(shown) = self.shown_url(&name, pair) {
                    redacted.push_str(&target[copied..query_at + value.start]);
                    copied = query_at + value.end;
                    redacted.extend(utf8_percent_encode(&shown, ENCODE));
                }
                continue;
            };
            redacted.push_str(&target[copied..query_at + value.start]);
            copied = query_at + value.end;
            let value = pair.value(Decoding::Percent);
            match self.token(secret, &value) {
                Some(token) => redacted.extend(utf8_percent_encode(&token, NON_ALPHANUMERIC)),
                None if secret == SECRET_ID => self.push_secret_id(redacted, &value),
                None => self.push_value(redacted, &value),
            }
        }
        redacted.push_str(&target[copied..]);
    }

    /// A URL to be notified, as it may be shown: still one that can be called, or still none, so that whoever judges the
    /// exchange finds what the server found. None where there is nothing to hide.
    fn shown_url(&self, name: &str, pair: Pair<'_>) -> Option<String> {
        if !NOTIFY_URL.eq_ignore_ascii_case(name) {
            return None;
        }
        let url = pair.value(Decoding::Form);
        let shown = if check_url(&url).is_ok() { redacted_url(&url) } else { self.value(&url) };
        (shown != url).then_some(shown)
    }

    /// An upload signature that says what it said and proves nothing: the HMAC and the SecretId are placeholders, and so
    /// is whatever else is a secret, in one that can be read as it could. None for anything that is no upload signature.
    fn token(&self, secret: &str, value: &str) -> Option<String> {
        if secret != "Signature" || value.len() <= PROOF_MOST {
            return None;
        }
        let signature = UploadSignature::decode(value).ok()?;
        let secret_id = signature.secret_id().ok()?;
        let mut fields = String::new();
        for (at, pair) in signature.fields().pairs().enumerate() {
            if at > 0 {
                fields.push('&');
            }
            fields.push_str(pair.raw_name());
            fields.push('=');
            match &*pair.name() {
                "s" => fields.push_str(&self.value(&secret_id)),
                name if self.secret_parameter(name).is_some() => {
                    fields.push_str(&self.value(&pair.value(Decoding::Form)))
                }
                _ => fields.push_str(pair.raw_value()),
            }
        }
        Some(UploadSignature::forge(&self.digest(value), &fields))
    }

    /// The secret parameter of this name, in whatever case it is written.
    fn secret_parameter<'n>(&self, name: &'n str) -> Option<&'n str> {
        match secret_parameter(name) {
            None => names(&self.rules.parameters, name).then_some(name),
            known => known,
        }
    }

    fn is_secret_field(&self, name: &str) -> bool {
        secret_parameter(name).is_some() || names(&self.rules.fields, name)
    }

    /// The text of a body, with the values of members replaced that are secrets, if it is JSON and has any; and with them every
    /// SecretId that was asked with, wherever it stands: servers repeat it in what they say of a mistake.
    pub fn json<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut redacted = Cow::Borrowed(text);
        if !self.rules.fields.is_empty() || may_name_secret(text) {
            let members = JsonRedaction::whole(self, text);
            if members != text {
                redacted = Cow::Owned(members);
            }
        }
        for (secret_id, placeholder) in self.known() {
            if memchr::memmem::find(redacted.as_bytes(), secret_id.as_bytes()).is_some() {
                redacted = Cow::Owned(redacted.replace(secret_id, placeholder));
            }
        }
        redacted
    }

    /// The SecretIds that were asked with, with their placeholders. A short one may be a word of any text, and is none of them.
    fn known(&self) -> impl Iterator<Item = &(String, String)> {
        let known = self.secret_ids.iter().map_while(OnceLock::get);
        known.filter(|(secret_id, _)| secret_id.len() >= NUMBERED_BELOW)
    }

    /// The value of a header, replaced where it is a secret. `name` is in lower case.
    pub fn header<'v>(&self, name: &str, value: &'v str) -> Cow<'v, str> {
        if SECRET_HEADERS.contains(&name) || names(&self.rules.headers, name) {
            Cow::Owned(self.value(value))
        } else {
            Cow::Borrowed(value)
        }
    }

    /// The placeholder of a secret value.
    pub fn value(&self, secret: &str) -> String {
        let mut value = String::new();
        self.push_value(&mut value, secret);
        value
    }

    /// The placeholder of a SecretId, which is the same as of any other secret: at less cost, for it comes with every request.
    pub fn secret_id(&self, secret_id: &str) -> String {
        let mut value = String::new();
        self.push_secret_id(&mut value, secret_id);
        value
    }

    fn push_value(&self, out: &mut String, secret: &str) {
        out.push_str("redacted-");
        if secret.len() < NUMBERED_BELOW {
            out.push_str(&self.number(secret));
            return;
        }
        let mut digits = [0; 16];
        hex::encode_to_slice(&self.digest(secret)[..8], &mut digits).expect("two digits a byte");
        out.push_str(std::str::from_utf8(&digits).expect("hexadecimal digits are ASCII"));
    }

    /// The same for what comes again and again.
    fn push_secret_id(&self, out: &mut String, secret_id: &str) {
        for seen in &self.secret_ids {
            let (first, placeholder) = seen.get_or_init(|| (secret_id.to_owned(), self.value(secret_id)));
            if first == secret_id {
                return out.push_str(placeholder);
            }
        }
        self.push_value(out, secret_id);
    }

    fn number(&self, secret: &str) -> String {
        let mut numbered = self.numbered.lock().unwrap_or_else(PoisonError::into_inner);
        let next = numbered.len() + 1;
        if next > NUMBERED_MOST && !numbered.contains_key(secret) {
            return format!("n{}x", self.life);
        }
        let number = *numbered.entry(secret.to_owned()).or_insert(next);
        format!("n{}{number}", self.life)
    }

    /// What stands for a secret: equal for equal, and nothing else can be learnt from it.
    fn digest(&self, secret: &str) -> [u8; 32] {
        let mut mac = self.keyed.clone();
        mac.update(secret.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

/// The life and the number in the placeholder of a short value, 0 for the first life; none of any other placeholder. In each life
/// numbers grow in the order in which values came.
#[must_use]
pub fn life_and_number(placeholder: &str) -> Option<(u64, u64)> {
    let numbers = placeholder.strip_prefix("redacted-n")?;
    let (life, number) = numbers.split_once('.').unwrap_or(("0", numbers));
    Some((life.parse().ok()?, number.parse().ok()?))
}

/// The secret parameter of this name, in whatever case it is written.
fn secret_parameter(name: &str) -> Option<&'static str> {
    SECRET_PARAMETERS.into_iter().find(|secret| secret.eq_ignore_ascii_case(name))
}

fn names(all: &[String], name: &str) -> bool {
    all.iter().any(|one| one.eq_ignore_ascii_case(name))
}

/// Could a member have a name that is always a secret's? Asked of every reply, most of which have none.
fn may_name_secret(text: &str) -> bool {
    let bytes = text.as_bytes();
    let named = |at: usize| {
        let begins = |name: &str| {
            let there = bytes.get(at..at + name.len());
            there.is_some_and(|there| there.eq_ignore_ascii_case(name.as_bytes()))
        };
        ["secret", "signature", "token"].into_iter().any(begins)
    };
    let mut firsts = memchr::memchr2_iter(b's', b't', bytes).chain(memchr::memchr2_iter(b'S', b'T', bytes));
    // Letters may be written as numbers.
    memchr::memmem::find(bytes, b"\\u").is_some() || firsts.any(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: &str = "/v2/index.php?Action=InitUpload&SecretId=AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA&fileName=a%20b&Signature=NSI3UqqD99b%2FUJb4tbG%2FxZpRW64%3D";

    #[test]
    fn secrets_go_and_everything_else_stays_to_the_letter() {
        let redacted = Redactor::new([7; 32]).target(TARGET);
        assert!(!redacted.contains("AKID") && !redacted.contains("NSI3"), "{redacted}");
        assert!(redacted.starts_with("/v2/index.php?Action=InitUpload&SecretId=redacted-"), "{redacted}");
        assert!(redacted.contains("&fileName=a%20b&Signature=redacted-"), "{redacted}");
    }

    #[test]
    fn equal_secrets_have_equal_placeholders_under_one_key_and_others_under_another() {
        let at = |key| Redactor::new([key; 32]).target(TARGET);
        assert_eq!(at(1), at(1));
        assert_ne!(at(1), at(2));
    }

    #[test]
    fn short_secrets_are_numbered_and_encoded_names_do_not_hide_one() {
        let redactor = Redactor::new([7; 32]);
        assert_eq!(redactor.target("/?Secret%49d=abc&Token=xyz"), "/?Secret%49d=redacted-n1&Token=redacted-n2");
        assert_eq!(redactor.target("/?SecretId=xyz"), "/?SecretId=redacted-n2");
        assert_eq!(redactor.target("/?secretId=xyz&SECRETKEY=abc"), "/?secretId=redacted-n2&SECRETKEY=redacted-n1");
    }

    #[test]
    fn numbers_of_another_life_are_others() {
        let first = Redactor::new([7; 32]).from_exchange(1);
        let next = Redactor::new([7; 32]).from_exchange(58);
        let long = "AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA";
        assert_eq!(["abc", "abc", "x"].map(|value| first.value(value)), ["redacted-n1", "redacted-n1", "redacted-n2"]);
        assert_eq!(
            ["x", "abc", "x"].map(|value| next.value(value)),
            ["redacted-n58.1", "redacted-n58.2", "redacted-n58.1"]
        );
        assert_eq!(first.value(long), next.value(long), "what is not numbered is the same in all");
        assert_eq!(life_and_number("redacted-n58.2"), Some((58, 2)));
        assert_eq!(life_and_number("redacted-n2"), Some((0, 2)));
        for other in ["redacted-0123456789abcdef", "AKID.1", "redacted-nx", "redacted-n58.x", ""] {
            assert_eq!(life_and_number(other), None);
        }
    }

    #[test]
    fn an_upload_signature_keeps_what_it_says_and_loses_its_proof() {
        let key = crate::sign::SecretKey::new("k");
        let original = "s=AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA&f=my+video&e=5";
        let token = UploadSignature::sign(&key, &Query::parse(original));
        let mut query = Query::parse("Action=FinishUploadEx");
        query.push("signature", &token);
        let target = format!("/v2/index.php?{query}");
        let redacted = Redactor::new([7; 32]).target(&target);
        assert_eq!(redacted, Redactor::new([7; 32]).target(&target));
        let (_, query) = Query::split_target(&redacted);
        let (_, read) = UploadSignature::of_query(&query).unwrap();
        let read = read.unwrap_or_else(|error| panic!("{error}"));
        assert!(!read.holds(&key));
        assert_eq!(read.field("f").as_deref(), Some("my video"));
        assert!(read.secret_id().unwrap().starts_with("redacted-"), "{redacted}");
        // A placeholder in short form is one too.
        assert!(!redacted.contains(&token[..20]), "{redacted}");
    }

    #[test]
    fn no_secret_hides_in_an_upload_signature_under_another_name() {
        let key = crate::sign::SecretKey::new("k");
        let original = "s=AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA&secretKey=sEcReT&%54oken=sEcReT&e=5";
        let token = UploadSignature::sign(&key, &Query::parse(original));
        let mut query = Query::default();
        query.push("signature", &token);
        let redacted = Redactor::new([7; 32]).target(&format!("/v2/index.php?{query}"));
        let (_, read) = UploadSignature::of_query(&Query::split_target(&redacted).1).unwrap();
        let fields = read.unwrap_or_else(|error| panic!("{error}")).fields().to_string();
        assert!(fields.ends_with("&secretKey=redacted-n1&%54oken=redacted-n1&e=5"), "{fields}");
    }

    #[test]
    fn a_url_to_be_notified_is_kept_as_it_may_be_shown() {
        let redactor = Redactor::new([7; 32]);
        let url = "http%3A%2F%2Fme%3AsEcReT%40h%2Fa%3Ftoken%3DsEcReT";
        let shown = "http%3A%2F%2Fredacted%40h%2Fa%3Fredacted";
        for name in ["notifyUrl", "notify%55rl", "NOTIFYURL"] {
            let target = |url| format!("/v2/index.php?a=b&{name}={url}&c=d");
            assert_eq!(redactor.target(&target(url)), target(shown));
            // Where there is nothing to hide, it stays to the letter.
            assert_eq!(redactor.target(&target("http://h%2Fa")), target("http://h%2Fa"));
        }
        // What is no URL stays none, also where only what is hidden makes it so.
        assert_eq!(redactor.target("/?notifyUrl=me:sEcReT@h"), "/?notifyUrl=redacted-n1");
        assert_eq!(redactor.target("/?notifyUrl=http://h?%22s%22"), "/?notifyUrl=redacted-n2");
    }

    #[test]
    fn cookies_are_secrets_and_other_headers_are_not() {
        let redactor = Redactor::new([7; 32]);
        assert_eq!(redactor.header("cookie", "session=1"), "redacted-n1");
        assert_eq!(redactor.header("user-agent", "x"), "x");
    }

    #[test]
    fn rules_make_secrets_of_parameters_headers_and_fields_in_any_case() {
        let rules = Rules {
            parameters: vec!["procedureKey".to_owned()],
            headers: vec!["X-Session".to_owned()],
            fields: vec!["ticket".to_owned()],
        };
        let redactor = Redactor::with_rules([7; 32], rules);
        assert_eq!(redactor.target("/?a=b&ProcedureKey=abc&c=d"), "/?a=b&ProcedureKey=redacted-n1&c=d");
        assert_eq!(redactor.header("x-session", "abc"), "redacted-n1");
        assert_eq!(redactor.json(r#"{"TICKET":"abc","a":"abc"}"#), r#"{"TICKET":"redacted-n1","a":"abc"}"#);
        let plain = Redactor::new([7; 32]);
        for text in [r#"{"ticket":"abc"}"#, r#"{"code":0,"message":"Start"}"#] {
            assert!(matches!(plain.json(text), Cow::Borrowed(_)), "{text}");
        }
        assert_eq!(plain.json(r#"{"\u0054oken":"abc"}"#), r#"{"\u0054oken":"redacted-n1"}"#);
    }

    #[test]
    fn a_secret_id_that_was_asked_with_is_found_in_whatever_a_server_says() {
        let redactor = Redactor::new([7; 32]);
        let secret_id = "AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA";
        let text = format!(r#"{{"code":-1,"message":"no account has {secret_id}, or abc"}}"#);
        assert_eq!(redactor.json(&text), text, "nobody asked with it yet");
        redactor.target("/?SecretId=abc&x=1");
        redactor.target(&format!("/?SecretId={secret_id}"));
        let expected = text.replace(secret_id, &redactor.value(secret_id));
        assert_eq!(redactor.json(&text), expected);
    }
}
