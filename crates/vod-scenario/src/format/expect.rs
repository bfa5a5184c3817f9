//! What must be seen: how steps end, and what passed on the wire.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use vod_proto::{Action, Code};

use super::{Bounds, Bytes, Count, Order, Times, Waits};
use crate::near::did_you_mean;

/// How a step must end.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepExpect {
    /// The upload finished.
    Finished,
    /// The file turned out to be committed by a finish whose reply was lost.
    CommittedEarlier,
    /// The service had the file already.
    Existed,
    /// The client was killed.
    Killed,
    /// The upload failed, with this code or for a reason of this kind.
    Failed(Failure),
    /// The file is there, and the client says so: finished, committed earlier or existed.
    There,
    /// One of its requests is held under this name. The client waits, and a later step releases it.
    Held(String),
    /// Anything that the invariants allow, killed included; but it ends in time, and says how.
    Any,
}

impl fmt::Display for StepExpect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("finished"),
            Self::CommittedEarlier => f.write_str("committed-earlier"),
            Self::Existed => f.write_str("existed"),
            Self::Killed => f.write_str("killed"),
            Self::Failed(Failure::Code(code)) => write!(f, "failed with {code}"),
            Self::Failed(Failure::Kind(kind)) => write!(f, "failed ({kind})"),
            Self::There => f.write_str("there"),
            Self::Held(hold) => write!(f, "held by {hold}"),
            Self::Any => f.write_str("any way"),
        }
    }
}

/// Why an upload failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The server answered this code.
    Code(Code),
    /// A failure of this kind, as the client names it.
    Kind(String),
}

impl Serialize for Failure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Code(code) => serializer.serialize_i64(code.0),
            Self::Kind(kind) => serializer.serialize_str(kind),
        }
    }
}

/// What the client calls its failures: see `vod_client::Failure::kind`.
const KINDS: [&str; 6] = ["malformed", "rejected", "transport", "source", "config", "exhausted"];

impl<'de> Deserialize<'de> for Failure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Failure;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a code such as -10003, or a kind such as \"transport\"")
            }

            fn visit_i64<E: de::Error>(self, code: i64) -> Result<Failure, E> {
                Ok(Failure::Code(Code(code)))
            }

            fn visit_str<E: de::Error>(self, kind: &str) -> Result<Failure, E> {
                if KINDS.contains(&kind) {
                    return Ok(Failure::Kind(kind.to_owned()));
                }
                let near = did_you_mean(kind, KINDS);
                Err(E::custom(format!("unknown kind of failure {kind:?}, expected one of {}{near}", KINDS.join(", "))))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// What must be seen on the wire, over all steps.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Expect {
    /// How many requests of an action there were.
    pub requests: BTreeMap<Action, Count>,
    /// The codes of an action's whole replies, in order.
    pub replies: BTreeMap<Action, Vec<i64>>,
    /// How many parts more than one request was seen for.
    pub parts_sent_twice: Option<Count>,
    /// What comes before what.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub order: Vec<Order>,
    /// How long was waited, after a request of this action had failed, before it was sent again.
    pub gaps: BTreeMap<Action, Waits>,
    /// How many bytes of bodies were sent in all, as far as the mock read them.
    pub bytes: Option<Bytes>,
    /// How many of them by requests of an action.
    pub bytes_of: BTreeMap<Action, Bytes>,
    /// How many times the size of what was uploaded that is: each file counts once, whoever uploads it how often.
    pub bytes_per_source: Option<Bounds<Times>>,
    /// How many parts the last step found there and did not send, as the client reports it.
    pub skipped_parts: Option<Count>,
}
