//! What a server is told about a file, beside its bytes.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{
    Action, Family, InitUpload, Limits, Request, Sha1,
    request::{Parsed, Violation},
};

/// What a server is told about a file. Source: `docs/protocol.md`, *Parameters*.
///
/// In the server and legacy families it stands in the query, in the UGC family in the upload signature.
/// The first request of an upload fixes it; later ones are not heard.
///
/// ```
/// use vod_proto::FileFacts;
///
/// let facts = FileFacts { tags: vec!["holiday".to_owned()], ..FileFacts::from_path("/videos/at the sea.MP4".as_ref()) };
/// assert_eq!((facts.name.as_str(), facts.file_type.as_str()), ("at the sea", "mp4"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct FileFacts {
    /// The name to show: 1 to 40 characters, none of `\ / : * ? " < > |`, without the extension.
    pub name: String,
    /// The type, without a dot, such as `mp4`.
    pub file_type: String,
    /// Tags, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The class to file it under. Default: none said, which is the service's own default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_id: Option<u64>,
    /// Transcode it after the upload. Default off.
    pub transcode: bool,
    /// Take a cover from it, with `transcode`. Default off.
    pub screenshot: bool,
    /// Put the watermark on it, with `transcode`. Default off.
    pub watermark: bool,
    /// The file is an image, the cover of the video with this id. Default: it is a video.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cover_of: Option<String>,
    /// Whom to tell when it is transcoded; the legacy family alone has it. Default nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify_url: Option<String>,
}

impl FileFacts {
    /// Takes the name from the file's stem and the type from its extension, in lower case.
    ///
    /// A name that the service would refuse is made acceptable: cut after 40 characters, banned characters replaced
    /// by `_`. Without an extension the type stays empty, which [`check`](Self::check) refuses: only the caller can
    /// know better.
    #[must_use]
    pub fn from_path(path: &Path) -> Self {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let longest = Limits::default().file_name_max;
        let name = stem.chars().take(longest).map(|c| if allowed(c) { c } else { '_' }).collect();
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        Self { name, file_type: extension, ..Self::default() }
    }

    /// Checks that a server would take them.
    ///
    /// # Errors
    /// Names the parameter that it would refuse.
    pub fn check(&self) -> Result<(), Violation> {
        self.read_back().map(drop)
    }

    /// Reads what a request would say of the file, by the rules that a server has.
    fn read_back(&self) -> Result<Parsed, Violation> {
        // The sizes are not what is judged here: the file's comes later, and the grid is the server's to accept.
        let limits = Limits { part_size_min: 1, ..Limits::default() };
        let init = InitUpload { facts: self.clone(), file_sha1: Sha1::of(b""), file_size: 1, part_size: 1 };
        Request::from_query(Action::InitUpload, &Request::Init(init).to_query(Family::Server), &limits)
    }
}

/// May a file name have this character, in every version of the documents?
fn allowed(c: char) -> bool {
    let facts = FileFacts { name: c.to_string(), file_type: "mp4".to_owned(), ..FileFacts::default() };
    facts.read_back().is_ok_and(|parsed| parsed.deviations.is_empty())
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
        assert!(refused(FileFacts { file_type: String::new(), ..good.clone() }).contains("fileType"));
        assert!(refused(FileFacts { tags: vec![String::new()], ..good }).contains("tags.1"));
    }
}
