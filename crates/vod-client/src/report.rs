//! How an upload succeeded.

use std::time::Duration;

use serde::{Serialize, Serializer};

/// Which way the file came to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// This upload's finish was acknowledged.
    Finished,
    /// An earlier finish of this upload, whose reply was lost, had stored it. The legacy family's last part and a small
    /// file that is sent whole are the finish themselves, and sent again when the reply is lost: there the second may
    /// have done it, as the replies are the same.
    CommittedEarlier,
    /// The service had the file before (instant upload): nothing was sent, but in the legacy family the first part,
    /// which is how to ask. There a file of a single part counts as finished, as in the server family does a small file
    /// that is sent whole: the reply does not tell.
    Existed,
}

impl Outcome {
    /// As one word of kebab-case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::CommittedEarlier => "committed-earlier",
            Self::Existed => "existed",
        }
    }
}

/// An upload that succeeded. Serialised, it is what the result lines of `--json` say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct UploadReport {
    /// Which way the file came to be stored.
    pub outcome: Outcome,
    /// The service's name for the file: decimal digits.
    pub file_id: String,
    /// Where it can be fetched, if the server said.
    pub url: Option<String>,
    /// What proves the upload to the application's own server; the UGC family's finish brings it.
    pub verify_content: Option<String>,
    /// Parts that were sent and acknowledged. One that the server lost and that was sent again counts twice; a small
    /// file that is sent whole counts as one.
    pub parts_sent: u64,
    /// Parts that the server had before, compared by MD5 and not sent; in the legacy family, where nothing can be
    /// compared, those that it did not ask for.
    pub parts_skipped: u64,
    /// Requests that were sent, of every action.
    pub attempts: u64,
    /// Bytes of parts that were handed to the transport, those of failed attempts included.
    pub bytes_sent: u64,
    /// How long it took, hashing included; serialised as `elapsed-ms`.
    #[serde(rename = "elapsed-ms", serialize_with = "milliseconds")]
    pub elapsed: Duration,
}

fn milliseconds<S: Serializer>(elapsed: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_line_has_the_documented_keys_in_order() {
        let report = UploadReport {
            outcome: Outcome::CommittedEarlier,
            file_id: "16092504232103571364".to_owned(),
            url: None,
            verify_content: None,
            parts_sent: 3,
            parts_skipped: 1,
            attempts: 6,
            bytes_sent: 3_145_728,
            elapsed: Duration::from_micros(1_234_567),
        };
        expect_test::expect![[r#"{"outcome":"committed-earlier","file-id":"16092504232103571364","url":null,"verify-content":null,"parts-sent":3,"parts-skipped":1,"attempts":6,"bytes-sent":3145728,"elapsed-ms":1234}"#]]
            .assert_eq(&serde_json::to_string(&report).unwrap());
    }

    #[test]
    fn outcomes_have_one_name() {
        for outcome in [Outcome::Finished, Outcome::CommittedEarlier, Outcome::Existed] {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.as_str());
        }
    }
}
