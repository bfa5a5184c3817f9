//! What a file says of the wire beside counts: what comes before what, how long was waited, how many bytes there were.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use vod_proto::{Action, Size};

/// One thing happens before another, in each upload in which both happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Order {
    /// What happens first.
    pub first: Moment,
    /// What happens then.
    pub then: Moment,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} before {}", self.first, self.then)
    }
}

/// Something that happens to the requests of an action in an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// The first of them is sent.
    FirstSent(Action),
    /// The last of them is sent.
    LastSent(Action),
    /// The first whole reply is given, whatever it says.
    FirstAnswered(Action),
    /// The last whole reply is given.
    LastAnswered(Action),
    /// The first is answered by code 0.
    FirstAcknowledged(Action),
    /// The last is answered by code 0.
    LastAcknowledged(Action),
}

impl Moment {
    /// Of which action the requests are.
    #[must_use]
    pub const fn action(self) -> Action {
        match self {
            Self::FirstSent(action)
            | Self::LastSent(action)
            | Self::FirstAnswered(action)
            | Self::LastAnswered(action)
            | Self::FirstAcknowledged(action)
            | Self::LastAcknowledged(action) => action,
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (which, of) = match self {
            Self::FirstSent(_) => ("the first", "is sent"),
            Self::LastSent(_) => ("the last", "is sent"),
            Self::FirstAnswered(_) => ("the first", "is answered"),
            Self::LastAnswered(_) => ("the last", "is answered"),
            Self::FirstAcknowledged(_) => ("the first", "is acknowledged"),
            Self::LastAcknowledged(_) => ("the last", "is acknowledged"),
        };
        write!(f, "{which} {} {of}", self.action())
    }
}

/// At least so much, at most so much, or both.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "Raw<T>", bound(deserialize = "T: Deserialize<'de> + PartialOrd + fmt::Display"))]
pub struct Bounds<T> {
    /// At least so much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<T>,
    /// At most so much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<T>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "bounds such as { min = 1, max = 2 }")]
struct Raw<T> {
    min: Option<T>,
    max: Option<T>,
}

impl<T: PartialOrd + fmt::Display> TryFrom<Raw<T>> for Bounds<T> {
    type Error = String;

    fn try_from(Raw { min, max }: Raw<T>) -> Result<Self, String> {
        match (&min, &max) {
            (None, None) => Err("bounds need min, max or both".to_owned()),
            (Some(min), Some(max)) if min > max => Err(format!("min {min} is above max {max}")),
            _ => Ok(Self { min, max }),
        }
    }
}

impl<T: PartialOrd> Bounds<T> {
    /// Is it more than is allowed?
    pub fn exceeds(&self, seen: &T) -> bool {
        self.max.as_ref().is_some_and(|max| seen > max)
    }

    /// Is it as much as is asked, and no more than is allowed?
    pub fn holds(&self, seen: &T) -> bool {
        !self.exceeds(seen) && self.min.as_ref().is_none_or(|min| seen >= min)
    }
}

impl<T: fmt::Display> fmt::Display for Bounds<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.min, &self.max) {
            (Some(min), Some(max)) => write!(f, "{min} to {max}"),
            (Some(min), None) => write!(f, "at least {min}"),
            (None, Some(max)) => write!(f, "at most {max}"),
            (None, None) => f.write_str("any"),
        }
    }
}

/// How much was sent.
pub type Bytes = Bounds<Size>;

/// How long was waited.
pub type Waits = Bounds<Wait>;

/// A wait, written as `"300ms"` or `"2s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wait(pub Duration);

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl<'de> Deserialize<'de> for Wait {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::duration(deserializer).map(Self)
    }
}

impl Serialize for Wait {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        super::write::duration(&self.0, serializer)
    }
}

/// So many times the size of what was uploaded.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Times(pub f64);

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

impl<'de> Deserialize<'de> for Times {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let times = f64::deserialize(deserializer)?;
        if times.is_finite() && times >= 0.0 {
            Ok(Self(times))
        } else {
            Err(de::Error::custom(format!("{times} is not how often anything was sent")))
        }
    }
}
