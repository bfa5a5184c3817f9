//! What is said of a file: the flags that `upload` and `sign ugc` share.

use std::path::Path;

use clap::Args;
use vod_proto::FileFacts;

#[derive(Args)]
#[group(id = "facts")]
pub(super) struct FactsArgs {
    /// The name to show [default: the file's, without extension]
    #[arg(long)]
    pub(super) name: Option<String>,

    /// The type, such as mp4 [default: the file's extension]
    #[arg(long = "type", value_name = "TYPE")]
    pub(super) file_type: Option<String>,

    /// The class to file it under
    #[arg(long, value_name = "ID")]
    pub(super) class_id: Option<u64>,

    /// A tag; may be given more than once
    #[arg(long = "tag", value_name = "TAG")]
    pub(super) tags: Vec<String>,

    /// Transcode it after the upload
    #[arg(long)]
    pub(super) transcode: bool,

    /// Take a cover from it, with --transcode
    #[arg(long, requires = "transcode")]
    pub(super) screenshot: bool,

    /// Put the watermark on it, with --transcode
    #[arg(long, requires = "transcode")]
    pub(super) watermark: bool,
}

impl FactsArgs {
    /// A flag that says something of the file, if any does.
    pub(super) fn first_flag(&self) -> Option<&'static str> {
        let Self { name, file_type, class_id, tags, transcode, screenshot, watermark } = self;
        [
            (name.is_some(), "--name"),
            (file_type.is_some(), "--type"),
            (class_id.is_some(), "--class-id"),
            (!tags.is_empty(), "--tag"),
            (*transcode, "--transcode"),
            (*screenshot, "--screenshot"),
            (*watermark, "--watermark"),
        ]
        .into_iter()
        .find_map(|(said, flag)| said.then_some(flag))
    }

    /// The facts, with name and type by the file's path where no flag says otherwise.
    pub(super) fn facts(&self, path: &Path) -> FileFacts {
        let by_path = FileFacts::from_path(path);
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        if self.name.is_none() && by_path.name != stem {
            tracing::warn!(file = %stem, name = %by_path.name, "the service would not take the file's name: it gets another");
        }
        FileFacts {
            name: self.name.clone().unwrap_or(by_path.name),
            file_type: self.file_type.clone().unwrap_or(by_path.file_type),
            tags: self.tags.clone(),
            class_id: self.class_id,
            transcode: self.transcode,
            screenshot: self.screenshot,
            watermark: self.watermark,
            ..FileFacts::default()
        }
    }
}
