//! What is compared of a request: the role it plays, and what it says beside that.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use vod_proto::{
    Action, Exchange, PartSpan, Query, Sha1, action::Role, query::Decoding, redact::life_and_number, request::Claims,
    ugc::UploadSignature,
};

/// What says who asks and when, and proves it: it differs from run to run, whatever is asked.
const VOLATILE: [&str; 7] = ["SecretId", "SecretKey", "Signature", "SignatureMethod", "Timestamp", "Nonce", "Token"];

/// The same within an upload signature: whose it is, from when until when it holds, and a number drawn.
const VOLATILE_FIELDS: [&str; 4] = ["s", "t", "e", "r"];

/// A browser's question whether a page may send a request.
const PREFLIGHT: &str = "OPTIONS";

/// The role of a request: exchanges that play the same one are answered one after the other, and others do not matter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// Whose it is, where a recording has several accounts.
    pub(super) account: Option<String>,
    /// Whom it asks, where a recording has several hosts and it is no request of the protocol.
    pub(super) host: Option<String>,
    preflight: bool,
    pub(super) what: What,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// Something of the protocol: action, upload, and the offset of the part.
    Call(String, Option<Sha1>, Option<u64>),
    /// Anything else: method, path and query.
    Page(String, String, Params),
}

/// Parameters by name, whatever their order; a name may come twice.
pub(super) type Params = BTreeMap<String, Vec<String>>;

impl Key {
    /// Is it a question whether a request may be sent? Browsers remember answers to it, for a while: how often it comes is
    /// a matter of time.
    pub(super) const fn is_preflight(&self) -> bool {
        self.preflight
    }

    /// How much of another role is the same, to find the one that was most likely meant.
    pub(super) fn likeness(&self, other: &Self) -> [bool; 6] {
        let same = match (&self.what, &other.what) {
            (What::Call(action, upload, part), What::Call(of_action, of_upload, of_part)) => {
                [action == of_action, upload == of_upload, part == of_part]
            }
            (What::Page(method, path, query), What::Page(of_method, of_path, of_query)) => {
                [path == of_path, method == of_method, query == of_query]
            }
            _ => [false; 3],
        };
        let beside = [self.preflight == other.preflight, self.account == other.account, self.host == other.host];
        [same[0], same[1], same[2], beside[0], beside[1], beside[2]]
    }
}

/// A request, as far as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) key: Key,
    pub(super) part: Option<PartSpan>,
    path: String,
    params: Params,
}

/// What is known of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Its length, in bytes.
    pub(super) len: u64,
    /// Its SHA-1; none of an empty one.
    pub(super) sha1: Option<Sha1>,
}

/// How requests are read. Both sides are read alike: what was recorded, and what comes in.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    /// Do accounts count?
    pub(super) accounts: bool,
    /// Do hosts?
    pub(super) hosts: bool,
    /// Parameters that are secrets beside those of the protocol, in lower case.
    pub(super) secrets: Vec<String>,
    /// Whose the short SecretIds are that were recorded.
    pub(super) short: ShortIds,
}

/// Accounts whose SecretIds are too short for a placeholder that says which they are: told apart by the order in which they come.
/// The numbers of their placeholders count other secrets too, which may be others, or none, when it is asked again.
#[derive(Clone, Debug, Default)]
pub(super) struct ShortIds {
    /// By placeholder: the how-manieth it is.
    known: BTreeMap<String, usize>,
}

impl ShortIds {
    /// Those that were recorded. Each life of a recorder counted anew.
    pub(super) fn recorded<'p>(placeholders: impl Iterator<Item = &'p String>) -> Self {
        let all: BTreeSet<_> = placeholders.filter_map(|text| Some((life_and_number(text)?, text))).collect();
        let (mut known, mut in_life) = (BTreeMap::new(), BTreeMap::<u64, usize>::new());
        for ((life, _), placeholder) in all {
            let count = in_life.entry(life).or_default();
            *count += 1;
            known.insert(placeholder.clone(), *count);
        }
        Self { known }
    }

    /// Whose it is, of one that comes now.
    pub(super) fn came(&mut self, placeholder: String) -> String {
        let next = self.known.len() + 1;
        if life_and_number(&placeholder).is_some() {
            self.known.entry(placeholder.clone()).or_insert(next);
        }
        self.whose(placeholder)
    }

    /// Whose it is, of one that is known.
    pub(super) fn whose(&self, placeholder: String) -> String {
        self.known.get(&placeholder).map_or(placeholder, |count| format!("redacted-n{count}"))
    }
}

impl Reading {
    /// Reads a request that was recorded.
    pub(super) fn recorded(&self, exchange: &Exchange) -> Asked {
        let request = &exchange.request;
        let mut asked = self.read(&request.method, &request.host, &request.target);
        asked.key.account = asked.key.account.map(|placeholder| self.short.whose(placeholder));
        asked
    }

    /// Reads a request whose target is redacted already.
    pub(super) fn read(&self, method: &str, host: &str, target: &str) -> Asked {
        let (path, query) = Query::split_target(target);
        let Claims { action, secret_id, file_sha1, part } = Claims::of(&query);
        let account = secret_id.filter(|_| self.accounts).map(Cow::into_owned);
        let offset = part.map(|part| part.offset);
        let params = self.params(&query, action.as_deref().and_then(|name| name.parse().ok()));
        let (host, what) = match action {
            Some(action) => (None, What::Call(action.into_owned(), file_sha1, offset)),
            None => {
                let host = self.hosts.then(|| host.to_ascii_lowercase());
                (host, What::Page(method.to_owned(), path.to_owned(), params.clone()))
            }
        };
        let key = Key { account, host, preflight: method == PREFLIGHT, what };
        Asked { key, part, path: path.to_owned(), params }
    }

    fn params(&self, query: &Query, action: Option<Action>) -> Params {
        let mut params = Params::new();
        // How an upload went is told in numbers that no two runs share.
        if action.map(Action::role) == Some(Role::Report) {
            return params;
        }
        for pair in query.pairs() {
            let (name, value) = (pair.name(), pair.value(Decoding::Form));
            if name.eq_ignore_ascii_case("Signature")
                && let Ok(signature) = UploadSignature::decode(&value)
            {
                let fields = signature.fields().pairs().filter(|field| !VOLATILE_FIELDS.contains(&&*field.name()));
                for field in fields {
                    let name = format!("signature.{}", field.name());
                    params.entry(name).or_default().push(field.value(Decoding::Form).into_owned());
                }
            } else if !self.is_volatile(&name) {
                params.entry(name.into_owned()).or_default().push(value.into_owned());
            }
        }
        params
    }

    fn is_volatile(&self, name: &str) -> bool {
        VOLATILE.iter().any(|volatile| volatile.eq_ignore_ascii_case(name))
            || self.secrets.iter().any(|secret| secret.eq_ignore_ascii_case(name))
    }
}

impl Asked {
    /// How it is called in messages.
    pub(super) fn name(&self) -> String {
        match &self.key.what {
            What::Call(action, ..) => match self.part {
                Some(part) => format!("{action} {part}"),
                None => action.clone(),
            },
            What::Page(method, ..) => format!("{method} {}", self.path),
        }
    }

    /// In what it differs from one that was recorded; empty if in nothing that counts.
    pub(super) fn differences(&self, recorded: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let mut differ = |what: &str, now: Option<&str>, then: Option<&str>| match (now, then) {
            (Some(now), Some(then)) if now != then => {
                found.push(format!("{what} is {:?}: recorded {:?}", shortened(now), shortened(then)));
            }
            (Some(now), None) => found.push(format!("{what} is {:?}: recorded without", shortened(now))),
            (None, Some(then)) => found.push(format!("{what} is missing: recorded {:?}", shortened(then))),
            _ => {}
        };
        let (key, of) = (&self.key, &recorded.key);
        let call = |key: &Key| match &key.what {
            What::Call(action, ..) => Some(action.clone()),
            What::Page(..) => None,
        };
        let (action, of_action) = (call(key), call(of));
        differ("the action", action.as_deref(), of_action.as_deref());
        if action != of_action {
            return found;
        }
        if let (What::Page(method, ..), What::Page(of_method, ..)) = (&key.what, &of.what) {
            differ("the method", Some(method), Some(of_method));
        } else if key.preflight != of.preflight {
            let asks = |preflight: bool| Some(if preflight { "asked by a browser" } else { "sent" });
            differ("the request", asks(key.preflight), asks(of.preflight));
        }
        differ("the path", Some(&self.path), Some(&recorded.path));
        differ("the account", key.account.as_deref(), of.account.as_deref());
        differ("the host", key.host.as_deref(), of.host.as_deref());
        let names: BTreeSet<_> = self.params.keys().chain(recorded.params.keys()).collect();
        for name in names {
            let values = |params: &Params| params.get(name).map(|values| values.join(", "));
            let (now, then) = (values(&self.params), values(&recorded.params));
            differ(&format!("parameter {name}"), now.as_deref(), then.as_deref());
        }
        found
    }
}

/// How much of a value is shown, in characters: enough for a digest.
const SHOWN: usize = 64;

fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => Cow::Owned(format!("{}…", &text[..at])),
        None => Cow::Borrowed(text),
    }
}
