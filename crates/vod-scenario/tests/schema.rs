//! The JSON schema for editors takes what `vod-scenario` takes, and names what it names.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;
use vod_scenario::{format, library};

fn schema() -> Value {
    serde_json::from_str(format::SCHEMA).expect("as the schema and the files are")
}

/// What the schema has against a text; nothing of what it takes.
fn objections(text: &str) -> Vec<String> {
    let validator = jsonschema::validator_for(&schema()).expect("as the schema and the files are");
    let table: toml::Table = toml::from_str(text).expect("as the schema and the files are");
    let value = serde_json::to_value(table).expect("as the schema and the files are");
    validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir)
        .expect("as the schema and the files are")
        .map(|entry| entry.expect("as the schema and the files are").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn every_scenario_of_the_library_is_valid() {
    let files = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(library::DIR));
    assert!(files.len() > 25, "{files:?}");
    for file in files {
        let objections = objections(&fs::read_to_string(&file).expect("as the schema and the files are"));
        assert!(objections.is_empty(), "{}: {objections:#?}", file.display());
    }
}

/// An editor shows these while they are written; `check` says the rest.
#[test]
fn unknown_words_and_wrong_shapes_are_objected_to() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/err");
    for name in [
        "another-format",
        "matrix-of-an-unknown-section",
        "matrix-of-nothing",
        "matrix-that-is-no-table",
        "matrix-value-twice",
        "matrix-varies-the-expectation",
        "matrix-without-a-list",
        "no-format",
        "no-step",
        "size-is-no-size",
        "unknown-action",
        "unknown-expectation",
        "unknown-family",
        "unknown-field",
        "unknown-invariant",
        "unknown-kind-of-failure",
    ] {
        let file = dir.join(format!("{name}.toml"));
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert!(!objections(&text).is_empty(), "the schema takes {name}.toml");
    }
}

/// The words that are known in a place, as the message about an unknown one names them.
fn known(text: &str) -> BTreeSet<String> {
    let error = format::read("probe.toml", text).expect_err("an unknown word").to_string();
    let (_, expected) = error.split_once(", expected ").unwrap_or_else(|| panic!("{text}\n{error}"));
    let line = expected.lines().next().expect("as the schema and the files are");
    line.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn keys(schema: &Value, pointer: &str) -> BTreeSet<String> {
    let found = schema.pointer(pointer).unwrap_or_else(|| panic!("the schema has no {pointer}"));
    found.as_object().expect("as the schema and the files are").keys().cloned().collect()
}

#[test]
fn every_table_has_the_keys_that_the_reader_knows_and_no_other() {
    let schema = schema();
    let mut top = known("zzz = 1");
    top.insert("matrix".to_owned());
    assert_eq!(keys(&schema, "/properties"), top);
    for (probe, pointer) in [
        ("source = { zzz = 1 }", "/properties/source/properties"),
        ("client = { zzz = 1 }", "/properties/client/properties"),
        ("mock = { zzz = 1 }", "/properties/mock/properties"),
        ("limits = { zzz = 1 }", "/properties/limits/properties"),
        ("expect = { zzz = 1 }", "/properties/expect/properties"),
        ("expect = { order = [{ zzz = 1 }] }", "/properties/expect/properties/order/items/properties"),
        ("expect = { gaps = { part = { zzz = 1 } } }", "/$defs/waits/properties"),
        ("expect = { bytes = { zzz = 1 } }", "/$defs/bytes/properties"),
        ("expect = { bytes-per-source = { zzz = 1 } }", "/$defs/times/properties"),
        ("[[except]]\nzzz = 1", "/properties/except/items/properties"),
        ("[[skip]]\nzzz = 1", "/properties/skip/items/properties"),
        ("[[step]]\nzzz = 1", "/$defs/step/properties"),
        ("[[step]]\nupload = { zzz = 1 }", "/$defs/step/properties/upload/properties"),
        ("[[step]]\nupload = { source = { zzz = 1 } }", "/$defs/own-source/properties"),
        ("[[step]]\nupload = { client = { zzz = 1 } }", "/$defs/own-client/properties"),
        ("[[step]]\ntogether = [{ zzz = 1 }]", "/$defs/step/properties/together/items/properties"),
        ("[[fault]]\nzzz = 1", "/$defs/fault/properties"),
        ("[[fault]]\non = { zzz = 1 }", "/$defs/selector/properties"),
        ("expect = { parts-sent-twice = { zzz = 1 } }", "/$defs/count/anyOf/1/properties"),
    ] {
        assert_eq!(keys(&schema, pointer), known(probe), "{pointer} against {probe}");
    }
}

/// The words that one of several alternatives may be: a text, or the only key of a table.
fn words(schema: &Value, pointer: &str) -> BTreeSet<String> {
    let found = schema.pointer(pointer).unwrap_or_else(|| panic!("the schema has no {pointer}"));
    let alternatives =
        found.as_array().expect("as the schema and the files are").iter().map(|alternative| match alternative {
            Value::String(word) => word.clone(),
            table => match &table["const"] {
                Value::String(word) => word.clone(),
                _ => table["required"][0].as_str().expect("as the schema and the files are").to_owned(),
            },
        });
    alternatives.collect()
}

#[test]
fn every_choice_has_the_words_that_the_reader_knows_and_no_other() {
    let schema = schema();
    for (probe, pointer) in [
        ("client = { family = \"zzz\" }", "/properties/client/properties/family/enum"),
        ("client = { dialect = \"zzz\" }", "/properties/client/properties/dialect/enum"),
        ("mock = { profile = \"zzz\" }", "/properties/mock/properties/profile/enum"),
        ("limits = { file-name-unit = \"zzz\" }", "/properties/limits/properties/file-name-unit/enum"),
        ("expect = { order = [{ first = { zzz = \"part\" } }] }", "/$defs/moment/oneOf"),
        ("[[skip]]\non = \"zzz\"", "/properties/skip/items/properties/on/enum"),
        ("[[step]]\nrestart = \"zzz\"", "/$defs/step/properties/restart/enum"),
        ("[[step]]\nexpect = \"zzz\"", "/$defs/end/oneOf"),
        ("[[fault]]\nphase = \"zzz\"", "/$defs/phase/enum"),
        ("[[fault]]\ndo = \"zzz\"", "/$defs/verdict/oneOf"),
        ("[[fault]]\ndo = { list = \"zzz\" }", "/$defs/verdict/oneOf/14/properties/list/enum"),
        ("[[fault]]\ndo = { kill = \"zzz\" }", "/$defs/verdict/oneOf/13/properties/kill/enum"),
    ] {
        assert_eq!(words(&schema, pointer), known(probe), "{pointer} against {probe}");
    }
    let mut actions = known("expect = { requests = { zzz = 1 } }");
    actions.extend(["open", "part", "finish"].map(str::to_owned));
    assert_eq!(words(&schema, "/$defs/action/enum"), actions);
    let invariants = vod_scenario::judge::invariants::ALL.iter().map(|invariant| invariant.id.to_owned());
    let pointer = "/properties/except/items/properties/invariant/enum";
    assert_eq!(words(&schema, pointer), invariants.collect());
}
