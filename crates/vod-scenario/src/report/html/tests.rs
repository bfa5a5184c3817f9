use vod_proto::exchange::End;

use super::*;
use crate::{
    evidence::{Event, Happening, Log},
    judge::crafted::{Story, mark},
    report::tests::run,
};

#[track_caller]
fn says(page: &str, words: &[&str]) {
    for word in words {
        assert!(page.contains(word), "{word:?} is not in\n{page}");
    }
}

#[test]
fn a_page_tells_the_verdict_what_repeats_it_and_what_was_seen() {
    let mut story = Story::plain();
    story.evidence.events.push(Event { after_seq: 0, what: Happening::StepBegan(1) });
    let page = page(&run(story));
    says(
        &page,
        &[
            "<title>pass: crafted on sim</title>",
            "<span class=\"badge pass\">pass</span> crafted",
            "<pre class=\"repeat\">cargo xtask scenario crafted --target sim --seed 7</pre>",
            "<td>invariants</td><td>nothing-lost</td><td><span class=\"sign pass\">✓ holds</span></td>",
            ">part 3</text>",
            ">step 1</text>",
        ],
    );
    assert!(!page.contains("What is wrong"), "{page}");
}

#[test]
fn a_finding_leads_to_the_request_that_it_names_and_a_bar_to_its_row() {
    let mut story = Story::plain();
    story.evidence.exchanges[2].end = End::Reset;
    let page = page(&run(story));
    says(&page, &["What is wrong", "<tr id=\"x3\" class=\"broken\">", "<a href=\"#x3\"><rect class=\"bar broken\""]);
    assert_eq!(
        linked("as in request 3, before request x").into_string(),
        "as in <a href=\"#x3\">request 3</a>, before request x"
    );
}

#[test]
fn whatever_came_over_the_wire_is_text_on_the_page_and_nothing_else() {
    let nasty = "</pre><script>alert('&\"')</script>";
    let mut story = Story::plain();
    story.scenario.why = nasty.to_owned();
    story.evidence.logs.push(Log { origin: nasty.to_owned(), text: nasty.to_owned() });
    story.evidence.exchanges[1].action = Some(nasty.to_owned());
    story.evidence.exchanges[2].faults.push(mark(nasty, false));
    story.evidence.left_behind.push(nasty.to_owned());
    story.evidence.events.push(Event { after_seq: 2, what: Happening::ClientKilled(nasty.to_owned()) });
    let mut run = run(story);
    run.story.name = nasty.to_owned();
    let page = page(&run);
    assert!(!page.contains("<script") && !page.contains("</script"), "{page}");
    says(&page, &["&lt;script&gt;alert('&amp;&quot;')"]);
    let listed = index(&[(&run, address(&[nasty]))]);
    assert!(!listed.contains("<script") && !listed.contains("</script"), "{listed}");
}

#[test]
fn a_page_needs_nothing_from_elsewhere_and_runs_nothing() {
    let page = page(&run(Story::plain()));
    for word in ["src=", "<link", "url(", "@import", "<script", "javascript:", "href=\"http"] {
        assert!(!page.contains(word), "{word} is in the page");
    }
    says(&page, &["default-src 'none'"]);
}

#[test]
fn no_secret_is_on_the_page_wherever_it_came_from() {
    let mut story = Story::plain();
    let secrets = story.evidence.secrets.clone();
    for secret in &secrets {
        let text = format!("signing with {}\n", secret.value);
        story.evidence.logs.push(Log { origin: "the client's stderr".to_owned(), text });
        story.evidence.left_behind.push(secret.value.clone());
    }
    let page = page(&run(story));
    for secret in &secrets {
        assert!(!page.contains(&secret.value), "{} is on the page", secret.name);
        says(&page, &[&format!("signing with [{}]", secret.name)]);
    }
    let special = [Secret { name: "a key", value: "a&b<c".to_owned() }];
    let text = html! { p { "a&b<c" } (PreEscaped("a&b<c")) }.into_string();
    assert_eq!(masked(text, &special), "<p>[a key]</p>[a key]");
}

#[test]
fn a_run_that_could_not_be_told_says_why() {
    let mut run = run(Story::plain());
    run.result = RunResult::NotRun(crate::not_run::NotRun::Mock { said: "no <room>".to_owned() });
    says(&page(&run), &["inconclusive", "It could not be run: the mock did not start: no &lt;room&gt;"]);
}

#[test]
fn an_index_leads_to_each_run_what_did_not_pass_first() {
    let mut bad = Story::plain();
    bad.evidence.evicted = 1;
    let mut runs = [run(Story::plain()), run(bad)];
    runs[0].story.name = "good[size=1MiB]".to_owned();
    let pages: Vec<_> =
        runs.iter().map(|run| (run, address(&["all runs", &format!("{}.html", run.story.name)]))).collect();
    let page = index(&pages);
    let bad = page.find("<a href=\"all%20runs/crafted.html\">crafted</a>").unwrap();
    let good = page.find("<a href=\"all%20runs/good%5Bsize%3D1MiB%5D.html\">good[size=1MiB]</a>").unwrap();
    assert!(bad < good, "{page}");
    says(&page, &["<title>1 inconclusive, 1 pass</title>"]);
}

#[test]
fn a_log_without_end_is_shown_to_its_end() {
    let page = page(&crate::report::tests::noisy());
    assert!(page.len() < 512 << 10, "{} bytes", page.len());
    assert!(
        page.contains("this is the end") && page.contains("bytes before this are left out"),
        "{} bytes",
        page.len()
    );
}
