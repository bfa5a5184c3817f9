//! Files one beside the other: each has its own end, and one's failure does not stop the others.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use futures_util::{FutureExt as _, StreamExt as _};
use vod_proto::{Action, FileFacts, PartSpan};

use super::{early, interrupt, output::Output, plan, progress::Progress};
use crate::{
    error::UploadError,
    event::Event,
    exit,
    report::UploadReport,
    source::{FileSource, Source as _},
    uploader::Uploader,
};

/// What is to be done.
pub(super) struct Batch<F> {
    pub(super) files: Vec<PathBuf>,
    /// How many files at once.
    pub(super) jobs: usize,
    /// Its connections are those of all files.
    pub(super) uploader: Uploader,
    /// What is said of a file.
    pub(super) facts: F,
    pub(super) output: Output,
    /// Only tell what would be done.
    pub(super) dry_run: bool,
}

/// Where a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It has not begun, or is under way.
    Open,
    /// From the first byte of a finish to its answer, the server may have stored the file.
    Finishing,
    /// It has ended, with this exit code.
    Ended(u8),
}

/// Where all files are.
struct Stages(Mutex<Vec<Stage>>);

impl Stages {
    fn set(&self, index: usize, stage: Stage) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[index] = stage;
    }

    fn all(&self) -> Vec<Stage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<F: Fn(&Path) -> FileFacts> Batch<F> {
    /// Uploads them all, prints how each went, and says the exit code. To be called within a runtime.
    pub(super) async fn run(self, progress: &Progress, argv: &[OsString]) -> u8 {
        let interrupted = interrupt::watch();
        let stages = Stages(Mutex::new(vec![Stage::Open; self.files.len()]));
        progress.expect(&self.files);
        let all = futures_util::stream::iter(self.files.iter().enumerate())
            .map(|(index, path)| self.one(index, path, progress, &stages))
            .buffer_unordered(self.jobs)
            .for_each(|()| std::future::ready(()));
        let stopped = tokio::select! {
            biased;
            () = all => false,
            // Before the uploads are dropped, and their bars with them.
            () = interrupted.inspect(|()| progress.leave()) => true,
        };
        let ends = stages.all();
        if stopped {
            return self.interrupted(&ends, argv);
        }
        progress.clear();
        self.ended(&ends)
    }

    async fn one(&self, index: usize, path: &Path, progress: &Progress, stages: &Stages) {
        let shown = self.shown(path);
        if self.dry_run {
            return stages.set(index, Stage::Ended(self.plan(index, path).await));
        }
        let result = self.upload(index, path, progress, stages).await;
        let code = result.as_ref().map_or_else(exit::of, |_| exit::OK);
        progress.suspend(|| match &result {
            Ok(report) => self.output.report(shown, report),
            Err(error) => self.output.error(shown, error),
        });
        stages.set(index, Stage::Ended(code));
    }

    async fn upload(
        &self,
        index: usize,
        path: &Path,
        progress: &Progress,
        stages: &Stages,
    ) -> Result<UploadReport, UploadError> {
        let mut bar = progress.begin(path);
        let source = FileSource::open(path).map_err(early)?;
        let total = source.len();
        let output = self.output;
        let observe = |event: Event| {
            if let Event::AttemptStarted { action, span, .. } = &event
                && may_commit(*action, *span, total)
            {
                stages.set(index, Stage::Finishing);
            }
            bar.show(&event);
            output.event(path, &event);
        };
        let result = self.uploader_of(index).upload_observed(source, (self.facts)(path), observe).await;
        bar.end(result.is_ok());
        result
    }

    /// Tells what an upload of the file would do, and says the exit code.
    async fn plan(&self, index: usize, path: &Path) -> u8 {
        match plan::make(&self.uploader_of(index), path, &(self.facts)(path)).await {
            Ok(plan) => {
                self.output.plan(path, &plan);
                exit::OK
            }
            Err(error) => {
                self.output.error(self.shown(path), &error);
                exit::of(&error)
            }
        }
    }

    fn uploader_of(&self, index: usize) -> Uploader {
        self.uploader.clone().seed(seed_of(self.uploader.options.seed, index))
    }

    /// Of a single file it is clear which one is meant.
    fn shown<'p>(&self, path: &'p Path) -> Named<'p> {
        Named { path, among_many: self.files.len() > 1 }
    }

    fn ended(&self, ends: &[Stage]) -> u8 {
        let codes = || ends.iter().filter_map(|stage| if let Stage::Ended(code) = stage { Some(*code) } else { None });
        if self.files.len() > 1 && !self.dry_run {
            self.output.remark(&counted(codes()));
        }
        exit::worst(codes())
    }

    fn interrupted(&self, ends: &[Stage], argv: &[OsString]) -> u8 {
        let open: Vec<_> = self.files.iter().zip(ends).filter(|(_, end)| !matches!(end, Stage::Ended(_))).collect();
        for (path, stage) in &open {
            self.output.interrupted(self.shown(path), **stage == Stage::Finishing);
        }
        // What failed is worth another try as much as what was stopped.
        let rest = self.files.iter().zip(ends).filter(|(_, end)| **end != Stage::Ended(exit::OK));
        let rest: Vec<&Path> = rest.map(|(path, _)| path.as_path()).collect();
        if self.files.len() > 1 {
            self.output.remark(&format!(
                "interrupted: {} of {} files stored",
                self.files.len() - rest.len(),
                self.files.len()
            ));
        }
        self.output.hint(&format!("to resume: {}", interrupt::command(argv, &rest, rest.len() == self.files.len())));
        exit::INTERRUPTED
    }
}

/// A file in a message.
#[derive(Clone, Copy)]
pub(super) struct Named<'a> {
    pub(super) path: &'a Path,
    /// Must it be said which one?
    pub(super) among_many: bool,
}

fn counted(codes: impl Iterator<Item = u8> + Clone) -> String {
    let (all, stored) = (codes.clone().count(), codes.filter(|code| *code == exit::OK).count());
    if all == stored {
        format!("all {all} files stored")
    } else {
        format!("{stored} of {all} files stored, {} failed", all - stored)
    }
}

/// May the server have stored the file once this is sent?
fn may_commit(action: Action, span: Option<PartSpan>, total: u64) -> bool {
    action.role().can_commit() && span.is_none_or(|span| span.end() == total)
}

/// Each file's own seed, so that two files with the same bytes draw different nonces; the first has the one that was
/// given, so that a run with one file is repeated by the seed that it logged.
const fn seed_of(seed: u64, index: usize) -> u64 {
    // The golden ratio in 64 bits: no two of fewer than 2⁶⁴ multiples are equal.
    seed.wrapping_add((index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_a_seed_of_its_own_and_the_first_the_one_that_was_given() {
        let mut seeds: Vec<_> = (0..1000).map(|index| seed_of(7, index)).collect();
        assert_eq!(seeds[0], 7);
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), 1000);
    }
}
