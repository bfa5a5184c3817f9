//! `{ delay = "300ms" }`, or drawn for each attempt: `{ delay = { uniform = { min = "10ms", max = "1s" } } }`,
//! `{ delay = { log-normal = { median = "50ms", sigma = 1.0, cap = "5s" } } }`. Waits, and goes on.

use std::{f64::consts::TAU, fmt, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, value::MapAccessDeserializer},
};

use super::{super::duration, Change, Dice, Kind, Phase, Scene, Selector, Striking};

/// How long to wait.
#[derive(Clone, Debug, PartialEq)]
pub enum Delay {
    /// So long, every time.
    Fixed(Duration),
    /// As long as the dice of fault and attempt say: the same in every run with the same seed.
    Drawn(Spread),
}

/// How waiting times are spread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Spread {
    /// Every time between two is as likely as any other.
    Uniform {
        /// The shortest.
        #[serde(with = "duration")]
        min: Duration,
        /// The longest.
        #[serde(with = "duration")]
        max: Duration,
    },
    /// Most are short and a few very long, as real networks have it.
    LogNormal {
        /// Half of them are shorter.
        #[serde(with = "duration")]
        median: Duration,
        /// How far they are spread: the standard deviation of the logarithm. 0 to 5; with 1, one in twenty is more
        /// than five times the median.
        sigma: f64,
        /// None is longer.
        #[serde(with = "duration")]
        cap: Duration,
    },
}

impl Delay {
    fn draw(&self, dice: &Dice) -> Duration {
        match *self {
            Self::Fixed(duration) => duration,
            Self::Drawn(Spread::Uniform { min, max }) => min + max.saturating_sub(min).mul_f64(dice.roll(1)),
            Self::Drawn(Spread::LogNormal { median, sigma, cap }) => {
                // Box and Muller's way from two even rolls to one that is normal. A roll may be 0, never 1.
                let normal = (-2.0 * (1.0 - dice.roll(1)).ln()).sqrt() * (TAU * dice.roll(2)).cos();
                let seconds = median.as_secs_f64() * (sigma * normal).exp();
                Duration::try_from_secs_f64(seconds).map_or(cap, |drawn| drawn.min(cap))
            }
        }
    }
}

impl Kind for Delay {
    fn name(&self) -> &'static str {
        "delay"
    }

    fn phases(&self) -> &'static [Phase] {
        &Phase::ALL
    }

    fn on_reply(&self) -> bool {
        false
    }

    fn check(&self, _: Phase, _: &Selector) -> Result<(), String> {
        let shown = humantime::format_duration;
        match self {
            Self::Fixed(Duration::ZERO) => Err("delay is 0: expected a time to wait".to_owned()),
            Self::Drawn(Spread::Uniform { min, max }) if min >= max => {
                Err(format!("delay is uniform from {} to {}: expected min below max", shown(*min), shown(*max)))
            }
            Self::Drawn(Spread::LogNormal { sigma, .. }) if !(0.0..=5.0).contains(sigma) => {
                Err(format!("sigma is {sigma}: expected 0 to 5"))
            }
            Self::Drawn(Spread::LogNormal { median, cap, .. }) if median.is_zero() || median > cap => {
                let (median, cap) = (shown(*median), shown(*cap));
                Err(format!("delay has median {median} and cap {cap}: expected a median above 0, and no cap below it"))
            }
            Self::Fixed(_) | Self::Drawn(_) => Ok(()),
        }
    }

    fn strike<'a>(&'a self, scene: &'a Scene<'a>) -> Striking<'a> {
        Box::pin(async {
            tokio::time::sleep(self.draw(scene.dice)).await;
            Ok(Change::default())
        })
    }
}

impl Serialize for Delay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(duration) => duration::serialize(duration, serializer),
            Self::Drawn(spread) => spread.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Delay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Delay;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"300ms\", { uniform = … } or { log-normal = … }")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Delay, E> {
                duration::parse(text).map(Delay::Fixed).map_err(E::custom)
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Delay, A::Error> {
                Spread::deserialize(MapAccessDeserializer::new(map)).map(Delay::Drawn)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Subject;

    fn drawn(delay: &Delay) -> Vec<Duration> {
        let mut drawn: Vec<_> = (0..10_000).map(|n| delay.draw(&Dice::of(1, "f", &Subject::default(), n))).collect();
        drawn.sort_unstable();
        drawn
    }

    #[test]
    fn drawn_delays_are_spread_as_they_say() {
        let millis = Duration::from_millis;
        let even = drawn(&Delay::Drawn(Spread::Uniform { min: millis(100), max: millis(300) }));
        assert!(even[0] >= millis(100) && even[9_999] <= millis(300), "{:?} to {:?}", even[0], even[9_999]);
        for (at, expected) in [(1_000, 120), (5_000, 200), (9_000, 280)] {
            assert!(even[at].abs_diff(millis(expected)) < millis(5), "{at}: {:?}", even[at]);
        }
        let skew = drawn(&Delay::Drawn(Spread::LogNormal { median: millis(100), sigma: 1.0, cap: millis(600) }));
        // A normal's 16th and 84th percentile lie one deviation off: at 1/e and e times the median.
        for (at, expected, tolerance) in [(1_587, 37, 3), (5_000, 100, 5), (8_413, 272, 15), (9_999, 600, 0)] {
            assert!(skew[at].abs_diff(millis(expected)) <= millis(tolerance), "{at}: {:?}", skew[at]);
        }
    }

    #[test]
    fn the_same_attempt_waits_the_same_time_again() {
        let delay = Delay::Drawn(Spread::Uniform { min: Duration::ZERO, max: Duration::from_secs(9) });
        let draw = |seed, attempt| delay.draw(&Dice::of(seed, "f", &Subject::default(), attempt));
        assert_eq!(draw(1, 1), draw(1, 1));
        assert_ne!(draw(1, 1), draw(1, 2));
        assert_ne!(draw(1, 1), draw(2, 1));
    }
}
