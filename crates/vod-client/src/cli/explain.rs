//! `vod-client explain`: what a code means, whether it is tried again, what the client does, what its user can do.
//!
//! The words are those of the tables that the client decides by; nothing is known here alone.

use std::fmt::Write as _;

use clap::Args;
use vod_proto::{
    Action, Code, Family,
    action::Role,
    code::{self, CodeRow, RetryClass, Spoken},
    params::{self, Param},
    retry,
};

use crate::{
    core::RetryPolicy,
    error::{ConfigError, Failure},
    exit::{self, ExitRow},
};

#[derive(Args)]
pub(super) struct ExplainArgs {
    /// A code that the server answered, such as -10004; `http 503` for an HTTP status; `exit 6` for an exit code of this
    /// program; without any, all codes
    #[arg(value_name = "CODE", num_args = 0..=2, allow_negative_numbers = true)]
    what: Vec<String>,
}

/// Prints what is known of a code, and says the exit code.
pub(super) fn run(args: &ExplainArgs) -> u8 {
    super::conclude(explain(&args.what))
}

fn explain(what: &[String]) -> Result<String, Failure> {
    let unreadable = |found: &str| ConfigError::Setting {
        name: "the code",
        found: format!("{found:?}: expected a number such as -10004, or `http 503`, or `exit 6`"),
    };
    let words: Vec<_> = what.iter().map(String::as_str).collect();
    Ok(match words[..] {
        [] => all(),
        ["exit"] => exit::TABLE.iter().map(exit_line).collect::<Vec<_>>().join("\n"),
        ["exit", number] => exit_code(number.parse().map_err(|_| unreadable(number))?),
        ["http", number] => {
            let status = number.parse().ok().filter(|status| (100..600).contains(status));
            http_status(status.ok_or_else(|| unreadable(number))?)
        }
        [number] => code(Code(number.parse().map_err(|_| unreadable(number))?)),
        _ => return Err(unreadable(&words.join(" ")).into()),
    })
}

/// Every code, one a line.
fn all() -> String {
    let line = |row: &CodeRow| {
        let class = match row.retry {
            RetryClass::Final => "final",
            RetryClass::Again => "again",
            RetryClass::AfterWait => "after a wait",
        };
        format!("{:>6}  {:<12}  {:<11}  {}", row.code.0, class, row.spoken.to_string(), row.meaning)
    };
    code::TABLE.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What one code of a reply comes to.
fn code(code: Code) -> String {
    let mut text = match (code, code.meaning()) {
        (_, Some(row)) => known(row),
        (Code::OK, None) => return "0: done".to_owned(),
        (Code::RESUME, None) => {
            return "1: part of the file is there. An answer to an opening request: the client sends what is missing."
                .to_owned();
        }
        (Code::EXISTS, None) => {
            return "2: the whole file is there. An answer to an opening request: the client is done, and reports `existed`."
                .to_owned();
        }
        (_, None) => unknown(code),
    };
    if (100..600).contains(&code.0) {
        let _ = write!(text, "\nAn HTTP status is another thing: `vod-client explain http {code}`.");
    }
    text
}

fn known(row: &CodeRow) -> String {
    let CodeRow { code, spoken, retry, meaning, check } = row;
    let families: &[Family] = match spoken {
        Spoken::Upload => &[Family::Server, Family::Ugc],
        Spoken::Legacy => &[Family::Legacy],
        Spoken::Common => &Family::ALL,
    };
    let mut text = format!("{code}: {meaning}\nfamilies: {spoken}\n");
    let flag = match (code.0 < 0, spoken) {
        (true, Spoken::Legacy) => "; this family's replies have no canRetry",
        (true, _) if *retry == RetryClass::Final => "; but yes if the reply says canRetry 1",
        (true, _) => "; but no if the reply says canRetry 0",
        (false, _) => ", whatever canRetry says",
    };
    let again = match retry {
        RetryClass::Final => "no",
        RetryClass::Again => "yes",
        RetryClass::AfterWait => "yes, after a wait that is charged to nobody",
    };
    let _ = writeln!(text, "sent again: {again}{flag}");
    if *retry != RetryClass::Final {
        text.push_str(&repeats(families));
    }
    let refusals = actions(families).filter_map(|action| {
        let names: Vec<_> = params::of(action).iter().filter(|param| param.refusal == *code).map(name).collect();
        (!names.is_empty()).then(|| format!("  {action}: {}\n", names.join(", ")))
    });
    let refusals: String = refusals.collect();
    if !refusals.is_empty() {
        let _ = write!(text, "answers a parameter that is missing or wrong:\n{refusals}");
    }
    let _ = write!(text, "the client: {}\nyou: {check}", conduct(*code, *retry, *spoken));
    text
}

fn unknown(code: Code) -> String {
    let rule = if code.0 < 0 {
        "The rule for unknown negative codes: the same request is sent again if the reply says canRetry 1, and is final \
         if it says 0 or nothing."
    } else {
        "The rule for unknown positive codes: a failure, and final, whatever canRetry says."
    };
    format!(
        "{code}: no document names this code\n{rule}\nthe client: {}\nyou: read the message that came with it",
        conduct(code, code.retry_class(None), Spoken::Common)
    )
}

/// What the client does about it.
fn conduct(code: Code, class: RetryClass, spoken: Spoken) -> String {
    let policy = RetryPolicy::default();
    let ends = "ends with exit code 5; if it answers a finish, it asks first whether a part is missing, at most twice in \
                an upload";
    match class {
        // Its last part is its finish, and whether one is missing the server says itself.
        RetryClass::Final if spoken == Spoken::Legacy => "ends with exit code 5".to_owned(),
        RetryClass::Final => ends.to_owned(),
        RetryClass::AfterWait => format!(
            "waits and sends it again, for up to {} min; then ends with exit code 6",
            policy.quota_patience.as_secs() / 60
        ),
        RetryClass::Again => {
            let reopen = if code == Code::CACHE_READ {
                "; twice in a row on one request, it opens the upload again, and sends what the server lacks"
            } else {
                ""
            };
            format!(
                "sends it again, {} times in all and {} retries in an upload (--attempts){reopen}; then ends with exit \
                 code 6",
                policy.attempts, policy.budget
            )
        }
    }
}

/// What an HTTP status without a reply of the protocol comes to.
fn http_status(status: u16) -> String {
    let (meaning, again) = match status {
        429 => ("too many requests: turned away at the door", "yes: the server did not act on it"),
        500..600 => ("a failure of the server, or of a proxy before it", "yes, by what sending it twice comes to:"),
        200..300 => {
            return format!(
                "HTTP {status}: all is well, if the body is a reply of the protocol. If it is none, the client sends the \
                 request again, and then ends with exit code 6."
            );
        }
        _ => (
            "if the body is a reply of the protocol, that counts and not the status; otherwise something else than the \
             service answered",
            "yes, by what sending it twice comes to:",
        ),
    };
    let mut text = format!("HTTP {status}: {meaning}\nsent again: {again}\n");
    if status != 429 {
        text.push_str(&repeats(&Family::ALL));
    }
    let policy = RetryPolicy::default();
    let _ = write!(
        text,
        "the client: sends it again, {} times in all (--attempts), not before the reply's Retry-After, of which it \
         honours {} s; then ends with exit code 6\nyou: check the endpoint, and what stands between",
        policy.attempts,
        policy.retry_after_max.as_secs()
    );
    text
}

fn exit_code(number: u8) -> String {
    exit::TABLE.iter().find(|row| row.code == number).map_or_else(
        || format!("exit code {number}: this program ends with no such code; above 128, a signal ended it"),
        |row| {
            let kind = row.kind.map(|kind| format!("\nkind in --json: {kind}")).unwrap_or_default();
            format!("exit code {}: {}{kind}\nyou: {}", row.code, row.meaning, row.then)
        },
    )
}

fn exit_line(row: &ExitRow) -> String {
    format!("{:>3}  {}", row.code, row.meaning)
}

fn name(param: &Param) -> &'static str {
    param.name
}

/// What sending each action twice comes to; those that come to the same stand together.
fn repeats(families: &[Family]) -> String {
    let mut lines: Vec<(String, &str)> = Vec::new();
    for action in actions(families) {
        let says = retry::of(action).says;
        match lines.iter_mut().find(|(_, other)| *other == says) {
            Some((names, _)) => names.extend([", ", action.wire_name()]),
            None => lines.push((action.wire_name().to_owned(), says)),
        }
    }
    lines.into_iter().map(|(names, says)| format!("  {names}: {says}\n")).collect()
}

/// The actions that this client sends, of some families.
fn actions(families: &[Family]) -> impl Iterator<Item = Action> {
    Action::ALL.into_iter().filter(|action| families.contains(&action.family()) && action.role() != Role::Report)
}

#[cfg(test)]
mod tests;
