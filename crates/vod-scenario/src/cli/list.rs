//! `vod-scenario list`: which stories there are.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Library, complain, say};
use crate::{evidence::Target, exit, library, run::Named};

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    library: Library,
    /// Print JSON: a list of objects with name, family, tags, targets, where it is skipped, and why
    #[arg(long)]
    json: bool,
}

/// What is said of a story.
#[derive(Serialize)]
struct Row {
    /// The name that `run` knows it by.
    name: String,
    family: &'static str,
    tags: Vec<String>,
    /// Where it can be told.
    targets: Vec<&'static str>,
    /// Where it cannot be told, and why not.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    skipped: BTreeMap<&'static str, String>,
    why: String,
}

impl Row {
    fn of(Named { name, scenario }: &Named) -> Self {
        let not = |target: &Target| Some((target.name(), scenario.not_told(*target, false)?));
        let skipped: BTreeMap<_, _> = Target::ALL.iter().filter_map(not).collect();
        Self {
            name: name.clone(),
            family: scenario.client.family.name(),
            tags: scenario.tags.clone(),
            targets: Target::ALL.map(Target::name).into_iter().filter(|name| !skipped.contains_key(name)).collect(),
            skipped,
            why: scenario.why.trim().to_owned(),
        }
    }
}

pub(super) fn list(args: &ListArgs) -> u8 {
    let dir = &args.library.scenarios;
    let names = match library::names(dir) {
        Ok(names) => names,
        Err(error) => {
            complain(error);
            return exit::USAGE;
        }
    };
    let (mut rows, mut code) = (Vec::new(), exit::PASS);
    for name in names {
        match library::load(dir, &name) {
            Ok(cells) => {
                rows.extend(cells.iter().map(|found| (Row::of(&found.story), found.story.scenario.first_sentence())))
            }
            Err(error) => {
                complain(error);
                code = exit::USAGE;
            }
        }
    }
    if args.json {
        let rows: Vec<_> = rows.into_iter().map(|(row, _)| row).collect();
        // Texts and lists of texts have a form in JSON.
        say(serde_json::to_string_pretty(&rows).unwrap_or_default());
    } else {
        say(table(&rows));
        for (row, _) in &rows {
            for (target, because) in &row.skipped {
                say(format!("{} is not told on {target}: {because}", row.name));
            }
        }
    }
    code
}

/// As wide as what stands in it; the reason comes last, because nobody can tell how long it is.
fn table(rows: &[(Row, String)]) -> String {
    let head = ["name", "family", "targets", "tags"].map(str::to_owned);
    let cells = rows
        .iter()
        .map(|(row, _)| [row.name.clone(), row.family.to_owned(), row.targets.join(", "), row.tags.join(", ")]);
    let lines: Vec<_> = std::iter::once(head).chain(cells).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3].map(width);
    let whys = std::iter::once("why").chain(rows.iter().map(|(_, why)| why.as_str()));
    let shown = lines.iter().zip(whys).map(|(line, why)| {
        let padded = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}  "));
        padded.chain([why.to_owned()]).collect::<String>()
    });
    shown.collect::<Vec<_>>().join("\n")
}
