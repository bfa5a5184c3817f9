//! What a request says it is about, before anything of it is checked.

use std::borrow::Cow;

use crate::{Action, Family, PartSpan, Query, Sha1, ugc::UploadSignature};

/// What a request says it is about: enough to journal it and to aim faults at it. Nothing of it is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims<'q> {
    /// The value of `Action`, also an unknown one.
    pub action: Option<Cow<'q, str>>,
    /// Whose request it claims to be.
    pub secret_id: Option<Cow<'q, str>>,
    /// The file, by the query or else by the upload signature.
    pub file_sha1: Option<Sha1>,
    /// The part, where the action sends one.
    pub part: Option<PartSpan>,
}

impl<'q> Claims<'q> {
    /// Reads what a query claims.
    #[must_use]
    pub fn of(query: &'q Query) -> Self {
        let number = |name: &str| query.get(name)?.parse::<u64>().ok();
        let name = query.get("Action");
        let action = name.as_deref().and_then(|name| name.parse::<Action>().ok());
        let token = match action.map(Action::family) {
            Some(Family::Ugc) => UploadSignature::of_query(query).and_then(|(_, token)| token.ok()),
            _ => None,
        };
        let in_query = query.get("fileSha").and_then(|sha| sha.parse().ok());
        let in_token = || token.as_ref()?.field("fs")?.parse().ok();
        let sends_part = action.is_some_and(|action| action.role().sends_part());
        let span = number("offset").zip(number("dataSize")).filter(|_| sends_part);
        Self {
            secret_id: match &token {
                Some(token) => token.field("s").map(Cow::Owned),
                None => query.get("SecretId"),
            },
            file_sha1: in_query.or_else(in_token),
            part: span.map(|(offset, len)| PartSpan { offset, len }),
            action: name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::SecretKey;

    #[test]
    fn an_upload_signature_speaks_where_the_query_is_silent() {
        let sha = Sha1::of(b"x");
        let token = UploadSignature::sign(&SecretKey::new("k"), &Query::parse(&format!("s=id&fs={sha}")));
        let mut query = Query::parse("Action=FinishUploadEx");
        query.push("Signature", &token);
        let claims = Claims::of(&query);
        assert_eq!((claims.secret_id.as_deref(), claims.file_sha1), (Some("id"), Some(sha)));
        // In the server family the same parameter is something else.
        let query = Query::parse("Action=FinishUpload&SecretId=me&Signature=x");
        let claims = Claims::of(&query);
        assert_eq!((claims.secret_id.as_deref(), claims.file_sha1), (Some("me"), None));
    }

    #[test]
    fn only_actions_that_send_parts_have_one() {
        let part = |action: &str| Claims::of(&Query::parse(&format!("Action={action}&offset=3&dataSize=5"))).part;
        assert_eq!(part("MultipartUploadVodFile"), Some(PartSpan { offset: 3, len: 5 }));
        assert_eq!(part("InitUpload"), None);
        assert_eq!(part("uploadpart"), None);
    }
}
