//! What the README and the crate's front page show.

// The README shows from here …
use vod_mock::{Action, Fault, Requests, Verdict, VodMock};

#[tokio::test]
async fn a_lost_answer_to_the_finish_is_asked_for_again() {
    let mock = VodMock::start().await; // a random port, gone when dropped
    let account = mock.account(); // keys, uploads, faults and evidence of this test alone
    let lost = account.fault(Fault::on(Action::FinishUpload).attempt(1).after_commit(Verdict::Reset));
    account.expect(Requests::of(Action::UploadPart).acknowledged(), 2); // checked when it is dropped

    let file = vec![7; 700_000];
    upload(mock.endpoint(), account.secret_id(), account.secret_key(), &file).await.unwrap();

    assert_eq!(lost.struck(), 1); // had it never struck, dropping it would fail the test
    let finish = account.exchanges().action(Action::FinishUpload).acknowledged().one();
    assert_eq!(finish.attempt, 2);
}
// … to here.

use super::{SMALL, demo_uploads, failure};
use crate::uploader::upload;

/// What stands in a block of a page, in lines.
fn block<'p>(page: &'p str, fence: &str) -> Vec<&'p str> {
    let (_, from) = page.split_once(fence).unwrap_or_else(|| panic!("there is no {fence}"));
    from.split_once("```").expect("the block ends").0.lines().skip(1).map(str::trim_end).collect()
}

#[test]
fn the_readme_shows_a_test_that_is_run_here() {
    let (_, from) = include_str!("pages.rs").split_once("shows from here …\n").unwrap();
    let here: Vec<_> = from.split_once("// … to here.").unwrap().0.lines().collect();
    let shown = block(include_str!("../../../../../README.md"), "```rust");
    assert_eq!(shown, here, "the README and this file show different tests");
}

#[tokio::test]
async fn the_front_page_shows_the_failure_as_it_is() {
    let mock = VodMock::start().await;
    let unused = mock.fault(Fault::on(Action::FinishUpload).attempt(2).after_commit(Verdict::Reset));
    demo_uploads(&mock, SMALL).await.unwrap();
    let told = failure(|| drop(unused));
    let shown = block(include_str!("../../../src/lib.rs"), "```text");
    let shown: Vec<_> = shown.into_iter().filter_map(|line| line.strip_prefix("//! ")).collect();
    // Failures of these tests are told without lines and columns, and under this file's name.
    let told: Vec<_> = told.lines().map(|line| line.replace("at pages.rs", "at tests/upload.rs:12:25")).collect();
    assert_eq!(shown, told, "the front page shows another failure");
}
