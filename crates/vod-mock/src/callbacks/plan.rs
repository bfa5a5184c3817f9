//! What is to be sent of a stored file, where and when.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use vod_proto::{
    Md5, Sha1,
    action::Family,
    event::{NewFileUpload, Notify, NotifyTask, SourceType, TranscodeComplete, Video},
};

use super::CallbackPolicy;

/// A file that was stored just now. It has no `Debug`: its URLs may hold passwords.
#[derive(Clone)]
pub struct StoredEvent {
    /// Whose it is, by name.
    pub account: String,
    /// Where the account's events go.
    pub callback_url: Option<String>,
    /// The family of the upload.
    pub family: Family,
    /// The `notifyUrl` that came with the upload.
    pub notify_url: Option<String>,
    /// The id that was handed out.
    pub file_id: String,
    /// Where the file can be fetched.
    pub url: String,
    /// Its name, as announced.
    pub file_name: String,
    /// Its size in bytes.
    pub file_size: u64,
    /// Its SHA-1.
    pub file_sha1: Sha1,
    /// Its MD5, where somebody has taken it.
    pub file_md5: Option<Md5>,
    /// Was transcoding asked for?
    pub transcode: bool,
    /// The code that transcoding fails with; none if it succeeds. Sent as it is, also if no document names it.
    pub transcode_failure: Option<i64>,
}

/// What a callback tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// To the account: a file is stored.
    NewFileUpload,
    /// To the account: transcoding is over.
    TranscodeComplete,
    /// To the `notifyUrl`: the file is stored.
    #[serde(rename = "notify file_upload")]
    NotifyFileUpload,
    /// To the `notifyUrl`: transcoding is over.
    #[serde(rename = "notify transcode")]
    NotifyTranscode,
}

/// Why nobody is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Withheld {
    /// [`CallbackPolicy::notify`] is off.
    NotifyIsOff,
    /// A `notifyUrl` means something only with `isTranscode=1`.
    TranscodeNotAskedFor,
    /// The mock was stopped first.
    MockStopped,
}

/// A callback to come.
pub(super) struct Planned {
    pub(super) account: String,
    pub(super) kind: Kind,
    /// As it is to be called, user and password included.
    pub(super) url: String,
    pub(super) file_id: String,
    /// How long from now.
    pub(super) wait: Duration,
    /// The time of day then.
    pub(super) due: Timestamp,
    pub(super) body: Value,
    pub(super) withheld: Option<Withheld>,
}

/// Plans every callback of a file that was stored at `now`.
pub(super) fn plan(policy: &CallbackPolicy, event: &StoredEvent, now: Timestamp) -> Vec<Planned> {
    let task_id = format!("transcode-{}", Md5::of(event.file_id.as_bytes()));
    let outcome = event.transcode_failure.map_or(Ok(()), Err);
    let stored = policy.delay;
    let transcoded = policy.delay.saturating_add(policy.transcode_delay);
    let at = |wait: Duration| now.checked_add(wait).unwrap_or(Timestamp::MAX);
    let mut planned = Vec::new();
    let mut push = |kind, url: &str, wait, body, withheld| {
        planned.push(Planned {
            account: event.account.clone(),
            kind,
            url: url.to_owned(),
            file_id: event.file_id.clone(),
            wait,
            due: at(wait),
            body,
            withheld,
        });
    };
    if let Some(url) = &event.callback_url {
        let upload = NewFileUpload {
            file_id: event.file_id.clone(),
            file_name: event.file_name.clone(),
            url: event.url.clone(),
            source_type: match event.family {
                Family::Server | Family::Legacy => SourceType::ServerUpload,
                Family::Ugc => SourceType::ClientUpload,
            },
            transcode_task_id: event.transcode.then(|| task_id.clone()),
        };
        push(Kind::NewFileUpload, url, stored, upload.to_json(), None);
        if event.transcode {
            let complete = TranscodeComplete {
                file_id: event.file_id.clone(),
                file_name: event.file_name.clone(),
                task_id,
                outcome: outcome.map(|()| event.url.clone()),
            };
            push(Kind::TranscodeComplete, url, transcoded, complete.to_json(), None);
        }
    }
    if let Some(url) = event.notify_url.as_ref().filter(|_| event.family == Family::Legacy) {
        let withheld = match (event.transcode, policy.notify) {
            (false, _) => Some(Withheld::TranscodeNotAskedFor),
            (true, false) => Some(Withheld::NotifyIsOff),
            (true, true) => None,
        };
        let video = |()| Video {
            url: event.url.clone(),
            size: event.file_size,
            sha1: event.file_sha1,
            md5: event.file_md5,
            updated: at(transcoded),
        };
        let notify = |task| Notify { file_id: event.file_id.clone(), task }.to_json();
        push(Kind::NotifyFileUpload, url, stored, notify(NotifyTask::FileUpload), withheld);
        let transcode = NotifyTask::Transcode(outcome.map(video));
        push(Kind::NotifyTranscode, url, transcoded, notify(transcode), withheld);
    }
    planned
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::callbacks::tests::event;

    /// Says of each callback when it goes out, where, whether at all, and the code in it.
    #[track_caller]
    fn check(policy: &CallbackPolicy, event: &StoredEvent, expected: Expect) {
        let lines = plan(policy, event, Timestamp::UNIX_EPOCH).into_iter().map(|planned| {
            let Planned { kind, url, wait, due, body, withheld, .. } = planned;
            assert_eq!(due.as_duration().unsigned_abs(), wait, "the two say the same time");
            let data = &body["data"];
            let code = [&data["status"], &data["ret"]].into_iter().find(|code| !code.is_null());
            format!("{wait:?} {kind:?} to {url}, withheld {withheld:?}, code {code:?}\n")
        });
        expected.assert_eq(&lines.collect::<String>());
    }

    fn notifying() -> CallbackPolicy {
        CallbackPolicy { notify: true, ..CallbackPolicy::default() }
    }

    #[test]
    fn a_file_that_nobody_asked_to_hear_of_makes_no_callback() {
        let silent = StoredEvent { callback_url: None, notify_url: None, ..event() };
        check(&notifying(), &silent, expect![""]);
    }

    #[test]
    fn an_account_hears_of_the_file_and_of_its_transcoding_only_if_that_was_asked_for() {
        let transcoded = StoredEvent { notify_url: None, ..event() };
        let untouched = StoredEvent { transcode: false, ..transcoded.clone() };
        check(
            &CallbackPolicy::default(),
            &transcoded,
            expect![[r#"
                100ms NewFileUpload to http://account.example/, withheld None, code None
                1.1s TranscodeComplete to http://account.example/, withheld None, code Some(Number(0))
            "#]],
        );
        check(
            &CallbackPolicy::default(),
            &untouched,
            expect![[r#"
                100ms NewFileUpload to http://account.example/, withheld None, code None
            "#]],
        );
    }

    #[test]
    fn the_transcoding_of_both_events_is_one_and_a_file_without_it_names_none() {
        let bodies = |event: &StoredEvent| {
            let planned = plan(&CallbackPolicy::default(), event, Timestamp::UNIX_EPOCH);
            planned.into_iter().map(|planned| planned.body["data"].clone()).collect::<Vec<_>>()
        };
        let told = bodies(&event());
        let (upload, complete) = (&told[0], &told[1]);
        assert!(upload["transcodeTaskId"].as_str().is_some_and(|id| id.starts_with("transcode-")), "{upload}");
        assert_eq!(upload["transcodeTaskId"], complete["vodTaskId"]);
        assert_eq!(bodies(&StoredEvent { transcode: false, ..event() })[0]["transcodeTaskId"], "");
    }

    #[test]
    fn a_notify_url_hears_303_and_then_how_transcoding_went() {
        let event = StoredEvent { callback_url: None, ..event() };
        check(
            &notifying(),
            &event,
            expect![[r#"
                100ms NotifyFileUpload to http://notify.example/, withheld None, code Some(Number(303))
                1.1s NotifyTranscode to http://notify.example/, withheld None, code Some(Number(0))
            "#]],
        );
    }

    #[test]
    fn an_injected_failure_reaches_both_kinds_of_callback() {
        check(
            &notifying(),
            &StoredEvent { transcode_failure: Some(-550), ..event() },
            expect![[r#"
                100ms NewFileUpload to http://account.example/, withheld None, code None
                1.1s TranscodeComplete to http://account.example/, withheld None, code Some(Number(-550))
                100ms NotifyFileUpload to http://notify.example/, withheld None, code Some(Number(303))
                1.1s NotifyTranscode to http://notify.example/, withheld None, code Some(Number(-550))
            "#]],
        );
    }

    #[test]
    fn a_notify_url_is_withheld_unless_the_policy_allows_it_and_transcoding_was_asked_for() {
        let notified = StoredEvent { callback_url: None, ..event() };
        check(
            &CallbackPolicy::default(),
            &notified,
            expect![[r#"
                100ms NotifyFileUpload to http://notify.example/, withheld Some(NotifyIsOff), code Some(Number(303))
                1.1s NotifyTranscode to http://notify.example/, withheld Some(NotifyIsOff), code Some(Number(0))
            "#]],
        );
        check(
            &notifying(),
            &StoredEvent { transcode: false, ..notified },
            expect![[r#"
                100ms NotifyFileUpload to http://notify.example/, withheld Some(TranscodeNotAskedFor), code Some(Number(303))
                1.1s NotifyTranscode to http://notify.example/, withheld Some(TranscodeNotAskedFor), code Some(Number(0))
            "#]],
        );
    }

    #[test]
    fn a_notify_url_means_nothing_outside_the_legacy_family_and_only_devices_are_clients() {
        for (family, source) in [(Family::Server, "ServerUpload"), (Family::Ugc, "ClientUpload")] {
            let planned = plan(&notifying(), &StoredEvent { family, ..event() }, Timestamp::UNIX_EPOCH);
            let kinds: Vec<Kind> = planned.iter().map(|planned| planned.kind).collect();
            assert_eq!(kinds, [Kind::NewFileUpload, Kind::TranscodeComplete], "{family}");
            assert_eq!(planned[0].body["data"]["sourceType"], source);
        }
        let legacy = plan(&notifying(), &event(), Timestamp::UNIX_EPOCH);
        assert_eq!(legacy[0].body["data"]["sourceType"], "ServerUpload");
    }

    #[test]
    fn delays_beyond_the_end_of_time_are_no_panic() {
        let policy = CallbackPolicy { delay: Duration::MAX, transcode_delay: Duration::MAX, ..notifying() };
        assert!(plan(&policy, &event(), Timestamp::UNIX_EPOCH).iter().all(|planned| planned.due == Timestamp::MAX));
    }
}
