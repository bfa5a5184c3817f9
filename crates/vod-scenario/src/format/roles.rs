//! `open`, `part` and `finish`: the actions of a family by what they are for, so that one file tells a story in two.

use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};
use vod_proto::Family;

use super::check::Problem;

/// The words.
const ROLES: [&str; 3] = ["open", "part", "finish"];

/// Puts the actions of the file's family in the place of the words.
pub(super) fn resolve(table: &mut DeTable<'_>) -> Result<(), Problem> {
    let named = table.get("client").and_then(|client| client.get_ref().get("family"));
    let Some(family) = named.map_or(Some(Family::default()), |named| named.get_ref().as_str()?.parse().ok()) else {
        // It is refused by whoever reads it next.
        return Ok(());
    };
    if let Some(DeValue::Array(faults)) = table.get_mut("fault").map(Spanned::get_mut) {
        for fault in faults.iter_mut() {
            let DeValue::Table(fault) = fault.get_mut() else { continue };
            let Some(DeValue::Table(on)) = fault.get_mut("on").map(Spanned::get_mut) else { continue };
            let Some(action) = on.get_mut("action") else { continue };
            let meant = action.get_ref().as_str().map(|word| meant(word, family, action.span()));
            if let Some(known) = meant.transpose()?.flatten() {
                *action.get_mut() = DeValue::String(known);
            }
        }
    }
    let Some(DeValue::Table(expect)) = table.get_mut("expect").map(Spanned::get_mut) else { return Ok(()) };
    if let Some(DeValue::Array(orders)) = expect.get_mut("order").map(Spanned::get_mut) {
        for order in orders.iter_mut() {
            let DeValue::Table(order) = order.get_mut() else { continue };
            for moment in ["first", "then"] {
                let Some(DeValue::Table(moment)) = order.get_mut(moment).map(Spanned::get_mut) else { continue };
                for (_, action) in moment.iter_mut() {
                    let meant = action.get_ref().as_str().map(|word| meant(word, family, action.span()));
                    if let Some(known) = meant.transpose()?.flatten() {
                        *action.get_mut() = DeValue::String(known);
                    }
                }
            }
        }
    }
    for counted in ["requests", "replies", "gaps", "bytes-of"] {
        let Some(DeValue::Table(counted)) = expect.get_mut(counted).map(Spanned::get_mut) else { continue };
        for word in ROLES {
            let Some((key, value)) = counted.remove_entry(word) else { continue };
            let span = key.span();
            let Some(known) = meant(word, family, span.clone())? else { continue };
            if counted.insert(Spanned::new(span.clone(), known.clone()), value).is_some() {
                return Err(Problem::new(Some(span), format!("{word} is {known} here, which is expected already")));
            }
        }
    }
    Ok(())
}

/// The action that a word stands for; none if it is no such word.
fn meant(word: &str, family: Family, span: std::ops::Range<usize>) -> Result<Option<DeString<'static>>, Problem> {
    let action = match word {
        "open" => family.open(),
        "part" => family.part(),
        "finish" => family.finish(),
        _ => return Ok(None),
    };
    if family == Family::Legacy {
        let only = family.part();
        let message = format!("the {family} family has one action for all, and no {word} of its own: name {only}");
        return Err(Problem::new(Some(span), message));
    }
    Ok(Some(action.wire_name().into()))
}
