//! Request signatures: the canonical string and the HMAC over it.
//!
//! Source: `docs/protocol.md`, *Signatures*.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::Mac as _;

use crate::query::{Decoding, Query};

/// The secret half of an account's key pair. It has no `Debug` and no `Display`: it cannot be printed by accident.
///
/// ```compile_fail,E0277
/// println!("{:?}", vod_proto::sign::SecretKey::new("key"));
/// ```
#[derive(Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(transparent)]
pub struct SecretKey(String);

impl SecretKey {
    /// Takes the key as the text it is handed out as.
    #[must_use]
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

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
    let mut pairs: Vec<_> = query
        .pairs()
        .iter()
        .filter(|pair| pair.name() != "Signature")
        .map(|pair| (pair.name().replace('_', "."), pair.value(decoding)))
        .collect();
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    let mut text = format!("{method}{host}{path}");
    for (at, (name, value)) in pairs.iter().enumerate() {
        text.push(if at == 0 { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        text.push_str(value);
    }
    text
}

/// Signs a text: Base64 of its HMAC under the key.
#[must_use]
pub fn sign(key: &SecretKey, method: SignatureMethod, text: &str) -> String {
    match method {
        SignatureMethod::HmacSha1 => STANDARD.encode(mac_sha1(key, text).finalize().into_bytes()),
        SignatureMethod::HmacSha256 => {
            STANDARD.encode(mac::<hmac::Hmac<sha2::Sha256>>(key, text).finalize().into_bytes())
        }
    }
}

/// Does the signature hold for this text? Compares in constant time.
#[must_use]
pub fn holds(key: &SecretKey, method: SignatureMethod, text: &str, signature: &str) -> bool {
    let Ok(bytes) = STANDARD.decode(signature) else { return false };
    match method {
        SignatureMethod::HmacSha1 => mac_sha1(key, text).verify_slice(&bytes).is_ok(),
        SignatureMethod::HmacSha256 => mac::<hmac::Hmac<sha2::Sha256>>(key, text).verify_slice(&bytes).is_ok(),
    }
}

/// The HMAC-SHA1 of a text, not finalised.
pub(crate) fn mac_sha1(key: &SecretKey, text: &str) -> hmac::Hmac<sha1::Sha1> {
    mac(key, text)
}

fn mac<M: hmac::Mac + hmac::KeyInit>(key: &SecretKey, text: &str) -> M {
    let mut mac = <M as hmac::KeyInit>::new_from_slice(key.bytes()).expect("an HMAC key may have any length");
    mac.update(text.as_bytes());
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
    let signature = pair.value(Decoding::Percent).replace(' ', "+");
    let algorithm = SignatureMethod::from_wire(query.get("SignatureMethod").as_deref());
    let plus = query.pairs().iter().any(|pair| pair.raw_value().contains('+') && pair.name() != "Signature");
    let decodings: &[_] = if plus { &[Decoding::Form, Decoding::Percent] } else { &[Decoding::Form] };
    decodings.iter().copied().find(|decoding| {
        hosts
            .iter()
            .any(|host| holds(key, algorithm, &string_to_sign(method, host, path, query, *decoding), &signature))
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
