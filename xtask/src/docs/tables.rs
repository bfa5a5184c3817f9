//! The tables that are printed from `vod-proto`.

use vod_proto::{
    Action, Family,
    code::{self, RetryClass},
    event::{self, TranscodeFault},
    params::{self, Param},
    retry::{self, LostReply, Repeat},
    rules::{self, Rule},
};

/// The fields of an upload signature, among the tables of parameters.
const SIGNATURE: &str = "signature";

/// What every request carries, among the tables of parameters.
const COMMON: &str = "common";

/// The names of all tables.
pub(super) fn names() -> Vec<String> {
    let parameters = [COMMON, SIGNATURE].into_iter().chain(Action::ALL.map(Action::wire_name));
    let single = ["codes", "actions", "rules wire", "rules order", "rules conduct", "transcode-codes"];
    single.map(str::to_owned).into_iter().chain(parameters.map(|of| format!("parameters {of}"))).collect()
}

/// A table, by its name.
///
/// # Errors
/// Says that there is none of this name, and which there are.
pub(super) fn render(name: &str) -> Result<String, String> {
    Ok(match name {
        "codes" => codes(),
        "actions" => actions(),
        "rules wire" => rules_table(rules::WIRE),
        "rules order" => rules_table(rules::ORDER),
        "rules conduct" => rules_table(rules::CONDUCT),
        "transcode-codes" => transcode_codes(),
        _ => match name.strip_prefix("parameters ") {
            Some(COMMON) => common(),
            Some(SIGNATURE) => parameters("field", params::TOKEN_FIELDS),
            Some(of) => parameters("parameter", params::of(of.parse::<Action>().map_err(|error| error.to_string())?)),
            None => return Err(format!("there is no table {name:?}, expected one of {}", names().join(", "))),
        },
    })
}

/// Writes a table in Markdown.
fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let line = |cells: [String; N]| format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
    let rule = format!("|{}\n", "---|".repeat(N));
    line(head.map(str::to_owned)) + &rule + &rows.into_iter().map(line).collect::<String>()
}

fn codes() -> String {
    let rows = code::TABLE.iter().map(|row| {
        let class = match row.retry {
            RetryClass::Final => "final",
            RetryClass::Again => "again",
            RetryClass::AfterWait => "again, after a wait",
        };
        [row.code.to_string(), row.spoken.to_string(), row.meaning.to_owned(), row.check.to_owned(), class.to_owned()]
    });
    table(["code", "families", "meaning", "what to check", "class without `canRetry`"], rows)
}

fn actions() -> String {
    let rows = Action::ALL.map(retry::of).map(|row| {
        let repeat = match row.repeat {
            Repeat::Tells => "tells the state",
            Repeat::Replaces => "replaces the first",
            Repeat::SameAnswer => "is answered like the first",
            Repeat::Redirected => "is told where to go on",
            Repeat::Harmless => "is done twice, harmlessly",
        };
        let lost = match row.lost {
            LostReply::SendAgain => "send it again",
            LostReply::AskFirst => "ask the opening action first",
            LostReply::LetBe => "let it be",
        };
        [code_span(row.action.wire_name()), repeat.to_owned(), lost.to_owned(), row.says.to_owned()]
    });
    table(["action", "sent twice, the second", "when its reply is lost", "because"], rows)
}

fn common() -> String {
    let rows = params::COMMON.iter().map(|param| {
        let [name, required, expected, refusal] = cells(param);
        [name, required, expected, refusal, params::common_refusal(Family::Legacy, param.name).to_string()]
    });
    table(["parameter", "required", "what it must be", "refused with", "by the legacy action with"], rows)
}

fn parameters(kind: &str, list: &[Param]) -> String {
    table([kind, "required", "what it must be", "refused with"], list.iter().map(cells))
}

fn cells(param: &Param) -> [String; 4] {
    let required = if param.required { "yes" } else { "no" };
    [code_span(param.name), required.to_owned(), param.expected.to_owned(), param.refusal.to_string()]
}

fn rules_table(section: &[&Rule]) -> String {
    let rows = section.iter().map(|rule| {
        let refusal = rule.refusal.map_or_else(|| "like `observed`".to_owned(), |code| code.to_string());
        [code_span(rule.id), rule.severity.to_string(), rule.says.to_owned(), rule.source.to_owned(), refusal]
    });
    table(["rule", "severity", "demand", "where it stands", "`documented` answers"], rows)
}

fn transcode_codes() -> String {
    let rows = event::TRANSCODE_CODES.iter().map(|row| {
        let fault = match row.fault {
            TranscodeFault::Internal => "the service's",
            TranscodeFault::External => "the file's",
        };
        [row.code.to_string(), fault.to_owned(), row.meaning.to_owned()]
    });
    table(["code", "whose fault", "meaning"], rows)
}

fn code_span(text: &str) -> String {
    format!("`{text}`")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn every_name_is_a_table_and_no_other_is() {
        for name in names() {
            let shown = render(&name).unwrap();
            let bars: Vec<_> = shown.lines().map(|line| line.replace("\\|", "").matches('|').count()).collect();
            assert!(bars.len() > 2 && bars.iter().all(|count| count == &bars[0]), "{shown}");
        }
        assert!(render("parameters InitUplaod").unwrap_err().contains("InitUplaod"));
        assert!(render("code").unwrap_err().contains("transcode-codes"));
    }

    #[test]
    fn a_table_of_parameters() {
        expect![[r#"
            | parameter | required | what it must be | refused with |
            |---|---|---|---|
            | `fileSha` | yes | the file's SHA-1 in hexadecimal digits | -10003 |
            | `signature` | yes | an upload signature | -10002 |
        "#]]
        .assert_eq(&render("parameters FinishUploadEx").unwrap());
    }

    #[test]
    fn a_bar_in_a_cell_does_not_end_it() {
        assert_eq!(table(["a"], [["b|c".to_owned()]]), "| a |\n|---|\n| b\\|c |\n");
    }
}
