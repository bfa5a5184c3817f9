//! A request that nothing recorded answers, and what is said to whoever sent it.

use std::{collections::BTreeMap, fmt};

/// How many different ones are remembered. Default 1,000: a client that asks for something else altogether is understood
/// long before.
const REMEMBERED_MOST: usize = 1_000;

/// A request that nothing recorded answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Miss {
    /// Its action and part, or its method and path.
    pub asked: String,
    /// Why nothing answers it.
    pub why: Why,
    /// What was recorded and is most like it; none in a recording without exchanges.
    pub nearest: Option<Nearest>,
}

/// Why nothing answers a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// It was not recorded, or something else was at this point.
    Unmatched,
    /// It was recorded, and all of that is used: the numbers of the exchanges, and how often each was.
    Exhausted(Vec<(u64, u32)>),
    /// It is for a host that the recording is not of, or names none, and what is wrong with it.
    Elsewhere(String),
}

/// A recorded exchange that is like a request, and is not it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nearest {
    /// Its number in the recording.
    pub seq: u64,
    /// Its action and part, and its number.
    pub name: String,
    /// In what the request differs from it.
    pub differences: Vec<String>,
}

impl Miss {
    /// What is answered: the same in JSON.
    pub(super) fn to_json(&self) -> String {
        let nearest = self.nearest.as_ref().map(|nearest| {
            serde_json::json!({
                "number": nearest.seq,
                "name": nearest.name,
                "differences": nearest.differences,
            })
        });
        serde_json::json!({ "error": self.to_string(), "asked": self.asked, "nearest": nearest }).to_string()
    }
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, why, nearest } = self;
        match (why, nearest) {
            (Why::Exhausted(recorded), _) => {
                write!(f, "{asked} was recorded {}, and all of that is used: ", times(recorded.len()))?;
                let each = recorded.iter().map(|(seq, used)| match used {
                    0 => format!("request {seq} got no answer"),
                    used => format!("request {seq} was used {}", times(usize::try_from(*used).unwrap_or(usize::MAX))),
                });
                f.write_str(&shown(each))
            }
            (Why::Elsewhere(why), _) => write!(f, "{asked} is not answered: {why}"),
            (Why::Unmatched, None) => write!(f, "{asked} was not recorded: nothing was"),
            (Why::Unmatched, Some(Nearest { name, differences, .. })) if differences.is_empty() => {
                write!(f, "{asked} was not recorded so: the nearest is {name}")
            }
            (Why::Unmatched, Some(Nearest { name, differences, .. })) => {
                let differences = shown(differences.iter().cloned());
                write!(f, "{asked} was not recorded so: the nearest is {name}, but {differences}")
            }
        }
    }
}

fn times(times: usize) -> String {
    match times {
        1 => "once".to_owned(),
        times => format!("{times} times"),
    }
}

/// How many items of a list are shown.
const SHOWN: usize = 6;

fn shown(items: impl ExactSizeIterator<Item = String>) -> String {
    let more = items.len().saturating_sub(SHOWN);
    let mut shown: Vec<_> = items.take(SHOWN).collect();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    shown.join("; ")
}

/// The requests that nothing answered so far.
#[derive(Debug, Default)]
pub(super) struct Misses {
    /// Each with how often it came.
    seen: BTreeMap<Miss, u64>,
    /// In the order in which they first came.
    order: Vec<Miss>,
    /// How many came that are not remembered.
    more: u64,
}

impl Misses {
    pub(super) fn note(&mut self, miss: &Miss) {
        match self.seen.get_mut(miss) {
            Some(times) => *times += 1,
            None if self.order.len() == REMEMBERED_MOST => self.more += 1,
            None => {
                self.seen.insert(miss.clone(), 1);
                self.order.push(miss.clone());
            }
        }
    }

    /// Each with how often it came, in the order in which they first came, and how many others there were.
    pub(super) fn all(&self) -> (Vec<(Miss, u64)>, u64) {
        let all = self.order.iter().map(|miss| (miss.clone(), self.seen.get(miss).copied().unwrap_or(0)));
        (all.collect(), self.more)
    }
}
