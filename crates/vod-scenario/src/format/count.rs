//! How many of something are expected.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number, exactly (`1`) or within bounds (`{ min = 2, max = 4 }`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// At least so many.
    pub min: u64,
    /// At most so many; without bound where there is none.
    pub max: Option<u64>,
}

impl Count {
    /// Is this number one of those expected?
    #[must_use]
    pub fn holds(self, number: u64) -> bool {
        number >= self.min && self.max.is_none_or(|max| number <= max)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.min, self.max) {
            (min, Some(max)) if min == max => write!(f, "exactly {min}"),
            (0, Some(max)) => write!(f, "at most {max}"),
            (min, Some(max)) => write!(f, "{min} to {max}"),
            (min, None) => write!(f, "at least {min}"),
        }
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Bounds {
    min: Option<u64>,
    max: Option<u64>,
}

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self { min, max: Some(max) } if min == max => serializer.serialize_u64(min),
            Self { min, max } => Bounds { min: Some(min), max }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number such as 1, or bounds such as { min = 2, max = 4 }")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Count, E> {
                let number = u64::try_from(number).map_err(|_| E::custom(format!("{number} can never be counted")))?;
                Ok(Count { min: number, max: Some(number) })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Count, A::Error> {
                match Bounds::deserialize(de::value::MapAccessDeserializer::new(map))? {
                    Bounds { min: None, max: None } => Err(de::Error::custom("bounds need min, max or both")),
                    Bounds { min: Some(min), max: Some(max) } if min > max => {
                        Err(de::Error::custom(format!("min {min} is above max {max}")))
                    }
                    Bounds { min, max } => Ok(Count { min: min.unwrap_or(0), max }),
                }
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Holder {
        n: Count,
    }

    fn read(text: &str) -> Result<Count, toml::de::Error> {
        toml::from_str::<Holder>(text).map(|holder| holder.n)
    }

    #[test]
    fn numbers_and_bounds() {
        let check = |text: &str, shown: &str, inside: u64, outside: u64| {
            let count = read(text).unwrap();
            assert_eq!(count.to_string(), shown);
            assert!(count.holds(inside) && !count.holds(outside), "{text}");
        };
        check("n = 2", "exactly 2", 2, 3);
        check("n = { max = 4 }", "at most 4", 0, 5);
        check("n = { min = 2, max = 4 }", "2 to 4", 4, 1);
        check("n = { min = 2 }", "at least 2", 900, 1);
    }

    #[test]
    fn bounds_that_bound_nothing_or_exclude_everything_are_refused() {
        assert_eq!(read("n = {}").unwrap_err().message(), "bounds need min, max or both");
        assert_eq!(read("n = { min = 3, max = 2 }").unwrap_err().message(), "min 3 is above max 2");
        assert_eq!(read("n = -1").unwrap_err().message(), "-1 can never be counted");
        assert!(read("n = { least = 3 }").unwrap_err().message().contains("expected `min` or `max`"));
    }
}
