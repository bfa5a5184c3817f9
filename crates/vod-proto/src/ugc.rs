//! The upload signature of the UGC family, and the proof that comes back with a finished upload.
//!
//! One signature serves all calls of one file: `Base64(HMAC-SHA1(SecretKey, original) ‖ original)`,
//! where `original` is a query string that says who may upload what until when.
//! Source: `docs/protocol.md`, *Signatures*.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::Mac as _;

use crate::{
    Query, Sha1,
    query::Decoding,
    request::common::MILLISECONDS_FROM,
    sign::{SecretKey, mac_sha1},
};

/// The length of the HMAC at the head of a signature, in bytes.
const MAC_LEN: usize = 20;

/// A text that is no upload signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not Base64.
    #[error("the signature is not Base64: {0}")]
    Base64(String),
    /// Too short to hold the HMAC and a field.
    #[error("the signature has {0} bytes: expected an HMAC of 20 bytes and the fields behind it")]
    Short(usize),
    /// The fields are no text.
    #[error("the signature's fields are not UTF-8")]
    Text,
    /// A field is missing or wrong. Its value is not repeated: signatures are secrets.
    #[error("the signature's field {field}: expected {expected}")]
    Field {
        /// Which.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
}

/// An upload signature as it was received. It has no `Debug`: whoever has it may upload.
pub struct UploadSignature {
    mac: [u8; MAC_LEN],
    original: String,
    fields: Query,
}

impl UploadSignature {
    /// The signature of a request, with the name it was sent under: `signature` in the documents, `Signature` in every
    /// known client. None if it has neither.
    #[must_use]
    pub fn of_query(query: &Query) -> Option<(&'static str, Result<Self, Malformed>)> {
        let named = |name: &'static str| query.get(name).map(|text| (name, Self::decode(&text)));
        named("signature").or_else(|| named("Signature"))
    }

    /// Takes a signature apart. Line breaks are dropped first: one client wraps its Base64 every 76 characters.
    /// A space can only be a plus sign that was not encoded.
    ///
    /// # Errors
    /// Says what is wrong with the text, without repeating it.
    pub fn decode(text: &str) -> Result<Self, Malformed> {
        let joined = if text.contains(['\r', '\n', ' ']) {
            Cow::Owned(text.chars().filter(|c| !matches!(c, '\r' | '\n')).map(unspaced).collect())
        } else {
            Cow::Borrowed(text)
        };
        let bytes = STANDARD.decode(&*joined).map_err(|error| Malformed::Base64(error.to_string()))?;
        let (mac, original) = match bytes.split_first_chunk() {
            Some((mac, original)) if !original.is_empty() => (*mac, original),
            _ => return Err(Malformed::Short(bytes.len())),
        };
        let original = std::str::from_utf8(original).map_err(|_| Malformed::Text)?.to_owned();
        let fields = Query::parse(&original);
        Ok(Self { mac, original, fields })
    }

    /// Signs a query string that is written already.
    #[must_use]
    pub fn sign(key: &SecretKey, original: &Query) -> String {
        let original = original.to_string();
        let mut bytes = mac_sha1(key, &original).finalize().into_bytes().to_vec();
        bytes.extend_from_slice(original.as_bytes());
        STANDARD.encode(bytes)
    }

    /// One that reads like another and holds under no key anybody has.
    pub(crate) fn forge(digest: &[u8; 32], original: &str) -> String {
        let mut bytes = digest[..MAC_LEN].to_vec();
        bytes.extend_from_slice(original.as_bytes());
        STANDARD.encode(bytes)
    }

    /// Does it hold under this key? The HMAC is over the bytes as received, whatever their order and encoding.
    #[must_use]
    pub fn holds(&self, key: &SecretKey) -> bool {
        mac_sha1(key, &self.original).verify_slice(&self.mac).is_ok()
    }

    /// What it says: who may upload what until when.
    #[must_use]
    pub const fn fields(&self) -> &Query {
        &self.fields
    }

    /// A field, decoded.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<String> {
        self.fields.pair(name).map(|pair| pair.value(Decoding::Form).into_owned())
    }

    /// `s`: whose signature it claims to be.
    ///
    /// # Errors
    /// If the field is missing.
    pub fn secret_id(&self) -> Result<String, Malformed> {
        self.field("s").ok_or(Malformed::Field { field: "s", expected: "the account's SecretId" })
    }

    /// `fs`: the file's SHA-1, where the signature names one.
    ///
    /// # Errors
    /// If the field is there and is no SHA-1.
    pub fn file_sha1(&self) -> Result<Option<Sha1>, Malformed> {
        let parse = |text: String| {
            text.parse()
                .map_err(|_| Malformed::Field { field: "fs", expected: "the file's SHA-1 in hexadecimal digits" })
        };
        self.field("fs").map(parse).transpose()
    }

    /// `e`: when it expires, in seconds since 1970; milliseconds are brought down to seconds.
    ///
    /// # Errors
    /// If the field is missing or no number.
    pub fn expires(&self) -> Result<u64, Malformed> {
        let expected = Malformed::Field { field: "e", expected: "seconds since 1970" };
        let sent: u64 = self.field("e").and_then(|text| text.parse().ok()).ok_or(expected)?;
        Ok(if sent >= MILLISECONDS_FROM { sent / 1000 } else { sent })
    }
}

const fn unspaced(c: char) -> char {
    if c == ' ' { '+' } else { c }
}

/// The proof that a finished upload comes back with: what is handed to the application's own server.
///
/// `verify_content` is `Base64(hex(HMAC-SHA1(verify key, plain)) ‖ plain)`, the HMAC as 40 lower-case digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyContent {
    /// Until when the proof is to be believed, in seconds since 1970.
    pub expires: u64,
    /// The file it speaks of.
    pub file_id: String,
}

/// A text that is no proof.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Not of the form.
    #[error("this is no verify_content: expected Base64 of 40 hexadecimal digits, ExpTime and FileId")]
    Malformed,
    /// Of the form, but not made with this key.
    #[error("the verify_content was not made with this verify key")]
    Forged,
}

impl VerifyContent {
    fn plain(&self) -> String {
        format!("ExpTime={}&FileId={}", self.expires, self.file_id)
    }

    /// Writes the proof. The verify key is used as the text it is handed out as.
    #[must_use]
    pub fn sign(&self, verify_key: &SecretKey) -> String {
        let plain = self.plain();
        let mac = hex::encode(mac_sha1(verify_key, &plain).finalize().into_bytes());
        STANDARD.encode(mac + &plain)
    }

    /// Reads a proof and checks it. Whether it has expired is for the caller to say, who has a clock.
    ///
    /// # Errors
    /// If the text is no proof, or was not made with this key.
    pub fn verify(verify_key: &SecretKey, text: &str) -> Result<Self, VerifyError> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| VerifyError::Malformed)?;
        let text = String::from_utf8(bytes).map_err(|_| VerifyError::Malformed)?;
        let (mac, plain) = text.split_at_checked(2 * MAC_LEN).ok_or(VerifyError::Malformed)?;
        let mac = hex::decode(mac).map_err(|_| VerifyError::Malformed)?;
        mac_sha1(verify_key, plain).verify_slice(&mac).map_err(|_| VerifyError::Forged)?;
        let fields = Query::parse(plain);
        let expires = fields.get("ExpTime").and_then(|text| text.parse().ok()).ok_or(VerifyError::Malformed)?;
        let file_id = fields.get("FileId").ok_or(VerifyError::Malformed)?.into_owned();
        Ok(Self { expires, file_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(original: &str) -> UploadSignature {
        UploadSignature::decode(&UploadSignature::sign(&SecretKey::new("k"), &Query::parse(original))).unwrap()
    }

    #[test]
    fn fields_are_read_in_any_order_and_case_and_unit() {
        let upper = "DE608D64FFBFDD09764069A3DB038283EAAC35EB";
        let signature = signed(&format!("e=1795226849763&f=my+video&s=id&fs={upper}"));
        assert!(signature.holds(&SecretKey::new("k")) && !signature.holds(&SecretKey::new("K")));
        assert_eq!(signature.secret_id(), Ok("id".to_owned()));
        assert_eq!(signature.field("f").as_deref(), Some("my video"));
        assert_eq!(signature.file_sha1(), Ok(upper.parse().ok()));
        assert_eq!(signature.expires(), Ok(1_795_226_849));
    }

    #[test]
    fn wrapped_base64_is_joined_and_a_cut_one_does_not_hold() {
        let key = SecretKey::new("k");
        let text = UploadSignature::sign(&key, &Query::parse("s=id&e=5"));
        let wrapped = format!("{}\r\n{}\n", &text[..12], &text[12..]);
        assert!(UploadSignature::decode(&wrapped).unwrap().holds(&key));
        // The sample in the documents of every call is the first 37 characters of a real signature.
        assert!(matches!(UploadSignature::decode("IEmbRAPy5IgIAFnt7XPAToaY3RRzPUFLSURVZ"), Err(Malformed::Base64(_))));
        assert!(!UploadSignature::decode(&text[..text.len() - 4]).unwrap().holds(&key));
    }

    #[test]
    fn a_space_was_a_plus_that_nobody_encoded() {
        let key = SecretKey::new("k");
        let signed = (0..).map(|e| UploadSignature::sign(&key, &Query::parse(&format!("s=id&e={e}"))));
        let text = signed.into_iter().find(|text| text.contains('+')).unwrap();
        assert!(UploadSignature::decode(&text.replace('+', " ")).unwrap().holds(&key));
    }

    #[test]
    fn missing_and_wrong_fields_are_named() {
        let errors = [
            signed("f=a").secret_id().unwrap_err().to_string(),
            signed("fs=x").file_sha1().unwrap_err().to_string(),
            signed("e=soon").expires().unwrap_err().to_string(),
        ];
        expect_test::expect![[r#"
            the signature's field s: expected the account's SecretId
            the signature's field fs: expected the file's SHA-1 in hexadecimal digits
            the signature's field e: expected seconds since 1970
        "#]]
        .assert_eq(&(errors.join("\n") + "\n"));
        assert_eq!(signed("f=a").file_sha1(), Ok(None));
    }

    #[test]
    fn a_proof_made_with_another_key_or_for_another_file_is_forged() {
        let proof = VerifyContent { expires: 5, file_id: "7".to_owned() };
        let text = proof.sign(&SecretKey::new("k"));
        assert_eq!(VerifyContent::verify(&SecretKey::new("k"), &text), Ok(proof));
        assert_eq!(VerifyContent::verify(&SecretKey::new("K"), &text), Err(VerifyError::Forged));
        assert_eq!(VerifyContent::verify(&SecretKey::new("k"), "eA=="), Err(VerifyError::Malformed));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[A-Za-z0-9+/=\\r\\n]{0,120}") {
            if let Ok(signature) = UploadSignature::decode(&text) {
                let _ = (signature.secret_id(), signature.file_sha1(), signature.expires());
            }
            let _ = VerifyContent::verify(&SecretKey::new("k"), &text);
        }
    }
}
