//! What the service is told about a file, beside its bytes.

use std::path::Path;

use vod_proto::{Action, InitUpload, Limits, Request, Sha1, request::Violation};

use crate::error::ConfigError;

/// What the service is told about a file. Source: `docs/protocol.md`, *Parameters*.
///
/// ```
/// use vod_client::FileFacts;
///
/// let facts = FileFacts { tags: vec!["holiday".to_owned()], ..FileFacts::from_path("/videos/at the sea.MP4".as_ref()) };
/// assert_eq!((facts.name.as_str(), facts.file_type.as_str()), ("at the sea", "mp4"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileFacts {
    /// The name to show: 1 to 40 characters, none of `\ / : * ? " < > |`, without the extension.
    pub name: String,
    /// The type, without a dot, such as `mp4`.
    pub file_type: String,
    /// Tags, in order.
    pub tags: Vec<String>,
    /// The class to file it under. Default: none said, which is the service's own default.
    pub class_id: Option<u64>,
    /// Transcode it after the upload. Default off.
    pub transcode: bool,
    /// Take a cover from it, with `transcode`. Default off.
    pub screenshot: bool,
    /// Put the watermark on it, with `transcode`. Default off.
    pub watermark: bool,
}

impl FileFacts {
    /// Takes the name from the file's stem and the type from its extension, in lower case.
    ///
    /// A name that the service would refuse is made acceptable, with a warning in the log: cut after 40 characters,
    /// banned characters replaced by `_`. Without an extension the type stays empty, which [`Uploader::upload`]
    /// refuses: only the caller can know better.
    ///
    /// [`Uploader::upload`]: crate::Uploader::upload
    #[must_use]
    pub fn from_path(path: &Path) -> Self {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let name: String =
            stem.chars().take(Limits::default().file_name_chars).map(|c| if allowed(c) { c } else { '_' }).collect();
        if name != stem {
            tracing::warn!(file = %stem, %name, "the service would not take the file's name: it is sent under another");
        }
        let file_type = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        Self { name, file_type, ..Self::default() }
    }

    /// The request that opens the upload of this file.
    pub(crate) fn to_init(&self, file_sha1: Sha1, file_size: u64, part_size: u64) -> InitUpload {
        InitUpload {
            file_name: self.name.clone(),
            file_sha1,
            file_size,
            part_size,
            file_type: self.file_type.clone(),
            tags: self.tags.clone(),
            class_id: self.class_id,
            transcode: self.transcode,
            screenshot: self.screenshot,
            watermark: self.watermark,
        }
    }

    /// Says now what the server would refuse later.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.file_type.is_empty() {
            let message = "the file's name has no extension: say its type, such as mp4";
            return Err(ConfigError::Facts(message.to_owned()));
        }
        read_back(self).map(drop).map_err(|violation| ConfigError::Facts(violation.message))
    }
}

/// Reads what the request would say, by the server's own rules: they have their only home in `vod-proto`.
fn read_back(facts: &FileFacts) -> Result<vod_proto::request::Parsed, Violation> {
    // The sizes are not what is judged here: the file's comes later, and the grid is the server's to accept.
    let limits = Limits { part_size_min: 1, ..Limits::default() };
    let init = facts.to_init(Sha1::of(b""), 1, 1);
    Request::from_query(Action::InitUpload, &Request::Init(init).to_query(), &limits)
}

/// May a file name have this character, in every version of the documents?
fn allowed(c: char) -> bool {
    let facts = FileFacts { name: c.to_string(), file_type: "mp4".to_owned(), ..FileFacts::default() };
    read_back(&facts).is_ok_and(|parsed| parsed.deviations.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, name: &str, file_type: &str) {
        let facts = FileFacts::from_path(path.as_ref());
        assert_eq!((facts.name.as_str(), facts.file_type.as_str()), (name, file_type), "from {path:?}");
    }

    #[test]
    fn name_and_type_come_from_the_path() {
        check("/a/b/video.mp4", "video", "mp4");
        check("video.tar.GZ", "video.tar", "gz");
        check("夏天.mp4", "夏天", "mp4");
        check("none", "none", "");
    }

    #[test]
    fn what_the_service_would_refuse_is_made_acceptable() {
        check(r#"a:b*c?d"e<f>g|h\i.mp4"#, "a_b_c_d_e_f_g_h_i", "mp4");
        check(&format!("{}.mp4", "夏".repeat(50)), &"夏".repeat(40), "mp4");
    }

    #[test]
    fn what_cannot_be_said_is_refused_before_anything_is_sent() {
        let good = FileFacts { name: "n".to_owned(), file_type: "mp4".to_owned(), ..FileFacts::default() };
        assert_eq!(good.check(), Ok(()));
        let refused = |facts: FileFacts| facts.check().unwrap_err().to_string();
        assert!(refused(FileFacts { name: String::new(), ..good.clone() }).contains("fileName"));
        assert!(refused(FileFacts { name: "a/b".to_owned(), ..good.clone() }).contains("fileName"));
        assert!(refused(FileFacts { file_type: String::new(), ..good }).contains("extension"));
    }
}
