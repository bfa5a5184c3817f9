//! The bars, on a terminal: one for each file that is under way, and one for all of them.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use vod_proto::action::Role;

use super::output;
use crate::event::Event;

/// A file: what is done of it, its rate, and the time that is left.
const FILE: &str = "{prefix:24!} {msg:10} {wide_bar} {bytes:>10}/{total_bytes:10} {bytes_per_sec:>12} {eta:>4}";

/// The bars of a run.
pub(super) struct Progress {
    bars: MultiProgress,
    /// Bytes of all files that the server has. None where there is a single file, whose own bar says it all.
    total: Option<ProgressBar>,
    visible: bool,
    files: usize,
    stored: AtomicUsize,
}

impl Progress {
    /// The bars of so many files.
    pub(super) fn new(visible: bool, files: usize) -> Self {
        let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bars = MultiProgress::with_draw_target(target);
        let total = (files > 1).then(|| {
            let bar = bars.add(bar(visible));
            bar.set_prefix("total");
            bar.set_message(format!("0/{files}"));
            bar
        });
        Self { bars, total, visible, files, stored: AtomicUsize::new(0) }
    }

    /// These files are to come. What cannot be looked at will fail by itself, and counts nothing.
    pub(super) fn expect(&self, files: &[PathBuf]) {
        if let Some(total) = self.total.as_ref().filter(|_| self.visible) {
            total.set_length(files.iter().filter_map(|path| path.metadata().ok()).map(|file| file.len()).sum());
        }
    }

    /// The bar of a file that begins now.
    pub(super) fn begin(&self, path: &Path) -> FileBar<'_> {
        let bar = bar(self.visible);
        let bar = match &self.total {
            Some(total) => self.bars.insert_before(total, bar),
            None => self.bars.add(bar),
        };
        bar.set_prefix(path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned());
        FileBar { progress: self, bar, size: 0, counted: 0 }
    }

    /// Does what prints, with the bars out of the way.
    pub(super) fn suspend(&self, print: impl FnOnce()) {
        self.bars.suspend(print);
    }

    /// Takes all bars away.
    pub(super) fn clear(&self) {
        // It fails where the terminal is gone.
        let _ = self.bars.clear();
    }

    /// Leaves all bars as they are, and goes on below them: the terminal has written `^C` behind the last one, and what
    /// would be cleared is not where it was any more.
    pub(super) fn leave(&self) {
        self.bars.set_draw_target(ProgressDrawTarget::hidden());
        if self.visible {
            output::below();
        }
    }
}

fn bar(visible: bool) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
    bar.set_style(ProgressStyle::with_template(FILE).expect("a template that the tests have read"));
    if visible {
        bar.enable_steady_tick(Duration::from_millis(250));
    }
    bar
}

/// A bar that follows the events of one upload. It vanishes with the upload, whatever ended it.
pub(super) struct FileBar<'a> {
    progress: &'a Progress,
    bar: ProgressBar,
    /// The file's size in bytes.
    size: u64,
    /// What the total has of this file.
    counted: u64,
}

impl FileBar<'_> {
    pub(super) fn show(&mut self, event: &Event) {
        match event {
            Event::Queued { total } => {
                self.size = *total;
                self.begin("reading", *total, 0);
            }
            Event::Hashing { done, total } => self.begin("reading", *total, *done),
            // What was acknowledged before may be gone: parts are counted again from what it has now.
            Event::Opened { held_bytes, .. } => {
                self.begin("uploading", self.size, *held_bytes);
                self.bar.reset_eta();
                self.count(*held_bytes);
            }
            Event::PartDone { span, .. } => {
                self.bar.inc(span.len);
                self.count(self.counted + span.len);
            }
            Event::Finishing => self.bar.set_message("finishing"),
            Event::Reopening { .. } => self.bar.set_message("asking"),
            Event::AttemptFailed { retry_in: Some(_), .. } => self.bar.set_message("retrying"),
            // There is nothing to open first, and each attempt sends all of it.
            Event::AttemptStarted { action, .. } if action.role() == Role::Whole => {
                self.begin("uploading", self.size, 0);
            }
            Event::AttemptStarted { .. } if self.bar.message() == "retrying" => self.bar.set_message("uploading"),
            _ => {}
        }
    }

    /// The upload ended. A file that is stored counts whole, wherever its bytes came from; one that failed is not to
    /// come any more.
    pub(super) fn end(&mut self, stored: bool) {
        let Some(total) = &self.progress.total else { return };
        if stored {
            let stored = self.progress.stored.fetch_add(1, Ordering::Relaxed) + 1;
            total.set_message(format!("{stored}/{}", self.progress.files));
            self.count(self.size);
        } else {
            self.count(0);
            total.set_length(total.length().unwrap_or_default().saturating_sub(self.size));
        }
    }

    fn begin(&self, message: &'static str, total: u64, done: u64) {
        self.bar.set_length(total);
        self.bar.set_position(done);
        self.bar.set_message(message);
    }

    /// So much of the file is there.
    fn count(&mut self, bytes: u64) {
        if let Some(total) = &self.progress.total {
            total.set_position((total.position() + bytes).saturating_sub(self.counted));
        }
        self.counted = bytes;
    }
}

impl Drop for FileBar<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        self.progress.bars.remove(&self.bar);
    }
}

#[cfg(test)]
mod tests {
    use vod_proto::{Action, PartSpan};

    use super::*;

    fn opened(held_bytes: u64) -> Event {
        Event::Opened { part_size: 10, parts: 3, listed: 0, held_bytes }
    }

    fn part(offset: u64, len: u64) -> Event {
        Event::PartDone { span: PartSpan { offset, len }, skipped: true }
    }

    #[test]
    fn a_bar_counts_parts_and_starts_again_when_the_upload_is_reopened() {
        let progress = Progress::new(false, 1);
        let mut file = progress.begin("a".as_ref());
        file.show(&Event::Queued { total: 25 });
        file.show(&opened(0));
        assert_eq!(file.bar.position(), 0);
        file.show(&part(20, 5));
        assert_eq!((file.bar.position(), file.bar.length()), (5, Some(25)));
        file.show(&opened(10));
        assert_eq!(file.bar.position(), 10);
    }

    #[test]
    fn a_file_that_is_sent_whole_fills_the_bar_once() {
        let progress = Progress::new(false, 1);
        let mut file = progress.begin("a".as_ref());
        file.show(&Event::Queued { total: 25 });
        file.show(&Event::AttemptStarted { action: Action::SmallFileUpload, span: None, attempt: 1 });
        assert_eq!((file.bar.position(), file.bar.message()), (0, "uploading".to_owned()));
        file.show(&part(0, 25));
        assert_eq!((file.bar.position(), file.bar.length()), (25, Some(25)));
    }

    #[test]
    fn the_total_counts_what_the_server_has_of_all_files_and_forgets_one_that_failed() {
        let progress = Progress::new(false, 3);
        let total = progress.total.as_ref().unwrap();
        total.set_length(60);
        let begin = |name: &str, size| {
            let mut file = progress.begin(name.as_ref());
            file.show(&Event::Queued { total: size });
            file
        };
        let (mut a, mut b, mut c) = (begin("a", 25), begin("b", 25), begin("c", 10));
        assert_eq!(total.position(), 0, "reading is no uploading");
        a.show(&opened(5));
        a.show(&part(5, 10));
        b.show(&part(0, 10));
        assert_eq!(total.position(), 25);
        a.show(&opened(10));
        assert_eq!(total.position(), 20, "the server has less of a than it said");
        a.end(true);
        assert_eq!((total.position(), total.message()), (35, "1/3".to_owned()), "a is there");
        b.end(false);
        assert_eq!((total.position(), total.length()), (25, Some(35)), "b is not to come");
        c.end(true);
        assert_eq!((total.position(), total.length(), total.message()), (35, Some(35), "2/3".to_owned()));
    }
}
