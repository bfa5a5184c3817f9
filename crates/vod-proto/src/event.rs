//! What the service tells an application's own server of a file: events of the account, and the older `notifyUrl`.
//!
//! They are only written here: the application's server reads them.
//! Source: `docs/protocol.md`, *Callbacks*.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{Md5, Sha1};

/// The version that every event carries.
const VERSION: &str = "4.0";

/// `ret` of the first `notifyUrl` callback: the file is stored and its transcoding goes on.
pub const STILL_TRANSCODING: i64 = 303;

/// The longest callback URL that is taken, in bytes. No document names a bound; this is what HTTP peers commonly take.
pub const URL_MAX: usize = 2048;

/// Where a file came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceType {
    /// From an application's server, under its key pair.
    ServerUpload,
    /// From a user's device, under an upload signature.
    ClientUpload,
}

impl SourceType {
    /// The value of `sourceType`.
    #[must_use]
    pub const fn wire_name(self) -> &'static str {
        match self {
            Self::ServerUpload => "ServerUpload",
            Self::ClientUpload => "ClientUpload",
        }
    }
}

/// The event of a stored file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFileUpload {
    /// The file's id.
    pub file_id: String,
    /// The file's name, as announced.
    pub file_name: String,
    /// Where it can be fetched.
    pub url: String,
    /// Whose upload it was.
    pub source_type: SourceType,
    /// The transcoding that was begun, if it was asked for.
    pub transcode_task_id: Option<String>,
}

impl NewFileUpload {
    /// The event's JSON. What an upload of this protocol has no word for is written empty.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "version": VERSION,
            "eventType": "NewFileUpload",
            "data": {
                "fileId": self.file_id,
                "fileName": self.file_name,
                "fileUrl": self.url,
                "coverUrl": "",
                "transcodeTaskId": self.transcode_task_id.as_deref().unwrap_or_default(),
                "procedureTaskId": "",
                "sourceType": self.source_type.wire_name(),
                "sourceContext": "",
                "author": "",
                "streamId": "",
            },
        })
    }
}

/// The event of a transcoding that is over, in all its definitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TranscodeComplete {
    /// The file's id.
    pub file_id: String,
    /// The file's name, as announced.
    pub file_name: String,
    /// The transcoding, as the event of the stored file named it.
    pub task_id: String,
    /// Where the video can be fetched, or the code of the failure.
    pub outcome: Result<String, i64>,
}

impl TranscodeComplete {
    /// The event's JSON. The only definition is 0, the file as it was sent: nothing is transcoded here.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let data = match &self.outcome {
            Ok(url) => json!({
                "status": 0,
                "message": "",
                "vodTaskId": self.task_id,
                "fileId": self.file_id,
                "fileName": self.file_name,
                "duration": 0,
                "coverUrl": "",
                "playSet": [{ "url": url, "definition": 0, "vbitrate": 0, "vheight": 0, "vwidth": 0 }],
            }),
            Err(code) => json!({
                "status": code,
                "message": message_of(*code),
                "vodTaskId": self.task_id,
                "fileId": self.file_id,
            }),
        };
        json!({ "version": VERSION, "eventType": "TranscodeComplete", "data": data })
    }
}

/// A callback to the `notifyUrl` of a legacy upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// The file's id.
    pub file_id: String,
    /// What has happened to it.
    pub task: NotifyTask,
}

/// What a callback to a `notifyUrl` reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotifyTask {
    /// `file_upload`: the file is stored, and transcoding has begun.
    FileUpload,
    /// `transcode`: transcoding is over, with a video or with the code of the failure.
    Transcode(Result<Video, i64>),
}

/// A video that came out of a transcoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Video {
    /// Where it can be fetched.
    pub url: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-1.
    pub sha1: Sha1,
    /// Its MD5, where somebody has taken it.
    pub md5: Option<Md5>,
    /// When it was made; written in UTC.
    pub updated: Timestamp,
}

impl Notify {
    /// The callback's JSON. `file_id` is a number, as in the document, unless the id is none.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let (task, ret) = match &self.task {
            NotifyTask::FileUpload => ("file_upload", STILL_TRANSCODING),
            NotifyTask::Transcode(Ok(_)) => ("transcode", 0),
            NotifyTask::Transcode(Err(code)) => ("transcode", *code),
        };
        let mut data = json!({
            "ret": ret,
            "message": message_of(ret),
            "file_id": self.file_id.parse::<u64>().map_or_else(|_| json!(self.file_id), |number| json!(number)),
            "image_video": {
                "code": 0,
                "duration": 0,
                "imgUrl": { "id": 0, "url": "", "vheight": 0, "width": 0 },
            },
            "videoUrls": [],
            "player_code": { "h5": "", "flash": "", "iframe": "" },
        });
        if let NotifyTask::Transcode(Ok(video)) = &self.task {
            data["vid"] = json!(self.file_id);
            data["videoUrls"] = json!([{
                "url": video.url,
                "md5": video.md5.map(|md5| md5.to_string()).unwrap_or_default(),
                "sha": video.sha1,
                "size": video.size,
                "update_time": video.updated.strftime("%Y-%m-%d %H:%M:%S").to_string(),
                // So the document spells it.
                "vbirate": 0,
                "vheight": 0,
                "vwidth": 0,
            }]);
        }
        json!({ "status": 0, "message": "", "task": task, "data": data })
    }
}

/// Whose fault a failed transcoding was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TranscodeFault {
    /// The service's own.
    Internal,
    /// The file's.
    External,
}

/// A row of the table of transcoding failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TranscodeCode {
    /// The number on the wire.
    pub code: i64,
    /// Whose fault it was.
    pub fault: TranscodeFault,
    /// What went wrong.
    pub meaning: &'static str,
}

const fn internal(code: i64, meaning: &'static str) -> TranscodeCode {
    TranscodeCode { code, fault: TranscodeFault::Internal, meaning }
}

/// Every code that a `transcode` callback may report, in the document's order.
pub const TRANSCODE_CODES: &[TranscodeCode] = &[
    internal(-300, "the video's formats could not be asked for"),
    internal(-301, "asking for the video's formats took too long"),
    internal(-302, "the video's formats could not be asked for: there is no such file"),
    internal(-303, "the video's formats could not be asked for: the list of converted files is empty"),
    internal(-304, "the file's facts could not be read"),
    internal(-305, "reading the file's facts took too long"),
    internal(-308, "the file's facts could not be written"),
    internal(-309, "writing the file's facts took too long"),
    internal(-350, "the file's facts could not be read: access to the file is forbidden"),
    internal(-400, "the transcoding could not be dispatched"),
    internal(-401, "dispatching the transcoding took too long"),
    internal(-500, "the watermark could not be set"),
    internal(-501, "setting the watermark took too long"),
    internal(-502, "the transcoding failed"),
    internal(-503, "the transcoding took too long"),
    TranscodeCode {
        code: -550,
        fault: TranscodeFault::External,
        meaning: "the transcoding failed: the source file is broken",
    },
];

/// What a code of a failed transcoding means; none for a code that the document does not name.
#[must_use]
pub fn transcode_code(code: i64) -> Option<&'static TranscodeCode> {
    TRANSCODE_CODES.iter().find(|row| row.code == code)
}

fn message_of(code: i64) -> &'static str {
    transcode_code(code).map_or("", |row| row.meaning)
}

/// Why a text is no URL that a callback can go to. The text is not repeated: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// Not HTTP.
    #[error("expected a URL that begins with http:// or https://")]
    Scheme,
    /// No host, or one that cannot be.
    #[error("expected a host after http:// or https://")]
    Host,
    /// A port that cannot be.
    #[error("expected a port from 1 to 65535 after the host")]
    Port,
    /// A character that a URL may not hold as it is.
    #[error("{0:?} must be percent-encoded in a URL")]
    Character(char),
    /// Longer than [`URL_MAX`].
    #[error("the URL is longer than {URL_MAX} bytes")]
    Long,
}

/// The pieces of a callback URL that matter here.
struct UrlPieces<'a> {
    scheme: &'a str,
    user: Option<&'a str>,
    host_and_port: &'a str,
    rest: &'a str,
}

fn pieces(url: &str) -> Option<UrlPieces<'_>> {
    let (scheme, after) = url.split_once("://")?;
    let (authority, rest) = after.split_at(after.find(['/', '?', '#']).unwrap_or(after.len()));
    let (user, host_and_port) = match authority.rsplit_once('@') {
        Some((user, host_and_port)) => (Some(user), host_and_port),
        None => (None, authority),
    };
    Some(UrlPieces { scheme, user, host_and_port, rest })
}

/// Checks that a text is a URL a callback can go to: `http://` or `https://`, a host, and nothing unencoded.
///
/// # Errors
/// Says what is wrong, without repeating the text.
pub fn check_url(url: &str) -> Result<(), InvalidUrl> {
    if url.len() > URL_MAX {
        return Err(InvalidUrl::Long);
    }
    let UrlPieces { scheme, user, host_and_port, rest } = pieces(url).ok_or(InvalidUrl::Scheme)?;
    if !(scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")) {
        return Err(InvalidUrl::Scheme);
    }
    let odd = |c: &char| !c.is_ascii_graphic() || matches!(c, '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}');
    let odd_in_user = |c: &char| odd(c) || matches!(c, '@' | '[' | ']');
    let wrong = rest.chars().find(odd).or_else(|| user.unwrap_or_default().chars().find(odd_in_user));
    if let Some(wrong) = wrong {
        return Err(InvalidUrl::Character(wrong));
    }
    let (host, port) = match host_and_port.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((address, after)) => {
            address.parse::<std::net::Ipv6Addr>().map_err(|_| InvalidUrl::Host)?;
            ("ipv6", if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or(InvalidUrl::Host)?) })
        }
        None => host_and_port.split_once(':').map_or((host_and_port, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() || !host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_')) {
        return Err(InvalidUrl::Host);
    }
    let digits =
        |port: &str| port.chars().all(|c| c.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    if port.is_some_and(|port| !digits(port)) {
        return Err(InvalidUrl::Port);
    }
    Ok(())
}

/// Can a callback go to this `notifyUrl`? Where it cannot, the legacy action refuses it.
#[must_use]
pub fn notify_url_is_valid(url: &str) -> bool {
    check_url(url).is_ok()
}

/// A URL as it may be shown: without its user and password, and without its query, where tokens stand.
#[must_use]
pub fn redacted_url(url: &str) -> String {
    let (whole, query) = match url.split_once('?') {
        Some((before, query)) if !query.is_empty() => (before, "?redacted"),
        _ => (url, ""),
    };
    match pieces(whole) {
        Some(UrlPieces { scheme, user: Some(_), host_and_port, rest }) => {
            format!("{scheme}://redacted@{host_and_port}{rest}{query}")
        }
        _ => format!("{whole}{query}"),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(json: &Value, expected: Expect) {
        expected.assert_eq(&(serde_json::to_string_pretty(json).unwrap() + "\n"));
    }

    fn video() -> Video {
        Video {
            url: "http://10013.vod2.myqcloud.com/vod10013/7/f0.mp4".to_owned(),
            size: 123,
            sha1: Sha1::of(b""),
            md5: None,
            updated: Timestamp::from_second(1_500_000_000).unwrap(),
        }
    }

    fn notify(task: NotifyTask) -> Value {
        Notify { file_id: "18168685704931758788".to_owned(), task }.to_json()
    }

    #[test]
    fn a_stored_file_is_told_with_every_field_of_the_document() {
        let event = NewFileUpload {
            file_id: "14508071098244959037".to_owned(),
            file_name: "盗梦空间".to_owned(),
            url: "http://10013.vod2.myqcloud.com/vod10013/14508071098244959037/f0.flv".to_owned(),
            source_type: SourceType::ClientUpload,
            transcode_task_id: Some("transcode-0bee".to_owned()),
        };
        check(
            &event.to_json(),
            expect![[r#"
                {
                  "data": {
                    "author": "",
                    "coverUrl": "",
                    "fileId": "14508071098244959037",
                    "fileName": "盗梦空间",
                    "fileUrl": "http://10013.vod2.myqcloud.com/vod10013/14508071098244959037/f0.flv",
                    "procedureTaskId": "",
                    "sourceContext": "",
                    "sourceType": "ClientUpload",
                    "streamId": "",
                    "transcodeTaskId": "transcode-0bee"
                  },
                  "eventType": "NewFileUpload",
                  "version": "4.0"
                }
            "#]],
        );
    }

    #[test]
    fn a_transcoding_that_is_over_is_told_with_its_videos_or_with_its_code_alone() {
        let event = |outcome| TranscodeComplete {
            file_id: "7".to_owned(),
            file_name: "test".to_owned(),
            task_id: "transcode-0bee".to_owned(),
            outcome,
        };
        check(
            &event(Ok("http://h/f0.mp4".to_owned())).to_json(),
            expect![[r#"
                {
                  "data": {
                    "coverUrl": "",
                    "duration": 0,
                    "fileId": "7",
                    "fileName": "test",
                    "message": "",
                    "playSet": [
                      {
                        "definition": 0,
                        "url": "http://h/f0.mp4",
                        "vbitrate": 0,
                        "vheight": 0,
                        "vwidth": 0
                      }
                    ],
                    "status": 0,
                    "vodTaskId": "transcode-0bee"
                  },
                  "eventType": "TranscodeComplete",
                  "version": "4.0"
                }
            "#]],
        );
        check(
            &event(Err(-43001)).to_json(),
            expect![[r#"
                {
                  "data": {
                    "fileId": "7",
                    "message": "",
                    "status": -43001,
                    "vodTaskId": "transcode-0bee"
                  },
                  "eventType": "TranscodeComplete",
                  "version": "4.0"
                }
            "#]],
        );
    }

    #[test]
    fn an_upload_whose_transcoding_goes_on_is_notified_with_303_and_no_video() {
        check(
            &notify(NotifyTask::FileUpload),
            expect![[r#"
                {
                  "data": {
                    "file_id": 18168685704931758788,
                    "image_video": {
                      "code": 0,
                      "duration": 0,
                      "imgUrl": {
                        "id": 0,
                        "url": "",
                        "vheight": 0,
                        "width": 0
                      }
                    },
                    "message": "",
                    "player_code": {
                      "flash": "",
                      "h5": "",
                      "iframe": ""
                    },
                    "ret": 303,
                    "videoUrls": []
                  },
                  "message": "",
                  "status": 0,
                  "task": "file_upload"
                }
            "#]],
        );
    }

    #[test]
    fn a_finished_transcoding_is_notified_with_its_video() {
        check(
            &notify(NotifyTask::Transcode(Ok(video()))),
            expect![[r#"
                {
                  "data": {
                    "file_id": 18168685704931758788,
                    "image_video": {
                      "code": 0,
                      "duration": 0,
                      "imgUrl": {
                        "id": 0,
                        "url": "",
                        "vheight": 0,
                        "width": 0
                      }
                    },
                    "message": "",
                    "player_code": {
                      "flash": "",
                      "h5": "",
                      "iframe": ""
                    },
                    "ret": 0,
                    "vid": "18168685704931758788",
                    "videoUrls": [
                      {
                        "md5": "",
                        "sha": "da39a3ee5e6b4b0d3255bfef95601890afd80709",
                        "size": 123,
                        "update_time": "2017-07-14 02:40:00",
                        "url": "http://10013.vod2.myqcloud.com/vod10013/7/f0.mp4",
                        "vbirate": 0,
                        "vheight": 0,
                        "vwidth": 0
                      }
                    ]
                  },
                  "message": "",
                  "status": 0,
                  "task": "transcode"
                }
            "#]],
        );
    }

    #[test]
    fn a_failed_transcoding_is_notified_with_each_code_of_the_document_and_no_video() {
        for row in TRANSCODE_CODES {
            let json = notify(NotifyTask::Transcode(Err(row.code)));
            assert_eq!((&json["task"], &json["data"]["ret"]), (&json!("transcode"), &json!(row.code)));
            assert_eq!(json["data"]["message"], row.meaning);
            assert_eq!((&json["data"]["videoUrls"], json["data"].get("vid")), (&json!([]), None));
        }
        assert_eq!(notify(NotifyTask::Transcode(Err(-1)))["data"]["message"], "", "nobody knows what -1 means");
    }

    #[test]
    fn the_table_has_the_documents_sixteen_codes_and_one_of_them_is_the_files_fault() {
        let codes: Vec<i64> = TRANSCODE_CODES.iter().map(|row| row.code).collect();
        let documented =
            [-300, -301, -302, -303, -304, -305, -308, -309, -350, -400, -401, -500, -501, -502, -503, -550];
        assert_eq!(codes, documented);
        let external: Vec<_> = TRANSCODE_CODES.iter().filter(|row| row.fault == TranscodeFault::External).collect();
        assert_eq!(external, [transcode_code(-550).unwrap()]);
        assert_eq!(transcode_code(303), None, "303 says that transcoding goes on, not that it failed");
    }

    #[test]
    fn a_callback_url_has_a_scheme_a_host_and_nothing_unencoded() {
        for good in [
            "http://h",
            "HTTPS://www.example.com:8443/a/b?c=%20&d=1#e",
            "http://user:pa%3Ass@h.example/",
            "http://127.0.0.1:1?x",
            "http://[::1]:80/",
            "http://[::1]",
        ] {
            assert_eq!(check_url(good), Ok(()), "{good}");
            assert!(notify_url_is_valid(good), "{good}");
        }
        for (bad, why) in [
            ("", InvalidUrl::Scheme),
            // What one client sends where nobody filled in a URL of its own.
            ("www.fs.com", InvalidUrl::Scheme),
            ("ftp://h/", InvalidUrl::Scheme),
            ("//h/", InvalidUrl::Scheme),
            ("http://", InvalidUrl::Host),
            ("http:///path", InvalidUrl::Host),
            ("http://user:password@/", InvalidUrl::Host),
            ("http://h ost/", InvalidUrl::Host),
            ("http://[nonsense]/", InvalidUrl::Host),
            ("http://[::1]x/", InvalidUrl::Host),
            ("http://h:/", InvalidUrl::Port),
            ("http://h:0/", InvalidUrl::Port),
            ("http://h:65536/", InvalidUrl::Port),
            ("http://h:+80/", InvalidUrl::Port),
            ("http://h/a b", InvalidUrl::Character(' ')),
            ("http://h/\r\nX: y", InvalidUrl::Character('\r')),
            ("http://h/回调", InvalidUrl::Character('回')),
            ("http://a@b@h/", InvalidUrl::Character('@')),
        ] {
            assert_eq!(check_url(bad), Err(why), "{bad}");
            assert!(!notify_url_is_valid(bad), "{bad}");
        }
        assert_eq!(check_url(&format!("http://h/{}", "a".repeat(URL_MAX))), Err(InvalidUrl::Long));
    }

    #[test]
    fn a_shown_url_has_no_user_no_password_and_no_query() {
        assert_eq!(redacted_url("http://me:sEcReT@h:1/a@b?token=sEcReT#c"), "http://redacted@h:1/a@b?redacted");
        assert_eq!(redacted_url("http://me@h?x=y@z"), "http://redacted@h?redacted");
        assert_eq!(redacted_url("http://h/a?token=sEcReT?b"), "http://h/a?redacted");
        assert_eq!(redacted_url("http://h/a?"), "http://h/a?");
        assert_eq!(redacted_url("http://h/a@b"), "http://h/a@b");
    }

    proptest::proptest! {
        #[test]
        fn no_url_panics(url in "(https?://)?[ -~é]{0,40}") {
            let _ = (check_url(&url), redacted_url(&url));
        }
    }
}
