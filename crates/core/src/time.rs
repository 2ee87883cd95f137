//! Time as a parameter: the wall clock for records, a monotonic one for deadlines.
//!
//! Nothing in the workspace reads the ambient clock except the one [`SystemClock`] below; tests
//! pass their own. Wall-clock time is never used to decide a deadline or a lease.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// A moment in UTC, in microseconds since 1970; written as RFC 3339 with six digits and a
/// trailing `Z`: so texts sort as the moments do, and readers that know no other length can read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The first moment of year 1, and nearly the last of year 9999: what every reader of RFC 3339 can read.
const FIRST: i64 = -62_135_596_800_000_000;
const LAST: i64 = 253_402_207_199_999_999;

impl Timestamp {
    /// From microseconds since 1970-01-01T00:00:00Z; the nearest that can be written, if it lies outside
    /// of the years 1 to 9999.
    pub const fn from_micros(micros: i64) -> Self {
        Self(match micros {
            ..FIRST => FIRST,
            FIRST..=LAST => micros,
            _ => LAST,
        })
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, rounded down: what a JWT's `exp` wants.
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This moment plus `duration`; saturates at the end of representable time.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self::from_micros(self.0.saturating_add(micros))
    }

    /// This moment minus `duration`; saturates at the beginning of representable time.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self::from_micros(self.0.saturating_sub(micros))
    }

    /// This moment, or the one right after `earlier` if that is later: what is changed twice must not
    /// look as if it were changed once.
    #[must_use]
    pub fn after(self, earlier: Self) -> Self {
        self.max(Self(earlier.0.saturating_add(1)))
    }

    /// Time since `earlier`, zero if that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(moment) => write!(f, "{moment:.6}"),
            // No such moment can be made; and nothing that is shown may fail.
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let moment = text.parse::<jiff::Timestamp>()?;
        Ok(Self::from_micros(moment.as_microsecond()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|_| {
            serde::de::Error::custom("Use a date and time such as 2025-01-15T10:30:00Z")
        })
    }
}

impl schemars::JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "format": "date-time"})
    }

    fn inline_schema() -> bool {
        true
    }
}

/// Where time comes from.
pub trait Clock: Send + Sync + 'static {
    /// Wall-clock time, for records and token expiry only.
    fn now(&self) -> Timestamp;
    /// Monotonic time, for deadlines and leases.
    fn monotonic(&self) -> Instant;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the ambient clock"
    )]
    fn now(&self) -> Timestamp {
        Timestamp(jiff::Timestamp::now().as_microsecond())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the ambient clock"
    )]
    fn monotonic(&self) -> Instant {
        Instant::now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_with_six_digits_and_read_with_any() {
        let moment: Timestamp = "2025-01-15T10:30:00Z".parse().unwrap();
        assert_eq!(moment.to_string(), "2025-01-15T10:30:00.000000Z");
        assert_eq!(
            serde_json::to_string(&moment).unwrap(),
            "\"2025-01-15T10:30:00.000000Z\""
        );
        assert_eq!(
            moment.plus(Duration::from_micros(120_000)).to_string(),
            "2025-01-15T10:30:00.120000Z"
        );
        for same in [
            "2025-01-15T10:30:00.0Z",
            "2025-01-15T11:30:00.000+01:00",
            "2025-01-15 10:30:00Z",
        ] {
            assert_eq!(same.parse::<Timestamp>().unwrap(), moment, "{same}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_moment_has_one_length_sorts_as_text_and_is_read_back(
            micros in -62_135_596_800_000_000..253_402_300_799_999_999_i64,
            later in 0..86_400_000_000_i64,
        ) {
            let moment = Timestamp(micros);
            let text = moment.to_string();
            proptest::prop_assert_eq!(text.len(), "2025-01-15T10:30:00.000000Z".len());
            proptest::prop_assert!(text.ends_with('Z'));
            proptest::prop_assert_eq!(text.as_bytes()[19], b'.');
            proptest::prop_assert_eq!(text.parse::<Timestamp>().unwrap(), moment);
            let after = Timestamp((micros + later).min(253_402_300_799_999_999));
            proptest::prop_assert_eq!(text.cmp(&after.to_string()), moment.cmp(&after));
        }
    }

    /// Nothing that is stored or sent can make a moment that nobody can read.
    #[test]
    fn every_moment_can_be_written_and_read_again() {
        let absurd = [
            i64::MIN,
            -1,
            0,
            9_200_000_000_000_000_000,
            i64::MAX,
            FIRST,
            LAST,
        ];
        for micros in absurd {
            let moment = Timestamp::from_micros(micros);
            let text = moment.to_string();
            assert_eq!(text.len(), "2025-01-15T10:30:00.000000Z".len(), "{text}");
            assert_eq!(text.parse::<Timestamp>().unwrap(), moment);
        }
        let last = Timestamp::from_micros(LAST);
        assert_eq!(last.plus(Duration::from_secs(9)), last);
        let ancient = "-000500-01-01T00:00:00Z".parse::<Timestamp>().unwrap();
        assert_eq!(ancient, Timestamp(FIRST));
    }

    #[test]
    fn a_later_start_gives_no_negative_duration() {
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
    }
}
