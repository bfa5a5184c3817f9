//! What the documents demand of every client.

use vod_proto::{
    lint::{self, Lacking, lint},
    rules,
};

use crate::{
    format::Dialect,
    judge::{Case, Finding},
};

/// The linter finds nothing. What the requests of public clients look like breaks some of the rules of the wire form:
/// of a client that speaks as they do, only the others are asked.
pub(super) fn kept(case: Case<'_>) -> Vec<Finding> {
    let documented = case
        .evidence
        .steps
        .iter()
        .all(|step| case.scenario.of(step.began, step.who).client.dialect == Dialect::Documented);
    let exchanges = &case.evidence.exchanges;
    let mut found = lint(exchanges, &Lacking::by_numbers(exchanges), &case.scenario.limits).findings;
    found.retain(|finding| documented || !rules::WIRE.contains(&finding.rule));
    // A journal does not tell who sent what: whether it was the one that was refused is known here, and not there.
    let again = [&rules::NOTHING_AFTER_FINAL, &rules::CAN_RETRY];
    found.retain(|finding| !again.contains(&finding.rule) || within_a_step(case, &finding.exchanges));
    each_rule(&found).into_iter().map(Finding::broken).collect()
}

/// One breach of each rule, and how many more there are of it: a client that breaks one mostly breaks it all the time.
fn each_rule(found: &[lint::Finding]) -> Vec<String> {
    let of = |rule| found.iter().filter(move |finding| finding.rule == rule);
    let first =
        found.iter().enumerate().filter(|(at, finding)| found[..*at].iter().all(|other| other.rule != finding.rule));
    first
        .map(|(_, finding)| match of(finding.rule).count() - 1 {
            0 => finding.to_string(),
            more => format!("{finding}; and {more} more of it"),
        })
        .collect()
}

/// Are the last two of these of one process?
fn within_a_step(case: Case<'_>, proof: &[u64]) -> bool {
    let [.., refused, again] = proof else { return true };
    let process = |seq: u64| {
        let exchange = case.evidence.exchanges.iter().find(|exchange| exchange.seq == seq);
        exchange.and_then(|exchange| case.evidence.upload_of(exchange))
    };
    process(*refused) == process(*again)
}

#[cfg(test)]
mod tests {
    use crate::judge::crafted::Story;

    const ID: &str = "documents-kept";

    #[test]
    fn a_breach_of_the_wire_form_counts_in_the_documented_dialect_alone() {
        let by_post = |client: &str| {
            let mut story = Story::with("");
            story.scenario.client.dialect = match client {
                "observed" => crate::format::Dialect::Observed,
                _ => crate::format::Dialect::Documented,
            };
            story.evidence.exchanges[0].request.method = "POST".to_owned();
            story
        };
        by_post("documented").assert_broken(ID, "documented-method: InitUpload was sent by POST");
        by_post("observed").assert_holds(ID);
    }

    #[test]
    fn a_rule_that_is_broken_all_the_time_is_told_once_and_hides_no_other() {
        let mut story = Story::with("");
        for exchange in &mut story.evidence.exchanges {
            exchange.request.method = "PUT".to_owned();
        }
        story.push_part(0, r#"{"code":0}"#);
        let found = story.findings(ID);
        let of_rule = |id: &str| found.iter().filter(|finding| finding.why().contains(id)).collect::<Vec<_>>();
        assert_eq!(of_rule("documented-method").len(), 1, "{found:?}");
        assert!(of_rule("documented-method")[0].why().ends_with("; and 2 more of it"), "{found:?}");
        assert!(!of_rule("no-part-after-stored").is_empty(), "{found:?}");
    }

    #[test]
    fn what_is_missing_accuses_nobody() {
        let mut story = Story::plain();
        // The first part, again, after the finish.
        story.push_part(0, r#"{"code":0}"#);
        story.assert_broken(ID, "no-part-after-stored");
        story.lose(4);
        story.assert_holds(ID);
        story.evidence.exchanges[0].request.method = "POST".to_owned();
        story.assert_broken(ID, "documented-method: InitUpload was sent by POST");
    }

    #[test]
    fn what_one_process_was_refused_another_may_ask() {
        let refused = r#"{"code":-10003,"canRetry":0}"#;
        let story = |steps: usize| {
            let mut story = Story::plain();
            story.evidence.exchanges.clear();
            story.evidence.steps.clear();
            for number in 1..=3 {
                story.push(vod_proto::Action::InitUpload, None, refused);
                if number < 3 && steps == 3 {
                    story.end_step(crate::judge::crafted::failed());
                }
            }
            story.end_step(crate::judge::crafted::failed());
            story
        };
        story(1).assert_broken(ID, "can-retry: InitUpload");
        story(3).assert_holds(ID);
    }

    #[test]
    fn a_breach_of_conduct_counts_in_every_dialect() {
        let mut story = Story::with("");
        story.scenario.client.dialect = crate::format::Dialect::Observed;
        story.push_part(0, r#"{"code":0}"#);
        story.assert_broken(ID, "(exchanges ");
    }
}
