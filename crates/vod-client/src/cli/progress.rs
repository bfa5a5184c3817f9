//! The progress bar, on a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use vod_proto::action::Role;

use crate::event::Event;

/// A bar that follows an upload's events.
pub(super) struct Progress {
    bar: ProgressBar,
    total: u64,
}

impl Progress {
    pub(super) fn new(visible: bool) -> Self {
        let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let template = "{msg:10} {wide_bar} {bytes:>10}/{total_bytes:10} {bytes_per_sec:>12} {eta:>4}";
        bar.set_style(ProgressStyle::with_template(template).expect("a template that the test has read"));
        if visible {
            bar.enable_steady_tick(Duration::from_millis(250));
        }
        Self { bar, total: 0 }
    }

    pub(super) fn show(&mut self, event: &Event) {
        match event {
            Event::Hashing { done, total } => {
                self.total = *total;
                self.begin("reading", *total, *done);
            }
            // What was acknowledged before may be gone: parts are counted again from what it has now.
            Event::Opened { held_bytes, .. } => {
                self.begin("uploading", self.total, *held_bytes);
                self.bar.reset_eta();
            }
            Event::PartDone { span, .. } => self.bar.inc(span.len),
            Event::Finishing => self.bar.set_message("finishing"),
            Event::Reopening { .. } => self.bar.set_message("asking"),
            Event::AttemptFailed { retry_in: Some(_), .. } => self.bar.set_message("retrying"),
            // There is nothing to open first, and each attempt sends all of it.
            Event::AttemptStarted { action, .. } if action.role() == Role::Whole => {
                self.begin("uploading", self.total, 0);
            }
            Event::AttemptStarted { .. } if self.bar.message() == "retrying" => self.bar.set_message("uploading"),
            _ => {}
        }
    }

    fn begin(&self, message: &'static str, total: u64, done: u64) {
        self.bar.set_length(total);
        self.bar.set_position(done);
        self.bar.set_message(message);
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use vod_proto::{Action, PartSpan};

    use super::*;

    #[test]
    fn the_bar_counts_parts_and_starts_again_when_the_upload_is_reopened() {
        let mut progress = Progress::new(false);
        progress.show(&Event::Hashing { done: 25, total: 25 });
        let opened = |held_bytes| Event::Opened { part_size: 10, parts: 3, listed: 0, held_bytes };
        progress.show(&opened(0));
        assert_eq!(progress.bar.position(), 0);
        progress.show(&Event::PartDone { span: PartSpan { offset: 20, len: 5 }, skipped: true });
        assert_eq!((progress.bar.position(), progress.bar.length()), (5, Some(25)));
        progress.show(&opened(10));
        assert_eq!(progress.bar.position(), 10);
    }

    #[test]
    fn a_file_that_is_sent_whole_fills_the_bar_once() {
        let mut progress = Progress::new(false);
        progress.show(&Event::Hashing { done: 25, total: 25 });
        progress.show(&Event::AttemptStarted { action: Action::SmallFileUpload, span: None, attempt: 1 });
        assert_eq!((progress.bar.position(), progress.bar.message()), (0, "uploading".to_owned()));
        progress.show(&Event::PartDone { span: PartSpan { offset: 0, len: 25 }, skipped: false });
        assert_eq!((progress.bar.position(), progress.bar.length()), (25, Some(25)));
    }
}
