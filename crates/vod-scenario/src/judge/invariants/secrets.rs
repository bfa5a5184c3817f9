//! No secret stands in the journal or in a log.

use vod_proto::{Exchange, Query, ugc::UploadSignature};

use crate::{
    evidence::Secret,
    judge::{Case, Finding},
};

/// Parameters whose values are always replaced; see `vod_proto::redact`.
const SECRET_PARAMETERS: [&str; 3] = ["SecretId", "Signature", "signature"];

/// Neither the run's own secrets nor any value of a secret parameter can be read anywhere.
pub(super) fn none_leaked(case: Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for exchange in &case.evidence.exchanges {
        match exchange.to_line() {
            Ok(line) => findings.extend(leaks(&case.evidence.secrets, &line, &place(exchange))),
            Err(error) => findings.push(Finding::Unknown(format!("{} cannot be read: {error}", place(exchange)))),
        }
        findings.extend(unredacted(exchange));
    }
    for log in &case.evidence.logs {
        findings.extend(leaks(&case.evidence.secrets, &log.text, &log.origin));
    }
    findings
}

fn place(exchange: &Exchange) -> String {
    format!("the journal, request {}", exchange.seq)
}

fn leaks(secrets: &[Secret], text: &str, place: &str) -> Vec<Finding> {
    let leaked = secrets.iter().filter(|secret| text.contains(&secret.value));
    leaked.map(|secret| Finding::broken(format!("{} stands in {place}", secret.name))).collect()
}

/// A signature is made anew for every request, so that it is known only by its place.
fn unredacted(exchange: &Exchange) -> Vec<Finding> {
    let (_, query) = Query::split_target(&exchange.request.target);
    let open = SECRET_PARAMETERS
        .iter()
        .filter(|name| query.get(name).is_some_and(|value| !value.is_empty() && !is_placeholder(&value)));
    open.map(|name| Finding::broken(format!("the value of {name} stands in {}", place(exchange)))).collect()
}

/// Of an upload signature everything but the proof and the SecretId is kept, so that it can still be read.
fn is_placeholder(value: &str) -> bool {
    let replaced = |text: &str| text.starts_with("redacted-");
    let token = || UploadSignature::decode(value).ok()?.secret_id().ok();
    replaced(value) || token().is_some_and(|secret_id| replaced(&secret_id))
}

#[cfg(test)]
mod tests {
    use vod_proto::{
        Family, FileFacts,
        request::{TokenTerms, sign_token},
        sign::SecretKey,
        ugc::UploadSignature,
    };

    use crate::{evidence::Log, judge::crafted::Story};

    const ID: &str = "no-secret-leaked";

    #[test]
    fn a_secret_in_a_log_is_seen_and_not_repeated() {
        let mut story = Story::plain();
        let text = format!("signing with {}", story.evidence.secrets[0].value);
        story.evidence.logs.push(Log { origin: "the client's stderr".to_owned(), text });
        story.assert_broken(ID, "the secret key stands in the client's stderr");
        assert!(!story.findings(ID)[0].why().contains("Gu5t"));
    }

    #[test]
    fn a_secret_anywhere_in_the_journal_is_seen() {
        let mut story = Story::plain();
        let secret = story.evidence.secrets[0].value.clone();
        story.evidence.exchanges[2].request.headers.push(("x".to_owned(), secret));
        story.assert_broken(ID, "the secret key stands in the journal, request 3");
    }

    #[test]
    fn a_signature_that_was_not_replaced_is_seen() {
        let mut story = Story::plain();
        story.evidence.exchanges[0].request.target = "/v2/index.php?SecretId=redacted-1&Signature=NSI3Uqq".to_owned();
        story.assert_broken(ID, "the value of Signature stands in the journal, request 1");
    }

    #[test]
    fn an_upload_signature_is_kept_only_without_its_proof_and_its_secret_id() {
        let sign = |secret_id: &str| {
            let fields = vod_proto::Query::parse(&format!("s={secret_id}&f=video"));
            UploadSignature::sign(&SecretKey::new("k"), &fields)
        };
        let mut target = vod_proto::Query::default();
        target.push("signature", sign("redacted-n1"));
        let mut story = Story::of(Family::Ugc);
        story.evidence.exchanges[0].request.target = format!("/v2/index.php?{target}");
        story.assert_holds(ID);
        let mut target = vod_proto::Query::default();
        target.push("signature", sign("AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA"));
        story.evidence.exchanges[0].request.target = format!("/v2/index.php?{target}");
        story.assert_broken(ID, "the value of signature stands in the journal, request 1");
        // Nor may it stand in a log, whoever wrote it there.
        let mut story = Story::of(Family::Ugc);
        story.evidence.secrets = crate::process::secrets();
        let made = sign_token(
            &SecretKey::new("k"),
            &FileFacts::from_path("video.mp4".as_ref()),
            &TokenTerms {
                secret_id: vod_mock::DEMO_SECRET_ID,
                file_sha1: story.evidence.source.sha1,
                made: 0,
                expires: 60,
                random: 7,
                uid: "u",
            },
        );
        story.evidence.logs.push(Log { origin: "the client's stderr".to_owned(), text: format!("signed {made}") });
        story.assert_broken(ID, "an upload signature stands in the client's stderr");
    }
}
