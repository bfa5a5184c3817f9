//! `[matrix]`: one file told in several circumstances. Each combination of its values is a cell, a scenario of its own.
//!
//! ```toml
//! [matrix]
//! client.parallel = [1, 8]
//! fault.crash.phase = ["before-commit", "after-commit"]
//! ```
//!
//! Its keys are those of the file, a fault's by its id. A value keeps its place in the file, so that whatever is wrong
//! with it in any cell is shown where it stands.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeArray, DeString, DeTable, DeValue},
};

use super::check::Problem;
use crate::near::did_you_mean;

/// How many cells a file has at most. Default 64: more is chance's business, which draws better than anybody lists.
const CELLS_MOST: usize = 64;

/// What can vary. What must be seen, and what is done, are the same in every cell: they are the story.
const CIRCUMSTANCES: [&str; 6] = ["within", "source", "client", "mock", "limits", "fault"];

type Key<'i> = Spanned<DeString<'i>>;
type Value<'i> = Spanned<DeValue<'i>>;

/// One thing that varies.
struct Axis<'i> {
    path: Vec<Key<'i>>,
    values: Vec<Value<'i>>,
    /// Where its list stands, with its brackets.
    span: Range<usize>,
}

/// A file's table with the values of one cell in it, and the cell's name; no name where the file has no matrix.
pub(super) struct Cell<'i> {
    pub(super) name: Option<String>,
    pub(super) table: Spanned<DeTable<'i>>,
    /// The file as it would be if it had no other cell.
    pub(super) text: String,
}

/// The cells of a file, the last axis turning fastest.
pub(super) fn cells<'i>(file: &str, mut table: Spanned<DeTable<'i>>) -> Result<Vec<Cell<'i>>, Problem> {
    let Some((key, matrix)) = table.get_mut().remove_entry("matrix") else {
        return Ok(vec![Cell { name: None, table, text: file.to_owned() }]);
    };
    let refuse = |message: &str| Err(Problem::new(Some(key.span()), message));
    let DeValue::Table(matrix) = matrix.into_inner() else {
        return refuse("[matrix] is a table of lists, such as client.parallel = [1, 8]");
    };
    let mut axes = Vec::new();
    gather(&mut axes, &[], matrix)?;
    // The table has them by the alphabet; people meant something by their order.
    axes.sort_by_key(|axis| axis.path.last().map(Spanned::span).map(|span| span.start));
    if axes.is_empty() {
        return refuse("[matrix] varies nothing: give it a list, such as client.parallel = [1, 8]");
    }
    let number = axes.iter().map(|axis| axis.values.len()).fold(1, usize::saturating_mul);
    if number > CELLS_MOST {
        return refuse(&format!("[matrix] has {number} cells, and a file has {CELLS_MOST} at most"));
    }
    let names: Vec<_> = axes.iter().map(|axis| (axis.name(&axes), axis.value_names())).collect();
    let mut cells = Vec::with_capacity(number);
    for cell in 0..number {
        let mut table = table.clone();
        let (mut rest, mut words, mut text) = (cell, Vec::new(), file.to_owned());
        for (axis, (name, values)) in axes.iter().zip(&names).rev() {
            let at = rest % axis.values.len();
            rest /= axis.values.len();
            words.push(format!("{name}={}", values[at]));
            // From the last axis to the first, so that what stands before keeps its place.
            text.replace_range(axis.span.clone(), &format!("[{}]", &file[axis.values[at].span()]));
            set(table.get_mut(), &axis.path, axis.values[at].clone())?;
        }
        words.reverse();
        cells.push(Cell { name: Some(words.join(",")), table, text });
    }
    Ok(cells)
}

/// The axes of a table of the matrix, and of the tables in it.
fn gather<'i>(axes: &mut Vec<Axis<'i>>, above: &[Key<'i>], table: DeTable<'i>) -> Result<(), Problem> {
    for (key, value) in table {
        let refuse = |message: String| Err(Problem::new(Some(key.span()), message));
        if above.is_empty() && !CIRCUMSTANCES.contains(&key.as_ref().as_ref()) {
            let near = did_you_mean(key.as_ref(), CIRCUMSTANCES);
            let known = CIRCUMSTANCES.join(", ");
            return refuse(format!("[matrix] cannot vary {}, only what is under {known}{near}", key.as_ref()));
        }
        let path = [above, std::slice::from_ref(&key)].concat();
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => gather(axes, &path, table)?,
            DeValue::Array(values) => axes.push(Axis::new(path, values, span)?),
            other => {
                return refuse(format!(
                    "[matrix] needs a list of values here, and this is of type {}",
                    other.type_str()
                ));
            }
        }
    }
    Ok(())
}

impl<'i> Axis<'i> {
    fn new(path: Vec<Key<'i>>, values: DeArray<'i>, span: Range<usize>) -> Result<Self, Problem> {
        let values: Vec<_> = values.into_iter().collect();
        if values.is_empty() {
            let key = path.last().map(Spanned::span);
            return Err(Problem::new(key, "an empty list leaves no cell: give it a value, or take the line away"));
        }
        for (at, value) in values.iter().enumerate() {
            if values[..at].iter().any(|earlier| same(earlier.as_ref(), value.as_ref())) {
                return Err(Problem::new(Some(value.span()), "this value stands twice in the list"));
            }
        }
        Ok(Self { path, values, span })
    }

    /// The last word of its path, or the whole of it where that is the last word of another, too.
    fn name(&self, all: &[Self]) -> String {
        let last = |axis: &Self| axis.path.last().map(|key| key.as_ref().to_string()).unwrap_or_default();
        let alone = all.iter().filter(|axis| last(axis) == last(self)).count() == 1;
        if alone {
            return last(self);
        }
        self.path.iter().map(|key| key.as_ref().as_ref()).collect::<Vec<_>>().join(".")
    }

    /// What its values are called: themselves where that is a word or has only one key, or else their number.
    fn value_names(&self) -> Vec<String> {
        let words: Vec<_> = self.values.iter().map(|value| word(value.as_ref())).collect();
        let numbered = words.iter().enumerate().map(|(at, word)| match word {
            Some(known) if words.iter().filter(|other| *other == word).count() == 1 => known.clone(),
            Some(known) => format!("{known}-{}", at + 1),
            None => (at + 1).to_string(),
        });
        numbered.collect()
    }
}

fn word(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+/".contains(c);
            (!text.is_empty() && text.chars().all(plain)).then(|| text.to_string())
        }
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Table(table) if table.len() == 1 => {
            let (key, inner) = table.iter().next()?;
            Some(
                word(inner.as_ref())
                    .map_or_else(|| key.as_ref().to_string(), |inner| format!("{}-{inner}", key.as_ref())),
            )
        }
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// Are they the same, wherever they stand?
fn same(one: &DeValue<'_>, other: &DeValue<'_>) -> bool {
    match (one, other) {
        (DeValue::String(one), DeValue::String(other)) => one == other,
        (DeValue::Integer(one), DeValue::Integer(other)) => one.to_string() == other.to_string(),
        (DeValue::Float(one), DeValue::Float(other)) => one.to_string() == other.to_string(),
        (DeValue::Boolean(one), DeValue::Boolean(other)) => one == other,
        (DeValue::Array(one), DeValue::Array(other)) => {
            one.len() == other.len()
                && one.iter().zip(other.iter()).all(|(one, other)| same(one.as_ref(), other.as_ref()))
        }
        (DeValue::Table(one), DeValue::Table(other)) => {
            one.len() == other.len()
                && one.iter().zip(other.iter()).all(|((key, one), (other_key, other))| {
                    key.as_ref() == other_key.as_ref() && same(one.as_ref(), other.as_ref())
                })
        }
        _ => false,
    }
}

/// Puts a value in its place, whether there was one or not.
fn set<'i>(table: &mut DeTable<'i>, path: &[Key<'i>], value: Value<'i>) -> Result<(), Problem> {
    let Some((key, rest)) = path.split_first() else { return Ok(()) };
    let word: &str = key.as_ref();
    let refuse = |message: String| Err(Problem::new(Some(key.span()), message));
    if rest.is_empty() {
        // The key moves with its value, so that an unknown one is shown where it stands.
        table.remove(word);
        table.insert(key.clone(), value);
        return Ok(());
    }
    if !table.contains_key(word) {
        table.insert(key.clone(), Spanned::new(key.span(), DeValue::Table(DeTable::new())));
    }
    match table.get_mut(word).map(Spanned::get_mut) {
        Some(DeValue::Table(table)) => set(table, rest, value),
        Some(DeValue::Array(faults)) => set_by_id(faults, rest, value),
        _ => refuse(format!("{word} has nothing in it that could vary")),
    }
}

fn set_by_id<'i>(faults: &mut DeArray<'i>, path: &[Key<'i>], value: Value<'i>) -> Result<(), Problem> {
    let Some((key, rest)) = path.split_first() else { return Ok(()) };
    let wanted: &str = key.as_ref();
    let refuse = |message: String| Err(Problem::new(Some(key.span()), message));
    if rest.is_empty() {
        return refuse(format!("say what varies in the fault, such as fault.{wanted}.phase"));
    }
    let mut known = Vec::new();
    for fault in faults.iter_mut() {
        let DeValue::Table(fault) = fault.get_mut() else { continue };
        let id = fault.get("id").and_then(|id| id.get_ref().as_str()).unwrap_or_default().to_owned();
        if id == wanted {
            return set(fault, rest, value);
        }
        known.push(id);
    }
    let near = did_you_mean(wanted, known.iter().map(String::as_str));
    refuse(format!("no fault of this file has the id {wanted:?}{near}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use expect_test::expect;
    use vod_proto::{Action, Family};

    use crate::format::{Cell, Scenario, read};

    const STORY: &str = r#"
        format = 1
        why = "w"
        source = { size = "3MiB", seed = 1 }
        [[fault]]
        id = "first"
        on = { action = "part", part = 1, attempt = 1 }
        phase = "after-commit"
        do = "reset"
        [[fault]]
        id = "second"
        on = { action = "part", part = 2, attempt = 1 }
        phase = "after-commit"
        do = "reset"
        [[step]]
        upload = {}
        expect = "finished"
        [expect]
        requests = { part = 5 }
    "#;

    fn cells(matrix: &str) -> Vec<Cell> {
        read("story.toml", &format!("{STORY}[matrix]\n{matrix}")).unwrap_or_else(|error| panic!("{error}"))
    }

    fn names(matrix: &str) -> String {
        let names: Vec<_> = cells(matrix).into_iter().filter_map(|cell| cell.name).collect();
        names.join("\n")
    }

    #[test]
    fn a_file_without_a_matrix_is_one_cell_without_a_name() {
        let cells = read("story.toml", STORY).unwrap();
        assert_eq!(cells.len(), 1);
        assert_eq!(cells[0].name, None);
    }

    #[test]
    fn each_combination_is_a_cell_named_by_what_varies_in_the_order_of_the_file() {
        expect![[r#"
            parallel=1,family=server
            parallel=1,family=ugc
            parallel=8,family=server
            parallel=8,family=ugc"#]]
        .assert_eq(&names("client.parallel = [1, 8]\nclient.family = [\"server\", \"ugc\"]"));
    }

    #[test]
    fn each_cell_has_its_own_values_and_everything_else_of_the_file() {
        let told = cells("within = [\"5s\", \"7s\"]\nclient.parallel = [1, 8]\nclient.part-size = [\"512KiB\"]");
        let told =
            told.iter().map(|Cell { scenario, .. }| (scenario.within, scenario.client.parallel, scenario.parts()));
        let seconds = Duration::from_secs;
        assert_eq!(
            told.collect::<Vec<_>>(),
            [(seconds(5), 1, 6), (seconds(5), 8, 6), (seconds(7), 1, 6), (seconds(7), 8, 6)]
        );
    }

    #[test]
    fn faults_vary_by_their_id() {
        let told = cells("fault.second.phase = [\"before-commit\", \"after-commit\"]");
        let phases = told.iter().map(|cell| cell.scenario.plan().faults.iter().map(|f| f.phase.to_string()).collect());
        let phases: Vec<Vec<String>> = phases.collect();
        assert_eq!(phases, [["after-commit", "before-commit"], ["after-commit", "after-commit"]]);
    }

    #[test]
    fn a_name_that_two_axes_share_is_told_in_full_and_a_table_by_its_only_key() {
        expect![[r#"
            fault.first.do=reset,fault.second.do=http-status-503
            fault.first.do=reset,fault.second.do=reply
            fault.first.do=close,fault.second.do=http-status-503
            fault.first.do=close,fault.second.do=reply"#]]
        .assert_eq(&names(
            "fault.first.do = [\"reset\", \"close\"]\n\
             fault.second.do = [{ http = { status = 503 } }, { reply = { code = -10004, can-retry = true } }]",
        ));
    }

    #[test]
    fn values_that_are_no_words_or_that_others_are_called_like_are_told_by_number() {
        expect![[r#"
            do=reply-1
            do=reply-2"#]]
        .assert_eq(&names(
            "fault.first.do = [{ reply = { code = -10004, can-retry = true } }, { reply = { code = -10005, can-retry = true } }]",
        ));
        expect![[r#"
            on=1
            on=2"#]]
        .assert_eq(&names("fault.first.on = [{ action = \"part\", part = 1 }, { action = \"part\", part = 3 }]"));
    }

    #[test]
    fn the_text_of_a_cell_tells_that_cell_alone() {
        let matrix =
            "client.parallel = [1, # one by one\n 8]\nfault.first.do = [\"reset\", { http = { status = 503 } }]";
        let told = cells(matrix);
        assert_eq!(told.len(), 4);
        for cell in told {
            let again = read("cell.toml", &cell.text).unwrap();
            assert_eq!(again.len(), 1);
            assert_eq!((&again[0].name, &again[0].text), (&cell.name, &cell.text));
            assert_eq!(format!("{:?}", again[0].scenario.plan()), format!("{:?}", cell.scenario.plan()));
            assert_eq!(again[0].scenario.client.parallel, cell.scenario.client.parallel);
        }
        assert_eq!(read("story.toml", STORY).unwrap()[0].text, STORY);
    }

    #[test]
    fn roles_are_the_actions_of_the_family_of_the_cell() {
        let of = |family| match family {
            Family::Server => Action::UploadPart,
            _ => Action::UploadPartEx,
        };
        for Cell { scenario, .. } in cells("client.family = [\"server\", \"ugc\"]") {
            let wanted = of(scenario.client.family);
            assert!(scenario.plan().faults.iter().all(|fault| fault.on.action == Some(wanted)));
            assert!(scenario.expect.requests.keys().eq([&wanted]));
        }
    }

    #[test]
    fn one_scenario_alone_is_not_read_from_a_matrix() {
        let error = Scenario::parse("story.toml", &format!("{STORY}[matrix]\nclient.parallel = [1]")).unwrap_err();
        assert_eq!(error.to_string(), "story.toml: it has a [matrix], and one scenario alone is wanted here");
    }
}
