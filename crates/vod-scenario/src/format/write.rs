//! A scenario as the file that says it: one line for each thing, in the order in which people write them.

use std::time::Duration;

use serde::{Serialize, Serializer, ser::Error as _};
use toml::{Table, Value};
use vod_proto::Limits;

use super::{Client, Mock, Scenario};

/// The order of what stands alone, of sections, and of lists of tables. What is not named here comes last.
const ORDER: [&str; 14] = [
    "format",
    "why",
    "tags",
    "within",
    "faults-drawn",
    "source",
    "client",
    "mock",
    "limits",
    "fault",
    "step",
    "expect",
    "except",
    "skip",
];

/// The order within a table: a fault, a step, an exception.
const WITHIN: [&str; 13] = [
    "id",
    "on",
    "phase",
    "at",
    "do",
    "upload",
    "together",
    "release",
    "restart",
    "faults",
    "within",
    "expect",
    "invariant",
];

pub(super) fn write(scenario: &Scenario) -> String {
    // Every value of it has a form in TOML; the tests write every file of the library.
    let Ok(mut table) = Table::try_from(scenario) else { unreachable!("a scenario can be written as TOML") };
    without_defaults(&mut table);
    let mut out = String::new();
    for (key, value) in ordered(&table, &ORDER) {
        match value {
            Value::Table(section) if section.is_empty() => {}
            Value::Table(section) => table_of(&mut out, &format!("[{key}]"), section),
            Value::Array(rows) if rows.iter().any(Value::is_table) => {
                for row in rows.iter().filter_map(Value::as_table) {
                    table_of(&mut out, &format!("[[{key}]]"), row);
                }
            }
            Value::Array(rows) if rows.is_empty() => {}
            value => line(&mut out, key, value),
        }
    }
    out
}

fn table_of(out: &mut String, heading: &str, table: &Table) {
    out.push('\n');
    out.push_str(heading);
    out.push('\n');
    for (key, value) in ordered(table, &WITHIN) {
        line(out, key, value);
    }
}

/// Tables are written within the line.
fn line(out: &mut String, key: &str, value: &Value) {
    out.push_str(key);
    out.push_str(" = ");
    out.push_str(&value.to_string());
    out.push('\n');
}

fn ordered<'a>(table: &'a Table, order: &[&str]) -> Vec<(&'a String, &'a Value)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| order.iter().position(|known| known == key).unwrap_or(order.len()));
    entries
}

/// Takes out what is so where nothing is said.
fn without_defaults(table: &mut Table) {
    let drop = |table: &mut Table, key: &str, default: &Value| {
        if table.get(key) == Some(default) {
            table.remove(key);
        }
    };
    drop(table, "within", &Value::String(shown(super::WITHIN)));
    drop(table, "faults-drawn", &Value::Boolean(false));
    own_settings(table);
    for (section, defaults) in [
        ("client", Table::try_from(Client::default())),
        ("mock", Table::try_from(Mock::default())),
        ("expect", Table::try_from(super::Expect::default())),
    ] {
        if let (Some(Value::Table(section)), Ok(defaults)) = (table.get_mut(section), defaults) {
            section.retain(|key, value| defaults.get(key) != Some(value));
        }
    }
    for step in table.get_mut("step").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Value::Table(step) = step {
            drop(step, "faults", &Value::String("on".to_owned()));
        }
    }
    for fault in table.get_mut("fault").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Value::Table(fault) = fault {
            drop(fault, "on", &Value::Table(Table::new()));
        }
    }
}

/// Takes out of every client of its own what the file's is set to, too.
fn own_settings(table: &mut Table) {
    let all = table.get("client").and_then(Value::as_table).cloned().unwrap_or_default();
    for step in table.get_mut("step").and_then(Value::as_array_mut).into_iter().flatten() {
        let Value::Table(step) = step else { continue };
        if let Some(upload) = step.get_mut("upload") {
            own_of(upload, &all);
        }
        for one in step.get_mut("together").and_then(Value::as_array_mut).into_iter().flatten() {
            own_of(one, &all);
        }
    }
}

fn own_of(upload: &mut Value, all: &Table) {
    let Value::Table(upload) = upload else { return };
    if let Some(Value::Table(own)) = upload.get_mut("client") {
        own.retain(|key, value| all.get(key) != Some(value));
    }
}

fn shown(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

pub(super) fn duration<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*duration))
}

#[expect(clippy::ref_option, reason = "the signature serde calls")]
pub(super) fn some_duration<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => self::duration(duration, serializer),
        None => serializer.serialize_none(),
    }
}

/// Only those that are not the documented ones.
pub(super) fn limits<S: Serializer>(limits: &Limits, serializer: S) -> Result<S::Ok, S::Error> {
    let table = |limits: &Limits| Table::try_from(limits).map_err(S::Error::custom);
    let documented = table(&Limits::default())?;
    let mut said = table(limits)?;
    said.retain(|key, value| documented.get(key) != Some(value));
    said.serialize(serializer)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use expect_test::expect;

    use super::*;
    use crate::{library, run::Named};

    #[test]
    fn every_file_of_the_library_says_the_same_when_it_is_written_again() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(library::DIR);
        let names = library::names(&dir).unwrap();
        assert!(names.len() > 20, "{names:?}");
        let cells = names.iter().flat_map(|name| library::load(&dir, name).unwrap());
        for Named { name, scenario } in cells.map(|found| found.story) {
            let text = scenario.to_toml();
            let again = Scenario::parse(&name, &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
            // What is written is all that a scenario is, but for the places where it stood.
            assert_eq!(Table::try_from(&again).unwrap(), Table::try_from(&scenario).unwrap(), "{text}");
        }
    }

    #[test]
    fn what_goes_without_saying_is_not_said() {
        let text = "format = 1\nwhy = \"w\"\nfaults-drawn = true\nsource = { size = \"5KiB\", seed = 1 }\n\
            client = { part-size = \"1KiB\", parallel = 4 }\nlimits = { part-size-min = 1024 }\n\
            [[fault]]\nid = \"f\"\nphase = \"mid-body\"\nat = 7\ndo = { delay = \"1s\" }\non = { action = \"UploadPart\", part = 2 }\n\
            [[step]]\nexpect = \"any\"\nupload = {}\nfaults = \"on\"\n\
            [[step]]\nupload = {}\nwithin = \"1s\"\nfaults = \"off\"\nexpect = \"there\"\n\
            [expect]\nrequests = { UploadPart = { min = 5 } }\n";
        let written = Scenario::parse("s.toml", text).unwrap().to_toml();
        expect![[r#"
            format = 1
            why = "w"
            faults-drawn = true

            [source]
            seed = 1
            size = 5120

            [client]
            part-size = 1024

            [limits]
            part-size-min = 1024

            [[fault]]
            id = "f"
            on = { action = "UploadPart", part = 2 }
            phase = "mid-body"
            at = 7
            do = { delay = "1s" }

            [[step]]
            upload = {}
            expect = "any"

            [[step]]
            upload = {}
            faults = "off"
            within = "1s"
            expect = "there"

            [expect]
            requests = { UploadPart = { min = 5 } }
        "#]]
        .assert_eq(&written);
    }
}
