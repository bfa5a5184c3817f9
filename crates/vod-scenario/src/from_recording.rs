//! A recorded failure as a scenario: what went wrong with each request becomes a fault at the same place.
//!
//! What cannot be said as a fault stands in a comment, with the request and the reason.

//!
//! - `steps`: which uploads the recording is of, one after the other, and how each ended.

mod steps;

use std::{collections::BTreeMap, fmt::Write as _, path::Path, time::Duration};

use vod_proto::{
    Action, Exchange, Family, PartSpan, Sha1, Size,
    action::Role,
    exchange::End,
    reply::{InitReply, Reply},
};
use vod_serve::{
    KillTarget,
    fault::{Fault, HttpFault, Phase, ReplyFault, Selector, Stall, Verdict},
    journal::JournalError,
};

use crate::format::Scenario;

/// How many parts are said to be under way at a time at most, however many the recording has.
const PARALLEL_MOST: usize = 16;

/// A recording of which no scenario can be made.
#[derive(Debug, thiserror::Error)]
pub enum NoScenario {
    /// It cannot be read.
    #[error(transparent)]
    Recording(#[from] vod_proxy::RecordingError),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// There is no upload in it.
    #[error("{path} has no request of an upload: there is no story to tell")]
    NoUpload {
        /// What was read.
        path: String,
    },
    /// What was written is refused. It is a mistake of ours.
    #[error("what came of it is no scenario: {0}")]
    Refused(String),
}

/// Reads a recording's directory, or a journal's file, and writes a scenario that tells its failures again.
///
/// # Errors
/// If it cannot be read, or holds no upload.
pub fn from_recording(path: &Path) -> Result<String, NoScenario> {
    let exchanges = if path.is_dir() {
        vod_proxy::Recording::open(path)?.exchanges()?.0
    } else {
        let mut exchanges = Vec::new();
        vod_serve::journal::read(path, None, |exchange| exchanges.push(exchange))?;
        exchanges.sort_by_key(|exchange| exchange.seq);
        exchanges
    };
    let name = path.display().to_string();
    scenario(&name, &exchanges)?.ok_or(NoScenario::NoUpload { path: name })
}

/// What a recorded upload was like.
struct Upload<'a> {
    exchanges: Vec<&'a Exchange>,
    family: Family,
    size: u64,
    part_size: u64,
    parallel: usize,
}

/// The text of the scenario; none where nothing was uploaded.
fn scenario(name: &str, exchanges: &[Exchange]) -> Result<Option<String>, NoScenario> {
    let Some(upload) = Upload::of(exchanges) else { return Ok(None) };
    let mut text = upload.beginning(name);
    let others = exchanges.iter().filter(|exchange| !upload.has(exchange)).count();
    if others > 0 {
        let _ =
            writeln!(text, "# {others} requests of the recording are of other uploads, or of none, and are left out.");
    }
    let (mut kills, mut accepted, mut told, mut untold) = (0, text.clone(), BTreeMap::new(), BTreeMap::new());
    for exchange in &upload.exchanges {
        let candidate = match upload.fault(exchange) {
            Ok(None) => continue,
            Ok(Some(candidate)) => candidate,
            Err(why) => {
                untold.insert(exchange.seq, format!("{why}."));
                continue;
            }
        };
        let more = usize::from(candidate.fault.verdict == Verdict::Kill(KillTarget::Client));
        let killed = "\n[[step]]\nupload = {}\nexpect = \"killed\"\n".repeat(kills + more);
        let with_it = format!("{accepted}{}", written(&candidate));
        // A fault that no file may plan, such as one of a part that this source has not, is told instead.
        match Scenario::parse("fault", &format!("{with_it}{killed}\n[[step]]\nupload = {{}}\nexpect = \"there\"\n")) {
            Ok(_) => {
                (accepted, kills) = (with_it, kills + more);
                told.insert(exchange.seq, candidate);
            }
            Err(error) => {
                let first = error.to_string().lines().next().unwrap_or_default().to_owned();
                untold.insert(exchange.seq, first);
            }
        }
    }
    let steps = upload.steps(&told);
    for exchange in &upload.exchanges {
        if let Some(told) = told.get_mut(&exchange.seq) {
            if steps.iter().any(|step| step.is_added && step.before <= exchange.seq) {
                // The upload that is added sends the request once more before.
                told.fault.on.attempt = told.fault.on.attempt.map(|attempt| attempt.saturating_add(1));
            }
            text.push_str(&written(told));
        } else if let Some(why) = untold.get(&exchange.seq) {
            let _ = writeln!(text, "\n# {}: {why}", exchange.name());
        }
    }
    for step in &steps {
        text.push_str(&step.to_string());
    }
    match Scenario::parse(name, &text) {
        Ok(_) => Ok(Some(text)),
        Err(error) => Err(NoScenario::Refused(error.to_string())),
    }
}

/// A fault, and what is to be said of it.
struct Told {
    fault: Fault,
    remark: String,
}

fn written(Told { fault, remark }: &Told) -> String {
    let inline =
        |value: Result<toml::Value, toml::ser::Error>| value.map_or_else(|_| String::new(), |value| value.to_string());
    let mut text = format!("\n# {remark}\n[[fault]]\nid = {}\n", inline(toml::Value::try_from(&fault.id)));
    let _ = writeln!(text, "on = {}", inline(toml::Value::try_from(&fault.on)));
    let _ = writeln!(text, "phase = {}", inline(toml::Value::try_from(fault.phase)));
    if let Some(at) = fault.at {
        let _ = writeln!(text, "at = {at}");
    }
    let _ = writeln!(text, "do = {}", inline(toml::Value::try_from(&fault.verdict)));
    text
}

impl<'a> Upload<'a> {
    /// The upload that went wrong first, or else the first.
    fn of(exchanges: &'a [Exchange]) -> Option<Self> {
        let of_upload = |exchange: &&Exchange| exchange.file_sha1.is_some() && exchange.known_action().is_some();
        let failed = exchanges.iter().filter(of_upload).find(|exchange| failed(exchange));
        let first = failed.or_else(|| exchanges.iter().find(of_upload))?;
        let (family, sha1) = (first.known_action()?.family(), first.file_sha1?);
        let whose = |exchange: &&Exchange| is_of(exchange, first.account.as_deref(), sha1);
        let exchanges: Vec<_> = exchanges.iter().filter(whose).collect();
        let number = |exchange: &&Exchange, name| exchange.path_and_query().1.get(name)?.parse::<u64>().ok();
        let opening = |exchange: &&&Exchange| exchange.part.is_none();
        let spans = || exchanges.iter().filter_map(|exchange| exchange.part);
        let said = exchanges.iter().find_map(|exchange| number(exchange, "fileSize"));
        let size = said.or_else(|| spans().map(PartSpan::end).max()).unwrap_or(1).max(1);
        let asked = exchanges.iter().filter(opening).find_map(|exchange| number(exchange, "dataSize"));
        let part_size = asked.or_else(|| spans().map(|part| part.len).max()).unwrap_or(1 << 20).max(1);
        let under_way = |at: i64| spans_at(&exchanges, at);
        let parallel = exchanges.iter().map(|exchange| under_way(exchange.start.as_microsecond())).max();
        let parallel = parallel.unwrap_or(1).clamp(1, PARALLEL_MOST);
        Some(Self { exchanges, family, size, part_size, parallel })
    }

    fn has(&self, exchange: &Exchange) -> bool {
        self.exchanges.iter().any(|own| own.seq == exchange.seq)
    }

    fn beginning(&self, name: &str) -> String {
        let why = format!("What went wrong in the recording {name} must not go wrong for the user.");
        format!(
            "format = 1\nwhy = {}\ntags = [\"recorded\"]\n\n[source] # as large as what was recorded, of other bytes\nsize = {}\n\
             seed = 1\n\n[client]\nfamily = \"{}\"\nparallel = {}\npart-size = {}\n",
            toml::Value::from(why),
            toml_size(self.size),
            self.family,
            self.parallel,
            toml_size(self.part_size),
        )
    }

    /// The fault that does to a request what was done to this one; none if nothing was, and why not where there is none.
    fn fault(&self, exchange: &Exchange) -> Result<Option<Told>, String> {
        if !failed(exchange) {
            return Ok(None);
        }
        let Some(action) = exchange.known_action() else { return Err("its action is unknown".to_owned()) };
        let sent = exchange.part.is_none_or(|part| exchange.request.body.len >= part.len);
        let (phase, at, verdict, remark) = match exchange.end {
            End::Replied => {
                let (verdict, mut phase) = answered(exchange)?;
                if matches!(verdict, Verdict::Http(_)) {
                    // What stands between client and server may answer so when it was done all the same.
                    phase = self.done(exchange).0;
                }
                (struck(exchange).unwrap_or(phase), None, verdict, "answered so".to_owned())
            }
            End::ClientGone { after } => {
                return Err(format!("the client left by itself after {after} bytes, which no server can make it do"));
            }
            End::Killed => {
                let mark = exchange.faults.iter().find_map(|mark| match mark.verdict.as_str() {
                    "kill client" => Some(KillTarget::Client),
                    "kill mock" => Some(KillTarget::Mock),
                    _ => None,
                });
                let Some(target) = mark else {
                    return Err(
                        "it ended when somebody was killed, and this request was not the one that struck".to_owned()
                    );
                };
                (self.done(exchange).0, None, Verdict::Kill(target), "killed there".to_owned())
            }
            End::Reset | End::Closed | End::Timeout => {
                let verdict = match exchange.end {
                    End::Reset => Verdict::Reset,
                    End::Closed => Verdict::Close,
                    _ => Verdict::Stall(Stall(Some(took(exchange)))),
                };
                if sent {
                    let (phase, remark) = self.done(exchange);
                    (phase, None, verdict, remark.to_owned())
                } else {
                    let at = exchange.request.body.len;
                    (Phase::MidBody, Some(at), verdict, format!("broke off after {at} bytes"))
                }
            }
        };
        let on = self.selector(action, exchange);
        let place = match (on.part, on.offset) {
            (Some(part), _) => format!("part-{part}"),
            (None, Some(offset)) => format!("offset-{offset}"),
            _ => action.wire_name().to_owned(),
        };
        let id = format!("{place}-try-{}", exchange.attempt);
        let remark = format!("{}: {remark}", exchange.name());
        Ok(Some(Told { fault: Fault { id, on, phase, at, verdict }, remark }))
    }

    fn selector(&self, action: Action, exchange: &Exchange) -> Selector {
        let mut on = Selector { action: Some(action), attempt: Some(exchange.attempt), ..Selector::default() };
        match exchange.part {
            // Its parts have no grid that every client would share.
            Some(part) if action.role() == Role::Next => on.offset = Some(part.offset),
            Some(part) => on.part = Some(exchange.part_number.unwrap_or(part.offset / self.part_size + 1)),
            None => {}
        }
        on
    }

    /// Was the request done although its answer was lost? A later answer may tell; and then, how it is known.
    fn done(&self, exchange: &Exchange) -> (Phase, &'static str) {
        if let Some(phase) = struck(exchange) {
            return (phase, "a fault struck it there");
        }
        let later = self.exchanges.iter().filter(|later| later.seq > exchange.seq);
        let finish = exchange.part.is_none();
        let known = later.clone().any(|later| match (later.parsed_reply(), exchange.part) {
            (Some(Reply::Init(InitReply::Exists(_))), None) => finish,
            (Some(Reply::Init(InitReply::Resume { parts, .. })), Some(part)) => {
                parts.iter().any(|listed| listed.offset == part.offset)
            }
            _ => false,
        });
        // What was sent once more says nothing of the first time, whatever the list has.
        let again = |seq| {
            self.exchanges
                .iter()
                .any(|other| other.seq > exchange.seq && other.seq < seq && same_place(other, exchange))
        };
        let listed =
            later.into_iter().find(|later| matches!(later.parsed_reply(), Some(Reply::Init(_)))).map(|later| later.seq);
        if known && listed.is_some_and(|seq| !again(seq)) {
            return (Phase::AfterCommit, "its answer was lost, and a later one tells that it was done");
        }
        (Phase::BeforeCommit, "nobody can tell whether it was done: phase = \"after-commit\" is the other story")
    }
}

fn same_place(one: &Exchange, other: &Exchange) -> bool {
    (&one.action, one.part) == (&other.action, other.part)
}

fn is_of(exchange: &Exchange, account: Option<&str>, sha1: Sha1) -> bool {
    exchange.file_sha1 == Some(sha1) && exchange.account.as_deref() == account && exchange.known_action().is_some()
}

/// How many requests that send parts were under way at a moment, in microseconds since 1970.
fn spans_at(exchanges: &[&Exchange], at: i64) -> usize {
    let during = |exchange: &&&Exchange| exchange.start.as_microsecond() <= at && at < exchange.over_us();
    exchanges.iter().filter(|exchange| exchange.part.is_some()).filter(during).count()
}

/// Did anything but an answer of the protocol that says yes come of it?
fn failed(exchange: &Exchange) -> bool {
    exchange.whole_reply().is_none() || exchange.code().is_none() || exchange.refusal().is_some()
}

/// Where a fault took its answer, if one did: the recorded server was one of ours.
fn struck(exchange: &Exchange) -> Option<Phase> {
    let mark = exchange.faults.iter().find(|mark| mark.on_reply)?;
    toml::Value::from(mark.phase.clone()).try_into().ok()
}

fn took(exchange: &Exchange) -> Duration {
    let micros = u64::try_from(exchange.over_us() - exchange.start.as_microsecond()).unwrap_or(0);
    Duration::from_millis((micros / 1000).max(1))
}

/// The fault that answers as this was answered.
fn answered(exchange: &Exchange) -> Result<(Verdict, Phase), String> {
    if let Some(refusal) = exchange.refusal() {
        let reply = ReplyFault {
            code: refusal.code.0,
            can_retry: refusal.can_retry.unwrap_or(false),
            message: refusal.message,
        };
        return Ok((Verdict::Reply(reply), Phase::BeforeCommit));
    }
    let Some(reply) = &exchange.reply else { return Err("it has no answer, and says that it was answered".to_owned()) };
    if reply.status != 200 {
        let header = reply.headers.iter().find(|(name, _)| name == "retry-after");
        let retry_after = header.and_then(|(_, seconds)| seconds.parse().ok()).map(Duration::from_secs);
        return Ok((Verdict::Http(HttpFault { status: reply.status, retry_after }), Phase::BeforeCommit));
    }
    Ok((Verdict::GarbageReply, Phase::AfterCommit))
}

fn toml_size(bytes: u64) -> String {
    let size = Size::new(bytes).to_string();
    // What is no round number is written as a number of bytes.
    if size.contains(' ') { bytes.to_string() } else { format!("\"{size}\"") }
}

#[cfg(test)]
mod tests;
