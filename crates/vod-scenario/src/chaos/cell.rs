//! What could be struck, and what was: cells of action, fault and phase.

use std::collections::BTreeMap;

use vod_proto::{Action, Exchange};
use vod_serve::fault::{Fault, Phase, Selector};

use super::kind::Kind;
use crate::format::Scenario;

/// A fault of this name, on this action, in this phase.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cell {
    pub(super) action: Action,
    /// The verdict's name in journals.
    pub(super) verdict: &'static str,
    pub(super) phase: Phase,
}

/// A cell, with a fault that strikes in it.
#[derive(Clone, Debug)]
pub(super) struct Possible {
    pub(super) cell: Cell,
    pub(super) fault: Fault,
}

/// One story of each sort of client: all that is sent is sent by one of them.
const CLIENTS: [&str; 4] =
    ["{ family = \"server\" }", "{ family = \"ugc\" }", "{ family = \"legacy\" }", "{ cover-of = \"7\" }"];

/// Every cell that is possible: some client sends such a request, and a scenario that says so is not refused.
/// The rule is the scenario file's own, so that no list has to be kept.
pub(super) fn possible() -> Vec<Possible> {
    let clients = CLIENTS.map(|client| {
        let text = format!(
            "format = 1\nwhy = \"w\"\nclient = {client}\nsource = {{ size = \"5KiB\", seed = 1 }}\n\
             [[step]]\nupload = {{}}\nexpect = \"any\"\n"
        );
        match Scenario::parse("cell.toml", &text) {
            Ok(scenario) => scenario,
            Err(error) => unreachable!("a story without faults is a good one: {error}"),
        }
    });
    let mut cells = BTreeMap::new();
    for action in Action::ALL {
        for verdict in Kind::ALL.into_iter().flat_map(Kind::samples) {
            for phase in Phase::ALL {
                // Once, as kills must; and no part, so that every request of the action fits.
                let on = Selector { action: Some(action), times: Some(1), ..Selector::default() };
                let fault = Fault { id: "aimed".to_owned(), on, phase, at: None, verdict: verdict.clone() };
                if clients.iter().any(|client| client.clone().with_faults(vec![fault.clone()]).check().is_ok()) {
                    let cell = Cell { action, verdict: verdict.name(), phase };
                    cells.entry(cell).or_insert(fault);
                }
            }
        }
    }
    cells.into_iter().map(|(cell, fault)| Possible { cell, fault }).collect()
}

/// How often each cell was struck.
#[derive(Clone, Debug, Default)]
pub(super) struct Struck(BTreeMap<(String, String, String), u64>);

impl Struck {
    /// Counts the marks that faults left on exchanges.
    pub(super) fn count(&mut self, exchanges: &[Exchange]) {
        for exchange in exchanges {
            for mark in &exchange.faults {
                let action = exchange.action.clone().unwrap_or_default();
                *self.0.entry((action, mark.verdict.clone(), mark.phase.clone())).or_default() += 1;
            }
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        for (cell, count) in other.0 {
            *self.0.entry(cell).or_default() += count;
        }
    }

    pub(super) fn times(&self, cell: &Cell) -> u64 {
        let key = (cell.action.to_string(), cell.verdict.to_owned(), cell.phase.to_string());
        self.0.get(&key).copied().unwrap_or(0)
    }

    #[cfg(test)]
    /// Which cells were struck that are not among those that are possible.
    pub(super) fn beside(&self, possible: &[Possible]) -> Vec<String> {
        let known = |(action, verdict, phase): &(String, String, String)| {
            possible.iter().any(|Possible { cell, .. }| {
                cell.action.wire_name() == action && cell.verdict == verdict && cell.phase.to_string() == *phase
            })
        };
        self.0.keys().filter(|key| !known(key)).map(|(a, v, p)| format!("{a} × {v} × {p}")).collect()
    }
}
