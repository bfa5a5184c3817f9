//! What the documents demand of every client.

use vod_proto::{
    lint::{Lacking, lint},
    rules,
};

use crate::{
    format::Dialect,
    judge::{Case, Finding},
};

/// The linter finds nothing. What the requests of public clients look like breaks some of the rules of the wire form:
/// of a client that speaks as they do, only the others are asked.
pub(super) fn kept(case: Case<'_>) -> Vec<Finding> {
    let documented = case.scenario.client.dialect == Dialect::Documented;
    let exchanges = &case.evidence.exchanges;
    let mut found = lint(exchanges, &Lacking::by_numbers(exchanges), &case.scenario.limits).findings;
    found.retain(|finding| documented || !rules::WIRE.contains(&finding.rule));
    found.iter().map(|finding| Finding::broken(finding.to_string())).collect()
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
    fn a_breach_of_conduct_counts_in_every_dialect() {
        let mut story = Story::with("");
        story.scenario.client.dialect = crate::format::Dialect::Observed;
        story.push_part(0, r#"{"code":0}"#);
        story.assert_broken(ID, "(exchanges ");
    }
}
