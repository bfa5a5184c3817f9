//! Who and what a request is about, for a server that knows no account.

use std::sync::Arc;

use vod_proto::{redact::Redactor, request::Claims};
use vod_serve::{Head, Subject};

/// What a request says of itself. Nothing of it is checked, for nobody here could: the account's name is the placeholder of
/// the SecretId that it claims, equal for equal, and no number of a part is known without its session.
#[must_use]
pub fn subject(head: &Head, redactor: &Redactor) -> Subject {
    if head.is_preflight() {
        return Subject { preflight: true, ..Subject::default() };
    }
    let Claims { action, secret_id, file_sha1, part } = Claims::of(&head.query);
    Subject {
        account: secret_id.filter(|id| !id.is_empty()).map(|id| Arc::from(redactor.secret_id(&id))),
        action: action.as_deref().map(vod_serve::action),
        file_sha1,
        part,
        part_number: None,
        preflight: false,
        host: None,
    }
}

#[cfg(test)]
mod tests {
    use vod_proto::{PartSpan, Query, Sha1, sign::SecretKey, ugc::UploadSignature};

    use super::*;

    const SECRET_ID: &str = "AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA";

    fn of(method: &str, target: &str) -> Subject {
        let request = http::Request::builder().method(method).uri(target).body(()).unwrap();
        let head = Head::of(request.into_parts().0, false);
        subject(&head, &Redactor::new([7; 32]))
    }

    #[test]
    fn an_account_is_the_placeholder_of_its_secret_id_wherever_that_stands() {
        let sha1 = Sha1::of(b"x");
        let target = format!("/v3/index.php?Action=UploadPart&SecretId={SECRET_ID}&fileSha={sha1}&offset=3&dataSize=5");
        let sent = of("POST", &target);
        let account = sent.account.clone().unwrap();
        assert_eq!(*account, *Redactor::new([7; 32]).value(SECRET_ID));
        assert_eq!((sent.action.as_deref(), sent.file_sha1), (Some("UploadPart"), Some(sha1)));
        assert_eq!((sent.part, sent.part_number), (Some(PartSpan { offset: 3, len: 5 }), None));
        // The family of browsers has it in the upload signature.
        let token = UploadSignature::sign(&SecretKey::new("k"), &Query::parse(&format!("s={SECRET_ID}&fs={sha1}")));
        let mut query = Query::parse("Action=FinishUploadEx");
        query.push("signature", &token);
        let sent = of("GET", &format!("/v2/index.php?{query}"));
        assert_eq!((sent.account, sent.file_sha1), (Some(account), Some(sha1)));
    }

    #[test]
    fn whoever_names_no_account_has_none_and_a_preflight_is_about_nothing() {
        for target in ["/", "/?Action=InitUpload", "/?SecretId="] {
            assert_eq!(of("GET", target).account, None, "{target}");
        }
        let preflight = of("OPTIONS", &format!("/?Action=InitUpload&SecretId={SECRET_ID}"));
        assert_eq!(preflight, Subject { preflight: true, ..Subject::default() });
    }
}
