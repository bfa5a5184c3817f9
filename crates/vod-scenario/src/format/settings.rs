//! What a client of its own does not say of itself is as the file's `[client]` has it.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// Completes every `client` of a step from the file's own. What is no table is refused by whoever reads it next.
pub(super) fn complete(table: &mut DeTable<'_>) {
    let Some(DeValue::Table(all)) = table.get("client").map(Spanned::get_ref) else { return };
    let all = all.clone();
    let Some(DeValue::Array(steps)) = table.get_mut("step").map(Spanned::get_mut) else { return };
    for step in steps.iter_mut() {
        let DeValue::Table(step) = step.get_mut() else { continue };
        if let Some(upload) = step.get_mut("upload") {
            complete_one(upload.get_mut(), &all);
        }
        if let Some(DeValue::Array(both)) = step.get_mut("together").map(Spanned::get_mut) {
            both.iter_mut().for_each(|one| complete_one(one.get_mut(), &all));
        }
    }
}

fn complete_one<'i>(upload: &mut DeValue<'i>, all: &DeTable<'i>) {
    let DeValue::Table(upload) = upload else { return };
    let Some(DeValue::Table(own)) = upload.get_mut("client").map(Spanned::get_mut) else { return };
    for (key, value) in all.iter() {
        if !own.contains_key(key) {
            own.insert(key.clone(), value.clone());
        }
    }
}
