//! What is counted, in the text format of Prometheus, 0.0.4.

use std::{
    fmt::Write as _,
    sync::{Arc, atomic::Ordering},
};

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse as _, Response},
};
use vod_serve::{journal::Whose, tls::Leaf};

use super::{Admin, ask::Ask, refusal::Refusal};

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page of metrics.
#[derive(Default)]
struct Page(String);

/// The samples of one metric.
struct Family<'a> {
    page: &'a mut String,
    name: &'static str,
}

impl Page {
    fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "counter", help)
    }

    fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "gauge", help)
    }

    fn family(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        // Writing to a text cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family { page: &mut self.0, name }
    }
}

impl Family<'_> {
    fn sample(&mut self, labels: &[(&str, &str)], value: u64) {
        self.page.push_str(self.name);
        for (at, (label, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            let _ = write!(self.page, "{}{label}=\"{value}\"", if at == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.page, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

pub(super) async fn metrics(State(admin): State<Arc<Admin>>, ask: Ask) -> Result<Response, Refusal> {
    let [] = ask.query([])?;
    let mut page = Page::default();
    build(&admin, &mut page);
    journal(&admin, &mut page);
    faults(&admin, &mut page);
    sessions(&admin, &mut page).await;
    traffic(&admin, &mut page);
    Ok(([(header::CONTENT_TYPE, TEXT)], page.0).into_response())
}

fn build(admin: &Admin, page: &mut Page) {
    let mut info = page.gauge("vod_mock_info", "What runs here; always 1.");
    info.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    let accounts = admin.mind.namespaces().accounts().len() as u64;
    page.gauge("vod_mock_accounts", "Accounts that are answered for.").sample(&[], accounts);
}

fn journal(admin: &Admin, page: &mut Page) {
    let journal = admin.mind.journal();
    let tallies = journal.tallies();
    let help = "Exchanges that are over. Account and action are empty where a request named none that is known, status \
                and code where nothing was answered or it has none.";
    let mut exchanges = page.counter("vod_mock_exchanges_total", help);
    for (account, tally) in &tallies {
        for (counted, number) in &tally.exchanges {
            let action = counted.action.map_or("", |action| action.wire_name());
            let status = counted.status.map(|status| status.to_string()).unwrap_or_default();
            let code = counted.code.map(|code| code.to_string()).unwrap_or_default();
            let account = account.as_deref().unwrap_or_default();
            let labels =
                [("account", account), ("action", action), ("end", counted.end), ("status", &status), ("code", &code)];
            exchanges.sample(&labels, *number);
        }
    }
    let mut struck = page.counter("vod_mock_faults_struck_total", "Faults that struck in exchanges that are over.");
    for (account, tally) in &tallies {
        struck.sample(&[("account", account.as_deref().unwrap_or_default())], tally.faults);
    }
    let mut bytes = page.counter("vod_mock_request_body_bytes_total", "Bytes of request bodies that were read.");
    for (account, tally) in &tallies {
        bytes.sample(&[("account", account.as_deref().unwrap_or_default())], tally.body_bytes);
    }
    let help = "Exchanges that were dropped from memory: what is judged without them is inconclusive.";
    let mut evicted = page.counter("vod_mock_exchanges_evicted_total", help);
    for account in tallies.keys() {
        let whose = account.as_deref().map_or(Whose::Nobody, Whose::account);
        evicted.sample(&[("account", account.as_deref().unwrap_or_default())], journal.evicted_of(&whose));
    }
    let help = "Exchanges that the journal's file lacks, because they could not be written.";
    page.counter("vod_mock_exchanges_unwritable_total", help).sample(&[], journal.unwritable());
}

fn faults(admin: &Admin, page: &mut Page) {
    let mut by_account = std::collections::BTreeMap::<String, (u64, u64)>::new();
    for fate in admin.mind.engine().fates() {
        let (planted, unfired) = by_account.entry(fate.account.unwrap_or_default()).or_default();
        *planted += 1;
        *unfired += u64::from(fate.struck == 0);
    }
    let mut planted =
        page.gauge("vod_mock_faults_planted", "Faults that are planted; without an account, the server's.");
    by_account.iter().for_each(|(account, (all, _))| planted.sample(&[("account", account)], *all));
    let mut unfired = page.gauge("vod_mock_faults_unfired", "Faults that are planted and never struck.");
    by_account.iter().for_each(|(account, (_, unstruck))| unfired.sample(&[("account", account)], *unstruck));
}

async fn sessions(admin: &Admin, page: &mut Page) {
    let mut open = Vec::new();
    for space in admin.mind.namespaces().spaces() {
        let mut number = 0;
        for (_, slot) in space.slots() {
            number += u64::from(space.session_of(&*slot.upload.lock().await).is_some());
        }
        open.push((space, number));
    }
    let mut sessions = page.gauge("vod_mock_sessions_open", "Uploads that take parts.");
    open.iter().for_each(|(space, number)| sessions.sample(&[("account", space.name())], *number));
}

fn traffic(admin: &Admin, page: &mut Page) {
    let traffic = &admin.traffic;
    let mut counter = |name, help, value| page.counter(name, help).sample(&[], value);
    counter("vod_mock_connections_total", "Connections that were taken.", traffic.connections());
    let help = "Connections that ended in something that is not HTTP: no exchange tells of it.";
    counter("vod_mock_not_http_total", help, traffic.not_http());
    let help = "Connections that ended in a TLS handshake that failed: the client does not trust the CA, or speaks \
                something else.";
    counter("vod_mock_tls_failed_total", help, admin.leaf.as_ref().map_or(0, Leaf::failed));
    let followers = admin.followers.load(Ordering::Relaxed);
    page.gauge("vod_mock_followers", "Who follows the exchanges at this moment.").sample(&[], followers);
    page.gauge("vod_mock_connections_open", "Connections that are open.").sample(&[], traffic.open());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_may_hold_anything() {
        let mut page = Page::default();
        let mut family = page.gauge("a", "What.");
        family.sample(&[("b", "c\\d\"e\nf"), ("g", "")], 1);
        family.sample(&[], 2);
        let expected = "# HELP a What.\n# TYPE a gauge\na{b=\"c\\\\d\\\"e\\nf\",g=\"\"} 1\na 2\n";
        assert_eq!(page.0, expected);
    }
}
