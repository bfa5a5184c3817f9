//! `vod-scenario list`: which stories there are.

use serde::Serialize;

use super::{Library, complain, say};
use crate::{evidence::Target, exit, library, run::Named};

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    library: Library,
    /// Print JSON: a list of objects with name, family, tags, targets and why
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
    why: String,
}

impl Row {
    fn of(Named { name, scenario }: &Named) -> Self {
        // Simulation starts no programs.
        let on = |target: &Target| *target == Target::Process || scenario.client.command.is_none();
        Self {
            name: name.clone(),
            family: scenario.client.family.name(),
            tags: scenario.tags.clone(),
            targets: Target::ALL.into_iter().filter(on).map(Target::name).collect(),
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
