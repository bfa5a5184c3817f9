//! Sizes as people write them in files and on command lines.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number of bytes: `"64MiB"`, `"512KiB"`, `"1GiB"`, or a plain number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl Size {
    /// So many bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// Shows the largest unit that divides it.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(_, bytes)| self.0 > 0 && self.0.is_multiple_of(*bytes));
        match unit {
            Some((name, bytes)) => write!(f, "{}{name}", self.0 / bytes),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, unit) = UNITS
            .iter()
            .find_map(|(name, bytes)| text.strip_suffix(name).map(|digits| (digits.trim_end(), *bytes)))
            .unwrap_or((text, 1));
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            let units = if digits.starts_with(|first: char| first.is_ascii_digit()) {
                ": it is a whole number of bytes, KiB, MiB or GiB"
            } else {
                ""
            };
            return Err(format!("{text:?} is no size such as \"64MiB\", \"512KiB\" or 6000000{units}"));
        }
        let number: Option<u64> = digits.parse().ok();
        let too_large = || format!("{text:?} is too large: a size has at most {} bytes", u64::MAX);
        number.and_then(|number| number.checked_mul(unit)).map(Self).ok_or_else(too_large)
    }
}

/// As a plain number, which every reader of sizes takes.
impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"64MiB\" or a number of bytes")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Size, E> {
                u64::try_from(number).map(Size).map_err(|_| E::custom(format!("{number} is no size: it is negative")))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Size, E> {
                Ok(Size(number))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them_and_show_the_same() {
        for (text, bytes) in [("64MiB", 64 << 20), ("512KiB", 512 << 10), ("1GiB", 1 << 30), ("3 MiB", 3 << 20)] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
            assert_eq!(Size(bytes).to_string(), text.replace(' ', ""));
        }
        assert_eq!(("6000000".parse(), Size(6_000_000).to_string()), (Ok(Size(6_000_000)), "6000000 bytes".to_owned()));
    }

    #[test]
    fn what_is_no_size_is_refused_and_never_wraps() {
        for text in ["", "MiB", "64MB", "-1", "+1", "1.5MiB", "99999999999999999GiB"] {
            assert!(text.parse::<Size>().is_err(), "{text:?} was read");
        }
        let said = |text: &str| text.parse::<Size>().unwrap_err();
        assert!(said("8EiB").ends_with("it is a whole number of bytes, KiB, MiB or GiB"), "{}", said("8EiB"));
        assert!(said("99999999999999999GiB").contains("is too large"), "{}", said("99999999999999999GiB"));
    }
}
