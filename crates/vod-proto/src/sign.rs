//! Request signatures: the canonical string and the HMAC over it.
//!
//! Source: `docs/protocol.md`, *Signatures*.

use std::{borrow::Cow, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac};
use sha1::Sha1;
use sha2::Sha256;

use crate::query::{Decoding, Query};

/// The secret half of an account's key pair. It has no `Debug` and no `Display`: it cannot be printed by accident.
///
/// ```compile_fail,E0277
/// println!("{:?}", vod_proto::sign::SecretKey::new("key"));
/// ```
#[derive(Clone, serde::Deserialize)]
#[serde(from = "String")]
pub struct SecretKey(Arc<Keyed>);

/// A key, and the HMACs under it before anything is said to them: it is taken in once, not for every signature.
struct Keyed {
    text: String,
    sha1: Hmac<Sha1>,
    sha256: Hmac<Sha256>,
}

impl SecretKey {
    /// Takes the key as the text it is handed out as.
    #[must_use]
    pub fn new(key: impl Into<String>) -> Self {
        const ANY: &str = "an HMAC key may have any length";
        let text = key.into();
        let sha1 = Hmac::new_from_slice(text.as_bytes()).expect(ANY);
        let sha256 = Hmac::new_from_slice(text.as_bytes()).expect(ANY);
        Self(Arc::new(Keyed { text, sha1, sha256 }))
    }
}

impl From<String> for SecretKey {
    fn from(key: String) -> Self {
        Self::new(key)
    }
}

impl PartialEq for SecretKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for SecretKey {}

/// The hash under the signature, named by `SignatureMethod`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignatureMethod {
    /// What an absent or any other value selects.
    #[default]
    HmacSha1,
    /// Selected by the literal `HmacSHA256` alone.
    HmacSha256,
}

impl SignatureMethod {
    /// Reads the value of `SignatureMethod`.
    #[must_use]
    pub fn from_wire(value: Option<&str>) -> Self {
        if value == Some("HmacSHA256") { Self::HmacSha256 } else { Self::HmacSha1 }
    }

    /// The value of `SignatureMethod`.
    #[must_use]
    pub const fn wire_name(self) -> &'static str {
        match self {
            Self::HmacSha1 => "HmacSHA1",
            Self::HmacSha256 => "HmacSHA256",
        }
    }
}

/// The text that a request's signature is taken over.
///
/// `method` is the real HTTP method in capitals, `host` has no scheme and no port, `path` is the one in use.
/// The parameters stand in bytewise order of their names, values raw, `Signature` left out; `_` in a name becomes `.`.
#[must_use]
pub fn string_to_sign(method: &str, host: &str, path: &str, query: &Query, decoding: Decoding) -> String {
    format!("{method}{host}{path}{}", signed_parameters(query, decoding))
}

/// The end of that text, which is the same for every host.
fn signed_parameters(query: &Query, decoding: Decoding) -> String {
    let underscored = query.has_underscore();
    let mut pairs = Vec::with_capacity(query.pairs().len());
    for pair in query.pairs() {
        let name = pair.name();
        if name != "Signature" {
            let name = if underscored { with_dots(name) } else { name };
            pairs.push((beginning(&name), name, pair));
        }
    }
    pairs.sort_by(|(a, name, _), (b, other, _)| a.cmp(b).then_with(|| name.cmp(other)));
    let mut text = String::with_capacity(query.raw_len() + 1);
    for (nth, (_, name, pair)) in pairs.iter().enumerate() {
        text.push(if nth == 0 { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        text.push_str(&pair.value(decoding));
    }
    text
}

/// The first eight bytes of a name as a number: where these differ, names are in the order of the numbers.
fn beginning(name: &str) -> u64 {
    match name.as_bytes().first_chunk() {
        Some(first) => u64::from_be_bytes(*first),
        None => name.bytes().fold(0, |number, byte| number << 8 | u64::from(byte)) << ((64 - 8 * name.len()) % 64),
    }
}

fn with_dots(name: Cow<'_, str>) -> Cow<'_, str> {
    if name.contains('_') { Cow::Owned(name.replace('_', ".")) } else { name }
}

/// Signs a text: Base64 of its HMAC under the key.
#[must_use]
pub fn sign(key: &SecretKey, method: SignatureMethod, text: &str) -> String {
    match method {
        SignatureMethod::HmacSha1 => STANDARD.encode(mac_sha1(key, text).finalize().into_bytes()),
        SignatureMethod::HmacSha256 => STANDARD.encode(mac(&key.0.sha256, &[text]).finalize().into_bytes()),
    }
}

/// Does the signature hold for this text? Compares in constant time.
#[must_use]
pub fn holds(key: &SecretKey, method: SignatureMethod, text: &str, signature: &str) -> bool {
    Given::read(signature).is_some_and(|given| given.holds(key, method, &[text]))
}

/// A signature as it was sent, out of its Base64.
struct Given {
    bytes: [u8; Self::MOST],
    len: usize,
}

impl Given {
    /// Longer than any HMAC here, so that what does not fit holds for nothing.
    const MOST: usize = 64;

    fn read(signature: &str) -> Option<Self> {
        let mut bytes = [0; Self::MOST];
        let len = STANDARD.decode_slice(signature, &mut bytes).ok()?;
        Some(Self { bytes, len })
    }

    /// Does it hold for a text that is made of these pieces? Compares in constant time.
    fn holds(&self, key: &SecretKey, method: SignatureMethod, text: &[&str]) -> bool {
        let given = &self.bytes[..self.len];
        match method {
            SignatureMethod::HmacSha1 => mac(&key.0.sha1, text).verify_slice(given).is_ok(),
            SignatureMethod::HmacSha256 => mac(&key.0.sha256, text).verify_slice(given).is_ok(),
        }
    }
}

/// The HMAC-SHA1 of a text, not finalised.
pub(crate) fn mac_sha1(key: &SecretKey, text: &str) -> Hmac<Sha1> {
    mac(&key.0.sha1, &[text])
}

fn mac<M: Mac + Clone>(keyed: &M, text: &[&str]) -> M {
    let mut mac = keyed.clone();
    for piece in text {
        mac.update(piece.as_bytes());
    }
    mac
}

/// Does a request's own signature hold, for any of the hosts the client may have signed for?
#[must_use]
pub fn request_holds(key: &SecretKey, method: &str, hosts: &[&str], path: &str, query: &Query) -> bool {
    request_reading(key, method, hosts, path, query).is_some()
}

/// How a request is to be read for its own signature to hold, for any of the hosts the client may have signed for: what
/// it signed is what it means. None if the signature does not hold.
///
/// Both readings of `+` are tried: form decoding first, because only one known client leaves values unencoded.
#[must_use]
pub fn request_reading(key: &SecretKey, method: &str, hosts: &[&str], path: &str, query: &Query) -> Option<Decoding> {
    let pair = query.pair("Signature")?;
    // Base64 has no space: one that shows up was a plus that nobody encoded.
    let signature = pair.value(Decoding::Percent);
    let given =
        if signature.contains(' ') { Given::read(&signature.replace(' ', "+")) } else { Given::read(&signature) }?;
    let algorithm = SignatureMethod::from_wire(query.get("SignatureMethod").as_deref());
    let plus = query.pairs().any(|pair| pair.has_plus() && pair.name() != "Signature");
    let decodings: &[_] = if plus { &[Decoding::Form, Decoding::Percent] } else { &[Decoding::Form] };
    decodings.iter().copied().find(|decoding| {
        let parameters = signed_parameters(query, *decoding);
        hosts.iter().any(|host| given.holds(key, algorithm, &[method, host, path, &parameters]))
    })
}

/// Appends the signature to a query that is otherwise complete.
pub fn sign_query(
    key: &SecretKey,
    algorithm: SignatureMethod,
    method: &str,
    host: &str,
    path: &str,
    query: &mut Query,
) {
    let text = string_to_sign(method, host, path, query, Decoding::Percent);
    let signature = sign(key, algorithm, &text);
    query.push("Signature", signature);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_bytewise_and_underscores_become_dots() {
        let query = Query::parse("tag.2=c&tag.10=b&b_c=x&Zone=1&tag.1=a&Signature=s&action=2");
        let text = string_to_sign("GET", "h", "/p", &query, Decoding::Form);
        assert_eq!(text, "GETh/p?Zone=1&action=2&b.c=x&tag.1=a&tag.10=b&tag.2=c");
    }

    proptest::proptest! {
        #[test]
        fn the_order_is_that_of_the_names_whatever_their_length(raw in "([ab_.=&]|&[a-c]{7,10}=x|%00){0,30}") {
            let query = Query::parse(&raw);
            let mut named: Vec<_> = query.pairs().map(|pair| (pair.name().replace('_', "."), pair)).collect();
            named.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
            let pairs = named.iter().map(|(name, pair)| format!("{name}={}", pair.value(Decoding::Form)));
            let expected = pairs.collect::<Vec<_>>().join("&");
            let text = string_to_sign("GET", "h", "/p", &query, Decoding::Form);
            proptest::prop_assert_eq!(text.trim_start_matches("GETh/p").trim_start_matches('?'), expected);
        }
    }

    #[test]
    fn a_signature_over_another_text_key_or_algorithm_does_not_hold() {
        let key = SecretKey::new("k");
        let signature = sign(&key, SignatureMethod::HmacSha1, "text");
        assert!(holds(&key, SignatureMethod::HmacSha1, "text", &signature));
        assert!(!holds(&key, SignatureMethod::HmacSha1, "texT", &signature));
        assert!(!holds(&SecretKey::new("K"), SignatureMethod::HmacSha1, "text", &signature));
        assert!(!holds(&key, SignatureMethod::HmacSha256, "text", &signature));
        assert!(!holds(&key, SignatureMethod::HmacSha1, "text", "not base64"));
    }

    #[test]
    fn a_key_signs_every_text_as_if_it_were_its_first() {
        // From RFC 2202 and RFC 4231, test case 2.
        let key = SecretKey::new("Jefe");
        let text = "what do ya want for nothing?";
        for _ in 0..2 {
            assert_eq!(sign(&key, SignatureMethod::HmacSha1, text), "7/zfauXrL6LSdBbV8YTfnCWafHk=");
            let sha256 = "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=";
            assert_eq!(sign(&key, SignatureMethod::HmacSha256, text), sha256);
            assert!(holds(&key.clone(), SignatureMethod::HmacSha256, text, sha256));
            for method in [SignatureMethod::HmacSha1, SignatureMethod::HmacSha256] {
                let whole = sign(&key, method, text);
                assert!((0..whole.len()).all(|end| !holds(&key, method, text, &whole[..end])), "a part of it");
            }
        }
        let long = SecretKey::new("k".repeat(200));
        assert!(long == SecretKey::new("k".repeat(200)) && long != key);
        assert!(!holds(&key, SignatureMethod::HmacSha1, text, &STANDARD.encode([0; 300])), "longer than any HMAC");
    }

    #[test]
    fn a_signature_holds_for_the_hosts_that_are_given_and_for_no_other_in_any_order() {
        let key = SecretKey::new("k");
        let mut query = Query::parse("b_c=1&a=x+y");
        let text = string_to_sign("GET", "mine", "/p", &query, Decoding::Form);
        query.push("Signature", sign(&key, SignatureMethod::HmacSha1, &text));
        let reading = |method, hosts: &[&str], path| request_reading(&key, method, hosts, path, &query);
        for hosts in [&["mine", "b"], &["b", "mine"]] {
            assert_eq!(reading("GET", hosts, "/p"), Some(Decoding::Form));
        }
        // What is signed is one text: a byte that moves from one piece of it into the next changes nothing.
        assert_eq!(reading("GETm", &["ine"], "/p"), Some(Decoding::Form));
        for (method, hosts, path) in
            [("GET", ["b", "min"], "/p"), ("GET", ["b", "mine"], "/P"), ("PUT", ["b", "mine"], "/p")]
        {
            assert_eq!(reading(method, &hosts, path), None, "{method} {hosts:?} {path}");
        }
        assert_eq!(reading("GET", &[], "/p"), None);
    }

    #[test]
    fn an_unencoded_plus_in_values_and_signature_still_verifies() {
        let key = SecretKey::new("testSecretKey");
        for name in ["my test", "my+test"] {
            let mut signed = Query::default();
            signed.push("fileName", name);
            sign_query(&key, SignatureMethod::HmacSha1, "POST", "h", "/p", &mut signed);
            let signature = signed.get("Signature").unwrap().into_owned();
            let line = format!("fileName={}&Signature={signature}", name.replace(' ', "+"));
            assert!(request_holds(&key, "POST", &["other", "h"], "/p", &Query::parse(&line)), "{line}");
            assert!(!request_holds(&key, "GET", &["h"], "/p", &Query::parse(&line)), "the method is signed");
        }
    }
}
